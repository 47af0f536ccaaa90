//! A connection: how long a line may be, and what is known of it at any moment.

use std::io::Write;
use std::net::Shutdown;
use std::thread::{self, JoinHandle};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::yield_now;

use super::*;

/// A connection, and its client's end.
fn line() -> (Line, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    (Line::new(ours), theirs)
}

/// A request that is being answered, and where its answer is to be written.
fn asked(line: &Line, form: Form) -> Sender<Vec<u8>> {
    let (frames, waiting) = channel(4);
    line.ask(b"status\n".to_vec(), form, waiting);
    frames
}

async fn reads(client: &mut UnixStream, expected: &[u8]) {
    let mut found = vec![0; expected.len()];
    timeout(PATIENCE / 2, client.read_exact(&mut found)).await.expect("an answer in time").expect("an answer");
    assert_eq!(found, expected);
}

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
    let _answer = asked(&line, Form::Plain);
    assert!(line.forward().await.is_err(), "it is cut off");
    let unread = line.unread.borrow().len();
    assert!(unread <= MAX_LINE + 1024, "{unread} bytes were read");
    drop(line);
    client.join().expect("the client");
}

/// G41: a client that never reads its answer has its place for 5 s.
#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_let_go() {
    let (line, _client) = line();
    let answer = asked(&line, Form::Plain);
    answer.try_send(vec![b'x'; 4 << 20]).expect("room");
    assert_eq!(timeout(2 * PATIENCE, line.forward()).await, Ok(Err(Lost)));
}

#[tokio::test(start_paused = true)]
async fn who_left_is_noticed_at_once_and_who_left_after_the_last_word_soon() {
    let (line, client) = line();
    let _answer = asked(&line, Form::Plain);
    drop(client);
    assert_eq!(timeout(PATIENCE / 2, line.forward()).await, Ok(Err(Lost)));

    let (line, mut client) = self::line();
    let answer = asked(&line, Form::Plain);
    client.shutdown().await.expect("half a connection");
    let leaves = async {
        // As `nc -N` does: it has said all, and still reads.
        answer.send(b"web".to_vec()).await.expect("somebody writes it");
        reads(&mut client, b"web").await;
        drop(client);
    };
    let (end, ()) = tokio::join!(timeout(2 * PATIENCE, line.forward()), leaves);
    assert_eq!(end, Ok(Err(Lost)));
}

/// What was written down for a re-exec that did not happen is written all the same, though no more comes.
#[tokio::test(start_paused = true)]
async fn a_look_holds_up_no_answer() {
    let (line, mut client) = line();
    let answer = asked(&line, Form::Json);
    let looks = async {
        // Until the other one waits for a frame.
        yield_now().await;
        for frame in [&b"one"[..], b"", b"two"] {
            answer.try_send(frame.to_vec()).expect("room");
        }
        assert_eq!(line.rest().unsent, b"onetwo");
        reads(&mut client, b"onetwo").await;
        drop(answer);
    };
    let (end, ()) = tokio::join!(line.forward(), looks);
    assert_eq!(end, Ok(()));
}

/// What a re-exec takes along of a connection, wherever its request and its answer are.
#[tokio::test]
async fn nothing_of_a_conversation_is_lost_or_said_twice() {
    let (line, _client) = line();
    line.unread.replace(b"next".to_vec());
    let answer = asked(&line, Form::Json);
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
    // The next request on the same line is nobody's yet.
    let _answer = asked(&line, Form::Json);
    assert_eq!(line.rest().doing, Doing::Nothing);
}

#[tokio::test]
async fn what_was_written_down_is_the_same_again() {
    for (doing, asked, unsent) in [
        (Doing::Nothing, &b"status\n"[..], &b""[..]),
        (Doing::Taken, b"tail -f\n", b"one"),
        (Doing::Answered, b"status\n", b"two"),
    ] {
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let (fd, form) = (ours.as_raw_fd(), Form::Plain);
        let rest = LineRest { fd, doing, form, unread: b"next".to_vec(), asked: asked.to_vec(), unsent: unsent.to_vec() };
        let line = Line::from_rest(ours, rest.clone());
        let (answer, waiting) = channel(1);
        match doing {
            Doing::Nothing => {}
            Doing::Taken => line.wait_for(waiting),
            Doing::Answered => {
                drop(answer);
                line.wait_for(waiting);
            }
        }
        assert_eq!(line.is_idle(), doing == Doing::Nothing, "{doing:?}");
        assert_eq!(line.rest(), rest);
    }
}

#[tokio::test]
async fn a_request_that_was_cut_is_the_last_one() {
    let (line, _client) = line();
    for (length, form, is_over) in
        [(9, Form::Json, false), (MAX_LINE, Form::Json, false), (MAX_LINE + 1, Form::Json, true), (9, Form::Plain, true)]
    {
        line.ask(vec![b'x'; length], form, channel(1).1);
        assert_eq!(line.is_over(), is_over, "{length} {form:?}");
    }
}
