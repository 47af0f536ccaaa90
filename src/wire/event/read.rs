//! Parts of events that are read back by the next image of the program in another way than serde would.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Ending, ExitFacts, LaunchFacts, Next, StopReason};
use crate::value::sorted::Set;
use crate::value::{ExitStatus, Signal};

/// A word of the program's own. By another name than `&str`, which serde could only borrow from what it reads.
pub type Word = &'static str;

/// Reads a [`Word`] that an earlier image of the program wrote down. Words are few and repeat, so each is kept once, for good.
///
/// # Errors
///
/// It is no string.
pub fn known_word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    static KNOWN: Mutex<Set<Word>> = Mutex::new(Set::new());
    let text = Cow::<str>::deserialize(deserializer)?;
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(known.get(&*text).copied().unwrap_or_else(|| {
        let word: Word = Box::leak(text.into_owned().into_boxed_str());
        known.insert(word);
        word
    }))
}

/// `code`, or `signal` and `core`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedBy(pub ExitStatus);

impl Serialize for EndedBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            ExitStatus::Code(code) => map.serialize_entry("code", &code)?,
            ExitStatus::Signal { signal, core } => {
                map.serialize_entry("signal", &signal)?;
                map.serialize_entry("core", &core)?;
            }
        }
        map.end()
    }
}

/// Whatever is told of the end of a process, of a launch and of a run. One table for all, because serde would read nested
/// and flattened ones by way of a copy of all data, with a second copy of all code.
#[derive(Deserialize)]
struct Written {
    code: Option<u8>,
    signal: Option<Signal>,
    #[serde(default)]
    core: bool,
    pid: Option<i32>,
    #[serde(default)]
    oom: bool,
    #[serde(default)]
    uptime_ms: u64,
    #[serde(default)]
    stop_requested: bool,
    #[serde(default)]
    max_rss_bytes: u64,
    #[serde(default)]
    cpu_user_ms: u64,
    #[serde(default)]
    cpu_sys_ms: u64,
    log_tail: Option<Arc<[String]>>,
    #[serde(default, deserialize_with = "known_word")]
    stage: Word,
    message: Option<String>,
    #[serde(default)]
    crashes: u32,
    next: Option<Next>,
    #[serde(default)]
    took_ms: u64,
    #[serde(default)]
    forced: bool,
    reason: Option<StopReason>,
}

impl Written {
    fn status(&self) -> Result<Option<EndedBy>, &'static str> {
        Ok(Some(EndedBy(match (self.code, self.signal) {
            (Some(code), None) => ExitStatus::Code(code),
            (None, Some(signal)) => ExitStatus::Signal { signal, core: self.core },
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err("an end is either a code or a signal"),
        })))
    }

    fn exit(&mut self) -> Result<ExitFacts, &'static str> {
        Ok(ExitFacts {
            pid: self.pid.ok_or("an exit without its `pid`")?,
            status: self.status()?.ok_or("an end is either a code or a signal")?,
            oom: self.oom,
            uptime_ms: self.uptime_ms,
            stop_requested: self.stop_requested,
            max_rss_bytes: self.max_rss_bytes,
            cpu_user_ms: self.cpu_user_ms,
            cpu_sys_ms: self.cpu_sys_ms,
            log_tail: self.log_tail.take(),
        })
    }

    fn ending(&mut self) -> Result<Ending, &'static str> {
        match self.message.take() {
            Some(message) => Ok(Ending::Launch(LaunchFacts { stage: self.stage, message })),
            None => self.exit().map(Ending::Exit),
        }
    }
}

/// Reads a [`Written`] and takes from it what is wanted.
fn read<'de, T, D: Deserializer<'de>>(from: D, take: fn(&mut Written) -> Result<T, &'static str>) -> Result<T, D::Error> {
    take(&mut Written::deserialize(from)?).map_err(serde::de::Error::custom)
}

impl<'de> Deserialize<'de> for ExitFacts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        read(from, Written::exit)
    }
}

impl<'de> Deserialize<'de> for Ending {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        read(from, Written::ending)
    }
}

/// The fields of [`Kind::Crash`](super::Kind::Crash).
pub(super) fn crash<'de, D: Deserializer<'de>>(from: D) -> Result<(Ending, u32, Next), D::Error> {
    read(from, |it| Ok((it.ending()?, it.crashes, it.next.ok_or("a crash without its `next`")?)))
}

/// The fields of [`Kind::GaveUp`](super::Kind::GaveUp).
pub(super) fn gave_up<'de, D: Deserializer<'de>>(from: D) -> Result<(u32, Ending), D::Error> {
    read(from, |it| Ok((it.crashes, it.ending()?)))
}

/// The fields of [`Kind::Stop`](super::Kind::Stop).
pub(super) fn stop<'de, D: Deserializer<'de>>(from: D) -> Result<(Option<EndedBy>, u64, bool, StopReason), D::Error> {
    read(from, |it| Ok((it.status()?, it.took_ms, it.forced, it.reason.ok_or("a stop without its `reason`")?)))
}
