//! What `/proc` knows about processes.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::deadline::Deadline;

/// Sends a signal to one process that the caller knows to be its own; gone already is fine.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Processes (not zombies) that carry `NAME=value` in their environment, this one left out.
pub fn with_variable(name: &str, value: &Path) -> Vec<i32> {
    let wanted = format!("{name}={}", value.display());
    let carries = |pid: &i32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|b| *b == 0).any(|entry| entry == wanted.as_bytes())
    };
    all().into_iter().filter(carries).collect()
}

/// What is known of one process, for messages.
pub fn describe(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    format!("PID {pid}: {}", words.join(" "))
}

/// Whether the process exists and is not a zombie.
pub fn is_alive(pid: i32) -> bool {
    !matches!(state(pid), None | Some('Z' | 'X'))
}

/// The direct children, zombies among them.
pub fn children(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|w| w.parse().ok()).collect()
}

/// The children that have ended and were not reaped.
pub fn zombies_of(pid: i32) -> Vec<i32> {
    children(pid).into_iter().filter(|child| state(*child) == Some('Z')).collect()
}

/// The open descriptors, in order.
pub fn descriptors(pid: i32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("a live process");
    let mut out: Vec<u32> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    out.sort_unstable();
    out
}

/// Waits until a process has the three descriptors that a service is given, and no other. One that was begun just now opens its
/// libraries for a moment; what it was given would stay.
#[track_caller]
pub fn has_only_its_own(pid: i32) {
    let deadline = Deadline::new();
    while descriptors(pid) != [0, 1, 2] {
        let links: Vec<_> =
            descriptors(pid).iter().filter_map(|number| fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()).collect();
        assert!(!deadline.is_over(), "{links:?}");
    }
}

/// A number of `/proc/PID/FILE`, whose lines are `NAME: NUMBER`.
#[track_caller]
pub fn counter(pid: i32, file: &str, name: &str) -> u64 {
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no `{name}` in {path}:\n{text}"))
}

/// How often the threads of a process have gone to wait.
pub fn context_switches(pid: i32) -> u64 {
    threads(pid).into_iter().map(|thread| counter(pid, &format!("task/{thread}/status"), "voluntary_ctxt_switches")).sum()
}

/// KiB of its program's code that a process has mapped.
pub fn code_kib(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("a live process");
    let mut is_code = false;
    let mut sum = 0;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Rss:") if is_code => sum += words.next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number"),
            Some(range) if range.contains('-') => is_code = line.contains(" r-xp ") && line.ends_with("section3"),
            _ => {}
        }
    }
    sum
}

/// The threads of a process.
pub fn threads(pid: i32) -> Vec<i32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).expect("a live process");
    entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

fn all() -> Vec<i32> {
    let own = std::process::id().cast_signed();
    let entries = fs::read_dir("/proc").expect("/proc");
    entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(|pid| *pid != own).collect()
}

/// When a live process was made, in clock ticks since the boot.
#[track_caller]
pub fn forked_at(pid: i32) -> u64 {
    // Field 22 of proc_pid_stat(5).
    let ticks = fields(pid).and_then(|fields| fields.get(19)?.parse().ok());
    ticks.unwrap_or_else(|| panic!("no process {pid}"))
}

fn state(pid: i32) -> Option<char> {
    fields(pid)?.first()?.chars().next()
}

/// The fields of `/proc/PID/stat` from the third on: before that is the name, in which anything may be.
fn fields(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat[stat.rfind(')')? + 1..].split_whitespace().map(str::to_owned).collect())
}
