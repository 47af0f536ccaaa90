//! `ready:` and `health:`: one probe, and how it is asked.

use std::time::Duration;

use super::{command, words};
use crate::config::reader::{ANY, Keys, POSITIVE, Report, Value};
use crate::config::tree::Node;
use crate::spec::{Health, HealthAction, HttpUrl, Notify, Probe, Ready};

const FOREIGN: &[(&str, &str)] = &[
    ("test", "exec"),
    ("command", "exec"),
    ("cmd", "exec"),
    ("httpget", "http"),
    ("http_get", "http"),
    ("url", "http"),
    ("port", "tcp"),
    ("tcp_socket", "tcp"),
    ("regex", "log"),
    ("pattern", "log"),
    ("path", "file"),
    ("sd_notify", "notify"),
    ("period", "interval"),
    ("retries", "failures"),
    ("failure_threshold", "failures"),
    ("start_period", "grace"),
    ("initial_delay", "grace"),
];
const READY: Keys = Keys {
    known: &["notify", "tcp", "http", "exec", "log", "file", "plugin", "interval", "timeout"],
    foreign: FOREIGN,
    rule: "allowed: a map with one probe such as `{tcp: \"127.0.0.1:8080\"}`",
};
const HEALTH: Keys = Keys {
    known: &["tcp", "http", "exec", "file", "plugin", "interval", "timeout", "grace", "failures", "action"],
    foreign: FOREIGN,
    rule: READY.rule,
};
/// The descriptors that a service may be told to write to; 0 to 2 are its own.
const NOTIFY_FDS: std::ops::RangeInclusive<i32> = 3..=1023;

/// Reads `ready:`.
pub fn ready(value: &Value<'_>, report: &mut Report<'_>) -> Option<Ready> {
    let before = report.count();
    let (mut interval, mut timeout) = (Duration::from_millis(500), Duration::from_secs(60));
    let mut probes = Vec::new();
    for (key, value) in value.fields(report, &READY)? {
        match key {
            "interval" => interval = value.duration(report, POSITIVE).unwrap_or(interval),
            "timeout" => timeout = value.duration(report, POSITIVE).unwrap_or(timeout),
            _ => probes.push((key, probe(key, &value, report))),
        }
    }
    let probe = only(probes, value, &READY.known[..7], report)?;
    (report.count() == before).then_some(Ready { probe, interval, timeout })
}

/// Reads `health:`.
pub fn health(value: &Value<'_>, report: &mut Report<'_>) -> Option<Health> {
    let before = report.count();
    let (mut interval, mut timeout, mut grace) = (Duration::from_secs(10), Duration::from_secs(3), Duration::ZERO);
    let (mut failures, mut action) = (3, HealthAction::Restart);
    let mut probes = Vec::new();
    for (key, value) in value.fields(report, &HEALTH)? {
        match key {
            "interval" => interval = value.duration(report, POSITIVE).unwrap_or(interval),
            "timeout" => timeout = value.duration(report, POSITIVE).unwrap_or(timeout),
            "grace" => grace = value.duration(report, ANY).unwrap_or(grace),
            "failures" => failures = value.integer(report, 1..=1000).unwrap_or(failures),
            "action" => action = words::health_action(&value, report).unwrap_or(action),
            _ => probes.push((key, probe(key, &value, report))),
        }
    }
    // `notify` and `log` speak once, at the start: an unknown key has been noted for them.
    let probe = only(probes, value, &HEALTH.known[..5], report)?;
    (report.count() == before).then_some(Health { probe, interval, timeout, grace, failures, action })
}

/// The one probe among the keys that name one.
fn only(probes: Vec<(&str, Option<Probe>)>, value: &Value<'_>, kinds: &[&str], report: &mut Report<'_>) -> Option<Probe> {
    let kinds = crate::config::reader::ticked(kinds.iter().copied());
    match probes.len() {
        0 => report.wrong(value, format_args!("it names no probe; exactly one of {kinds}")),
        1 => probes.into_iter().next().and_then(|(_, probe)| probe),
        _ => {
            let given = crate::config::reader::ticked(probes.iter().map(|(key, _)| *key));
            report.wrong(value, format_args!("it names the probes {given}; exactly one of {kinds}"))
        }
    }
}

fn probe(key: &str, value: &Value<'_>, report: &mut Report<'_>) -> Option<Probe> {
    match key {
        "notify" => notify(value, report).map(Probe::Notify),
        "tcp" => value.parsed(report, TCP, tcp),
        "http" => value.parsed(report, HTTP, http).map(Probe::Http),
        "exec" => command::read(value, report).map(Probe::Exec),
        "log" => value.parsed(report, LOG, log),
        "plugin" => value.parsed(report, PLUGIN, plugin),
        _ => value.path_value(report).map(Probe::File),
    }
}

const TCP: &str = "allowed: `HOST:PORT` such as `127.0.0.1:8080` or `[::1]:8080`";
const HTTP: &str = "allowed: a URL such as `http://127.0.0.1:8080/health`";
const LOG: &str = "allowed: a regular expression that one line of the output matches";
const PLUGIN: &str = "allowed: `PLUGIN.NAME`, a probe or check of an entry of `plugins:`";
const NOTIFY: &str = "allowed: `systemd`, or `{fd: N}`";

fn notify(value: &Value<'_>, report: &mut Report<'_>) -> Option<Notify> {
    if !matches!(value.node(), Node::Map(_)) {
        return value.parsed(report, NOTIFY, |text| if text == "systemd" { Ok(Notify::Systemd) } else { Err(NOTIFY.to_owned()) });
    }
    let fields = value.fields(report, &Keys { known: &["fd"], foreign: &[], rule: NOTIFY })?;
    match fields.first() {
        Some((_, value)) => value.integer(report, NOTIFY_FDS).map(Notify::Fd),
        None => report.wrong(value, NOTIFY),
    }
}

fn plugin(text: &str) -> Result<Probe, String> {
    match text.split_once('.') {
        Some((plugin, name)) if !plugin.is_empty() && !name.is_empty() => {
            Ok(Probe::Plugin { plugin: plugin.to_owned(), name: name.to_owned() })
        }
        _ => Err(PLUGIN.to_owned()),
    }
}

fn log(text: &str) -> Result<Probe, String> {
    if text.is_empty() {
        return Err(LOG.to_owned());
    }
    match regex_lite::Regex::new(text) {
        Ok(_) => Ok(Probe::Log(text.to_owned())),
        Err(error) => Err(format!("{error}; {LOG}")),
    }
}

fn tcp(text: &str) -> Result<Probe, String> {
    let (host, port) = host_and_port(text).ok_or_else(|| TCP.to_owned())?;
    Ok(Probe::Tcp { host: host.to_owned(), port: port.ok_or_else(|| TCP.to_owned())? })
}

fn http(text: &str) -> Result<HttpUrl, String> {
    let wrong = || HTTP.to_owned();
    let Some(rest) = text.strip_prefix("http://") else {
        return Err(if text.starts_with("https://") {
            "a probe asks without TLS; write `http://`, or `exec: curl -fsS URL`".to_owned()
        } else {
            wrong()
        });
    };
    // What would end the request line early.
    if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains(['#', '@', '\\']) {
        return Err(format!("{HTTP}, without blanks, `#` and user names"));
    }
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (host, port) = host_and_port(authority).ok_or_else(wrong)?;
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok(HttpUrl { host: host.to_owned(), port: port.unwrap_or(80), target })
}

/// `HOST`, `HOST:PORT` or the same with an IPv6 address in brackets, which are taken off.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port)
        }
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            (!host.is_empty() && host.bytes().all(good)).then_some((host, port))?
        }
    };
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok().filter(|port| *port != 0)?),
        None if port.is_empty() => None,
        _ => return None,
    };
    Some((host, port))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::reader::probe as reading;
    use crate::spec::Command;

    fn url(host: &str, port: u16, target: &str) -> Probe {
        Probe::Http(HttpUrl { host: host.to_owned(), port, target: target.to_owned() })
    }

    fn socket(host: &str, port: u16) -> Probe {
        Probe::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn probes_that_are_allowed() {
        for (text, probe) in [
            ("{notify: systemd}", Probe::Notify(Notify::Systemd)),
            ("{notify: {fd: 3}}", Probe::Notify(Notify::Fd(3))),
            ("{tcp: localhost:80}", socket("localhost", 80)),
            ("{tcp: \"[::1]:8080\"}", socket("::1", 8080)),
            ("{tcp: \"127.0.0.1:${NO:-65535}\"}", socket("127.0.0.1", 65535)),
            ("{http: \"http://127.0.0.1:8080/health?x=1\"}", url("127.0.0.1", 8080, "/health?x=1")),
            ("{http: \"http://web\"}", url("web", 80, "/")),
            ("{http: \"http://web?x\"}", url("web", 80, "/?x")),
            ("{http: \"http://[::1]/\"}", url("::1", 80, "/")),
            ("{exec: curl -fs x}", Probe::Exec(Command::Shell("curl -fs x".to_owned()))),
            ("{exec: [test, -e, /x]}", Probe::Exec(Command::Argv(vec!["test".into(), "-e".into(), "/x".into()]))),
            ("{log: '^ready in \\d+ms$'}", Probe::Log("^ready in \\d+ms$".to_owned())),
            ("{plugin: db.up}", Probe::Plugin { plugin: "db".to_owned(), name: "up".to_owned() }),
            ("{file: /run/x}", Probe::File(PathBuf::from("/run/x"))),
        ] {
            let ready = reading::read(text, ready).expect(text);
            assert_eq!(ready, Ready { probe, interval: Duration::from_millis(500), timeout: Duration::from_secs(60) }, "{text}");
        }
    }

    #[test]
    fn how_it_is_asked() {
        let ready = reading::read("{file: x, interval: 20ms, timeout: 2s}", ready).expect("good");
        assert_eq!((ready.interval, ready.timeout), (Duration::from_millis(20), Duration::from_secs(2)));
        let given = reading::read("{file: x}", health).expect("good");
        let default = Health {
            probe: Probe::File(PathBuf::from("x")),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(3),
            grace: Duration::ZERO,
            failures: 3,
            action: HealthAction::Restart,
        };
        assert_eq!(given, default);
        let given = reading::read("{file: x, interval: 1s, timeout: 2s, grace: 3s, failures: 4, action: none}", health);
        let [one, two, three] = [1, 2, 3].map(Duration::from_secs);
        let all = Health { interval: one, timeout: two, grace: three, failures: 4, action: HealthAction::None, ..default };
        assert_eq!(given, Ok(all));
    }

    #[test]
    fn probes_that_are_not() {
        for (text, said) in [
            ("", "no value given; allowed: a map with one probe"),
            ("8080", "found `8080`; allowed: a map with one probe"),
            ("{}", "found a map; it names no probe; exactly one of `notify`, `tcp`, `http`, `exec`, `log`, `file`, `plugin`"),
            ("{timeout: 5s}", "found a map; it names no probe"),
            ("{tcp: a:1, file: x}", "found a map; it names the probes `tcp`, `file`; exactly one of"),
            ("{tcp: 8080}", "found `8080`; allowed: `HOST:PORT`"),
            ("{tcp: \":8080\"}", "found `:8080`; allowed: `HOST:PORT`"),
            ("{tcp: a:0}", "found `a:0`; allowed: `HOST:PORT`"),
            ("{tcp: a:65536}", "found `a:65536`; allowed: `HOST:PORT`"),
            ("{tcp: \"a:+1\"}", "found `a:+1`; allowed: `HOST:PORT`"),
            ("{tcp: \"::1:80\"}", "found `::1:80`; allowed: `HOST:PORT`"),
            ("{tcp: \"[x]:80\"}", "found `[x]:80`; allowed: `HOST:PORT`"),
            ("{http: localhost:80}", "found `localhost:80`; allowed: a URL such as"),
            ("{http: \"https://x/\"}", "found `https://x/`; a probe asks without TLS"),
            ("{http: \"http://\"}", "found `http://`; allowed: a URL"),
            ("{http: \"http://u@h/\"}", "found `http://u@h/`; allowed: a URL"),
            ("{http: \"http://h/a#b\"}", "found `http://h/a#b`; allowed: a URL"),
            ("{http: \"http://[::1]80/\"}", "found `http://[::1]80/`; allowed: a URL"),
            ("{tcp: \"a/b:80\"}", "found `a/b:80`; allowed: `HOST:PORT`"),
            ("{http: \"http://h/a b\"}", "found `http://h/a b`; allowed: a URL"),
            ("{http: \"http://h/\\r\\nX: y\"}", "found `http://h/\\r\\nX: y`; allowed: a URL"),
            ("{http: \"http://h:x/\"}", "found `http://h:x/`; allowed: a URL"),
            ("{notify: sistemd}", "found `sistemd`; allowed: `systemd`, or `{fd: N}`"),
            ("{notify: {fd: 2}}", "found `2`; allowed: a whole number from 3 to 1023"),
            ("{notify: {}}", "found a map; allowed: `systemd`"),
            ("{exec: }", "no value given; allowed: a line for the shell"),
            ("{log: \"\"}", "found ``; allowed: a regular expression"),
            ("{file: \"\"}", "found ``; allowed: a path"),
            ("{plugin: a}", "found `a`; allowed: `PLUGIN.NAME`"),
            ("{plugin: a.}", "found `a.`; allowed: `PLUGIN.NAME`"),
            ("{plugin: .b}", "found `.b`; allowed: `PLUGIN.NAME`"),
            (
                "{test: x}",
                "unknown key `test`; allowed: `notify`, `tcp`, `http`, `exec`, `log`, `file`, `plugin`, `interval`, `timeout`; did you mean `exec`?",
            ),
            ("{file: x, interval: 0s}", "found `0s`; allowed: more than 0s"),
            ("{file: x, timeout: 0s}", "found `0s`; allowed: more than 0s"),
        ] {
            let found = reading::read(text, ready).expect_err(text);
            assert!(found.starts_with(said), "{text}: {found}");
        }
        for (text, said) in [
            ("{notify: systemd}", "unknown key `notify`; allowed: `tcp`, `http`, `exec`, `file`, `plugin`, `interval`"),
            ("{log: x}", "unknown key `log`; allowed: `tcp`"),
            ("{file: x, interval: 0s}", "found `0s`; allowed: more than 0s"),
            ("{file: x, timeout: 0s}", "found `0s`; allowed: more than 0s"),
            ("{file: x, failures: 0}", "found `0`; allowed: a whole number from 1 to 1000"),
            ("{file: x, action: stop}", "found `stop`; allowed: `restart`, `none`"),
        ] {
            let found = reading::read(text, health).expect_err(text);
            assert!(found.starts_with(said), "{text}: {found}");
        }
    }
}
