//! What the process tree of a service uses: asked by scripts, read off the event loop.

use super::census::Census;
use crate::sys::process;
use crate::sys::usage::{self, Usage};

/// What a run uses now: its main process, all its descendants, and those that left them but not their session. Blocks for a
/// walk through `/proc`, so that it is never called on the event loop.
#[must_use]
pub fn of_run(pid: i32) -> Usage {
    let mut pids: Vec<i32> = Census::default().below(&[pid]).into_iter().map(|process| process.pid).collect();
    let session = process::census().unwrap_or_default().into_iter().filter(|process| process.session == pid);
    pids.extend(session.map(|process| process.pid));
    pids.sort_unstable();
    pids.dedup();
    let mut sum = Usage::default();
    for usage in pids.into_iter().filter_map(usage::of) {
        sum += usage;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_the_sum_of_its_processes() {
        use std::io::{BufRead, BufReader};

        let mut shell = std::process::Command::new("/bin/sh")
            .args(["-c", "sleep 100 & echo; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        let pid = shell.id() as i32;
        let usage = of_run(pid);
        let children = Census::default().below(&[pid]).into_iter().map(|process| process.pid).collect::<Vec<_>>();
        for child in children {
            process::signal_leader(child, crate::value::Signal::KILL).expect("a process of ours");
        }
        shell.wait().expect("its end");
        assert_eq!(usage.processes, 2, "{usage:?}");
        assert!(usage.rss_bytes > 0 && usage.fds > 0, "{usage:?}");
        assert_eq!(of_run(pid), Usage::default());
    }
}
