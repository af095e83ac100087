//! `$names`, and the texts they stand in, compiled when the file is read.
//!
//! What a name means is the protocol's to say: a [`Subject`] is a request of HTTP or a session of
//! TCP. What a configuration defines itself (`set`, `map`, named groups of expressions) has a slot
//! in the subject's [`Scratch`], and, where its value is worked out when it is asked for, a
//! [`Compute`].

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use crate::conf::{ConfError, Word};

pub use scratch::Scratch;
use scratch::Value;
pub use template::{Bad, Template, Unset, compile, has_variables};

pub mod geo;
pub mod map;
pub mod rows;
mod scratch;
pub mod split_clients;
mod template;

/// Appends a variable's value; false when it is not set, and then nothing is appended.
pub type Write<S> = fn(&S, &mut Vec<u8>) -> bool;

/// As [`Write`], for a family of variables: the free part of the name and its hash come along.
pub type WriteNamed<S> = fn(&S, &Part, &mut Vec<u8>) -> bool;

/// The free part of a name such as `$http_NAME`, as its family wants it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// The bytes that are looked for.
    pub name: Vec<u8>,
    /// Whatever the family computes once of it.
    pub hash: u32,
}

/// A variable that needs no definition.
pub enum Builtin<S> {
    /// Has this one name.
    Plain(Write<S>),
    /// Belongs to a family.
    Named(WriteNamed<S>, Part),
}

/// What variables are variables of.
pub trait Subject: fmt::Debug + Sized + 'static {
    /// The variable of this name.
    fn builtin(name: &str) -> Option<Write<Self>>;

    /// The family this name belongs to; what a configuration defines comes first.
    fn family(name: &str) -> Option<Builtin<Self>>;

    /// Changes a built-in variable, where that can be done.
    fn setter(name: &str) -> Option<fn(&mut Self, &[u8])>;

    /// Whether a configuration may say what a built-in variable, or one of a family, is from then on.
    fn is_changeable(name: &str) -> bool;

    /// Values of variables the configuration defines.
    fn scratch(&self) -> &Scratch;

    /// The text in which proxies say whom they ask for, where they can.
    const FORWARDED: Option<&'static str>;

    /// How those are worked out.
    fn definitions(&self) -> Option<&Definitions<Self>>;
}

/// Works a variable out when it is asked for.
pub trait Compute<S>: fmt::Debug + Send + Sync {
    /// Appends the value; false when it is not set.
    fn compute(&self, subject: &S, out: &mut Vec<u8>) -> bool;

    /// Whether it is worked out anew each time.
    fn is_volatile(&self) -> bool {
        false
    }
}

/// What the slots of a configuration hold that is worked out.
#[derive(Debug)]
pub struct Definitions<S> {
    slots: Vec<Option<Box<dyn Compute<S>>>>,
}

impl<S> Default for Definitions<S> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl<S: Subject> Definitions<S> {
    /// Says how the variable of a slot is worked out.
    pub fn define(&mut self, slot: usize, compute: Box<dyn Compute<S>>) {
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some(compute);
    }

    /// Whether it has been said how the variable of a slot is worked out.
    pub fn has(&self, slot: usize) -> bool {
        self.of(slot).is_some()
    }

    fn of(&self, slot: usize) -> Option<&dyn Compute<S>> {
        self.slots.get(slot)?.as_deref()
    }
}

/// The names that a configuration defines.
#[derive(Debug)]
pub struct Names<S> {
    slots: HashMap<String, usize>,
    subject: std::marker::PhantomData<fn(&S)>,
}

impl<S> Default for Names<S> {
    fn default() -> Self {
        Self { slots: HashMap::new(), subject: std::marker::PhantomData }
    }
}

impl<S: Subject> Names<S> {
    /// Gives each name a slot.
    #[must_use]
    pub fn new(names: &BTreeSet<String>) -> Self {
        let slots = names.iter().enumerate().map(|(slot, it)| (it.clone(), slot)).collect();
        Self { slots, ..Self::default() }
    }

    /// The slot of a name.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.slots.get(name).copied()
    }
}

/// What a name is looked for as when it is defined: `$name` without the dollar.
///
/// # Errors
///
/// nginx's texts, where the word is no variable or a built-in one that cannot be set.
pub fn definable<S: Subject>(word: &Word) -> Result<String, ConfError> {
    let Some(name) = word.strip_prefix('$') else {
        return Err(word.refuse(format!("invalid variable name \"{word}\"")));
    };
    if name.is_empty() {
        return Err(word.refuse(format!("invalid variable name \"{word}\"")));
    }
    let name = name.to_ascii_lowercase();
    if !S::is_changeable(&name) {
        return Err(word.refuse(format!("the duplicate \"{name}\" variable")));
    }
    Ok(name)
}

enum Variable<S> {
    Plain(Write<S>),
    Named(WriteNamed<S>, Part),
    /// `$1`
    Group(usize),
    /// One the configuration defines.
    Slot(usize),
    /// One of nginx's that the configuration defines anew: its slot, and what it is until then.
    Changed(usize, Write<S>),
}

impl<S> Clone for Variable<S> {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(write) => Self::Plain(*write),
            Self::Named(write, part) => Self::Named(*write, part.clone()),
            Self::Group(number) => Self::Group(*number),
            Self::Slot(slot) => Self::Slot(*slot),
            Self::Changed(slot, write) => Self::Changed(*slot, *write),
        }
    }
}

impl<S> fmt::Debug for Variable<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain"),
            Self::Named(_, part) => f.debug_tuple("Named").field(part).finish(),
            Self::Group(number) => f.debug_tuple("Group").field(number).finish(),
            Self::Slot(slot) => f.debug_tuple("Slot").field(slot).finish(),
            Self::Changed(slot, _) => f.debug_tuple("Changed").field(slot).finish(),
        }
    }
}

impl<S: Subject> Variable<S> {
    fn named(name: &str, names: &Names<S>) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        match (names.slot(&name), S::builtin(&name)) {
            (Some(slot), Some(write)) => return Some(Self::Changed(slot, write)),
            (Some(slot), None) => return Some(Self::Slot(slot)),
            (None, Some(write)) => return Some(Self::Plain(write)),
            (None, None) => {}
        }
        S::family(&name).map(|it| match it {
            Builtin::Plain(write) => Self::Plain(write),
            Builtin::Named(write, part) => Self::Named(write, part),
        })
    }

    fn write(&self, subject: &S, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Plain(write) => write(subject, out),
            Self::Named(write, part) => write(subject, part, out),
            Self::Group(number) => {
                let captures = subject.scratch().captures();
                let group = captures.group(*number);
                out.extend_from_slice(group.unwrap_or_default());
                group.is_some()
            }
            Self::Slot(slot) => slot_value(subject, *slot, out),
            Self::Changed(slot, write) => match is_given(subject, *slot) {
                true => slot_value(subject, *slot, out),
                false => write(subject, out),
            },
        }
    }
}

/// Whether a slot has a value, or one that can be worked out.
fn is_given<S: Subject>(subject: &S, slot: usize) -> bool {
    let is_set = matches!(subject.scratch().values.borrow().get(slot), Some(Value::Set(_)));
    is_set || subject.definitions().is_some_and(|it| it.has(slot))
}

/// Appends the value of a slot, working it out if need be.
fn slot_value<S: Subject>(subject: &S, slot: usize, out: &mut Vec<u8>) -> bool {
    let scratch = subject.scratch();
    match scratch.values.borrow().get(slot) {
        Some(Value::Set(value)) => {
            out.extend_from_slice(value);
            return true;
        }
        // One that is worked out of itself is not set.
        Some(Value::Missing | Value::Busy) => return false,
        Some(Value::Unknown) | None => {}
    }
    let Some(compute) = subject.definitions().and_then(|it| it.of(slot)) else { return false };
    scratch.put(slot, Value::Busy);
    let from = out.len();
    let is_set = compute.compute(subject, out);
    let value = match (compute.is_volatile(), is_set) {
        (true, _) => Value::Unknown,
        (false, true) => Value::Set(out[from..].to_vec()),
        (false, false) => Value::Missing,
    };
    scratch.put(slot, value);
    is_set
}
