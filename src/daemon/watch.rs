//! Readiness and health of the runs: who is asked what, what is heard from whom, and what became of it.
//!
//! Each run that has a process has a watch; it ends with its run. What a task of a watch finds comes as a letter that
//! carries the run, so that what is late changes nothing. Nothing here wakes up where nothing is asked.

mod rest;

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::future::poll_fn;
use std::os::fd::{OwnedFd, RawFd};
use std::rc::{Rc, Weak};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{geteuid, pipe2};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

use super::clock::{Alarm, Now};
use super::errand;
use super::event_loop::Daemon;
use super::inbox::Letter;
use super::question::{Asked, Places, Question};
use super::recipe::{self, Materials};
use super::task::Task;
use crate::hooks::frame;
use crate::log::{FollowEnd, Following, LogId, following};
use crate::probe::health::Standing;
use crate::probe::newline::newline;
use crate::probe::note::{self, Watchdog};
use crate::probe::notify::{Channel, Listening, Speaker};
use crate::probe::pattern::Lines;
use crate::spec::{self, Command, Definition, HealthAction, Notify, Probe};
use crate::supervision::{Fact, ServiceId};
use crate::sys::init::random_id;
use crate::sys::spawn::Recipe;
use crate::sys::watch::watch;
use crate::sys::{task, words};
use crate::value::sorted::Map;
use crate::value::{Moment, Run, duration};
use crate::wire::event::{Actor, HealthWord, Kind, LaunchFacts, ReadyBy};
use crate::wire::text::NOT_READY;
use crate::wire::{HealthView, State};

/// A readiness question may take this long, or its interval where that is longer.
const READY_ANSWER: Duration = Duration::from_secs(3);
/// How long a service that speaks to its watchdog may be silent, unless its environment says otherwise.
const WATCHDOG_LIMIT: Duration = Duration::from_secs(30);
/// The shortest silence that counts: less is nothing a loaded machine could keep.
const WATCHDOG_LEAST: Duration = Duration::from_millis(50);
/// Notes of one run taken without a pause, and the pause: whoever says more waits in his own `send`.
const NOTES_A_TURN: u32 = 32;
const NOTES_PAUSE: Duration = Duration::from_millis(50);
/// Output that is searched for a line here; more of it goes to another thread.
const SEARCHED_HERE: usize = 8 << 10;

pub use rest::WatchRest;

/// The watches of all runs.
#[derive(Debug, Default)]
pub struct Watches {
    of: Map<ServiceId, Watch>,
    places: Places,
    /// Tells one series of checks from the next one of the same run.
    series: u64,
}

/// What is watched of one run.
#[derive(Debug)]
struct Watch {
    run: Run,
    materials: Materials,
    uid: u32,
    /// What was laid ready before the launch, so that nothing the run says can be missed.
    prepared: Option<Prepared>,
    asking: Option<Asking>,
    /// Hears what the run says for as long as it lives.
    hearing: Option<Hearing>,
    checks: Option<Checks>,
    /// What its watchdog says; `None` before the first word.
    watchdog: Option<HealthWord>,
    words: Rc<RefCell<Words>>,
}

impl Watch {
    /// Of a run of which nothing is asked yet, and that needed nothing from files.
    fn plain(run: Run) -> Self {
        Self {
            run,
            materials: Materials::default(),
            uid: geteuid().as_raw(),
            prepared: None,
            asking: None,
            hearing: None,
            checks: None,
            watchdog: None,
            words: Rc::default(),
        }
    }
}

#[derive(Debug)]
enum Prepared {
    Channel(Channel, Heard),
    Pipe(OwnedFd),
    /// The output, and a line of it that had begun.
    Output(Following, Vec<u8>),
}

/// A question about readiness that is open. What its task has in hand can be reached from outside: it must live through a
/// re-exec.
#[derive(Debug)]
struct Asking {
    _task: Task,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// It is asked again and again.
    Question,
    /// Gone once there is nothing more to read.
    Pipe(Weak<AsyncFd<OwnedFd>>),
    Output(Rc<Search>),
}

#[derive(Debug)]
struct Hearing {
    _task: Task,
    number: RawFd,
    heard: Rc<Cell<Heard>>,
}

/// What is known of a run's watchdog.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
struct Heard {
    limit: Option<Duration>,
    silent_at: Option<Moment>,
    is_alive: bool,
}

/// The search for a line of output.
#[derive(Debug)]
struct Search {
    /// `None` while another thread has it.
    lines: RefCell<Option<Lines>>,
    output: RefCell<Following>,
}

#[derive(Debug)]
struct Checks {
    series: u64,
    standing: Standing,
    next_at: Rc<Cell<Moment>>,
    _task: Task,
}

/// What there is to say about a run, for `status`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename = "[]")]
struct Words {
    /// `STATUS=`.
    status: Option<String>,
    /// `STOPPING=1`.
    is_stopping: bool,
    /// Why it was not ready at the last question.
    refusal: Option<String>,
}

/// What a task of a watch found.
#[derive(Debug)]
pub enum Finding {
    /// It is ready.
    Ready(ReadyBy),
    /// Its output was more than could be searched: a new search is needed.
    OutputMissed,
    /// Its health was checked.
    Checked { series: u64, asked: Asked },
    /// Its watchdog heard of it, after silence or for the first time.
    WatchdogAlive,
    /// Its watchdog did not, or was told to act; in words.
    WatchdogUnhappy(String),
}

impl Watches {
    fn get(&mut self, id: ServiceId, run: Run) -> Option<&mut Watch> {
        self.of.get_mut(&id).filter(|watch| watch.run == run)
    }

    /// The run is on its way out: asks nothing more, but goes on to hear it.
    pub fn stop_asking(&mut self, id: ServiceId, run: Run) {
        if let Some(watch) = self.get(id, run) {
            watch.asking = None;
            watch.checks = None;
            watch.words.borrow_mut().refusal = None;
        }
    }

    /// Nothing is left of the run.
    pub fn forget(&mut self, id: ServiceId, run: Run) {
        if self.get(id, run).is_some() {
            self.of.remove(&id);
        }
    }

    /// What the present run says about itself, or why it is not ready yet.
    #[must_use]
    pub fn message(&self, id: ServiceId) -> Option<String> {
        let words = self.of.get(&id)?.words.borrow();
        let own = words.status.clone().filter(|status| !status.is_empty());
        own.or_else(|| words.is_stopping.then(|| "it says that it is stopping".to_owned()))
            .or_else(|| words.refusal.as_ref().map(|why| format!("{NOT_READY}: {why}")))
    }

    /// What is thought of the health of the present run; `None` where nobody asks.
    #[must_use]
    pub fn health(&self, id: ServiceId) -> Option<HealthView> {
        let watch = self.of.get(&id)?;
        let checked = watch.checks.as_ref().map(|checks| checks.standing.word());
        let word = match (checked, watch.watchdog) {
            (_, Some(HealthWord::Unhealthy)) => HealthWord::Unhealthy,
            (checked, watchdog) => checked.or(watchdog)?,
        };
        Some(match word {
            HealthWord::Unknown => HealthView::Unknown,
            HealthWord::Healthy => HealthView::Healthy,
            HealthWord::Unhealthy => HealthView::Unhealthy,
        })
    }
}

impl Daemon {
    /// Lays ready what the run will say that it is ready with; returns a descriptor that it is to get, and its number.
    pub(super) fn prepare_watch(
        &mut self,
        id: ServiceId,
        run: Run,
        spec: &spec::Service,
        materials: Materials,
        recipe: &mut Recipe,
    ) -> Result<Option<(OwnedFd, RawFd)>, LaunchFacts> {
        let failed = |errno| LaunchFacts { stage: "ready", message: format!("cannot listen for it: {}", words::errno(errno)) };
        let mut given = None;
        let prepared = match spec.definition.ready.as_ref().map(|ready| &ready.probe) {
            Some(Probe::Notify(Notify::Systemd)) => {
                let name = format!("section3/{}/{}", self.surroundings.boot, random_id());
                let channel = Channel::open(&name).map_err(failed)?;
                let limit = announce(&channel, recipe);
                Some(Prepared::Channel(channel, Heard { limit, ..Heard::default() }))
            }
            Some(Probe::Notify(Notify::Fd(number))) => {
                let (pipe, end) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
                fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(failed)?;
                given = Some((end, *number));
                Some(Prepared::Pipe(pipe))
            }
            Some(Probe::Log(_)) => Some(Prepared::Output(self.follow_output(id), Vec::new())),
            Some(Probe::Tcp { .. } | Probe::Http(_) | Probe::Exec(_) | Probe::File(_) | Probe::Plugin { .. }) | None => None,
        };
        // Of most services nothing is asked, and a reload that begins to ask makes the watch then.
        let is_plain =
            spec.definition.ready.is_none() && spec.policy.health.is_none() && !Materials::are_needed(&spec.definition);
        if !is_plain {
            let uid = recipe.identity.as_ref().map_or_else(|| geteuid().as_raw(), |identity| identity.uid);
            self.watches.of.insert(id, Watch { materials, uid, prepared, ..Watch::plain(run) });
        }
        Ok(given)
    }

    /// All output of a service from now on.
    fn follow_output(&self, id: ServiceId) -> Following {
        let (follower, output) = following();
        // What was written before is of no interest.
        self.pump.snapshot(LogId(id.0), false, Some(follower), Box::new(drop));
        output
    }

    /// Begins to ask whether a run is ready, or to listen for it.
    pub(super) fn ask_ready(&mut self, id: ServiceId, run: Run) {
        let Some(service) = self.supervisor.service(id) else { return };
        let (spec, pid) = (service.spec().clone(), service.pid().unwrap_or_default());
        let Some(ready) = &spec.definition.ready else { return };
        let question = self.question(id, run, &spec, &ready.probe, false);
        let Some(watch) = self.watches.get(id, run) else { return };
        let (words, prepared, uid) = (Rc::clone(&watch.words), watch.prepared.take(), watch.uid);
        let inbox = self.inbox.clone();
        let find = move |finding| {
            let inbox = inbox.clone();
            // An error means that the supervisor ends.
            async move { drop(inbox.send(Letter::Found(id, run, finding)).await) }
        };
        let (task, source) = match (question, prepared, &ready.probe) {
            (Some(mut question), ..) => {
                let (interval, by) = (ready.interval, ready_by(&ready.probe));
                let limit = ready.interval.max(READY_ANSWER).min(ready.timeout);
                let task = Task::begin(async move {
                    while let Asked { answer: Err(refusal), .. } = question.ask(limit).await {
                        words.borrow_mut().refusal = Some(refusal);
                        tokio::time::sleep(interval).await;
                    }
                    words.borrow_mut().refusal = None;
                    find(Finding::Ready(by)).await;
                });
                (task, Source::Question)
            }
            (None, Some(Prepared::Channel(channel, heard)), _) => {
                let name = spec.name.as_str().to_owned();
                let marks = [("SECTION3_SERVICE", name), ("SECTION3_RUN", run.to_string())];
                let marks = marks.into_iter().chain([("SECTION3_BOOT", self.surroundings.boot.clone())]).collect();
                let number = channel.number();
                match channel.listen(Speaker { pid, uid, marks }) {
                    Ok(listening) => {
                        let heard = Rc::new(Cell::new(heard));
                        let task = Task::begin(hear(listening, Rc::clone(&heard), words, find));
                        watch.hearing = Some(Hearing { _task: task, number, heard });
                    }
                    Err(error) => words.borrow_mut().refusal = Some(words::io(&error)),
                }
                return;
            }
            (None, Some(Prepared::Pipe(pipe)), _) => {
                let pipe = match self::watch(pipe) {
                    Ok(pipe) => Rc::new(pipe),
                    Err(error) => return words.borrow_mut().refusal = Some(words::io(&error)),
                };
                let source = Source::Pipe(Rc::downgrade(&pipe));
                let task = Task::begin(async move {
                    match newline(&pipe).await {
                        Ok(true) => find(Finding::Ready(ReadyBy::Notify)).await,
                        Ok(false) => words.borrow_mut().refusal = Some("it closed its descriptor without a newline".to_owned()),
                        Err(error) => words.borrow_mut().refusal = Some(words::io(&error)),
                    }
                });
                (task, source)
            }
            (None, prepared, Probe::Log(pattern)) => {
                let (output, begun) = match prepared {
                    Some(Prepared::Output(output, begun)) => (output, begun),
                    _ => (self.follow_output(id), Vec::new()),
                };
                match Lines::new(pattern) {
                    Ok(lines) => {
                        let lines = RefCell::new(Some(lines.after(begun)));
                        let search = Rc::new(Search { lines, output: RefCell::new(output) });
                        (Task::begin(Rc::clone(&search).run(find)), Source::Output(search))
                    }
                    Err(message) => return words.borrow_mut().refusal = Some(message),
                }
            }
            // Told already, in an earlier life of this program.
            (None, ..) => return,
        };
        if let Some(watch) = self.watches.get(id, run) {
            watch.asking = Some(Asking { _task: task, source });
        }
    }

    /// Begins to check the health of a run anew; ends the checks where there is nothing to check.
    pub(super) fn watch_health(&mut self, id: ServiceId, run: Run) {
        self.check_health(id, run, None);
    }

    /// As [`Daemon::watch_health`], or goes on with what was thought of the run, at the time of the next check.
    fn check_health(&mut self, id: ServiceId, run: Run, known: Option<(Standing, Moment)>) {
        let Some(service) = self.supervisor.service(id) else { return };
        let (spec, ready_at) = (service.spec().clone(), service.ready_at());
        if spec.policy.health.is_some() && service.run() == run {
            self.watches.of.get_or_insert_with(id, || Watch::plain(run));
        }
        let question = spec.policy.health.as_ref().and_then(|health| self.question(id, run, &spec, &health.probe, true));
        self.watches.series += 1;
        let series = self.watches.series;
        let Some(watch) = self.watches.get(id, run) else { return };
        watch.asking = None;
        watch.checks = None;
        let (Some(health), Some(mut question), Some(ready_at)) = (&spec.policy.health, question, ready_at) else { return };
        let (interval, timeout, inbox) = (health.interval, health.timeout, self.inbox.clone());
        let standing = known.map_or_else(|| Standing::new(health, ready_at), |(standing, _)| standing);
        let next_at = Rc::new(Cell::new(known.map_or_else(Moment::default, |(_, at)| at)));
        let next = Rc::clone(&next_at);
        let task = Task::begin(async move {
            if known.is_some() {
                Alarm::default().ring(Some(next.get()), Now::read().moment).await;
            }
            loop {
                let asked = question.ask(timeout).await;
                next.set(Now::read().moment + interval);
                let letter = Letter::Found(id, run, Finding::Checked { series, asked });
                if inbox.send(letter).await.is_err() {
                    return;
                }
                tokio::time::sleep(interval).await;
            }
        });
        watch.checks = Some(Checks { series, standing, next_at, _task: task });
    }

    fn question(&self, id: ServiceId, run: Run, spec: &spec::Service, probe: &Probe, is_check: bool) -> Option<Question> {
        let materials = self.watches.of.get(&id).filter(|watch| watch.run == run)?.materials.clone();
        if let Probe::Plugin { plugin, name } = probe {
            let pid = self.supervisor.service(id).and_then(crate::supervision::Service::pid);
            let subject = serde_json::json!({"service": spec.name, "run": run, "pid": pid});
            let name = name.clone();
            let question =
                if is_check { frame::Question::Check { name, subject } } else { frame::Question::Probe { name, subject } };
            return Some(Question::of_plugin(plugin.clone(), question, self.inbox.clone(), &self.watches.places));
        }
        let order = |command: &Command| {
            let definition = Definition { command: command.clone(), ..spec.definition.clone() };
            let recipe = recipe::recipe(&spec.name, &definition, run, &self.surroundings, materials)
                .map_err(|facts| format!("{}: {}", facts.stage, facts.message))?;
            Ok(errand::Order { owner: id, recipe, definition: Rc::new(definition), null: Rc::clone(&self.null) })
        };
        Question::new(probe, spec.definition.dir.as_deref(), &self.watches.places, &self.children.errands, order)
    }

    /// Takes in what a watch found.
    pub(super) fn found(&mut self, id: ServiceId, run: Run, finding: Finding, now: Now) {
        let Some(watch) = self.watches.get(id, run) else { return };
        let Some(service) = self.supervisor.service(id) else { return };
        let (state, spec) = (service.word(), service.spec().clone());
        match finding {
            Finding::Ready(by) => {
                watch.asking = None;
                self.supervisor.learn(id, run, Fact::Ready(by), now.moment);
            }
            Finding::OutputMissed if state == State::Starting => self.ask_ready(id, run),
            Finding::OutputMissed => {}
            Finding::Checked { series, asked: Asked { answer, latency, is_known } } => {
                let Some(checks) = watch.checks.as_mut().filter(|checks| checks.series == series) else { return };
                let Some(health) = &spec.policy.health else { return };
                let change = if is_known { checks.standing.judge(health, &answer, now.moment) } else { checks.standing.forget() };
                let Some(change) = change else { return };
                let check = check_word(&health.probe);
                let kind = Kind::Health {
                    check,
                    from: change.from,
                    to: change.to,
                    failures: change.failures,
                    latency_ms: duration::millis(latency),
                    output: answer.err().unwrap_or_default(),
                };
                self.health_changed(id, run, &spec, kind, change.to, now);
            }
            Finding::WatchdogAlive => self.watchdog(id, run, &spec, HealthWord::Healthy, String::new(), now),
            // While it starts its time-out is the judge, and while it ends its grace.
            Finding::WatchdogUnhappy(output) if state == State::Running => {
                self.watchdog(id, run, &spec, HealthWord::Unhealthy, output, now);
            }
            Finding::WatchdogUnhappy(_) => {}
        }
    }

    fn watchdog(&mut self, id: ServiceId, run: Run, spec: &spec::Service, to: HealthWord, output: String, now: Now) {
        let Some(watch) = self.watches.get(id, run) else { return };
        let from = watch.watchdog.replace(to).unwrap_or(HealthWord::Unknown);
        if from != to {
            let failures = u32::from(to == HealthWord::Unhealthy);
            let kind = Kind::Health { check: "watchdog", from, to, failures, latency_ms: 0, output };
            self.health_changed(id, run, spec, kind, to, now);
        }
    }

    fn health_changed(&mut self, id: ServiceId, run: Run, spec: &spec::Service, kind: Kind, to: HealthWord, now: Now) {
        // What was decided before is told before.
        self.carry_out(now);
        self.tell(Some((id, spec.name.clone(), run)), kind, Actor::Supervisor, now);
        // A watchdog needs no `health:`; what is to be done is then what is done by default.
        let action = spec.policy.health.as_ref().map_or(HealthAction::Restart, |health| health.action);
        if to == HealthWord::Unhealthy && action == HealthAction::Restart {
            self.supervisor.learn(id, run, Fact::Unhealthy, now.moment);
        }
    }
}

/// Tells the run where to speak, and its watchdog's limit, where it has one.
fn announce(channel: &Channel, recipe: &mut Recipe) -> Option<Duration> {
    const SOCKET: &[u8] = b"NOTIFY_SOCKET=";
    const LIMIT: &[u8] = b"WATCHDOG_USEC=";
    let environment = &mut recipe.environment;
    environment.retain(|pair| !pair.as_bytes().starts_with(SOCKET));
    // Neither holds a NUL byte.
    environment.extend(CString::new([SOCKET, channel.name().as_bytes()].concat()));
    let own = environment.iter().find_map(|pair| pair.as_bytes().strip_prefix(LIMIT));
    if let Some(own) = own {
        return note::microseconds(own);
    }
    environment.extend(CString::new([LIMIT, WATCHDOG_LIMIT.as_micros().to_string().as_bytes()].concat()));
    Some(WATCHDOG_LIMIT)
}

/// Hears a run out. Its watchdog watches from the first `WATCHDOG=1` on.
async fn hear<F: Future<Output = ()>>(
    listening: Listening,
    known: Rc<Cell<Heard>>,
    words: Rc<RefCell<Words>>,
    find: impl Fn(Finding) -> F,
) {
    let Heard { mut limit, mut silent_at, mut is_alive } = known.get();
    let mut heard = 0_u32;
    let mut alarm = Alarm::default();
    loop {
        known.set(Heard { limit, silent_at, is_alive });
        let now = Now::read().moment;
        let note = tokio::select! {
            note = listening.next() => note,
            () = alarm.ring(silent_at, now) => {
                let limit = limit.unwrap_or_default();
                is_alive = false;
                silent_at = Some(Now::read().moment + limit.max(WATCHDOG_LEAST));
                known.set(Heard { limit: Some(limit), silent_at, is_alive });
                find(Finding::WatchdogUnhappy(format!("no WATCHDOG=1 for {}", duration::Human(limit)))).await;
                continue;
            }
        };
        let Ok(note) = note else { return };
        heard = heard.wrapping_add(1);
        if heard.is_multiple_of(NOTES_A_TURN) {
            tokio::time::sleep(NOTES_PAUSE).await;
        }
        let Some(note) = note else { continue };
        {
            let mut words = words.borrow_mut();
            words.status = note.status.or_else(|| words.status.take());
            words.is_stopping |= note.stopping;
        }
        if let Some(new) = note.watchdog_limit {
            limit = Some(new);
        }
        let watched = limit.filter(|limit| !limit.is_zero());
        let is_ping = note.watchdog == Some(Watchdog::Alive);
        if is_ping || (note.watchdog_limit.is_some() && silent_at.is_some()) {
            silent_at = watched.map(|limit| Now::read().moment + limit.max(WATCHDOG_LEAST));
        }
        known.set(Heard { limit, silent_at, is_alive });
        if note.ready {
            find(Finding::Ready(ReadyBy::Notify)).await;
        }
        match note.watchdog {
            Some(Watchdog::Alive) if !is_alive && watched.is_some() => {
                is_alive = true;
                find(Finding::WatchdogAlive).await;
            }
            Some(Watchdog::Trigger) => {
                is_alive = false;
                find(Finding::WatchdogUnhappy("it sent WATCHDOG=trigger".to_owned())).await;
            }
            Some(Watchdog::Alive) | None => {}
        }
    }
}

impl Search {
    /// Searches the output of a run for the line that says it is ready.
    async fn run<F: Future<Output = ()>>(self: Rc<Self>, find: impl Fn(Finding) -> F) {
        loop {
            let part = match poll_fn(|context| self.output.borrow_mut().poll_next(context)).await {
                Ok(part) => part,
                Err(FollowEnd::TooSlow) => return find(Finding::OutputMissed).await,
                Err(FollowEnd::Closed) => return,
            };
            let Some(mut lines) = self.lines.take() else { return };
            let is_found = if part.len() <= SEARCHED_HERE {
                lines.take(&part)
            } else {
                let searched = task::aside(move || {
                    let is_found = lines.take(&part);
                    (lines, is_found)
                });
                // No thread for it, and this part is lost; or the end of the runtime.
                let Ok((back, is_found)) = searched.await else { return find(Finding::OutputMissed).await };
                lines = back;
                is_found
            };
            self.lines.replace(Some(lines));
            if is_found {
                return find(Finding::Ready(ReadyBy::Log)).await;
            }
        }
    }
}

const fn ready_by(probe: &Probe) -> ReadyBy {
    match probe {
        Probe::Notify(_) => ReadyBy::Notify,
        Probe::Tcp { .. } => ReadyBy::Tcp,
        Probe::Http(_) => ReadyBy::Http,
        Probe::Exec(_) => ReadyBy::Exec,
        Probe::Log(_) => ReadyBy::Log,
        Probe::File(_) => ReadyBy::File,
        Probe::Plugin { .. } => ReadyBy::Plugin,
    }
}

const fn check_word(probe: &Probe) -> &'static str {
    match probe {
        Probe::Notify(_) => "notify",
        Probe::Tcp { .. } => "tcp",
        Probe::Http(_) => "http",
        Probe::Exec(_) => "exec",
        Probe::Log(_) => "log",
        Probe::File(_) => "file",
        Probe::Plugin { .. } => "plugin",
    }
}
