//! Launching a process without waiting for it, not even for its `execve`.
//!
//! `clone(CLONE_VM)` without `CLONE_VFORK`: the child borrows our memory on a stack of its own until it execs, and we go
//! on at once. A working directory on a dead network mount, or a program on a cold disk, holds up that one launch and
//! nothing else; `vfork` and `posix_spawn` would hold up PID 1. The child makes raw system calls only (`child`), and
//! what it reads ([`Prepared`]) lives until a descriptor tells that it has exec'ed or ended.

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::pipe2;
use tokio::io::unix::AsyncFd;

use super::child;
use super::watch::watch;

/// What a process is made of. Everything that needs memory, a lock or a look-up is done before the clone.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Where the program may be, in the order in which they are tried.
    pub programs: Vec<CString>,
    /// Its arguments, the first being its name.
    pub argv: Vec<CString>,
    /// Its environment.
    pub environment: Vec<CString>,
    /// Its working directory.
    pub dir: Option<CString>,
    /// File mode creation mask.
    pub umask: u32,
    /// Nice value.
    pub nice: Option<i32>,
    /// `oom_score_adj`, as text.
    pub oom_score_adj: Option<CString>,
    /// Resource limits: number of the resource, and the limit.
    pub limits: Vec<(u32, child::Limit)>,
    /// User, group and supplementary groups.
    pub identity: Option<Identity>,
    /// Whether neither it nor what it starts can ever gain privileges, by set-user-ID programs for example.
    pub no_new_privileges: bool,
}

impl Default for Recipe {
    /// No program yet, run as what runs us: as its user, where it is, with its limits.
    fn default() -> Self {
        Self {
            programs: Vec::new(),
            argv: Vec::new(),
            environment: Vec::new(),
            dir: None,
            umask: 0o022,
            nice: None,
            oom_score_adj: None,
            limits: Vec::new(),
            identity: None,
            no_new_privileges: false,
        }
    }
}

/// Who a process runs as.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename = "[]")]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// A recipe in the form in which the child reads it: plain numbers, and pointers into memory that does not move while it
/// may run. The child has its own copy of the descriptor table, so the numbers stay good for it after we close ours.
pub(super) struct Prepared {
    pub(super) recipe: Recipe,
    pub(super) programs: Vec<*const libc::c_char>,
    pub(super) argv: Vec<*const libc::c_char>,
    pub(super) environment: Vec<*const libc::c_char>,
    pub(super) descriptors: Descriptors,
    pub(super) parent: i32,
    stack: Stack,
}

/// What a child runs on until its `execve(2)`.
struct Stack(Box<[std::mem::MaybeUninit<Word>]>);

thread_local! {
    /// Stacks of launches that are over: mapping and unmapping one costs a launch as much as the rest of its preparation.
    static STACKS: RefCell<Vec<Stack>> = const { RefCell::new(Vec::new()) };
}

/// Stacks that are kept for later: 128 KiB.
const STACKS_KEPT: usize = 4;

impl Stack {
    fn take() -> Self {
        let kept = STACKS.with_borrow_mut(Vec::pop);
        kept.unwrap_or_else(|| Self(vec![std::mem::MaybeUninit::uninit(); STACK_WORDS].into_boxed_slice()))
    }

    /// For the next launch. Nobody may be on it any more.
    fn give_back(self) {
        STACKS.with_borrow_mut(|stacks| {
            if stacks.len() < STACKS_KEPT {
                stacks.push(self);
            }
        });
    }
}

/// The descriptors of a launch; all are above 2.
#[derive(Clone, Copy)]
pub(super) struct Descriptors {
    pub(super) null: RawFd,
    pub(super) output: RawFd,
    pub(super) status: RawFd,
    /// From, to.
    pub(super) extra: Option<(RawFd, RawFd)>,
}

/// The unit of a child's stack: as aligned as any architecture wants it.
type Word = u128;

/// 32 KiB: the child nests a handful of small calls, but a debug build spends a few KiB on each.
const STACK_WORDS: usize = 2048;

/// A process that was made and may not have exec'ed yet.
pub struct Launch {
    /// Its process id.
    pub pid: i32,
    /// Becomes readable when the outcome is known.
    status: AsyncFd<OwnedFd>,
    /// Freed when the outcome is known: until then the child may read it.
    memory: Cell<Option<Box<Prepared>>>,
    /// What the child reported before it ended.
    failure: Cell<Option<(Stage, Errno)>>,
}

/// How a launch came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Its program runs, or the process was ended from outside before it could.
    Executed,
    /// A step failed; the process has ended.
    Failed(Stage, Errno),
}

/// The steps of a launch, in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
#[allow(missing_docs, reason = "each is the thing that could not be set")]
pub enum Stage {
    Pipe,
    Clone,
    Session,
    Limits,
    Nice,
    OomScore,
    User,
    Dir,
    Output,
    Exec,
}

impl Stage {
    const ALL: [Self; 10] = [
        Self::Pipe,
        Self::Clone,
        Self::Session,
        Self::Limits,
        Self::Nice,
        Self::OomScore,
        Self::User,
        Self::Dir,
        Self::Output,
        Self::Exec,
    ];

    /// The word of the config for what failed.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::Clone => "fork",
            Self::Session => "session",
            Self::Limits => "limits",
            Self::Nice => "nice",
            Self::OomScore => "oom_score_adj",
            Self::User => "user",
            Self::Dir => "dir",
            Self::Output => "output",
            Self::Exec => "exec",
        }
    }
}

/// Makes a process from a recipe. Its stdin is `null`, an open `/dev/null`; its stdout and stderr are `output`; `extra` is
/// a descriptor that it gets under a number of 3 or above. All are above 2 here.
///
/// # Errors
///
/// The stage and the error where no process could be made at all; later stages report through [`Launch::outcome`].
pub fn spawn(
    recipe: Recipe,
    null: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
    extra: Option<(BorrowedFd<'_>, RawFd)>,
) -> Result<Launch, (Stage, Errno)> {
    let (status, child_status) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(|errno| (Stage::Pipe, errno))?;
    let changes_user = recipe.identity.is_some();
    // The child puts `extra` in its place while it still needs the other two: neither may have its number.
    let target = extra.map_or(-1, |(_, to)| to);
    let child_status = away_from(target, child_status)?;
    let moved = match extra {
        Some((from, to)) if from.as_raw_fd() == to => {
            Some(from.try_clone_to_owned().map_err(|error| (Stage::Pipe, errno_of(&error)))?)
        }
        _ => None,
    };
    let extra = extra.map(|(from, to)| (moved.as_ref().map_or(from.as_raw_fd(), AsRawFd::as_raw_fd), to));
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let mut memory = Box::new(Prepared {
        programs: pointers(&recipe.programs),
        argv: pointers(&recipe.argv),
        environment: pointers(&recipe.environment),
        recipe,
        descriptors: Descriptors { null: null.as_raw_fd(), output: output.as_raw_fd(), status: child_status.as_raw_fd(), extra },
        parent: std::process::id() as i32,
        stack: Stack::take(),
    });
    // Watched before there is a process: afterwards nothing may fail.
    let status = watch(status).map_err(|error| (Stage::Pipe, errno_of(&error)))?;
    let pid = clone_child(&mut memory, changes_user).map_err(|errno| (Stage::Clone, errno))?;
    Ok(Launch { pid, status, memory: Cell::new(Some(memory)), failure: Cell::new(None) })
}

/// The same file under another number than this one.
fn away_from(number: RawFd, descriptor: OwnedFd) -> Result<OwnedFd, (Stage, Errno)> {
    if descriptor.as_raw_fd() != number {
        return Ok(descriptor);
    }
    // The first free one: not `number`, which is in use until `descriptor` goes.
    descriptor.try_clone().map_err(|error| (Stage::Pipe, errno_of(&error)))
}

fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn clone_child(memory: &mut Prepared, changes_user: bool) -> Result<i32, Errno> {
    // No handler may run in the child while it is on our memory; it empties its mask itself, last thing.
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    // A process of another user must not share memory with us for even an instant, so it gets a copy.
    let mut result = if changes_user { clone_with(memory, 0) } else { clone_with(memory, libc::CLONE_VM) };
    if !changes_user && matches!(result, Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM)) {
        // User-mode emulators and strict sandboxes know fork only.
        result = clone_with(memory, 0);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    result
}

fn clone_with(memory: &mut Prepared, flags: libc::c_int) -> Result<i32, Errno> {
    let top = memory.stack.0.as_mut_ptr_range().end;
    let argument: *mut Prepared = memory;
    // SAFETY: the stack is ours, aligned, and lives as long as `memory`, which `Launch` keeps until the child has exec'ed
    // or ended. The child runs `child::run`, which reads `memory`, writes to its own stack only, and never returns.
    let pid = unsafe { libc::clone(child::run, top.cast(), flags | libc::SIGCHLD, argument.cast()) };
    Errno::result(pid)
}

impl Launch {
    /// A launch that an earlier image of this program began: its process is no longer on our memory, for that is gone.
    ///
    /// # Errors
    ///
    /// What `epoll_ctl(2)` says.
    pub fn inherited(pid: i32, status: OwnedFd) -> std::io::Result<Self> {
        Ok(Self { pid, status: watch(status)?, memory: Cell::new(None), failure: Cell::new(None) })
    }

    /// The number of the descriptor that tells the outcome.
    #[must_use]
    pub fn number(&self) -> RawFd {
        self.status.as_raw_fd()
    }

    /// Waits until there is something to know of the outcome. What is still to come after it comes with the end of the
    /// process.
    pub async fn settled(&self) {
        // An error means that the runtime ends; then nobody asks for the outcome.
        let _ = self.status.readable().await;
    }

    /// How it came out; `None` while it is under way. Once known, what the child was made from is freed.
    ///
    /// A step that failed is told when the child has closed its end too: until then it is on its way out on our memory. It
    /// closes nothing before it is off it (`exec_mmap` and `exit_mm` come first in the kernel).
    pub fn outcome(&self) -> Option<Outcome> {
        let mut report = [0_u8; 8];
        loop {
            match nix::unistd::read(self.status.get_ref(), &mut report) {
                Ok(8) => {
                    let [a, b, c, d, e, f, g, h] = report;
                    let (stage, errno) = (i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h]));
                    let stage = Stage::ALL.into_iter().find(|known| *known as i32 == stage).unwrap_or(Stage::Exec);
                    self.failure.set(Some((stage, Errno::from_raw(errno))));
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return None,
                // End of file: execve(2) or the end of the process closed it.
                Ok(_) | Err(_) => break,
            }
        }
        if let Some(memory) = self.memory.take() {
            memory.stack.give_back();
        }
        Some(self.failure.get().map_or(Outcome::Executed, |(stage, errno)| Outcome::Failed(stage, errno)))
    }
}

impl std::fmt::Debug for Launch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launch").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        // Dropped while the child may still read it: better a leak than a child on freed memory.
        std::mem::forget(self.memory.take());
    }
}

/// Where a program may be: itself if it has a slash, else each folder of `path`.
#[must_use]
pub fn candidates(program: &str, path: Option<&str>) -> Vec<PathBuf> {
    if program.contains('/') {
        return vec![PathBuf::from(program)];
    }
    // What execvp(3) uses where there is no PATH.
    let path = path.unwrap_or("/usr/local/bin:/usr/bin:/bin");
    // An empty part means the working directory, as execvp(3) has it.
    path.split(':').map(|folder| PathBuf::from(if folder.is_empty() { "." } else { folder }).join(program)).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::wait;
    use crate::value::ExitStatus;

    fn recipe(words: &[&str], dir: Option<&str>) -> Recipe {
        let c = |text: &str| CString::new(text).expect("no NUL");
        Recipe {
            programs: vec![c(words[0])],
            argv: words.iter().map(|word| c(word)).collect(),
            environment: vec![c("A=1")],
            dir: dir.map(c),
            umask: 0o027,
            limits: vec![(libc::RLIMIT_NOFILE, child::Limit { soft: 50, hard: 60 })],
            ..Recipe::default()
        }
    }

    async fn outcome_of(launch: &Launch) -> Outcome {
        loop {
            launch.settled().await;
            match launch.outcome() {
                Some(outcome) => return outcome,
                None => tokio::task::yield_now().await,
            }
        }
    }

    async fn launch(recipe: Recipe) -> (Outcome, i32, String) {
        let null = super::super::init::open_null().expect("null").0;
        let (read, write) = pipe2(OFlag::O_CLOEXEC).expect("pipe");
        let launch = spawn(recipe, null.as_fd(), write.as_fd(), None).expect("spawned");
        drop(write);
        let outcome = outcome_of(&launch).await;
        let mut output = String::new();
        std::fs::File::from(read).read_to_string(&mut output).expect("text");
        (outcome, launch.pid, output)
    }

    #[tokio::test]
    async fn a_program_gets_what_its_recipe_says_and_nothing_else() {
        super::super::init::close_inherited_on_exec();
        let script = "umask; ulimit -n; ls /proc/self/fd | wc -l; env | sort | tr '\\n' ' '; \
                      grep SigBlk /proc/self/status; grep SigIgn /proc/self/status; pwd";
        let (outcome, pid, output) = launch(recipe(&["/bin/sh", "-c", script], Some("/proc"))).await;
        assert_eq!(outcome, Outcome::Executed);
        let lines: Vec<&str> = output.lines().map(str::trim).collect();
        // ls has its own descriptor of the folder beside 0, 1 and 2.
        assert_eq!(lines[..3], ["0027", "50", "4"], "{output}");
        assert!(output.contains("A=1"), "{output}");
        assert!(output.contains("SigBlk:\t0000000000000000") && output.contains("SigIgn:\t0000000000000000"), "{output}");
        assert!(output.ends_with("/proc\n"), "{output}");
        let ended = wait::Zombie { pid, status: ExitStatus::Code(0) };
        let _ = wait::reap(ended);
    }

    #[tokio::test]
    async fn a_launch_that_fails_names_its_stage() {
        for (words, dir, stage, errno) in [
            (["/no/such/program"].as_slice(), None, Stage::Exec, Errno::ENOENT),
            (&["/bin/sh"], Some("/no/such/dir"), Stage::Dir, Errno::ENOENT),
            (&["/etc/passwd"], None, Stage::Exec, Errno::EACCES),
            (&["/dev/null/x"], None, Stage::Exec, Errno::ENOENT),
        ] {
            let (outcome, _, _) = launch(recipe(words, dir)).await;
            assert_eq!(outcome, Outcome::Failed(stage, errno), "{words:?}");
        }
    }

    #[tokio::test]
    async fn an_extra_descriptor_takes_the_number_of_no_other_that_is_needed() {
        let null = super::super::init::open_null().expect("null").0;
        // Among these are the numbers that the launch's own descriptors happen to have, and the extra one's.
        for number in 3..60 {
            let (_read, write) = pipe2(OFlag::O_CLOEXEC).expect("pipe");
            let recipe = Recipe { limits: Vec::new(), ..recipe(&["/no/such/program"], None) };
            let launch = spawn(recipe, null.as_fd(), null.as_fd(), Some((write.as_fd(), number))).expect("spawned");
            assert_eq!(outcome_of(&launch).await, Outcome::Failed(Stage::Exec, Errno::ENOENT), "{number}");
            let _ = wait::reap(wait::Zombie { pid: launch.pid, status: ExitStatus::Code(127) });
        }
    }

    #[test]
    fn programs_are_looked_for_in_path() {
        let found = |program, path| candidates(program, path).iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
        assert_eq!(found("/bin/x", Some("/a")), ["/bin/x"]);
        assert_eq!(found("./x", Some("/a")), ["./x"]);
        assert_eq!(found("x", Some("/a:/b::")), ["/a/x", "/b/x", "./x", "./x"]);
        assert_eq!(found("x", None), ["/usr/local/bin/x", "/usr/bin/x", "/bin/x"]);
    }
}
