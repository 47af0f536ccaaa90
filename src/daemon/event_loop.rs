//! The loop: signals, letters, deadlines in; decisions out.

use std::cell::Cell;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signalfd::SignalFd;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::advice::Questions;
use super::children::Children;
use super::clock::{Alarm, Now, Share};
use super::executor::Backlog;
use super::guard::guarded;
use super::handover::{Asker, Handover};
use super::hooks::{Catalogue, Hooks, Memory};
use super::inbox::{CAPACITY, Letter, ReloadOrder};
use super::occupancy::{Occupancy, Refusal};
use super::orders::Orders;
use super::recipe::Surroundings;
use super::rest::{self, Rest};
use super::ring::Ring;
use super::streams::Subscribers;
use super::tails::Tails;
use super::watch::Watches;
use crate::control::server::{self, Call};
use crate::log::{LogCounters, Pump};
use crate::spec::Spec;
use crate::supervision::{ServiceId, Supervisor};
use crate::sys::{init, signals, task, wait, words};
use crate::value::sorted::Map;
use crate::value::version::VERSION;
use crate::value::{Moment, Signal};
use crate::wire::event::{Actor, Kind, Origin};

/// Ended children that are looked at in one turn: an avalanche of orphans must not keep the socket waiting.
const REAPED_A_TURN: usize = 256;
/// Letters read in one turn: as many as may wait, so that whoever writes finds room in the next one.
const LETTERS_A_TURN: usize = CAPACITY;
/// What ended children may take of a turn, and letters. With the launches of a turn this bounds how long a client waits for
/// its next step; it takes about five turns from its connection to its answer.
const SHARE: Duration = Duration::from_millis(5);
/// From one `orphan` event to the next.
const ORPHAN_NOTICE: Duration = Duration::from_secs(60);
/// For the console and the logs to take the last words.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What the boot hands over.
pub struct Parts {
    pub spec: Spec,
    pub catalogue: Catalogue,
    pub config_path: PathBuf,
    pub log_dir: PathBuf,
    pub origin: Origin,
    pub began: Moment,
    pub surroundings: Surroundings,
    pub restrictions: Vec<String>,
    pub occupancy: Occupancy,
    pub pump: Pump,
    pub null: OwnedFd,
    pub program: Option<PathBuf>,
    pub inbox: mpsc::Sender<Letter>,
}

/// Where connections leave requests for the inbox, whatever they came through. Must be called in a `LocalRuntime`.
fn pass_on(inbox: mpsc::Sender<Letter>) -> mpsc::Sender<Call> {
    let (calls, mut asked) = mpsc::channel(1);
    task::begin(async move {
        while let Some(call) = asked.recv().await {
            if inbox.send(Letter::Call(call)).await.is_err() {
                return;
            }
        }
    });
    calls
}

/// The supervisor at work: the pure machine, and everything it acts on.
pub struct Daemon {
    pub(super) supervisor: Supervisor,
    pub(super) children: Children,
    pub(super) backlog: Backlog,
    pub(super) logs: Map<ServiceId, Arc<LogCounters>>,
    pub(super) pump: Pump,
    pub(super) ring: Ring,
    pub(super) orders: Orders,
    pub(super) questions: Questions,
    pub(super) subscribers: Subscribers,
    pub(super) tails: Tails,
    pub(super) surroundings: Surroundings,
    pub(super) restrictions: Vec<String>,
    pub(super) occupancy: Occupancy,
    pub(super) config_path: PathBuf,
    pub(super) log_dir: PathBuf,
    pub(super) began: Moment,
    pub(super) null: Rc<OwnedFd>,
    pub(super) watches: Watches,
    pub(super) hooks: Hooks,
    pub(super) inbox: mpsc::Sender<Letter>,
    /// A reload is under way; the one that came meanwhile by signal, to be done after it.
    pub(super) reloading: bool,
    pub(super) reload_again: Option<Signal>,
    pub(super) places: server::Places,
    /// Where connections leave their requests.
    pub(super) calls: mpsc::Sender<Call>,
    /// The number of the listening socket.
    pub(super) listening: Cell<i32>,
    /// Held by every answer that goes on for a while and has an end.
    pub(super) flows: Rc<()>,
    pub(super) handover: Handover,
    rest: Rest,
    pub(super) orphans: u64,
    pub(super) orphan_notice_at: Option<Moment>,
    pub(super) asked_to_stop: bool,
}

impl Daemon {
    /// Must be called in a `LocalRuntime`.
    pub fn new(parts: Parts) -> Self {
        // From the first event of this boot on.
        let hooks = Hooks::new(parts.catalogue, parts.spec.scripts.secrets.clone(), 1, Memory::default());
        let Parts { spec, config_path, log_dir, origin, began, surroundings, restrictions, occupancy, pump, .. } = parts;
        let Parts { null, program, inbox, .. } = parts;
        Self {
            calls: pass_on(inbox.clone()),
            listening: Cell::new(-1),
            flows: Rc::new(()),
            handover: Handover::new(program),
            supervisor: Supervisor::new(&spec),
            children: Children::new(surroundings.boot.clone()),
            backlog: Backlog::default(),
            logs: Map::new(),
            pump,
            ring: Ring::new(origin, began),
            orders: Orders::default(),
            questions: Questions::default(),
            subscribers: Subscribers::default(),
            tails: Tails::default(),
            surroundings,
            restrictions,
            occupancy,
            config_path,
            log_dir,
            began,
            null: Rc::new(null),
            watches: Watches::default(),
            hooks,
            inbox,
            reloading: false,
            reload_again: None,
            places: server::Places::default(),
            rest: Rest::default(),
            orphans: 0,
            orphan_notice_at: None,
            asked_to_stop: false,
        }
    }

    /// Serves clients from now on, until the task is ended.
    pub fn serve(&self, listener: std::os::unix::net::UnixListener) -> std::io::Result<JoinHandle<()>> {
        let listener = tokio::net::UnixListener::from_std(listener)?;
        self.listening.set(listener.as_raw_fd());
        Ok(task::begin(server::serve(listener, self.places.clone(), self.calls.clone())))
    }

    /// Runs until everything is done; returns the exit code.
    pub async fn run(
        mut self,
        signals: AsyncFd<SignalFd>,
        mut letters: mpsc::Receiver<Letter>,
        mut listener: JoinHandle<()>,
    ) -> u8 {
        let mut now = Now::read();
        self.rest.turn(now.moment);
        // The log thread is woken once a turn, and last: it has time, and on a busy machine it would have the processor before
        // those who wait for this turn.
        let mut undisturbed = self.pump.undisturbed();
        let mut alarm = Alarm::default();
        let code = loop {
            guarded(|| self.carry_out(now));
            guarded(|| self.feed_hooks(now));
            if let Some(code) = self.supervisor.finished().filter(|_| self.backlog.is_idle() && self.hooks.is_over(now.moment)) {
                break code;
            }
            let due = self.next_deadline();
            let mut letter = None;
            // Connections, probes and the outcomes of launches are tasks beside this one, and have their turn only while this
            // one waits. Where thousands of services crash there is always something at once below, and nobody ever would.
            if !letters.is_empty() || self.backlog.is_busy() || due.is_some_and(|due| due <= now.moment) {
                tokio::task::yield_now().await;
            }
            drop(undisturbed);
            tokio::select! {
                biased;
                ready = signals.readable() => if let Ok(mut ready) = ready {
                    guarded(|| self.take_signals(ready.get_inner(), &mut listener, Now::read()));
                    ready.clear_ready();
                },
                // Never the end: we hold a sender ourselves.
                received = letters.recv() => letter = received,
                // Launches wait for their turn: look around, then go on with them.
                () = std::future::ready(()), if self.backlog.is_busy() => {}
                () = alarm.ring(due, now.moment) => {}
            }
            undisturbed = self.pump.undisturbed();
            now = Now::read();
            let share = Share::of(SHARE);
            let more = std::iter::from_fn(|| letters.try_recv().ok()).take(LETTERS_A_TURN);
            for letter in letter.into_iter().chain(more) {
                guarded(|| self.read(letter, now));
                if share.is_over() {
                    break;
                }
            }
            guarded(|| self.look_around(now));
            guarded(|| self.reexec_when_calm(&mut letters, now));
            if self.rest.turn(now.moment) {
                rest::begin();
            }
        };
        drop(undisturbed);
        self.end(code, listener).await
    }

    /// The boot: tells of it, and starts every service.
    pub fn begin(&mut self, leftovers: Option<(usize, usize)>, now: Now) {
        let pid = std::process::id();
        self.tell(None, Kind::DaemonStart { version: VERSION, pid, pid1: pid == 1 }, Actor::Supervisor, now);
        for restriction in &self.restrictions {
            tracing::warn!("{restriction}");
        }
        match leftovers {
            None | Some((0, 0)) => {}
            Some((ended, 0)) => tracing::warn!("ended {ended} processes that a supervisor before this one had left behind"),
            Some((_, left)) => tracing::error!("{left} processes of a supervisor before this one cannot be ended"),
        }
        let services: Vec<_> = self.supervisor.services().map(|(id, service)| (id, service.spec().clone())).collect();
        for (id, spec) in services {
            self.open_log(id, &spec);
        }
        self.supervisor.boot(now.moment);
        self.look_after_hooks(now);
    }

    fn next_deadline(&self) -> Option<Moment> {
        let own = [self.orphan_notice_at, self.handover.deadline(), self.hooks.deadline(), self.rest.due()];
        [self.supervisor.deadline(), self.questions.deadline(), self.backlog.deadline()].into_iter().chain(own).flatten().min()
    }

    fn tick(&mut self, now: Now) {
        if self.orphan_notice_at.is_some_and(|at| at <= now.moment) {
            self.orphan_notice_at = None;
            if self.orphans > 0 {
                self.tell_orphans(now);
            }
        }
        self.give_up_drains(now);
    }

    /// Whatever no letter tells of: ended children and deadlines.
    fn look_around(&mut self, now: Now) {
        if self.backlog.unreaped {
            self.reap(now);
        }
        self.look_after_hooks(now);
        self.expire_questions(now);
        self.supervisor.tick(now.moment);
        self.tick(now);
    }

    pub(super) fn read(&mut self, letter: Letter, now: Now) {
        match letter {
            Letter::Call(call) => self.answer(call, now),
            Letter::Launched(id, run) => self.launched(id, run, now),
            Letter::Gathered(id, run, materials) => self.gathered(id, run, materials, now),
            Letter::Found(id, run, finding) => self.found(id, run, finding, now),
            Letter::Log(report) => self.log_reported(report, now),
            Letter::Rehearsed(outcome) => self.rehearsed(outcome, now),
            Letter::ConfigRead(order, result) => self.reload_read(*order, result, now),
            Letter::Host(note) => self.host_noted(note, now),
            Letter::Inquiry(inquiry) => self.inquired(inquiry, now),
        }
    }

    // Signals

    fn take_signals(&mut self, descriptor: &SignalFd, listener: &mut JoinHandle<()>, now: Now) {
        for arrived in signals::waiting(descriptor) {
            match arrived.signal.number() {
                libc::SIGCHLD => self.backlog.unreaped = true,
                libc::SIGTERM | libc::SIGINT => self.asked_to_stop(arrived.signal, now),
                libc::SIGHUP => {
                    self.mend_socket(listener);
                    self.reload_by_signal(arrived.signal);
                }
                libc::SIGUSR2 => self.begin_reexec(Asker { actor: Actor::Signal(arrived.signal), answer: None }, now),
                // These mean nothing to a program that does not ask for them, and come at every `fg` and resized window.
                libc::SIGCONT | libc::SIGWINCH | libc::SIGURG => {}
                // Never fatal; what nobody documents is not acted upon.
                _ => tracing::info!("ignored {} from PID {}", arrived.signal, arrived.from_pid),
            }
        }
    }

    /// The first request to end is polite, the second one is not.
    fn asked_to_stop(&mut self, signal: Signal, now: Now) {
        if std::mem::replace(&mut self.asked_to_stop, true) {
            tracing::warn!("{signal} again: killing everything now");
            self.supervisor.kill_all(now.moment);
            self.kill_host();
        } else {
            self.supervisor.shut_down(signal.to_string(), Actor::Signal(signal), now.moment);
        }
    }

    fn mend_socket(&mut self, listener: &mut JoinHandle<()>) {
        let shown = self.occupancy.socket().display().to_string();
        let made = match self.occupancy.mend(&self.surroundings.boot).map_err(Refusal::into_message) {
            Ok(None) => return,
            Ok(Some(socket)) => self.serve(socket).map_err(|error| words::io(&error)),
            Err(message) => Err(message),
        };
        match made {
            Ok(serving) => {
                listener.abort();
                *listener = serving;
                tracing::info!("made the socket {shown} again");
            }
            Err(message) => tracing::error!("cannot make the socket {shown} again: {message}"),
        }
    }

    fn reload_by_signal(&mut self, signal: Signal) {
        if self.reloading {
            self.reload_again = Some(signal);
        } else {
            let order = ReloadOrder { actor: Actor::Signal(signal), dry_run: false, apply: false, answer: None };
            self.begin_reload(order);
        }
    }

    // Children

    fn reap(&mut self, now: Now) {
        self.backlog.unreaped = true;
        let share = Share::of(SHARE);
        for _ in 0..REAPED_A_TURN {
            if share.is_over() {
                break;
            }
            let Some(zombie) = wait::peek() else {
                self.backlog.unreaped = false;
                break;
            };
            match self.children.ended(zombie) {
                Some((id, run)) => {
                    // While the zombie pins its number: what the machine wants done to the group is done now.
                    self.main_process_ended(id, run, zombie, now);
                    self.obey(now);
                }
                None if self.children.errands.ended(zombie) => {}
                None if self.hooks.is_host(zombie.pid) => self.host_ended(zombie, now),
                None => self.orphans += 1,
            }
            self.children.reap(zombie);
        }
        if self.orphans > 0 && self.orphan_notice_at.is_none() {
            self.tell_orphans(now);
        }
        for (id, run) in self.children.clear() {
            self.drain(id, run, now);
        }
    }

    /// At most one event a minute: the first orphans are told at once, the others together.
    fn tell_orphans(&mut self, now: Now) {
        let reaped = std::mem::take(&mut self.orphans);
        self.orphan_notice_at = Some(now.moment + ORPHAN_NOTICE);
        self.tell(None, Kind::Orphan { reaped }, Actor::Supervisor, now);
    }

    // The end

    async fn end(mut self, code: u8, listener: JoinHandle<()>) -> u8 {
        listener.abort();
        let now = Now::read();
        if self.orphans > 0 {
            self.tell_orphans(now);
        }
        self.tell(None, Kind::DaemonStop { exit_code: code }, Actor::Supervisor, now);
        self.subscribers.close();
        // Whatever still descends from our services and could not be told whose it was.
        if std::process::id() == 1 {
            init::kill_everybody();
        } else {
            for _ in 0..10 {
                if !self.children.kill_all() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                while let Some(zombie) = wait::peek() {
                    self.children.reap(zombie);
                }
            }
        }
        while let Some(zombie) = wait::peek() {
            self.children.reap(zombie);
        }
        let Self { pump, occupancy, places, orders, .. } = self;
        // Whoever still waits for something learns by the end of the connection that it will not come.
        drop(orders);
        places.emptied(LAST_WORDS).await;
        occupancy.leave();
        drop(pump.shutdown(LAST_WORDS));
        code
    }
}
