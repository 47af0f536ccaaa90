//! Descriptors that our parent left to us.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;

/// The Unix stream socket that the parent left at this number; the number itself is closed, what comes back is closed by
/// `execve(2)`. To be called once for a number, before anything else opens descriptors.
///
/// # Errors
///
/// Where there is no Unix stream socket.
pub fn socket(number: RawFd) -> io::Result<UnixStream> {
    let mut domain: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: both pointers are to live integers of the sizes that are told; a number that is no socket is an error.
    let asked = unsafe { libc::getsockopt(number, libc::SOL_SOCKET, libc::SO_DOMAIN, (&raw mut domain).cast(), &raw mut length) };
    Errno::result(asked)?;
    if domain != libc::AF_UNIX {
        return Err(io::Error::from(Errno::EPROTOTYPE));
    }
    // SAFETY: the number is an open socket (it was just asked); nobody else in this process has it, see above.
    let left = unsafe { OwnedFd::from_raw_fd(number) };
    Ok(UnixStream::from(left.try_clone()?))
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use super::*;

    #[test]
    fn only_a_unix_socket_will_do() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert!(socket(theirs.into_raw_fd()).is_ok());
        drop(ours);
        let pipe = nix::unistd::pipe().unwrap();
        assert_eq!(socket(pipe.0.into_raw_fd()).unwrap_err().raw_os_error(), Some(Errno::ENOTSOCK as i32));
    }
}
