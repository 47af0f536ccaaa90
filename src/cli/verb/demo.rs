//! `section3 demo`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::out::{Halt, Out};
use crate::cli::words::{Help, Takes, Verb};
use crate::daemon::DaemonArgs;
use crate::wire::{Fault, FaultCode};

const CONFIG: &str = include_str!("demo.yml");

#[derive(Args)]
pub struct Show {}

impl Verb for Show {
    const HELP: Help = Help {
        name: "demo",
        about: "Run a supervisor on small example services",
        more: "\
In the foreground, in a folder of its own that is removed at the end. Says how to talk to it. Ctrl-C ends it.",
        example: "section3 demo",
    };
    const TAKES: Takes = Takes::NOTHING;

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        Ok(Demo::new(context.out)?.run(context.supervise))
    }
}

/// A folder of its own with a config in it; removed, with everything in it, when this goes out of scope.
struct Demo {
    dir: PathBuf,
}

impl Demo {
    /// Makes the folder and says how to talk to the supervisor that will run there.
    ///
    /// # Errors
    ///
    /// Why the folder cannot be made.
    fn new(out: &mut Out) -> Result<Self, Halt> {
        let template = std::env::temp_dir().join("section3-demo-XXXXXX");
        // mkdtemp(3): a fresh folder of mode 0700, whatever others have put into /tmp.
        let dir = nix::unistd::mkdtemp(&template).map_err(|errno| {
            let message = format!("cannot make a folder like {}: {}", template.display(), crate::sys::words::errno(errno));
            Fault::new(FaultCode::Failed, message).with_hint("set TMPDIR to a folder that can be written")
        })?;
        let demo = Self { dir };
        std::fs::write(demo.config(), CONFIG)
            .map_err(|error| Fault::new(FaultCode::Failed, format!("cannot write {}: {error}", demo.config().display())))?;
        out.write(demo.introduction().as_bytes())?;
        Ok(demo)
    }

    /// Runs the supervisor until it ends; its exit code. The folder is gone afterwards.
    fn run(self, supervise: fn(DaemonArgs) -> u8) -> u8 {
        supervise(DaemonArgs { config: Some(self.config()), socket: Some(self.socket()), log_dir: Some(self.dir.join("log")) })
    }

    fn config(&self) -> PathBuf {
        self.dir.join("section3.yml")
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("section3.sock")
    }

    fn introduction(&self) -> String {
        let section3 = own_name();
        format!(
            "section3 demo: a one-shot, a ticker and a service that crashes now and then, in {}\n\
             talk to it from another shell, Ctrl-C here ends it and removes the folder:\n  \
             export SECTION3_SOCKET={}\n  \
             {section3} status\n  \
             {section3} tail -f\n  \
             {section3} events -f\n  \
             {section3} stop ticker\n\n",
            self.dir.display(),
            self.socket().display()
        )
    }
}

/// What to type for this program: its name where a shell finds it under that, else its path, as after `cargo run`.
fn own_name() -> String {
    let Ok(own) = std::env::current_exe() else { return "section3".to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("section3")).find_map(|file| file.canonicalize().ok());
    if found.as_ref() == Some(&own) { "section3".to_owned() } else { own.display().to_string() }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Nothing is lost if it stays: it is a folder in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::testing::sheets;

    #[test]
    fn its_config_is_valid() {
        let spec = crate::config::parse(CONFIG, "demo.yml", &|_| None).expect("demo.yml");
        let names: Vec<_> = spec.services.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["prepare", "ticker", "flaky"]);
    }

    #[test]
    fn it_says_how_to_talk_to_it_and_leaves_nothing_behind() {
        let (mut out, stdout, _) = sheets(false);
        let demo = Demo::new(&mut out).ok().unwrap();
        let dir = demo.dir.clone();
        assert!(stdout.text().contains(&format!("export SECTION3_SOCKET={}\n", dir.join("section3.sock").display())));
        assert!(dir.join("section3.yml").exists());
        fn supervise(args: DaemonArgs) -> u8 {
            let log_dir = args.log_dir.unwrap();
            std::fs::create_dir(&log_dir).unwrap();
            std::fs::write(log_dir.join("web.log"), "x").unwrap();
            7
        }
        assert_eq!(demo.run(supervise), 7);
        assert!(!dir.exists());
    }
}
