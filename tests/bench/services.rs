//! Start of 1, 100 and 1,000 services until every one runs, and their end, beside a bare clone/exec loop and the peers.
//!
//! `cargo bench --bench services` (needs `cc`); `-- ROUNDS` sets the rounds (5). s6 and runit have a logger for each service,
//! for section3 and supervisord keep a log for each too. Peers get up to 100 services, they take long.
//! Targets: start at most 1.3 times the bare loop, end of 1,000 within 300 ms.

mod stand;

use stand::{Kind, Stand, median, millis, number};

fn main() {
    let stand = Stand::new("services", env!("CARGO_BIN_EXE_section3"));
    let rounds = number(5);
    println!("{:12} {:>9} {:>10} {:>9} {:>9} {:>9}", "", "services", "start ms", "ratio", "stop ms", "ratio");
    for count in [1, 100, 1000] {
        let fast = |kind: &Kind| matches!(kind, Kind::Ours | Kind::CLoop);
        let kinds: Vec<Kind> = Kind::installed().into_iter().filter(|kind| fast(kind) || count <= 100).collect();
        let mut found: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); kinds.len()];
        for round in 0..rounds {
            for (kind, (starts, stops)) in kinds.iter().zip(&mut found) {
                if fast(kind) || round == 0 {
                    let mut running = stand.start(*kind, count);
                    running.told(count);
                    starts.push(millis(running.began.elapsed()));
                    stops.push(millis(running.stop()));
                }
            }
        }
        let bare = kinds.iter().position(|kind| *kind == Kind::CLoop).expect("the loop is always here");
        let (bare_start, bare_stop) = (median(&found[bare].0), median(&found[bare].1));
        for (kind, (starts, stops)) in kinds.iter().zip(&found) {
            let (start, stop) = (median(starts), median(stops));
            let (a, b) = (start / bare_start, stop / bare_stop);
            println!("{:12} {count:9} {start:10.1} {a:9.2} {stop:9.1} {b:9.2}", kind.name());
        }
    }
}
