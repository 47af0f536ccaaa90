use super::*;
use crate::value::Version;
use serde_json::json;

use crate::value::json;
use crate::value::sorted::Set;
use crate::wire::event::UpdatePhase;

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

fn order_of(names: &[&str], all: bool, wait: bool) -> Order {
    Order { names: names.iter().map(|n| name(n)).collect(), all, wait }
}

fn version(text: &str) -> Option<Version> {
    Version::parse(text).ok()
}

fn every_request() -> Vec<Request> {
    vec![
        Request::Status { names: vec![] },
        Request::Status { names: vec![name("web"), name("db")] },
        Request::Start(order_of(&["web"], false, true)),
        Request::Stop(order_of(&[], true, false)),
        Request::Restart(order_of(&["web", "db"], false, true)),
        Request::Reload { dry_run: true, apply: false },
        Request::Tail { logs: vec![LogName::Supervisor, LogName::Service(name("web"))], lines: 0, follow: true },
        Request::Wait { name: name("web"), state: State::Exited },
        Request::Events { lines: 10_000, follow: false },
        Request::Signal { name: name("web"), signal: Signal::HUP },
        Request::Rotate { logs: vec![LogName::Service(name("web"))] },
        Request::Hook(HookOrder::List),
        Request::Hook(HookOrder::Enable { name: "a".into() }),
        Request::Hook(HookOrder::Disable { name: "a".into() }),
        Request::Emit { name: "deploy".into(), data: json!({"v": 1.5}).as_object().unwrap().clone() },
        Request::Plugin(PluginCall { plugin: None, command: None, args: vec![], limit_ms: CALL_MS }),
        Request::Plugin(PluginCall { plugin: Some("a".into()), command: Some("b".into()), args: vec!["-c".into()], limit_ms: 5 }),
        Request::Version,
        Request::Reexec,
        Request::Updated(UpdateNote::new(UpdatePhase::Applied, version("0.1.0"), version("0.2.0"), None)),
        Request::Updated(UpdateNote::new(UpdatePhase::Failed, version("0.1.0"), None, Some("no room\x1b"))),
    ]
}

#[test]
fn what_is_encoded_is_decoded() {
    for request in every_request() {
        let line = request.encode();
        assert!(line.ends_with('\n') && !line[..line.len() - 1].contains('\n'));
        assert_eq!(Request::decode(line.as_bytes()), (Form::Json, Ok(request)), "{line}");
    }
}

#[test]
fn every_op_is_in_the_list() {
    let ops: Set<_> = every_request().iter().map(Request::op).collect();
    assert_eq!(ops, Set::from(OPS));
}

#[test]
fn golden_requests() {
    for (line, request) in [
        (r#"{"v":1,"op":"status"}"#, Request::Status { names: vec![] }),
        (r#"{"v":1,"op":"status","args":{}}"#, Request::Status { names: vec![] }),
        (r#"{"v":1,"op":"stop","args":{"names":["a","b","a"]}}"#, Request::Stop(order_of(&["a", "b"], false, true))),
        (r#"{"op":"start","args":{"wait":false,"all":true},"v":1}"#, Request::Start(order_of(&[], true, false))),
        (r#"{"v":1,"op":"tail","args":{}}"#, Request::Tail { logs: vec![], lines: 20, follow: false }),
        (r#"{"v":1,"op":"events"}"#, Request::Events { lines: 1_000, follow: false }),
        (
            r#"{"v":1,"op":"signal","args":{"name":"web","signal":"usr1"}}"#,
            Request::Signal { name: name("web"), signal: Signal::parse("USR1").unwrap() },
        ),
    ] {
        assert_eq!(Request::decode(line.as_bytes()), (Form::Json, Ok(request)), "{line}");
    }
    assert_eq!(
        Request::Stop(order_of(&["web"], false, true)).encode(),
        "{\"v\":1,\"op\":\"stop\",\"args\":{\"names\":[\"web\"],\"all\":false,\"wait\":true}}\n"
    );
}

#[test]
fn json_that_is_refused() {
    let deep = format!("{}{}", r#"{"v":1,"op":"status","args":{"names":"#, "[".repeat(60_000));
    for (line, code, part) in [
        ("{", "usage", "not a JSON object"),
        ("{}", "usage", "no `v`"),
        (r#"{"v":2,"op":"status"}"#, "usage", "version 2"),
        (r#"{"v":"1","op":"status"}"#, "usage", "version \"1\""),
        (r#"{"v":1}"#, "usage", "no `op`"),
        (r#"{"v":1,"op":7}"#, "usage", "no `op`"),
        (r#"{"v":1,"op":"statsu"}"#, "usage", "did you mean `status`?"),
        (r#"{"v":1,"op":"shell"}"#, "usage", "the commands are status, start"),
        (r#"{"v":1,"op":"status","arg":{}}"#, "usage", "did you mean `args`?"),
        (r#"{"v":1,"op":"status","args":[]}"#, "usage", "`args` is not an object"),
        (r#"{"v":1,"op":"status","args":{"name":["a"]}}"#, "usage", "unknown argument `name`; did you mean `names`?"),
        (r#"{"v":1,"op":"status","args":{"names":"a"}}"#, "usage", "not a list of strings"),
        (r#"{"v":1,"op":"status","args":{"names":[1]}}"#, "usage", "not a list of strings"),
        (r#"{"v":1,"op":"stop","args":{}}"#, "usage", "no service is named"),
        (r#"{"v":1,"op":"stop","args":{"names":["a"],"all":true}}"#, "usage", "both services and all"),
        (r#"{"v":1,"op":"stop","args":{"names":["a"],"wait":1}}"#, "usage", "neither true nor false"),
        (r#"{"v":1,"op":"updated","args":{}}"#, "usage", "`phase` is missing"),
        (r#"{"v":1,"op":"updated","args":{"phase":"reexec"}}"#, "usage", "`phase` is available, applied,"),
        (r#"{"v":1,"op":"updated","args":{"phase":"applied","to":"9"}}"#, "usage", "`to`: a version is"),
        (r#"{"v":1,"op":"updated","args":{"phase":"applied","error":7}}"#, "usage", "`error` is not a string"),
        (r#"{"v":1,"op":"tail","args":{"lines":-1}}"#, "usage", "between 0 and 10000, not `-1`"),
        (r#"{"v":1,"op":"tail","args":{"lines":10001}}"#, "usage", "not `10001`"),
        (r#"{"v":1,"op":"tail","args":{"lines":2.5}}"#, "usage", "not `2.5`"),
        (r#"{"v":1,"op":"tail","args":{"lines":99999999999999999999}}"#, "usage", "between 0 and"),
        (r#"{"v":1,"op":"tail","args":{"lines":"5"}}"#, "usage", "between 0 and"),
        (r#"{"v":1,"op":"tail","args":{"names":["../../etc/passwd"]}}"#, "unknown_service", "no such service"),
        (r#"{"v":1,"op":"wait","args":{"name":"a"}}"#, "usage", "`state` is missing"),
        (r#"{"v":1,"op":"wait","args":{"name":"a","for":"running"}}"#, "usage", "`state` is missing"),
        (r#"{"v":1,"op":"wait","args":{"name":"a","state":"runing"}}"#, "usage", "did you mean `running`?"),
        (r#"{"v":1,"op":"signal","args":{"name":"a","signal":"TREM"}}"#, "usage", "did you mean `TERM`?"),
        (r#"{"v":1,"op":"signal","args":{"name":"section3","signal":"TERM"}}"#, "unknown_service", "reserved"),
        (r#"{"v":1,"op":"rotate","args":{}}"#, "usage", "no service is named"),
        (deep.as_str(), "usage", "nested too deeply"),
    ] {
        let (form, result) = Request::decode(line.as_bytes());
        let fault = result.expect_err(line);
        assert_eq!(form, Form::Json);
        assert_eq!(json::to_value(&fault.code).unwrap(), code, "{line}");
        assert!(fault.to_string().contains(part), "{line}: {fault}");
    }
}

/// G41: a request is at most 64 KiB.
#[test]
fn a_line_over_the_bound_is_refused() {
    let line = vec![b'x'; MAX_LINE];
    assert_eq!(Request::decode(&line), (Form::Plain, Err(Request::too_long())));
}

/// G35: no request can end the process.
/// A seeded stream of bytes, and of pieces that get past the first checks: G35 was one number away from ending PID 1.
#[test]
fn no_line_can_panic() {
    const PIECES: [&[u8]; 24] = [
        b"{\"v\":1,",
        b"\"op\":\"",
        b"tail\"",
        b",\"args\":{",
        b"}}",
        b"\"lines\":",
        b"-1",
        b"[[[[",
        b"\"names\":[",
        b"\"\xff\"",
        b"tail",
        b" ",
        b"-n",
        b"-",
        b"--",
        b"--lines=",
        b"status",
        b"\x1b[2J",
        b"99999999999999999999",
        b"\0",
        b"section3",
        b"=",
        "é\u{202e}".as_bytes(),
        b"signal web RTMIN+99",
    ];
    let mut seed = 0x5eed_u64;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..20_000 {
        let mut line = Vec::new();
        for _ in 0..next() % 12 {
            if next() % 3 == 0 {
                line.extend((0..next() % 9).map(|_| next() as u8));
            } else {
                line.extend_from_slice(PIECES[next() as usize % PIECES.len()]);
            }
        }
        if let (_, Err(fault)) = Request::decode(&line) {
            assert!(!fault.message.is_empty() && !fault.message.contains('\x1b'), "{line:?}");
        }
    }
}

#[test]
fn a_note_is_short_and_harmless() {
    let note = UpdateNote::new(UpdatePhase::Failed, None, None, Some(&"\u{1b}[2J\n".repeat(10_000)));
    assert!(note.error.as_ref().is_some_and(|error| error.len() == 1000 && error.starts_with("\\x1b[2J\\n")));
    let line = r#"{"v":1,"op":"updated","args":{"phase":"failed","error":"\u001b[2J"}}"#;
    let Ok(Request::Updated(note)) = Request::decode(line.as_bytes()).1 else { panic!("a note") };
    assert_eq!(note.error.as_deref(), Some(r"\x1b[2J"));
}
