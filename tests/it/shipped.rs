//! The hooks of the repository under a real supervisor, against real receivers.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Home, Launch};

/// Long enough for every machine.
const PATIENT: Duration = Duration::from_secs(60);

/// A sidecar that gives these answers, one a connection, and what it was sent: the head and the body.
fn sidecar(path: &Path, answers: &'static [u16]) -> Receiver<(String, Value)> {
    let listener = UnixListener::bind(path).expect("a socket");
    let (sender, got) = channel();
    thread::spawn(move || {
        for status in answers {
            let mut stream = BufReader::new(listener.accept().expect("a connection").0);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).expect("a line");
                if line.trim_end().is_empty() {
                    break;
                }
                length =
                    line.to_lowercase().strip_prefix("content-length: ").map_or(length, |n| n.trim().parse().expect("a number"));
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            write!(stream.get_mut(), "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").expect("answered");
            let sent = sender.send((head, serde_json::from_slice(&body).expect("JSON")));
            if sent.is_err() {
                return;
            }
        }
    });
    got
}

#[test]
fn a_crash_reaches_the_sidecar() {
    let home = Home::new("services: {web: {command: \"echo oh; exit 7\", restart: never}}\nhooks: [notify-sidecar.lua]");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks/notify-sidecar.lua");
    // A copy is ours, whoever owns the repository.
    std::fs::copy(shipped, home.path("notify-sidecar.lua")).expect("copied");
    let socket = home.path("sidecar.sock");
    let got = sidecar(&socket, &[503, 200]);
    let url = format!("unix:{}:/v1/events", socket.display());
    let _daemon = Launch::new(home).env("SIDECAR_URL", &url).start();
    let (first, _) = got.recv_timeout(PATIENT).expect("a crash");
    let (second, body) = got.recv_timeout(PATIENT).expect("the crash again");
    let key = |head: &str| head.lines().find(|line| line.starts_with("idempotency-key: ")).expect("a key").to_owned();
    assert_eq!(key(&first), key(&second));
    assert!(second.starts_with("POST /v1/events HTTP/1.1"), "{second}");
    assert_eq!((&body["type"], &body["service"], &body["run"]), (&"crash".into(), &"web".into(), &1.into()));
    assert_eq!((&body["exit"]["code"], &body["tail"]), (&7.into(), &serde_json::json!(["oh"])));
}
