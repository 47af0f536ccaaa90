//! The log pump beside a minimal C loop and s6-log: one writer at full speed with rotation at 1 MiB x 5, and 50 slow writers.
//!
//! `cargo bench --bench pump` (needs `cc`; `s6-log` is left out where it is not installed). Folders are made under
//! `SECTION3_BENCH_DIR`, else `target/`, for a tmpfs would say nothing about ext4. Ratios count, absolute times do not.
//! `cargo bench --bench pump -- ROUNDS` sets the rounds (5), a word after it picks the tables; figures are medians, the stall is the worst.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock and paces its writers")]

use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use section3::log::{Folder, LogId, Pump, Report, Setup};
use section3::spec::{Console, LogLimits};
use section3::value::{ByteSize, Moment, Run};

const LINE: usize = 100;
const GIB: f64 = (1u64 << 30) as f64;

fn main() {
    let mut args = env::args().skip(1).filter(|arg| arg != "--bench");
    match args.next().as_deref() {
        Some("write") => write_lines(&args.collect::<Vec<_>>()),
        Some("pump") => run_pump(&args.collect::<Vec<_>>()),
        rounds => {
            let wanted = args.next().unwrap_or_default();
            compare(rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(5), &wanted);
        }
    }
}

/// The writer: `write BYTES BLOCK NUMBER RATE`. Lines of 100 bytes, numbered from zero, in blocks of BLOCK bytes; RATE bytes
/// a second, 0 for all it can. Says its worst stall of a write in microseconds on stderr.
fn write_lines(args: &[String]) {
    let number = |at: usize| args[at].parse::<usize>().expect("a number");
    let (bytes, block, rate) = (number(0), number(1), number(2));
    let mut out = File::from(std::io::stdout().as_fd().try_clone_to_owned().expect("stdout"));
    let (mut line, mut pending, mut worst) = (0_usize, Vec::with_capacity(block + LINE), Duration::ZERO);
    let total = bytes / LINE;
    let (_nobody, never) = channel::<()>();
    let start = Instant::now();
    let mut sent = 0_usize;
    while line < total || !pending.is_empty() {
        while pending.len() < block && line < total {
            push_line(&mut pending, line);
            line += 1;
        }
        let part = pending.len().min(block);
        if rate > 0 {
            // A slow writer does nothing most of the time.
            let due = Duration::from_secs_f64(sent as f64 / rate as f64);
            let ahead = due.saturating_sub(start.elapsed());
            if ahead > Duration::from_millis(1) {
                let _ = never.recv_timeout(ahead);
            }
        }
        let before = Instant::now();
        out.write_all(&pending[..part]).expect("the pump reads");
        worst = worst.max(before.elapsed());
        sent += part;
        pending.drain(..part);
    }
    eprintln!("{}", worst.as_micros());
}

fn push_line(into: &mut Vec<u8>, number: usize) {
    let mut digits = [b'0'; LINE];
    let (mut rest, mut at) = (number, 11);
    while rest > 0 {
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        at -= 1;
    }
    digits[12..LINE - 1].fill(b'.');
    digits[LINE - 1] = b'\n';
    into.extend_from_slice(&digits);
}

/// Our pump as a process: `pump DIR COUNT`, output of the writers on descriptors 3 on.
fn run_pump(args: &[String]) {
    let count: u32 = args[1].parse().expect("a count");
    let start = Instant::now();
    let clock = move || Moment::from_nanos(start.elapsed().as_nanos() as u64 + 1);
    let (sender, reports) = channel();
    let limits = LogLimits { max_size: ByteSize::mebibytes(1), keep: 5 };
    let setup = Setup {
        folder: Folder::open(Path::new(&args[0])).expect("folder"),
        own: limits,
        console: Console::None,
        stdout: File::options().write(true).open("/dev/null").expect("null").into(),
        clock: Box::new(clock),
    };
    let tell = move |report| {
        let _ = sender.send(report);
        Ok(())
    };
    let pump = Pump::start(setup, tell).expect("pump");
    for n in 0..count {
        let log = LogId(n);
        pump.open(log, &format!("log{n}"), limits);
        let pipe = File::open(format!("/proc/self/fd/{}", 3 + n)).expect("an inherited pipe");
        pump.attach(log, Run(1), pipe.into());
    }
    // The end of the pipes: a drain that finds the end takes the feed away; until then it is asked once the writers are
    // gone, which the end of stdin says.
    let mut nothing = Vec::new();
    std::io::stdin().read_to_end(&mut nothing).expect("stdin");
    for n in 0..count {
        pump.drain(LogId(n), Run(1));
    }
    let mut drained = 0;
    while drained < count {
        match reports.recv().expect("a report") {
            Report::Drained { .. } => drained += 1,
            Report::Rotated { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    pump.shutdown(Duration::from_secs(5));
}

struct Bench {
    home: PathBuf,
    me: PathBuf,
    peer: PathBuf,
}

#[derive(Clone, Copy, Default)]
struct Figures {
    mb_per_s: f64,
    cpu_per_gib: f64,
    stall_ms: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Ours,
    CLoop,
    S6,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Ours => "section3",
            Self::CLoop => "C loop",
            Self::S6 => "s6-log",
        }
    }
}

fn compare(rounds: usize, wanted: &str) {
    let base = env::var_os("SECTION3_BENCH_DIR").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let home = base.join(format!("pump-{}", std::process::id()));
    fs::create_dir_all(&home).expect("a folder");
    let peer = home.join("c-loop");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/peer/pump.c");
    let built = Command::new("cc").args(["-O2", "-o"]).arg(&peer).arg(source).status().expect("cc");
    assert!(built.success(), "cc failed");
    let bench = Bench { home: home.clone(), me: env::current_exe().expect("exe"), peer };
    let has_s6 = Command::new("s6-log").stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let kinds: Vec<Kind> = [Kind::Ours, Kind::CLoop, Kind::S6].into_iter().filter(|kind| has_s6 || *kind != Kind::S6).collect();
    for (what, bytes, block) in [("64 KiB writes", 1_usize << 30, 64 << 10), ("a write a line", 256 << 20, LINE)] {
        let title = format!("one writer, {what}, 1 MiB x 5");
        if title.contains(wanted) {
            bench.table(&title, &kinds, rounds, |kind| bench.run(kind, 1, bytes, block, 0));
        }
    }
    let title = "50 writers, 20 MB/s together, a write a line";
    if title.contains(wanted) {
        bench.table(title, &kinds, rounds, |kind| bench.run(kind, 50, 2_000_000, LINE, 400_000));
    }
    let _ = fs::remove_dir_all(home);
}

impl Bench {
    fn table(&self, title: &str, kinds: &[Kind], rounds: usize, run: impl Fn(Kind) -> Figures) {
        println!("\n{title}");
        let mut all: Vec<Vec<Figures>> = vec![Vec::new(); kinds.len()];
        // Side by side in every round: the machine's mood changes.
        for round in 0..rounds {
            for (at, kind) in kinds.iter().enumerate() {
                // It takes ten times as long, and three are enough to see that.
                if *kind != Kind::S6 || round < 3 {
                    all[at].push(run(*kind));
                }
            }
        }
        let medians: Vec<Figures> = all.iter().map(|figures| medians(figures)).collect();
        println!("  {:10} {:>9} {:>9} {:>12} {:>9} {:>15}", "", "MB/s", "ratio", "CPU s/GiB", "ratio", "worst stall ms");
        for (kind, found) in kinds.iter().zip(&medians) {
            let us = medians[0];
            let (speed, cpu) = (us.mb_per_s / found.mb_per_s, us.cpu_per_gib / found.cpu_per_gib);
            println!(
                "  {:10} {:9.0} {speed:9.2} {:12.2} {cpu:9.2} {:15.1}",
                kind.name(),
                found.mb_per_s,
                found.cpu_per_gib,
                found.stall_ms
            );
        }
    }

    /// One run: `count` writers, each `bytes` in writes of `block` at `rate`.
    fn run(&self, kind: Kind, count: usize, bytes: usize, block: usize, rate: usize) -> Figures {
        let dir = self.home.join("logs");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("mkdir");
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&dir, PermissionsExt::from_mode(0o750)).expect("chmod");
        let pipes: Vec<_> = (0..count).map(|_| nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("pipe")).collect();
        for (out, _) in &pipes {
            nix::fcntl::fcntl(out, nix::fcntl::FcntlArg::F_SETPIPE_SZ(256 << 10)).expect("pipe size");
        }
        let (outs, ins): (Vec<OwnedFd>, Vec<OwnedFd>) = pipes.into_iter().unzip();
        let cpu_before = children_cpu();
        let mut pumps = self.pumps(kind, &dir, outs);
        let start = Instant::now();
        let writers: Vec<Child> = ins
            .into_iter()
            .map(|into| {
                Command::new(&self.me)
                    .arg("write")
                    .args([bytes, block, rate].map(|n| n.to_string()))
                    .stdin(Stdio::null())
                    .stdout(into)
                    .stderr(Stdio::piped())
                    .spawn()
                    .expect("writer")
            })
            .collect();
        let mut stall = 0;
        let mut writers_cpu = 0.0;
        for mut writer in writers {
            let mut text = String::new();
            writer.stderr.take().expect("stderr").read_to_string(&mut text).expect("stall");
            stall = stall.max(text.trim().parse().expect("microseconds"));
            let before = children_cpu();
            assert!(writer.wait().expect("writer").success());
            writers_cpu += children_cpu() - before;
        }
        for pump in &mut pumps {
            drop(pump.stdin.take());
            assert!(pump.wait().expect("pump").success(), "{} failed", kind.name());
        }
        let seconds = start.elapsed().as_secs_f64();
        let cpu = children_cpu() - cpu_before - writers_cpu;
        check(kind, &dir, bytes);
        let total = (bytes * count) as f64;
        Figures { mb_per_s: total / seconds / 1e6, cpu_per_gib: cpu / (total / GIB), stall_ms: f64::from(stall) / 1e3 }
    }

    fn pumps(&self, kind: Kind, dir: &Path, outs: Vec<OwnedFd>) -> Vec<Child> {
        if kind == Kind::Ours {
            // A shell moves the pipes to 3 and up; the descriptors must be inheritable for it.
            let mut script = String::new();
            for (n, out) in outs.iter().enumerate() {
                use std::os::fd::AsRawFd;
                nix::fcntl::fcntl(out, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).expect("fcntl");
                script.push_str(&format!("exec {}<&{} ", 3 + n, out.as_raw_fd()));
                script.push_str(&format!("{}<&-; ", if out.as_raw_fd() == 3 + n as i32 { 999 } else { out.as_raw_fd() }));
            }
            script.push_str("exec \"$@\"");
            let mut command = Command::new("bash");
            command.args(["-c", &script, "bash"]).arg(&self.me).arg("pump").arg(dir).arg(outs.len().to_string());
            return vec![command.stdin(Stdio::piped()).spawn().expect("pump")];
        }
        let one = |(n, out): (usize, OwnedFd)| {
            let folder = if kind == Kind::S6 { dir.join(format!("log{n}")) } else { dir.to_owned() };
            let mut command = if kind == Kind::S6 { Command::new("s6-log") } else { Command::new(&self.peer) };
            if kind == Kind::S6 {
                command.args(["-b", "n5", "s1048576"]).arg(folder);
            } else {
                command.arg(folder).arg(format!("log{n}")).args(["1048576", "5"]);
            }
            command.stdin(out).spawn().expect("pump")
        };
        outs.into_iter().enumerate().map(one).collect()
    }
}

/// What is left must be the last lines, whole and without a hole.
fn check(kind: Kind, dir: &Path, bytes: usize) {
    let (mut names, mut first) = (Vec::new(), None::<usize>);
    if kind == Kind::S6 {
        let mut old: Vec<_> = fs::read_dir(dir.join("log0")).expect("logs").map(|entry| entry.expect("entry").path()).collect();
        old.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('@')));
        old.sort();
        names.extend(old);
        names.push(dir.join("log0/current"));
    } else {
        names.extend((1..=5).rev().map(|n| dir.join(format!("log0.log.{n}"))).filter(|path| path.exists()));
        names.push(dir.join("log0.log"));
    }
    let mut stream: Vec<u8> = Vec::new();
    for name in names {
        let file = fs::read(&name).expect("log");
        // The C loop does not carry an unfinished line over; its tears are known, its bytes must be there all the same.
        let is_whole = file.is_empty() || (file.len() % LINE == 0 && file.ends_with(b"\n"));
        assert!(is_whole || kind == Kind::CLoop, "{}: a torn line in {}", kind.name(), name.display());
        stream.extend(file);
    }
    let mut next = 0;
    for line in stream[stream.len() % LINE..].chunks(LINE) {
        let number: usize = std::str::from_utf8(&line[..12]).expect("digits").parse().expect("a number");
        assert!(first.is_none() || number == next, "{}: line {next} is missing", kind.name());
        first.get_or_insert(number);
        next = number + 1;
    }
    assert_eq!(next, bytes / LINE, "{}: the last lines are missing", kind.name());
}

/// CPU seconds of all children that were waited for.
fn children_cpu() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).expect("getrusage");
    [usage.user_time(), usage.system_time()].iter().map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6).sum()
}

fn medians(figures: &[Figures]) -> Figures {
    let median = |of: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = figures.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let worst = figures.iter().map(|figures| figures.stall_ms).fold(0.0, f64::max);
    Figures { mb_per_s: median(|f| f.mb_per_s), cpu_per_gib: median(|f| f.cpu_per_gib), stall_ms: worst }
}
