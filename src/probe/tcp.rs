//! `tcp: HOST:PORT`: a connection is accepted. It is closed again at once, nothing is sent.

use super::place::Place;
use super::{Answer, LookUps};

/// Asks at one place.
#[derive(Debug)]
pub struct Tcp(Place);

impl Tcp {
    /// `host` is a name or an address.
    #[must_use]
    pub const fn new(host: String, port: u16, places: LookUps) -> Self {
        Self(Place::new(host, port, places))
    }

    /// Connects once.
    ///
    /// # Errors
    ///
    /// Why no connection came about.
    pub async fn ask(&mut self) -> Answer {
        self.0.connect().await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_listens_is_there() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("address").port();
        let mut tcp = Tcp::new("localhost".to_owned(), port, LookUps::default());
        assert_eq!(tcp.ask().await, Ok(()));
        drop(listener);
        let refusal = tcp.ask().await.expect_err("nobody listens");
        assert!(refusal.starts_with(&format!("localhost:{port}: ")), "{refusal}");
    }
}
