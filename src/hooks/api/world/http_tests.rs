//! Real receivers on TCP and Unix sockets, scripted: what they do with each connection is said before.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::World;
use crate::hooks::script::{HttpRequest, HttpResponse, IoFault, RequestBody};

/// Long enough for every machine.
const PATIENT: Duration = Duration::from_secs(60);

/// What a receiver does with a connection.
#[derive(Clone, Copy)]
enum Does {
    /// Reads the request and sends this.
    Sends(&'static str),
    /// Reads the request and hangs up.
    HangsUp,
    /// Reads the request and is silent until the other side gives up.
    IsSilent,
    /// Sends a body without an end, until the other side gives up.
    SendsForEver,
    /// Sends a body of this many bytes.
    SendsBytes(usize),
}

/// A request as it arrived: its head's lines, and its body.
type Got = (Vec<String>, Vec<u8>);

fn serve<S: Read + Write>(stream: S, does: Does) -> Got {
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        let read = stream.read_line(&mut line).expect("a line");
        let line = line.trim_end().to_owned();
        if read == 0 || line.is_empty() {
            break;
        }
        head.push(line);
    }
    let length = head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    let inner = stream.get_mut();
    // The other side may be gone: that is what is tested.
    match does {
        Does::Sends(text) => drop(inner.write_all(text.as_bytes())),
        Does::HangsUp => {}
        Does::IsSilent => drop(inner.read(&mut [0])),
        Does::SendsBytes(count) => {
            let _gone = write!(inner, "HTTP/1.1 200 OK\r\nContent-Length: {count}\r\n\r\n");
            drop(inner.write_all(&vec![b'x'; count]));
        }
        Does::SendsForEver => {
            let _gone = inner.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while inner
                .write_all(b"400\r\n")
                .and_then(|()| inner.write_all(&[b'x'; 1024]))
                .and_then(|()| inner.write_all(b"\r\n"))
                .is_ok()
            {}
        }
    }
    (head, body)
}

/// A receiver on loopback: its port, and what it got.
fn tcp(does: Does) -> (u16, Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, got) = channel();
    thread::spawn(move || {
        let (stream, _): (TcpStream, _) = listener.accept().expect("a connection");
        drop(sender.send(serve(stream, does)));
    });
    (port, got)
}

fn unix(path: &Path, does: Does) -> Receiver<Got> {
    let listener = UnixListener::bind(path).expect("a socket");
    let (sender, got) = channel();
    thread::spawn(move || drop(sender.send(serve(listener.accept().expect("a connection").0, does))));
    got
}

fn request(url: &str) -> HttpRequest {
    HttpRequest {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: RequestBody::Empty,
        timeout: PATIENT,
        max_body: 1 << 20,
    }
}

fn send(dir: &Path, request: HttpRequest) -> Result<HttpResponse, IoFault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let world = World::new(&dir.join("script"), &dir.join("logs"));
    runtime.block_on(world.http(request))
}

const FINE: Does = Does::Sends("HTTP/1.1 201 Created\r\nX-A: b\r\nContent-Length: 2\r\n\r\nhi");

#[test]
fn over_tcp() {
    let dir = tempfile::tempdir().expect("a folder");
    let (port, got) = tcp(FINE);
    let asked = HttpRequest {
        method: "POST".to_owned(),
        headers: vec![("Idempotency-Key".to_owned(), "7".to_owned())],
        body: RequestBody::Bytes(b"{\"a\":1}".into()),
        ..request(&format!("http://127.0.0.1:{port}/v1/events?x=1"))
    };
    let answer = send(dir.path(), asked).expect("an answer");
    assert_eq!((answer.status, answer.body.as_slice()), (201, &b"hi"[..]));
    assert!(answer.headers.contains(&("x-a".to_owned(), "b".to_owned())));
    let (head, body) = got.recv_timeout(PATIENT).expect("a request");
    assert_eq!((head[0].as_str(), body.as_slice()), ("POST /v1/events?x=1 HTTP/1.1", &b"{\"a\":1}"[..]));
    assert!(head.contains(&"idempotency-key: 7".to_owned()) && head.contains(&format!("host: 127.0.0.1:{port}")), "{head:?}");
    assert!(head.iter().any(|line| line.starts_with("user-agent: section3/")), "{head:?}");
}

#[test]
fn a_host_beyond_ascii_is_refused_with_the_way_to_write_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let said = send(dir.path(), request("https://b\u{fc}cher.example/")).expect_err("no such host").message;
    assert!(said.contains("is written as `xn--...`"), "{said}");
    let dead = send(dir.path(), request("http://xn--bcher-kva.invalid/")).expect_err("no such host").message;
    assert!(!dead.contains("address is bad"), "{dead}");
}

#[test]
fn over_a_unix_socket() {
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("s");
    let got = unix(&socket, FINE);
    let answer = send(dir.path(), request(&format!("unix:{}:/v1/events", socket.display()))).expect("an answer");
    assert_eq!(answer.status, 201);
    assert_eq!(got.recv_timeout(PATIENT).expect("a request").0[0], "GET /v1/events HTTP/1.1");
    let fault = send(dir.path(), request(&format!("unix:{}/none:/", dir.path().display()))).expect_err("nobody");
    assert_eq!(fault.message, format!("cannot reach {}/none: no such file or directory", dir.path().display()));
    assert_eq!((fault.code, fault.retryable), ("connect", true));
}

#[test]
fn a_file_is_streamed() {
    let dir = tempfile::tempdir().expect("a folder");
    let logs = dir.path().join("logs");
    std::fs::create_dir(&logs).expect("made");
    // Several pieces, and one that is not full.
    let bytes: Vec<u8> = (0..300_001_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(logs.join("web.log.1"), &bytes).expect("written");
    let (port, got) = tcp(FINE);
    let asked = |port, path: &str| HttpRequest {
        method: "PUT".to_owned(),
        body: RequestBody::File(logs.join(path)),
        ..request(&format!("http://127.0.0.1:{port}/"))
    };
    assert_eq!(send(dir.path(), asked(port, "web.log.1")).expect("an answer").status, 201);
    let (head, body) = got.recv_timeout(PATIENT).expect("a request");
    assert!(head.contains(&"content-length: 300001".to_owned()), "{head:?}");
    assert!(body == bytes);
    assert_eq!(send(dir.path(), asked(port, "none")).expect_err("no file").code, "not_found");
    std::os::unix::fs::symlink("/etc/passwd", logs.join("link")).expect("linked");
    assert_eq!(send(dir.path(), asked(port, "link")).expect_err("a link").code, "outside");
}

#[test]
fn answers_that_are_none() {
    let dir = tempfile::tempdir().expect("a folder");
    for (does, code, retryable) in [
        (Does::HangsUp, "broken", true),
        (Does::Sends("nonsense\r\n\r\n"), "broken", true),
        (Does::Sends("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), "broken", true),
        (Does::SendsForEver, "too_large", false),
        (Does::SendsBytes((1 << 20) + 1), "too_large", false),
    ] {
        let (port, _got) = tcp(does);
        let fault = send(dir.path(), request(&format!("http://127.0.0.1:{port}/k3y"))).expect_err("no answer");
        assert_eq!((fault.code, fault.retryable), (code, retryable), "{fault:?}");
        assert!(fault.message.contains("127.0.0.1") && !fault.message.contains("k3y"), "{fault:?}");
    }
    let (port, _got) = tcp(Does::SendsBytes(1 << 20));
    assert_eq!(send(dir.path(), request(&format!("http://127.0.0.1:{port}/"))).expect("it fits").body.len(), 1 << 20);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let fault = send(dir.path(), request(&format!("http://{nobody}/"))).expect_err("nobody");
    assert_eq!((fault.code, fault.message.as_str()), ("connect", "cannot reach 127.0.0.1: connection refused"));
}

#[test]
fn one_that_is_silent_is_not_waited_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let (port, got) = tcp(Does::IsSilent);
    let asked = HttpRequest { timeout: Duration::from_millis(100), ..request(&format!("http://127.0.0.1:{port}/")) };
    let fault = send(dir.path(), asked).expect_err("late");
    assert_eq!((fault.code, fault.retryable), ("timeout", true));
    assert_eq!(fault.message, "no whole answer of 127.0.0.1 within 100ms");
    // The connection is closed: the receiver is not left alone with it.
    assert!(got.recv_timeout(PATIENT).is_ok());
}

#[test]
fn a_connection_serves_one_request() {
    let dir = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    // All of them stay open.
    thread::spawn(move || {
        listener.incoming().flatten().map(|stream| (stream.try_clone(), serve(stream, FINE))).collect::<Vec<_>>()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let world = World::new(&dir.path().join("script"), &dir.path().join("logs"));
    for _ in 0..2 {
        assert_eq!(runtime.block_on(world.http(request(&url))).expect("an answer").status, 201);
    }
}

#[test]
fn an_address_that_is_too_long_is_not_tried_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let fault = send(dir.path(), request(&format!("http://127.0.0.1:1/{}", "x".repeat(1 << 17)))).expect_err("too long");
    assert_eq!((fault.code, fault.retryable), ("invalid", false), "{fault:?}");
}

#[test]
fn redirects_are_answers() {
    let dir = tempfile::tempdir().expect("a folder");
    let (port, _got) = tcp(Does::Sends("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(send(dir.path(), request(&format!("http://127.0.0.1:{port}/"))).expect("an answer").status, 302);
}
