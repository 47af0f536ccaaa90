//! `section3 self ...`: the program about its own file.

pub mod reexec;
#[cfg(feature = "update")]
pub mod rollback;
#[cfg(feature = "update")]
pub mod update;
pub mod version;

use crate::cli::words::{Entry, Group, Help};

/// The commands behind `self`.
pub struct Itself;

impl Group for Itself {
    const HELP: Help = Help {
        name: "self",
        about: "Update this program, replace the one that runs, or say which it is",
        more: "",
        example: "section3 self version --json",
    };
    const TABLE: &'static [Entry] = &[
        Entry::verb::<version::Version>(),
        Entry::verb::<reexec::Reexec>(),
        #[cfg(feature = "update")]
        Entry::verb::<update::Update>(),
        #[cfg(feature = "update")]
        Entry::verb::<rollback::Rollback>(),
    ];
}
