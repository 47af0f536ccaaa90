//! A connection: how long a line may be, and what is known of it at any moment.

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

/// What a re-exec takes along of a connection, wherever its request and its answer are.
#[test]
fn nothing_of_a_conversation_is_lost_or_said_twice() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let line = Line::new(ours);
        line.unread.replace(b"next".to_vec());
        let (answer, waiting) = tokio::sync::mpsc::channel(4);
        line.ask(b"status\n".to_vec(), Form::Json, waiting);
        // Nobody has seen it: it is read again.
        let rest = line.rest();
        assert_eq!((rest.doing, rest.unread.as_slice()), (Doing::Nothing, &b"status\nnext"[..]));
        line.is_taken().store(true, Ordering::Release);
        answer.try_send(b"abcdef".to_vec()).expect("room");
        let rest = line.rest();
        let parts = (rest.doing, rest.unread.as_slice(), rest.asked.as_slice(), rest.unsent.as_slice());
        assert_eq!(parts, (Doing::Taken, &b"next"[..], &b"status\n"[..], &b"abcdef"[..]));
        // Some of it is written, and it is complete.
        line.sent.set(2);
        drop(answer);
        let rest = line.rest();
        assert_eq!((rest.doing, rest.unsent.as_slice()), (Doing::Answered, &b"cdef"[..]));
    });
}

#[test]
fn a_request_that_was_cut_is_the_last_one() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let line = Line::new(ours);
        for (length, form, is_over) in
            [(9, Form::Json, false), (MAX_LINE, Form::Json, false), (MAX_LINE + 1, Form::Json, true), (9, Form::Plain, true)]
        {
            let (_, waiting) = tokio::sync::mpsc::channel(1);
            line.ask(vec![b'x'; length], form, waiting);
            assert_eq!(line.is_over(), is_over, "{length} {form:?}");
        }
    });
}
