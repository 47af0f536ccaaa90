//! `http: URL`: a GET is answered with 2xx or 3xx. No redirect is followed, no body read, no TLS spoken.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::place::Place;
use super::{Answer, LookUps};
use crate::spec::HttpUrl;
use crate::sys::words;

/// The most that is read of an answer: its first line must be in there, behind at most a few interim answers.
const LONGEST_HEAD: usize = 8 << 10;

/// Asks one URL.
#[derive(Debug)]
pub struct Http {
    place: Place,
    request: String,
}

impl Http {
    /// Prepares the question.
    #[must_use]
    pub fn new(url: HttpUrl, places: LookUps) -> Self {
        let HttpUrl { host, port, target } = url;
        let place = Place::new(host, port, places);
        // RFC 9112, 3.2: the host as in the URL. HTTP/1.1, as some proxies answer 1.0 with 426.
        let shown = place.shown();
        let host = if port == 80 { shown.trim_end_matches(":80") } else { &shown };
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: section3/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        Self { place, request }
    }

    /// Asks once.
    ///
    /// # Errors
    ///
    /// The status, or why there was none.
    pub async fn ask(&mut self) -> Answer {
        let mut stream = self.place.connect().await?;
        let shown = self.place.shown();
        let broken = |error: std::io::Error| format!("{shown}: {}", words::io(&error));
        stream.write_all(self.request.as_bytes()).await.map_err(broken)?;
        let mut head = Vec::new();
        loop {
            let before = head.len();
            let mut part = [0; 1024];
            let got = stream.read(&mut part).await.map_err(broken)?;
            head.extend_from_slice(part.get(..got).unwrap_or_default());
            match status(&head) {
                Some(Ok(200..=399)) => return Ok(()),
                Some(Ok(other)) => return Err(format!("{shown}: HTTP status {other}")),
                Some(Err(())) => return Err(format!("{shown}: it does not speak HTTP")),
                None if head.len() == before => return Err(format!("{shown}: it closed the connection without an answer")),
                None if head.len() > LONGEST_HEAD => return Err(format!("{shown}: no status in the first 8K")),
                None => {}
            }
        }
    }
}

/// The final status of an answer that begins like this (RFC 9112, 4); interim ones (1xx) are passed over. `None`: more must
/// be read.
fn status(head: &[u8]) -> Option<Result<u16, ()>> {
    let mut rest = head;
    loop {
        const START: &[u8] = b"HTTP/1.";
        let seen = rest.len().min(START.len());
        if rest.get(..seen) != START.get(..seen) {
            return Some(Err(()));
        }
        // `HTTP/1.1 200` and one more byte, so that the number is whole.
        let line = rest.get(..13)?;
        let digits = line.get(9..12).filter(|digits| digits.iter().all(u8::is_ascii_digit));
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let (b' ', b' ' | b'\r' | b'\n', Some(code)) = (line[8], line[12], code) else { return Some(Err(())) };
        if !(100..200).contains(&code) {
            return Some(Ok(code));
        }
        let end = memchr::memmem::find(rest, b"\r\n\r\n")?;
        rest = rest.get(end + 4..)?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn the_status_of_an_answer() {
        for (head, expected) in [
            ("", None),
            ("HTT", None),
            ("HTTP/1.1 200", None),
            ("HTTP/1.1 200 ", Some(Ok(200))),
            ("HTTP/1.0 404 Not Found\r\n", Some(Ok(404))),
            ("HTTP/1.1 204\r\n", Some(Ok(204))),
            ("HTTP/1.1 100 Continue\r\n", None),
            ("HTTP/1.1 100 Continue\r\n\r\n", None),
            ("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 302 Found\r\n", Some(Ok(302))),
            ("HTTP/1.1 2000 What\r\n", Some(Err(()))),
            ("HTTP/1.1200 OK\r\n", Some(Err(()))),
            ("HTTP/1.1 2x0 OK\r\n", Some(Err(()))),
            ("HTTP/1.1 +20 OK\r\n", Some(Err(()))),
            ("SSH-2.0-OpenSSH", Some(Err(()))),
            ("\x15\x03\x01", Some(Err(()))),
        ] {
            assert_eq!(status(head.as_bytes()), expected, "{head:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_judged_by_its_status() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("address").port();
        // One that never comes to the point.
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n".repeat(1 << 16);
        let replies = ["HTTP/1.0 200 OK\r\n", "HTTP/1.1 301 Moved\r\n", "HTTP/1.1 500 No\r\n", "", "+PONG\r\n", hints.as_str()];
        let replies = replies.map(str::to_owned);
        let server = std::thread::spawn(move || {
            let mut requests = Vec::new();
            for reply in replies {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut request = [0; 500];
                let got = stream.read(&mut request).expect("a request");
                requests.push(String::from_utf8_lossy(&request[..got]).into_owned());
                // It may have heard enough.
                let _ = stream.write_all(reply.as_bytes());
            }
            requests
        });
        let url = HttpUrl { host: "127.0.0.1".to_owned(), port, target: "/a?b".to_owned() };
        let mut http = Http::new(url, LookUps::default());
        for expected in [
            Ok(()),
            Ok(()),
            Err(format!("127.0.0.1:{port}: HTTP status 500")),
            Err(format!("127.0.0.1:{port}: it closed the connection without an answer")),
            Err(format!("127.0.0.1:{port}: it does not speak HTTP")),
            Err(format!("127.0.0.1:{port}: no status in the first 8K")),
        ] {
            assert_eq!(http.ask().await, expected);
        }
        let requests = server.join().expect("the server");
        assert!(requests[0].starts_with(&format!("GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n")), "{}", requests[0]);
    }

    #[test]
    fn the_port_of_http_is_not_said() {
        for (host, port, said) in [("db", 80, "Host: db\r\n"), ("db", 8080, "Host: db:8080\r\n"), ("::1", 80, "Host: [::1]\r\n")]
        {
            let url = HttpUrl { host: host.to_owned(), port, target: "/".to_owned() };
            assert!(Http::new(url, LookUps::default()).request.contains(said), "{said}");
        }
    }
}
