//! What does a policy remember of each candidate, and how does that follow a new list?

use std::ops::{Deref, DerefMut};

/// One `T` for each candidate, in the order of the candidates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots<T>(Vec<T>);

impl<T: Clone + Default> Slots<T> {
    /// Makes room for `len` candidates. Allocates only when a list is seen for the first time.
    pub(crate) fn fit(&mut self, len: usize) -> &mut [T] {
        if self.0.len() != len {
            self.0.resize(len, T::default());
        }
        &mut self.0
    }

    /// Moves what is remembered to the new positions; see [`crate::Policy::relist`].
    pub(crate) fn relist(&mut self, from: &[Option<usize>]) {
        let old = |position: &Option<usize>| self.0.get((*position)?).cloned();
        self.0 = from.iter().map(|it| old(it).unwrap_or_default()).collect();
    }
}

impl<T> Deref for Slots<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Slots<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_follow_their_candidates_and_newcomers_have_none() {
        let mut slots = Slots(vec![10, 20, 30]);
        slots.relist(&[Some(2), None, Some(0), Some(9)]);
        assert_eq!(*slots, [30, 0, 10, 0]);
    }

    #[test]
    fn a_longer_list_keeps_what_is_remembered() {
        let mut slots = Slots(vec![10]);
        assert_eq!(slots.fit(2), [10, 0]);
    }
}
