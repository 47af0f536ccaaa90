//! The pump with real pipes and real files.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::*;
use crate::spec::{Console, LogLimits};
use crate::sys::clock::monotonic;
use crate::value::{ByteSize, Moment, Run};

const WEB: LogId = LogId(1);
/// No test waits for it; one that hangs ends with it.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) fn limits(max_size: &str, keep: u32) -> LogLimits {
    LogLimits { max_size: ByteSize::parse(max_size).expect("size"), keep }
}

/// A pump on a folder of its own, and a clock that can jump.
struct Rig {
    _home: tempfile::TempDir,
    path: PathBuf,
    pump: Pump,
    reports: Receiver<Report>,
    skipped: Arc<AtomicU64>,
}

fn clock() -> (Clock, Arc<AtomicU64>) {
    let skipped = Arc::new(AtomicU64::new(1));
    let theirs = Arc::clone(&skipped);
    let read = move || Moment::from_nanos(monotonic().as_nanos() + theirs.load(Ordering::Relaxed));
    (Box::new(read), skipped)
}

fn null() -> OwnedFd {
    File::options().write(true).open("/dev/null").expect("null").into()
}

impl Rig {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("tempdir");
        let path = home.path().join("log");
        Self::at(home, path)
    }

    fn at(home: tempfile::TempDir, path: PathBuf) -> Self {
        let (sender, reports) = channel();
        let tell = move |report| {
            let _ = sender.send(report);
            Ok(())
        };
        let (clock, skipped) = clock();
        let folder = Folder::open(&path).expect("folder");
        let setup = Setup { folder, own: LogLimits::default(), console: Console::None, stdout: null(), clock };
        let pump = Pump::start(setup, tell).expect("pump");
        Self { _home: home, path, pump, reports, skipped }
    }

    /// A pipe that feeds `log`.
    fn pipe(&self, log: LogId, run: u64) -> File {
        let (out, into) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("pipe");
        self.pump.attach(log, Run(run), out);
        File::from(into)
    }

    /// Waits for the report that `wanted` picks; others are passed over.
    fn await_report<T>(&self, mut wanted: impl FnMut(Report) -> Option<T>) -> T {
        loop {
            match self.reports.recv_timeout(DEADLINE) {
                Ok(report) => {
                    if let Some(found) = wanted(report) {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => panic!("the report did not come"),
            }
        }
    }

    fn drain(&self, log: LogId, run: u64) -> Vec<u8> {
        self.pump.drain(log, Run(run));
        self.await_report(|report| match report {
            Report::Drained { log: found, run: ended, tail } if (found, ended) == (log, Run(run)) => Some(tail),
            _ => None,
        })
    }

    fn skip(&self, time: Duration) {
        self.skipped.fetch_add(u64::try_from(time.as_nanos()).expect("u64"), Ordering::Relaxed);
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path.join(name)).expect(name)
    }

    fn snapshot(&self, log: LogId, follower: Option<Follower>) -> Snapshot {
        let (sender, answer) = channel();
        let reply = move |snapshot| sender.send(snapshot).expect("somebody waits");
        self.pump.snapshot(log, true, follower, Box::new(reply));
        answer.recv_timeout(DEADLINE).expect("an answer").expect("a log")
    }
}

/// All files of a log, oldest first.
pub(super) fn files(folder: &Path, name: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<Vec<u8>> = (1..=99).map_while(|n| fs::read(folder.join(format!("{name}.log.{n}"))).ok()).collect();
    files.reverse();
    files.push(fs::read(folder.join(format!("{name}.log"))).expect("current"));
    files
}

fn assert_whole(files: &[Vec<u8>], limit: usize) {
    for (n, file) in files.iter().enumerate() {
        assert!(file.len() <= limit, "file {n} has {} bytes", file.len());
        assert!(file.is_empty() || file.ends_with(b"\n"), "file {n} of {} ends within a line", files.len());
    }
}

fn numbered(count: usize, width: usize) -> Vec<u8> {
    (0..count).flat_map(|n| format!("{n:>width$}\n").into_bytes()).collect()
}

#[test]
fn numbered_lines_at_full_speed() {
    let rig = Rig::new();
    rig.pump.open(WEB, "web", limits("1M", 99));
    let stream = Arc::new(numbered(400_000, 99));
    let (mut into, theirs) = (rig.pipe(WEB, 1), Arc::clone(&stream));
    let writer = thread::spawn(move || theirs.chunks(65_521).for_each(|chunk| into.write_all(chunk).expect("write")));
    writer.join().expect("writer");
    let tail = rig.drain(WEB, 1);
    assert_eq!(tail, stream[stream.len() - 2000..]);
    let files = files(&rig.path, "web");
    assert!(files.len() > 38);
    assert_whole(&files, 1 << 20);
    assert!(files.concat() == *stream, "bytes were lost, doubled or moved");
}

#[test]
fn long_lines_in_small_files_and_small_writes() {
    for (limit, bytes, width, count, write) in
        [("4K", 4 << 10, 3 << 10, 90, 1000), ("1M", 1 << 20, (64 << 10) - 1, 300, 50_001), ("4K", 4 << 10, 99, 3000, 37)]
    {
        let rig = Rig::new();
        rig.pump.open(WEB, "web", limits(limit, 99));
        let stream = numbered(count, width);
        let mut into = rig.pipe(WEB, 1);
        for chunk in stream.chunks(write) {
            into.write_all(chunk).expect("write");
        }
        drop(into);
        rig.drain(WEB, 1);
        let files = files(&rig.path, "web");
        assert_whole(&files, bytes);
        assert!(files.concat() == stream, "{limit}: bytes were lost, doubled or moved");
    }
}

/// P07: an endless line is written as it comes.
#[test]
fn two_hundred_megabytes_without_a_newline() {
    let rig = Rig::new();
    let counters = rig.pump.open(WEB, "web", limits("1M", 5));
    let mut into = rig.pipe(WEB, 1);
    let block = [b'x'; 64 << 10];
    for _ in 0..3200 {
        into.write_all(&block).expect("write");
    }
    drop(into);
    assert_eq!(rig.drain(WEB, 1).len(), 8 << 10);
    let files = files(&rig.path, "web");
    assert!(files.len() == 6 && files.iter().all(|file| file.len() <= 1 << 20));
    assert_eq!((counters.size(), counters.lost_bytes()), (1 << 20, 0));
}

#[test]
fn lines_of_two_pipes_are_not_torn() {
    let rig = Rig::new();
    rig.pump.open(WEB, "web", limits("10M", 5));
    let (mut first, mut second) = (rig.pipe(WEB, 1), rig.pipe(WEB, 2));
    let one = thread::spawn(move || {
        (0..20_000).for_each(|n| {
            let line = format!("a{n:0>60}\n");
            let (head, rest) = line.split_at(n % 61);
            first.write_all(head.as_bytes()).expect("write");
            first.write_all(rest.as_bytes()).expect("write");
        })
    });
    let two = thread::spawn(move || {
        (0..20_000).for_each(|n| {
            let line = format!("b{n:0>50}\n");
            let (head, rest) = line.split_at(n % 51);
            second.write_all(head.as_bytes()).expect("write");
            second.write_all(rest.as_bytes()).expect("write");
        })
    });
    one.join().expect("one");
    two.join().expect("two");
    rig.drain(WEB, 1);
    rig.drain(WEB, 2);
    let text = String::from_utf8(rig.read("web.log")).expect("text");
    let (a, b): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('a'));
    let in_order = |lines: &[&str], letter: char, width: usize| {
        lines.len() == 20_000 && lines.iter().enumerate().all(|(n, line)| *line == format!("{letter}{n:0>width$}"))
    };
    assert!(in_order(&a, 'a', 60) && in_order(&b, 'b', 50));
}

/// G15: a straggler of the run before feeds no second writer. G16: what was in its pipe is kept.
#[test]
fn a_pipe_that_something_holds_stays_until_the_next_one() {
    let rig = Rig::new();
    rig.pump.open(WEB, "web", limits("1M", 5));
    let mut stuck = rig.pipe(WEB, 1);
    stuck.write_all(b"one\nhalf").expect("write");
    assert_eq!(rig.drain(WEB, 1), b"one\nhalf");
    let mut next = rig.pipe(WEB, 2);
    next.write_all(b"two\n").expect("write");
    assert_eq!(rig.drain(WEB, 2), b"two\n");
    // The first one was closed for the second; the second one still feeds.
    let ended = stuck.write_all(b"nobody reads\n").expect_err("a closed pipe");
    assert_eq!(ended.kind(), std::io::ErrorKind::BrokenPipe);
    next.write_all(b"late\n").expect("write");
    drop(next);
    rig.drain(WEB, 3);
    rig.pump.close(WEB);
    let left = rig.pump.shutdown(DEADLINE);
    assert!(left.is_empty());
    assert_eq!(fs::read(rig.path.join("web.log")).expect("read"), b"one\nhalftwo\nlate\n");
}

#[test]
fn a_drain_finds_the_end_of_a_pipe_that_ended_before() {
    let rig = Rig::new();
    rig.pump.open(WEB, "web", limits("1M", 5));
    for run in 1..=3 {
        let mut into = rig.pipe(WEB, run);
        let lines: String = (0..30).map(|n| format!("run {run} line {n}\n")).collect();
        into.write_all(lines.as_bytes()).expect("write");
        drop(into);
    }
    for run in 1..=3 {
        let tail = String::from_utf8(rig.drain(WEB, run)).expect("text");
        assert!(tail.ends_with(&format!("run {run} line 28\nrun {run} line 29\n")), "{tail}");
        assert_eq!(tail.lines().count(), 20);
    }
    assert_eq!(rig.drain(WEB, 9), b"");
}

#[test]
fn something_else_in_the_place_of_a_log() {
    let rig = Rig::new();
    let victim = rig.path.join("victim");
    fs::write(&victim, "keep").expect("write");
    let place = rig.path.join("web.log");
    std::os::unix::fs::symlink(&victim, &place).expect("symlink");
    let counters = rig.pump.open(WEB, "web", limits("1M", 5));
    let mut into = rig.pipe(WEB, 1);
    into.write_all(b"lost one\nlost").expect("write");
    let reason = rig.await_report(|report| if let Report::Lost { reason, .. } = report { Some(reason) } else { None });
    assert_eq!(reason, "too many symbolic links encountered");
    assert_eq!(rig.drain(WEB, 1), b"lost one\nlost");
    assert_eq!(counters.lost_bytes(), 13);
    fs::remove_file(&place).expect("remove");
    rig.skip(Duration::from_secs(5));
    into.write_all(b"kept\n").expect("write");
    let missing = rig.await_report(|report| if let Report::Restored { bytes, .. } = report { Some(bytes) } else { None });
    assert_eq!(missing, 13);
    rig.drain(WEB, 1);
    let text = String::from_utf8(rig.read("web.log")).expect("text");
    assert_eq!(text, "[section3] 13 bytes are missing here: too many symbolic links encountered\nkept\n");
    assert_eq!(fs::read_to_string(victim).expect("read"), "keep");
}

/// Something that is mounted at a path, for as long as this lives.
pub(super) struct Mount(pub PathBuf);

impl Mount {
    /// What mount(8) makes of these words, where that is allowed here.
    pub fn over(path: &Path, words: &[&str]) -> Option<Self> {
        let mounted = std::process::Command::new("mount").args(words).arg(path).output();
        if mounted.as_ref().is_ok_and(|done| done.status.success()) {
            return Some(Self(path.to_owned()));
        }
        println!("not tested: {words:?} cannot be mounted here: {mounted:?}");
        None
    }
}

/// A disk of 256 KiB in a folder of its own.
pub(super) fn small_disk(home: &Path) -> Option<Mount> {
    let path = home.join("small");
    fs::create_dir(&path).expect("mkdir");
    Mount::over(&path, &["-t", "tmpfs", "-o", "size=256k,mode=0750", "none"])
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// G13: the pipe is drained all the same. G20: what is missing is said where it is missing.
#[test]
fn a_full_disk_costs_bytes_that_are_counted_and_nothing_else() {
    let home = tempfile::tempdir().expect("tempdir");
    let Some(disk) = small_disk(home.path()) else { return };
    let path = disk.0.clone();
    let ballast = path.join("ballast");
    fs::write(&ballast, vec![0; 100 << 10]).expect("ballast");
    let rig = Rig::at(home, path);
    let counters = rig.pump.open(WEB, "web", limits("1M", 5));
    let mut into = rig.pipe(WEB, 1);
    let stream = numbered(20_000, 99);
    into.write_all(&stream[..1_000_000]).expect("the pipe is drained whatever the disk does");
    let tail = rig.drain(WEB, 1);
    assert_eq!(tail, &stream[1_000_000 - tail.len()..1_000_000], "the tail of lost output");
    let reason = rig.await_report(|report| if let Report::Lost { reason, .. } = report { Some(reason) } else { None });
    assert_eq!(reason, "no space left on device");
    let kept = fs::metadata(rig.path.join("web.log")).expect("stat").len();
    assert_eq!(counters.lost_bytes() + kept, 1_000_000);
    fs::remove_file(&ballast).expect("remove");
    rig.skip(Duration::from_secs(5));
    into.write_all(&stream[1_000_000..1_010_000]).expect("write");
    drop(into);
    rig.drain(WEB, 1);
    let text = String::from_utf8(rig.read("web.log")).expect("text");
    let marker = format!("[section3] {} bytes are missing here: no space left on device", counters.lost_bytes());
    assert_eq!(text.lines().filter(|line| line.contains("[section3]")).collect::<Vec<_>>(), [marker.as_str()]);
    let (before, after) = text.split_once(&marker).expect("the marker");
    assert!(stream.starts_with(&before.as_bytes()[..before.len() - 1]));
    assert_eq!(&after.as_bytes()[1..], &stream[1_000_000..1_010_000]);
}

#[test]
fn what_is_missing_is_the_first_line_of_a_new_file() {
    let home = tempfile::tempdir().expect("tempdir");
    let Some(disk) = small_disk(home.path()) else { return };
    let rig = Rig::at(home, disk.0.clone());
    let counters = rig.pump.open(WEB, "web", limits("1M", 5));
    let mut into = rig.pipe(WEB, 1);
    // One line that does not end: the file stops within it.
    into.write_all(&[b'x'; 1_000_000]).expect("the pipe is drained whatever the disk does");
    rig.drain(WEB, 1);
    let lost = counters.lost_bytes();
    fs::remove_file(rig.path.join("web.log")).expect("remove");
    rig.skip(Duration::from_secs(5));
    into.write_all(b"kept\n").expect("write");
    drop(into);
    rig.drain(WEB, 1);
    let text = String::from_utf8(rig.read("web.log")).expect("text");
    assert_eq!(text, format!("[section3] {lost} bytes are missing here: no space left on device\nkept\n"));
}

#[test]
fn what_a_follower_gets_begins_where_the_snapshot_ends() {
    let rig = Rig::new();
    rig.pump.open(WEB, "web", limits("64K", 99));
    let mut into = rig.pipe(WEB, 1);
    let stream = numbered(30_000, 20);
    let theirs = stream.clone();
    let writer = thread::spawn(move || {
        for chunk in theirs.chunks(1009) {
            into.write_all(chunk).expect("write");
        }
    });
    let mut readers = Vec::new();
    for _ in 0..8 {
        let (follower, mut following) = following();
        let mut seen = rig.snapshot(WEB, Some(follower)).last(10_000).expect("read");
        readers.push(thread::spawn(move || {
            let end = loop {
                match following.blocking_next() {
                    Ok(chunk) => seen.extend_from_slice(&chunk),
                    Err(end) => break end,
                }
            };
            (seen, end)
        }));
    }
    writer.join().expect("writer");
    rig.drain(WEB, 1);
    rig.pump.close(WEB);
    for reader in readers {
        let (seen, end) = reader.join().expect("reader");
        assert_eq!(end, FollowEnd::Closed);
        assert!(stream.ends_with(&seen) && seen.len() > 21, "{} bytes", seen.len());
    }
}

#[test]
fn asked_for_rotation_takes_the_unfinished_line_along() {
    let rig = Rig::new();
    rig.pump.open(WEB, "web", limits("1M", 5));
    let mut into = rig.pipe(WEB, 1);
    into.write_all(b"one\ntw").expect("write");
    rig.drain(WEB, 1);
    rig.pump.rotate(WEB, 42);
    let rotated = rig.await_report(Some);
    let path = rig.path.join("web.log.1");
    assert_eq!(rotated, Report::Rotated { log: WEB, path, bytes: 4, reason: RotateReason::Manual(42), folded: 0 });
    into.write_all(b"o\n").expect("write");
    drop(into);
    rig.drain(WEB, 1);
    assert_eq!(files(&rig.path, "web"), [b"one\n", b"two\n"]);
    rig.pump.rotate(WEB, 43);
    rig.await_report(|report| matches!(report, Report::Rotated { reason: RotateReason::Manual(43), .. }).then_some(()));
    rig.pump.rotate(WEB, 44);
    let message = "empty, nothing to rotate".to_owned();
    assert_eq!(rig.await_report(Some), Report::NothingToRotate { ticket: 44, message });
    let mut into = rig.pipe(WEB, 2);
    into.write_all(b"unfinished").expect("write");
    rig.drain(WEB, 2);
    rig.pump.rotate(WEB, 45);
    let message = "it holds no finished line, nothing to rotate".to_owned();
    assert_eq!(rig.await_report(Some), Report::NothingToRotate { ticket: 45, message });
}

#[test]
fn a_full_inbox_delays_reports_and_a_fault_is_survived() {
    let home = tempfile::tempdir().expect("tempdir");
    let (sender, reports) = channel();
    let (mut calls, mut has_failed) = (0, false);
    let tell = move |report: Report| {
        calls += 1;
        if matches!(report, Report::Rotated { .. }) && !std::mem::replace(&mut has_failed, true) {
            panic!("planted");
        }
        if calls < 6 {
            return Err(report);
        }
        let _ = sender.send(report);
        Ok(())
    };
    let (clock, skipped) = clock();
    let folder = Folder::open(&home.path().join("log")).expect("folder");
    let own = LogLimits::default();
    let setup = Setup { folder, own, console: Console::None, stdout: null(), clock };
    let pump = Pump::start(setup, tell).expect("pump");
    let rig = Rig { path: home.path().join("log"), _home: home, pump, reports, skipped };
    rig.pump.open(WEB, "web", limits("4K", 5));
    let mut into = rig.pipe(WEB, 1);
    into.write_all(&numbered(1000, 99)).expect("write");
    let (mut drained, mut folds, mut faults) = (0, 0, Vec::new());
    rig.pump.drain(WEB, Run(1));
    while drained == 0 || folds == 0 || faults.is_empty() {
        match rig.await_report(Some) {
            Report::Drained { .. } => drained += 1,
            Report::Rotated { folded, .. } => folds += folded + 1,
            Report::Fault { message } => faults.push(message),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((faults.len(), faults[0].as_str()), (1, "the log pump went on after a fault: planted"));
    into.write_all(b"still read\n").expect("write");
    assert!(files(&rig.path, "web").len() == 6);
}

#[test]
fn who_is_undisturbed_hears_it_afterwards_and_a_pause_at_once() {
    let rig = Rig::new();
    let undisturbed = rig.pump.undisturbed();
    let _log = rig.pump.open(WEB, "web", limits("1M", 1));
    rig.pump.rotate(WEB, 7);
    drop(undisturbed);
    rig.await_report(|report| matches!(report, Report::Rotated { .. } | Report::NothingToRotate { .. }).then_some(()));
    let _undisturbed = rig.pump.undisturbed();
    rig.pump.pause(DEADLINE).expect("a pump that stands still");
}

#[test]
fn pipes_outlive_the_pump() {
    let rig = Rig::new();
    rig.pump.open(WEB, "web", limits("1M", 5));
    let mut into = rig.pipe(WEB, 7);
    into.write_all(b"before\n").expect("write");
    rig.drain(WEB, 7);
    let Rig { _home: home, path, pump, .. } = rig;
    let mut left = pump.shutdown(DEADLINE);
    into.write_all(b"between\n").expect("write");
    let rig = Rig::at(home, path);
    rig.pump.open(WEB, "web", limits("1M", 5));
    let attached = left.pop().expect("a pipe");
    assert_eq!((attached.log, attached.run, attached.is_left_over), (WEB, Run(7), true));
    rig.pump.attach(WEB, attached.run, attached.pipe);
    into.write_all(b"after\n").expect("write");
    drop(into);
    rig.drain(WEB, 7);
    assert_eq!(rig.read("web.log"), b"before\nbetween\nafter\n");
}

/// G15: one owner for a file, however often its service comes and goes.
#[test]
fn a_log_that_is_closed_and_opened_again_has_one_owner() {
    let rig = Rig::new();
    let (old, new) = (LogId(1), LogId(2));
    rig.pump.open(old, "web", limits("4K", 5));
    let mut stuck = rig.pipe(old, 1);
    stuck.write_all(b"old\n").expect("write");
    rig.drain(old, 1);
    rig.pump.close(old);
    let counters = rig.pump.open(new, "web", limits("1M", 5));
    let mut into = rig.pipe(new, 1);
    into.write_all(&numbered(100, 99)).expect("write");
    drop(into);
    rig.drain(new, 1);
    stuck.write_all(b"late\n").expect("write");
    drop(stuck);
    rig.drain(new, 2);
    rig.pump.drain(old, Run(1));
    rig.await_report(|report| matches!(report, Report::Drained { log, .. } if log == old).then_some(()));
    assert_eq!(files(&rig.path, "web").len(), 1, "the old limit held on");
    assert_eq!(counters.size(), 10_009);
}

/// The supervisor's own voice is bounded too, and says what it lost.
#[test]
fn own_messages_that_find_no_room_are_counted() {
    let rig = Rig::new();
    let stopped = rig.pump.pause(DEADLINE).expect("a pump that stands still");
    let text = "x".repeat(64 << 10);
    let said = (0..10).filter(|_| rig.pump.say("T", &text)).count();
    assert_eq!(said, 4, "256 KiB may wait");
    drop(stopped);
    rig.snapshot(LogId::OWN, None);
    assert!(rig.pump.say("T", "again"), "there is no room though all is written");
    rig.snapshot(LogId::OWN, None);
    let log = String::from_utf8(rig.read("section3.log")).expect("text");
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("xxx")).collect();
    assert_eq!(lines, ["T 6 messages are missing here: the disk is too slow for them", "T again"]);
}

/// An unfinished line is not held back for another pipe without end, and not beyond the pump's own.
#[test]
fn what_is_held_back_is_bounded_and_written_at_the_end() {
    let rig = Rig::new();
    rig.pump.open(WEB, "web", limits("1M", 5));
    let (mut first, _second) = (rig.pipe(WEB, 1), rig.pipe(WEB, 2));
    // Looks until so many bytes were read; returns how many of them are held back.
    let held_of = |read: usize| loop {
        let feed = rig.pump.pause(DEADLINE).expect("a pump that stands still").rest.feeds.swap_remove(0);
        let (held, kept) = (feed.held.0.len(), usize::try_from(feed.kept).expect("small"));
        assert!(held <= 64 << 10, "{held} bytes are held back");
        if held + kept == read {
            return held;
        }
    };
    first.write_all(&[b'x'; 70 << 10]).expect("write");
    held_of(70 << 10);
    first.write_all(b"\nbegun").expect("write");
    assert_eq!(held_of((70 << 10) + 6), 5);
    let Rig { _home: home, path, pump, .. } = rig;
    assert_eq!(pump.shutdown(DEADLINE).len(), 2);
    assert!(fs::read(path.join("web.log")).expect("read").ends_with(b"x\nbegun"));
    drop(home);
}

/// The tail of a run whose output no file holds is bounded as well, in lines and in bytes.
#[test]
fn the_tail_of_what_is_lost_is_bounded() {
    let rig = Rig::new();
    std::os::unix::fs::symlink("elsewhere", rig.path.join("web.log")).expect("symlink");
    rig.pump.open(WEB, "web", limits("1M", 5));
    let lines = numbered(3000, 9);
    let mut into = rig.pipe(WEB, 1);
    into.write_all(&lines).expect("write");
    assert_eq!(rig.drain(WEB, 1), lines[lines.len() - 200..]);
    into.write_all(&vec![b'x'; 20_000]).expect("write");
    rig.pump.drain(WEB, Run(1));
    let tail = rig.await_report(|report| if let Report::Drained { tail, .. } = report { Some(tail) } else { None });
    assert_eq!(tail, vec![b'x'; 8 << 10]);
}

/// Whoever holds the old pipe of one log is no business of another.
#[test]
fn what_is_left_over_of_one_log_stays_when_another_drains() {
    let rig = Rig::new();
    let db = LogId(2);
    rig.pump.open(WEB, "web", limits("1M", 5));
    rig.pump.open(db, "db", limits("1M", 5));
    let (mut stuck, _held) = (rig.pipe(WEB, 1), rig.pipe(db, 1));
    rig.drain(WEB, 1);
    rig.drain(db, 1);
    let _runs = rig.pipe(WEB, 2);
    rig.drain(db, 9);
    stuck.write_all(b"late\n").expect("somebody reads");
    drop(stuck);
    rig.drain(WEB, 1);
    assert_eq!(rig.read("web.log"), b"late\n");
}

/// G20: own messages have a time.
#[test]
fn own_messages_go_to_the_file_with_their_time_and_to_the_console_without() {
    let home = tempfile::tempdir().expect("tempdir");
    let path = home.path().join("log");
    let (out, into) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("pipe");
    let setup = Setup {
        folder: Folder::open(&path).expect("folder"),
        own: LogLimits::default(),
        console: Console::Events,
        stdout: into,
        clock: clock().0,
    };
    let pump = Pump::start(setup, |_| Ok(())).expect("pump");
    pump.open(WEB, "web", limits("1M", 5));
    assert!(pump.say("2026-01-01T00:00:00Z", "section3 started"));
    pump.shutdown(DEADLINE);
    let console = std::io::read_to_string(File::from(out)).expect("read");
    assert_eq!(console, "[section3] section3 started\n");
    let file = fs::read_to_string(path.join("section3.log")).expect("read");
    assert_eq!(file, "2026-01-01T00:00:00Z section3 started\n");
}
