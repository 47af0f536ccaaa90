//! `section3 check`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::{Halt, Out};
use crate::cli::words::{Help, Takes, Verb};
use crate::config::{Problem, load};
use crate::spec::script::Withheld;
use crate::value::json;
use crate::wire::{Fault, FaultCode, escape};

#[derive(Args)]
pub struct Check {
    /// Config; the supervisor's without one
    file: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Verb for Check {
    const HELP: Help = Help {
        name: "check",
        about: "Check a config, no supervisor needed",
        more: "\
Lists every problem with file, line, column and key; exit 6 if there is one.",
        example: "section3 check ./section3.yml --json",
    };
    const TAKES: Takes = Takes::CONFIG;

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let config = context.config_or(self.file)?;
        check(context.out, &config, self.json)
    }
}

/// What `check --json` prints.
#[derive(Serialize)]
struct Verdict<'a> {
    version: u32,
    valid: bool,
    file: String,
    services: Vec<&'a str>,
    /// Plugins that are good and would not be loaded, with what to write to load them.
    withheld: &'a [Withheld],
    problems: &'a [Problem],
    /// Problems that are there and not listed.
    more: usize,
}

/// Checks a config as the supervisor would, in this environment.
///
/// # Errors
///
/// Why nothing could be said; problems of the config, and plugins that would not be loaded, are no error here but exit code 6.
fn check(out: &mut Out, path: &Path, json: bool) -> Result<u8, Halt> {
    let file = path.display().to_string();
    let result = load(path, &|name| std::env::var(name).ok());
    let withheld: &[Withheld] = result.as_ref().map_or(&[], |spec| &spec.scripts.withheld);
    // A supervisor would start without such a plugin; who checks wants to know before.
    let code = if result.is_ok() && withheld.is_empty() { exit::DONE } else { exit::INVALID_CONFIG };
    if json {
        let verdict = Verdict {
            version: 1,
            valid: result.is_ok(),
            file,
            services: result.iter().flat_map(|spec| &spec.services).map(|service| service.name.as_str()).collect(),
            withheld,
            problems: result.as_ref().err().map_or(&[], |problems| &problems.problems),
            more: result.as_ref().err().map_or(0, |problems| problems.more),
        };
        let text = json::to_string(&verdict)
            .map_err(|error| Fault::new(FaultCode::Internal, format!("cannot write the verdict as JSON: {error}")))?;
        out.document(&text)?;
        return Ok(code);
    }
    match &result {
        Ok(spec) => {
            let count = spec.services.len();
            let noun = if count == 1 { "service" } else { "services" };
            out.write(format!("{file}: valid, {count} {noun}\n").as_bytes())?;
            withheld.iter().for_each(|plugin| out.complain(&format!("{}\n", escape::message(&plugin.to_string()))));
        }
        Err(problems) => out.complain(&format!("{}\n", escape::message(&problems.to_string()))),
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::testing::sheets;

    #[test]
    fn a_good_one_and_a_bad_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("section3.yml");
        std::fs::write(&path, "services: {web: {command: /bin/true}}\n").unwrap();
        let (mut out, stdout, _) = sheets(false);
        assert_eq!(check(&mut out, &path, false).ok(), Some(exit::DONE));
        assert!(stdout.text().ends_with("section3.yml: valid, 1 service\n"));

        let (mut out, stdout, _) = sheets(false);
        assert_eq!(check(&mut out, &path, true).ok(), Some(exit::DONE));
        assert!(stdout.text().contains(r#""services":["web"],"withheld":[],"problems":[],"more":0"#), "{}", stdout.text());

        std::fs::write(&path, "services: {web: {comand: /bin/true}}\n").unwrap();
        let (mut out, stdout, stderr) = sheets(false);
        assert_eq!(check(&mut out, &path, false).ok(), Some(exit::INVALID_CONFIG));
        assert!(stdout.text().is_empty() && stderr.text().contains("section3.yml:1:"), "{}", stderr.text());

        let (mut out, stdout, _) = sheets(false);
        assert_eq!(check(&mut out, &path, true).ok(), Some(exit::INVALID_CONFIG));
        let verdict: serde_json::Value = json::from_str(&stdout.text()).unwrap();
        assert_eq!((&verdict["version"], &verdict["valid"]), (&1.into(), &false.into()));
        assert!(!verdict["problems"].as_array().unwrap().is_empty());
    }
}
