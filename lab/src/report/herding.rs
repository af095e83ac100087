//! Do all run to the same server, and then to the next?
//!
//! Herds show as waves: the requests on each server go up and down together with the news of them.

use std::f64::consts::TAU;

use super::{number::short, section::Table};
use crate::record::Record;

/// Fewer samples show no wave.
const FEWEST: usize = 32;

/// The strongest wave in the requests on the servers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Wave {
    /// Seconds from crest to crest.
    period: f64,
    /// Its part of all variance over time.
    share: f64,
    /// Requests on the fullest server over those on an average one, on average over time.
    crest: f64,
}

/// The strongest wave under each policy of a load, from the first repeat.
pub(super) fn herding(record: &Record, load: &str, policies: &[&str]) -> Option<Table> {
    let row = |policy: &&str| {
        let of = record.series.iter().filter(|it| it.0 == load && it.1 == **policy);
        let samples: Vec<(f64, &[u32])> = of.map(|it| (it.2, it.3.as_slice())).collect();
        let Wave { period, share, crest } = wave(&samples)?;
        let cells = [(*policy).to_owned(), short(crest), short(period), short(100.0 * share)];
        Some(cells.to_vec())
    };
    let rows: Vec<_> = policies.iter().filter_map(row).collect();
    let heading = [
        "policy",
        "fullest server over the average",
        "strongest wave, s",
        "its part of the variance over time, %",
    ];
    (!rows.is_empty()).then(|| Table { heading: heading.map(str::to_owned).into(), rows })
}

/// The peak of the mean periodogram of the servers.
#[expect(clippy::cast_precision_loss, reason = "samples are hundreds")]
fn wave(samples: &[(f64, &[u32])]) -> Option<Wave> {
    let (first, last) = (samples.first()?, samples.last()?);
    let (len, servers) = (samples.len(), first.1.len());
    if len < FEWEST || servers < 2 {
        return None;
    }
    let mut powers = vec![0.0; len / 2];
    for server in 0..servers {
        let counts = samples.iter().map(|it| it.1.get(server).copied().map_or(0.0, f64::from));
        let counts: Vec<f64> = counts.collect();
        let mean = counts.iter().sum::<f64>() / len as f64;
        for (waves, power) in (1..).zip(&mut powers) {
            let angle = |at: usize| TAU * f64::from(waves) * at as f64 / len as f64;
            let parts = counts.iter().enumerate().map(|(at, it)| {
                let (sine, cosine) = angle(at).sin_cos();
                ((it - mean) * cosine, (it - mean) * sine)
            });
            let (real, other) = parts.fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
            *power += real * real + other * other;
        }
    }
    let all: f64 = powers.iter().sum();
    let (waves, most) = (1..).zip(&powers).max_by(|a, b| a.1.total_cmp(b.1))?;
    let crests = samples.iter().filter_map(|(_, counts)| {
        let sum = counts.iter().map(|it| f64::from(*it)).sum::<f64>();
        let fullest = counts.iter().copied().max().map_or(0.0, f64::from);
        (0.0 < sum).then(|| fullest * servers as f64 / sum)
    });
    let crests: Vec<f64> = crests.collect();
    Some(Wave {
        period: (last.0 - first.0) * len as f64 / (len - 1) as f64 / f64::from(waves),
        share: if 0.0 < all { most / all } else { 0.0 },
        crest: crate::stats::mean(&crests).unwrap_or(1.0),
    })
}

#[cfg(test)]
mod tests {
    use policy::{Draw, SplitMix64};

    use super::*;

    fn found(counts: impl Fn(u32) -> [u32; 2]) -> Wave {
        let all: Vec<(f64, [u32; 2])> =
            (0..200).map(|it| (0.5 * f64::from(it), counts(it))).collect();
        let samples: Vec<(f64, &[u32])> = all.iter().map(|it| (it.0, it.1.as_slice())).collect();
        wave(&samples).unwrap()
    }

    #[test]
    fn a_herd_that_runs_to_and_fro_is_a_wave_and_chance_is_none() {
        // Ten requests change sides every five samples of half a second.
        let herd = found(|it| if it / 5 % 2 == 0 { [10, 0] } else { [0, 10] });
        assert!((herd.period - 5.0).abs() < 1e-9 && 0.7 < herd.share, "{herd:?}");
        assert!((herd.crest - 2.0).abs() < 1e-9, "{herd:?}");
        let chance = found(|it| {
            let mut draw = SplitMix64::new(it.into());
            [(); 2].map(|()| u32::try_from(draw.below(10)).unwrap())
        });
        assert!(chance.share < 0.1, "{chance:?}");
        let still = found(|_| [5, 5]);
        assert!(still.share.abs() < 1e-9 && (still.crest - 1.0).abs() < 1e-9, "{still:?}");
    }

    #[test]
    fn few_samples_and_a_single_server_show_nothing() {
        assert_eq!(wave(&[(0.0, &[1, 2])]), None);
        let one: Vec<(f64, &[u32])> = vec![(0.0, &[1]); 40];
        assert_eq!(wave(&one), None);
    }
}
