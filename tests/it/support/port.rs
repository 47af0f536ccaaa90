//! TCP ports for the servers of the tests.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt};

/// A port of 127.0.0.1 at which nobody listens and which the kernel gives to nobody else: it is bound here, and may be bound
/// a second time by a server that sets `SO_REUSEADDR`, as all do.
pub struct Port(OwnedFd);

impl Port {
    /// One that is free.
    pub fn free() -> Self {
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        setsockopt(&socket, sockopt::ReuseAddr, &true).expect("SO_REUSEADDR");
        bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        Self(socket)
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        getsockname::<SockaddrIn>(self.0.as_raw_fd()).expect("its address").port()
    }
}
