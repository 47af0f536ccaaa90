//! The runs that have processes: who is whose, what is left of a run whose main process ended, and when all of it is gone.
//!
//! The rules that make every signal hit whom it is meant for: look at an ended main process before it is reaped, act on its
//! group while the zombie still pins the number, then reap; afterwards the group is never signalled again, only single
//! processes whose start time was compared. As subreaper (or PID 1) we inherit every orphan, so whatever outlives a main
//! process is, itself or through an ancestor, a child of ours that is no main process: a stranger. Strangers carry the marks
//! of their run in the environment they were started with, or its session.

use std::rc::Rc;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::census::Census;
use super::errand::Errands;
use crate::supervision::ServiceId;
use crate::sys::process::{self, Process};
use crate::sys::spawn::Launch;
use crate::sys::wait::{self, Usage, Zombie};
use crate::value::sorted::{Map, Set};
use crate::value::{Run, ServiceName, Signal};

/// A run that has, or had, processes.
#[derive(Debug)]
pub struct Child {
    /// Which run of its service.
    pub run: Run,
    /// Its service's name, as its marks have it.
    pub name: ServiceName,
    /// Its main process; the number is good until it is reaped.
    pub pid: i32,
    /// What it used, once it is reaped.
    pub usage: Option<Usage>,
    /// The launch, until its outcome is known.
    pub launch: Option<Rc<Launch>>,
    /// Whether its main process was seen to have ended.
    ended: bool,
    /// Whether what is left of it is to be killed on sight.
    killing: bool,
    /// Whether its output is being drained: no process of it is left.
    draining: bool,
}

/// All runs that have processes, and the strangers.
#[derive(Debug)]
pub struct Children {
    /// The short processes of probes: nobody's main process, and no strangers.
    pub errands: Rc<Errands>,
    boot: String,
    runs: Map<ServiceId, Child>,
    leaders: Map<i32, ServiceId>,
    /// Adopted orphans and whose they are. Good until we reap them: until then the number is theirs.
    strangers: Map<i32, Option<(ServiceId, Run)>>,
    /// Runs whose main process was reaped and of which something may be left.
    clearing: Set<ServiceId>,
}

/// [`Children`], written down.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct ChildrenRest {
    /// Runs that have processes.
    pub runs: Vec<ChildRest>,
    /// Adopted orphans.
    pub strangers: Vec<(i32, Option<(ServiceId, Run)>)>,
    /// Runs whose main process was reaped.
    pub clearing: Vec<ServiceId>,
    /// Processes of probes, and whose.
    pub errands: Vec<(i32, Option<ServiceId>)>,
}

/// [`Child`], written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct ChildRest {
    /// Whose.
    pub id: ServiceId,
    /// Which run.
    pub run: Run,
    /// Its service's name.
    pub name: ServiceName,
    /// Its main process.
    pub pid: i32,
    /// What that used, once it is reaped.
    pub usage: Option<Usage>,
    /// Where the outcome of its launch will be read.
    pub launch: Option<i32>,
    /// Whether what is left of it is to be killed.
    pub killing: bool,
    /// Whether its output is being drained.
    pub draining: bool,
}

impl ChildrenRest {
    /// Whether it names only processes that can be ours.
    ///
    /// # Errors
    ///
    /// Which not.
    pub fn check(&self) -> Result<(), String> {
        let pids = self.runs.iter().map(|child| child.pid).chain(self.strangers.iter().map(|(pid, _)| *pid));
        match pids.chain(self.errands.iter().map(|(pid, _)| *pid)).find(|pid| *pid < 2) {
            Some(pid) => Err(format!("{pid} is no child of ours")),
            None => Ok(()),
        }
    }
}

impl Children {
    /// Nobody yet. `boot` is the mark of this incarnation.
    #[must_use]
    pub fn new(boot: String) -> Self {
        Self { errands: Rc::default(), boot, runs: Map::new(), leaders: Map::new(), strangers: Map::new(), clearing: Set::new() }
    }

    /// Everybody, to be written down.
    pub fn rest(&self) -> ChildrenRest {
        let runs = self.runs.iter().map(|(id, child)| ChildRest {
            id: *id,
            run: child.run,
            name: child.name.clone(),
            pid: child.pid,
            usage: child.usage,
            launch: child.launch.as_ref().map(|launch| launch.number()),
            killing: child.killing,
            draining: child.draining,
        });
        ChildrenRest {
            runs: runs.collect(),
            strangers: self.strangers.iter().map(|(pid, owner)| (*pid, *owner)).collect(),
            clearing: self.clearing.iter().copied().collect(),
            errands: self.errands.rest(),
        }
    }

    /// The same again; `launch` finds the launch behind a descriptor. Errands that were under way are ended: they are asked
    /// anew.
    pub fn take_over(&mut self, rest: ChildrenRest, launch: impl Fn(i32, i32) -> Option<Rc<Launch>>) {
        for child in rest.runs {
            if child.usage.is_none() {
                self.leaders.insert(child.pid, child.id);
            }
            let launch = child.launch.and_then(|number| launch(child.pid, number));
            let ChildRest { id, run, name, pid, usage, launch: _, killing, draining } = child;
            self.runs.insert(id, Child { run, name, pid, usage, launch, ended: false, killing, draining });
        }
        self.strangers.extend(rest.strangers);
        self.clearing.extend(rest.clearing);
        for (pid, owner) in rest.errands {
            Errands::end_inherited(&self.errands, pid, owner);
        }
    }

    /// A main process was made.
    pub fn add(&mut self, id: ServiceId, name: ServiceName, run: Run, launch: Rc<Launch>) {
        let pid = launch.pid;
        self.leaders.insert(pid, id);
        self.runs.insert(
            id,
            Child { run, name, pid, usage: None, launch: Some(launch), ended: false, killing: false, draining: false },
        );
    }

    /// Whether this is a main process or an errand: no stranger.
    #[must_use]
    pub fn is_known(&self, pid: i32) -> bool {
        self.leaders.contains_key(&pid) || self.errands.has(pid)
    }

    /// The run of a service that has processes.
    #[must_use]
    pub fn get(&self, id: ServiceId) -> Option<&Child> {
        self.runs.get(&id)
    }

    /// The launch whose outcome is not known yet; taken once it is.
    pub fn launch(&mut self, id: ServiceId, run: Run) -> Option<&mut Option<Rc<Launch>>> {
        self.runs.get_mut(&id).filter(|child| child.run == run).map(|child| &mut child.launch)
    }

    /// Whose main process has ended; `None` where it is an adopted orphan.
    pub fn ended(&mut self, zombie: Zombie) -> Option<(ServiceId, Run)> {
        let id = *self.leaders.get(&zombie.pid)?;
        let child = self.runs.get_mut(&id)?;
        child.ended = true;
        Some((id, child.run))
    }

    /// Reaps an ended child. Of a main process, what is left of its run is looked for from now on.
    pub fn reap(&mut self, zombie: Zombie) {
        let usage = wait::reap(zombie);
        self.strangers.remove(&zombie.pid);
        let Some(id) = self.leaders.remove(&zombie.pid) else { return };
        if let Some(child) = self.runs.get_mut(&id) {
            child.usage = Some(usage);
            self.clearing.insert(id);
        }
    }

    /// A run is over: forgets it.
    pub fn remove(&mut self, id: ServiceId) -> Option<Child> {
        self.clearing.remove(&id);
        self.runs.remove(&id)
    }

    /// Signals every process of a run, those that left its group included; SIGCONT after it, so that a stopped process
    /// hears it. A main process that has not exec'ed yet is signalled alone: it has no group of its own for certain.
    pub fn signal_everyone(&mut self, id: ServiceId, run: Run, signal: Signal, census: &Census) {
        let Some(child) = self.runs.get_mut(&id).filter(|child| child.run == run && !child.draining) else { return };
        child.killing |= signal == Signal::KILL;
        let (pid, reaped, ended, executed) = (child.pid, child.usage.is_some(), child.ended, child.launch.is_none());
        // The children of a zombie are strangers; `clear` comes to them next.
        let alone = ended && !reaped;
        if !alone {
            self.look_at_strangers(census);
        }
        for signal in [signal, Signal::CONT] {
            // An error means that it ended this instant, and its exit is about to be seen.
            match (reaped, executed) {
                (true, _) => {}
                (false, true) => drop(process::signal_group(pid, signal)),
                (false, false) => drop(process::signal_leader(pid, signal)),
            }
            if !alone {
                for member in self.members(id, census).filter(|member| reaped || member.group != pid) {
                    let _ = process::signal_exactly(member, signal);
                }
            }
            if signal == Signal::KILL {
                break; // Nothing needs to be woken for that.
            }
        }
    }

    /// Signals the main process of a run.
    ///
    /// # Errors
    ///
    /// Where it has ended, or is not ours to signal.
    pub fn signal_leader(&self, id: ServiceId, signal: Signal) -> Result<i32, Errno> {
        let child = self.runs.get(&id).filter(|child| child.usage.is_none()).ok_or(Errno::ESRCH)?;
        process::signal_leader(child.pid, signal).map(|()| child.pid)
    }

    /// Looks for what is left of the runs whose main process ended, kills it where that was ordered, and returns the runs
    /// of which nothing is left: once each.
    pub fn clear(&mut self) -> Vec<(ServiceId, Run)> {
        if self.clearing.is_empty() {
            return Vec::new();
        }
        let census = Census::default();
        self.look_at_strangers(&census);
        let mut haunted: Set<ServiceId> = self.strangers.values().flatten().map(|(id, _)| *id).collect();
        haunted.extend(self.errands.owners());
        let (haunted, free): (Vec<ServiceId>, Vec<ServiceId>) = self.clearing.iter().partition(|id| haunted.contains(id));
        for id in haunted {
            if let Some(run) = self.runs.get(&id).filter(|child| child.killing).map(|child| child.run) {
                self.signal_everyone(id, run, Signal::KILL, &census);
            }
        }
        let mut gone = Vec::new();
        for id in free {
            self.clearing.remove(&id);
            if let Some(child) = self.runs.get_mut(&id) {
                child.draining = true;
                gone.push((id, child.run));
            }
        }
        gone
    }

    /// Finds out whose the adopted orphans are, once for each.
    fn look_at_strangers(&mut self, census: &Census) {
        if census.strangers_known.replace(true) {
            return;
        }
        for pid in process::children().unwrap_or_else(|| census.children()) {
            if !self.is_known(pid) && !self.strangers.contains_key(&pid) {
                let owner = self.owner_of_stranger(pid);
                self.strangers.insert(pid, owner);
            }
        }
    }

    fn owner_of_stranger(&self, pid: i32) -> Option<(ServiceId, Run)> {
        let process = process::stat(pid).filter(|process| !process.is_zombie)?;
        let by_session = || self.runs.iter().find(|(_, child)| child.pid == process.session || child.pid == process.group);
        let by_marks = || {
            let marked = process::variable(pid, "SECTION3_BOOT").is_some_and(|boot| boot == self.boot);
            let name = process::variable(pid, "SECTION3_SERVICE").filter(|_| marked)?;
            let run = process::variable(pid, "SECTION3_RUN")?.parse().map(Run).ok()?;
            self.runs.iter().find(|(_, child)| child.run == run && child.name.as_str() == name)
        };
        by_marks().or_else(by_session).map(|(id, child)| (*id, child.run))
    }

    /// The living processes of a run but its main process: what descends from it, and its strangers with what descends from
    /// them.
    fn members<'a>(&self, id: ServiceId, census: &'a Census) -> impl Iterator<Item = &'a Process> + use<'a> {
        let leader = self.runs.get(&id).filter(|child| child.usage.is_none()).map(|child| child.pid);
        let strangers = self.strangers.iter().filter(|(_, owner)| owner.is_some_and(|(owner, _)| owner == id));
        let roots: Vec<i32> = leader.into_iter().chain(strangers.map(|(pid, _)| *pid)).collect();
        census.below(&roots).into_iter().filter(move |process| Some(process.pid) != leader && !process.is_zombie)
    }

    /// Kills every child there still is and everything below it; returns whether there was any. For the very end.
    pub fn kill_all(&self) -> bool {
        let census = Census::default();
        let alive = census.below(&census.children()).into_iter().filter(|process| !process.is_zombie);
        alive.filter(|process| process::signal_exactly(process, Signal::KILL).is_ok()).count() > 0
    }
}
