//! What the pump of one image of the program leaves to the pump of the next: everything it knows that is not in a file yet.
//! Plain, to be written down; pipes are in it as numbers, for they stay open across `execve(2)`.

use serde::{Deserialize, Serialize};

use super::report::{LogId, Report};
use crate::spec::LogLimits;
use crate::value::{Run, hex};

/// Bytes that services wrote: as text of digits, so that they are nothing but bytes to whoever reads the state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(#[serde(with = "hex")] pub Vec<u8>);

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Rest {
    /// The log folder.
    pub folder: i32,
    /// The logs.
    pub journals: Vec<JournalRest>,
    /// The numbers that logs have, each with its place in `journals`.
    pub places: Vec<(LogId, usize)>,
    /// The pipes.
    pub feeds: Vec<FeedRest>,
    /// Runs whose pipe ended and whose drain was not asked for: their last lines.
    pub ended: Vec<(LogId, Run, Bytes)>,
    /// Reports that nobody took yet.
    pub reports: Vec<Report>,
    /// What the reader of stdout has not taken yet.
    pub console: Bytes,
    /// Messages of the supervisor that were dropped and not counted in its log yet.
    pub own_dropped: u64,
}

/// One log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct JournalRest {
    /// The name of its file, without `.log`.
    pub name: String,
    /// How much of it is kept.
    pub limits: LogLimits,
    /// Who opened it and has not closed it.
    pub owners: Vec<LogId>,
    /// Bytes of services that it ever took.
    pub kept: u64,
    /// The begun console line.
    pub line: Bytes,
    /// Length of its current file.
    pub size: u64,
    /// Bytes that no file holds, since it was opened.
    pub lost_bytes: u64,
    /// Lines that the console copy left out.
    pub console_dropped: u64,
    /// Bytes lost since the last line in the file that says so.
    pub missing: u64,
    /// Why.
    pub reason: String,
    /// Of them, those that no report told yet.
    pub untold: u64,
    /// Bytes that a line in the file accounts for, not reported yet.
    pub restored: Option<u64>,
    /// A rotation that is not reported yet: its size, and how many before it.
    pub turned: Option<(u64, u32)>,
    /// The generation that a shift left free half-way.
    pub hole: Option<usize>,
}

/// One pipe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct FeedRest {
    /// Which log.
    pub log: LogId,
    /// Whose output.
    pub run: Run,
    /// Its place in [`Rest::journals`].
    pub journal: usize,
    /// The read end.
    pub fd: i32,
    /// A held-back unfinished line.
    pub held: Bytes,
    /// Bytes of this run that are in the files.
    pub kept: u64,
    /// What the log's `kept` was at the last of them.
    pub kept_until: u64,
    /// The last bytes of this run, from the first one on that no file holds.
    pub unkept: Bytes,
    /// Its run has ended.
    pub is_left_over: bool,
}

impl Rest {
    /// Whether it holds together.
    ///
    /// # Errors
    ///
    /// What does not.
    pub fn check(&self) -> Result<(), String> {
        let places = self.places.iter().map(|(_, place)| *place).chain(self.feeds.iter().map(|feed| feed.journal));
        if let Some(place) = places.into_iter().find(|place| *place >= self.journals.len()) {
            return Err(format!("log {place} is not among the {} logs", self.journals.len()));
        }
        let is_plain = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.contains('/');
        if let Some(journal) = self.journals.iter().find(|journal| !is_plain(&journal.name)) {
            return Err(format!("`{}` is no name of a log", journal.name.escape_debug()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_does_not_hold_together_is_refused() {
        let journal = |name: &str| JournalRest { name: name.to_owned(), ..JournalRest::default() };
        let of = |names: &[&str], place, feed| Rest {
            journals: names.iter().map(|name| journal(name)).collect(),
            places: vec![(LogId(1), place)],
            feeds: vec![FeedRest { journal: feed, ..FeedRest::default() }],
            ..Rest::default()
        };
        assert_eq!(of(&["a", "b.c"], 1, 0).check(), Ok(()));
        for (rest, said) in [
            (of(&["a"], 1, 0), "log 1 is not among the 1 logs"),
            (of(&["a"], 0, 2), "log 2 is not among the 1 logs"),
            (of(&[""], 0, 0), "`` is no name of a log"),
            (of(&["."], 0, 0), "`.` is no name of a log"),
            (of(&[".."], 0, 0), "`..` is no name of a log"),
            (of(&["a/b"], 0, 0), "`a/b` is no name of a log"),
        ] {
            assert_eq!(rest.check(), Err(said.to_owned()));
        }
    }
}
