//! The examples in `packaging/` hold together: their configs are valid, what they name is there.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_yaml::Value;

use crate::support::Home;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("packaging/{name}: {error}"))
}

fn documents(name: &str) -> Vec<Value> {
    let text = text(name);
    serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).expect("YAML")).collect()
}

/// The seconds of `supervisor.stop_grace` in a config that must be valid.
fn stop_grace(config: &str) -> u64 {
    Home::new(config).cli(&["check"]).exits(0);
    let config: Value = serde_yaml::from_str(config).expect("YAML");
    let grace = config["supervisor"]["stop_grace"].as_str().expect("a grace");
    grace.trim_end_matches('s').parse().expect("seconds")
}

#[test]
fn their_configs_are_valid_and_end_before_they_are_killed() {
    let compose = &documents("compose.yml")[0]["services"]["app"];
    let within = compose["stop_grace_period"].as_str().expect("a period").trim_end_matches('s').parse::<u64>().expect("seconds");
    for name in ["example.yml", "scratch.yml"] {
        assert!(stop_grace(&text(name)) < within, "{name}");
    }
    let kubernetes = documents("kubernetes.yml");
    let config = kubernetes[0]["data"]["section3.yml"].as_str().expect("a config");
    let pod = &kubernetes[1]["spec"]["template"]["spec"];
    assert!(Some(stop_grace(config)) < pod["terminationGracePeriodSeconds"].as_u64());
    let unit = text("section3.service");
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("a time-out");
    assert!(stop_grace(&text("example.yml")) < stop.parse().expect("seconds"));
}

#[test]
fn their_probes_are_commands() {
    let home = Home::new(&text("example.yml"));
    let mut probes: Vec<Value> = vec![documents("compose.yml")[0]["services"]["app"]["healthcheck"]["test"].clone()];
    let container = &documents("kubernetes.yml")[1]["spec"]["template"]["spec"]["containers"][0];
    probes.extend(["startupProbe", "readinessProbe", "livenessProbe"].map(|probe| container[probe]["exec"]["command"].clone()));
    for probe in probes {
        let words: Vec<_> = probe.as_sequence().expect("words").iter().filter_map(Value::as_str).collect();
        let at = words.iter().position(|word| *word == "section3").expect("the program");
        // Understood, and nobody there: not a usage error.
        home.cli(&words[at + 1..]).exits(3);
    }
}

#[test]
fn what_they_name_is_there() {
    let dockerfile = text("Dockerfile");
    for word in dockerfile.split_whitespace().filter(|word| word.starts_with("packaging/") && word.ends_with(".yml")) {
        assert!(folder().join("..").join(word).exists(), "{word}");
    }
    let page = text("README.md");
    let entries =
        fs::read_dir(folder()).expect("a folder").flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    for name in entries.filter(|name| name != "README.md" && !name.ends_with(".dockerignore")) {
        assert!(page.contains(&format!("`{name}`")), "packaging/README.md does not name {name}");
    }
}
