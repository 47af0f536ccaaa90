//! `self reexec`: the supervisor goes on as another program, and nobody notices (section 10 of the contract, issue 7).

mod clients;
mod endings;
mod exits;
mod output;
pub mod refused;
pub mod state;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::home::program;
use crate::support::{Daemon, Home, Launch};

/// The mark before the version in the file of the program (`value::version`).
const MARK: &[u8] = b"section3-version=";

/// The program under test, with the bytes after `mark` replaced. Building it anew for each test would take minutes, and what
/// it says of itself is all that is to be another.
fn changed(mark: &[u8], new: &[u8]) -> Vec<u8> {
    let mut bytes = fs::read(program()).expect("the program");
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, mark).map(|at| at + mark.len()).collect();
    assert!(!places.is_empty(), "no mark in the program");
    for at in places {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    bytes
}

/// The program with other bytes, as many, in place of these.
fn exchanged(old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut bytes = fs::read(program()).expect("the program");
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, old).collect();
    assert!(!places.is_empty(), "no such bytes in the program");
    for at in places {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    bytes
}

/// The program, as a version of its own.
fn version(version: &str) -> Vec<u8> {
    assert_eq!(version.len(), env!("CARGO_PKG_VERSION").len());
    changed(MARK, version.as_bytes())
}

/// Puts a program in place as an update does: beside it, then over it. Another process writes it: our own descriptor would for
/// a moment be one of whatever another test starts meanwhile, and what somebody has open for writing cannot be run.
fn install(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let beside = path.with_extension("new");
    let mut writer =
        Command::new("sh").args(["-c", "exec cat > \"$0\""]).arg(&beside).stdin(Stdio::piped()).spawn().expect("cat");
    writer.stdin.take().expect("a pipe").write_all(bytes).expect("the program");
    assert!(writer.wait().expect("its end").success());
    fs::set_permissions(&beside, PermissionsExt::from_mode(0o755)).expect("chmod");
    fs::rename(beside, path).expect("rename");
}

/// Where a test's own copy of the program is.
fn place(home: &Home) -> PathBuf {
    home.path("bin/section3")
}

/// A supervisor that was started from a file of its own.
fn replaceable(config: &str) -> Launch {
    let home = Home::new(config);
    let place = place(&home);
    install(&place, &fs::read(program()).expect("the program"));
    Launch::new(home).program(&place)
}

/// One re-exec, which must succeed.
#[track_caller]
fn reexec(daemon: &Daemon) {
    daemon.cli(&["self", "reexec"]).exits(0);
}
