//! A plugin made by `plugin new` and edited as its README says.

use super::{loaded, x};
use crate::support::{Home, Launch};

#[test]
fn what_it_adds_is_used_from_the_config() {
    let home = Home::new("services: {}");
    home.cli(&["plugin", "new", "mine"]).exits(0);
    home.cli(&["plugin", "check", "mine"]).exits(0);
    // As the README says: the entry, a probe, a check, a policy; and one edit of init.lua.
    let readme = std::fs::read_to_string(home.path("plugins/mine/README.md")).expect("a README");
    for used in ["ready: {plugin: mine.warm}", "health: {plugin: mine.alive, interval: 10s}", "decisions: [mine]"] {
        assert!(readme.contains(used), "{used}: {readme}");
    }
    home.configure(
        "services:\n  web:\n    command: @web\n    ready: {plugin: mine.warm, interval: 50ms}\n    \
         health: {plugin: mine.alive, interval: 50ms, failures: 1, action: none}\n    decisions: [mine]\n    backoff: {initial: 10ms}\n\
         plugins:\n  mine:\n    allow: [\"services:read\", \"decide:restart\"]\n    warm: ^ready$\n",
    );
    let mut daemon = Launch::new(home).start();
    loaded(&daemon, "mine");
    let mut events = daemon.events();
    let mut web = daemon.stage.actor("web");
    web.does("line ready");
    assert_eq!(events.until("ready", "web")["data"]["by"], "plugin");
    assert_eq!(x(&daemon, &["mine", "look", "web"])["state"], "running");
    web.does("line FATAL: out of ideas");
    let health = events.until_that("unhealthy", |e| e["type"] == "health" && e["data"]["to"] == "unhealthy");
    assert!(health["data"]["output"].as_str().is_some_and(|said| said.contains("out of ideas")), "{health}");
    web.tell("exit 78");
    let hold = events.until("hold", "web");
    assert!(hold["data"]["reason"].as_str().is_some_and(|said| said.contains("configuration is wrong")), "{hold}");
}

/// `plugin check` runs `init.lua` and compares what it registers.
#[test]
fn a_plugin_is_checked_with_what_it_registers() {
    let home = Home::new("services: {}");
    for boxed in ["chat", "crashreport", "heartbeat", "logship", "resguard", "webhook"] {
        home.cli(&["plugin", "check", boxed]).exits(0);
    }
    home.cli(&["plugin", "new", "mine"]).exits(0);
    home.cli(&["plugin", "check", "mine"]).exits(0);
    let manifest = home.path("plugins/mine/plugin.yml");
    let text = std::fs::read_to_string(&manifest).expect("the manifest");
    std::fs::write(&manifest, text.replace("commands: [look]", "commands: [look, touch]")).expect("a manifest");
    let refused = home.cli(&["plugin", "check", "mine"]).exits(6).err;
    assert!(refused.contains("provides `touch` (commands), which is not registered"), "{refused}");
}
