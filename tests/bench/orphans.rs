//! CPU of section3 as PID 1 while a service makes 10,000 orphans, beside tini; what is left unreaped must be nothing.
//!
//! `cargo bench --bench orphans` (needs `cc`, root for `unshare --pid`, and `tini`, else only section3 is shown); `-- ROUNDS`
//! sets the rounds (5). Target: at most twice tini's CPU.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod stand;

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use stand::{Activity, Fifo, Kind, Running, Stand, children, is_in_path, let_pass, median, millis, number};

const ORPHANS: usize = 10_000;

fn main() {
    let stand = Stand::new("orphans", env!("CARGO_BIN_EXE_section3"));
    let names: Vec<&str> = ["section3", "tini"].into_iter().filter(|name| *name == "section3" || is_in_path(name)).collect();
    let mut found = vec![(Vec::new(), Vec::new(), 0); names.len()];
    for _ in 0..number(5) {
        for (name, (storm, total, zombies)) in names.iter().zip(&mut found) {
            let (during, all, left) = run(&stand, name);
            storm.push(millis(during));
            total.push(millis(all));
            *zombies = left.max(*zombies);
        }
    }
    println!("{:12} {:>13} {:>8} {:>17} {:>8} {:>9}", "", "CPU ms, storm", "ratio", "with its start ms", "ratio", "zombies");
    let units = found.last().map(|(storm, total, _)| (median(storm), median(total))).expect("two");
    for (name, (storm, total, zombies)) in names.iter().zip(&found) {
        let (a, b) = (median(storm), median(total));
        println!("{name:12} {a:13.1} {:8.2} {b:17.1} {:8.2} {zombies:9}", a / units.0, b / units.1);
    }
}

/// CPU during the storm, CPU from the start on, and the children that are left besides the service.
fn run(stand: &Stand, name: &str) -> (Duration, Duration, usize) {
    let program = stand.compiled("orphans");
    let folder = stand.folder();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child=KILL"]);
    if name == "section3" {
        let config = format!("services:\n  storm: {{command: [{}, \"{ORPHANS}\"]}}\n", program.display());
        let inner = stand.section3(&folder, &config);
        command.arg(inner.get_program()).args(inner.get_args());
    } else {
        command.arg(name).arg("--").arg(&program).arg(ORPHANS.to_string());
    }
    let (told, go) = (folder.join("fifo"), folder.join("go"));
    let go_on = Fifo::new(&go);
    command.env("BENCH_FIFO", &told).env("BENCH_GO", &go);
    let mut running = Running::new(Kind::Ours, command, Fifo::new(&told), folder);
    running.told(1);
    let init = children(running.pid())[0];
    let_pass(Duration::from_millis(100));
    let before = Activity::of(init);
    let mut bell: &File = go_on.write.as_ref().expect("open");
    bell.write_all(b"!").expect("told");
    running.told(1);
    let until = Instant::now() + Duration::from_secs(5);
    while children(init).len() > 1 && Instant::now() < until {
        let_pass(Duration::from_millis(1));
    }
    let after = Activity::of(init);
    (after.since(before).cpu, after.cpu, children(init).len() - 1)
}
