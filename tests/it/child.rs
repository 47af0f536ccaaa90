//! The scripted child: `child SOCKET NAME` connects to a test and does what it is told, one order a line.
//!
//! It says `started NAME`, `got SIGNAL` and `done ORDER`; its death is the end of the stream. Orders:
//!
//! - `exit N`: ends with this code; `raise SIG`: ends by this signal
//! - `print N`: prints N numbered lines; `write TEXT`: prints a text with no newline, `line TEXT` one with a newline; `close`: closes stdout and stderr
//! - `ignore SIG`: from now on only reports it (`TERM`, `INT` and `QUIT` end it otherwise, all others never do)
//! - `spawn NAME`: starts another one in the same group; `daemonize NAME`: starts one that is forked twice and has a session of its own
//! - `notify TEXT`: sends it to its `NOTIFY_SOCKET`, `notify-at SOCKET TEXT` to another one; `|` stands for a line end
//! - `grow N`: takes N bytes of memory and keeps them; `open N`: opens N descriptors more, `shut` closes them; `burn`: uses a whole CPU
//!   from now on
//! - `newline N`: writes a newline on descriptor N
//!
//! It ends when the test does.

use std::env;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::process::{self, Command, ExitCode};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::SignalFd;
use nix::unistd::setsid;

/// What one process remembers.
struct Child {
    socket: String,
    test: UnixStream,
    ignored: Vec<Signal>,
    printed: u64,
    name: String,
    /// Its own children; nobody waits for them.
    others: Vec<process::Child>,
    memory: Vec<Vec<u8>>,
    files: Vec<File>,
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().collect();
    let (socket, name) = (words[1].clone(), words[2].clone());
    match words.get(3).map(String::as_str) {
        // The middle one of a double fork: it starts the last one and is gone.
        Some("--between") => {
            #[allow(clippy::zombie_processes, reason = "being left to the reaper is its part")]
            Command::new(&words[0]).args([&socket, &name, "--session"]).spawn().expect("the last of a double fork");
            return ExitCode::SUCCESS;
        }
        Some("--session") => drop(setsid().expect("a session of its own")),
        _ => {}
    }
    let mut all = SigSet::all();
    all.remove(Signal::SIGCHLD);
    all.thread_block().expect("signals blocked");
    let signals = SignalFd::new(&all).expect("a signal descriptor");
    let test = UnixStream::connect(&socket).expect("the test's socket");
    let mut child =
        Child { socket, test, ignored: Vec::new(), printed: 0, name, others: Vec::new(), memory: Vec::new(), files: Vec::new() };
    child.say(&format!("started {}", child.name));

    let mut orders = Vec::new();
    loop {
        let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(child.test.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).expect("poll");
        let ready = fds.map(|fd| fd.any().unwrap_or(true));
        if ready[0]
            && let Ok(Some(info)) = signals.read_signal()
            && let Some(code) = child.hears(info.ssi_signo)
        {
            return code;
        }
        if ready[1] {
            let mut bytes = [0; 4096];
            let Ok(n @ 1..) = child.test.read(&mut bytes) else { return ExitCode::SUCCESS };
            orders.extend_from_slice(&bytes[..n]);
            while let Some(end) = orders.iter().position(|b| *b == b'\n') {
                let order: Vec<u8> = orders.drain(..=end).collect();
                if let Some(code) = child.obeys(String::from_utf8_lossy(&order).trim_end()) {
                    return code;
                }
            }
        }
    }
}

impl Child {
    fn say(&mut self, line: &str) {
        writeln!(self.test, "{line}").expect("the test listens");
    }

    fn hears(&mut self, number: u32) -> Option<ExitCode> {
        let signal = Signal::try_from(number.cast_signed()).ok()?;
        self.say(&format!("got {}", signal.as_str().trim_start_matches("SIG")));
        let ends = matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT) && !self.ignored.contains(&signal);
        ends.then_some(ExitCode::SUCCESS)
    }

    fn obeys(&mut self, order: &str) -> Option<ExitCode> {
        let (verb, what) = order.split_once(' ').unwrap_or((order, ""));
        match verb {
            "exit" => return Some(ExitCode::from(what.parse::<u8>().expect("a code"))),
            "raise" => {
                let signal = signal_named(what);
                SigSet::from(signal).thread_unblock().expect("unblocked");
                raise(signal).expect("raised");
            }
            "ignore" => self.ignored.push(signal_named(what)),
            "print" => self.print(what.parse().expect("a number")),
            "line" => {
                println!("{what}");
                let _ = std::io::stdout().flush();
            }
            "write" => {
                print!("{what}");
                std::io::stdout().flush().expect("stdout");
            }
            "close" => {
                nix::unistd::close(1).expect("stdout");
                nix::unistd::close(2).expect("stderr");
            }
            "notify" => notify(&env::var("NOTIFY_SOCKET").expect("NOTIFY_SOCKET"), what),
            "notify-at" => what.split_once(' ').map(|(name, text)| notify(name, text)).expect("a socket and a text"),
            "newline" => std::fs::write(format!("/proc/self/fd/{what}"), "\n").expect("an open descriptor"),
            // Not zeroes: those would take no memory before they are written to.
            "grow" => self.memory.push(vec![1; what.parse().expect("a number")]),
            "open" => {
                let count: usize = what.parse().expect("a number");
                self.files.extend((0..count).map(|_| File::open("/dev/null").expect("one descriptor more")));
            }
            "shut" => self.files.clear(),
            "burn" => drop(std::thread::spawn(|| {
                loop {
                    std::hint::spin_loop();
                }
            })),
            "spawn" => self.others.push(self.command(what).spawn().expect("another child")),
            "daemonize" => drop(self.command(what).arg("--between").status().expect("another child")),
            other => panic!("unknown order `{other}`"),
        }
        self.say(&format!("done {order}"));
        None
    }

    fn print(&mut self, lines: u64) {
        let mut text = String::new();
        for _ in 0..lines {
            self.printed += 1;
            text += &format!("{} line {}\n", self.name, self.printed);
        }
        // All of it in few writes; what cannot be written is said, not hidden.
        if let Err(error) = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()) {
            self.say(&format!("cannot print: {error}"));
        }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env::current_exe().expect("own path"));
        command.args([&self.socket, name]);
        command
    }
}

fn notify(name: &str, text: &str) {
    let name = name.strip_prefix('@').expect("an abstract socket");
    let address = SocketAddr::from_abstract_name(name).expect("an address");
    let socket = UnixDatagram::unbound().expect("a socket");
    // Nobody may be there any more.
    let _ = socket.send_to_addr(text.replace('|', "\n").as_bytes(), &address);
}

fn signal_named(name: &str) -> Signal {
    format!("SIG{name}").parse().expect("a signal")
}
