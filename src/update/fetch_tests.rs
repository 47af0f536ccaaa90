//! A server that misbehaves as told, and what the client makes of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::*;

/// Short where a case must run into it, long where it must not.
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);
const PATIENT: Limits = Limits { connect: LONG, idle: LONG, total: LONG };

/// Serves every connection with this, one after another, on its own thread; says where.
fn server(serve: impl Fn(&mut TcpStream, &str) + Send + 'static) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            serve(&mut stream, &path);
        }
    });
    Url::parse(&format!("http://127.0.0.1:{port}/file")).expect("a URL")
}

fn get(url: &Url, size: Size, limits: Limits) -> Result<Vec<u8>, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let fetcher = Fetcher::new(url, limits)?;
    let mut bytes = Vec::new();
    runtime.block_on(fetcher.stream(url, size, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    }))?;
    Ok(bytes)
}

#[test]
fn what_a_server_says() {
    for (answer, size, said) in [
        ("200 OK\r\nContent-Length: 5\r\n\r\nhello", Size::Exactly(5), Ok("hello")),
        ("200 OK\r\nContent-Length: 5\r\n\r\nhello", Size::AtMost(9), Ok("hello")),
        ("200 OK\r\n\r\nhello", Size::Exactly(5), Ok("hello")),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Size::Exactly(5), Ok("hello")),
        ("200 OK\r\nContent-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", Size::Exactly(5), Ok("hello")),
        ("200 OK\r\nContent-Length: 6\r\n\r\nhello!", Size::Exactly(5), Err("more bytes than the 5 that are signed")),
        ("200 OK\r\nContent-Length: 99999999999\r\n\r\nhello!", Size::AtMost(5), Err("more than the 5 bytes that are allowed")),
        ("200 OK\r\n\r\nhello!", Size::Exactly(5), Err("more bytes than the 5")),
        ("200 OK\r\nContent-Length: 4\r\n\r\nhell", Size::Exactly(5), Err("ended after 4 bytes; signed are 5")),
        ("200 OK\r\nContent-Length: 5\r\n\r\nhell", Size::Exactly(5), Err("broke off after 4 bytes")),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Size::Exactly(5), Err("broke off after 0 bytes")),
        ("200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", Size::Exactly(5), Err("Content-Encoding `gzip`")),
        ("206 Partial Content\r\nContent-Length: 5\r\n\r\nhello", Size::Exactly(5), Err("answered with 206 Partial Content")),
        ("204 No Content\r\n\r\n", Size::AtMost(5), Err("answered with 204")),
        ("404 Not Found\r\n\r\n", Size::AtMost(5), Err("answered with 404 Not Found")),
        ("302 Found\r\n\r\n", Size::AtMost(5), Err("not said where to")),
        ("302 Found\r\nLocation: http://127.0.0.2:1/\r\n\r\n", Size::AtMost(5), Err("another host")),
        ("302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", Size::AtMost(5), Err("another host")),
        ("302 Found\r\nLocation: https://example.org/x\r\n\r\n", Size::AtMost(5), Err("another host")),
        ("302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", Size::AtMost(5), Err("another host")),
        ("302 Found\r\nLocation: /file\r\n\r\n", Size::AtMost(5), Err("redirected more than 3 times")),
        ("", Size::AtMost(5), Err("cannot get")),
        ("nonsense", Size::AtMost(5), Err("cannot get")),
    ] {
        let url = server(move |stream, _| drop(write!(stream, "{}{answer}", if answer.is_empty() { "" } else { "HTTP/1.1 " })));
        match (get(&url, size, PATIENT), said) {
            (Ok(bytes), Ok(said)) => assert_eq!(bytes, said.as_bytes(), "{answer:?}"),
            (Err(fault), Err(said)) => assert!(fault.message.contains(said), "{answer:?}: {fault}"),
            (result, _) => panic!("{answer:?}: {result:?}"),
        }
    }
}

#[test]
fn three_redirects_are_followed_and_a_fourth_is_not() {
    for (redirects, is_followed) in [(3, true), (4, false)] {
        let url = redirected(redirects);
        assert_eq!(get(&url, Size::Exactly(5), PATIENT).is_ok_and(|bytes| bytes == b"hello"), is_followed, "{redirects}");
    }
}

/// A server that answers after so many redirects.
fn redirected(redirects: usize) -> Url {
    server(move |stream, path| {
        let _ = match path.len() - "/file".len() {
            done if done >= redirects => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            _ => write!(
                stream,
                "HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nConnection: close\r\nLocation: {path}x\r\n\r\n"
            ),
        };
    })
}

#[test]
fn what_is_asked_for_is_the_file_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = Url::parse(&format!("http://{}/", listener.local_addr().expect("an address"))).expect("a URL");
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
            head.push(byte[0]);
        }
        String::from_utf8_lossy(&head).to_lowercase()
    });
    assert!(get(&url, Size::AtMost(5), PATIENT).is_err());
    let head = asked.join().expect("a head");
    assert!(head.contains("\r\naccept-encoding: identity\r\n"), "{head}");
}

/// Whatever comes between the URL that was checked and the request: nothing of a server elsewhere is asked for in the clear.
#[test]
fn a_client_for_another_host_speaks_https_only() {
    let url = server(|stream, _| drop(write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")));
    let elsewhere = Url::parse("https://example.org/").expect("a URL");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let fetcher = Fetcher::new(&elsewhere, PATIENT).expect("a client");
    assert!(runtime.block_on(fetcher.bytes(&url, 5)).is_err_and(|fault| fault.message.contains("cannot get")));
}

#[test]
fn an_endless_body_is_cut_off() {
    let url = server(|stream, _| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    assert!(get(&url, Size::AtMost(65_536), PATIENT).is_err_and(|fault| fault.message.contains("more than the 65536")));
    let url = server(|stream, _| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    assert!(get(&url, Size::AtMost(65_536), PATIENT).is_err_and(|fault| fault.message.contains("cannot get")));
}

#[test]
fn silence_is_a_time_out_wherever_it_falls() {
    for begin in
        ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"]
    {
        let url = server(move |stream, _| {
            let _ = stream.write_all(begin.as_bytes());
            // Until the client hangs up.
            let _ = stream.read(&mut [0]);
        });
        let limits = Limits { connect: SHORT, idle: SHORT, ..PATIENT };
        let fault = get(&url, Size::Exactly(5), limits).expect_err(begin);
        assert_eq!(fault.code, FaultCode::Timeout, "{begin:?}: {fault}");
        assert!(fault.message.contains("nothing came for 200ms"), "{begin:?}: {fault}");
    }
}

/// One that accepts nobody: its queue is full, and the kernel drops who knocks.
#[test]
fn a_connection_that_is_not_made_is_a_time_out() {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, connect, getsockname, listen, socket};

    let new = || socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).expect("a socket");
    let deaf = new();
    bind(std::os::fd::AsRawFd::as_raw_fd(&deaf), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a port");
    listen(&deaf, Backlog::new(1).expect("a length")).expect("listening");
    let address: SockaddrIn = getsockname(std::os::fd::AsRawFd::as_raw_fd(&deaf)).expect("an address");
    let knocking: Vec<_> = (0..8).map(|_| new()).collect();
    for socket in &knocking {
        // Begun, or waiting for ever.
        let _ = connect(std::os::fd::AsRawFd::as_raw_fd(socket), &address);
    }
    let url = Url::parse(&format!("http://{address}/")).expect("a URL");
    let limits = Limits { connect: SHORT, idle: Duration::from_secs(5), total: LONG };
    let fault = get(&url, Size::AtMost(5), limits).expect_err("nobody");
    assert_eq!(fault.code, FaultCode::Timeout);
    assert!(fault.message.contains("cannot connect to") && fault.message.ends_with("within 200ms"), "{fault}");
}

#[test]
fn nobody_there_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let url = Url::parse(&format!("http://127.0.0.1:{port}/")).expect("a URL");
    let fault = get(&url, Size::AtMost(5), PATIENT).expect_err("nobody");
    assert!(fault.message.ends_with("connection refused"), "{fault}");
}

#[test]
fn what_a_server_says_cannot_move_the_cursor() {
    let url = server(|stream, _| drop(write!(stream, "HTTP/1.1 200 OK\r\nContent-Encoding: \u{9b}2J\r\n\r\n")));
    let fault = get(&url, Size::AtMost(5), PATIENT).expect_err("refused");
    assert!(fault.message.contains("\\u{9b}2J"), "{fault}");
}
