//! Everything the event loop knows comes as a letter through one inbox: many writers, one reader, bounded.

use crate::config::Problems;
use crate::control::server::{Answer, Call};
use crate::daemon::handover::Rehearsed;
use crate::daemon::hooks::{Catalogue, HostNote, Inquiry};
use crate::daemon::recipe::Materials;
use crate::daemon::watch::Finding;
use crate::log::Report;
use crate::spec::Spec;
use crate::supervision::ServiceId;
use crate::value::Run;
use crate::wire::event::{Actor, LaunchFacts};

/// Letters that may wait. Writers on the loop's own thread wait for room; the log pump keeps its reports, folded, and tries
/// again.
pub const CAPACITY: usize = 1024;

/// One letter.
#[derive(Debug)]
pub enum Letter {
    /// A client asks.
    Call(Call),
    /// The outcome of a launch is known.
    Launched(ServiceId, Run),
    /// What a launch needs from files was read.
    Gathered(ServiceId, Run, Result<Materials, LaunchFacts>),
    /// A probe has something to say of a run.
    Found(ServiceId, Run, Finding),
    /// The log pump reports.
    Log(Report),
    /// The program on disk was tried on a copy of the state.
    Rehearsed(Result<Rehearsed, String>),
    /// The config was read for a reload.
    ConfigRead(Box<ReloadOrder>, Result<(Spec, Catalogue), Problems>),
    /// Something about the hook host.
    Host(HostNote),
    /// A task has a question to a script.
    Inquiry(Inquiry),
}

/// What a reload is to do.
#[derive(Debug)]
pub struct ReloadOrder {
    /// Who asked.
    pub actor: Actor,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Restart running services whose definition changed.
    pub apply: bool,
    /// Who waits for the result.
    pub answer: Option<Answer>,
}
