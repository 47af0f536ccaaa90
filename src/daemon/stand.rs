//! For tests: a supervisor in the hands of a test. Its loop does not run, nobody is served, and nothing is launched.

use tokio::sync::mpsc;

use super::boot::{runtime, start_pump};
use super::clock::Now;
use super::event_loop::{Daemon, Parts};
use super::hooks::Catalogue;
use super::inbox::{CAPACITY, Letter};
use super::occupancy::Occupancy;
use super::recipe::Surroundings;
use crate::config;
use crate::log::Folder;
use crate::sys::child::Limit;
use crate::wire::event::Origin;

/// The supervisor, what comes for it, the time, and the folder that it is in.
pub struct Stand {
    pub daemon: Daemon,
    pub letters: mpsc::Receiver<Letter>,
    pub now: Now,
    pub dir: tempfile::TempDir,
}

/// Plays with a supervisor of this config, before its boot.
pub fn play(text: &str, play: impl FnOnce(Stand)) {
    play_on(text, async |stand| play(stand));
}

/// As [`play`], with tasks that get their turn.
pub fn play_on(text: &str, play: impl AsyncFnOnce(Stand)) {
    let runtime = runtime().expect("a runtime");
    runtime.block_on(async { play(stand(text)).await });
}

fn stand(text: &str) -> Stand {
    let dir = tempfile::tempdir().expect("a folder");
    let spec = config::parse(text, "section3.yml", &|_| None).unwrap_or_else(|why| panic!("{why}"));
    let (inbox, letters) = mpsc::channel(CAPACITY);
    let folder = Folder::open(&dir.path().join("log")).expect("a log folder");
    let now = Now::read();
    let parts = Parts {
        catalogue: Catalogue::default(),
        config_path: "/c".into(),
        log_dir: dir.path().join("log"),
        origin: Origin { boot: "b".to_owned(), host: "h".to_owned() },
        began: now.moment,
        surroundings: Surroundings {
            environment: Vec::new(),
            boot: "b".to_owned(),
            socket: "/run/s".into(),
            descriptor_limit: Limit { soft: 1024, hard: 1024 },
        },
        restrictions: Vec::new(),
        occupancy: Occupancy::take(&dir.path().join("run/s")).expect("a free place"),
        pump: start_pump(folder, spec.settings.log, spec.settings.console, inbox.clone()).expect("a pump"),
        null: crate::sys::init::open_null().expect("/dev/null").0,
        program: None,
        spec,
        inbox,
    };
    Stand { daemon: Daemon::new(parts), letters, now, dir }
}
