//! `supervisor.select`: the services that an environment variable picks.

use std::collections::HashSet;

use super::words;
use crate::config::expand;
use crate::config::reader::{Keys, Report, Spot, Value, shown, ticked};
use crate::spec::{Selection, UnknownName};
use crate::value::ServiceName;

const KEYS: Keys = Keys { known: &["env", "unknown"], foreign: &[], rule: "allowed: a map such as `{env: SERVICES}`" };

/// A selection as written; what it picks is known when all services were read.
#[derive(Debug)]
pub struct Choice {
    env: String,
    unknown: UnknownName,
    spot: Spot,
}

/// Reads `select:`.
pub fn read(value: &Value<'_>, report: &mut Report<'_>) -> Option<Choice> {
    const NAME: &str = "allowed: the name of a variable";
    let before = report.count();
    let (mut env, mut unknown) = (None, UnknownName::Error);
    for (key, value) in value.fields(report, &KEYS)? {
        match key {
            "env" => {
                env = value.parsed(report, NAME, |name| {
                    if expand::is_name(name) { Ok((name.to_owned(), value.spot())) } else { Err(NAME.to_owned()) }
                });
            }
            _ => unknown = words::unknown_name(&value, report).unwrap_or(unknown),
        }
    }
    if env.is_none() && report.count() == before {
        return report.wrong(value, "`env` is missing; name the variable that lists the services");
    }
    let (env, spot) = env.filter(|_| report.count() == before)?;
    Some(Choice { env, unknown, spot })
}

impl Choice {
    /// Looks the variable up and compares it with the services; `None` where that was noted as wrong.
    ///
    /// Unset, empty or blank means all; a comma without a name picks nothing, and picking nothing is an error.
    pub fn apply(self, services: &[ServiceName], report: &mut Report<'_>) -> Option<Selection> {
        let Self { env, unknown, spot } = self;
        let value = report.env(&env).filter(|value| !value.trim().is_empty());
        let Some(value) = value else { return Some(Selection { env, unknown, picked: None, ignored: Vec::new() }) };
        let wanted: Vec<&str> = value.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        let known: HashSet<&str> = services.iter().map(ServiceName::as_str).collect();
        let mut ignored: Vec<String> = Vec::new();
        let mut seen = HashSet::new();
        let mut good = true;
        for word in wanted.iter().filter(|word| !known.contains(*word)) {
            if unknown == UnknownName::Error {
                let meant = report.meant(word, services.iter().map(ServiceName::as_str));
                report.note(spot.clone(), format!("found `{}` in the variable `{env}`; no such service", shown(word)), meant);
                good = false;
            } else if seen.insert(*word) {
                ignored.push((*word).to_owned());
            }
        }
        let chosen: HashSet<&str> = wanted.into_iter().collect();
        let picked: Vec<_> = services.iter().filter(|name| chosen.contains(name.as_str())).cloned().collect();
        if picked.is_empty() && good {
            let allowed = ticked(services.iter().take(20).map(ServiceName::as_str));
            let rule = if allowed.is_empty() { "there is no service to pick".to_owned() } else { format!("allowed: {allowed}") };
            report.note(spot, format!("found `{}` in the variable `{env}`, which names no service; {rule}", shown(&value)), None);
            good = false;
        }
        good.then_some(Selection { env, unknown, picked: Some(picked), ignored })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::probe;

    #[test]
    fn what_is_written() {
        for (text, said) in [
            ("", "no value given; allowed: a map"),
            ("A", "found `A`; allowed: a map"),
            ("{}", "found a map; `env` is missing"),
            ("{env: A B}", "found `A B`; allowed: the name of a variable"),
            ("{env: A, unknown: wrn}", "found `wrn`; allowed: `error`, `warn`; did you mean `warn`?"),
            ("{evn: A}", "unknown key `evn`; allowed: `env`, `unknown`; did you mean `env`?"),
        ] {
            let found = probe::read(text, |v, r| read(v, r).map(drop)).expect_err(text);
            assert!(found.starts_with(said), "{text}: {found}");
        }
    }

    #[test]
    fn what_it_picks() {
        let services: Vec<_> = ["a", "b", "web"].into_iter().map(|n| ServiceName::parse(n).expect("name")).collect();
        let pick = |unknown, value: Option<&str>| {
            let env = |_: &str| value.map(str::to_owned);
            let mut report = Report::new(&env, std::path::Path::new(""));
            let selection = Choice { env: "V".to_owned(), unknown, spot: Spot::default() }.apply(&services, &mut report);
            let names = |s: Selection| (s.picked.map(|p| p.iter().map(|n| n.as_str().to_owned()).collect::<Vec<_>>()), s.ignored);
            let findings = report.into_findings().list;
            selection.map(names).ok_or_else(|| findings.into_iter().map(|f| (f.message, f.nearest)).collect::<Vec<_>>())
        };
        let some = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        for (value, picked) in [
            (None, None),
            (Some(""), None),
            (Some("  "), None),
            (Some("web,a"), some(&["a", "web"])),
            (Some(" b , ,b,"), some(&["b"])),
        ] {
            assert_eq!(pick(UnknownName::Error, value), Ok((picked, vec![])), "{value:?}");
        }
        assert_eq!(pick(UnknownName::Warn, Some("a,x,x")), Ok((some(&["a"]), vec!["x".to_owned()])));
        let said = pick(UnknownName::Error, Some("a,wbe,zzz")).expect_err("unknown");
        assert_eq!(said[0], ("found `wbe` in the variable `V`; no such service".to_owned(), Some("web".to_owned())));
        assert_eq!(said.len(), 2);
        let many: Vec<_> = (0..30).map(|n| ServiceName::parse(&format!("s{n}")).expect("name")).collect();
        let env = |_: &str| Some(",".to_owned());
        let mut report = Report::new(&env, std::path::Path::new(""));
        let choice = Choice { env: "V".to_owned(), unknown: UnknownName::Warn, spot: Spot::default() };
        assert!(choice.apply(&many, &mut report).is_none());
        assert!(report.into_findings().list[0].message.ends_with("`s18`, `s19`"), "the message is as long as the file");
        for (unknown, value) in [(UnknownName::Warn, "x"), (UnknownName::Warn, ","), (UnknownName::Error, ",")] {
            let said = pick(unknown, Some(value)).expect_err(value);
            let expected = format!("found `{value}` in the variable `V`, which names no service; allowed: `a`, `b`, `web`");
            assert_eq!(said, [(expected, None)]);
        }
    }
}
