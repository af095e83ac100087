//! One exchange: head in, phases, forward or answer, lease out.

pub mod h1;
