use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use super::*;

/// A supervisor that does as scripted with one connection after the other.
struct Script {
    dir: tempfile::TempDir,
    thread: JoinHandle<Vec<String>>,
}

type Step = fn(UnixStream) -> String;

fn script(steps: Vec<Step>) -> Script {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("s")).unwrap();
    let thread = thread::spawn(move || steps.into_iter().map(|step| step(listener.accept().unwrap().0)).collect());
    Script { dir, thread }
}

impl Script {
    fn places(&self) -> Places {
        Places { paths: vec![self.dir.path().join("absent"), self.dir.path().join("s")], named: false }
    }
}

fn request_of(stream: &UnixStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

fn answer(mut stream: UnixStream) -> String {
    let line = request_of(&stream);
    stream.write_all(b"{\"v\":1,\"ok\":true,\"data\":[1]}\n").unwrap();
    line
}

fn close_after_reading(stream: UnixStream) -> String {
    request_of(&stream)
}

fn close_unread(stream: UnixStream) -> String {
    let mut first = [0];
    (&stream).read_exact(&mut first).unwrap();
    String::new()
}

fn refuse_unread(mut stream: UnixStream) -> String {
    stream.write_all(b"{\"v\":1,\"ok\":false,\"error\":{\"code\":\"busy\",\"message\":\"64 clients\"}}\n").unwrap();
    String::new()
}

fn replaced(mut stream: UnixStream) -> String {
    let line = request_of(&stream);
    stream.write_all(b"{\"v\":1,\"ok\":false,\"error\":{\"code\":\"replaced\",\"message\":\"ask again\"}}\n").unwrap();
    line
}

fn half_an_answer(mut stream: UnixStream) -> String {
    let line = request_of(&stream);
    stream.write_all(b"{\"v\":1,\"ok\":tr").unwrap();
    line
}

fn silence(mut stream: UnixStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn restart() -> Request {
    Request::decode(b"restart web").1.unwrap()
}

#[test]
fn the_first_place_with_a_listener_is_asked() {
    let script = script(vec![answer]);
    let data = call(&script.places(), &Request::Version, None).unwrap();
    assert_eq!(data.get(), "[1]");
    assert_eq!(script.thread.join().unwrap(), ["{\"v\":1,\"op\":\"version\",\"args\":{}}\n"]);
}

#[test]
fn a_connection_that_ends_before_the_answer_is_made_again_once() {
    for (steps, request, code) in [
        (vec![close_after_reading as Step, answer], Request::Version, None),
        (vec![close_unread, answer], Request::Version, None),
        (vec![close_unread, answer], restart(), None),
        (vec![close_after_reading, close_after_reading], Request::Version, Some(FaultCode::ConnectionLost)),
        // It was read: it may have been done.
        (vec![close_after_reading], restart(), Some(FaultCode::ConnectionLost)),
        (vec![half_an_answer], Request::Version, Some(FaultCode::ConnectionLost)),
        (vec![refuse_unread], Request::Version, Some(FaultCode::Busy)),
        // Its program was replaced: the next one is asked, once.
        (vec![replaced, answer], Request::Version, None),
        (vec![replaced, replaced], Request::Version, Some(FaultCode::Replaced)),
        (vec![replaced], restart(), Some(FaultCode::Replaced)),
    ] {
        let script = script(steps);
        let result = call(&script.places(), &request, None);
        assert_eq!(result.err().map(|fault| fault.code), code);
        script.thread.join().unwrap();
    }
}

/// G43: a client waits for a limited time.
#[test]
fn silence_ends_in_a_time_out() {
    let script = script(vec![silence]);
    let fault = call(&script.places(), &Request::Version, Some(Duration::from_millis(1))).unwrap_err();
    assert_eq!((fault.code, fault.message.as_str()), (FaultCode::Timeout, "the supervisor has not answered in time"));
    script.thread.join().unwrap();
}

#[test]
fn a_stream_is_read_to_its_end() {
    fn stream(mut stream: UnixStream) -> String {
        let line = request_of(&stream);
        stream.write_all(b"{\"v\":1,\"item\":1}\n{\"v\":1,\"item\":2}\n{\"v\":1,\"ok\":true}\n").unwrap();
        line
    }
    let script = script(vec![stream]);
    let request = Request::Events { lines: 2, follow: false };
    let places = script.places();
    let mut call = Call::send(&places, &request, None).unwrap();
    assert!(matches!(call.receive::<Raw>(), Ok(Reply::Item(item)) if item.get() == "1"));
    assert!(matches!(call.receive::<Raw>(), Ok(Reply::Item(item)) if item.get() == "2"));
    assert!(matches!(call.receive::<Raw>(), Ok(Reply::Done(None))));
}

/// G43: every reason has words of its own.
#[test]
fn no_supervisor_names_what_was_tried() {
    let dir = tempfile::tempdir().unwrap();
    let stale = dir.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    let places = Places { paths: vec!["/nonexistent/s".into(), stale.clone()], named: false };
    let fault = call(&places, &Request::Version, None).unwrap_err();
    assert_eq!(fault.code, FaultCode::NoSupervisor);
    assert_eq!(fault.message, format!("no supervisor at /nonexistent/s or {}", stale.display()));

    let places = Places { paths: vec![PathBuf::from("x".repeat(200))], named: true };
    assert_eq!(call(&places, &Request::Version, None).unwrap_err().code, FaultCode::Usage);
}

#[test]
fn who_may_serve() {
    for (server, own, named, may) in [
        (0, 0, false, true),
        (0, 7, false, true),
        (7, 7, false, true),
        (7, 0, false, false),
        (7, 0, true, true),
        (8, 7, false, false),
        (8, 7, true, false),
    ] {
        assert_eq!(may_be_served_by(server, own, named), may, "server {server}, own {own}, named {named}");
    }
}
