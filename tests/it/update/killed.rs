//! An updater that is killed at any moment leaves the old or the new program, whole, and nothing that the next run does not
//! clear away.

use std::fs;
use std::process::Command;

use super::stand::{NEW, OLD, Stand, is_same};
use crate::support::home::finish;

/// The calls that change something or wait for something: between two of them nothing happens that outlives the process.
const CALLS: &str = "trace=openat,write,fsync,rename,link,linkat,unlink,fchmod,chmod,fchown,flock,lseek,close,connect,sendto,\
                     recvfrom,epoll_wait,clone,clone3,vfork,waitid,wait4,kill,exit_group";

/// Moments at which it is killed.
const MOMENTS: usize = 50;

/// A sequence of numbers that is the same in every run.
struct Dice(u64);

/// What lies in the folder after an update.
const NAMES: [&str; 4] = [".section3.lock", ".section3.record", "section3", "section3.prev"];

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        // Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

fn strace_works() -> bool {
    let probe = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    if probe.is_ok_and(|output| output.status.success()) {
        return true;
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "strace does not work here");
    println!("NOT RUN: strace does not work here");
    false
}

fn update_under_strace(stand: &Stand, options: &[&str]) -> i32 {
    let trace = stand.path("trace").display().to_string();
    let mut strace = vec!["strace", "-qq", "-o", &trace, "-e", "signal=none", "-e", CALLS];
    strace.extend(options);
    let mut command = stand.command_of("strace".as_ref(), &strace[1..]);
    let program = stand.program();
    command.arg(&program).args(["self", "update"]);
    finish(command.spawn().expect("strace"), "strace").code
}

#[test]
fn at_fifty_moments_it_is_the_old_or_the_new_one() {
    if !strace_works() {
        return;
    }
    let stand = Stand::offering();
    assert_eq!(update_under_strace(&stand, &[]), 0);
    assert!(stand.has(NEW));
    let calls = fs::read_to_string(stand.path("trace")).expect("a trace");
    let (total, renames) = (calls.lines().count(), calls.lines().filter(|line| line.starts_with("rename")).count());
    assert!(total > 60 && renames == 4, "{calls}");

    let mut dice = Dice(20_260_101);
    let (mut old, mut new) = (0, 0);
    for _ in 0..MOMENTS {
        stand.reinstall();
        let moment = 1 + dice.below(total);
        let inject = format!("inject={}:signal=KILL:when={moment}", CALLS.trim_start_matches("trace="));
        let code = update_under_strace(&stand, &["-e", &inject]);
        // Names of threads change the count a little: the last moments may never come.
        assert!(code == 128 + 9 || code == 0, "{code}");
        if stand.has_old() {
            old += 1;
            stand.runs(&["self", "update"]).exits(0);
        } else {
            new += 1;
            assert!(stand.has(NEW), "moment {moment}: neither the old nor the new program");
            // The new program is a fake; what is kept can go on from where it was.
            fs::rename(stand.path("bin/section3.prev"), stand.program()).expect("the kept copy");
            assert!(stand.has_old());
            stand.runs(&["self", "update", "--to", NEW]).exits(0);
        }
        assert!(stand.has(NEW), "moment {moment}");
        assert_eq!(stand.names(), NAMES, "moment {moment}");
    }
    println!("{old} times the old one, {new} times the new one, of {total} calls");
    assert!(old > 0);
}

/// A run that was killed between its last two renames leaves the program and the kept copy as one file, which rename(2) does not
/// move onto itself.
#[test]
fn what_was_cut_off_between_the_renames_is_cleaned_up() {
    let stand = Stand::offering();
    fs::hard_link(stand.program(), stand.path("bin/section3.prev")).expect("a link");
    stand.runs(&["self", "update"]).exits(0);
    assert!(stand.has(NEW));
    assert_eq!(stand.names(), NAMES);
}

#[test]
fn at_any_step_of_a_rollback_it_is_one_of_the_two() {
    if !strace_works() {
        return;
    }
    let stand = Stand::new();
    stand.release("0.0.7", &super::stand::says("0.0.7"));
    for step in 1..=3 {
        for call in ["rename", "linkat", "link"] {
            stand.reinstall();
            stand.runs(&["self", "update", "--to", "0.0.7"]).exits(0);
            let previous = stand.path("bin/section3.prev");
            fs::rename(stand.program(), stand.path("bin/fake")).expect("renamed");
            fs::rename(&previous, stand.program()).expect("renamed");
            fs::rename(stand.path("bin/fake"), &previous).expect("renamed");
            let inject = format!("inject={call}:signal=KILL:when={step}");
            let mut command = stand.command_of("strace".as_ref(), &["-qq", "-o", "/dev/null", "-e", &inject]);
            command.arg(stand.program()).args(["self", "rollback"]);
            finish(command.spawn().expect("strace"), "strace");
            assert!(stand.has_old() || stand.has("0.0.7"));
            // Both are still there, under whatever name, and the next run puts the kept one where it belongs.
            if stand.has_old() {
                stand.runs(&["self", "rollback"]).exits(0);
                assert!(stand.has("0.0.7"));
                assert!(finish(stand.command_of(&previous, &["--version"]).spawn().expect("it"), "it").out.contains(OLD));
            } else {
                let aside = stand.path("bin/.section3.prev.new");
                assert!([&previous, &aside].iter().any(|path| path.exists() && !is_same(path, &stand.released("0.0.7"))));
            }
        }
    }
}
