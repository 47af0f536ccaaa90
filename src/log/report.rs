//! What the pump tells the event loop, and the numbers that `status` reads without asking it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::value::Run;

/// A log, by a number that its owner chose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct LogId(pub u32);

impl LogId {
    /// The supervisor's own log.
    pub const OWN: Self = Self(u32::MAX);
}

/// Numbers of one log, kept by the pump; reading them never waits.
#[derive(Debug, Default)]
pub struct LogCounters {
    size: AtomicU64,
    lost: AtomicU64,
    console_dropped: AtomicU64,
}

impl LogCounters {
    /// Length of the current file in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Bytes that no file holds, since the log was opened.
    #[must_use]
    pub fn lost_bytes(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Lines that the console copy left out.
    #[must_use]
    pub fn console_dropped(&self) -> u64 {
        self.console_dropped.load(Ordering::Relaxed)
    }

    pub(super) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Relaxed);
    }

    pub(super) fn add_lost(&self, bytes: u64) {
        self.lost.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_console_dropped(&self, lines: u64) {
        self.console_dropped.fetch_add(lines, Ordering::Relaxed);
    }
}

/// Something the event loop should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub enum Report {
    /// What was in the pipe of a run when [`super::Pump::drain`] was asked for is in the file, or counted as lost.
    Drained {
        /// Which log.
        log: LogId,
        /// Which run.
        run: Run,
        /// The last lines of this run: at most 20 and 8 KiB, as they were written.
        #[serde(with = "crate::value::hex")]
        tail: Vec<u8>,
    },
    /// A file was rotated.
    Rotated {
        /// Which log.
        log: LogId,
        /// What is now the first generation.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// Why.
        reason: RotateReason,
        /// Earlier rotations of this log that this report stands for as well.
        folded: u32,
    },
    /// A rotation did not happen; the current file goes on.
    NotRotated {
        /// Which log.
        log: LogId,
        /// Why: the log was full, or somebody asked.
        reason: RotateReason,
        /// What stopped it.
        message: String,
    },
    /// Somebody asked for a rotation, and there is nothing that it could put into a file of its own.
    NothingToRotate {
        /// The number under which it was asked for.
        ticket: u64,
        /// What there is instead.
        message: String,
    },
    /// Bytes could not be kept. At most one such report a second and log.
    Lost {
        /// Which log.
        log: LogId,
        /// How many since the last such report.
        bytes: u64,
        /// What the kernel said, such as `no space left on device`.
        reason: String,
    },
    /// Writing works again, and a line in the file says how many bytes are missing.
    Restored {
        /// Which log.
        log: LogId,
        /// How many.
        bytes: u64,
    },
    /// The pump went on after a fault of its own: a bug, worth a message.
    Fault {
        /// What the fault said of itself.
        message: String,
    },
}

/// Why a log was rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RotateReason {
    /// It was full.
    Size,
    /// Somebody asked, under this number.
    Manual(u64),
}
