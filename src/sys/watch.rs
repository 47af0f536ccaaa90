//! Descriptors under the eye of the event loop.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::signalfd::SignalFd;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor for as long as the result lives. Must be called within the runtime.
///
/// # Errors
///
/// What `epoll_ctl(2)` says.
pub fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open, and names the same file, until it is dropped; AsyncFd owns it.
    Ok(unsafe { AsyncFd::register(descriptor) }?)
}

/// Watches the descriptor that signals are read from.
///
/// # Errors
///
/// What `epoll_ctl(2)` says.
pub fn watch_signals(descriptor: SignalFd) -> io::Result<AsyncFd<SignalFd>> {
    // SAFETY: a SignalFd owns its descriptor and never changes it; AsyncFd owns the SignalFd.
    Ok(unsafe { AsyncFd::register(descriptor) }?)
}
