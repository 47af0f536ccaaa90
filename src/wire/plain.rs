//! The plain form: one request line as typed at the CLI, for `nc` and for clients of the original.
//!
//! Words are split at blanks; there is no quoting, for no word of a request can hold a blank. A word that is not
//! understood is a fault, never dropped.

use super::Fault;
use super::fault::shortened;
use super::request::{
    CALL_MS, EVENT_LINES, LogName, Request, TAIL_LINES, hook, lines, logs, order, pairs, plugin_call, service, services, signal,
    some_logs, state, unknown_op, usage,
};

/// An option: long name, short letter, whether a value follows.
type Opt = (&'static str, Option<char>, bool);

const ALL: Opt = ("all", None, false);
const NO_WAIT: Opt = ("no-wait", None, false);
const DRY_RUN: Opt = ("dry-run", None, false);
const APPLY: Opt = ("apply", None, false);
const LINES: Opt = ("lines", Some('n'), true);
const FOLLOW: Opt = ("follow", Some('f'), false);
const FOR: Opt = ("for", None, true);

/// Options that the CLI knows and handles itself.
const OF_THE_CLIENT: [&str; 3] = ["json", "timeout", "raw"];

pub(super) fn decode(line: &str) -> Result<Request, Fault> {
    // As it is typed: the other commands of `self` are about a file, and no business of a supervisor.
    let mut words = line.strip_prefix("self ").filter(|rest| rest.trim() == "reexec").unwrap_or(line).split_ascii_whitespace();
    let Some(verb) = words.next() else {
        return Err(usage("the request is empty").with_hint("`status` lists the services"));
    };
    let options: &[Opt] = match verb {
        "start" | "stop" | "restart" => &[ALL, NO_WAIT],
        "reload" => &[DRY_RUN, APPLY],
        "tail" => &[LINES, FOLLOW],
        "wait" => &[FOR],
        "events" => &[LINES, FOLLOW],
        _ => &[],
    };
    let mut line = Line { verb, options, names: Vec::new(), given: Vec::new() };
    match verb {
        "status" => {
            line.read(words)?;
            Ok(Request::Status { names: services(&line.names)? })
        }
        "start" | "stop" | "restart" => {
            line.read(words)?;
            let (all, wait) = (line.has(ALL), !line.has(NO_WAIT));
            let order = order(&line.names, all, wait)?;
            Ok(match verb {
                "start" => Request::Start(order),
                "stop" => Request::Stop(order),
                _ => Request::Restart(order),
            })
        }
        "reload" => {
            line.read(words)?;
            line.exactly(0)?;
            Ok(Request::Reload { dry_run: line.has(DRY_RUN), apply: line.has(APPLY) })
        }
        "tail" => {
            line.read(words)?;
            let lines = line.value(LINES).map_or(Ok(TAIL_LINES), lines)?;
            let follow = line.has(FOLLOW);
            let logs: Vec<LogName> = logs(&line.names)?;
            Ok(Request::Tail { logs, lines, follow })
        }
        "wait" => {
            line.read(words)?;
            line.exactly(1)?;
            let word = line.value(FOR).ok_or_else(|| usage("`wait` needs a state").with_hint("`wait NAME --for STATE`"))?;
            Ok(Request::Wait { name: service(line.names[0])?, state: state(word)? })
        }
        "events" => {
            line.read(words)?;
            line.exactly(0)?;
            Ok(Request::Events { lines: line.value(LINES).map_or(Ok(EVENT_LINES), lines)?, follow: line.has(FOLLOW) })
        }
        "signal" => {
            line.read(words)?;
            line.exactly(2)?;
            Ok(Request::Signal { name: service(line.names[0])?, signal: signal(line.names[1])? })
        }
        "rotate" => {
            line.read(words)?;
            Ok(Request::Rotate { logs: some_logs(&line.names)? })
        }
        "hook" => {
            line.read(words)?;
            line.at_most(2)?;
            let action = line.names.first().ok_or_else(|| usage("`hook` needs an action").with_hint("`hook list`"))?;
            Ok(Request::Hook(hook(action, line.names.get(1).map(|name| (*name).to_owned()))?))
        }
        "emit" => {
            line.read(words)?;
            let Some((name, data)) = line.names.split_first() else { return Err(usage("`emit` needs the name of an event")) };
            Ok(Request::Emit { name: (*name).to_owned(), data: pairs(data)? })
        }
        // The words behind the command are the command's own, whatever they look like.
        "x" => {
            let mut words = words.map(str::to_owned);
            let (plugin, command) = (words.next(), words.next());
            Ok(Request::Plugin(plugin_call(plugin, command, words.collect(), CALL_MS)?))
        }
        "version" | "reexec" => {
            line.read(words)?;
            line.exactly(0)?;
            Ok(if verb == "version" { Request::Version } else { Request::Reexec })
        }
        "updated" => Err(usage("`updated` is spoken in JSON only").with_hint("`section3 self update` updates")),
        _ => Err(unknown_op(verb)),
    }
}

/// A request line taken apart.
struct Line<'a> {
    verb: &'a str,
    options: &'static [Opt],
    names: Vec<&'a str>,
    given: Vec<(&'static str, &'a str)>,
}

impl<'a> Line<'a> {
    fn read(&mut self, mut words: impl Iterator<Item = &'a str>) -> Result<(), Fault> {
        let mut only_names = false;
        while let Some(word) = words.next() {
            if only_names || !word.starts_with('-') || word == "-" {
                self.names.push(word);
            } else if word == "--" {
                only_names = true;
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, attached) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (long, None),
                };
                let Some((long, _, valued)) = self.options.iter().find(|(long, ..)| *long == name) else {
                    return Err(self.unknown(word, name));
                };
                match (*valued, attached) {
                    (false, Some(_)) => return Err(usage(format!("`--{long}` takes no value"))),
                    (false, None) => self.give(long, "")?,
                    (true, Some(value)) => self.give(long, value)?,
                    (true, None) => self.give(long, words.next().ok_or_else(|| needs_value(word))?)?,
                }
            } else {
                self.read_letters(word, &mut words)?;
            }
        }
        Ok(())
    }

    /// `-f`, `-n5`, `-n 5`, `-fn5`.
    fn read_letters(&mut self, word: &'a str, words: &mut impl Iterator<Item = &'a str>) -> Result<(), Fault> {
        for (at, letter) in word.char_indices().skip(1) {
            let Some((long, _, valued)) = self.options.iter().find(|(_, short, _)| *short == Some(letter)) else {
                return Err(self.unknown(word, ""));
            };
            if !valued {
                self.give(long, "")?;
                continue;
            }
            let attached = &word[at + letter.len_utf8()..];
            let value = if attached.is_empty() { words.next().ok_or_else(|| needs_value(word))? } else { attached };
            return self.give(long, value);
        }
        Ok(())
    }

    fn give(&mut self, long: &'static str, value: &'a str) -> Result<(), Fault> {
        if self.given.iter().any(|(name, _)| *name == long) {
            return Err(usage(format!("`--{long}` is given twice")));
        }
        self.given.push((long, value));
        Ok(())
    }

    fn has(&self, option: Opt) -> bool {
        self.given.iter().any(|(name, _)| *name == option.0)
    }

    fn value(&self, option: Opt) -> Option<&'a str> {
        self.given.iter().find(|(name, _)| *name == option.0).map(|(_, value)| *value)
    }

    fn at_most(&self, count: usize) -> Result<(), Fault> {
        match self.names.get(count) {
            Some(surplus) => Err(usage(format!("`{}` does not take `{}`", self.verb, shortened(surplus)))),
            None => Ok(()),
        }
    }

    fn exactly(&self, count: usize) -> Result<(), Fault> {
        self.at_most(count)?;
        match self.names.get(count) {
            None if self.names.len() < count => Err(usage(format!(
                "`{}` needs {}",
                self.verb,
                match self.verb {
                    "signal" => "a service and a signal",
                    _ => "a service",
                }
            ))),
            _ => Ok(()),
        }
    }

    fn unknown(&self, word: &str, name: &str) -> Fault {
        if OF_THE_CLIENT.contains(&name) {
            return usage(format!("`--{name}` is an option of the section3 program, not of its socket"))
                .with_hint("JSON is answered to requests in JSON");
        }
        let fault = usage(format!("`{}` has no option `{}`", self.verb, shortened(word)));
        match crate::value::nearest::nearest(name, self.options.iter().map(|(long, ..)| *long)) {
            Some(near) => fault.with_hint(format!("did you mean `--{near}`?")),
            None => fault,
        }
    }
}

fn needs_value(word: &str) -> Fault {
    usage(format!("`{}` needs a value", shortened(word)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::super::request::{HookOrder, PluginCall};
    use super::super::{Form, Order, State};
    use super::*;
    use crate::value::{ServiceName, Signal};

    fn name(text: &str) -> ServiceName {
        ServiceName::parse(text).unwrap()
    }

    fn order_of(names: &[&str], all: bool, wait: bool) -> Order {
        Order { names: names.iter().map(|n| name(n)).collect(), all, wait }
    }

    fn call(plugin: Option<&str>, command: Option<&str>, args: &[&str]) -> Request {
        Request::Plugin(PluginCall {
            plugin: plugin.map(str::to_owned),
            command: command.map(str::to_owned),
            args: args.iter().map(|word| (*word).to_owned()).collect(),
            limit_ms: CALL_MS,
        })
    }

    #[test]
    fn lines_as_typed() {
        let web = LogName::Service(name("web"));
        for (line, request) in [
            ("status", Request::Status { names: vec![] }),
            ("status\r\n", Request::Status { names: vec![] }),
            ("  status web\tdb \n", Request::Status { names: vec![name("web"), name("db")] }),
            ("stop a b", Request::Stop(order_of(&["a", "b"], false, true))),
            ("stop --all", Request::Stop(order_of(&[], true, true))),
            ("start web --no-wait", Request::Start(order_of(&["web"], false, false))),
            ("restart web", Request::Restart(order_of(&["web"], false, true))),
            ("reload", Request::Reload { dry_run: false, apply: false }),
            ("reload --dry-run --apply", Request::Reload { dry_run: true, apply: true }),
            ("tail", Request::Tail { logs: vec![], lines: 20, follow: false }),
            ("tail web", Request::Tail { logs: vec![web.clone()], lines: 20, follow: false }),
            ("tail -n 5 web", Request::Tail { logs: vec![web.clone()], lines: 5, follow: false }),
            ("tail web -n5 -f", Request::Tail { logs: vec![web.clone()], lines: 5, follow: true }),
            ("tail -fn 0 section3", Request::Tail { logs: vec![LogName::Supervisor], lines: 0, follow: true }),
            ("tail --lines=10000 --follow web", Request::Tail { logs: vec![web.clone()], lines: 10_000, follow: true }),
            ("tail -- web", Request::Tail { logs: vec![web.clone()], lines: 20, follow: false }),
            ("wait web --for running", Request::Wait { name: name("web"), state: State::Running }),
            ("events -n 3", Request::Events { lines: 3, follow: false }),
            ("events --follow", Request::Events { lines: 1_000, follow: true }),
            ("signal web HUP", Request::Signal { name: name("web"), signal: Signal::HUP }),
            ("rotate web section3", Request::Rotate { logs: vec![web, LogName::Supervisor] }),
            ("hook list", Request::Hook(HookOrder::List)),
            ("hook enable a", Request::Hook(HookOrder::Enable { name: "a".into() })),
            ("hook disable a", Request::Hook(HookOrder::Disable { name: "a".into() })),
            ("emit deploy", Request::Emit { name: "deploy".into(), data: Map::new() }),
            (
                "emit deploy v=1.5 ok=true by=me s=null",
                Request::Emit {
                    name: "deploy".into(),
                    data: [("v", 1.5.into()), ("ok", true.into()), ("by", "me".into()), ("s", Value::from("null"))]
                        .map(|(key, value)| (key.to_owned(), value))
                        .into_iter()
                        .collect(),
                },
            ),
            ("x", call(None, None, &[])),
            ("x logship", call(Some("logship"), None, &[])),
            ("x logship retry --all -n 5", call(Some("logship"), Some("retry"), &["--all", "-n", "5"])),
            ("version", Request::Version),
            ("reexec", Request::Reexec),
            ("self reexec", Request::Reexec),
        ] {
            assert_eq!(Request::decode(line.as_bytes()), (Form::Plain, Ok(request)), "{line:?}");
        }
    }

    #[test]
    fn lines_that_are_refused() {
        for (line, part) in [
            ("", "empty"),
            ("\n", "empty"),
            ("   ", "empty"),
            (" {\"v\":1}", "unknown command"),
            ("stauts", "did you mean `status`?"),
            ("GET / HTTP/1.1", "unknown command `GET`"),
            ("stop", "no service is named"),
            ("stop web --all", "both services and all"),
            ("stop --al", "did you mean `--all`?"),
            ("stop --all=yes", "takes no value"),
            ("tail -n -1 web", "between 0 and 10000, not `-1`"),
            ("tail -n", "needs a value"),
            ("tail --lines", "needs a value"),
            ("tail -n x web", "not `x`"),
            ("tail -n +5 web", "not `+5`"),
            ("tail -n 10001 web", "not `10001`"),
            ("tail -n 5 -n 6", "given twice"),
            ("tail -x", "has no option `-x`"),
            ("tail --raw", "an option of the section3 program"),
            ("status --json", "an option of the section3 program"),
            ("tail ../../etc/shadow", "no such service"),
            ("reload now", "`reload` does not take `now`"),
            ("hook", "`hook` needs an action"),
            ("hook lits", "did you mean `list`?"),
            ("hook list a", "`hook list` does not take `a`"),
            ("hook enable", "`hook enable` needs a hook or plugin"),
            ("hook enable a b", "`hook` does not take `b`"),
            ("emit", "needs the name of an event"),
            ("emit a b", "`b` is not NAME=VALUE"),
            ("emit a =b", "`=b` is not NAME=VALUE"),
            ("emit a b=1 b=2", "`b` is given twice"),
            ("version 2", "does not take"),
            ("reexec --force", "has no option `--force`"),
            ("updated", "in JSON only"),
            ("events web", "does not take `web`"),
            ("wait web", "needs a state"),
            ("wait --for running", "`wait` needs a service"),
            ("wait a b --for running", "does not take `b`"),
            ("signal web", "a service and a signal"),
            ("signal web KILL now", "does not take `now`"),
            ("signal web FOO", "a signal is a name"),
            ("rotate", "no service is named"),
            ("status \u{1b}[31m", "no such service"),
        ] {
            let (form, result) = Request::decode(line.as_bytes());
            let fault = result.expect_err(line);
            assert_eq!(form, Form::Plain);
            assert!(fault.to_string().contains(part), "{line:?}: {fault}");
        }
        assert!(Request::decode(b"status \xff").1.is_err());
    }
}
