//! `crashreport`: which events make a report, what is in it, and what is kept out.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Play, pass, reply, scene};
use crate::value::json;

fn load(settings: &str, dir: &Path) -> Play {
    let logs = dir.join("logs");
    let _ = fs::create_dir(&logs);
    let play = Play::load("crashreport", settings, dir, Box::new(|_, _| reply(200, None, ""))).expect("loaded");
    let log = |name: &str| json!({"path": logs.join(format!("{name}.log"))});
    *play.world.services.borrow_mut() = json!([
        {"name": "a", "state": "running", "crashes": 0, "log": log("a"), "depends_on": ["db", "gone"], "env": ["TOKEN"]},
        {"name": "db", "state": "failed", "crashes": 0, "log": log("db")},
    ]);
    play
}

/// An event of the chain, and the time to write it down.
async fn tell(play: &Play, kind: &str, data: Value) {
    play.event("chain", kind, "a", data);
    pass(1).await;
}

/// All reports, by the names of their folders.
fn reports(dir: &Path) -> Vec<Value> {
    let Ok(folders) = fs::read_dir(dir.join("logs/crashreport")) else { return Vec::new() };
    let mut paths: Vec<_> = folders.map(|entry| entry.expect("a folder").path().join("report.json")).collect();
    paths.sort();
    paths.iter().map(|path| json::from_slice(&fs::read(path).expect("a report")).expect("JSON")).collect()
}

fn types(report: &Value) -> Vec<&str> {
    report["events"].as_array().expect("events").iter().filter_map(|event| event["type"].as_str()).collect()
}

#[test]
fn a_chain_begins_with_a_crash_and_ends_once() {
    scene(async |dir| {
        let play = load("", dir);
        for kind in ["start", "recovered", "stop", "health", "gave_up"] {
            tell(&play, kind, json!({})).await;
        }
        play.event("chain", "crash", "", json!({"code": 1}));
        pass(1).await;
        assert_eq!(reports(dir), [] as [Value; 0]);
        for end in ["recovered", "gave_up", "stop"] {
            tell(&play, "exit", json!({"code": 1})).await;
            tell(&play, "crash", json!({"code": 1})).await;
            assert_eq!(play.command("list").await.expect("a list").as_array().map(Vec::len), Some(1));
            tell(&play, end, json!({})).await;
            assert_eq!(play.command("list").await, Ok(json!([])));
            // What comes after it belongs to none.
            tell(&play, "start", json!({})).await;
            let all = reports(dir);
            let report = all.iter().find(|report| report["outcome"] == end).expect("its report");
            assert_eq!((types(report), &report["crashes"]), (vec!["exit", "crash", end], &json!(1)));
            assert_eq!(report["closed_at"], "2026-01-01T00:00:00.000Z");
        }
        assert_eq!(reports(dir).len(), 3);
        assert!(play.failures().is_empty(), "{:?}", play.failures());
    });
}

#[test]
fn an_exit_is_part_of_the_crash_of_its_own_run_only() {
    for (run, wait, belongs) in [(7, 1, true), (8, 1, false), (7, 61, false)] {
        scene(async |dir| {
            let play = load("", dir);
            play.run.set(7);
            tell(&play, "exit", json!({"code": 3})).await;
            pass(wait).await;
            play.run.set(run);
            tell(&play, "crash", json!({"code": 3, "stage": "exec", "message": "no such file"})).await;
            let report = reports(dir).remove(0);
            let launch =
                json!({"run": run, "at": "2026-01-01T00:00:00.000Z", "launch": {"stage": "exec", "message": "no such file"}});
            assert_eq!(report["exits"].as_array().map(Vec::len), Some(1 + usize::from(belongs)), "{report}");
            assert_eq!(report["exits"][usize::from(belongs)], launch);
            // The next chain has nothing of it.
            tell(&play, "stop", json!({})).await;
            play.run.set(7);
            tell(&play, "crash", json!({"code": 3})).await;
            assert_eq!(reports(dir)[1]["exits"], json!([]));
            // Nor is it another thing once it was read again.
            play.count.set(3);
            tell(&play, "crash", json!({"code": 3})).await;
            assert_eq!((&reports(dir)[1]["exits"], &reports(dir)[1]["crashes"]), (&json!([]), &json!(4)));
        });
    }
}

#[test]
fn a_long_chain_keeps_its_beginning_and_its_end() {
    scene(async |dir| {
        let play = load("", dir);
        for code in 0..100 {
            tell(&play, "exit", json!({"code": code})).await;
            tell(&play, "crash", json!({"code": code})).await;
        }
        let report = reports(dir).remove(0);
        for (list, most) in [("events", 50), ("exits", 50)] {
            assert_eq!(report[list].as_array().map(Vec::len), Some(most), "{list}");
        }
        let code = |event: &Value| event["data"]["code"].as_i64();
        let exit = |exit: &Value| exit["exit"]["code"].as_i64();
        assert_eq!((code(&report["events"][0]), code(&report["events"][49])), (Some(0), Some(99)));
        assert_eq!((exit(&report["exits"][0]), exit(&report["exits"][49])), (Some(0), Some(99)));
        assert_eq!(report["crashes"], 100);
    });
}

#[test]
fn secrets_are_blacked_out_wherever_they_stand() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.s3cr3t";
    for (text, shown) in [
        ("Authorization: Bearer s3cr3t", "Authorization: Bearer [redacted]"),
        ("authorization: basic s3cr3t==", "authorization: basic [redacted]"),
        ("sent bearer s3cr3ts3cr3t", "sent bearer [redacted]"),
        ("DB_PASSWORD=s3cr3t ok", "DB_PASSWORD=[redacted] ok"),
        ("{\"api-key\": \"s3cr3t\", \"n\": 1}", "{\"api-key\": \"[redacted]\", \"n\": 1}"),
        ("aws_secret_access_key = s3cr3t", "aws_secret_access_key = [redacted]"),
        ("passphrase:s3cr3t;x", "passphrase:[redacted];x"),
        ("postgres://user:s3cr3t@db/x", "postgres://user:[redacted]@db/x"),
        ("key AKIAABCDEFGHIJKLMNOP here", "key [redacted] here"),
        ("ghp_s3cr3ts3cr3t0000", "[redacted]"),
        ("xoxb-s3cr3ts3cr3t0000", "[redacted]"),
        ("sk-s3cr3ts3cr3t0000", "[redacted]"),
        (jwt, "[redacted]"),
        ("session=4711", "[redacted]"),
        ("a tokenizer of 3 words", "a tokenizer of 3 words"),
        ("exit 1: connection refused", "exit 1: connection refused"),
    ] {
        scene(async |dir| {
            let play = load("redact: [\"session=[0-9]+\"]", dir);
            *play.world.logs.borrow_mut() = json!([text]);
            tell(&play, "exit", json!({"code": 1, "log_tail": [text]})).await;
            tell(&play, "crash", json!({"code": 1, "message": text, "log_tail": [text], "deep": {"er": [{"est": text}]}})).await;
            let report = reports(dir).remove(0);
            let data = &report["events"][1]["data"];
            assert_eq!(data["message"], shown);
            let exit = &report["exits"][0]["exit"]["log_tail"][0];
            for found in [&data["log_tail"][0], &data["deep"]["er"][0]["est"], &report["log_tail"][0], exit] {
                assert_eq!(found, shown);
            }
            assert_eq!(data["code"], 1);
        });
    }
}

#[test]
fn what_a_service_is_made_of_is_in_its_report_as_it_is_now() {
    scene(async |dir| {
        let play = load("lines: 3", dir);
        *play.world.logs.borrow_mut() = json!(["1", "2", "3", "4"]);
        tell(&play, "crash", json!({"code": 1})).await;
        let report = reports(dir).remove(0);
        assert_eq!((&report["service_state"], &report["environment"]), (&json!("running"), &json!(["TOKEN"])));
        assert_eq!(report["dependencies"], json!([{"name": "db", "state": "failed"}, {"name": "gone", "state": "unknown"}]));
        assert_eq!(report["log_tail"], json!(["2", "3", "4"]));
        // Removed by a reload: its chain ends all the same.
        *play.world.services.borrow_mut() = json!([]);
        tell(&play, "stop", json!({})).await;
        let report = reports(dir).remove(0);
        assert_eq!((&report["outcome"], &report["missing"]), (&json!("stop"), &json!("no such service")));
        // One that was never known has no place for a report.
        tell(&play, "crash", json!({"code": 1})).await;
        assert_eq!((play.failures(), reports(dir).len()), (vec!["no such service".to_owned()], 1));
        *play.world.services.borrow_mut() = json!([{"name": "a", "state": "running"}]);
        tell(&play, "crash", json!({"code": 1})).await;
        assert_eq!(play.failures()[1..], ["its log is not known"]);
    });
    scene(async |dir| {
        let play = load("lines: 0", dir);
        *play.world.logs.borrow_mut() = json!(["1"]);
        tell(&play, "crash", json!({"code": 1})).await;
        assert_eq!(reports(dir)[0]["log_tail"], Value::Null);
    });
}

#[test]
fn the_oldest_go_and_what_somebody_removed_begins_anew() {
    scene(async |dir| {
        let play = load("keep: 2", dir);
        for code in 1..=4 {
            tell(&play, "crash", json!({"code": code})).await;
            tell(&play, "recovered", json!({})).await;
        }
        let codes = |dir: &Path| -> Vec<_> {
            reports(dir).iter().map(|report| report["events"][0]["data"]["code"].as_i64().unwrap_or(0)).collect()
        };
        assert_eq!(codes(dir), [3, 4]);
        tell(&play, "crash", json!({"code": 5})).await;
        fs::remove_dir_all(dir.join("logs/crashreport")).expect("removed");
        tell(&play, "crash", json!({"code": 6})).await;
        assert_eq!(codes(dir), [6]);
        assert!(play.failures().is_empty(), "{:?}", play.failures());
    });
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure() {
    scene(async |dir| {
        let play = load("", dir);
        fs::create_dir_all(dir.join("logs/crashreport/a-20260101T000000Z-1/report.json")).expect("in the way");
        tell(&play, "crash", json!({"code": 1})).await;
        assert!(play.failures()[0].contains("report.json"), "{:?}", play.failures());
    });
}
