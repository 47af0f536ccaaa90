//! The test's side of the scripted child (`tests/it/child.rs`): what it does is told here, what happens to it is heard here.
//!
//! A line is "it happened", the end of the stream is "it died". Nobody sleeps, nobody polls.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::socket::{getsockopt, sockopt};

use super::deadline::Deadline;
use super::lines::Lines;

/// Where the children of one test come in.
pub struct Stage {
    socket: PathBuf,
    arrivals: Receiver<Actor>,
    /// Actors that came in while another one was awaited.
    early: Vec<Actor>,
    /// A copy of each stream: a child ends when its stream does, so it must not hang on how long a test keeps an [`Actor`].
    streams: Arc<Mutex<Vec<UnixStream>>>,
}

/// One process of a service.
pub struct Actor {
    /// The name it was launched under.
    pub name: String,
    /// Its process id as seen from here.
    pub pid: i32,
    stream: UnixStream,
    lines: Lines,
}

impl Stage {
    /// Listens at `socket`.
    pub fn new(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket for the scripted children");
        let streams = Arc::new(Mutex::new(Vec::new()));
        let (to, arrivals) = channel();
        let kept = Arc::clone(&streams);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let pid = getsockopt(&stream, sockopt::PeerCredentials).expect("peer credentials").pid();
                let mut lines = Lines::of(stream.try_clone().expect("a copy"), &format!("child {pid}"));
                kept.lock().expect("no panic while held").push(stream.try_clone().expect("a copy"));
                // One that died before its first word is nobody.
                let Some(first) = lines.next() else { continue };
                let name = first.strip_prefix("started ").expect("its first line").to_owned();
                if to.send(Actor { name, pid, stream, lines }).is_err() {
                    return;
                }
            }
        });
        Self { socket: socket.to_owned(), arrivals, early: Vec::new(), streams }
    }

    /// The command of a scripted child with this name, as a YAML list.
    pub fn command(&self, name: &str) -> String {
        format!("[{}, {}, {name}]", child_program().display(), self.socket.display())
    }

    /// The next child with this name that starts.
    #[track_caller]
    pub fn actor(&mut self, name: &str) -> Actor {
        if let Some(at) = self.early.iter().position(|actor| actor.name == name) {
            return self.early.remove(at);
        }
        let deadline = Deadline::new();
        loop {
            let others: Vec<&str> = self.early.iter().map(|a| a.name.as_str()).collect();
            let Ok(actor) = self.arrivals.recv_timeout(deadline.left()) else {
                panic!("waited in vain for child `{name}` to start; unclaimed: {others:?}")
            };
            if actor.name == name {
                return actor;
            }
            self.early.push(actor);
        }
    }

    /// Names of the children that came in by now and that nobody asked for.
    pub fn unclaimed(&mut self) -> Vec<String> {
        self.early.extend(self.arrivals.try_iter());
        self.early.iter().map(|a| a.name.clone()).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for stream in self.streams.lock().expect("no panic while held").iter() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Actor {
    /// Gives an order (see `child.rs`) and waits until it is done.
    #[track_caller]
    pub fn does(&mut self, order: &str) {
        self.tell(order);
        self.hears(&format!("done {order}"));
    }

    /// Gives an order that ends it or blocks it; does not wait.
    #[track_caller]
    pub fn tell(&mut self, order: &str) {
        writeln!(self.stream, "{order}").unwrap_or_else(|e| panic!("child `{}` takes no orders: {e}", self.name));
    }

    /// Waits for this line, such as `got TERM`.
    #[track_caller]
    pub fn hears(&mut self, line: &str) {
        self.lines.until(&format!("`{line}` from child `{}`", self.name), |l| l == line);
    }

    /// Waits until it is dead; returns what it said until then.
    #[track_caller]
    pub fn dies(&mut self) -> String {
        self.lines.rest()
    }
}

/// The scripted child, which cargo builds with the tests.
pub fn child_program() -> PathBuf {
    let debug = Path::new(env!("CARGO_BIN_EXE_section3")).parent().expect("a folder");
    let program = debug.join("examples/child");
    assert!(program.exists(), "{} is missing; run `cargo build --example child`", program.display());
    program
}
