//! The hooks of the repository: what they tell, how often, and what they make of what fails.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{Answerer, ExecResult, IoFault, Play, pass, refused, reply, scene};
use crate::value::json;

fn fine() -> Answerer {
    Box::new(|_, _| reply(200, None, ""))
}

/// `disk-space` where each of these disks is so full.
fn disks(play: &Play, disks: &'static [(&'static str, u32)]) {
    *play.world.executor.borrow_mut() = Box::new(|request| {
        let path = request.argv.last().expect("a path");
        // In another language its columns have other names, and one on a dead server never ends.
        assert_eq!(
            (&request.argv[..2], &request.env),
            (&["df".to_owned(), "-P".to_owned()][..], &vec![("LC_ALL".to_owned(), "C".to_owned())])
        );
        assert_eq!(request.timeout, Duration::from_secs(10));
        let Some((_, percent)) = disks.iter().find(|(known, _)| known == path) else {
            let stderr = format!("df: {path}: No such file or directory\n").into_bytes();
            return Ok(ExecResult { code: Some(1), stderr, ..ExecResult::default() });
        };
        let stdout =
            format!("Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/disk 1 0 100 2000 {percent}% {path}\n");
        // One whose name has a blank and numbers in it, as a network's may.
        let stdout = stdout.replacen("/dev/disk 1 0", "/dev/disk 1", 1).replacen(" 100 2000 ", " 100 90 2000 ", 1);
        Ok(ExecResult { code: Some(0), stdout: stdout.into_bytes(), ..ExecResult::default() })
    });
}

fn names(play: &Play) -> Vec<(String, String)> {
    let path = |data: &Value| data["path"].as_str().unwrap_or_default().to_owned();
    play.emitted().iter().map(|(name, data)| (name.clone(), path(data))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect()
}

#[test]
fn a_disk_that_fills_up_is_told_once_and_so_is_its_end() {
    scene(async |dir| {
        let play = Play::hook("disk-space", &[("DISK_PATHS", "/a /b")], dir, fine()).expect("loaded");
        disks(&play, &[("/a", 89), ("/b", 90)]);
        play.event("disks-at-start", "daemon_ready", "", json!({}));
        pass(600).await;
        assert_eq!(names(&play), pairs(&[("disk_low", "/b")]));
        assert_eq!(play.emitted()[0].1, json!({"path": "/b", "percent": 90, "free_bytes": 2000 * 1024}));
        drop(play);
        // It is known after an end of the host, too.
        let play = Play::hook("disk-space", &[("DISK_PATHS", "/a /b"), ("DISK_LIMIT", "95")], dir, fine()).expect("loaded");
        disks(&play, &[("/a", 95), ("/b", 94)]);
        pass(600).await;
        assert_eq!(names(&play), pairs(&[("disk_low", "/a"), ("disk_ok", "/b")]));
        let logged = play.world.logged.borrow().clone();
        assert_eq!(logged, ["warning: /a is 95% full, 2.0M free", "info: /b is 94% full, 2.0M free"]);
        assert!(play.failures().is_empty(), "{:?}", play.failures());
    });
}

#[test]
fn a_disk_that_cannot_be_looked_at_hides_no_other() {
    scene(async |dir| {
        let play = Play::hook("disk-space", &[("DISK_PATHS", "/gone /b")], dir, fine()).expect("loaded");
        disks(&play, &[("/b", 99)]);
        pass(61).await;
        assert_eq!(names(&play), pairs(&[("disk_low", "/b")]));
        let failures = play.failures();
        assert!(failures.len() == 1 && failures[0].contains("df: /gone: No such file"), "{failures:?}");
        *play.world.executor.borrow_mut() =
            Box::new(|_| Err(IoFault { code: "timeout", message: "`df` was killed".to_owned(), retryable: true }));
        pass(60).await;
        assert!(play.failures()[1].contains("`df` was killed"), "{:?}", play.failures());
    });
    scene(async |dir| {
        let said = Play::hook("disk-space", &[("DISK_LIMIT", "90%")], dir, fine()).err().expect("refused").message;
        assert!(said.contains("DISK_LIMIT is a number of percent, found 90%"), "{said}");
    });
}

#[test]
fn a_sidecar_is_asked_for_ten_minutes_and_not_when_it_refuses() {
    scene(async |dir| {
        let play =
            Play::hook("notify-sidecar", &[("SIDECAR_URL", "http://h/")], dir, Box::new(|_, _| refused())).expect("loaded");
        // A service that is gone has no state, and is told all the same.
        play.event("sidecar", "crash", "web", json!({"code": 1}));
        pass(700).await;
        let tries = play.sent().len();
        assert!((40..=50).contains(&tries), "{tries}");
        assert_eq!(play.failures().len(), 1, "{:?}", play.failures());
        *play.world.answerer.borrow_mut() = Box::new(|_, _| reply(400, None, ""));
        play.event("sidecar", "crash", "web", json!({"code": 2}));
        pass(10).await;
        assert_eq!((play.sent().len(), &play.failures()[1..]), (tries + 1, &["the sidecar answered 400".to_owned()][..]));
    });
}

/// Puts a rotated log in place.
fn rotated(dir: &Path, name: &str) -> String {
    let path = dir.join("logs").join(name);
    fs::write(&path, name).expect("a log");
    path.display().to_string()
}

fn shipping(dir: &Path, answerer: Answerer) -> Play {
    let _ = fs::create_dir(dir.join("logs"));
    let play = Play::hook("ship-logs", &[("SHIP_LOGS_URL", "http://h")], dir, answerer).expect("loaded");
    *play.world.services.borrow_mut() = json!([{"name": "no-log"}, {"name": "web", "log": {"path": dir.join("logs/web.log")}}]);
    *play.world.executor.borrow_mut() = Box::new(|request| {
        let output = std::process::Command::new(&request.argv[0]).args(&request.argv[1..]).output().expect("gzip");
        Ok(ExecResult { code: output.status.code(), stderr: output.stderr, ..ExecResult::default() })
    });
    play
}

fn logs(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("logs")).expect("a folder");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_was_not_shipped_is_shipped_within_the_hour_and_what_was_is_not_kept_for_ever() {
    scene(async |dir| {
        let play = shipping(dir, Box::new(|_, _| reply(404, None, "")));
        // Older ones that were never shipped are nobody's to remove.
        for number in 0..5_u64 {
            let path = rotated(dir, &format!("web-20250101T00000{number}Z.ship.gz"));
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_600 + number);
            fs::File::options().write(true).open(path).and_then(|file| file.set_modified(at)).expect("a time");
        }
        let path = rotated(dir, "web.log.1");
        play.event("ship", "rotate", "web", json!({"path": path}));
        pass(10).await;
        let own = "web-20260101T000000000Z.ship.gz";
        assert_eq!(play.failures(), [format!("the upload of {own} was answered 404")]);
        assert_eq!(logs(dir).len(), 6);
        // One is taken now, and the others are still nobody's to remove.
        *play.world.answerer.borrow_mut() =
            Box::new(move |_, request| reply(if request.url.contains("/web-2025") { 404 } else { 200 }, None, ""));
        pass(3600).await;
        assert_eq!(logs(dir).len(), 6);
        let logged = play.world.logged.borrow().clone();
        assert!(logged.len() == 5 && logged[0].starts_with("warning: still not uploaded: the upload of web-2025"), "{logged:?}");
        let before = play.sent().len();
        *play.world.answerer.borrow_mut() = fine();
        pass(3600).await;
        let urls: Vec<_> = play.world.requests.borrow().iter().map(|(_, request)| request.url.clone()).collect();
        assert_eq!(urls.len(), before + 5, "{urls:?}");
        assert_eq!(urls.iter().filter(|url| **url == format!("http://h/box1/{own}")).count(), 2, "{urls:?}");
        // The newest three.
        assert_eq!(logs(dir), ["web-20250101T000003Z.ship.gz", "web-20250101T000004Z.ship.gz", own]);
        pass(7200).await;
        assert_eq!(play.sent().len(), before + 5, "shipped again");
    });
    scene(async |dir| {
        let play = shipping(dir, Box::new(|number, _| if number < 3 { reply(503, None, "") } else { reply(201, None, "") }));
        let path = rotated(dir, "web.log.1");
        play.event("ship", "rotate", "web", json!({"path": path}));
        pass(100).await;
        assert_eq!((play.sent().len(), play.failures().len()), (4, 0), "it is tried four times");
    });
}

#[test]
fn a_log_that_cannot_be_packed_or_is_gone_is_a_failure() {
    scene(async |dir| {
        let play = shipping(dir, fine());
        play.event("ship", "rotate", "web", json!({"path": dir.join("logs/web.log.1")}));
        pass(1).await;
        *play.world.executor.borrow_mut() =
            Box::new(|_| Ok(ExecResult { code: Some(1), stderr: b"no room".to_vec(), ..ExecResult::default() }));
        play.event("ship", "rotate", "web", json!({"path": rotated(dir, "web.log.1")}));
        pass(1).await;
        let failures = play.failures();
        assert!(failures[0].contains("web.log.1") && failures[1] == "gzip: no room", "{failures:?}");
        assert_eq!((play.sent().len(), logs(dir)), (0, vec!["web-20260101T000000000Z.ship".to_owned()]));
        *play.world.executor.borrow_mut() =
            Box::new(|_| Err(IoFault { code: "timeout", message: "`gzip` was killed".to_owned(), retryable: true }));
        pass(3600).await;
        assert!(play.world.logged.borrow()[0].contains("`gzip` was killed"), "{:?}", play.world.logged.borrow());
        *play.world.executor.borrow_mut() = Box::new(|_| Ok(ExecResult { code: Some(0), ..ExecResult::default() }));
        *play.world.answerer.borrow_mut() = Box::new(|_, _| refused());
        pass(3660).await;
        assert!(play.world.logged.borrow()[1].contains("connection refused"), "{:?}", play.world.logged.borrow());
        // The supervisor does not answer: said, and no reason to forget the hour after.
        *play.world.services.borrow_mut() = json!(null);
        pass(3601).await;
        assert!(play.failures()[2].contains("no answer"), "{:?}", play.failures());
    });
}

fn text(body: &str) -> String {
    json::from_str::<Value>(body).expect("JSON")["text"].as_str().expect("a text").to_owned()
}

#[test]
fn a_storm_is_one_message_that_telegram_takes() {
    scene(async |dir| {
        let play = Play::hook("telegram", &[("TELEGRAM_API", "http://h")], dir, fine()).expect("loaded");
        for number in 0..400 {
            let name = format!("{:02}{}", number % 20, "n".repeat(61));
            play.event("telegram", "crash", &name, json!({"message": "x".repeat(1000)}));
        }
        pass(20).await;
        let [(_, body)] = &play.sent()[..] else { panic!("{} messages", play.sent().len()) };
        let said = text(body);
        assert!(said.encode_utf16().count() <= 4096 && said.starts_with("box1: 20 services, 400 events\n"), "{said}");
        drop(play);
        let play = Play::hook("telegram", &[("TELEGRAM_API", "http://h")], dir, fine()).expect("loaded");
        for number in 0..15 {
            play.event("telegram", "crash", &format!("s{number:02}"), json!({"code": 1}));
        }
        play.count.set(5);
        play.event("telegram", "crash", "s00", json!({"signal": "SIGKILL"}));
        play.event("telegram", "gave_up", "s00", json!({}));
        pass(1).await;
        let said = text(&play.sent()[0].1);
        let lines: Vec<_> = said.lines().collect();
        assert_eq!((lines[1], lines.len(), lines[13]), ("s00: gave_up, 6 crashes (SIGKILL)", 14, "... and 3 more"), "{said}");
    });
}

#[test]
fn telegram_is_asked_again_when_it_wants_and_its_token_is_nowhere() {
    for (body, wait) in [
        ("{\"parameters\":{\"retry_after\":77}}", 77_000..78_000),
        ("{\"ok\":false}", 0..1_100),
        ("slow down", 0..1_100),
        ("429", 0..1_100),
        ("{\"parameters\":3}", 0..1_100),
    ] {
        scene(async |dir| {
            let answers: Answerer =
                Box::new(move |number, _| if number == 0 { reply(429, None, body) } else { reply(400, None, &"b".repeat(900)) });
            let play = Play::hook("telegram", &[("TELEGRAM_API", "http://h")], dir, answers).expect("loaded");
            play.event("telegram", "gave_up", "web", json!({"code": 1}));
            pass(600).await;
            let times: Vec<_> = play.sent().iter().map(|(at, _)| *at).collect();
            assert!(times.len() == 2 && wait.contains(&(times[1] - times[0])), "{body}: {times:?} {:?}", play.failures());
            let failures = play.failures();
            assert!(failures.len() == 1 && failures[0].starts_with("Telegram answered 400: bbb"), "{failures:?}");
            assert!(failures[0].len() < 250 && !failures[0].contains("secret-"), "{failures:?}");
            assert_eq!(play.world.requests.borrow()[0].1.url, "http://h/botsecret-telegram_token/sendMessage");
        });
    }
}

#[test]
fn a_telegram_that_cannot_be_reached_is_a_failure() {
    scene(async |dir| {
        let play = Play::hook("telegram", &[("TELEGRAM_API", "http://h")], dir, Box::new(|_, _| refused())).expect("loaded");
        play.event("telegram", "gave_up", "web", json!({"code": 1}));
        pass(600).await;
        assert_eq!((play.sent().len(), play.failures()), (10, vec!["cannot reach h: connection refused, at try 10".to_owned()]));
    });
}
