//! `section3 self rollback`.

use clap::Args;

use super::update::{running, say_what_runs, target, tell};
use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{Help, Verb};
use crate::update::place::Place;
use crate::update::rollback::swap;
use crate::update::trial::PATIENCE;
use crate::wire::FaultCode;
use crate::wire::event::UpdatePhase;

#[derive(Args)]
pub struct Rollback {}

impl Verb for Rollback {
    const HELP: Help = Help {
        name: "rollback",
        about: "Exchange this program file and section3.prev, without network",
        more: "\
Refuses a copy that is not what was installed before. Twice is back again.",
        example: "section3 self rollback",
    };

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let running = running()?;
        let target = target()?;
        let place = Place::of_this_process()?;
        let swapped = place.clone().lock().and_then(|site| swap(&site, running, target, PATIENCE));
        let version = swapped.inspect_err(|fault| {
            if fault.code != FaultCode::Busy {
                tell(&context, UpdatePhase::Failed, running, None, Some(&fault.message));
            }
        })?;
        let supervisor = tell(&context, UpdatePhase::RolledBack, running, Some(version), None);
        let (program, kept) = (place.program().display(), place.previous());
        let previous = kept.display();
        context
            .out
            .write(format!("section3 {version} is in place again as {program}; {running} is kept as {previous}\n").as_bytes())?;
        say_what_runs(context.out, supervisor.as_ref(), version)?;
        Ok(exit::DONE)
    }
}
