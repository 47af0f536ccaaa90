//! `section3 init`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::{Halt, Out};
use crate::cli::words::{Help, Takes, Verb};
use crate::config::starter::STARTER;
use crate::sys::words;
use crate::wire::{Fault, FaultCode};

#[derive(Args)]
pub struct Init {
    /// Config; the supervisor's without one
    file: Option<PathBuf>,
}

impl Verb for Init {
    const HELP: Help = Help {
        name: "init",
        about: "Write a commented starter config where there is none",
        more: "\
Never overwrites: exit 1 if the file exists.",
        example: "section3 init ./section3.yml",
    };
    const TAKES: Takes = Takes::CONFIG;

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let config = context.config_or(self.file)?;
        write(context.out, &config)
    }
}

/// Writes the starter config where there is none.
///
/// # Errors
///
/// That something is there already, or why it cannot be written.
fn write(out: &mut Out, path: &Path) -> Result<u8, Halt> {
    let shown = path.display();
    // O_EXCL: neither a file nor a link that is there is touched, whoever made it meanwhile.
    let written = OpenOptions::new().write(true).create_new(true).open(path).and_then(|mut file| {
        // Half a config is worse than none.
        file.write_all(STARTER.as_bytes()).inspect_err(|_| drop(std::fs::remove_file(path)))
    });
    written.map_err(|error| {
        let fault = Fault::new(
            FaultCode::Failed,
            match error.kind() {
                ErrorKind::AlreadyExists => format!("{shown} exists already; nothing was written"),
                ErrorKind::NotFound => format!("cannot write {shown}: its folder does not exist"),
                _ => format!("cannot write {shown}: {}", words::io(&error)),
            },
        );
        match error.kind() {
            ErrorKind::AlreadyExists => fault.with_hint(format!("`section3 check {shown}` checks it")),
            _ => fault.with_hint("`section3 init FILE` writes elsewhere"),
        }
    })?;
    out.write(format!("wrote {shown}; `section3 check {shown}` checks it, `section3 --config {shown}` runs it\n").as_bytes())?;
    Ok(exit::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::testing::sheets;

    #[test]
    fn it_writes_once_and_never_over_anything() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("section3.yml");
        let (mut out, stdout, _) = sheets(false);
        assert_eq!(write(&mut out, &path).ok(), Some(exit::DONE));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), STARTER);
        assert!(stdout.text().starts_with("wrote "));

        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(write(&mut out, &path), Err(Halt::Fault(fault)) if fault.message.ends_with("nothing was written")));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");

        let link = dir.path().join("link.yml");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert!(write(&mut out, &link).is_err());
        assert!(!dir.path().join("elsewhere").exists());

        let lost = dir.path().join("no/section3.yml");
        assert!(matches!(write(&mut out, &lost), Err(Halt::Fault(fault)) if fault.message.ends_with("does not exist")));
    }
}
