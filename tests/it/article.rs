//! The example everybody starts from, with a web server and a shell worker in the two places.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Daemon, Home, Launch, Port};

fn config(port: u16, dir: &std::path::Path) -> String {
    format!(
        "defaults:
  dir: {}
  restart: always
services:
  web:
    command: busybox httpd -f -p 127.0.0.1:{port}
    ready: {{tcp: '127.0.0.1:{port}'}}
  worker:
    command: echo working; exec sleep 1000
    restart: on-crash
    depends_on:
      - web
",
        dir.display()
    )
}

#[test]
fn it_runs_is_seen_is_followed_and_ends() {
    let home = Home::new("");
    let reserved = Port::free();
    let port = reserved.number();
    home.configure(&config(port, &home.path("")));
    std::fs::write(home.path("index.html"), "hello").expect("a page");
    let mut daemon: Daemon = Launch::new(home).start();
    daemon.cli(&["wait", "worker", "--for", "running"]).exits(0);

    let mut page = String::new();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the web server, as it is ready");
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").expect("a request");
    stream.read_to_string(&mut page).expect("a page");
    assert!(page.ends_with("hello"), "{page}");

    let mut events = daemon.events();
    events.until("ready", "web");
    events.until("start", "worker");
    let status = daemon.cli(&["status"]).exits(0).out;
    let lines: Vec<Vec<&str>> = status.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!((lines[0][0], lines[0][1], lines[0][2]), ("web", "running", "PID"), "{status}");
    assert_eq!((lines[1][0], lines[1][1]), ("worker", "running"), "{status}");

    daemon.cli(&["restart", "worker"]).exits(0);
    daemon.cli(&["reload"]).exits(0);
    assert_eq!(daemon.status("web")["run"], 1);
    // The second run's line is there at the latest when that run has ended.
    daemon.cli(&["stop", "worker"]).exits(0);
    assert_eq!(daemon.cli(&["tail", "worker"]).exits(0).out, "working\nworking\n");

    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(daemon.ends(), 0);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the web server is gone");
}
