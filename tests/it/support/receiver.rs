//! An HTTP receiver, on TCP or on a Unix socket, that answers as the test says and tells what it was sent.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver as Queue, Sender, channel};
use std::thread;

use super::deadline::LIMIT;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// In capitals.
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Request {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header, which must be there.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }
}

/// What is answered: a status, more headers, a body.
#[derive(Clone, Debug)]
pub struct Reply(pub u16, pub Vec<(&'static str, String)>, pub String);

impl Reply {
    /// A status and nothing else.
    pub fn status(status: u16) -> Self {
        Self(status, Vec::new(), String::new())
    }
}

/// A receiver that lives as long as the test's process.
pub struct Receiver {
    /// `http://127.0.0.1:PORT`, or the socket's path.
    pub address: String,
    requests: Queue<Request>,
}

impl Receiver {
    /// Listens on a port of its own; `answer` gets the number of the request, from 0.
    pub fn tcp(answer: impl FnMut(usize, &Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("its address"));
        let (to, requests) = channel();
        thread::spawn(move || serve(listener.incoming().flatten(), &to, answer));
        Self { address, requests }
    }

    /// Listens on a socket.
    pub fn unix(path: &Path, answer: impl FnMut(usize, &Request) -> Reply + Send + 'static) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let address = path.display().to_string();
        let (to, requests) = channel();
        thread::spawn(move || serve(listener.incoming().flatten(), &to, answer));
        Self { address, requests }
    }

    /// The next request.
    #[track_caller]
    pub fn next(&self) -> Request {
        self.requests.recv_timeout(LIMIT).expect("a request")
    }

    /// The next request that is wanted; the others are passed over.
    #[track_caller]
    pub fn until(&self, mut wanted: impl FnMut(&Request) -> bool) -> Request {
        let mut seen = Vec::new();
        loop {
            match self.requests.recv_timeout(LIMIT) {
                Ok(request) if wanted(&request) => return request,
                Ok(request) => seen.push(format!("{} {} {}", request.method, request.path, request.text())),
                Err(_) => panic!("no such request; there were\n{}", seen.join("\n")),
            }
        }
    }

    /// What came and was not looked at yet.
    pub fn rest(&self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }
}

fn serve<S: Read + Write>(
    streams: impl Iterator<Item = S>,
    to: &Sender<Request>,
    mut answer: impl FnMut(usize, &Request) -> Reply,
) {
    for (number, mut stream) in streams.enumerate() {
        let Some(request) = read(&mut stream) else { continue };
        let Reply(status, headers, body) = answer(number, &request);
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        // Before the answer: whoever has the answer may ask what came.
        let _ = to.send(request);
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    }
}

fn read(stream: &mut impl Read) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else {
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
    }
    Some(Request { method, path, headers, body })
}
