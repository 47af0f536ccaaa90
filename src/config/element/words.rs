//! The closed lists of words, and what other supervisors call the same things.

use crate::config::reader::{Report, Value};
use crate::spec::{Condition, Console, ExitWhen, HealthAction, Restart, UnknownName};

/// `restart:`.
pub fn restart(value: &Value<'_>, report: &mut Report<'_>) -> Option<Restart> {
    const KNOWN: &[(&str, Restart)] = &[("always", Restart::Always), ("never", Restart::Never), ("on-crash", Restart::OnCrash)];
    // Docker, systemd, supervisord and process-compose.
    const FOREIGN: &[(&str, &str)] = &[
        ("on-failure", "on-crash"),
        ("on_failure", "on-crash"),
        ("exit_on_failure", "on-crash"),
        ("on-abnormal", "on-crash"),
        ("unexpected", "on-crash"),
        ("on_crash", "on-crash"),
        ("crash", "on-crash"),
        ("no", "never"),
        ("false", "never"),
        ("off", "never"),
        ("none", "never"),
        ("yes", "always"),
        ("true", "always"),
        ("on", "always"),
        ("unless-stopped", "always"),
        ("any", "always"),
    ];
    value.choice(report, KNOWN, FOREIGN)
}

/// The condition of a dependency.
pub fn condition(value: &Value<'_>, report: &mut Report<'_>) -> Option<Condition> {
    const KNOWN: &[(&str, Condition)] =
        &[("started", Condition::Started), ("ready", Condition::Ready), ("completed", Condition::Completed)];
    // Compose and process-compose.
    const FOREIGN: &[(&str, &str)] = &[
        ("service_started", "started"),
        ("process_started", "started"),
        ("running", "started"),
        ("service_healthy", "ready"),
        ("process_healthy", "ready"),
        ("process_log_ready", "ready"),
        ("healthy", "ready"),
        ("service_completed_successfully", "completed"),
        ("process_completed_successfully", "completed"),
        ("process_completed", "completed"),
        ("exited", "completed"),
        ("done", "completed"),
    ];
    value.choice(report, KNOWN, FOREIGN)
}

/// `health.action`.
pub fn health_action(value: &Value<'_>, report: &mut Report<'_>) -> Option<HealthAction> {
    value.choice(
        report,
        &[("restart", HealthAction::Restart), ("none", HealthAction::None)],
        &[("no", "none"), ("false", "none")],
    )
}

/// `supervisor.console`.
pub fn console(value: &Value<'_>, report: &mut Report<'_>) -> Option<Console> {
    const KNOWN: &[(&str, Console)] = &[("all", Console::All), ("events", Console::Events), ("none", Console::None)];
    const FOREIGN: &[(&str, &str)] =
        &[("true", "all"), ("yes", "all"), ("on", "all"), ("false", "none"), ("no", "none"), ("off", "none"), ("quiet", "none")];
    value.choice(report, KNOWN, FOREIGN)
}

/// `supervisor.exit_when`.
pub fn exit_when(value: &Value<'_>, report: &mut Report<'_>) -> Option<ExitWhen> {
    const KNOWN: &[(&str, ExitWhen)] = &[("never", ExitWhen::Never), ("all-ended", ExitWhen::AllEnded)];
    const FOREIGN: &[(&str, &str)] = &[
        ("false", "never"),
        ("no", "never"),
        ("all_ended", "all-ended"),
        ("all-exited", "all-ended"),
        ("all-done", "all-ended"),
    ];
    value.choice(report, KNOWN, FOREIGN)
}

/// `supervisor.select.unknown`.
pub fn unknown_name(value: &Value<'_>, report: &mut Report<'_>) -> Option<UnknownName> {
    const KNOWN: &[(&str, UnknownName)] = &[("error", UnknownName::Error), ("warn", UnknownName::Warn)];
    value.choice(report, KNOWN, &[("ignore", "warn"), ("warning", "warn"), ("fail", "error")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::probe;

    #[test]
    fn restart_words() {
        for (text, policy) in [
            ("always", Restart::Always),
            ("never", Restart::Never),
            ("on-crash", Restart::OnCrash),
            ("${NO:-never}", Restart::Never),
        ] {
            assert_eq!(probe::read(text, restart), Ok(policy), "{text}");
        }
        for (text, meant) in [
            ("nevr", "never"),
            ("no", "never"),
            ("false", "never"),
            ("False", "never"),
            ("on-failure", "on-crash"),
            ("unless-stopped", "always"),
            ("Always", "always"),
        ] {
            let said = format!("found `{text}`; allowed: `always`, `never`, `on-crash`; did you mean `{meant}`?");
            assert_eq!(probe::read(text, restart), Err(said), "{text}");
        }
        assert_eq!(probe::read("maybe", restart).expect_err("maybe"), "found `maybe`; allowed: `always`, `never`, `on-crash`");
        assert_eq!(probe::read("", restart).expect_err("null"), "no value given; allowed: `always`, `never`, `on-crash`");
        assert_eq!(probe::read("[never]", restart).expect_err("list"), "found a list; allowed: `always`, `never`, `on-crash`");
    }

    #[test]
    fn foreign_words_of_the_other_lists() {
        let meant = |said: Result<(), String>| said.expect_err("foreign").rsplit('`').nth(1).map(str::to_owned);
        assert_eq!(meant(probe::read("service_healthy", |v, r| condition(v, r).map(drop))).as_deref(), Some("ready"));
        assert_eq!(meant(probe::read("false", |v, r| console(v, r).map(drop))).as_deref(), Some("none"));
        assert_eq!(meant(probe::read("all_ended", |v, r| exit_when(v, r).map(drop))).as_deref(), Some("all-ended"));
        assert_eq!(meant(probe::read("ignore", |v, r| unknown_name(v, r).map(drop))).as_deref(), Some("warn"));
        assert_eq!(meant(probe::read("no", |v, r| health_action(v, r).map(drop))).as_deref(), Some("none"));
    }
}
