//! What goes into the state machine and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::spec::LogLimits;
use crate::value::{ExitStatus, Moment, Run, Signal};
use crate::wire::advice::{Case, Verdict};
use crate::wire::event::{Actor, Kind, LaunchFacts, ReadyBy, StartReason, StopReason};

/// A service's number: given once, never given again, so that nothing late can reach a newer service of the same name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ServiceId(pub u32);

/// Stands for one client that waits for the outcome of its order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// Something that a service must react to. Orders are imperative, facts are past tense.
#[derive(Clone, Debug)]
pub enum Event {
    /// Somebody wants something.
    Order(Order),
    /// A script wants it to be kept down.
    Hold(HoldOrder),
    /// Something became true of a run. A fact of another run than the present one changes nothing.
    Fact(Run, Fact),
    /// Word about the dependencies, for a service that waits for them.
    Gate(Gate),
    /// The clock passed the service's deadline.
    Deadline,
}

/// What somebody wants of a service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Order {
    /// What.
    pub wish: Wish,
    /// Who.
    pub actor: Actor,
    /// Who is to be told when it is done.
    pub ticket: Option<Ticket>,
}

/// The wishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub enum Wish {
    /// Be up.
    Start(StartReason),
    /// Be down. `within` shortens the service's own grace.
    Stop {
        /// Why.
        reason: StopReason,
        /// The most time that there is.
        within: Option<Duration>,
    },
    /// Go down and come up again.
    Restart(StartReason),
    /// Be down now: SIGKILL, no grace.
    Kill,
    /// Launch nothing any more; what runs may go on until it is stopped or ends. The first step of a shutdown.
    Retire,
    /// Come up again after a hold; of a service that is not held it changes nothing.
    Release,
}

/// Somebody's wish that a service be kept down for a while. Only a script holds; an operator stops.
#[derive(Clone, Debug)]
pub struct HoldOrder {
    /// Who.
    pub actor: Actor,
    /// Why, in a few words.
    pub reason: String,
    /// For how long; `None` is until it is released or started.
    pub length: Option<Duration>,
    /// Who is to be told when it is down.
    pub ticket: Option<Ticket>,
}

/// What a service is kept down by.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Hold {
    /// Who holds it.
    pub by: Actor,
    /// Why.
    pub reason: String,
    /// When it starts again by itself; `None` is never.
    pub until: Option<Moment>,
}

/// What became true of a run.
#[derive(Clone, Debug)]
pub enum Fact {
    /// Its process exists.
    Spawned {
        /// Process id.
        pid: i32,
    },
    /// Its program runs.
    Executed,
    /// Its program could not be run; what exists of the process is about to be gone.
    LaunchFailed(LaunchFacts),
    /// It is ready.
    Ready(ReadyBy),
    /// It failed its health check often enough.
    Unhealthy,
    /// Its main process ended. Others of it may live.
    Exited(ExitStatus),
    /// No process of it is alive and its output is kept.
    Gone(Remains),
    /// The scripts that were asked have answered, or there is nobody to ask. An answer to another question than the open
    /// one changes nothing.
    Advised {
        /// The question's number.
        question: u64,
        /// The answer that won; `None`: no opinion.
        advice: Option<Advice>,
    },
}

/// The answer that won.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Advice {
    /// Who gave it.
    pub by: Actor,
    /// What it says.
    pub verdict: Verdict,
}

/// A question to the scripts that a service's `decisions` names. The service waits for the answer as
/// [`Fact::Advised`] until the deadline and then goes on by itself; nobody else waits.
#[derive(Clone, PartialEq, Debug)]
pub struct Question {
    /// +1 a question of this service.
    pub number: u64,
    /// The run that the answer must name: the present one, or the last one.
    pub run: Run,
    /// When it was asked.
    pub asked_at: Moment,
    /// When the service goes on without an answer.
    pub deadline: Moment,
    /// The longest delay, hold or drain that is obeyed; a longer one is cut to this.
    pub most: Duration,
    /// What the scripts are told.
    pub case: Case,
}

/// What is known of a run when nothing is left of it.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// Largest resident set of its main process.
    pub max_rss_bytes: u64,
    /// CPU of its main process in user mode.
    pub cpu_user: Duration,
    /// CPU of its main process in the kernel.
    pub cpu_sys: Duration,
    /// Its last lines.
    pub log_tail: Option<Arc<[String]>>,
}

/// Word about the dependencies of a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gate {
    /// All are there.
    Open,
    /// One of them will never be there.
    Failed(String),
}

/// What is to be done. Executing an action may bring facts; they come later, never from within.
#[derive(Clone, Debug)]
pub enum Action {
    /// Launch a run.
    Launch(Run),
    /// Send a signal to every process of the run, SIGCONT after it.
    Signal(Run, Signal),
    /// Begin to ask whether the run is ready.
    AskReady(Run),
    /// Begin to check the health of the run.
    WatchHealth(Run),
    /// Ask the scripts that may advise on the service.
    Ask(Question),
    /// Take over new log limits.
    LimitLog(LogLimits),
    /// Tell everybody what happened.
    Tell(Kind, Run, Actor),
    /// Tell the client behind a ticket.
    Answer(Ticket, Outcome),
    /// The service was removed and nothing of it is left: forget it.
    Forget,
}

/// How an order came out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// As wished.
    Done,
    /// It was so already.
    Unchanged,
    /// Not as wished, and why.
    Failed(String),
    /// Somebody wanted the opposite meanwhile.
    Overtaken(Actor),
}

/// What the supervisor as a whole wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// An action of one service.
    Service(ServiceId, Action),
    /// Something happened to the supervisor itself.
    Tell(Kind, Actor),
}

/// The last end of a service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct LastEnd {
    /// Code or signal; `None` where its program never ran.
    pub status: Option<ExitStatus>,
    /// When.
    pub at: Moment,
    /// How long its process lived.
    pub uptime: Duration,
    /// Why its program never ran.
    pub launch: Option<LaunchFacts>,
}
