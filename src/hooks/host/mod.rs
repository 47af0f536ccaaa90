//! The process that runs scripts: `section3 hook-host`, with a socketpair to the supervisor on descriptor 3.
//!
//! A thread reads frames and answers pings, a thread writes what does not go out at once, every script has a thread of its own
//! with a Lua state and a small runtime. The main thread is the watchdog: it sleeps while nothing runs, and when Lua runs for more
//! than 2 s of CPU without waiting it names the script and ends the process, which ends whatever that script was stuck in. The end
//! of the socket is the end of the process. Never part of the supervisor's own process.

#[cfg(test)]
mod boxed_tests;
mod desk;
mod intake;
mod letter;
mod line;
mod load;
mod outbox;
mod pulse;
mod question;
mod registration;
mod roster;
mod sandbox;
mod source;
#[cfg(test)]
mod tests;
mod thread;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

pub use desk::Desk;
pub use load::{Content, load};
pub use pulse::{Meter, Pulse, STUCK};
pub use source::Folder;

use line::{Line, Notice};
use roster::{Errand, Roster};
use thread::Common;

use super::frame::{Done, FromHost, HookError, LAST_WRITES, MAX_FRAME, ToHost};
use crate::sys::{clock, inherited, process, words};
use crate::value::duration::Human;
use crate::value::{Moment, Signal};
use crate::wire::event::HookFaultKind;

/// The word after the program's name that asks for this process.
pub const WORD: &str = "hook-host";

/// The socket's descriptor.
pub const SOCKET: i32 = 3;

/// The exit code of a host that ended itself because of a script.
pub const CULPRIT: u8 = 86;

/// The exit code of a host that was not started by a supervisor of its own version.
const MISFIT: u8 = 2;

/// How often the watchdog looks while somebody is busy.
const LOOK: Duration = Duration::from_millis(250);

/// How long the last frames may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs the process; its exit code: 0 after `Bye` and after the end of the socket, 86 where a script would not be stopped,
/// 2 where nobody fitting is at the other end.
#[must_use]
pub fn run() -> u8 {
    match inherited::socket(SOCKET) {
        Ok(socket) => {
            let code = serve(socket);
            kill_programs();
            code
        }
        Err(error) => {
            eprintln!("error: section3 {WORD} is started by the supervisor only: descriptor {SOCKET}: {}", words::io(&error));
            MISFIT
        }
    }
}

fn serve(socket: UnixStream) -> u8 {
    let (notices, noticed) = channel();
    let line = Arc::new(Line::new(notices));
    let version = env!("CARGO_PKG_VERSION").to_owned();
    line.outbox.send(&FromHost::Hello { version });
    let roster = Arc::new(Roster::default());
    let threads = socket.try_clone().and_then(|outgoing| {
        line.outbox.open(outgoing.try_clone()?.into());
        let writer = Arc::clone(&line);
        std::thread::Builder::new().name("writer".to_owned()).stack_size(SMALL).spawn(move || writer.outbox.drain(outgoing))?;
        let (reader, roster) = (Arc::clone(&line), Arc::clone(&roster));
        let read = move || {
            let end = Reader { line: Arc::clone(&reader), roster, common: None }.read(socket);
            reader.notice(Notice::Gone(end.err()));
        };
        std::thread::Builder::new().name("reader".to_owned()).stack_size(SMALL).spawn(read)
    });
    let code = match threads {
        Ok(_) => watch(&line, &roster, &noticed),
        Err(error) => {
            eprintln!("error: section3 {WORD}: cannot start its threads: {}", words::io(&error));
            MISFIT
        }
    };
    line.outbox.flush(LAST_WORDS);
    code
}

/// Reading and writing nests little; JSON at most 128 deep.
const SMALL: usize = 512 << 10;

/// The main thread.
fn watch(line: &Line, roster: &Roster, notices: &Receiver<Notice>) -> u8 {
    let mut is_watching = false;
    let mut bye: Option<Moment> = None;
    loop {
        let now = clock::monotonic();
        let next = [is_watching.then_some(LOOK), bye.map(|at| at.since(now))].into_iter().flatten().min();
        let notice = match next {
            Some(wait) => notices.recv_timeout(wait),
            None => notices.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match notice {
            Ok(Notice::Busy) => is_watching = true,
            Ok(Notice::Gone(None)) => {
                roster.leave();
                let limit = clock::monotonic() + LAST_WRITES;
                bye = Some(bye.map_or(limit, |at| at.min(limit)));
            }
            Err(RecvTimeoutError::Disconnected) => return 0,
            Ok(Notice::Gone(Some(reason))) => {
                eprintln!("error: section3 {WORD}: {reason}");
                return MISFIT;
            }
            Ok(Notice::Bye(budget)) => bye = Some(clock::monotonic() + budget),
            Ok(Notice::Ended) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Notice::Broken { script, deliveries, message }) => {
                line.outbox.send(&FromHost::Culprit { script, deliveries, message });
                return CULPRIT;
            }
        }
        let now = clock::monotonic();
        if bye.is_some_and(|at| now >= at || roster.threads() == 0) {
            return 0;
        }
        if !is_watching {
            continue;
        }
        match roster.busiest() {
            Some((script, pulse, busy)) if busy > STUCK => {
                let message = format!("ran for over {} of CPU without waiting, where nothing could stop it", Human(STUCK));
                line.outbox.send(&FromHost::Culprit { script, deliveries: pulse.begun(), message });
                return CULPRIT;
            }
            Some(_) => {}
            None => {
                // Whoever begins after this says so again; whoever began before it is seen here.
                line.is_watched.store(false, Ordering::SeqCst);
                is_watching = roster.busiest().is_some();
                if is_watching {
                    line.is_watched.store(true, Ordering::SeqCst);
                }
            }
        }
    }
}

/// Programs of scripts, each in a group of its own, do not outlive the host.
fn kill_programs() {
    let own = std::process::id().cast_signed();
    let children = process::census().unwrap_or_default().into_iter().filter(|process| process.parent == own);
    for child in children.filter(|child| !child.is_zombie && child.group == child.pid) {
        // The thread that waits for it may reap it meanwhile; its number comes round again only after all others.
        let _ = process::signal_group(child.pid, Signal::KILL);
    }
}

/// The reading thread.
struct Reader {
    line: Arc<Line>,
    roster: Arc<Roster>,
    common: Option<Common>,
}

impl Reader {
    fn read(mut self, socket: UnixStream) -> Result<(), String> {
        let mut socket = BufReader::with_capacity(64 << 10, socket);
        let mut frame = Vec::new();
        loop {
            frame.clear();
            let read = Read::take(&mut socket, MAX_FRAME as u64 + 1).read_until(b'\n', &mut frame);
            match read {
                Ok(_) if frame.last() == Some(&b'\n') => {}
                // The supervisor's end is closed, also where it died in the middle of a frame.
                Ok(_) if frame.len() <= MAX_FRAME => return Ok(()),
                Ok(_) => return Err(format!("a frame of more than {MAX_FRAME} bytes")),
                Err(_) => return Ok(()),
            }
            let message = crate::value::json::from_slice(&frame).map_err(|error| format!("a frame that is none: {error}"))?;
            self.take(message)?;
            // Long frames are rare; their memory is given back.
            frame.shrink_to(KEPT);
        }
    }

    fn take(&mut self, frame: ToHost) -> Result<(), String> {
        match (frame, &self.common) {
            (ToHost::Hello(hello), None) => {
                let own = env!("CARGO_PKG_VERSION");
                if hello.version != own {
                    return Err(format!("the supervisor is version {}, this is {own}", hello.version));
                }
                self.common =
                    Some(Common { line: Arc::clone(&self.line), roster: Arc::clone(&self.roster), hello: Arc::new(hello) });
            }
            (ToHost::Hello(_), Some(_)) => return Err("a second greeting".to_owned()),
            (_, None) => return Err("no greeting".to_owned()),
            (ToHost::Load(load), Some(common)) => common.load(load),
            (ToHost::Unload { script }, _) => self.roster.unload(&script),
            (ToHost::Event(delivery), _) => {
                let (script, number) = (delivery.script.clone(), delivery.delivery);
                if self.roster.hand(&script, Errand::Event(delivery)).is_err() {
                    // Of a script that was unloaded meanwhile.
                    let done = Done { deliveries: vec![number], run_ms: None, error: None };
                    self.line.outbox.send(&FromHost::Done(done));
                }
            }
            (ToHost::Answer(answer), _) => self.line.answered(answer),
            (ToHost::Ask(ask), _) => {
                let (script, number) = (ask.script.clone(), ask.ask);
                if self.roster.hand(&script, Errand::Ask(ask)).is_err() {
                    let message = format!("{script} is not loaded");
                    let result = Err(HookError { kind: HookFaultKind::Load, message, traceback: None });
                    self.line.outbox.send(&FromHost::Answer { ask: number, run_ms: None, result });
                }
            }
            (ToHost::Drop { ask }, _) => self.roster.drop_ask(ask),
            (ToHost::Ping { number }, _) => {
                self.line.outbox.send(&FromHost::Pong { number });
            }
            (ToHost::Bye { budget_ms }, _) => {
                self.roster.bye();
                self.line.notice(Notice::Bye(Duration::from_millis(budget_ms)));
            }
        }
        Ok(())
    }
}

/// What the reading thread keeps for frames.
const KEPT: usize = 64 << 10;
