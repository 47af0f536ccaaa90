//! `section3 status` of 100 services, the whole client process, beside `/bin/true` and the clients of the peers.
//!
//! `cargo bench --bench status` (needs `cc`); `-- RUNS` sets the runs (200; 5 for the peers). Interleaved, for the machine's
//! mood changes. Target: at most 2.5 times `/bin/true`.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod stand;

use std::process::{Command, Stdio};
use std::time::Instant;

use stand::{Kind, Stand, let_pass, median, millis, number, percentile};

const SERVICES: usize = 100;

fn main() {
    let stand = Stand::new("status", env!("CARGO_BIN_EXE_section3"));
    let mut running = stand.start(Kind::Ours, SERVICES);
    running.told(SERVICES);
    let mut ours = Command::new(stand.ours());
    ours.arg("status").arg("--socket").arg(running.folder.join("socket"));
    let text = String::from_utf8(ours.output().expect("status").stdout).expect("text");
    assert_eq!(text.lines().filter(|line| line.contains(" running ")).count(), SERVICES, "{text}");
    let mut nothing = Command::new("/bin/true");
    let mut version = Command::new(stand.ours());
    version.arg("--version");
    let (mut times, mut bare, mut least) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..number(200) {
        times.push(run(&mut ours));
        bare.push(run(&mut nothing));
        least.push(run(&mut version));
    }
    running.stop();
    println!("{:24} {:>8} {:>8} {:>8}", "", "p50 ms", "p95 ms", "ratio");
    let unit = median(&bare);
    let show = |name: &str, times: &[f64]| {
        println!("{name:24} {:8.2} {:8.2} {:8.2}", median(times), percentile(times, 0.95), median(times) / unit);
    };
    show("/bin/true", &bare);
    show("section3 status", &times);
    show("section3 --version", &least);
    for kind in Kind::installed() {
        let mut running = match kind {
            Kind::Ours | Kind::CLoop => continue,
            Kind::S6 | Kind::Runit | Kind::Supervisord => stand.start(kind, SERVICES),
        };
        running.told(SERVICES);
        let_pass(std::time::Duration::from_secs(2));
        let services = (0..SERVICES).map(|n| running.folder.join(format!("scan/s{n}")));
        let mut command = match kind {
            Kind::Supervisord => {
                let mut command = Command::new("supervisorctl");
                command.arg("-c").arg(running.folder.join("supervisord.conf")).arg("status");
                command
            }
            Kind::Runit => {
                let mut command = Command::new("sv");
                command.arg("status").args(services);
                command
            }
            Kind::Ours | Kind::CLoop | Kind::S6 => {
                // It has a client for one service only.
                let mut command = Command::new("sh");
                command.args(["-c", "for one do s6-svstat \"$one\"; done", "sh"]).args(services);
                command
            }
        };
        let times: Vec<f64> = (0..5).map(|_| run(&mut command)).collect();
        show(kind.name(), &times);
        running.stop();
    }
}

fn run(command: &mut Command) -> f64 {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let from = Instant::now();
    assert!(command.status().expect("run").success());
    millis(from.elapsed())
}
