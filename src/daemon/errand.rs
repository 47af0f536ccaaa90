//! Errands: the short processes of `exec` probes. They run as their service does, belong to no run's output, and are gone
//! when their answer is in or is no longer wanted.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::census::Census;
use crate::probe::Answer;
use crate::spec::Definition;
use crate::supervision::ServiceId;
use crate::sys::process;
use crate::sys::spawn::{self, Launch, Outcome, Recipe, Stage};
use crate::sys::wait::Zombie;
use crate::sys::watch::watch;
use crate::value::sorted::Map;
use crate::value::{ExitStatus, Signal};

/// Of its output, the last so many bytes are kept.
const KEPT_OUTPUT: usize = 1024;
/// Bytes of output read without a pause: a chatty one is held up, never the loop.
const OUTPUT_A_TURN: usize = 64 << 10;
/// The pause after them.
const OUTPUT_PAUSE: Duration = Duration::from_millis(10);

/// All that are under way.
#[derive(Debug, Default)]
pub struct Errands(RefCell<Map<i32, Errand>>);

#[derive(Debug)]
struct Errand {
    owner: Option<ServiceId>,
    /// Kept until it is reaped: until then it may read what it was made from.
    launch: Option<Launch>,
    ended: oneshot::Sender<(ExitStatus, Outcome)>,
}

impl Errands {
    /// Whether this process is one.
    pub fn has(&self, pid: i32) -> bool {
        self.0.borrow().contains_key(&pid)
    }

    /// The services that have one under way.
    pub fn owners(&self) -> Vec<ServiceId> {
        self.0.borrow().values().filter_map(|errand| errand.owner).collect()
    }

    /// Those that are under way, to be written down.
    pub fn rest(&self) -> Vec<(i32, Option<ServiceId>)> {
        self.0.borrow().iter().map(|(pid, errand)| (*pid, errand.owner)).collect()
    }

    /// Ends one that an earlier image of the program began: nobody waits for its answer any more.
    pub fn end_inherited(errands: &Rc<Self>, pid: i32, owner: Option<ServiceId>) {
        let (ended, _) = oneshot::channel();
        errands.0.borrow_mut().insert(pid, Errand { owner, launch: None, ended });
        drop(Guard { errands: Rc::clone(errands), pid });
    }

    /// If this ended process was one: kills what is left in its group, while the zombie still pins the number, and tells
    /// who waits for it.
    pub fn ended(&self, zombie: Zombie) -> bool {
        let Some(errand) = self.0.borrow_mut().remove(&zombie.pid) else { return false };
        let outcome = errand.launch.and_then(|launch| launch.outcome()).unwrap_or(Outcome::Executed);
        // An error means that nothing is left.
        let _ = process::signal_group(zombie.pid, Signal::KILL);
        // Nobody may be waiting any more.
        let _ = errand.ended.send((zombie.status, outcome));
        true
    }
}

/// Kills an errand that nobody waits for any more.
struct Guard {
    errands: Rc<Errands>,
    pid: i32,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.errands.has(self.pid) {
            return; // Reaped: the number may be somebody else's.
        }
        // Those that left its group first, while they can still be found below it.
        let census = Census::default();
        for process in census.below(&[self.pid]).into_iter().filter(|process| process.group != self.pid && !process.is_zombie) {
            let _ = process::signal_exactly(process, Signal::KILL);
        }
        // Without a group of its own yet, it is signalled alone.
        let _ = process::signal_group(self.pid, Signal::KILL);
        let _ = process::signal_leader(self.pid, Signal::KILL);
    }
}

/// What an errand is made of; one a service.
#[derive(Clone, Debug)]
pub struct Order {
    /// Whose it is.
    pub owner: ServiceId,
    /// How its process is made.
    pub recipe: Recipe,
    /// For the words of a launch that fails.
    pub definition: Rc<Definition>,
    /// An open `/dev/null`.
    pub null: Rc<OwnedFd>,
}

/// Runs one and waits for its end: exit 0 is a good answer. It is killed where this future is dropped before.
///
/// # Errors
///
/// How it ended, and the end of its output.
pub async fn run(errands: &Rc<Errands>, order: &Order) -> Answer {
    let explain = |(stage, errno)| {
        let facts = super::recipe::explain(&order.definition, stage, errno);
        format!("cannot launch: {}: {}", facts.stage, facts.message)
    };
    let (status, said) = converse(errands, Some(order.owner), &order.recipe, &order.null, None).await.map_err(explain)?;
    if status.is_success() { Ok(()) } else { Err(after(&status.to_string(), &said)) }
}

/// Runs a process that belongs to no run, and waits for its end; returns how it ended and the last of its output. `extra` is a
/// descriptor that it gets. It is killed where this future is dropped before.
///
/// # Errors
///
/// The stage at which its launch failed.
pub async fn converse(
    errands: &Rc<Errands>,
    owner: Option<ServiceId>,
    recipe: &Recipe,
    null: &OwnedFd,
    extra: Option<(BorrowedFd<'_>, RawFd)>,
) -> Result<(ExitStatus, Vec<u8>), (Stage, Errno)> {
    let (launch, output) = begin(recipe, null, extra)?;
    let pid = launch.pid;
    let (end, mut ended) = oneshot::channel();
    errands.0.borrow_mut().insert(pid, Errand { owner, launch: Some(launch), ended: end });
    let guard = Guard { errands: Rc::clone(errands), pid };
    let mut tail = Tail::default();
    let ended = tokio::select! {
        ended = &mut ended => ended,
        never = tail.follow(&output) => match never {},
    };
    drop(guard);
    // Its last words may still be in the pipe.
    let _ = tail.take(&output);
    match ended {
        Ok((_, Outcome::Failed(stage, errno))) => Err((stage, errno)),
        Ok((status, Outcome::Executed)) => Ok((status, tail.0)),
        // The supervisor ends, and nobody will read this.
        Err(_) => Err((Stage::Exec, Errno::ECANCELED)),
    }
}

fn begin(
    recipe: &Recipe,
    null: &OwnedFd,
    extra: Option<(BorrowedFd<'_>, RawFd)>,
) -> Result<(Launch, AsyncFd<OwnedFd>), (Stage, Errno)> {
    let pipe_failed = |errno| (Stage::Pipe, errno);
    let (output, input) = pipe2(OFlag::O_CLOEXEC).map_err(pipe_failed)?;
    fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(pipe_failed)?;
    let output = watch(output).map_err(|error| (Stage::Pipe, error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)))?;
    let launch = spawn::spawn(recipe.clone(), null.as_fd(), input.as_fd(), extra)?;
    Ok((launch, output))
}

/// The end of some output.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// Reads for ever; the end of the output is not the end of the process.
    async fn follow(&mut self, output: &AsyncFd<OwnedFd>) -> std::convert::Infallible {
        loop {
            let Ok(mut ready) = output.readable().await else { break };
            match self.take(output) {
                Taken::Much => tokio::time::sleep(OUTPUT_PAUSE).await,
                Taken::All => ready.clear_ready(),
                Taken::End => break,
            }
        }
        std::future::pending().await
    }

    /// Reads what is there, as far as one turn goes.
    fn take(&mut self, output: &AsyncFd<OwnedFd>) -> Taken {
        let mut part = [0; 4096];
        for _ in 0..OUTPUT_A_TURN / part.len() {
            match nix::unistd::read(output.get_ref(), &mut part) {
                Ok(0) => return Taken::End,
                Ok(got) => self.keep(part.get(..got).unwrap_or_default()),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Taken::All,
                Err(_) => return Taken::End,
            }
        }
        Taken::Much
    }

    fn keep(&mut self, part: &[u8]) {
        self.0.extend_from_slice(part);
        let surplus = self.0.len().saturating_sub(KEPT_OUTPUT);
        self.0.drain(..surplus);
    }
}

/// `how` it ended, and what it said.
pub fn after(how: &str, said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let text = text.trim();
    if text.is_empty() { how.to_owned() } else { format!("{how}: {text}") }
}

enum Taken {
    /// All that was there.
    All,
    /// As much as one turn takes.
    Much,
    /// No more will come.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_output_is_kept() {
        let mut tail = Tail::default();
        assert_eq!(after("exit 1", &tail.0), "exit 1");
        tail.keep(b" no\n");
        assert_eq!(after("exit 1", &tail.0), "exit 1: no");
        tail.keep(&[b'x'; 5000]);
        tail.keep(b"end\n");
        assert_eq!(tail.0.len(), KEPT_OUTPUT);
        assert!(after("exit 1", &tail.0).ends_with("xend"));
    }

    /// A shell with this script, in which 9 is an end of a pipe that all it starts inherit. `play` is to end it; then whoever
    /// could still write there must be gone.
    fn with_a_shell(script: &str, play: impl AsyncFnOnce(&Rc<Errands>, &Recipe, &OwnedFd, oneshot::Receiver<()>)) {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let text = |text: &str| std::ffi::CString::new(text).expect("no NUL");
        let recipe = Recipe {
            programs: vec![text("/bin/sh")],
            argv: ["sh", "-c", &format!("exec 9>'{}'\n{script}", pipe.display())].map(text).to_vec(),
            environment: vec![text("PATH=/usr/local/bin:/usr/bin:/bin")],
            dir: None,
            umask: 0o022,
            nice: None,
            oom_score_adj: None,
            limits: Vec::new(),
            identity: None,
            no_new_privileges: false,
        };
        let (begun, has_begun) = oneshot::channel();
        let reader = std::thread::spawn(move || {
            let mut reader = std::io::BufReader::new(std::fs::File::open(pipe).expect("open"));
            let _ = std::io::BufRead::read_line(&mut reader, &mut String::new());
            let _ = begun.send(());
            // Its end comes when the last process that could write there is gone.
            std::io::read_to_string(reader)
        });
        let null = crate::sys::init::open_null().expect("/dev/null").0;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let errands = Rc::new(Errands::default());
        runtime.block_on(play(&errands, &recipe, &null, has_begun));
        let (to, from) = std::sync::mpsc::channel();
        std::thread::spawn(move || to.send(reader.join().is_ok()));
        assert!(from.recv_timeout(Duration::from_secs(60)).is_ok(), "somebody is left");
    }

    /// The group of the shell, and one that has left it.
    const FAMILY: &str = "sleep 1000 &\nsetsid sh -c 'echo up >&9; exec sleep 1000' &\n";

    #[test]
    fn who_is_not_wanted_any_more_goes_with_all_it_started() {
        with_a_shell(&format!("{FAMILY}wait"), async |errands, recipe, null, mut has_begun| {
            tokio::select! {
                _ = converse(errands, None, recipe, null, None) => panic!("it ended"),
                begun = &mut has_begun => begun.expect("it began"),
            }
            let pid = errands.rest()[0].0;
            nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).expect("its end");
        });
    }

    #[test]
    fn who_ends_takes_its_group_along() {
        with_a_shell("sleep 1000 &\necho up >&9", async |errands, recipe, null, has_begun| {
            let ended = async {
                has_begun.await.expect("it began");
                let pid = errands.rest()[0].0;
                let zombie = tokio::task::spawn_blocking(move || crate::sys::wait::until_ended(pid)).await.expect("a look");
                let zombie = zombie.expect("its end");
                assert!(errands.ended(zombie) && !errands.ended(zombie), "it is one, once");
                let _ = crate::sys::wait::reap(zombie);
            };
            let (answer, ()) = tokio::join!(converse(errands, None, recipe, null, None), ended);
            assert!(answer.is_ok_and(|(status, _)| status.is_success()));
        });
    }
}
