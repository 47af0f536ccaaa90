//! From `kill -9` of a service until its next process runs, with `backoff: {initial: 0s}`, beside a bare waitpid/clone/exec
//! loop and the peers.
//!
//! `cargo bench --bench restart` (needs `cc`); `-- KILLS` sets the kills (200; 5 for the peers, which hold back a service that
//! ran for less than a second, so theirs run longer than that). Target: within 2 ms of the bare loop.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod stand;

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stand::{Kind, Running, Stand, let_pass, median, millis, number, percentile};

fn main() {
    let stand = Stand::new("restart", env!("CARGO_BIN_EXE_section3"));
    let kills = number(200);
    let mut fast: Vec<Running> = [Kind::Ours, Kind::CLoop].into_iter().map(|kind| stand.start(kind, 1)).collect();
    let mut pids: Vec<i32> = fast.iter_mut().map(|running| running.told(1)[0]).collect();
    let mut found = [Vec::new(), Vec::new()];
    for _ in 0..kills {
        for ((running, pid), times) in fast.iter_mut().zip(&mut pids).zip(&mut found) {
            times.push(again(running, pid, Duration::from_millis(5)));
        }
    }
    let bare = median(&found[1]);
    println!("{:12} {:>8} {:>8} {:>22}", "", "p50 ms", "p95 ms", "p50 above the loop ms");
    let show = |kind: Kind, times: &[f64]| {
        let (p50, p95) = (median(times), percentile(times, 0.95));
        println!("{:12} {p50:8.2} {p95:8.2} {:22.2}", kind.name(), p50 - bare);
    };
    for (running, times) in fast.into_iter().zip(&found) {
        show(running.kind, times);
        running.stop();
    }
    for kind in Kind::installed().into_iter().filter(|kind| !matches!(kind, Kind::Ours | Kind::CLoop)) {
        let mut running = stand.start(kind, 1);
        let mut pid = running.told(1)[0];
        let times: Vec<f64> = (0..5).map(|_| again(&mut running, &mut pid, Duration::from_millis(1200))).collect();
        show(kind, &times);
        running.stop();
    }
}

/// Kills it after a while; how long until it is back.
fn again(running: &mut Running, pid: &mut i32, after: Duration) -> f64 {
    let_pass(after);
    let from = Instant::now();
    kill(Pid::from_raw(*pid), Signal::SIGKILL).expect("killed");
    *pid = running.told(1)[0];
    millis(from.elapsed())
}
