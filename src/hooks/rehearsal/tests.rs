use super::*;
use crate::value::json;

/// A hook of this text, or one of the repository's.
fn plan(file: PathBuf, event: &str, set: &[&str], replies: &[&str]) -> Plan {
    let set: Vec<String> = set.iter().map(|word| (*word).to_owned()).collect();
    Plan {
        file,
        sample: Sample::new(event, None, &set).expect("a sample"),
        repeat: 1,
        every: Duration::ZERO,
        replies: replies.iter().map(|text| Reply::parse(text).expect("a reply")).collect(),
        live: false,
        seed: 1,
    }
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks").join(name)
}

fn on(text: &str, change: impl FnOnce(&mut Plan)) -> Report {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("mine.lua");
    std::fs::write(&file, format!("local s3 = require 'section3'\n{text}")).expect("written");
    let mut plan = plan(file, "crash", &[], &[]);
    change(&mut plan);
    rehearse(plan)
}

fn of_kind(report: &Report, kind: &str) -> Vec<String> {
    report.effects.iter().filter(|effect| effect.kind == kind).map(|effect| effect.text.clone()).collect()
}

#[track_caller]
fn well(report: &Report) {
    assert!(report.problems.is_empty(), "{}", report.text());
}

#[test]
fn notify_sidecar() {
    let sidecar = |event, replies: &[&str]| rehearse(plan(shipped("notify-sidecar.lua"), event, &[], replies));
    let report = sidecar("crash", &["POST unix:/run/supervise.sock=503,refused,timeout,200"]);
    well(&report);
    let posts = of_kind(&report, "http");
    let ends: Vec<&str> = posts.iter().filter_map(|post| post.rsplit(' ').next()).collect();
    assert_eq!(ends, ["503", "connect", "timeout", "200"]);
    for post in report.effects.iter().filter(|effect| effect.kind == "http") {
        assert!(post.data["headers"].to_string().contains("\"00000000000000aa-1\""), "{post:?}");
        let body: Value = json::from_str(post.data["body"].as_str().expect("a body")).expect("JSON");
        assert_eq!((&body["exit"]["code"], &body["service"], &body["run"]), (&json!(1), &json!("web"), &json!(1)));
        assert_eq!(body["tail"], json!(["listening on 8080", "panic: connection refused"]));
    }
    well(&sidecar("gave_up", &[]));
    well(&sidecar("recovered", &[]));
    let report = sidecar("crash", &["POST *=400"]);
    assert_eq!(report.problems, ["sidecar: the sidecar answered 400"]);
    let report = sidecar("start", &[]);
    assert_eq!(report.problems, ["no handler wants `start` of web"]);
}

#[test]
fn telegram_sends_one_message_a_storm() {
    let mut storm = plan(shipped("telegram.lua"), "crash", &["data.signal=SIGSEGV"], &["POST api.telegram.org=429:7,503,200"]);
    (storm.repeat, storm.every) = (50, Duration::from_millis(100));
    let report = rehearse(storm);
    well(&report);
    let sent: Vec<&Effect> = report.effects.iter().filter(|effect| effect.kind == "http").collect();
    assert_eq!(sent.len(), 3, "{}", report.text());
    assert!(sent[1].at_ms - sent[0].at_ms >= 7_000, "{}", report.text());
    let body: Value = json::from_str(sent[0].data["body"].as_str().expect("a body")).expect("JSON");
    assert_eq!(body["text"], "host: 1 services, 50 events\nweb: crash, 50 crashes (SIGSEGV)");
    assert!(!report.text().contains("SECRET-") && report.text().contains("/bot[secret]/sendMessage"), "{}", report.text());
    assert!(!report.json().to_string().contains("SECRET-"));
    // At once where a service gives up: the clock has not moved.
    let report = rehearse(plan(shipped("telegram.lua"), "gave_up", &[], &[]));
    well(&report);
    assert_eq!(report.effects.iter().find(|effect| effect.kind == "http").expect("sent").at_ms, 0);
}

#[test]
fn ship_logs() {
    let report = rehearse(plan(shipped("ship-logs.lua"), "rotate", &[], &["PUT logs.example.net=503,201"]));
    well(&report);
    let own = "/var/log/section3/web-20260101T000000000Z.ship";
    assert_eq!(of_kind(&report, "file"), [format!("rename /var/log/section3/web.log.1 to {own}")]);
    assert_eq!(of_kind(&report, "exec"), [format!("gzip -f {own} -> exit 0")]);
    let put = format!("PUT https://logs.example.net/host/web-20260101T000000000Z.ship.gz file {own}.gz");
    assert_eq!(of_kind(&report, "http"), [format!("{put} -> 503"), format!("{put} -> 201")]);
    let report = rehearse(plan(shipped("ship-logs.lua"), "rotate", &[], &["exec gzip=1"]));
    assert_eq!(report.problems, ["ship: gzip: "]);
}

#[test]
fn disk_space_for_real() {
    let mut live = plan(shipped("disk-space.lua"), "daemon_ready", &[], &[]);
    live.live = true;
    let report = rehearse(live);
    well(&report);
    assert_eq!(of_kind(&report, "exec"), ["df -P / -> exit 0"]);
}

#[test]
fn the_same_seed_is_the_same_report() {
    let report = |seed| {
        let mut plan = plan(shipped("notify-sidecar.lua"), "crash", &[], &["POST *=503,503,503,200"]);
        (plan.seed, plan.repeat, plan.every) = (seed, 3, Duration::from_secs(60));
        rehearse(plan)
    };
    assert_eq!(report(7).text(), report(7).text());
    assert_eq!(report(7).json(), report(7).json());
    assert_ne!(report(7).text(), report(8).text());
}

#[test]
fn waiting_takes_no_time() {
    let report = on("s3.on('crash', {timeout = '10m'}, function() s3.sleep('9m') s3.log.info 'awake' end)", |_| {});
    well(&report);
    let line = report.effects.iter().find(|effect| effect.kind == "log").expect("a line");
    assert_eq!((line.at_ms, line.text.as_str()), (540_000, "info: awake"));
}

#[test]
fn what_goes_wrong_is_told() {
    for (text, says) in [
        ("s3.on('crash', function(ev) error 'oh' end)", "crash: mine.lua:2: oh"),
        ("s3.on('crash', function(ev) return false, 'no' end)", "crash: no"),
        ("s3.on('crash', function(ev) s3.sleep('31s') end)", "crash would have been killed: "),
        ("s3.on('crash', function(ev) while true do end end)", "crash would have been killed: "),
        (
            "s3.on('crash', function(ev) local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end end)",
            "crash would have been killed: ",
        ),
        ("s3.on('gaveup', print)", "not loaded: mine.lua:2: "),
        ("s3.on('crash', {servce = 'web'}, print)", "not loaded: mine.lua:2: "),
        (
            "s3.on('crash', function(ev) s3.http.get('http://x', {timout = 1}) end)",
            "crash: mine.lua:2: s3.http.get: argument 2 (`options`) has an unknown option `timout`; did you mean `timeout`?",
        ),
        ("s3.on('crash', function(ev) return ev.data.cod end)", "crash: mine.lua:2: "),
        ("s3.http.get 'http://x'", "not loaded: mine.lua:2: s3.http.get: call this inside a handler"),
        ("s3.on('crash', function(ev) return false, s3.secret 'tok' .. '' end)", "crash: [secret]"),
        (
            "s3.on('crash', function(ev) local r, err = s3.http.get('http://x') return false, err end)",
            "crash: cannot reach x: connection refused",
        ),
        ("syntax error", "not loaded: mine.lua:2: "),
    ] {
        let report = on(text, |plan| plan.replies = vec![Reply::parse("GET x=refused").expect("a reply")]);
        assert!(report.problems.iter().any(|problem| problem.starts_with(says)), "{text}\n{}", report.text());
    }
}

/// Lua cannot be stopped in there: the report comes all the same.
#[test]
fn what_would_take_the_host_down_is_told() {
    let report =
        on("s3.on('crash', function(ev) s3.log.info 'begins' return (('a'):rep(40)):find(('.-'):rep(14) .. 'b') end)", |_| {});
    assert_eq!(report.problems.len(), 1, "{}", report.text());
    assert!(report.problems[0].starts_with("mine would have been killed, and the hook host with it"), "{}", report.text());
    assert_eq!(of_kind(&report, "log"), ["info: begins"]);
}
