//! The host's process: launched, watched, killed, brought back.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

use super::frames::Culprit;
use super::link::{self, Heard, Link, Written};
use super::scripts::State;
use super::{Hooks, calls, stderr};
use crate::daemon::clock::Now;
use crate::daemon::event_loop::Daemon;
use crate::daemon::inbox::Letter;
use crate::daemon::recipe::resource_number;
use crate::daemon::task::Task;
use crate::hooks::delivery::{Blame, Died};
use crate::hooks::frame::{Hello, LAST_WRITES, Load, ToHost};
use crate::hooks::quarantine::{Pulse, Sign};
use crate::spec::Resource;
use crate::sys::child::Limit;
use crate::sys::spawn::{self, Launch, Recipe};
use crate::sys::wait::Zombie;
use crate::sys::{init, process, words};
use crate::value::duration::Human;
use crate::value::{ExitStatus, Moment, Signal};
use crate::wire::event::{HookFault, HookFaultKind};

/// The mark of the host and of what it starts, in place of a service's name, which can hold no `@`.
pub const MARK: &str = "@hooks";
/// The host's end of the socketpair.
const DESCRIPTOR: i32 = 3;
/// For the last frames of a host that has ended to be read. They are there; only a process that it started and that kept
/// its descriptor could make it take longer.
pub(super) const LAST_FRAMES: Duration = Duration::from_secs(1);
/// For all of it: scripts have 32 MiB each and a handful run at once. glibc reserves address space by the GiB for the
/// arenas of its threads, musl does not.
const ADDRESS_SPACE: u64 = if cfg!(target_env = "musl") { 512 << 20 } else { 4 << 30 };
/// It dies before any service does.
const OOM_SCORE: &str = "800";

/// The host.
#[derive(Debug)]
pub enum Host {
    /// None is there, none is needed.
    Down,
    /// The next one is launched then.
    Waiting {
        /// When.
        until: Moment,
    },
    /// There is one.
    Up(Box<Up>),
}

/// A host that has a process.
#[derive(Debug)]
pub struct Up {
    /// Which host: what is heard of an earlier one changes nothing.
    number: u64,
    pub(super) pid: i32,
    pub(super) since: Moment,
    pub(super) link: Link,
    pub(super) pulse: Pulse,
    pub(super) has_greeted: bool,
    pub(super) culprit: Option<Culprit>,
    pub(super) calls: calls::Calls,
    launch: Launch,
    stage: Stage,
    /// It was told to end.
    is_asked: bool,
    /// What it was killed for.
    condemned: Option<String>,
    has_closed: bool,
    _tasks: [Task; 2],
    draining: Option<Task>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Working,
    /// It was told to end, and is killed then.
    Leaving {
        until: Moment,
    },
    /// Its process was seen to have ended; what it said last may still be on its way.
    Ended {
        status: ExitStatus,
        until: Moment,
    },
}

/// A letter about a host.
#[derive(Debug)]
pub struct HostNote {
    /// Which host.
    pub(super) number: u64,
    pub(super) what: What,
}

/// What there is to say of it.
#[derive(Debug)]
pub(super) enum What {
    /// It said something.
    Heard(Heard),
    /// The answer to one of its calls is known.
    Called(u64, calls::Returned),
}

impl Up {
    /// When something is due. Once it was killed there is nothing to do but wait for its end.
    pub fn deadline(&self) -> Option<Moment> {
        match self.stage {
            Stage::Ended { until, .. } => Some(until),
            Stage::Working | Stage::Leaving { .. } if self.condemned.is_some() => None,
            Stage::Working => Some(self.pulse.deadline()),
            Stage::Leaving { until } => Some(until),
        }
    }

    /// Whether it takes events.
    pub const fn is_listening(&self) -> bool {
        matches!(self.stage, Stage::Working) && self.condemned.is_none() && self.has_greeted
    }

    /// Whether it was told to end, and lives.
    pub const fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Leaving { .. }) && self.condemned.is_none()
    }

    /// Which host it is.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Kills it. Once.
    pub fn condemn(&mut self, why: &str) {
        if self.condemned.is_some() || matches!(self.stage, Stage::Ended { .. }) {
            return;
        }
        tracing::error!("killing the hook host (PID {}): {why}", self.pid);
        self.condemned = Some(why.to_owned());
        // Not reaped yet: the number is its own. Before its program runs it has no group of its own.
        let _ = process::signal_group(self.pid, Signal::KILL);
        let _ = process::signal_leader(self.pid, Signal::KILL);
    }
}

impl Hooks {
    /// Whether this process is the host.
    #[must_use]
    pub fn is_host(&self, pid: i32) -> bool {
        matches!(&self.host, Host::Up(up) if up.pid == pid)
    }

    /// Tells the host to end. It is killed where it does not.
    pub(super) fn say_bye(&mut self, budget: Duration, until: Moment) {
        let budget_ms = crate::value::duration::millis(budget);
        if self.send(&ToHost::Bye { budget_ms })
            && let Some(up) = self.up()
        {
            up.is_asked = true;
            up.stage = Stage::Leaving { until: until + super::LAST_GRACE };
        }
    }

    /// Tells the host to load the newest version of a script.
    pub(super) fn load(&mut self, name: &str) {
        if !self.is_up() || !self.may_run(name) {
            return;
        }
        self.memory.generation += 1;
        let generation = self.memory.generation;
        let Some(script) = self.find_mut(name) else { return };
        script.generation = generation;
        let load = ToHost::Load(Load { script: script.name.clone(), generation, body: script.body.clone() });
        let is_sent = self.send(&load);
        if let Some(script) = self.find_mut(name) {
            let too_long = || State::Refused("its settings are longer than a frame".to_owned());
            script.state = if is_sent { State::Loading } else { too_long() };
        }
    }
}

impl Daemon {
    /// Launches, pings, buries.
    pub(super) fn look_after_host(&mut self, now: Now) {
        self.look_for_predecessor(now);
        let wanted = self.hooks.is_wanted();
        match &mut self.hooks.host {
            Host::Down if self.hooks.predecessor.is_some() => {}
            Host::Down if wanted => self.launch_host(now),
            Host::Waiting { until } if wanted && *until <= now.moment => self.launch_host(now),
            Host::Waiting { .. } if !wanted => self.hooks.host = Host::Down,
            Host::Down | Host::Waiting { .. } => {}
            Host::Up(up) => match up.stage {
                Stage::Working if !wanted && self.hooks.closing.is_none() && up.condemned.is_none() => {
                    let until = now.moment + super::LAST_EVENTS;
                    self.hooks.say_bye(super::LAST_EVENTS, until);
                }
                Stage::Working | Stage::Leaving { .. } if up.condemned.is_some() => {}
                Stage::Working => match up.pulse.look(now.moment) {
                    Sign::Quiet => {}
                    Sign::Ping(number) => drop(up.link.push(&ToHost::Ping { number })),
                    Sign::Dead => up.condemn("it does not answer"),
                },
                Stage::Leaving { until } if until <= now.moment => up.condemn("it did not end in time"),
                Stage::Ended { until, .. } if until <= now.moment || up.has_closed => self.bury_host(now),
                Stage::Leaving { .. } | Stage::Ended { .. } => {}
            },
        }
    }

    /// The host of the program before ends by itself, once what its scripts keep is on the disk. No other reads it before.
    pub(in crate::daemon) fn await_predecessor(&mut self, now: Now) {
        let until = now.moment + LAST_WRITES + super::LAST_GRACE;
        self.hooks.predecessor = self.hooks.predecessor.map(|(pid, _)| (pid, until));
        match self.hooks.predecessor {
            Some(_) => self.look_for_predecessor(now),
            None => self.end_leftovers_of_hosts(),
        }
    }

    fn look_for_predecessor(&mut self, now: Now) {
        let Some((pid, until)) = self.hooks.predecessor else { return };
        let is_there = process::stat(pid).is_some_and(|left| !left.is_zombie && left.parent == std::process::id().cast_signed());
        if !is_there || until <= now.moment {
            self.hooks.predecessor = None;
            self.end_leftovers_of_hosts();
        }
    }

    fn launch_host(&mut self, now: Now) {
        self.hooks.memory.hosts += 1;
        let number = self.hooks.memory.hosts;
        match self.try_launch_host(number, now) {
            Ok(up) => {
                self.hooks.host = Host::Up(Box::new(up));
                let hello = Hello {
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    host: self.ring.origin().host.clone(),
                    boot: self.ring.origin().boot.clone(),
                    state_dir: self.hook_folder(),
                    log_dir: self.log_dir.clone(),
                    secrets: self.hooks.secrets.clone(),
                };
                self.hooks.send(&ToHost::Hello(hello));
                let names: Vec<String> = self.hooks.scripts.iter().map(|script| script.name.clone()).collect();
                for name in names {
                    self.hooks.load(&name);
                }
            }
            Err(message) => {
                let delay = self.hooks.memory.revival.delay(Duration::ZERO);
                tracing::error!("cannot launch the hook host: {message}; next try in {}", Human(delay));
                self.hooks.host = Host::Waiting { until: now.moment + delay };
            }
        }
    }

    /// Where scripts keep what is theirs: beside the socket.
    fn hook_folder(&self) -> PathBuf {
        let mut name = self.surroundings.socket.clone();
        name.push(".hooks");
        name.into()
    }

    fn try_launch_host(&self, number: u64, now: Now) -> Result<Up, String> {
        let folder = self.hook_folder();
        match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(format!("{}: {}", folder.display(), words::io(&error)));
            }
            _ => {}
        }
        let recipe = self.host_recipe(number)?;
        let (ours, theirs) = link::pair()?;
        let (output, input) = pipe2(OFlag::O_CLOEXEC).map_err(words::errno)?;
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(words::errno)?;
        let output = crate::sys::watch::watch(output).map_err(|error| words::io(&error))?;
        let given = Some((theirs.as_fd(), DESCRIPTOR));
        let launch = spawn::spawn(recipe, self.null.as_fd(), input.as_fd(), given)
            .map_err(|(stage, errno)| format!("{}: {}", stage.word(), words::errno(errno)))?;
        let link = Link::new(ours);
        let (inbox, reader) = (self.inbox.clone(), link.clone());
        let reading = Task::begin(async move {
            let tell = |heard| {
                let note = Letter::Host(HostNote { number, what: What::Heard(heard) });
                let inbox = inbox.clone();
                async move { inbox.send(note).await.is_ok() }
            };
            reader.read(tell).await;
        });
        Ok(Up {
            number,
            pid: launch.pid,
            since: now.moment,
            link,
            pulse: Pulse::new(now.moment),
            has_greeted: false,
            culprit: None,
            calls: calls::Calls::default(),
            launch,
            stage: Stage::Working,
            is_asked: false,
            condemned: None,
            has_closed: false,
            _tasks: [reading, Task::begin(stderr::tell(output))],
            draining: None,
        })
    }

    fn host_recipe(&self, number: u64) -> Result<Recipe, String> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| "a NUL byte in the environment".to_owned());
        let marks = [
            ("SECTION3_SERVICE", MARK.to_owned()),
            ("SECTION3_RUN", number.to_string()),
            ("SECTION3_BOOT", self.surroundings.boot.clone()),
        ];
        let is_ours = |name: &[u8]| {
            let others = [b"NOTIFY_SOCKET".as_slice(), b"WATCHDOG_PID", b"WATCHDOG_USEC", b"SECTION3_SOCKET"];
            marks.iter().any(|(mark, _)| mark.as_bytes() == name) || others.contains(&name)
        };
        let inherited = self.surroundings.environment.iter().filter(|(name, _)| !is_ours(name.as_bytes()));
        let inherited = inherited.map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
        let own = marks.iter().map(|(name, value)| format!("{name}={value}").into_bytes());
        let socket = [b"SECTION3_SOCKET=", self.surroundings.socket.as_bytes()].concat();
        let environment = inherited.chain(own).chain([socket]);
        // The very program that runs, even where another version was installed over it: both ends speak the same language.
        let mut programs = vec![text(b"/proc/self/exe")?];
        programs.extend(std::env::current_exe().ok().and_then(|path| CString::new(path.as_os_str().as_bytes()).ok()));
        // Where we were given less, nobody but a mighty root may raise it, and it would not come up at all.
        let most = ADDRESS_SPACE.min(init::most_address_space());
        let limit = Limit { soft: most, hard: most };
        Ok(Recipe {
            programs,
            argv: vec![text(b"section3")?, text(b"hook-host")?],
            environment: environment.map(|pair| text(&pair)).collect::<Result<_, _>>()?,
            umask: 0o077,
            oom_score_adj: Some(text(OOM_SCORE.as_bytes())?),
            limits: vec![(resource_number(Resource::As), limit)],
            no_new_privileges: true,
            ..Recipe::default()
        })
    }

    /// Takes in a letter about the host.
    pub(in crate::daemon) fn host_noted(&mut self, note: HostNote, now: Now) {
        let HostNote { number, what } = note;
        if self.hooks.up().is_none_or(|up| up.number != number) {
            return;
        }
        match what {
            What::Heard(Heard::Frames(frames)) => {
                for frame in frames {
                    self.host_said(frame, now);
                }
            }
            What::Heard(Heard::Garbage(what)) => self.condemn_host(&format!("it sent {what}")),
            What::Heard(Heard::Closed) => {
                if let Some(up) = self.hooks.up() {
                    up.has_closed = true;
                    // It is about to end; one that lives on is deaf and dumb.
                    if matches!(up.stage, Stage::Working) {
                        up.stage = Stage::Leaving { until: now.moment + super::LAST_GRACE };
                    }
                }
            }
            What::Heard(Heard::Room) => {
                if let Some(up) = self.hooks.up() {
                    up.draining = None;
                }
            }
            What::Called(call, returned) => self.call_returned(call, returned, now),
        }
    }

    pub(super) fn condemn_host(&mut self, why: &str) {
        if let Some(up) = self.hooks.up() {
            up.condemn(why);
        }
    }

    /// Writes what waits.
    pub(super) fn write_to_host(&mut self) {
        let inbox = self.inbox.clone();
        let Some(up) = self.hooks.up() else { return };
        match up.link.flush() {
            // A host that is gone is seen by its reader, and by its end.
            Written::All | Written::Waiting | Written::Gone => {}
            Written::Blocked => {
                let (link, number) = (up.link.clone(), up.number);
                up.draining = Some(Task::begin(async move {
                    link.drained().await;
                    drop(inbox.send(Letter::Host(HostNote { number, what: What::Heard(Heard::Room) })).await);
                }));
            }
        }
    }

    /// Its process has ended, and is about to be reaped.
    pub(in crate::daemon) fn host_ended(&mut self, zombie: Zombie, now: Now) {
        // Its group, while the zombie pins the number.
        let _ = process::signal_group(zombie.pid, Signal::KILL);
        if let Some(up) = self.hooks.up() {
            if let Some(spawn::Outcome::Failed(stage, errno)) = up.launch.outcome() {
                tracing::error!("the hook host cannot be launched: {}: {}", stage.word(), words::errno(errno));
            }
            up.stage = Stage::Ended { status: zombie.status, until: now.moment + LAST_FRAMES };
        }
    }

    /// Everything it said is known: draws the consequences.
    fn bury_host(&mut self, now: Now) {
        self.end_leftovers_of_hosts();
        let Host::Up(up) = std::mem::replace(&mut self.hooks.host, Host::Down) else { return };
        let Stage::Ended { status, .. } = up.stage else { return };
        self.drop_asks(now);
        for script in self.hooks.scripts.iter().filter_map(|script| script.ticket) {
            self.orders.loaded(script, Err("the hook host ended before it was loaded".to_owned()));
        }
        // Whoever called from there gets no answer; what was ordered goes on.
        drop(up.calls);
        for ticket in self.orders.clear_out() {
            self.supervisor.drop_ticket(ticket);
        }
        let was_loading: Vec<String> =
            self.hooks.scripts.iter().filter(|script| script.state == State::Loading).map(|script| script.name.clone()).collect();
        for script in &mut self.hooks.scripts {
            script.ticket = None;
            script.loaded = None;
            script.state = State::Absent;
        }
        let blame = up.culprit.as_ref().map(|culprit| Blame { deliveries: &culprit.deliveries });
        let died = self.hooks.memory.deliveries.host_died(blame);
        if up.is_asked && (status.is_success() || up.condemned.is_some()) {
            tracing::info!("the hook host ended");
            return;
        }
        let why = up.condemned.clone().unwrap_or_else(|| status.to_string());
        // One that did not even say who it is has not touched a script.
        if self.hooks.closing.is_none() && up.has_greeted {
            self.find_culprit(up.culprit.as_ref(), &died, &was_loading, &why, now);
        }
        if self.hooks.is_wanted() {
            let delay = self.hooks.memory.revival.delay(now.moment.since(up.since));
            tracing::warn!("the hook host (PID {}) ended: {why}; the next one starts in {}", up.pid, Human(delay));
            self.hooks.host = Host::Waiting { until: now.moment + delay };
        }
    }

    /// Who took the host down: whom it named, or the only one who was at work. Where several were, nobody is blamed for the
    /// host; each event that it died with twice is given up all the same.
    fn find_culprit(&mut self, named: Option<&Culprit>, died: &Died, loading: &[String], why: &str, now: Now) {
        let suspects: Vec<&String> = died.suspects.keys().chain(loading).collect();
        let sole = if let [sole] = suspects.as_slice() { Some((*sole).clone()) } else { None };
        if let Some(script) = named.map(|culprit| culprit.script.clone()).or(sole) {
            let begun = died.suspects.get(&script);
            let message = named.map_or_else(|| format!("the hook host ended: {why}"), |culprit| culprit.message.clone());
            let fault = HookFault {
                script: script.clone(),
                handler: begun.map(|(handler, _)| handler.clone()),
                event_id: begun.map(|(_, seq)| self.event_id(*seq)),
                kind: HookFaultKind::Crash,
                message,
                traceback: None,
            };
            self.tell_fault(fault.clone(), false, begun.map(|(_, seq)| *seq), now);
            if self.hooks.memory.quarantine.took_down(&script, now.moment) {
                let message = format!(
                    "it took the hook host down 3 times within 10 minutes; it stays out until its file changes or \
                     `section3 hook enable {script}`"
                );
                self.tell_fault(HookFault { message, handler: None, event_id: None, ..fault }, true, None, now);
            }
        }
        for (script, handler, seq) in &died.dropped {
            let fault = HookFault {
                script: script.clone(),
                handler: Some(handler.clone()),
                event_id: Some(self.event_id(*seq)),
                kind: HookFaultKind::Crash,
                message: "the hook host died with this event twice; it is given up".to_owned(),
                traceback: None,
            };
            self.tell_fault(fault, false, Some(*seq), now);
        }
    }

    /// Kills what hosts have started and that outlives them.
    pub(in crate::daemon) fn end_leftovers_of_hosts(&self) {
        let census = crate::daemon::census::Census::default();
        let is_left = |pid: &i32| {
            !self.children.is_known(*pid)
                && process::variable(*pid, "SECTION3_SERVICE").is_some_and(|mark| mark == MARK)
                && process::variable(*pid, "SECTION3_BOOT").is_some_and(|boot| boot == self.surroundings.boot)
        };
        let children = process::children().unwrap_or_else(|| census.children());
        let left: Vec<i32> = children.into_iter().filter(is_left).collect();
        for process in census.below(&left).into_iter().filter(|process| !process.is_zombie) {
            let _ = process::signal_exactly(process, Signal::KILL);
        }
    }

    /// A version of a script is in force, or is not to be: tells the client that waits for it.
    pub(super) fn settle_load(&mut self, script: &str, outcome: Result<String, String>) {
        let ticket = self.hooks.find_mut(script).and_then(|script| script.ticket.take());
        if let Some(ticket) = ticket {
            self.orders.loaded(ticket, outcome);
        }
    }
}

#[cfg(test)]
mod tests;
