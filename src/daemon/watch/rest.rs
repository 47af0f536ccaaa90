//! The watches across a re-exec: what is asked is asked again, what is heard goes on to be heard, on the same descriptors.

use std::os::fd::{AsRawFd, RawFd};

use serde::{Deserialize, Serialize};

use super::{Channel, Heard, Prepared, Source, Watch, Watches, Words};
use crate::daemon::event_loop::Daemon;
use crate::daemon::recipe::Materials;
use crate::probe::health::Standing;
use crate::supervision::ServiceId;
use crate::sys::reexec::Inherited;
use crate::value::{Moment, Run, hex};
use crate::wire::State;
use crate::wire::event::HealthWord;

/// One watch, written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct WatchRest {
    id: ServiceId,
    run: Run,
    materials: Materials,
    uid: u32,
    /// `NOTIFY_SOCKET`, and what is known of the watchdog.
    channel: Option<(RawFd, Heard)>,
    /// The supervisor's end of `notify: {fd: N}`.
    pipe: Option<RawFd>,
    /// The begun line of an output that is searched.
    output: Option<Begun>,
    /// What is thought of its health, and when it is checked next.
    checks: Option<(Standing, Moment)>,
    watchdog: Option<HealthWord>,
    words: Words,
}

/// A begun line.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Begun(#[serde(with = "hex")] Vec<u8>);

impl WatchRest {
    /// The descriptors it needs.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.channel.map(|(number, _)| number).into_iter().chain(self.pipe)
    }
}

impl Watches {
    /// Whether something is in hand that cannot be written down, for a moment: output that another thread searches, or that
    /// waits for the launch of its run to be over.
    pub fn is_in_between(&self) -> bool {
        self.of.values().any(|watch| {
            let source = watch.asking.as_ref().map(|asking| &asking.source);
            matches!(watch.prepared, Some(Prepared::Output(..)))
                || matches!(source, Some(Source::Output(search)) if search.lines.borrow().is_none())
        })
    }

    /// All of them, to be written down, and the runs whose ready line was found in what is here already.
    pub fn rest(&self) -> (Vec<WatchRest>, Vec<(ServiceId, Run)>) {
        let mut found = Vec::new();
        let mut all = Vec::new();
        for (id, watch) in &self.of {
            let mut rest = WatchRest {
                id: *id,
                run: watch.run,
                materials: watch.materials.clone(),
                uid: watch.uid,
                channel: watch.hearing.as_ref().map(|hearing| (hearing.number, hearing.heard.get())),
                pipe: None,
                output: None,
                checks: watch.checks.as_ref().map(|checks| (checks.standing, checks.next_at.get())),
                watchdog: watch.watchdog,
                words: watch.words.borrow().clone(),
            };
            match &watch.prepared {
                Some(Prepared::Channel(channel, heard)) => rest.channel = Some((channel.number(), *heard)),
                Some(Prepared::Pipe(pipe)) => rest.pipe = Some(pipe.as_raw_fd()),
                // See `is_in_between`.
                Some(Prepared::Output(..)) | None => {}
            }
            match watch.asking.as_ref().map(|asking| &asking.source) {
                Some(Source::Pipe(pipe)) => rest.pipe = pipe.upgrade().map(|pipe| pipe.get_ref().as_raw_fd()),
                Some(Source::Output(search)) => {
                    if let Some(lines) = search.lines.borrow_mut().as_mut() {
                        let mut output = search.output.borrow_mut();
                        while let Some(part) = output.next_now() {
                            if lines.take(&part) {
                                found.push((*id, watch.run));
                            }
                        }
                        rest.output = Some(Begun(lines.unfinished().to_vec()));
                    }
                }
                Some(Source::Question) | None => {}
            }
            all.push(rest);
        }
        (all, found)
    }
}

impl Daemon {
    /// Watches on. The pump must not have read anything yet: what it reads first is what comes next.
    pub(in crate::daemon) fn watch_on(&mut self, rest: Vec<WatchRest>, inherited: &Inherited) {
        for rest in rest {
            let WatchRest { id, run, materials, uid, channel, pipe, output, checks, watchdog, words } = rest;
            let prepared = match (channel, pipe, output) {
                (Some((number, heard)), ..) => {
                    inherited.take(number).map(|socket| Prepared::Channel(Channel::inherited(socket), heard))
                }
                (None, Some(number), _) => inherited.take(number).map(Prepared::Pipe),
                (None, None, Some(begun)) => Some(Prepared::Output(self.follow_output(id), begun.0)),
                (None, None, None) => None,
            };
            let hears = matches!(prepared, Some(Prepared::Channel(..)));
            let mut watch = Watch { materials, uid, prepared, ..Watch::plain(run) };
            watch.watchdog = watchdog;
            watch.words.replace(words);
            self.watches.of.insert(id, watch);
            let Some(service) = self.supervisor.service(id).filter(|service| service.run() == run) else { continue };
            let is_starting = service.word() == State::Starting && service.executed_at().is_some();
            if is_starting || (hears && service.executed_at().is_some()) {
                self.ask_ready(id, run);
            }
            if checks.is_some() {
                self.check_health(id, run, checks);
            }
        }
    }
}
