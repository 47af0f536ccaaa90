//! A run that ran out of memory: what a script may make of it.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::json;

use super::decisions::{asked_by, decision};
use crate::support::process;

/// What the group allows, and what its process takes.
const LIMIT: &str = "30000000";
const TAKEN: &str = "grow 100000000";

/// A control group with little memory. Where this machine lets us have one, the kernel itself kills who takes more.
struct Group(PathBuf);

impl Group {
    /// In the first hierarchy, or the unified one.
    fn new() -> Option<Self> {
        [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")].iter().find_map(|(root, limit)| {
            let group = Self(Path::new(root).join(format!("section3-test-{}", std::process::id())));
            fs::create_dir(&group.0).ok()?;
            // Dropped where it has no such limit.
            (group.0.join(limit).exists() && fs::write(group.0.join(limit), LIMIT).is_ok()).then_some(group)
        })
    }

    fn take(&self, pid: i32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("a process of ours goes into a group of ours");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn who_ran_out_of_memory_is_started_again_later_and_others_at_once() {
    let policy = r#"s3.decide("restart", function(c)
  if c.exit.oom then return {action = "delay", delay = "40m", reason = "out of memory"} end
end)"#;
    let mut daemon = asked_by("stop_grace: 100ms, backoff: {initial: 0s}", "policy", policy);
    let mut events = daemon.events();
    let mut web = daemon.stage.actor("web");
    // Kept until its process was reaped: before that it cannot be removed.
    let group = Group::new();
    match &group {
        Some(group) => {
            group.take(web.pid);
            web.tell(TAKEN);
            web.dies();
        }
        // What the supervisor sees of it is a SIGKILL that it did not send.
        None => process::signal(web.pid, Signal::SIGKILL),
    }
    let exit = events.until("exit", "web");
    assert_eq!((&exit["data"]["signal"], &exit["data"]["oom"]), (&json!("SIGKILL"), &json!(true)), "{exit}");
    let asked = decision(&mut events, "web", "restart");
    assert_eq!((&asked["verdict"], &asked["applied"], &asked["by"]), (&json!("delay 40m"), &json!(true), &json!("hook:policy")));
    assert_eq!(asked["reason"], "out of memory");
    assert_eq!(events.until("backoff", "web")["data"]["delay_ms"], 2_400_000);
    assert_eq!(daemon.status("web")["state"], "backoff");

    // Another crash, and a SIGKILL that was asked for, are no such thing.
    daemon.cli(&["start", "web"]).exits(0);
    let mut web = daemon.stage.actor("web");
    web.tell("exit 3");
    assert!(events.until("exit", "web")["data"].get("oom").is_none());
    assert_eq!(events.until("backoff", "web")["data"]["delay_ms"], 0);
    let mut web = daemon.stage.actor("web");
    web.does("ignore TERM");
    daemon.cli(&["wait", "web", "--for", "running"]).exits(0);
    daemon.cli(&["stop", "web"]).exits(0);
    let exit = events.until("exit", "web");
    assert_eq!((&exit["data"]["signal"], exit["data"].get("oom")), (&json!("SIGKILL"), None), "{exit}");
}
