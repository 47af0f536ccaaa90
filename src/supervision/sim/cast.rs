//! Who plays: random sets of services, and what a reload makes of them.

use crate::value::sorted::Map;
use std::time::Duration;

use super::dice::Dice;
use crate::spec::{
    Backoff, Command, Condition, Definition, Dependency, ExitWhen, LogLimits, Notify, Policy, Probe, Ready, Restart, Selection,
    Service, Settings, Spec, UnknownName,
};
use crate::value::{ByteSize, ServiceName};

/// More names than services, so that a name that went can come back.
const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

pub fn spec(dice: &mut Dice) -> Spec {
    let mut services: Vec<Service> = Vec::new();
    for name in &NAMES[..1 + dice.below(8) as usize] {
        let new = service(dice, name, &services);
        services.push(new);
    }
    let settings = settings(dice, &services);
    Spec { services, settings, ..Spec::default() }
}

/// What an operator may have made of the file: every kind of change, in random places. A service only ever depends on
/// services before it, so there is never a cycle.
pub fn revised(dice: &mut Dice, old: &Spec) -> Spec {
    let mut services = old.services.clone();
    for _ in 0..=dice.below(3) {
        let at = dice.below(services.len().max(1) as u64) as usize;
        match dice.below(6) {
            0 | 1 if at < services.len() => {
                let gone = services.remove(at).name;
                for service in &mut services {
                    service.definition.depends_on.retain(|dependency| dependency.name != gone);
                }
            }
            2 | 3 => {
                let free = NAMES.iter().filter(|name| !services.iter().any(|service| service.name.as_str() == **name));
                let free: Vec<&str> = free.copied().collect();
                if let Some(name) = dice.pick(&free) {
                    let new = service(dice, name, &services);
                    services.push(new);
                }
            }
            4 if at < services.len() => {
                let name = services[at].name.clone();
                services[at].definition = definition(dice, &services[..at]);
                debug_assert!(services[at].name == name);
            }
            5 if at < services.len() => services[at].policy = policy(dice),
            _ => {}
        }
    }
    let settings = if dice.one_in(4) { settings(dice, &services) } else { reselected(old.settings.clone(), &services) };
    Spec { services, settings, ..Spec::default() }
}

fn reselected(mut settings: Settings, services: &[Service]) -> Settings {
    if let Some(picked) = settings.select.as_mut().and_then(|select| select.picked.as_mut()) {
        picked.retain(|name| services.iter().any(|service| service.name == *name));
    }
    settings
}

fn settings(dice: &mut Dice, services: &[Service]) -> Settings {
    let picked: Vec<ServiceName> = services.iter().filter(|_| !dice.one_in(3)).map(|service| service.name.clone()).collect();
    let select = dice.one_in(5).then(|| Selection {
        env: "S".to_owned(),
        unknown: UnknownName::Warn,
        picked: (!picked.is_empty()).then_some(picked),
        ignored: Vec::new(),
    });
    Settings {
        stop_grace: dice.seconds_of([0, 10, 80, 80]),
        exit_when: if dice.one_in(4) { ExitWhen::AllEnded } else { ExitWhen::Never },
        select,
        ..Settings::default()
    }
}

fn service(dice: &mut Dice, name: &str, earlier: &[Service]) -> Service {
    Service { name: ServiceName::parse(name).unwrap(), definition: definition(dice, earlier), policy: policy(dice) }
}

pub fn policy(dice: &mut Dice) -> Policy {
    let restart = *dice.pick(&[Restart::Always, Restart::Always, Restart::OnCrash, Restart::Never]).unwrap();
    let initial = dice.seconds_of([0, 1, 10, 10]);
    Policy {
        restart,
        backoff: Backoff {
            initial,
            max: initial.max(dice.seconds_of([0, 20, 600])),
            reset_after: dice.seconds_of([0, 2, 50, 600]),
            give_up_after: dice.one_in(3).then(|| 1 + dice.below(3) as u32),
        },
        stop_grace: dice.seconds_of([0, 3, 50, 300]),
        log: LogLimits { max_size: ByteSize::mebibytes(1 + dice.below(2)), keep: 5 },
        essential: dice.one_in(12),
        decisions: if dice.one_in(2) { vec!["x".to_owned()] } else { Vec::new() },
        ..Policy::default()
    }
}

fn definition(dice: &mut Dice, earlier: &[Service]) -> Definition {
    let mut depends_on = Vec::new();
    for service in earlier {
        if dice.one_in(3) {
            let condition = *dice.pick(&[Condition::Started, Condition::Ready, Condition::Completed]).unwrap();
            depends_on.push(Dependency { name: service.name.clone(), condition });
        }
    }
    let ready = dice.one_in(2).then(|| Ready {
        probe: Probe::Notify(Notify::Systemd),
        interval: Duration::from_millis(500),
        timeout: dice.seconds_of([1, 10, 600]),
    });
    definition_of(&format!("program-{}", dice.below(1000)), depends_on, ready)
}

pub fn definition_of(program: &str, depends_on: Vec<Dependency>, ready: Option<Ready>) -> Definition {
    Definition {
        command: Command::Argv(vec![program.to_owned()]),
        dir: None,
        depends_on,
        env: Map::new(),
        env_files: Vec::new(),
        clean_env: false,
        user: None,
        umask: 0o022,
        nice: None,
        oom_score_adj: None,
        limits: Vec::new(),
        ready,
    }
}
