//! How a flaw leaves the code that serde compiles for each type: it unwinds, from where it is found to the border of the
//! reader, past all that was read before it. As a result it would be looked at behind each field of each struct, and
//! each such place would give up all fields before it by code of its own, which is there for unwinding already: that would be
//! a third more code for every type.
//!
//! It is no panic: nothing is reported, and every reading is [`within`] the border.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use serde::de;

/// Why a text is not JSON, or not what was expected.
#[derive(Debug)]
pub struct Flaw(pub(super) String);

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Flaw {}

/// The error that serde's code sees: there is none.
#[derive(Debug)]
pub(super) enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

impl de::Error for Never {
    fn custom<T: fmt::Display>(what: T) -> Self {
        give_up(format_args!("{what}"))
    }
}

/// Ends what is done [`within`] the border.
#[cold]
#[inline(never)]
pub(super) fn give_up(what: fmt::Arguments<'_>) -> ! {
    resume_unwind(Box::new(Flaw(fmt::format(what))))
}

/// Does `work`, which may [`give_up`]. A panic in it stays one.
pub(super) fn within(work: &mut dyn FnMut()) -> Result<(), Flaw> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|cause| match cause.downcast() {
        Ok(flaw) => *flaw,
        Err(fault) => resume_unwind(fault),
    })
}
