//! The whole document: its sections, and what can only be judged when all services were read.

use std::collections::HashMap;

use super::cycle;
use super::element::dependencies::Wanted;
use super::reader::{Keys, Report, Value, shown};
use super::scripts;
use super::service::{self, Written};
use super::settings;
use super::tree::Node;
use crate::spec::{Condition, Dependency, Restart, Settings, Spec};
use crate::value::ServiceName;

const TOP: Keys = Keys {
    known: &["defaults", "services", "hooks", "plugins", "secrets", "supervisor"],
    foreign: &[
        ("scripts", "hooks"),
        ("programs", "services"),
        ("processes", "services"),
        ("settings", "supervisor"),
        ("x-defaults", "defaults"),
    ],
    rule: "a config is a map with `services`; write `services: {}` to run none",
};

/// Cycles named one by one; each may be as long as the file.
const CYCLES: usize = 100;

/// Services named in a message about a cycle; a longer one is cut in the middle.
const CYCLE_SHOWN: usize = 20;

/// Turns a document into a spec; `None`, and something noted, where it is wrong.
pub fn spec(root: &Node, report: &mut Report<'_>) -> Option<Spec> {
    let root = Value::root(root);
    let fields = root.fields(report, &TOP)?;
    let section = |name: &str| fields.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
    let under = section("defaults").map(|value| service::defaults(value, report)).unwrap_or_default();
    let (mut settings, choice) = section("supervisor").map_or((Settings::default(), None), |value| settings::read(value, report));
    let read = scripts::read(section("hooks"), section("plugins"), section("secrets"), report);
    let Some(value) = section("services") else {
        report.note(root.key_spot(), "no `services`; write `services: {}` to run none".to_owned(), None);
        return None;
    };
    let entries = value.entries(report, "allowed: a map of name: service; write `services: {}` to run none")?;

    let mut names = Vec::with_capacity(entries.len());
    let mut written = Vec::with_capacity(entries.len());
    for (key, value) in &entries {
        // A bad name still counts as a service, so that what depends on it is not called unknown.
        match ServiceName::parse(key) {
            Ok(name) => names.push(name),
            Err(rule) => report.note(value.key_spot(), format!("found the name `{}`; {rule}", shown(key)), None),
        }
        written.push((*key, service::service(value, report)));
    }
    let advisers = under.decisions.iter().chain(written.iter().filter_map(|(_, written)| written.decisions.as_ref())).flatten();
    for wanted in advisers.filter(|wanted| !read.names.contains(&wanted.name)) {
        let meant = report.meant(&wanted.name, read.names.iter().map(String::as_str)).map(str::to_owned);
        let message = format!("found `{}`; no hook or plugin of that name", shown(&wanted.name));
        report.note(wanted.spot.clone(), message, meant.as_deref());
    }
    let depends_on = Graph::new(&written, &under).check(report);
    if let Some(choice) = choice {
        settings.select = choice.apply(&names, report);
    }
    if report.count() > 0 {
        return None;
    }
    let mut services = Vec::with_capacity(written.len());
    for (((_, mut written), name), depends_on) in written.into_iter().zip(names).zip(depends_on) {
        // Nothing was noted, so it is there.
        let command = written.command.take()?;
        services.push(written.complete(&under, name, command, depends_on));
    }
    Some(Spec { services, settings, scripts: read.scripts })
}

/// Services and what they need, by position.
struct Graph<'a> {
    services: &'a [(&'a str, Written)],
    under: &'a Written,
    index: HashMap<&'a str, usize>,
}

impl<'a> Graph<'a> {
    fn new(services: &'a [(&'a str, Written)], under: &'a Written) -> Self {
        Self { services, under, index: services.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect() }
    }

    /// The dependencies of each service; what is wrong with them is noted.
    fn check(&self, report: &mut Report<'_>) -> Vec<Vec<Dependency>> {
        let mut edges = Vec::with_capacity(self.services.len());
        let mut all = Vec::with_capacity(self.services.len());
        for (at, (_, written)) in self.services.iter().enumerate() {
            let mut good = Vec::new();
            let mut needs = Vec::new();
            for wanted in &written.depends_on {
                let Some(to) = self.known(at, wanted, report) else { continue };
                needs.push(to);
                if let Ok(name) = ServiceName::parse(&wanted.name) {
                    good.push(Dependency { name, condition: wanted.condition });
                }
            }
            edges.push(needs);
            all.push(good);
        }
        for cycle in cycle::cycles(&edges, CYCLES) {
            self.note_cycle(&cycle, report);
        }
        all
    }

    /// The service that a dependency names, if it can be waited for.
    fn known(&self, at: usize, wanted: &Wanted, report: &mut Report<'_>) -> Option<usize> {
        let name = shown(&wanted.name);
        let Some(&to) = self.index.get(wanted.name.as_str()) else {
            let meant = report.meant(&wanted.name, self.services.iter().map(|(name, _)| *name)).map(shown);
            report.note(wanted.spot.clone(), format!("found `{name}`; no such service"), meant.as_deref());
            return None;
        };
        if to == at {
            report.note(wanted.spot.clone(), format!("found `{name}`; a service cannot depend on itself"), None);
            return None;
        }
        if wanted.condition == Condition::Completed && self.services[to].1.restart(self.under) == Restart::Always {
            let rule = "it never completes, because its `restart` is `always`; give it `restart: never` or `on-crash`";
            report.note(wanted.spot.clone(), format!("found `{name}: completed`; {rule}"), None);
        }
        Some(to)
    }

    /// Notes a cycle at the dependency that closes it.
    fn note_cycle(&self, cycle: &[usize], report: &mut Report<'_>) {
        let (Some(&first), Some(&last)) = (cycle.first(), cycle.last()) else { return };
        let name = |at: usize| shown(self.services[at].0);
        let mut road: Vec<String> = if cycle.len() > CYCLE_SHOWN {
            let half = CYCLE_SHOWN / 2;
            let (begin, end) = (&cycle[..half], &cycle[cycle.len() - half..]);
            let between = format!("({} more)", cycle.len() - CYCLE_SHOWN);
            begin.iter().map(|at| name(*at)).chain([between]).chain(end.iter().map(|at| name(*at))).collect()
        } else {
            cycle.iter().map(|at| name(*at)).collect()
        };
        road.push(name(first));
        let Some(wanted) = self.services[last].1.depends_on.iter().find(|wanted| wanted.name == self.services[first].0) else {
            return;
        };
        let message = format!("found a cycle: {}; take one of these dependencies out", road.join(" -> "));
        report.note(wanted.spot.clone(), message, None);
    }
}
