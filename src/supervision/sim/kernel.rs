//! The kernel's part: turns launches and signals into later facts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::dice::Dice;
use crate::supervision::{Fact, Remains, ServiceId};
use crate::value::{ExitStatus, Moment, Run, Signal};
use crate::wire::event::{LaunchFacts, ReadyBy};

#[derive(Default)]
pub struct Kernel {
    processes: BTreeMap<(ServiceId, Run), Process>,
    agenda: BTreeMap<(Moment, u64), (ServiceId, Run, Happening)>,
    entries: u64,
}

/// How far a run came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Queued,
    Forked,
    Program,
    /// The main process ended.
    Dead,
    Gone,
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Fork,
    Exec,
    Fail,
    Ready,
    Sick,
    End(ExitStatus),
    StragglersEnd,
    Empty,
}

struct Process {
    stage: Stage,
    has_probe: bool,
    stragglers: bool,
    /// How long it takes to obey; `None`: it does not.
    obeys_after: Option<Duration>,
    dies_after: Duration,
    killed_in_queue: bool,
    exec_told: bool,
    ever_ran: bool,
}

impl Kernel {
    pub fn launch(&mut self, id: ServiceId, run: Run, has_probe: bool, now: Moment, dice: &mut Dice) {
        let process = Process {
            stage: Stage::Queued,
            has_probe,
            stragglers: dice.one_in(4),
            obeys_after: (!dice.one_in(4)).then(|| dice.ms_below(1500)),
            dies_after: if dice.one_in(14) { Duration::from_secs(1) + dice.ms_below(200_000) } else { dice.ms_below(40) },
            killed_in_queue: false,
            exec_told: false,
            ever_ran: false,
        };
        self.processes.insert((id, run), process);
        let forked = now + dice.ms_below(30);
        let after = forked + dice.ms_below(30);
        match dice.below(20) {
            // Fails before there is a process.
            0 => self.plan(after, id, run, Happening::Fail),
            1 | 2 => {
                self.plan(forked, id, run, Happening::Fork);
                self.plan(after, id, run, Happening::Fail);
            }
            3 if has_probe => {
                // The note that it is ready overtakes the note that its program runs.
                self.plan(forked, id, run, Happening::Fork);
                self.plan(after, id, run, Happening::Ready);
                self.plan(after, id, run, Happening::Exec);
            }
            _ => {
                self.plan(forked, id, run, Happening::Fork);
                self.plan(after, id, run, Happening::Exec);
            }
        }
    }

    pub fn signal(&mut self, id: ServiceId, run: Run, signal: Signal, now: Moment, dice: &mut Dice) {
        let Some(process) = self.processes.get_mut(&(id, run)) else { return };
        let status = ExitStatus::Signal { signal, core: false };
        let (dies_after, obeys_after) = (process.dies_after, process.obeys_after);
        match (process.stage, signal == Signal::KILL) {
            (Stage::Gone, _) => {}
            (Stage::Queued, _) if dice.one_in(2) => {
                process.stage = Stage::Dead;
                process.stragglers = false;
                self.plan(now + dice.ms_below(20), id, run, Happening::Empty);
            }
            (Stage::Queued, _) => process.killed_in_queue = true,
            (_, true) => {
                self.plan(now + dies_after, id, run, Happening::End(status));
                self.plan(now + dies_after, id, run, Happening::StragglersEnd);
            }
            (_, false) => {
                let Some(after) = obeys_after else { return };
                let status = if dice.one_in(2) { status } else { ExitStatus::Code(0) };
                self.plan(now + after, id, run, Happening::End(status));
                if dice.one_in(2) {
                    self.plan(now + after + dice.ms_below(2000), id, run, Happening::StragglersEnd);
                }
            }
        }
    }

    pub fn next_at(&self) -> Option<Moment> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// What happens next, as the supervisor learns it; `None` where it learns nothing.
    pub fn step(&mut self, now: Moment, dice: &mut Dice) -> Option<(ServiceId, Run, Fact)> {
        let (_, (id, run, happening)) = self.agenda.pop_first()?;
        let fact = self.happen(id, run, happening, now, dice)?;
        Some((id, run, fact))
    }

    fn happen(&mut self, id: ServiceId, run: Run, happening: Happening, now: Moment, dice: &mut Dice) -> Option<Fact> {
        let process = self.processes.get_mut(&(id, run))?;
        let stage = process.stage;
        let stragglers = process.stragglers;
        match happening {
            Happening::Fork => {
                if stage != Stage::Queued {
                    return None;
                }
                process.stage = Stage::Forked;
                if process.killed_in_queue {
                    self.signal(id, run, Signal::KILL, now, dice);
                }
                Some(Fact::Spawned { pid: 100 + run.0 as i32 })
            }
            Happening::Exec => {
                if !matches!(stage, Stage::Forked | Stage::Program) || std::mem::replace(&mut process.exec_told, true) {
                    return None;
                }
                process.stage = Stage::Program;
                process.ever_ran = true;
                let has_probe = process.has_probe && stage == Stage::Forked;
                self.plan_life(id, run, has_probe, now, dice);
                Some(Fact::Executed)
            }
            Happening::Fail => {
                if !matches!(stage, Stage::Queued | Stage::Forked) {
                    return None;
                }
                process.stage = Stage::Dead;
                process.stragglers = false;
                self.plan(now + dice.ms_below(30), id, run, Happening::Empty);
                Some(Fact::LaunchFailed(LaunchFacts { stage: "exec", message: "no such file".to_owned() }))
            }
            Happening::Ready => match stage {
                Stage::Forked => {
                    process.stage = Stage::Program;
                    process.ever_ran = true;
                    Some(Fact::Ready(ReadyBy::Notify))
                }
                Stage::Program | Stage::Dead => Some(Fact::Ready(ReadyBy::Notify)),
                Stage::Queued | Stage::Gone => None,
            },
            Happening::Sick => (stage == Stage::Program).then_some(Fact::Unhealthy),
            Happening::End(status) => {
                if !matches!(stage, Stage::Forked | Stage::Program) {
                    return None;
                }
                process.stage = Stage::Dead;
                if !stragglers {
                    self.plan(now + dice.ms_below(60), id, run, Happening::Empty);
                }
                Some(Fact::Exited(status))
            }
            Happening::StragglersEnd => {
                process.stragglers = false;
                if stage == Stage::Dead && stragglers {
                    self.plan(now + dice.ms_below(60), id, run, Happening::Empty);
                }
                None
            }
            Happening::Empty => {
                if stage != Stage::Dead {
                    return None;
                }
                process.stage = Stage::Gone;
                Some(Fact::Gone(Remains::default()))
            }
        }
    }

    /// What a program does by itself once it runs.
    fn plan_life(&mut self, id: ServiceId, run: Run, has_probe: bool, now: Moment, dice: &mut Dice) {
        if has_probe && !dice.one_in(6) {
            let at = now + dice.ms_below(1500);
            self.plan(at, id, run, Happening::Ready);
            if dice.one_in(5) {
                self.plan(at + dice.ms_below(500), id, run, Happening::Ready);
            }
        }
        if dice.one_in(8) {
            self.plan(now + dice.ms_below(20_000), id, run, Happening::Sick);
        }
        let longest = *dice.pick(&[1, 100, 1000, 10_000, 100_000]).unwrap_or(&1);
        if !dice.one_in(4) {
            let status = match dice.below(5) {
                0 | 1 => ExitStatus::Code(0),
                2 => ExitStatus::Signal { signal: Signal::KILL, core: false },
                code => ExitStatus::Code(code as u8),
            };
            self.plan(now + dice.ms_below(longest), id, run, Happening::End(status));
        }
    }

    fn plan(&mut self, at: Moment, id: ServiceId, run: Run, happening: Happening) {
        self.entries += 1;
        self.agenda.insert((at, self.entries), (id, run, happening));
    }

    /// How far the run came.
    pub fn stage(&self, id: ServiceId, run: Run) -> Stage {
        self.processes.get(&(id, run)).map_or(Stage::Gone, |process| process.stage)
    }

    pub fn ever_ran(&self, id: ServiceId, run: Run) -> bool {
        self.processes.get(&(id, run)).is_some_and(|process| process.ever_ran)
    }
}
