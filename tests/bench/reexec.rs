//! The gap of a re-exec: how long a client that asks again and again is not answered, with 100 services and without.
//!
//! `cargo bench --bench reexec` (needs `cc`); `-- ROUNDS` sets the re-execs (50). Target: under 50 ms. The whole of a
//! re-exec is shown too: most of it is the rehearsal, during which everything goes on.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod stand;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use stand::{Kind, Stand, let_pass, median, millis, number, percentile};

fn main() {
    let stand = Stand::new("reexec", env!("CARGO_BIN_EXE_section3"));
    let rounds = number(50);
    println!("{:>9} {:>11} {:>11} {:>11} {:>13}", "services", "gap p50 ms", "gap p95 ms", "gap max ms", "whole p50 ms");
    for count in [1, 100] {
        let mut running = stand.start(Kind::Ours, count);
        running.told(count);
        let socket = running.folder.join("socket");
        let over = AtomicBool::new(false);
        let (mut gaps, mut whole) = (Vec::new(), Vec::new());
        thread::scope(|scope| {
            let (socket, over) = (&socket, &over);
            for _ in 0..rounds {
                over.store(false, Ordering::Release);
                // The longest wait for one answer while the program was replaced is the gap.
                let asking = scope.spawn(move || {
                    let mut worst = Duration::ZERO;
                    while !over.load(Ordering::Acquire) {
                        let from = Instant::now();
                        ask(socket, "version");
                        worst = worst.max(from.elapsed());
                    }
                    worst
                });
                let_pass(Duration::from_millis(20));
                let from = Instant::now();
                ask(socket, "reexec");
                whole.push(millis(from.elapsed()));
                over.store(true, Ordering::Release);
                gaps.push(millis(asking.join().expect("answers")));
            }
        });
        let max = gaps.iter().copied().fold(0.0, f64::max);
        let (p50, p95, all) = (median(&gaps), percentile(&gaps, 0.95), median(&whole));
        println!("{count:9} {p50:11.2} {p95:11.2} {max:11.2} {all:13.2}");
        running.stop();
    }
}

/// One request in the plain form; the connection is part of what is timed.
fn ask(socket: &std::path::Path, verb: &str) {
    let mut stream = UnixStream::connect(socket).expect("connected");
    writeln!(stream, "{verb}").expect("asked");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("answered");
    assert!(answer.starts_with("section3 "), "{answer}");
}
