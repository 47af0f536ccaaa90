//! What a service finds when it starts, and what happens when it cannot.

use std::fs;

use serde_json::Value;

use crate::support::process::has_only_its_own;
use crate::support::{Daemon, Home, Launch};

#[test]
fn g32_a_service_has_three_descriptors() {
    let home = Home::new("services: {web: {command: [sleep, '1000']}, exec: {command: 'exec sleep 1000'}}");
    let daemon = Launch::new(home).under(&["sh", "-c", "exec 7</dev/null 9>/dev/null; exec \"$@\"", "sh"]).start();
    for name in ["web", "exec"] {
        daemon.cli(&["wait", name, "--for", "running"]).exits(0);
        let pid = daemon.status(name)["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a PID");
        has_only_its_own(pid);
        let target = |fd: u32| fs::read_link(format!("/proc/{pid}/fd/{fd}")).expect("a descriptor");
        assert_eq!(target(0).to_str(), Some("/dev/null"));
        assert!(target(1).to_string_lossy().starts_with("pipe:"));
        assert_eq!(target(1), target(2));
    }
}

#[test]
fn a_service_starts_with_clean_signals() {
    let home = Home::new("services: {web: {command: [cat, /proc/self/status], restart: never}}");
    let wrapper = ["env", "--block-signal", "--ignore-signal=USR1,USR2,PIPE,HUP"];
    let daemon = Launch::new(home).under(&wrapper).start();
    daemon.events().until("exit", "web");
    let text = daemon.log_text("web");
    for field in ["SigBlk", "SigIgn", "SigCgt"] {
        let mask = text.lines().find_map(|l| l.strip_prefix(&format!("{field}:"))).expect("a mask");
        assert_eq!(mask.trim().trim_start_matches('0'), "", "{field} in\n{text}");
    }
}

#[test]
fn a_service_leads_a_session_and_a_group_of_its_own() {
    let mut daemon = Daemon::start("services: {web: {command: @web}}");
    let web = daemon.stage.actor("web");
    let stat = fs::read_to_string(format!("/proc/{}/stat", web.pid)).expect("a live process");
    let fields: Vec<&str> = stat[stat.rfind(')').expect("its name") + 2..].split(' ').collect();
    let pid = web.pid.to_string();
    assert_eq!((fields[1], fields[2], fields[3]), (daemon.pid().to_string().as_str(), pid.as_str(), pid.as_str()));
}

#[test]
fn a_service_knows_its_name_its_run_and_its_settings() {
    let home = Home::new("");
    let file = home.path("vars");
    fs::write(&file, "FROM_FILE=one\nBOTH=file\n").expect("an env file");
    home.configure(&format!(
        "services:
  web:
    command: 'echo $SECTION3_SERVICE $SECTION3_RUN $FROM_FILE $BOTH; umask; pwd; ulimit -n; nice'
    env_file: {}
    env: {{BOTH: map}}
    umask: '027'
    dir: /usr
    nice: 5
    limits: {{nofile: 123}}
    restart: never
  bare: {{command: env, clean_env: true, env: {{A: b}}, restart: never}}
",
        file.display()
    ));
    let daemon = Launch::new(home).env("SURPLUS", "yes").start();
    let mut events = daemon.events();
    for _ in 0..2 {
        events.until_that("an exit", |e| e["type"] == "exit");
    }
    assert_eq!(daemon.log_text("web"), "web 1 one map\n0027\n/usr\n123\n5\n");
    let bare = daemon.log_text("bare");
    assert!(bare.contains("A=b\n") && bare.contains("PATH=") && !bare.contains("SURPLUS"), "{bare}");
}

/// G33: without a shell a missing program is no exit 127 but a launch that failed, and says so.
#[test]
fn g11_a_failed_launch_names_the_stage_and_the_path() {
    let config = "defaults: {restart: never}
services:
  program: {command: [/nonexistent/program]}
  dir: {command: [sleep, '1'], dir: /nonexistent/dir}
  user: {command: [sleep, '1'], user: nobody-of-this-name}
  file: {command: [/etc/passwd]}
";
    let daemon = Daemon::start(config);
    let mut events = daemon.events();
    for _ in 0..4 {
        let crash = events.until_that("a crash", |e| e["type"] == "crash");
        let word = match crash["service"].as_str() {
            Some("program") => "/nonexistent/program",
            Some("dir") => "/nonexistent/dir",
            Some("user") => "nobody-of-this-name",
            _ => "/etc/passwd",
        };
        assert!(crash["data"]["stage"].is_string(), "{crash}");
        assert!(crash["data"]["message"].to_string().contains(word), "{crash}");
    }
}

#[test]
fn g21_a_failed_launch_is_tried_again() {
    let home = Home::new("");
    let dir = home.path("later");
    home.configure(&format!(
        "services: {{web: {{command: @web, dir: {}, restart: on-crash, backoff: {{initial: 10ms, max: 10ms}}}}}}",
        dir.display()
    ));
    let mut daemon = Launch::new(home).start();
    let mut events = daemon.events();
    for _ in 0..3 {
        events.until("crash", "web");
    }
    fs::create_dir(&dir).expect("the folder, at last");
    daemon.stage.actor("web");
    events.until("ready", "web");
}

#[test]
fn g22_too_few_descriptors_are_a_failed_launch_and_no_more() {
    let services: Vec<String> = (0..60).map(|n| format!("s{n}: {{command: [sleep, '1000']}}")).collect();
    let home = Home::new(&format!("defaults: {{backoff: {{initial: 50ms, max: 50ms}}}}\nservices: {{{}}}", services.join(", ")));
    let daemon = Launch::new(home).under(&["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"]).start();
    let mut events = daemon.events();
    let crash = events.until_that("a launch that failed", |e| e["type"] == "crash");
    assert!(crash["data"]["message"].is_string(), "{crash}");
    // Room is made for twenty, whoever they are, and one that failed comes up by itself.
    let name = crash["service"].as_str().unwrap_or_default().to_owned();
    let others: Vec<String> = (0..60).map(|n| format!("s{n}")).filter(|other| *other != name).take(40).collect();
    let others = others.iter().map(String::as_str);
    daemon.cli(&["stop"].into_iter().chain(others).collect::<Vec<_>>()).exits(0);
    events.until("ready", &name);
}

#[test]
fn an_environment_file_is_read_at_each_launch_and_its_values_stay_secret() {
    let home = Home::new("");
    let file = home.path("vars");
    fs::write(&file, "TOKEN=sesame-one\n").expect("an env file");
    home.configure(&format!(
        "services: {{web: {{command: 'echo $TOKEN; exec sleep 1000', env: {{PASSWORD: sesame-three}}, env_file: {},
           ready: {{log: sesame}}, backoff: {{initial: 10ms, max: 10ms}}}}}}",
        file.display()
    ));
    let daemon = Launch::new(home).start();
    let mut events = daemon.events();
    events.until("ready", "web");
    fs::write(&file, "TOKEN=sesame-two\n").expect("an env file");
    daemon.cli(&["restart", "web"]).exits(0);
    assert_eq!(daemon.log_text("web"), "sesame-one\nsesame-two\n");

    fs::remove_file(&file).expect("the env file");
    daemon.cli(&["restart", "--no-wait", "web"]).exits(0);
    let crash = events.until("crash", "web");
    assert_eq!(crash["data"]["stage"], "env_file");
    assert!(crash["data"]["message"].to_string().contains("vars"), "{crash}");
    // It is being read all the time from here on.
    daemon.replace(&file, "TOKEN=sesame-two\nsesame-four\n");
    let crash = events.until_that("its line", |e| e["type"] == "crash" && e["data"]["message"].to_string().contains("vars:2"));
    assert_eq!(crash["data"]["stage"], "env_file");
    daemon.replace(&file, "TOKEN=sesame-five\n");
    events.until("ready", "web");

    // Its own output is its own affair; everything else is ours.
    let without_output = |event: &Value| {
        let mut event = event.clone();
        event["data"].as_object_mut().map(|data| data.remove("log_tail"));
        event["data"].as_object_mut().map(|data| data.remove("argv"));
        event.to_string()
    };
    for told in events.seen().iter().map(without_output).chain([daemon.json(&["status"]).to_string()]) {
        assert!(!told.contains("sesame"), "{told}");
    }
}
