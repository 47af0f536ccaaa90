//! Between `clone` and `execve`, on borrowed memory.
//!
//! Everything here runs in the child while the parent runs too: no allocation, no lock, no panic, no C library, no
//! write to anything but the own stack.

use std::os::fd::RawFd;

use super::raw::{Errno, syscall};
use super::spawn::{Identity, Prepared, Stage};

/// A resource limit as `prlimit64(2)` reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename = "[]")]
pub struct Limit {
    /// What is enforced.
    pub soft: u64,
    /// What it may be raised to.
    pub hard: u64,
}

type Step = Result<(), (Stage, Errno)>;

/// The child's whole life before its program. Never returns.
pub(super) extern "C" fn run(argument: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `clone_with` passes a `Prepared` that outlives this process's time on its memory.
    let prepared = unsafe { &*argument.cast::<Prepared>() };
    if let Err((stage, errno)) = become_it(prepared) {
        let report: [i32; 2] = [stage as i32, errno];
        // SAFETY: the report lives until the write returns.
        let _ = unsafe { call(libc::SYS_write, [prepared.descriptors.status as usize, report.as_ptr() as usize, 8, 0, 0]) };
    }
    loop {
        // SAFETY: touches no memory and does not return.
        let _ = unsafe { call(libc::SYS_exit_group, [127, 0, 0, 0, 0]) };
    }
}

fn become_it(prepared: &Prepared) -> Step {
    let recipe = &prepared.recipe;
    reset_dispositions();
    step(Stage::Session, libc::SYS_setsid, [0; 5])?;
    for (resource, limit) in &recipe.limits {
        let limit: *const Limit = limit;
        step(Stage::Limits, libc::SYS_prlimit64, [0, *resource as usize, limit as usize, 0, 0])?;
    }
    if let Some(nice) = recipe.nice {
        step(Stage::Nice, libc::SYS_setpriority, [libc::PRIO_PROCESS as usize, 0, nice as usize, 0, 0])?;
    }
    if let Some(score) = &recipe.oom_score_adj {
        set_oom_score(score.to_bytes()).map_err(|errno| (Stage::OomScore, errno))?;
    }
    // umask(2) cannot fail.
    let _ = step(Stage::Dir, libc::SYS_umask, [recipe.umask as usize, 0, 0, 0, 0]);
    if let Some(who) = &recipe.identity {
        match step(Stage::User, libc::SYS_setgroups, [who.groups.len(), who.groups.as_ptr() as usize, 0, 0, 0]) {
            // Whoever is that user already needs no privilege for it, and keeps the groups that he has.
            Err((_, libc::EPERM)) if is_already(who) => {}
            done => done?,
        }
        let (gid, uid) = (who.gid as usize, who.uid as usize);
        step(Stage::User, libc::SYS_setresgid, [gid, gid, gid, 0, 0])?;
        step(Stage::User, libc::SYS_setresuid, [uid, uid, uid, 0, 0])?;
    }
    // After the change of user, which would clear it. A parent that died before this line would never be missed.
    let kill = libc::SIGKILL as usize;
    step(Stage::Session, libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as usize, kill, 0, 0, 0])?;
    // SAFETY: touches no memory.
    if unsafe { call(libc::SYS_getppid, [0; 5]) } != Ok(prepared.parent as usize) {
        return Err((Stage::Session, libc::ESRCH));
    }
    if recipe.no_new_privileges {
        step(Stage::Session, libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0, 0])?;
    }
    if let Some(dir) = &recipe.dir {
        step(Stage::Dir, libc::SYS_chdir, [dir.as_ptr() as usize, 0, 0, 0, 0])?;
    }
    let descriptors = &prepared.descriptors;
    for (from, to) in
        [(descriptors.null, 0), (descriptors.output, 1), (descriptors.output, 2)].into_iter().chain(descriptors.extra)
    {
        duplicate(from, to)?;
    }
    let empty: u64 = 0;
    let mask: *const u64 = &raw const empty;
    step(Stage::Exec, libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, mask as usize, 0, 8, 0])?;
    Err((Stage::Exec, execute(prepared)))
}

/// Ignored signals stay ignored across `execve(2)`, so all become the default again. The two that cannot be set refuse.
fn reset_dispositions() {
    // The kernel's sigaction: handler, flags, restorer, mask. All zeroes is SIG_DFL.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        let _ = step(Stage::Session, libc::SYS_rt_sigaction, [signal, default.as_ptr() as usize, 0, 8, 0]);
    }
}

fn duplicate(from: RawFd, to: RawFd) -> Step {
    step(Stage::Output, libc::SYS_dup3, [from as usize, to as usize, 0, 0, 0])
}

fn set_oom_score(score: &[u8]) -> Result<(), Errno> {
    let path = c"/proc/self/oom_score_adj";
    // SAFETY: path and score live until the calls return.
    unsafe {
        let at = libc::AT_FDCWD as usize;
        let file = call(libc::SYS_openat, [at, path.as_ptr() as usize, (libc::O_WRONLY | libc::O_CLOEXEC) as usize, 0, 0])?;
        let written = call(libc::SYS_write, [file, score.as_ptr() as usize, score.len(), 0, 0]);
        let _ = call(libc::SYS_close, [file, 0, 0, 0, 0]);
        written.map(drop)
    }
}

/// Tries each place in turn, as `execvp(3)` does; returns the error that says most.
fn execute(prepared: &Prepared) -> Errno {
    let (argv, environment) = (prepared.argv.as_ptr() as usize, prepared.environment.as_ptr() as usize);
    let mut worst = libc::ENOENT;
    for program in prepared.programs.iter().filter(|program| !program.is_null()) {
        // SAFETY: program, argv and environment are null-terminated strings and arrays of `prepared`.
        match unsafe { call(libc::SYS_execve, [*program as usize, argv, environment, 0, 0]) } {
            // Not there: the next folder.
            Ok(_) | Err(libc::ENOENT | libc::ENOTDIR) => {}
            // There, but not for us: another folder may have a better one.
            Err(libc::EACCES) => worst = libc::EACCES,
            Err(errno) => return errno,
        }
    }
    worst
}

fn is_already(who: &Identity) -> bool {
    // SAFETY: touches no memory.
    let own = |number| unsafe { call(number, [0; 5]) };
    (own(libc::SYS_geteuid), own(libc::SYS_getegid)) == (Ok(who.uid as usize), Ok(who.gid as usize))
}

fn step(stage: Stage, number: libc::c_long, args: [usize; 5]) -> Step {
    // SAFETY: every caller passes pointers into `prepared`, or to its own stack, that live until the call returns.
    unsafe { call(number, args) }.map(drop).map_err(|errno| (stage, errno))
}

/// # Safety
///
/// As for [`syscall`].
unsafe fn call(number: libc::c_long, args: [usize; 5]) -> Result<usize, Errno> {
    loop {
        // SAFETY: the caller's promise.
        match unsafe { syscall(number, args) } {
            Err(libc::EINTR) => {}
            result => return result,
        }
    }
}
