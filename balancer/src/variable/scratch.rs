//! What a request or session knows of the variables its configuration defines.

use std::cell::{Ref, RefCell, RefMut};

use crate::regex::Captures;

/// The value of a slot.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Value {
    /// Nobody has asked for it or set it.
    #[default]
    Unknown,
    /// It is being worked out.
    Busy,
    /// It was worked out, and is not set.
    Missing,
    /// It is this.
    Set(Vec<u8>),
}

/// What a request or session knows of the variables its configuration defines.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) values: RefCell<Vec<Value>>,
    captures: RefCell<Captures>,
}

impl Scratch {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.values.get_mut().clear();
        self.captures.get_mut().clear();
    }

    /// Sets a variable.
    pub fn set(&self, slot: usize, value: &[u8]) {
        self.put(slot, Value::Set(value.to_vec()));
    }

    pub(super) fn put(&self, slot: usize, value: Value) {
        let mut values = self.values.borrow_mut();
        if values.len() <= slot {
            values.resize(slot + 1, Value::Unknown);
        }
        values[slot] = value;
    }

    /// The last match.
    #[must_use]
    pub fn captures(&self) -> Ref<'_, Captures> {
        self.captures.borrow()
    }

    /// The place of the last match.
    #[must_use]
    pub fn captures_mut(&self) -> RefMut<'_, Captures> {
        self.captures.borrow_mut()
    }

    /// A match without groups leaves none of those before it; true.
    pub(crate) fn forget_captures(&self) -> bool {
        self.captures.borrow_mut().clear();
        true
    }
}
