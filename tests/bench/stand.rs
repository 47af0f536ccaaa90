//! What the benches stand on: a folder, the C programs, the supervisors, and what the kernel tells of them.
//!
//! `SECTION3_BENCH_BIN` names another binary than the one just built (the static one, say). Peers that are not installed are
//! left out. A service is `peer/idle.c`: it tells its pid over a FIFO as soon as it runs and holds the FIFO open while it
//! lives, so every supervisor is timed by the same two facts: "all have told" and "nobody holds it any more".

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The longest a supervisor may take for anything; a bench that waits longer fails.
const LIMIT: Duration = Duration::from_secs(150);

/// Who supervises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Ours,
    CLoop,
    S6,
    Runit,
    Supervisord,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Ours, Self::CLoop, Self::S6, Self::Runit, Self::Supervisord];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "section3",
            Self::CLoop => "C loop",
            Self::S6 => "s6",
            Self::Runit => "runit",
            Self::Supervisord => "supervisord",
        }
    }

    /// The ones that are here.
    pub fn installed() -> Vec<Self> {
        Self::ALL.into_iter().filter(|kind| kind.is_installed()).collect()
    }

    fn is_installed(self) -> bool {
        match self {
            Self::Ours | Self::CLoop => true,
            Self::S6 => is_in_path("s6-svscan") && is_in_path("s6-log"),
            Self::Runit => is_in_path("runsvdir") && is_in_path("svlogd"),
            Self::Supervisord => is_in_path("supervisord"),
        }
    }
}

pub fn is_in_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// A folder that goes with it, and the programs in it.
pub struct Stand {
    home: PathBuf,
    ours: PathBuf,
    round: std::cell::Cell<usize>,
}

impl Stand {
    pub fn new(name: &str, built: &str) -> Self {
        let base = std::env::var_os("SECTION3_BENCH_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
        let home = PathBuf::from(base).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&home).expect("a folder");
        let ours = std::env::var_os("SECTION3_BENCH_BIN").map_or_else(|| PathBuf::from(built), PathBuf::from);
        println!("{name}: {}", ours.display());
        Self { home, ours, round: std::cell::Cell::new(0) }
    }

    pub fn ours(&self) -> &Path {
        &self.ours
    }

    /// Builds a program of `peer/`.
    pub fn compiled(&self, name: &str) -> PathBuf {
        let program = self.home.join(name);
        if !program.exists() {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/peer").join(format!("{name}.c"));
            let built = Command::new("cc").args(["-O2", "-static", "-o"]).arg(&program).arg(source).status().expect("cc");
            assert!(built.success(), "cc failed on {name}.c");
        }
        program
    }

    /// A new folder for one run.
    pub fn folder(&self) -> PathBuf {
        let round = self.round.get();
        self.round.set(round + 1);
        let folder = self.home.join(round.to_string());
        fs::create_dir(&folder).expect("mkdir");
        folder
    }

    /// Puts `count` services under a supervisor and starts it.
    pub fn start(&self, kind: Kind, count: usize) -> Running {
        let idle = self.compiled("idle");
        let folder = self.folder();
        let mut command = match kind {
            Kind::Ours => {
                let mut config = String::from("defaults: {backoff: {initial: 0s}}\nservices:\n");
                for n in 0..count {
                    let _ = writeln!(config, "  s{n}: {{command: [{}]}}", idle.display());
                }
                if count == 0 {
                    config.push_str("  {}\n");
                }
                self.section3(&folder, &config)
            }
            Kind::CLoop => {
                let mut command = Command::new(self.compiled("spawn"));
                command.args([&count.to_string(), "respawn"]).arg(&idle);
                command
            }
            Kind::S6 | Kind::Runit => {
                for n in 0..count {
                    let service = folder.join("scan").join(format!("s{n}"));
                    fs::create_dir_all(service.join("log")).expect("mkdir");
                    symlink(&idle, service.join("run")).expect("symlink");
                    let logger = if kind == Kind::S6 { "s6-log n5 s1048576 ./main" } else { "svlogd ./main" };
                    let run = service.join("log/run");
                    fs::write(&run, format!("#!/bin/sh\nmkdir -p ./main\nexec {logger}\n")).expect("written");
                    fs::set_permissions(&run, PermissionsExt::from_mode(0o755)).expect("chmod");
                }
                fs::create_dir_all(folder.join("scan")).expect("mkdir");
                let mut command = Command::new(if kind == Kind::S6 { "s6-svscan" } else { "runsvdir" });
                if kind == Kind::S6 {
                    command.args(["-c", "4000"]);
                }
                command.arg(folder.join("scan"));
                command
            }
            Kind::Supervisord => {
                let mut config = format!(
                    "[supervisord]\nnodaemon=true\nlogfile={0}/supervisord.log\npidfile={0}/pid\nchildlogdir={0}\nminfds=5000\n\
                     [unix_http_server]\nfile={0}/socket\n[supervisorctl]\nserverurl=unix://{0}/socket\n\
                     [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n",
                    folder.display()
                );
                for n in 0..count {
                    let _ = writeln!(config, "[program:s{n}]\ncommand={}\nredirect_stderr=true\nstartsecs=0", idle.display());
                }
                let file = folder.join("supervisord.conf");
                fs::write(&file, config).expect("written");
                let mut command = Command::new("supervisord");
                command.arg("-c").arg(file);
                command
            }
        };
        let fifo = Fifo::new(&folder.join("fifo"));
        command.env("BENCH_FIFO", folder.join("fifo"));
        Running::new(kind, command, fifo, folder)
    }

    /// Our supervisor with this config, everything of it in `folder`.
    pub fn section3(&self, folder: &Path, config: &str) -> Command {
        let file = folder.join("section3.yml");
        fs::write(&file, config).expect("written");
        let mut command = Command::new(&self.ours);
        command.arg("--config").arg(file).arg("--socket").arg(folder.join("socket")).arg("--log-dir").arg(folder.join("log"));
        command
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// A supervisor at work. One that is dropped, in a panic for example, is ended with all that is below it.
pub struct Running {
    pub kind: Kind,
    pub fifo: Fifo,
    pub folder: PathBuf,
    pub began: Instant,
    process: Child,
}

impl Running {
    pub fn new(kind: Kind, mut command: Command, fifo: Fifo, folder: PathBuf) -> Self {
        let errors = File::create(folder.join("stderr")).expect("a file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let began = Instant::now();
        let process = command.spawn().expect("the supervisor");
        Self { kind, fifo, folder, began, process }
    }

    pub fn pid(&self) -> i32 {
        self.process.id() as i32
    }

    /// Waits until `count` more services have told that they run; returns their pids.
    pub fn told(&mut self, count: usize) -> Vec<i32> {
        let mut bytes = vec![0; count * 4];
        let mut at = 0;
        while at < bytes.len() {
            assert!(is_readable(&self.fifo.read, LIMIT), "{}: {at} of {} bytes: {}", self.kind.name(), count * 4, self.errors());
            at += self.fifo.read.read(&mut bytes[at..]).expect("the FIFO");
        }
        bytes.chunks_exact(4).map(|pid| i32::from_ne_bytes(pid.try_into().expect("four bytes"))).collect()
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap_or_default()
    }

    /// Ends it as an operator would; the time until it and all of its services are gone.
    pub fn stop(mut self) -> Duration {
        self.fifo.write = None;
        let polite = if self.kind == Kind::Runit { Signal::SIGHUP } else { Signal::SIGTERM };
        let from = Instant::now();
        kill(Pid::from_raw(self.pid()), polite).expect("signalled");
        self.process.wait().expect("ended");
        let mut rest = [0; 64];
        loop {
            assert!(is_readable(&self.fifo.read, LIMIT), "{}: services are left", self.kind.name());
            if self.fifo.read.read(&mut rest).expect("the FIFO") == 0 {
                return from.elapsed();
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        for pid in below(self.pid()).into_iter().rev() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Over which services tell.
pub struct Fifo {
    pub read: File,
    /// Ours, so that it does not end before the first service.
    pub write: Option<File>,
}

impl Fifo {
    pub fn new(path: &Path) -> Self {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("mkfifo");
        let read = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path).expect("the FIFO");
        let write = File::options().write(true).open(path).expect("the FIFO");
        let blocking = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty());
        nix::fcntl::fcntl(&read, blocking).expect("fcntl");
        Self { read, write: Some(write) }
    }
}

/// Whether something can be read, or the other end is closed, within `limit`.
pub fn is_readable(source: impl AsFd, limit: Duration) -> bool {
    let mut set = [PollFd::new(source.as_fd(), PollFlags::POLLIN)];
    poll(&mut set, u16::try_from(limit.as_millis()).unwrap_or(u16::MAX)).expect("poll") > 0
}

/// Lets time pass, which is what some measures are of.
pub fn let_pass(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        let _ = poll(&mut [], u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX));
    }
}

/// The living and dead children of a process.
pub fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .collect()
}

/// A process's descendants, nearest first.
pub fn below(pid: i32) -> Vec<i32> {
    let mut all = children(pid);
    let mut at = 0;
    while let Some(pid) = all.get(at).copied() {
        all.extend(children(pid));
        at += 1;
    }
    all
}

/// Proportional memory of one process in KiB.
pub fn pss(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// What all threads of a process did since they began.
#[derive(Clone, Copy, Default, Debug)]
pub struct Activity {
    /// Context switches.
    pub switches: u64,
    /// On a CPU.
    pub cpu: Duration,
}

impl Activity {
    pub fn of(pid: i32) -> Self {
        let mut sum = Self::default();
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
            sum.switches += switches.filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>();
            let scheduled = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let nanos = scheduled.split_ascii_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0);
            sum.cpu += Duration::from_nanos(nanos);
        }
        sum
    }

    pub fn since(self, before: Self) -> Self {
        Self { switches: self.switches.saturating_sub(before.switches), cpu: self.cpu.saturating_sub(before.cpu) }
    }
}

/// The value below which `share` of them lie.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len() as f64 - 1.0) * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

pub fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A number from the command line: `cargo bench --bench NAME -- NUMBER`.
pub fn number(default: usize) -> usize {
    std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(default)
}
