//! Order: dependencies first, stops in reverse.

use crate::support::Daemon;

/// P13: readiness is told by the service, not guessed from the order.
#[test]
fn g08_a_service_waits_until_what_it_needs_is_ready() {
    let config = "services: {worker: {command: @worker, depends_on: [web]}, web: {command: @web, ready: {log: '^up'}}}";
    let mut daemon = Daemon::start(config);
    let mut events = daemon.events();
    let mut web = daemon.stage.actor("web");
    daemon.cli(&["wait", "worker", "--for", "waiting"]).exits(0);
    assert!(daemon.status("worker")["waiting_for"].to_string().contains("web"));
    web.does("write up");
    // Its line ends with the first printed one.
    web.does("print 1");
    events.until("ready", "web");
    events.until("start", "worker");
    daemon.stage.actor("worker");
}

#[test]
fn started_and_completed_are_conditions_too() {
    let config = "services:
  early: {command: @early, depends_on: {web: started}}
  web: {command: @web, ready: {file: /nonexistent}}
  migrate: {command: @migrate, restart: never}
  app: {command: @app, depends_on: {migrate: completed}}
";
    let mut daemon = Daemon::start(config);
    let mut events = daemon.events();
    daemon.stage.actor("web");
    daemon.stage.actor("early");
    let mut migrate = daemon.stage.actor("migrate");
    assert_eq!(daemon.status("app")["state"], "waiting");
    migrate.tell("exit 0");
    events.until("exit", "migrate");
    events.until("start", "app");
    daemon.stage.actor("app");
}

#[test]
fn what_needs_a_failed_service_fails_too() {
    let config = "services: {migrate: {command: exit 1, restart: never}, app: {command: @app, depends_on: {migrate: completed}}}";
    let daemon = Daemon::start(config);
    daemon.cli(&["wait", "app", "--for", "failed"]).exits(0);
    assert!(daemon.status("app")["message"].to_string().contains("migrate"));
}

#[test]
fn a_stop_of_all_goes_in_reverse() {
    let config = "services: {a: {command: @a}, b: {command: @b, depends_on: [a]}, c: {command: @c, depends_on: [b]}}";
    let mut daemon = Daemon::start(config);
    let mut events = daemon.events();
    for name in ["a", "b", "c"] {
        daemon.stage.actor(name);
    }
    daemon.cli(&["stop", "--all"]).exits(0);
    let ends = |kind: &str| kind == "stopping" || kind == "exit";
    let order: Vec<String> = (0..6)
        .map(|_| events.until_that("stopping or exit", |e| e["type"].as_str().is_some_and(ends)))
        .map(|e| format!("{} {}", e["service"].as_str().unwrap_or_default(), e["type"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(order, ["c stopping", "c exit", "b stopping", "b exit", "a stopping", "a exit"]);
}

/// Who starts one service and gets three is told.
#[test]
fn a_start_names_what_it_starts_besides() {
    let config = "services: {db: {command: exec sleep 100000}, up: {command: exec sleep 100000},
      web: {command: exec sleep 100000, depends_on: [db, up]}, api: {command: exec sleep 100000, depends_on: [web]}}";
    let daemon = Daemon::start(config);
    daemon.cli(&["stop", "api", "web", "db"]).exits(0);
    daemon.cli(&["start", "api"]).exits(0).says(&["api      running   started  with what it needs: db, web\n"]);
    daemon.cli(&["stop", "web"]).exits(0);
    let restarted = daemon.cli(&["restart", "api"]).exits(0);
    restarted.says(&["api      running   restarted  with what it needs: web\n"]);
    // Those that were asked for are in the answer anyway, and what runs is not started.
    daemon.cli(&["stop", "--all"]).exits(0);
    assert!(!daemon.cli(&["start", "--all"]).exits(0).out.contains("needs"));
    assert!(!daemon.cli(&["start", "api"]).exits(0).out.contains("needs"));
}

#[test]
fn stopping_a_needed_service_leaves_the_others_alone_and_says_so() {
    let mut daemon = Daemon::start("services: {web: {command: @web}, worker: {command: @worker, depends_on: [web]}}");
    daemon.stage.actor("web");
    let worker = daemon.stage.actor("worker");
    daemon.cli(&["stop", "web"]).exits(0).says(&["worker"]);
    let status = daemon.status("worker");
    assert_eq!((&status["state"], &status["pid"]), (&"running".into(), &worker.pid.into()));
}
