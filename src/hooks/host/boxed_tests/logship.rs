//! `logship`: each rotated log once, under one name, whatever fails on the way. With the real `ln` and `gzip`.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{Answerer, ExecResult, Executor, IoFault, Play, pass, refused, reply, scene};
use crate::hooks::script::RequestBody;

/// Runs what is asked for, but for programs called `fails`.
fn tools(fails: &'static str) -> Executor {
    Box::new(move |request| {
        assert_eq!(request.timeout, Duration::from_secs(120));
        if request.argv[0] == fails {
            let stderr = format!("no room{}", " left".repeat(1000)).into_bytes();
            return Ok(ExecResult { code: Some(1), stderr, ..ExecResult::default() });
        }
        let output = Command::new(&request.argv[0]).args(&request.argv[1..]).output().expect(&request.argv[0]);
        let code = output.status.code();
        Ok(ExecResult { code, stdout: output.stdout, stderr: output.stderr, ..ExecResult::default() })
    })
}

/// The plugin once its timer has found no service, which does not come by itself again; services with logs, of which one
/// counts.
async fn load(settings: &str, dir: &Path, answerer: Answerer) -> Play {
    let leftovers = if settings.contains("leftovers") { "" } else { "leftovers: 1d, " };
    let text = format!("url: \"http://h/logs//\", services: [\"a?c\"], attempts: 1, {leftovers}{settings}");
    let play = Play::load("logship", &text, dir, answerer).expect("loaded");
    *play.world.executor.borrow_mut() = tools("-");
    pass(1).await;
    let log = |name: &str| json!({"name": name, "crashes": 0, "log": {"path": dir.join("logs").join(format!("{name}.log"))}});
    *play.world.services.borrow_mut() = json!([log("a-c"), log("a-cd"), log("xa-c"), {"name": "abc", "crashes": 0}]);
    play
}

fn fine() -> Answerer {
    Box::new(|_, _| reply(201, None, ""))
}

/// Puts a rotated log in place, last written so many seconds after 2026 began.
fn rotated(dir: &Path, name: &str, text: &str, second: u64) {
    let _ = fs::create_dir(dir.join("logs"));
    let path = dir.join("logs").join(name);
    fs::write(&path, text).expect("a log");
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + second);
    File::options().write(true).open(&path).and_then(|file| file.set_modified(at)).expect("a time");
}

/// What is pinned and not shipped.
fn shelf(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir.join("logs/logship")) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The paths of the uploads so far.
fn uploaded(play: &Play) -> Vec<String> {
    play.world.requests.borrow().iter().map(|(_, request)| request.url.clone()).collect()
}

fn part(url: &str) -> &str {
    url.strip_prefix("http://h/logs/box1/a-c/a-c-20260101T").and_then(|rest| rest.split('.').next()).unwrap_or(url)
}

#[test]
fn each_rotated_log_is_shipped_once_and_the_oldest_first() {
    scene(async |dir| {
        fs::create_dir(dir.join("logs")).expect("a folder");
        let play = load("headers: {X-Mine: \"5\", AUTHORIZATION: x}, token: t", dir, fine()).await;
        assert_eq!(play.command("ship").await, Ok(json!({"shipped": 0})));
        for (number, second) in [(1, 30), (2, 20), (3, 10), (5, 1)] {
            rotated(dir, &format!("a-c.log.{number}"), "x", second);
        }
        for other in ["a-cd.log.1", "xa-c.log.1", "a-c.log", "a-c.log.1.gz"] {
            rotated(dir, other, "other", 5);
        }
        assert_eq!(play.command("ship").await, Ok(json!({"shipped": 3})));
        let urls = uploaded(&play);
        // There is no fourth one, so there is no fifth.
        assert_eq!(urls.iter().map(|url| part(url)).collect::<Vec<_>>(), ["000010", "000020", "000030"], "{urls:?}");
        let requests = play.world.requests.borrow().clone();
        let header = |name: &str| {
            let headers = requests[0].1.headers.iter();
            headers.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(requests[0].1.method, "PUT");
        assert_eq!((header("content-type"), header("x-mine")), (vec!["application/gzip".to_owned()], vec!["5".to_owned()]));
        assert_eq!(header("authorization"), ["Bearer secret-t"]);
        // What was shipped has another number now, and one is new.
        for number in (1..=3).rev() {
            let name = |number| dir.join(format!("logs/a-c.log.{number}"));
            fs::rename(name(number), name(number + 1)).expect("rotated");
        }
        rotated(dir, "a-c.log.1", "new", 40);
        fs::remove_file(dir.join("logs/a-c.log.5")).expect("removed");
        assert_eq!(play.command("ship").await, Ok(json!({"shipped": 1})));
        assert_eq!(part(&uploaded(&play)[3]), "000040");
        drop(play);
        let play = load("", dir, fine()).await;
        assert_eq!(play.command("ship").await, Ok(json!({"shipped": 0})));
        assert_eq!((uploaded(&play), shelf(dir)), (vec![], vec![]));
    });
}

#[test]
fn what_was_not_taken_is_shipped_later_under_the_same_name() {
    scene(async |dir| {
        for status in [404, 503] {
            rotated(dir, "a-c.log.1", "x", status);
            let answers: Answerer = Box::new(move |number, _| reply(if number == 0 { status as u16 } else { 201 }, None, ""));
            let play = load("", dir, answers).await;
            let packed = Rc::new(Cell::new(0));
            let (count, mut real) = (Rc::clone(&packed), tools("-"));
            *play.world.executor.borrow_mut() = Box::new(move |request| {
                count.set(count.get() + usize::from(request.argv[0] == "gzip"));
                real(request)
            });
            let said = play.command("ship").await.expect_err("not taken");
            assert!(said.contains("a-c-20260101T") && said.ends_with(&format!("the receiver answered {status}")), "{said}");
            assert!(shelf(dir).len() == 1 && shelf(dir)[0].ends_with(".log.gz"), "{:?}", shelf(dir));
            // Somebody rotates, and the host ends meanwhile.
            fs::rename(dir.join("logs/a-c.log.1"), dir.join("logs/a-c.log.2")).expect("rotated");
            rotated(dir, "a-c.log.1", "y", status + 1);
            assert_eq!(play.command("ship").await, Ok(json!({"shipped": 2})));
            let urls = uploaded(&play);
            assert!(urls.len() == 3 && urls[0] == urls[1] && urls[1] != urls[2], "{urls:?}");
            assert!(shelf(dir).is_empty());
            assert_eq!(packed.get(), 2, "each is packed once");
        }
    });
}

#[test]
fn what_was_shipped_and_not_removed_is_not_shipped_again() {
    scene(async |dir| {
        rotated(dir, "a-c.log.1", "x", 1);
        let play = load("", dir, fine()).await;
        assert_eq!(play.command("ship").await, Ok(json!({"shipped": 1})));
        let name = uploaded(&play)[0].rsplit('/').next().expect("a name").to_owned();
        // As if the host had ended between the two.
        fs::write(dir.join("logs/logship").join(&name), "x").expect("a leftover");
        assert_eq!(play.command("ship").await, Ok(json!({"shipped": 1})));
        assert_eq!((uploaded(&play).len(), shelf(dir)), (1, vec![]));
    });
}

#[test]
fn a_tool_that_fails_is_named_and_loses_nothing() {
    scene(async |dir| {
        rotated(dir, "a-c.log.1", "x", 1);
        let play = load("", dir, fine()).await;
        *play.world.executor.borrow_mut() = tools("ln");
        assert_eq!(play.command("ship").await, Ok(json!({"shipped": 0})));
        let warned = play.world.logged.borrow().clone();
        assert!(warned.len() == 1 && warned[0].contains("a-c.log.1: ln: no room left") && warned[0].len() < 450, "{warned:?}");
        *play.world.executor.borrow_mut() = tools("gzip");
        // It stays pinned, and is pinned once.
        for _ in 0..2 {
            let said = play.command("ship").await.expect_err("not packed");
            assert!(said.starts_with("gzip: no room left") && said.len() < 320, "{said}");
        }
        assert!(shelf(dir).len() == 1 && shelf(dir)[0].ends_with(".log"), "{:?}", shelf(dir));
        let stuck = IoFault { code: "timeout", message: "`gzip` was killed".to_owned(), retryable: true };
        *play.world.executor.borrow_mut() = Box::new(move |_| Err(stuck.clone()));
        assert_eq!(play.command("ship").await, Err("`gzip` was killed".to_owned()));
        *play.world.executor.borrow_mut() = tools("-");
        assert_eq!(play.command("ship").await, Ok(json!({"shipped": 1})));
    });
}

#[test]
fn what_a_run_left_that_was_cut_off_is_no_hindrance() {
    scene(async |dir| {
        rotated(dir, "a-c.log.1", "x", 1);
        rotated(dir, "old", "older", 0);
        fs::create_dir(dir.join("logs/logship")).expect("a shelf");
        // Cut off between the link and its name.
        fs::hard_link(dir.join("logs/old"), dir.join("logs/logship/a-c.new")).expect("a link");
        fs::write(dir.join("logs/logship/what is this"), "").expect("a file");
        let play = load("", dir, fine()).await;
        assert_eq!(play.command("ship").await, Ok(json!({"shipped": 1})));
        assert_eq!(part(&uploaded(&play)[0]), "000001");
        assert!(play.world.logged.borrow().is_empty(), "{:?}", play.world.logged.borrow());
        assert_eq!(shelf(dir), ["what is this"]);
    });
}

#[test]
fn a_log_that_was_rotated_on_meanwhile_is_no_warning() {
    scene(async |dir| {
        rotated(dir, "a-c.log.1", "x", 1);
        let play = load("", dir, fine()).await;
        let gone: PathBuf = dir.join("logs/a-c.log.1");
        let mut real = tools("-");
        *play.world.executor.borrow_mut() = Box::new(move |request| {
            let _ = fs::remove_file(&gone);
            real(request)
        });
        assert_eq!(play.command("ship").await, Ok(json!({"shipped": 0})));
        assert!(play.world.logged.borrow().is_empty(), "{:?}", play.world.logged.borrow());
    });
}

#[test]
fn one_round_at_a_time_and_what_comes_meanwhile_is_in_the_next() {
    scene(async |dir| {
        rotated(dir, "a-c.log.1", "x", 1);
        let play = load("", dir, fine()).await;
        play.world.takes.set(Duration::from_secs(30));
        play.event("rotated", "rotate", "a-c", json!({}));
        pass(10).await;
        fs::rename(dir.join("logs/a-c.log.1"), dir.join("logs/a-c.log.2")).expect("rotated");
        rotated(dir, "a-c.log.1", "y", 2);
        for _ in 0..3 {
            assert_eq!(play.command("ship").await, Ok(json!({"shipped": 0})));
        }
        assert_eq!(uploaded(&play).len(), 1, "side by side");
        pass(60).await;
        let urls = uploaded(&play);
        assert_eq!(urls.iter().map(|url| part(url)).collect::<Vec<_>>(), ["000001", "000002"]);
        assert!(play.failures().is_empty() && shelf(dir).is_empty(), "{:?}", play.failures());
    });
}

#[test]
fn a_round_that_fails_or_is_ended_is_not_the_last_one() {
    scene(async |dir| {
        rotated(dir, "a-c.log.1", "x", 1);
        fs::write(dir.join("logs/logship"), "in the way").expect("a file");
        let play = load("leftovers: 10s", dir, fine()).await;
        pass(10).await;
        assert!(play.failures().iter().any(|why| why.contains("logship")), "{:?}", play.failures());
        *play.world.services.borrow_mut() = json!(null);
        assert_eq!(play.command("ship").await, Err("no answer".to_owned()));
        pass(10).await;
        assert!(play.failures().contains(&"no answer".to_owned()), "{:?}", play.failures());
        drop(play);
        fs::remove_file(dir.join("logs/logship")).expect("removed");
        let play = load("", dir, fine()).await;
        // Longer than a run may take.
        play.world.takes.set(Duration::from_secs(3600));
        play.event("rotated", "rotate", "a-c", json!({}));
        pass(700).await;
        assert!(play.failures().iter().any(|why| why.contains("took longer than 10m")), "{:?}", play.failures());
        play.world.takes.set(Duration::from_millis(5));
        assert_eq!(play.command("ship").await, Ok(json!({"shipped": 1})));
    });
}

#[test]
fn an_upload_is_tried_as_often_as_it_is_said() {
    scene(async |dir| {
        rotated(dir, "a-c.log.1", "y", 2);
        let text = "url: \"http://h/\", leftovers: 1d, attempts: 3, base: 1s";
        let play = Play::load("logship", text, dir, Box::new(|_, _| reply(503, None, ""))).expect("loaded");
        *play.world.executor.borrow_mut() = tools("-");
        pass(1).await;
        *play.world.services.borrow_mut() = json!([{"name": "a-c", "log": {"path": dir.join("logs/a-c.log")}}]);
        assert!(play.command("ship").await.is_err());
        let requests = play.world.requests.borrow();
        assert_eq!(requests.len(), 3);
        assert!(requests.iter().all(|(_, request)| matches!(&request.body, RequestBody::File(path) if path.starts_with(dir))));
        assert!(requests.iter().all(|(_, request)| request.timeout == Duration::from_secs(120)));
        assert!(requests.iter().all(|(_, request)| request.url.starts_with("http://h/box1/a-c/")));
    });
}

#[test]
fn only_the_services_that_were_meant_are_shipped() {
    scene(async |dir| {
        let names = ["a-c", "b.c", "aac", "c", "bxc", "b.cc"];
        for name in names {
            rotated(dir, &format!("{name}.log.1"), name, 1);
        }
        let text = "url: \"http://h/\", leftovers: 1d, services: [a-c, b.c]";
        let play = Play::load("logship", text, dir, fine()).expect("loaded");
        *play.world.executor.borrow_mut() = tools("-");
        pass(1).await;
        let log = |name| json!({"name": name, "log": {"path": dir.join(format!("logs/{name}.log"))}});
        *play.world.services.borrow_mut() = names.map(log).into_iter().collect();
        assert_eq!(play.command("ship").await, Ok(json!({"shipped": 2})));
    });
}

#[test]
fn a_receiver_that_is_not_there_is_said() {
    scene(async |dir| {
        let play = load("", dir, Box::new(|_, _| refused())).await;
        rotated(dir, "a-c.log.1", "x", 1);
        let said = play.command("ship").await.expect_err("nobody");
        assert!(said.starts_with("a-c-2026") && said.ends_with(": cannot reach h: connection refused"), "{said}");
    });
}
