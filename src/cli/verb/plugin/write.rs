//! `section3 plugin new` and `section3 plugin eject`: a folder that was not there before.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;

use super::folder_of;
use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::{Halt, Out};
use crate::cli::words::{Help, Takes, Verb};
use crate::config::plugin::{boxed, manifest};
use crate::sys::words;
use crate::value::nearest::nearest;
use crate::wire::{Fault, FaultCode, escape};

#[derive(Args)]
pub struct New {
    /// Name of the plugin
    name: String,
    /// Where to; plugins/ beside the config without one
    dir: Option<PathBuf>,
}

impl Verb for New {
    const HELP: Help = Help {
        name: "new",
        about: "Write a new plugin that adds a check, a probe, a command and a restart policy",
        more: "\
Into plugins/NAME beside the config, or into DIR/NAME. Never overwrites: exit 1 if the folder exists.",
        example: "section3 plugin new mine",
    };
    const TAKES: Takes = Takes::CONFIG;

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let named = context.config.is_some();
        let config = context.config_or(None)?;
        new(context.out, (&config, named), &self.name, self.dir.as_deref())
    }
}

#[derive(Args)]
pub struct Eject {
    /// Plugin of the binary
    name: String,
    /// Where to; plugins/ beside the config without one
    dir: Option<PathBuf>,
}

impl Verb for Eject {
    const HELP: Help = Help {
        name: "eject",
        about: "Copy a plugin out of the binary, to change it",
        more: "\
Into plugins/NAME beside the config, or into DIR/NAME; from then on the copy is the plugin. Never overwrites.",
        example: "section3 plugin eject webhook",
    };
    const TAKES: Takes = Takes::CONFIG;

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let config = context.config_or(None)?;
        eject(context.out, &config, &self.name, self.dir.as_deref())
    }
}

const SKELETON: [(&str, &str); 3] = [
    ("plugin.yml", include_str!("skeleton/plugin.yml")),
    ("init.lua", include_str!("skeleton/init.lua")),
    ("README.md", include_str!("skeleton/README.md")),
];

/// Writes the skeleton of a plugin; with the config comes whether the command line named it, and so will have to again.
///
/// # Errors
///
/// That it cannot be called so, is there already, or cannot be written.
fn new(out: &mut Out, (config, named): (&Path, bool), name: &str, dir: Option<&Path>) -> Result<u8, Halt> {
    let files: Vec<(&str, String)> = SKELETON.iter().map(|(file, text)| (*file, text.replace("NAME", name))).collect();
    let shown = escape::message(name);
    // The manifest's own reader knows what a name is.
    if let Err(problems) = manifest::parse(&files[0].1, "plugin.yml") {
        let why = problems.problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
        return Err(Fault::new(FaultCode::Usage, format!("cannot call a plugin `{shown}`: {}", escape::message(&why))).into());
    }
    if boxed::files(name).is_some() {
        let fault = Fault::new(FaultCode::Failed, format!("there is a plugin `{name}` in the binary; nothing was written"));
        return Err(fault
            .with_hint(format!("`section3 plugin eject {name}` copies that one out; give yours another name"))
            .into());
    }
    write(out, config, name, dir, files.iter().map(|(file, text)| (*file, text.as_str())))?;
    let plugin = match dir {
        // Elsewhere it is found by its folder only.
        Some(dir) => dir.join(name).display().to_string(),
        None if named => format!("{name} --config {}", config.display()),
        None => name.to_owned(),
    };
    let plugin = escape::one_line(&plugin);
    out.write(format!("its README.md says how to use it; `section3 plugin check {plugin}` checks it\n").as_bytes())?;
    Ok(exit::DONE)
}

/// Copies a plugin out of the binary.
///
/// # Errors
///
/// That there is none of that name, that the folder is there already or cannot be written.
fn eject(out: &mut Out, config: &Path, name: &str, dir: Option<&Path>) -> Result<u8, Halt> {
    let Some(files) = boxed::files(name) else {
        let fault = Fault::new(FaultCode::Failed, format!("there is no plugin `{}` in the binary", escape::message(name)));
        let hint = match nearest(name, boxed::names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are {}", boxed::names().collect::<Vec<_>>().join(", ")),
        };
        return Err(fault.with_hint(hint).into());
    };
    write(out, config, name, dir, files.iter().copied())?;
    let wishes = manifest::parse(files[0].1, "plugin.yml").map(|manifest| manifest.permissions).unwrap_or_default();
    let wishes: Vec<String> = wishes.iter().map(|wish| format!("{:?}", wish.to_string())).collect();
    // Elsewhere than beside the config nobody looks for it.
    let (used, path) = match dir {
        Some(dir) => {
            let target = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()).join(name);
            ("it is used where its entry names it,", format!("path: {}, ", target.display()))
        }
        None => ("it is used from the next reload on,", String::new()),
    };
    let note = format!("{used} and no longer granted by itself; its entry needs");
    let needs = escape::one_line(&path).into_owned() + &format!("allow: [{}]", wishes.join(", "));
    out.write(format!("{note} {needs}\nwith the values of its settings for ${{config...}}\n").as_bytes())?;
    Ok(exit::DONE)
}

fn write<'f>(
    out: &mut Out,
    config: &Path,
    name: &str,
    dir: Option<&Path>,
    files: impl Iterator<Item = (&'f str, &'f str)>,
) -> Result<(), Halt> {
    let shelf = dir.map_or_else(|| folder_of(config).join("plugins"), Path::to_owned);
    let target = shelf.join(name);
    let failed = |path: &Path, error: &std::io::Error| {
        Fault::new(FaultCode::Failed, format!("cannot write {}: {}", path.display(), words::io(error)))
    };
    if !shelf.exists() {
        DirBuilder::new().recursive(true).mode(0o755).create(&shelf).map_err(|error| failed(&shelf, &error))?;
    }
    // Fails where anything is there, whoever made it: nothing is overwritten.
    DirBuilder::new().mode(0o755).create(&target).map_err(|error| {
        let fault = failed(&target, &error);
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            fault.with_hint("nothing was written; move it away first")
        } else {
            fault
        }
    })?;
    for (file, text) in files {
        let path = target.join(file);
        let written = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
        if let Err(error) = written.and_then(|mut file| file.write_all(text.as_bytes())) {
            // Half a plugin is worse than none.
            drop(fs::remove_dir_all(&target));
            return Err(failed(&path, &error).into());
        }
    }
    out.write(format!("wrote {}\n", target.display()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::testing::sheets;

    #[test]
    fn the_skeleton_is_a_good_plugin() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("section3.yml");
        let (mut out, stdout, _) = sheets(false);
        assert_eq!(new(&mut out, (&config, false), "mine", None).ok(), Some(exit::DONE));
        assert!(stdout.text().starts_with(&format!("wrote {}/plugins/mine\n", home.path().display())));
        let readme = fs::read_to_string(home.path().join("plugins/mine/README.md")).unwrap();
        let yaml = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
        let spec = crate::config::parse(yaml, &config.display().to_string(), &|_| None).unwrap();
        assert_eq!((spec.scripts.plugins[0].name.as_str(), spec.scripts.withheld.len()), ("mine", 0));

        let again = new(&mut out, (&config, false), "mine", None);
        assert!(matches!(again, Err(Halt::Fault(fault)) if fault.message.contains("file exists")));
        for (name, word) in [("a.b", "name"), ("../x", "name"), ("webhook", "in the binary")] {
            assert!(
                matches!(new(&mut out, (&config, false), name, None), Err(Halt::Fault(fault)) if fault.message.contains(word)),
                "{name}"
            );
        }
    }

    /// What it says to do next can be copied.
    #[test]
    fn the_check_that_it_names_finds_it() {
        let home = tempfile::tempdir().unwrap();
        let (dir, config) = (home.path().join("x"), home.path().join("section3.yml"));
        for (named, dir, check) in [
            (false, None, "a".to_owned()),
            (true, None, format!("b --config {}", config.display())),
            (true, Some(dir.as_path()), format!("{}/c", dir.display())),
        ] {
            let (mut out, stdout, _) = sheets(false);
            assert_eq!(new(&mut out, (&config, named), &check[..1].replace('/', "c"), dir).ok(), Some(exit::DONE));
            assert!(stdout.text().contains(&format!("`section3 plugin check {check}` checks it")), "{}", stdout.text());
        }
    }

    #[test]
    fn each_in_the_binary_can_be_copied_out() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("section3.yml");
        let (mut out, stdout, _) = sheets(false);
        for name in boxed::names() {
            assert_eq!(eject(&mut out, &config, name, None).ok(), Some(exit::DONE));
            let found = crate::config::plugin::folder::find(name, None, home.path()).unwrap().unwrap();
            assert_eq!(found.shadowed, [crate::spec::script::Origin::Binary]);
            assert!(crate::config::plugin::judge(name, &found).is_ok());
        }
        assert!(stdout.text().contains("allow: [\"http:${config.url}\""), "{}", stdout.text());
        // And what it says to write is what takes it from elsewhere.
        let elsewhere = home.path().join("elsewhere");
        let (mut out, stdout, _) = sheets(false);
        assert_eq!(eject(&mut out, &config, "heartbeat", Some(&elsewhere)).ok(), Some(exit::DONE));
        let said = stdout.text();
        let entry = said.split("its entry needs ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        assert!(entry.starts_with(&format!("path: {}/heartbeat, allow: [", elsewhere.display())), "{said}");
        let entry = entry.replace("${config.url}", "127.0.0.1:1").replace("${config.fail_url}", "127.0.0.1:2");
        let yaml = format!(
            "services: {{}}\nplugins:\n  heartbeat: {{url: \"http://127.0.0.1:1/\", fail_url: \"http://127.0.0.1:2/\", {entry}}}\n"
        );
        let spec = crate::config::parse(&yaml, &config.display().to_string(), &|_| None).unwrap();
        let origin = &spec.scripts.plugins.first().unwrap_or_else(|| panic!("{:?}", spec.scripts.withheld)).origin;
        assert_eq!(*origin, crate::spec::script::Origin::Folder(elsewhere.join("heartbeat")));
        let wrong = eject(&mut out, &config, "webhok", None);
        assert!(matches!(wrong, Err(Halt::Fault(fault)) if fault.hint.as_deref() == Some("did you mean `webhook`?")));
    }
}
