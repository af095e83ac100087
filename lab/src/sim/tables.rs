//! How long does a request take on a server that was watched?

use std::sync::Arc;

use anyhow::{Result, ensure};

/// Times that servers took for each kind of request, sorted; demands are then ranks.
///
/// A demand of 2.75 is a request of kind 2 that is longer than three quarters of its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Tables {
    kinds: usize,
    times: Arc<[Vec<f64>]>,
}

impl Tables {
    /// The kinds of the first server, then those of the second, and so on.
    pub fn new(kinds: usize, times: Vec<Vec<f64>>) -> Result<Self> {
        ensure!(0 < kinds && times.len().is_multiple_of(kinds), "a table is missing");
        ensure!(
            times.iter().all(|it| !it.is_empty() && it.is_sorted()),
            "a table is empty or not sorted"
        );
        Ok(Self { kinds, times: times.into() })
    }

    /// Seconds that a demand is on a server.
    pub(super) fn seconds(&self, server: usize, demand: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a kind is a small number, and a share of a length is a position"
        )]
        let place = |it: f64| it as usize;
        let kind = place(demand.floor()).min(self.kinds - 1);
        let table = &self.times[server * self.kinds + kind];
        #[expect(clippy::cast_precision_loss, reason = "a table is far shorter than 2^52")]
        let position = place(demand.fract() * table.len() as f64);
        table[position.min(table.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_is_the_time_of_the_same_rank_on_another_server() {
        let times = vec![vec![1.0, 2.0], vec![5.0], vec![10.0, 20.0, 30.0, 40.0], vec![50.0]];
        let tables = Tables::new(2, times).unwrap();
        let seconds =
            |server| [0.0, 0.25, 0.75, 1.5].map(|it| tables.seconds(server, it).to_string());
        assert_eq!(seconds(0), ["1", "1", "2", "5"]);
        assert_eq!(seconds(1), ["10", "20", "40", "50"]);
        assert!(Tables::new(2, vec![vec![1.0]]).is_err());
        assert!(Tables::new(1, vec![vec![2.0, 1.0]]).is_err());
    }
}
