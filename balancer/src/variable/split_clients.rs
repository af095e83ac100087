//! `split_clients`: a variable that has each of its values for a share of all texts.

use super::{Compute, Names, Subject, Template, compile, definable};
use crate::conf::{ConfError, Directive, Reading, Word};

/// A `split_clients` as it is written.
#[derive(Clone, Debug)]
pub struct Block {
    /// The variable's name.
    pub name: String,
    source: Word,
    /// Shares in hundredths of a percent, 0 for the rest.
    shares: Vec<(u32, Vec<u8>)>,
}

/// All, in hundredths of a percent.
const WHOLE: u32 = 10_000;

impl Block {
    /// Reads a block.
    ///
    /// Source: nginx `ngx_http_split_clients_module.c`, `ngx_conf_split_clients_block`.
    pub fn read<S: Subject>(
        directive: &Directive,
        reading: &mut Reading<'_>,
    ) -> Result<Self, ConfError> {
        let name = definable::<S>(&directive.words[2])?;
        reading.define(&name);
        let mut shares = Vec::new();
        let mut total = 0;
        for line in directive.entries() {
            let line = line?;
            let share = match line.name() {
                word if *word == "*" => 0,
                word => {
                    let refuse = || word.refuse(format!("invalid percent value \"{word}\""));
                    let share = word.strip_suffix('%').and_then(hundredths);
                    share.filter(|it| *it > 0).ok_or_else(refuse)?
                }
            };
            total = if share == 0 { WHOLE } else { total + share };
            if total > WHOLE {
                let text = "percent total is greater than 100%";
                return Err(ConfError::new(text, directive.close.clone()));
            }
            let value = line.arguments().first();
            let value = value.ok_or_else(|| {
                line.name().refuse("invalid number of the split_clients parameters")
            })?;
            shares.push((share, value.as_bytes().to_vec()));
        }
        Ok(Self { name, source: directive.text().clone(), shares })
    }

    /// Looks the variables of the source up.
    pub fn compile<S: Subject>(&self, names: &Names<S>) -> Result<Split<S>, ConfError> {
        let mut bound = 0_u64;
        let shares = self.shares.iter().map(|(share, value)| {
            let end = if *share == 0 {
                u64::from(u32::MAX) + 1
            } else {
                bound += u64::from(*share) * u64::from(u32::MAX) / u64::from(WHOLE);
                bound
            };
            (end, value.clone())
        });
        let shares = shares.collect();
        Ok(Split { source: compile(&self.source, names)?, shares })
    }
}

/// A decimal number with at most two places, in hundredths.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
    if whole.is_empty() || part.len() > 2 || !is_digits(whole) || !is_digits(part) {
        return None;
    }
    let part: u32 = format!("{part:0<2}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part)
}

/// A `split_clients`, ready to be looked into.
#[derive(Debug)]
pub struct Split<S> {
    source: Template<S>,
    /// Hashes below the bound have the value, those of earlier bounds excepted.
    shares: Vec<(u64, Vec<u8>)>,
}

impl<S: Subject> Compute<S> for Split<S> {
    fn compute(&self, subject: &S, out: &mut Vec<u8>) -> bool {
        let hash = u64::from(murmur2(&self.source.value(subject)));
        match self.shares.iter().find(|(bound, _)| hash < *bound) {
            Some((_, value)) => {
                out.extend_from_slice(value);
                true
            }
            None => false,
        }
    }
}

/// `MurmurHash2` by Austin Appleby, seed 0.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    #[expect(clippy::cast_possible_truncation, reason = "as the function is defined")]
    let mut hash = data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        let word = (word ^ word >> 24).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ word;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_two_places_at_most() {
        assert_eq!(hundredths("50"), Some(5000));
        assert_eq!(hundredths("0.5"), Some(50));
        assert_eq!(hundredths("0.05"), Some(5));
        assert_eq!(hundredths("0.005"), None);
        assert_eq!(hundredths("x"), None);
        assert_eq!(hundredths(""), None);
    }
}
