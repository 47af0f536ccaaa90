//! `resguard`: a process tree over its memory limit.

use super::{loaded, x};
use crate::support::{Home, Launch};

#[test]
fn a_tree_over_its_memory_limit_is_restarted() {
    // The memory is in a child of the main process, and only in the first run.
    let daemon = Launch::new(Home::new(
        "services:\n  a:\n    command: |\n      if [ \"$SECTION3_RUN\" = 1 ]; then\n        sh -c 'x=$(head -c 60000000 /dev/zero | tr \"\\0\" x); \
         sleep 100000'\n      else\n        exec sleep 100000\n      fi\n  \
         b: {command: exec sleep 100000}\nplugins:\n  resguard: {memory: 40M, interval: 100ms, action: restart, cooldown: 1h}\n",
    ))
    .start();
    loaded(&daemon, "resguard");
    let mut events = daemon.events();
    let over = events.until_daemon("custom.resource");
    assert_eq!((over["data"]["service"].as_str(), over["data"]["metric"].as_str()), (Some("a"), Some("memory")), "{over}");
    assert_eq!((over["data"]["state"].as_str(), over["data"]["action"].as_str()), (Some("over"), Some("restart")), "{over}");
    assert!(over["data"]["value"].as_u64() > Some(40 << 20), "{over}");
    let again =
        daemon.events().until_that("the second start of a", |e| e["type"] == "start" && e["service"] == "a" && e["run"] == 2);
    assert_eq!((again["data"]["reason"].as_str(), again["actor"].as_str()), (Some("hook"), Some("plugin:resguard")), "{again}");
    let usage = x(&daemon, &["resguard", "usage"]);
    let b = usage.as_array().expect("a list").iter().find(|service| service["name"] == "b").expect("b").clone();
    assert_eq!(b["usage"]["processes"], 1, "{b}");
    assert!(b["usage"]["fds"].as_u64() > Some(2) && b["usage"]["rss_bytes"].as_u64() > Some(0), "{b}");
}
