//! A host and a port, and how one gets there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use tokio::net::TcpStream;

use super::{Aside, LookUps};
use crate::sys::words;

/// Addresses of one name that are tried; one that has more is no single service.
const MOST_ADDRESSES: usize = 8;

/// Where a probe connects to.
#[derive(Debug)]
pub struct Place {
    host: String,
    port: u16,
    aside: Aside<Result<Vec<SocketAddr>, String>>,
}

impl Place {
    /// `host` is a name or an address, without brackets.
    #[must_use]
    pub const fn new(host: String, port: u16, places: LookUps) -> Self {
        Self { host, port, aside: Aside::new(places) }
    }

    /// As it is written in a URL.
    #[must_use]
    pub fn shown(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Connects to the first address that takes a connection.
    ///
    /// # Errors
    ///
    /// Why the last one did not.
    pub async fn connect(&mut self) -> Result<TcpStream, String> {
        let shown = self.shown();
        let mut refusal = format!("{}: no address", self.host);
        for address in self.addresses().await? {
            match TcpStream::connect(address).await {
                Ok(stream) if is_own(&stream, address) => refusal = format!("{shown}: nobody listens"),
                Ok(stream) => return Ok(stream),
                Err(error) => refusal = format!("{shown}: {}", words::io(&error)),
            }
        }
        Err(refusal)
    }

    async fn addresses(&mut self) -> Result<Vec<SocketAddr>, String> {
        if let Some(known) = without_asking(&self.host) {
            return Ok(known.iter().map(|address| SocketAddr::new(*address, self.port)).collect());
        }
        let asked = (self.host.clone(), self.port);
        let look_up = move || match asked.to_socket_addrs() {
            Ok(found) => Ok(found.take(MOST_ADDRESSES).collect()),
            Err(error) => Err(format!("cannot look up `{}`: {error}", asked.0)),
        };
        self.aside.ask(look_up).await.unwrap_or_else(|| Err("the supervisor ends".to_owned()))
    }
}

/// The kernel connects a socket to itself where nobody listens and it happened to be given that very port.
fn is_own(stream: &TcpStream, address: SocketAddr) -> bool {
    stream.local_addr().is_ok_and(|own| own == address)
}

/// The addresses that no name server need be asked for.
fn without_asking(host: &str) -> Option<Vec<IpAddr>> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    host.parse().ok().map(|address| vec![address])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_need_no_name_server() {
        let known = |host| without_asking(host).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        for (host, addresses) in [
            ("127.0.0.1", Some("127.0.0.1")),
            ("::1", Some("::1")),
            ("LocalHost", Some("127.0.0.1 ::1")),
            ("db", None),
            ("localhost.example", None),
            ("127.1", None),
        ] {
            assert_eq!(known(host).as_deref(), addresses, "{host}");
        }
    }

    /// Nobody listens: the kernel may give the socket the very port that it connects to, and it talks to itself then.
    #[tokio::test]
    async fn who_meets_itself_has_met_nobody() {
        // Bound and not listening: the only port left is asked for by name.
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let own = socket.local_addr().expect("an address");
        let stream = socket.connect(own).await.expect("itself");
        assert!(is_own(&stream, own));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let other = listener.local_addr().expect("an address");
        assert!(!is_own(&TcpStream::connect(other).await.expect("somebody"), other));
    }

    #[test]
    fn an_address_of_version_6_is_shown_in_brackets() {
        assert_eq!(Place::new("::1".to_owned(), 80, LookUps::default()).shown(), "[::1]:80");
        assert_eq!(Place::new("db".to_owned(), 5432, LookUps::default()).shown(), "db:5432");
    }
}
