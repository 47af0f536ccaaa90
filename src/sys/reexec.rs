//! Replacing the program of this very process: descriptors that live through `execve(2)`, the state in memory, the call.
#![allow(unsafe_code)]

use crate::value::sorted::Set;
use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::stat::Mode;

/// Linux 6.3: the memory can never be executed. Some hosts refuse any other (`vm.memfd_noexec`).
const MFD_NOEXEC_SEAL: libc::c_uint = 0x0008;

/// The descriptors that the program before this one left open for us. Each is handed out once.
#[derive(Debug, Default)]
pub struct Inherited(RefCell<Set<RawFd>>);

impl Inherited {
    /// The descriptor with this number; `None` where it is a standard stream, not open, or taken already. To be asked before
    /// the process opens anything for itself that could have such a number.
    pub fn take(&self, number: RawFd) -> Option<OwnedFd> {
        if number <= 2 || !is_open(number) || !self.0.borrow_mut().insert(number) {
            return None;
        }
        // SAFETY: it is open, nobody in this image of the program opened it, and it is handed out this once.
        Some(unsafe { OwnedFd::from_raw_fd(number) })
    }
}

/// Whether a descriptor of this number is open.
#[must_use]
pub fn is_open(number: RawFd) -> bool {
    // SAFETY: the call takes two integers and touches no memory.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// Marks descriptors as to be kept across `execve(2)`, or closed at it.
///
/// # Errors
///
/// `EBADF` for one that is not open; the others are done all the same.
pub fn keep_on_exec(numbers: &[RawFd], keep: bool) -> Result<(), Errno> {
    let flags = if keep { 0 } else { libc::FD_CLOEXEC };
    let mut result = Ok(());
    for number in numbers {
        // SAFETY: the call takes integers and touches no memory; a descriptor's flags are nobody's memory either.
        let done = unsafe { libc::fcntl(*number, libc::F_SETFD, flags) };
        result = result.and(Errno::result(done).map(drop));
    }
    result
}

/// Puts bytes into memory that has a descriptor, and seals it: nobody can change them any more.
///
/// # Errors
///
/// Out of memory or descriptors.
pub fn in_memory(name: &CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a string that lives until the call returns.
    let make = |flags| Errno::result(unsafe { libc::memfd_create(name.as_ptr(), flags) });
    let number = match make(flags | MFD_NOEXEC_SEAL) {
        Err(Errno::EINVAL) => make(flags),
        made => made,
    }?;
    // SAFETY: the kernel gave us this number and nobody else knows it.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(number) });
    file.write_all(bytes)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK))?;
    Ok(file.into())
}

/// Reads what [`in_memory`] holds, from its start, at most `limit` bytes.
///
/// # Errors
///
/// It is larger, or cannot be read.
pub fn read_memory(memory: BorrowedFd<'_>, limit: u64) -> io::Result<Vec<u8>> {
    let file = File::from(memory.try_clone_to_owned()?);
    let size = file.metadata()?.len();
    if size > limit {
        return Err(io::Error::other(format!("it holds {size} bytes, more than the {limit} allowed")));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// The file that this process runs, whatever has become of its name.
///
/// # Errors
///
/// Where `/proc` is not to be had.
pub fn own_image() -> Result<OwnedFd, Errno> {
    open("/proc/self/exe", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

/// Replaces this program by the file at `path`; returns only where that failed. Every other thread ends with the call.
#[must_use]
pub fn execute(path: &CStr, argv: &[CString], environment: &[CString]) -> Errno {
    let (argv, environment) = (pointers(argv), pointers(environment));
    // SAFETY: strings and null-terminated arrays of them, all of which live until the call returns.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), environment.as_ptr()) };
    Errno::last()
}

/// As [`execute`], for a file that is open.
#[must_use]
pub fn execute_open(file: BorrowedFd<'_>, argv: &[CString], environment: &[CString]) -> Errno {
    let (argv, environment) = (pointers(argv), pointers(environment));
    let (number, flags) = (file.as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: strings and null-terminated arrays of them, all of which live until the call returns.
    unsafe { libc::syscall(libc::SYS_execveat, number, c"".as_ptr(), argv.as_ptr(), environment.as_ptr(), flags) };
    Errno::last()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// This process's environment without one variable, and with another value of it.
#[must_use]
pub fn environment_with(name: &str, value: &OsStr) -> Vec<CString> {
    use std::os::unix::ffi::OsStrExt;

    let others = std::env::vars_os().filter(|(other, _)| other != name);
    let all = others.chain([(name.into(), value.to_owned())]);
    // None holds a NUL byte: they came from the kernel, or are ours.
    all.filter_map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()).collect()
}

/// Closes every descriptor above 2: for a start from scratch.
pub fn close_everything() {
    // SAFETY: the caller has nothing open that it still means to use; the call touches no memory.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    if done != 0 {
        for number in 3..4096 {
            // SAFETY: as above.
            unsafe { libc::close(number) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_in_memory_stays_as_it_is() {
        let memory = in_memory(c"test", b"state").expect("memory");
        assert_eq!(read_memory(memory.as_fd(), 5).expect("read"), b"state");
        assert_eq!(read_memory(memory.as_fd(), 5).expect("read again"), b"state");
        assert!(read_memory(memory.as_fd(), 4).expect_err("too long").to_string().contains("5 bytes"));
        let mut file = File::from(memory);
        assert!(file.write_all(b"x").is_err(), "it can be changed");
        assert!(file.set_len(9).is_err() && file.set_len(1).is_err(), "it can be made longer or shorter");
    }

    #[test]
    fn no_service_gets_it_and_nobody_can_run_it() {
        let file = File::from(in_memory(c"test", b"state").expect("memory"));
        let image = own_image().expect("our file");
        for number in [file.as_raw_fd(), image.as_raw_fd()] {
            // SAFETY: as in `is_open`.
            assert_eq!(unsafe { libc::fcntl(number, libc::F_GETFD) }, libc::FD_CLOEXEC);
        }
        // SAFETY: as in `in_memory`; the number is closed by its owner.
        let strict = unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC | MFD_NOEXEC_SEAL) };
        // An older kernel does not know the flag.
        if strict >= 0 {
            // SAFETY: the kernel gave us this number just now.
            drop(unsafe { OwnedFd::from_raw_fd(strict) });
        }
        let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().expect("its mode"));
        assert_eq!(mode & 0o111 == 0, strict >= 0, "mode {mode:o}");
    }

    #[test]
    fn a_descriptor_is_handed_out_once() {
        let inherited = Inherited::default();
        let memory = in_memory(c"test", b"x").expect("memory");
        let number = std::os::fd::IntoRawFd::into_raw_fd(memory);
        keep_on_exec(&[number], true).expect("kept");
        let taken = inherited.take(number).expect("taken");
        assert!(inherited.take(number).is_none(), "twice");
        assert!(inherited.take(1).is_none(), "stdout");
        drop(taken);
        assert_eq!(keep_on_exec(&[1 << 20], true), Err(Errno::EBADF));
    }

    #[test]
    fn an_exec_that_fails_returns() {
        assert_eq!(execute(c"/no/such/program", &[], &[]), Errno::ENOENT);
        let memory = in_memory(c"test", b"no program").expect("memory");
        assert_ne!(execute_open(memory.as_fd(), &[], &[]), Errno::UnknownErrno);
    }
}
