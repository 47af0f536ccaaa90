//! The rehearsal: the program on disk is run once, on a copy of the state, and must say that it could go on from it. A child
//! like that of a probe: with a time limit, its output bounded, the loop does not wait for it.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Duration;

use super::leave::PUMP_STOPS;
use super::program::{Edition, edition};
use super::state::State;
use super::{Asker, parcel};
use crate::daemon::clock::Now;
use crate::daemon::errand::{after, converse};
use crate::daemon::event_loop::Daemon;
use crate::daemon::inbox::Letter;
use crate::daemon::watch::Finding;
use crate::log::rest::Rest;
use crate::sys::reexec::{self, Inherited};
use crate::sys::spawn::Recipe;
use crate::sys::{task, words};
use crate::value::duration::Human;
use crate::value::version::VERSION;
use crate::wire::event::ReadyBy;

/// The hidden mode of the program, and the number of the descriptor that follows it.
pub const FLAG: &str = "--check-state";
/// What the program says where it can take over; its version follows.
const YES: &str = "section3 can take over: ";
/// The number of the state's descriptor in the child.
const NUMBER: i32 = 3;
/// How long a program may think about it: reading the largest state takes a second on a slow machine.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest version.
const LONGEST_VERSION: usize = 64;

/// A program that can take over.
#[derive(Clone, Debug)]
pub struct Rehearsed {
    /// What it calls itself.
    pub version: String,
    /// What was tried.
    pub edition: Edition,
    /// It has read the events before this number.
    pub events: u64,
}

impl Daemon {
    /// Begins the rehearsal; a letter tells how it went.
    pub(super) fn rehearse(&mut self, asker: &Asker, now: Now) -> Result<(), String> {
        let Some(path) = self.handover.program.clone() else {
            return Err("/proc cannot be read, so it is not known which file this program is".to_owned());
        };
        let edition = edition(&path)?;
        let watches = self.watches.rest();
        let found = watches.1.clone();
        // A pump that is held up now is asked again before the exec: what counts here is that the rest can be read.
        let empty = || Rest { folder: self.null.as_raw_fd(), ..Rest::default() };
        let log = self.pump.pause(PUMP_STOPS).map_or_else(|_| empty(), |paused| paused.rest);
        let copy = self.state(asker, log, Vec::new(), watches, 0).encode();
        let events = self.ring.next_seq();
        for (id, run) in found {
            self.found(id, run, Finding::Ready(ReadyBy::Log), now);
        }
        let memory = reexec::in_memory(c"section3 state, a copy", &copy?).map_err(|error| words::io(&error))?;
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| "its path holds a NUL byte".to_owned());
        let recipe = Recipe {
            programs: vec![text(path.as_os_str().as_bytes())?],
            argv: vec![c"section3".to_owned(), text(FLAG.as_bytes())?, text(NUMBER.to_string().as_bytes())?],
            environment: reexec::environment_with(super::VARIABLE, "".as_ref()),
            ..Recipe::default()
        };
        let (errands, null, inbox) = (Rc::clone(&self.children.errands), Rc::clone(&self.null), self.inbox.clone());
        task::begin(async move {
            let shown = path.display();
            let asked =
                tokio::time::timeout(LIMIT, converse(&errands, None, &recipe, &null, Some((memory.as_fd(), NUMBER)))).await;
            let outcome = match asked {
                Err(_) => Err(format!("{shown} did not say within {} whether it can take over", Human(LIMIT))),
                Ok(Err((_, errno))) => Err(format!("cannot run {shown}: {}", words::errno(errno))),
                Ok(Ok((status, said))) => match version_in(&said).filter(|_| status.is_success()) {
                    Some(version) => Ok(Rehearsed { version, edition, events }),
                    None => Err(format!("{shown} cannot take over: {}", after(&status.to_string(), &said))),
                },
            };
            // An error means that the supervisor ends.
            let _ = inbox.send(Letter::Rehearsed(outcome)).await;
        });
        Ok(())
    }
}

/// The version in the answer of a program that can take over.
fn version_in(said: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(said).ok()?;
    let version = text.strip_suffix('\n')?.strip_prefix(YES)?;
    let is_plain = (1..=LONGEST_VERSION).contains(&version.len()) && version.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then(|| version.to_owned())
}

/// The other side: says whether this program could go on from the state behind a descriptor, and does nothing else.
pub fn answer(number: &str) -> u8 {
    let said = match could_take_over(number) {
        Ok(()) => Ok(format!("{YES}{VERSION}\n")),
        Err(reason) => Err(format!("{reason}\n")),
    };
    let (Ok(text) | Err(text)) = &said;
    // Whoever does not read it will not believe the exit code either.
    let written = std::io::stdout().write_all(text.as_bytes());
    u8::from(said.is_err() || written.is_err())
}

fn could_take_over(number: &str) -> Result<(), String> {
    let number = number.parse().map_err(|_| format!("`{}` is no number of a descriptor", number.escape_debug()))?;
    let memory = Inherited::default().take(number).ok_or_else(|| format!("descriptor {number} is not open"))?;
    let bytes = reexec::read_memory(memory.as_fd(), parcel::LONGEST)
        .map_err(|error| format!("cannot read the state: {}", words::io(&error)))?;
    State::decode(&bytes).map(drop).map_err(|unfit| unfit.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line_with_a_version() {
        let long = format!("{YES}{}\n", "9".repeat(65));
        for (said, expected) in [
            ("section3 can take over: 1.2.3\n", Some("1.2.3")),
            ("section3 can take over: 1.2.3-rc.1+x\n", Some("1.2.3-rc.1+x")),
            ("section3 can take over: \n", None),
            ("section3 can take over: 1.2.3", None),
            ("section3 can take over: 1.2.3\nmore\n", None),
            ("section3 can take over: 1 2\n", None),
            ("section3 can take over: 1\u{1b}[2J\n", None),
            (&long, None),
            ("warning\nsection3 can take over: 1.2.3\n", None),
            ("", None),
        ] {
            assert_eq!(version_in(said.as_bytes()).as_deref(), expected, "{said:?}");
        }
    }

    #[test]
    fn a_number_that_is_none_is_refused() {
        for number in ["", "x", "-1", "1", "999999"] {
            assert!(could_take_over(number).is_err(), "{number:?}");
        }
    }
}
