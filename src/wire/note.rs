//! What a client tells the supervisor of an update: facts about the file on disk, so that they become events. Nothing follows
//! from it.

use super::event::UpdatePhase;
use super::request::{Args, usage};
use super::{Fault, escape};
use crate::value::Version;
use crate::value::json::Table;

/// The most letters of an error that are kept.
const MAX_ERROR: usize = 1000;

/// One fact about an update.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdateNote {
    /// What happened; never `reexec`, which the supervisor knows better.
    pub phase: UpdatePhase,
    /// The version before.
    pub from: Option<Version>,
    /// The version after, or that is offered.
    pub to: Option<Version>,
    /// Why it failed: one line, at most 1,000 letters, nothing in it that a terminal would obey.
    pub error: Option<String>,
}

impl UpdateNote {
    /// A note; what is too long in `error` is cut off.
    #[must_use]
    pub fn new(phase: UpdatePhase, from: Option<Version>, to: Option<Version>, error: Option<&str>) -> Self {
        let error = error.map(|error| escape::one_line(error).chars().take(MAX_ERROR).collect());
        Self { phase, from, to, error }
    }

    pub(super) fn add_to(&self, args: Table) -> Table {
        let args = args.field("phase", &self.phase).maybe("from", self.from.as_ref()).maybe("to", self.to.as_ref());
        args.maybe("error", self.error.as_ref())
    }

    pub(super) fn decode(args: &mut Args) -> Result<Self, Fault> {
        let phase = match args.word("phase")?.as_str() {
            "available" => UpdatePhase::Available,
            "applied" => UpdatePhase::Applied,
            "failed" => UpdatePhase::Failed,
            "rolled_back" => UpdatePhase::RolledBack,
            _ => return Err(usage("`phase` is available, applied, failed or rolled_back")),
        };
        let mut version = |key| -> Result<Option<Version>, Fault> {
            let word = args.optional_word(key)?;
            word.map(|word| Version::parse(&word).map_err(|allowed| usage(format!("`{key}`: {allowed}")))).transpose()
        };
        let (from, to) = (version("from")?, version("to")?);
        let error = args.optional_word("error")?;
        Ok(Self::new(phase, from, to, error.as_deref()))
    }
}
