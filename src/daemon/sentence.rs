//! One line for people about each event, for `section3.log` and the console.

use std::time::Duration;

use crate::value::duration::Human;
use crate::wire::event::{Ending, Event, ExitFacts, HealthWord, HookFault, Kind, Next, ReadyBy, StartReason, StopReason};

/// The sentence of an event, its service first; `None` where the one after it says as much, or nobody would miss it.
#[must_use]
pub fn of(event: &Event) -> Option<String> {
    let is_told_by_the_next = match &event.kind {
        // Every start without a probe has one.
        Kind::Ready { by, .. } => *by == ReadyBy::Immediate,
        // `stop` or `crash` follows.
        Kind::Exit(facts) => facts.stop_requested || !facts.status.0.is_success(),
        // `stop` or `crash` follows; the crash alone would not say that the time to become ready was over.
        Kind::Stopping { reason, .. } => *reason != StopReason::NotReady,
        Kind::Orphan { .. } => true,
        _ => false,
    };
    let what = || about(&event.kind);
    (!is_told_by_the_next).then(|| match &event.service {
        Some(name) => format!("{name}: {}", what()),
        None => what(),
    })
}

fn about(kind: &Kind) -> String {
    match kind {
        Kind::Start { pid, reason, .. } => format!("started, PID {pid}{}", because(*reason)),
        Kind::Ready { startup_ms, .. } => format!("ready after {}", human(*startup_ms)),
        Kind::Exit(facts) => format!("ended ({}) after {}", facts.status.0, human(facts.uptime_ms)),
        Kind::Crash { ending, crashes, next } => {
            let what = match ending {
                Ending::Exit(facts) => crashed(facts),
                Ending::Launch(facts) => format!("cannot be launched: {}: {}", facts.stage, facts.message),
            };
            let then = match next {
                Next::Backoff => "",
                Next::GaveUp => "; giving up",
                Next::Hold => "; held",
                Next::None => "; stays down",
            };
            format!("{what}, crash {crashes} in a row{then}")
        }
        Kind::Backoff { delay_ms: 0, .. } => "next start at once".to_owned(),
        Kind::Backoff { delay_ms, .. } => format!("next start in {}", human(*delay_ms)),
        Kind::Recovered { crashes, down_ms } => format!("recovered after {crashes} crashes and {}", human(*down_ms)),
        Kind::GaveUp { crashes, .. } => format!("gave up after {crashes} crashes in a row"),
        Kind::Stopping { signal, grace_ms, reason } => {
            format!("asked to end by {signal}, grace {}{}", human(*grace_ms), whose(*reason))
        }
        Kind::Stop { status, took_ms, forced, reason } => {
            let how = status.map_or_else(String::new, |status| format!(" ({})", status.0));
            let forced = if *forced { "; SIGKILL was needed" } else { "" };
            format!("stopped{how} within {}{}{forced}", human(*took_ms), whose(*reason))
        }
        Kind::Health { to, failures, output, .. } => match to {
            HealthWord::Unhealthy => format!("unhealthy after {failures} failed checks: {output}"),
            HealthWord::Healthy => "healthy".to_owned(),
            HealthWord::Unknown => "health unknown".to_owned(),
        },
        Kind::Rotate { path, bytes, .. } => format!("rotated its log, {bytes} bytes are in {path}"),
        Kind::LogDropped { bytes, reason } => format!("{bytes} bytes of its log are lost: {reason}"),
        Kind::Reload { added, removed, changed, unchanged } => format!(
            "reloaded: {} added, {} removed, {} changed, {} unchanged",
            added.len(),
            removed.len(),
            changed.len(),
            unchanged.len()
        ),
        Kind::ReloadFailed { errors } => format!("cannot reload, nothing changed: {}", errors.join("; ")),
        Kind::DaemonStart { version, pid, .. } => format!("section3 {version} began, PID {pid}"),
        Kind::DaemonReady { took_ms, failed } if failed.is_empty() => format!("every service is up after {}", human(*took_ms)),
        Kind::DaemonReady { took_ms, failed } => {
            let names: Vec<&str> = failed.iter().map(crate::value::ServiceName::as_str).collect();
            format!("boot is over after {}; failed: {}", human(*took_ms), names.join(", "))
        }
        Kind::DaemonStopping { reason } => format!("shutting down: {reason}"),
        Kind::DaemonStop { exit_code } => format!("section3 ends with exit code {exit_code}"),
        Kind::Orphan { reaped } => format!("reaped {reaped} orphans"),
        Kind::Hold { by, reason, until, .. } => match until {
            Some(until) => format!("held by {by} until {until}: {reason}"),
            None => format!("held by {by}: {reason}"),
        },
        Kind::HookFailed(fault) => format!("{} failed: {}", handler(fault), fault.message),
        Kind::HookDisabled(fault) => format!("{} is disabled: {}", handler(fault), fault.message),
        Kind::Decision { point, verdict, by, reason, applied, .. } => {
            let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            let applied = if *applied { "" } else { " (not applied)" };
            format!("{by} decided at {point}: {verdict}{applied}{reason}")
        }
        Kind::Update { phase, to, error, .. } => {
            let to = to.as_ref().map_or_else(String::new, |to| format!(" {to}"));
            let error = error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
            format!("update{to}: {}{error}", phase.word())
        }
        Kind::Custom { name, .. } => format!("custom.{name}"),
        Kind::Stuck { for_ms } => format!("SIGKILL did not end it for {}; waiting", human(*for_ms)),
    }
}

fn handler(fault: &HookFault) -> String {
    match &fault.handler {
        Some(handler) => format!("hook {} ({handler})", fault.script),
        None => format!("hook {}", fault.script),
    }
}

fn crashed(facts: &ExitFacts) -> String {
    let oom = if facts.oom { "; nobody here sent that: out of memory?" } else { "" };
    format!("crashed ({}) after {}{oom}", facts.status.0, human(facts.uptime_ms))
}

const fn because(reason: StartReason) -> &'static str {
    match reason {
        StartReason::Boot => "",
        StartReason::Manual => " (operator)",
        StartReason::Restart => " (restart)",
        StartReason::Dependency => " (dependency)",
        StartReason::Reload => " (reload)",
        StartReason::Health => " (health)",
        StartReason::Hook => " (hook)",
    }
}

const fn whose(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Manual | StopReason::Shutdown => "",
        StopReason::Restart => " (restart)",
        StopReason::Reload => " (reload)",
        StopReason::NotReady => " (not ready in time)",
        StopReason::Health => " (unhealthy)",
        StopReason::Hook => " (hook)",
    }
}

fn human(ms: u64) -> Human {
    Human(Duration::from_millis(ms))
}
