//! The read end of a service's output pipe.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// What a pipe is widened to. A bursty writer stalls less with more room; the pages exist only while they are filled.
/// Beyond 64 MiB for all pipes of an ordinary user the kernel refuses (`pipe-user-pages-soft`, pipe(7)): 256 pipes of
/// this size, and those that come after keep what they have.
const WIDTH: i32 = 256 << 10;

/// What a pipe holds where the kernel does not say.
const USUAL_WIDTH: usize = 64 << 10;

/// The read end of a pipe, non-blocking, as wide as the kernel lets us make it.
#[derive(Debug)]
pub struct Outlet {
    fd: OwnedFd,
    capacity: usize,
}

/// What one read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now; a writer is still there.
    Nothing,
    /// The last writer is gone.
    End,
}

impl Outlet {
    /// Takes over the read end of a pipe.
    ///
    /// # Errors
    ///
    /// `fcntl(2)`: it cannot be made non-blocking.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
        if !flags.contains(OFlag::O_NONBLOCK) {
            fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        let found = fcntl(&fd, FcntlArg::F_GETPIPE_SZ).unwrap_or(0);
        if found < WIDTH {
            // EPERM (limit of the user) and EBUSY (more is in it): it works as it is.
            let _ = fcntl(&fd, FcntlArg::F_SETPIPE_SZ(WIDTH));
        }
        let capacity = fcntl(&fd, FcntlArg::F_GETPIPE_SZ).ok().and_then(|size| usize::try_from(size).ok());
        Ok(Self { fd, capacity: capacity.filter(|size| *size > 0).unwrap_or(USUAL_WIDTH) })
    }

    /// How many bytes it holds at most.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Reads once. A read error other than "nothing now" is the end: a pipe has no other story to tell.
    pub fn read(&self, buffer: &mut [u8]) -> Found {
        loop {
            return match nix::unistd::read(&self.fd, buffer) {
                Ok(0) => Found::End,
                Ok(count) => Found::Bytes(count),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => Found::Nothing,
                Err(_) => Found::End,
            };
        }
    }

    /// The descriptor itself, to hand it to another image of the program.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Outlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_read_without_blocking_to_its_end() {
        let (out, into) = nix::unistd::pipe().expect("pipe");
        let outlet = Outlet::new(out).expect("outlet");
        let mut buffer = [0; 16];
        assert_eq!(outlet.read(&mut buffer), Found::Nothing);
        nix::unistd::write(&into, b"abc").expect("write");
        assert_eq!(outlet.read(&mut buffer), Found::Bytes(3));
        drop(into);
        assert_eq!(outlet.read(&mut buffer), Found::End);
        assert!(outlet.capacity() >= 4096);
    }
}
