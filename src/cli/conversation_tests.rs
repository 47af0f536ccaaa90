//! Commands against a supervisor that answers as scripted: what is asked, printed and returned.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use super::out::testing::sheets;
use super::*;
use crate::value::json;

/// What a command asked, printed and returned.
struct Outcome {
    asked: Vec<String>,
    code: u8,
    stdout: String,
    stderr: String,
}

/// Runs a command line; each connection gets the next answer.
fn converse(line: &str, terminal: bool, answers: &'static [&'static str]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(&stream).read_line(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            let request: serde_json::Value = json::from_str(&request).unwrap();
            asked.push(format!("{} {}", request["op"].as_str().unwrap(), request["args"]));
            if answer.is_empty() {
                // Silence until the client hangs up.
                let _ = BufReader::new(&stream).read_line(&mut String::new());
            }
        }
        asked
    });
    let words = ["section3", "--socket", socket.to_str().unwrap()];
    let asked = Asked::read(verb::TABLE, words.into_iter().chain(line.split_whitespace()).map(OsString::from)).ok().unwrap();
    let (mut out, stdout, stderr) = sheets(terminal);
    let code = match carry_out(asked, &mut out, |_| panic!("it is no client")) {
        Ok(code) => code,
        Err(Halt::Fault(fault)) => {
            out.complain(&told(&fault));
            fault.code.exit_code()
        }
        Err(Halt::ReaderGone) => exit::DONE,
    };
    Outcome { asked: server.join().unwrap(), code, stdout: stdout.text(), stderr: stderr.text() }
}

const STATUS: &str = concat!(
    r#"{"v":1,"ok":true,"data":{"version":1,"supervisor":{"pid":1,"version":"0.1.0","boot":"b","time":"2025-01-02T12:00:00Z","#,
    r#""since":"2025-01-02T11:00:00Z","uptime_s":3600,"state":"running","config":"/c","log_dir":"/l","console_dropped_lines":0,"#,
    r#""later":1},"services":[{"name":"web","state":"starting","pid":7,"crashes":0}]}}"#,
    "\n"
);

#[test]
fn status_as_text_and_as_it_came() {
    let outcome = converse("status web", false, &[STATUS]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (exit::DONE, "web      starting  PID 7  not ready yet\n"));
    assert_eq!(outcome.asked, [r#"status {"names":["web"]}"#]);
    let outcome = converse("status --json", false, &[STATUS]);
    let document = STATUS.strip_prefix(r#"{"v":1,"ok":true,"data":"#).unwrap().trim_end().strip_suffix('}').unwrap();
    assert_eq!(outcome.stdout, format!("{document}\n"));
}

#[test]
fn an_order_that_failed_in_part_is_told_apart() {
    let outcome = converse(
        "start web db",
        false,
        &["{\"v\":1,\"ok\":true,\"data\":{\"services\":[\
           {\"name\":\"web\",\"ok\":true,\"outcome\":\"done\",\"state\":\"running\"},\
           {\"name\":\"db\",\"ok\":false,\"outcome\":\"failed\",\"state\":\"backoff\",\"message\":\"cannot run /x\"}]}}\n"],
    );
    assert_eq!(outcome.asked, [r#"start {"all":false,"names":["web","db"],"wait":true}"#]);
    assert_eq!(outcome.code, exit::FAILED);
    assert_eq!(outcome.stdout, "web      running   started\n");
    assert_eq!(outcome.stderr, "db       backoff   did not start  cannot run /x\n");
}

#[test]
fn a_time_out_says_how_things_are() {
    for (line, part) in [
        ("start web --timeout 1ms", "error: start was not done within 1ms: web is starting\nhint: the order goes on;"),
        (
            "wait web --for running --timeout 1ms",
            "error: web was not running within 1ms: web is starting\nhint: `section3 tail web`",
        ),
        ("reload --timeout 1ms", "error: the reload was not done within 1ms: web is starting\nhint: the reload goes on;"),
    ] {
        let outcome = converse(line, false, &["", STATUS]);
        assert_eq!(outcome.code, exit::TIMEOUT, "{line}");
        assert!(outcome.stderr.starts_with(part), "{line}: {}", outcome.stderr);
    }
}

#[test]
fn of_many_a_time_out_names_those_that_are_on_their_way() {
    let service = |name: &str, state: &str| format!(r#"{{"name":"{name}","state":"{state}","crashes":0}}"#);
    let told = |services: &[String]| -> String {
        let one = service("web", "starting").replace(r#","crashes""#, r#","pid":7,"crashes""#);
        assert!(STATUS.contains(&one), "{one}");
        let status: &'static str = STATUS.replace(&one, &services.join(",")).leak();
        let answers: &'static [&'static str] = vec!["", status].leak();
        let outcome = converse("start --all --timeout 1ms", false, answers);
        outcome.stderr.lines().next().unwrap_or_default().to_owned()
    };
    let some = [service("web", "running"), service("db", "starting"), service("one", "failed"), service("api", "waiting")];
    assert_eq!(told(&some), "error: start was not done within 1ms: db is starting, api is waiting");
    let settled = [service("web", "running"), service("one", "failed")];
    assert_eq!(told(&settled), "error: start was not done within 1ms: web is running, one is failed");
    let many: Vec<_> = (1..=10).map(|n| service(&format!("s{n}"), "waiting")).collect();
    assert!(told(&many).ends_with("s8 is waiting and 2 more"), "{}", told(&many));
}

#[test]
fn refusals_have_their_exit_codes() {
    for (answer, code, told) in [
        (
            "{\"v\":1,\"ok\":false,\"error\":{\"code\":\"unknown_service\",\"message\":\"no such service: `wbe`\",\
             \"hint\":\"did you mean `web`?\"}}\n",
            exit::UNKNOWN_SERVICE,
            "error: no such service: `wbe`\nhint: did you mean `web`?\n",
        ),
        (
            "{\"v\":1,\"ok\":false,\"error\":{\"code\":\"invalid_config\",\"message\":\"c.yml:1:2: bad\\nc.yml:3:4: bad\"}}\n",
            exit::INVALID_CONFIG,
            "error: c.yml:1:2: bad\nc.yml:3:4: bad\n",
        ),
        (
            "{\"v\":1,\"ok\":false,\"error\":{\"code\":\"not_permitted\",\"message\":\"no\"}}\n",
            exit::NOT_PERMITTED,
            "error: no\n",
        ),
    ] {
        let answers: &'static [&'static str] = Box::leak(Box::new([answer]));
        let outcome = converse("reload", false, answers);
        assert_eq!((outcome.code, outcome.stderr.as_str(), outcome.stdout.as_str()), (code, told, ""));
    }
}

const LINES: &str = "{\"v\":1,\"item\":{\"service\":\"web\",\"line\":\"\\u001b[31mred\"}}\n\
                     {\"v\":1,\"item\":{\"service\":\"db\",\"line_hex\":\"ff0a\"}}\n{\"v\":1,\"ok\":true}\n";

/// G44: no log line commands a terminal.
#[test]
fn lines_of_logs_are_escaped_on_a_terminal_only() {
    for (line, terminal, stdout) in [
        ("tail", false, "=== web ===\n\x1b[31mred\n=== db ===\n\u{fffd}\n\n"),
        ("tail", true, "=== web ===\n\\x1b[31mred\n=== db ===\n\\xff\\n\n"),
        ("tail --raw", true, "=== web ===\n\x1b[31mred\n=== db ===\n\u{fffd}\n\n"),
    ] {
        let outcome = converse(line, terminal, &[LINES]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (exit::DONE, stdout));
    }
    let outcome = converse("tail -n 3 web section3", false, &["{\"v\":1,\"ok\":true}\n"]);
    assert_eq!(outcome.asked, [r#"tail {"follow":false,"lines":3,"names":["web","section3"]}"#]);
}

#[test]
fn what_came_before_a_stream_broke_is_printed() {
    let outcome = converse(
        "events --json",
        false,
        &["{\"v\":1,\"item\":{\"seq\":1}}\n{\"v\":1,\"ok\":false,\"error\":{\"code\":\"too_slow\",\"message\":\"too slow\"}}\n"],
    );
    assert_eq!((outcome.code, outcome.stdout.as_str()), (exit::FAILED, "{\"seq\":1}\n"));
    let outcome = converse("events", false, &["{\"v\":1,\"item\":{\"seq\":1,\"type\":\"exit\"}}\n"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (exit::FAILED, "-  -         -             exit\n"));
    assert!(outcome.stderr.starts_with("error: the connection ended in the middle of the answer\n"));
}

#[test]
fn the_other_verbs() {
    for (line, answer, asked, stdout) in [
        (
            "signal web hup",
            "{\"v\":1,\"ok\":true,\"data\":{\"name\":\"web\",\"pid\":7,\"signal\":\"SIGHUP\"}}\n",
            r#"signal {"name":"web","signal":"SIGHUP"}"#,
            "web: sent SIGHUP to PID 7\n",
        ),
        (
            "rotate web",
            "{\"v\":1,\"ok\":true,\"data\":{\"logs\":[{\"name\":\"web\",\"ok\":true,\"bytes\":12}]}}\n",
            r#"rotate {"names":["web"]}"#,
            "web      rotated  12 bytes\n",
        ),
        (
            "wait web --for exited",
            "{\"v\":1,\"ok\":true,\"data\":{\"name\":\"web\",\"state\":\"exited\"}}\n",
            r#"wait {"name":"web","state":"exited"}"#,
            "web      exited\n",
        ),
        (
            "reload --dry-run",
            "{\"v\":1,\"ok\":true,\"data\":{\"dry_run\":true,\"services\":[]}}\n",
            r#"reload {"apply":false,"dry_run":true}"#,
            "dry run, nothing was changed\n",
        ),
        (
            "stop --all --no-wait",
            "{\"v\":1,\"ok\":true,\"data\":{\"services\":[]}}\n",
            r#"stop {"all":true,"names":[],"wait":false}"#,
            "",
        ),
    ] {
        let answers: &'static [&'static str] = Box::leak(Box::new([answer]));
        let outcome = converse(line, false, answers);
        assert_eq!((outcome.code, outcome.asked[0].as_str(), outcome.stdout.as_str()), (exit::DONE, asked, stdout), "{line}");
    }
}
