//! `notify: {fd: N}`: one newline on a descriptor, as s6 has it (<https://skarnet.org/software/s6/notifywhenup.html>).

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Reads `pipe`, which must not block, until a newline came (`true`) or every writer has closed it (`false`). As with s6,
/// what stands before the newline does not matter.
///
/// # Errors
///
/// Where the pipe cannot be read.
pub async fn newline(pipe: &AsyncFd<OwnedFd>) -> io::Result<bool> {
    loop {
        let mut ready = pipe.readable().await?;
        let mut part = [0; 256];
        match nix::unistd::read(pipe.get_ref(), &mut part) {
            Ok(0) => return Ok(false),
            Ok(got) if part.get(..got).is_some_and(|part| part.contains(&b'\n')) => return Ok(true),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(nix::errno::Errno::EAGAIN) => ready.clear_ready(),
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::fcntl::OFlag;
    use nix::unistd::{pipe2, write};

    use super::*;
    use crate::sys::watch::watch;

    #[tokio::test]
    async fn a_newline_counts_and_an_end_does_not() {
        for (text, expected) in [("\n", true), ("up\n", true), ("\n\n\n", true), ("up", false), ("", false)] {
            let (read, end) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).expect("pipe");
            write(&end, text.as_bytes()).expect("written");
            drop(end);
            assert_eq!(newline(&watch(read).expect("watched")).await.expect("read"), expected, "{text:?}");
        }
    }
}
