//! A connection whose client never comes to an end of its line.

use std::io::Write;
use std::net::Shutdown;
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc::channel;

use super::*;

/// A client that writes four times as much as is allowed, without an end of line, and goes.
fn flooded() -> (Line, JoinHandle<()>) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socketpair");
    ours.set_nonblocking(true).expect("a socket that does not block");
    let client = thread::spawn(move || {
        // Refused in the middle: the rest then finds nobody.
        let _ = (&theirs).write_all(&vec![b'a'; 4 * MAX_LINE]);
        let _ = theirs.shutdown(Shutdown::Both);
    });
    (Line::new(UnixStream::from_std(ours).expect("a stream")), client)
}

/// G41: memory is bounded by the line, not by the 5 s that a client has for it.
#[tokio::test]
async fn a_line_without_an_end_is_cut_before_it_is_read_whole() {
    let (line, client) = flooded();
    let request = line.next_request().await.expect("a read").expect("a request");
    assert!((MAX_LINE + 1..=MAX_LINE + 4096).contains(&request.len()), "{} bytes were read", request.len());
    drop(line);
    client.join().expect("the client");
}

/// Who goes on to write while an answer is on its way is not read without an end either.
#[tokio::test]
async fn what_comes_before_an_answer_is_bounded() {
    let (line, client) = flooded();
    let (_answers, waiting) = channel(1);
    line.ask(b"events\n".to_vec(), Form::Plain, waiting);
    assert!(line.forward().await.is_err(), "it is cut off");
    let unread = line.unread.borrow().len();
    assert!(unread <= MAX_LINE + 1024, "{unread} bytes were read");
    drop(line);
    client.join().expect("the client");
}
