//! What section3 costs while nothing happens: memory at 0, 10, 100 and 1,000 services, and with 100 of them the context
//! switches, CPU and descriptors of 10 seconds, all threads together; beside the peers (all their processes).
//!
//! `cargo bench --bench idle` (needs `cc`). The targets are for the static binary, so build it (`packaging/build-static x86_64`)
//! and name it in `SECTION3_BENCH_BIN`: 2.0, 2.2, 2.5 and 6 MiB, no switch, no CPU.

mod stand;

use std::fs;
use std::time::Duration;

use stand::{Activity, Kind, Stand, below, let_pass, pss};

fn main() {
    let stand = Stand::new("idle", env!("CARGO_BIN_EXE_section3"));
    println!(
        "{:12} {:>9} {:>9} {:>15} {:>14} {:>12}",
        "", "services", "PSS KiB", "switches, 10 s", "CPU us, 10 s", "descriptors"
    );
    for kind in Kind::installed() {
        for count in [0, 10, 100, 1000] {
            if (count == 0 && kind != Kind::Ours) || (count > 100 && !matches!(kind, Kind::Ours | Kind::CLoop)) {
                continue;
            }
            let mut running = stand.start(kind, count);
            let services = running.told(count);
            // Threads and buffers of the start are gone after a second; loggers of the peers have started.
            let_pass(Duration::from_secs(3));
            let mut pids = below(running.pid());
            pids.retain(|pid| !services.contains(pid));
            pids.push(running.pid());
            let memory: u64 = pids.iter().map(|pid| pss(*pid)).sum();
            if count == 100 {
                let look = || pids.iter().map(|pid| Activity::of(*pid)).collect::<Vec<_>>();
                let before = look();
                let_pass(Duration::from_secs(10));
                let during: Vec<Activity> = look().into_iter().zip(before).map(|(after, before)| after.since(before)).collect();
                let switches: u64 = during.iter().map(|one| one.switches).sum();
                let cpu: Duration = during.iter().map(|one| one.cpu).sum();
                let open = |pid: &i32| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
                let descriptors: usize = pids.iter().map(open).sum();
                println!("{:12} {count:9} {memory:9} {switches:15} {:14} {descriptors:12}", kind.name(), cpu.as_micros());
            } else {
                println!("{:12} {count:9} {memory:9}", kind.name());
            }
            running.stop();
        }
    }
}
