//! `section3 self update`.

use std::io::IsTerminal;
use std::path::Path;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::{Halt, Out};
use crate::cli::words::{Help, Verb};
use crate::control::client::{PATIENCE, call_for};
use crate::sys::clock::wall;
use crate::update::decision::named;
use crate::update::fetch::LIMITS;
use crate::update::job::{Job, Offer, here};
use crate::update::place::Place;
use crate::update::record::Record;
use crate::update::source::{BUILT_IN, FILE, Source};
use crate::value::Version;
use crate::value::platform::TARGET;
use crate::wire::event::UpdatePhase;
use crate::wire::{Fault, FaultCode, Request, UpdateNote, VersionReport};

#[derive(Args)]
pub struct Update {
    /// Only say whether there is a newer release: exit 8 if there is
    #[arg(long, conflicts_with = "to")]
    check: bool,
    /// Install this version, also an older one
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Make the running supervisor go on as the new program, as `section3 self reexec` does
    #[arg(long, conflicts_with = "check")]
    live: bool,
}

impl Verb for Update {
    const HELP: Help = Help {
        name: "update",
        about: "Install the newest release in the place of this program file",
        more: "\
Downloads it, verifies its signature, runs it once and exchanges the file in one step; the old one is kept as
section3.prev. A running supervisor goes on with the old one. Where releases come from and whose keys are
trusted is built in, or set by root in /etc/section3/release.yml (`url:` and `keys:`).",
        example: "section3 self update --check",
    };

    fn run(self, mut context: Context<'_>) -> Result<u8, Halt> {
        let running = running()?;
        let target = target()?;
        let to = self.to.as_deref().map(named).transpose()?;
        if to == Some(running) {
            return self.nothing_to_install(context, running, "what is installed; nothing was changed");
        }
        let done = if self.check { look(&mut context, running, target) } else { install(&mut context, running, target, to) };
        match done {
            Ok(Done::UpToDate) => self.nothing_to_install(context, running, "up to date"),
            Ok(Done::Available(offer)) => {
                tell(&context, UpdatePhase::Available, running, Some(offer.version), None);
                let published = offer.published.map(|at| format!(", published {}", humantime::format_rfc3339_seconds(at)));
                let text = format!(
                    "section3 {} is available{}; {running} is installed; `section3 self update` installs it\n",
                    offer.version,
                    published.unwrap_or_default()
                );
                context.out.write(text.as_bytes())?;
                Ok(exit::UPDATE_AVAILABLE)
            }
            Ok(Done::Installed(version, place)) => {
                let supervisor = tell(&context, UpdatePhase::Applied, running, Some(version), None);
                let text = format!(
                    "section3 {version} is installed as {}; {running} is kept as {}, `section3 self rollback` exchanges the two\n",
                    place.program().display(),
                    place.previous().display()
                );
                context.out.write(text.as_bytes())?;
                // Also where it gave no answer: an older one does not know the note, and is to be replaced all the more.
                if self.live {
                    return super::reexec::Reexec {}.run(context);
                }
                say_what_runs(context.out, supervisor.as_ref(), version)?;
                Ok(exit::DONE)
            }
            Err(fault) => {
                // Whoever watches the events wants to know of a release that is refused, not of a second operator.
                if !matches!(fault.code, FaultCode::Usage | FaultCode::Busy) {
                    tell(&context, UpdatePhase::Failed, running, to, Some(&fault.message));
                }
                Err(fault.into())
            }
        }
    }
}

impl Update {
    /// The file is as it should be; the supervisor may still run what was there before.
    fn nothing_to_install(&self, context: Context<'_>, installed: Version, is: &str) -> Result<u8, Halt> {
        context.out.write(format!("section3 {installed} is {is}\n").as_bytes())?;
        let supervisor = call_for::<VersionReport>(&context.places, &Request::Version, Some(PATIENCE));
        if self.live && supervisor.clone()?.version != installed.to_string() {
            return super::reexec::Reexec {}.run(context);
        }
        say_what_runs(context.out, supervisor.ok().as_ref(), installed)?;
        Ok(exit::DONE)
    }
}

enum Done {
    UpToDate,
    Available(Offer),
    Installed(Version, Place),
}

fn look(context: &mut Context<'_>, running: Version, target: &str) -> Result<Done, Fault> {
    let source = Source::load(Path::new(FILE), BUILT_IN)?;
    let record = Place::of_this_process().and_then(|place| Record::read(&place))?;
    let job = Job::new(source, LIMITS)?;
    let line = Line::of_process();
    line.show(context.out, "looking for a newer release");
    let offer = job.newest(here(running, &record, target, wall()));
    line.show(context.out, "");
    job.end();
    Ok(offer?.map_or(Done::UpToDate, Done::Available))
}

fn install(context: &mut Context<'_>, running: Version, target: &str, to: Option<Version>) -> Result<Done, Fault> {
    let source = Source::load(Path::new(FILE), BUILT_IN)?;
    let place = Place::of_this_process()?;
    let site = place.clone().lock()?;
    let record = Record::read(&site)?;
    let job = Job::new(source, LIMITS)?;
    let out = &mut *context.out;
    let line = Line::of_process();
    let result = (|| {
        line.show(out, "looking for a newer release");
        let offer = match to {
            Some(version) => Job::named(version, target),
            None => match job.newest(here(running, &record, target, wall()))? {
                Some(offer) => offer,
                None => return Ok(Done::UpToDate),
            },
        };
        let version = offer.version;
        let mut shown = None;
        job.install(&offer, running, target, &site, &mut |come, whole| {
            // A hundred steps at most: a terminal is slower than a net.
            let step = whole.map_or(come >> 16, |whole| come * 100 / whole.max(1));
            if shown.replace(step) != Some(step) {
                line.show(out, &bar(version, come, whole));
            }
        })?;
        Ok(Done::Installed(version, place))
    })();
    line.show(out, "");
    job.end();
    result
}

/// One line of the terminal that shows how far it is, each time over the last; nothing where nobody watches.
struct Line {
    attended: bool,
}

impl Line {
    fn of_process() -> Self {
        Self { attended: std::io::stderr().is_terminal() }
    }

    fn show(&self, out: &mut Out, text: &str) {
        if self.attended {
            // ECMA-48: to the first column, and erase to the end of the line.
            out.complain(&format!("\r\x1b[K{text}"));
        }
    }
}

/// `section3 0.2.0 [=========>          ]  45%  1.8 of 4.0 MB`.
fn bar(version: Version, come: u64, whole: Option<u64>) -> String {
    const WIDTH: u64 = 30;
    let megabytes = |bytes: u64| format!("{}.{}", bytes / 1_000_000, bytes / 100_000 % 10);
    match whole {
        Some(whole) => {
            let part = |of: u64| (come.min(whole) * of).checked_div(whole).unwrap_or(of);
            let full = usize::try_from(part(WIDTH)).unwrap_or_default();
            let (full, rest) = ("=".repeat(full), " ".repeat(WIDTH as usize - full));
            format!("section3 {version} [{full}{rest}] {:3}%  {} of {} MB", part(100), megabytes(come), megabytes(whole))
        }
        None => format!("section3 {version}  {} MB", megabytes(come)),
    }
}

/// Says that the supervisor runs another version than the one that is installed now.
///
/// # Errors
///
/// Why it cannot be written.
pub(super) fn say_what_runs(out: &mut Out, supervisor: Option<&VersionReport>, installed: Version) -> Result<(), Halt> {
    match supervisor {
        Some(report) if report.version != installed.to_string() => {
            let version = crate::wire::escape::one_line(&report.version);
            let text =
                format!("the supervisor (PID {}) runs {version} until `section3 self reexec` or its restart\n", report.pid);
            out.write(text.as_bytes())
        }
        _ => Ok(()),
    }
}

/// Tells the supervisor, if one listens, so that it becomes an event; what runs there.
pub(super) fn tell(
    context: &Context<'_>,
    phase: UpdatePhase,
    from: Version,
    to: Option<Version>,
    error: Option<&str>,
) -> Option<VersionReport> {
    let note = UpdateNote::new(phase, Some(from), to, error);
    // What was done is done, whether or not somebody hears of it.
    call_for(&context.places, &Request::Updated(note), Some(PATIENCE)).ok()
}

/// The version of this program.
///
/// # Errors
///
/// That it has none: a build of somebody's own.
pub(super) fn running() -> Result<Version, Fault> {
    let own = crate::value::version::VERSION;
    Version::parse(own).map_err(|allowed| Fault::new(FaultCode::Failed, format!("this program's version is `{own}`; {allowed}")))
}

/// The platform of this program.
///
/// # Errors
///
/// That nothing is released for it.
pub(super) fn target() -> Result<&'static str, Fault> {
    TARGET.ok_or_else(|| {
        Fault::new(FaultCode::Failed, "there are no releases for this platform; they are for linux-amd64 and linux-arm64")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        let version = Version { major: 1, minor: 2, patch: 3 };
        assert_eq!(bar(version, 0, Some(4_000_000)), format!("section3 1.2.3 [{}]   0%  0.0 of 4.0 MB", " ".repeat(30)));
        let half = format!("{}{}", "=".repeat(15), " ".repeat(15));
        assert_eq!(bar(version, 2_000_000, Some(4_000_000)), format!("section3 1.2.3 [{half}]  50%  2.0 of 4.0 MB"));
        assert_eq!(bar(version, 9, Some(9)), format!("section3 1.2.3 [{}] 100%  0.0 of 0.0 MB", "=".repeat(30)));
        assert_eq!(bar(version, 1_234_567, None), "section3 1.2.3  1.2 MB");
    }
}
