//! Waiting for many descriptors to become readable, by number, level-triggered. It must never own a descriptor: whoever
//! owns one takes it out of the set by closing it.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// How many ready descriptors one wait returns. More are returned by the next one: the kernel goes round its list.
const BATCH: usize = 128;

/// A set of descriptors that are watched for input and end of file.
pub struct ReadSet {
    epoll: Epoll,
    batch: [EpollEvent; BATCH],
}

impl ReadSet {
    /// An empty set.
    ///
    /// # Errors
    ///
    /// `epoll_create1(2)`: out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?, batch: [EpollEvent::empty(); BATCH] })
    }

    /// Watches `fd` under the number `token` until it is closed.
    ///
    /// # Errors
    ///
    /// `epoll_ctl(2)`: a descriptor that cannot be watched (a regular file), out of memory or of user watches.
    pub fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// Stops watching `fd`; needed where a duplicate of it lives on.
    ///
    /// # Errors
    ///
    /// `epoll_ctl(2)`: it was not watched.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(fd)?)
    }

    /// Waits until one of them is readable or at its end, or `limit` has passed (`None`: for ever), and puts their numbers
    /// into `ready`. A signal ends the wait with none.
    ///
    /// # Errors
    ///
    /// `epoll_wait(2)`; none that can occur on a valid set.
    pub fn wait(&mut self, limit: Option<Duration>, ready: &mut Vec<u64>) -> io::Result<()> {
        ready.clear();
        let timeout =
            limit.map_or(EpollTimeout::NONE, |limit| EpollTimeout::try_from(millis(limit)).unwrap_or(EpollTimeout::MAX));
        match self.epoll.wait(&mut self.batch, timeout) {
            Ok(count) => {
                ready.extend(self.batch[..count].iter().map(EpollEvent::data));
                Ok(())
            }
            Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Waits until `fd` is readable, `limit` (microseconds count) has passed or a signal came.
pub fn wait_readable(fd: impl AsFd, limit: Duration) {
    // A failed poll is a wait of no length: the caller looks and sees the truth.
    let _ = ppoll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], Some(limit.into()), None);
}

/// Waits until `fd` takes output or is broken, or `bell` is readable.
pub fn wait_writable(fd: impl AsFd, bell: impl AsFd) {
    let _ = ppoll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLOUT), PollFd::new(bell.as_fd(), PollFlags::POLLIN)], None, None);
}

/// Rounded up, so that a deadline has passed when the wait for it is over.
fn millis(limit: Duration) -> u32 {
    u32::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readable_and_ended_descriptors_are_named() {
        let (first, first_in) = nix::unistd::pipe().expect("pipe");
        let (second, second_in) = nix::unistd::pipe().expect("pipe");
        let mut set = ReadSet::new().expect("set");
        set.add(&first, 7).expect("add");
        set.add(&second, 9).expect("add");
        let mut ready = Vec::new();
        set.wait(Some(Duration::ZERO), &mut ready).expect("wait");
        assert!(ready.is_empty());
        nix::unistd::write(&first_in, b"x").expect("write");
        set.wait(None, &mut ready).expect("wait");
        assert_eq!(ready, [7]);
        drop(second_in);
        set.remove(&first).expect("remove");
        set.wait(None, &mut ready).expect("wait");
        assert_eq!(ready, [9]);
    }
}
