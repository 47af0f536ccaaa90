//! What the process itself must be before anything else happens.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;

use super::child::Limit;

/// Opens `/dev/null` under a number above 2, and under 0, 1 and 2 where those are closed: nothing that is opened later may
/// be taken for a standard stream. Where there is none (a root without `/dev`), it is the end of a pipe that nobody writes
/// to, which reads the same, and why comes with it.
///
/// # Errors
///
/// Where neither can be had.
pub fn open_null() -> Result<(OwnedFd, Option<Errno>), Errno> {
    loop {
        let (null, why) = match open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(null) => (null, None),
            // Not there, without a driver behind it, or on a mount that knows no devices.
            Err(errno @ (Errno::ENOENT | Errno::ENXIO | Errno::ENODEV | Errno::EACCES | Errno::EPERM)) => {
                (nix::unistd::pipe2(OFlag::O_CLOEXEC)?.0, Some(errno))
            }
            Err(errno) => return Err(errno),
        };
        if null.as_raw_fd() > 2 {
            return Ok((null, why));
        }
        // Fills the gap for good; CLOEXEC does not matter, since every child gets its own 0, 1 and 2.
        std::mem::forget(null);
    }
}

/// The least stack, in bytes, that every part of the program gets along with: reading a config and the command line take the
/// most, and without optimization a multiple. Less is no limit that anybody sets on purpose, and running into it is a bare
/// SIGSEGV.
const LEAST_STACK: u64 = if cfg!(debug_assertions) { 1 << 20 } else { 256 << 10 };

/// What to say where our stack is limited to less than we need. Itself needs next to none.
#[must_use]
pub fn too_little_stack() -> Option<String> {
    let (soft, _) = getrlimit(Resource::RLIMIT_STACK).ok()?;
    (soft < LEAST_STACK).then(|| {
        let (limit, least) = (soft >> 10, LEAST_STACK >> 10);
        format!("section3: the stack is limited to {limit} KiB, which is too little; at least {least}: `ulimit -s 8192`\n")
    })
}

/// Marks every descriptor above 2 that we were started with as not for our children.
pub fn close_inherited_on_exec() {
    // SAFETY: the call takes three integers and touches no memory.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 {
        return;
    }
    // Before Linux 5.11: one by one.
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    for entry in open.flatten() {
        if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).filter(|number| *number > 2) {
            // SAFETY: F_SETFD on a number that may have been closed meanwhile does nothing worse than fail.
            let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
            let _ = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        }
    }
}

/// Makes orphans of our services our children, so that we can reap them and find what is left of a run; see
/// `PR_SET_CHILD_SUBREAPER` in `prctl(2)`. PID 1 gets them anyway.
///
/// # Errors
///
/// What `prctl(2)` says.
pub fn become_subreaper() -> Result<(), Errno> {
    nix::sys::prctl::set_child_subreaper(true)
}

/// Raises our own limit of open descriptors as far as we may: two or three for each service. Returns the limit that we
/// were started with, which is the one services inherit.
///
/// # Errors
///
/// What `getrlimit(2)` or `setrlimit(2)` says.
pub fn raise_descriptor_limit() -> Result<Limit, Errno> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    super::reserve::set_limit(hard);
    Ok(Limit { soft, hard })
}

/// The most address space, in bytes, that a child of ours may be given.
#[must_use]
pub fn most_address_space() -> u64 {
    getrlimit(Resource::RLIMIT_AS).map_or(u64::MAX, |(_, hard)| hard)
}

/// Makes room for `count` descriptors at once, while there is one thread: a table that grows under several threads waits for
/// an RCU grace period, some milliseconds each time it doubles. Where the limit is lower, nothing is done.
pub fn make_room_for_descriptors(null: &OwnedFd, count: usize) {
    if let Ok(highest) = i32::try_from(count)
        && let Ok(number) = fcntl(null, FcntlArg::F_DUPFD_CLOEXEC(highest))
    {
        // SAFETY: the call gave us this number and nobody else knows it.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
}

/// SIGKILL to everybody but ourselves: the last step of PID 1.
///
/// # Panics
///
/// In any process but PID 1.
pub fn kill_everybody() {
    assert_eq!(std::process::id(), 1, "only PID 1 may kill everybody");
    // SAFETY: kill touches no memory.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// 16 hexadecimal digits that no other incarnation has.
#[must_use]
pub fn random_id() -> String {
    let mut bytes = [0_u8; 8];
    // SAFETY: the pointer and length are those of a live array.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got != 8 {
        // No entropy source to be had: time and number tell incarnations apart as well.
        let mixed = super::clock::monotonic().as_nanos().rotate_left(20) ^ u64::from(std::process::id());
        bytes = mixed.to_ne_bytes();
    }
    format!("{:016x}", u64::from_ne_bytes(bytes))
}
