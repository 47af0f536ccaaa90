//! The link with a host that the test plays.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use super::*;
use crate::hooks::frame::ToHost;

fn ends() -> (Link, UnixStream) {
    let (ours, theirs) = pair().expect("a socketpair");
    (Link::new(ours), theirs.into())
}

fn ping(number: u64) -> ToHost {
    ToHost::Ping { number }
}

/// What [`Link::read`] hears until the end.
async fn heard(link: &Link) -> Vec<String> {
    let heard = RefCell::new(Vec::new());
    let note = |what: Heard| {
        heard.borrow_mut().push(match what {
            Heard::Frames(frames) => format!("{} frames", frames.len()),
            Heard::Garbage(what) => format!("garbage: {what}"),
            Heard::Closed => "closed".to_owned(),
            Heard::Room => "room".to_owned(),
        });
        async { true }
    };
    link.read(note).await;
    heard.into_inner()
}

#[tokio::test]
async fn frames_of_a_turn_are_one_write() {
    let (link, mut host) = ends();
    for number in 0..3 {
        assert_eq!(link.push(&ping(number)), Ok(()));
    }
    assert_eq!(link.flush(), Written::All);
    let mut all = [0; 4096];
    let got = host.read(&mut all).expect("frames");
    assert_eq!(
        String::from_utf8_lossy(&all[..got]),
        "{\"ping\":{\"number\":0}}\n{\"ping\":{\"number\":1}}\n{\"ping\":{\"number\":2}}\n"
    );
}

#[tokio::test]
async fn a_host_that_does_not_read_holds_up_nobody_and_gets_everything_later() {
    let (link, host) = ends();
    let mut pushed = 0;
    while link.has_room() || link.flush() == Written::All {
        assert_eq!(link.push(&ping(pushed)), Ok(()));
        pushed += 1;
    }
    assert_eq!(link.flush(), Written::Waiting);
    let reading = std::thread::spawn(move || {
        let mut lines = BufReader::new(host).lines();
        (0..pushed).all(|number| lines.next().expect("a line").expect("text") == format!("{{\"ping\":{{\"number\":{number}}}}}"))
    });
    link.drained().await;
    assert_eq!(link.flush(), Written::All);
    assert!(link.has_room() && reading.join().expect("the host"));
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let (link, _host) = ends();
    let words = ToHost::Unload { script: "x".repeat(MAX_FRAME / 2) };
    let mut pushed = 0;
    while link.push(&words) == Ok(()) {
        let _ = link.flush();
        pushed += 1;
        assert!(pushed < 100);
    }
    assert_eq!(link.push(&words), Err(Unsent::NoRoom));
    assert!(!link.has_room());
    assert_eq!(link.push(&ToHost::Unload { script: "x".repeat(MAX_FRAME) }), Err(Unsent::TooLong));
}

#[tokio::test]
async fn a_host_that_is_gone_is_no_signal() {
    let (link, host) = ends();
    drop(host);
    assert_eq!(link.push(&ping(1)), Ok(()));
    assert_eq!(link.flush(), Written::Gone);
}

#[tokio::test]
async fn frames_come_in_their_order_and_the_last_ones_before_the_end() {
    let (link, mut host) = ends();
    let writing = std::thread::spawn(move || {
        for number in 0..200 {
            // In two pieces, to be put together again.
            write!(host, "{{\"pong\":").expect("written");
            writeln!(host, "{{\"number\":{number}}}}}").expect("written");
        }
    });
    let numbers = RefCell::new(Vec::new());
    link.read(|what| {
        if let Heard::Frames(frames) = what {
            assert!(frames.len() <= FRAMES_A_LETTER);
            numbers.borrow_mut().extend(frames.into_iter().map(|frame| match frame {
                FromHost::Pong { number } => number,
                other => panic!("{other:?}"),
            }));
        }
        async { true }
    })
    .await;
    writing.join().expect("the host");
    assert_eq!(numbers.into_inner(), (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_no_frame_is_named() {
    for (said, found) in [
        ("hello\n".to_owned(), vec!["garbage: a line that is no frame"]),
        ("{\"pong\":{\"number\":1}}\n{\"pong\":{}}\n".to_owned(), vec!["1 frames", "garbage: a line that is no frame"]),
        ("{\"pong\":{\"number\":1}}\n{\"pong\"".to_owned(), vec!["1 frames", "closed"]),
        ("x".repeat(MAX_FRAME), vec!["garbage: a frame of more than 1048576 bytes"]),
        (String::new(), vec!["closed"]),
    ] {
        let (link, mut host) = ends();
        let writing = std::thread::spawn(move || host.write_all(said.as_bytes()).is_ok());
        let all = heard(&link).await;
        drop(link);
        let _ = writing.join();
        assert_eq!(all.len(), found.len(), "{all:?}");
        assert!(all.iter().zip(&found).all(|(all, found)| all.starts_with(found)), "{all:?}");
    }
}
