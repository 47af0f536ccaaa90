//! The pages of the plugins: each config on them is good, and everything a plugin can be told stands in its manifest.

use crate::support::Home;

const PAGES: [(&str, &str); 6] = [
    ("chat", include_str!("../../../plugins/chat/README.md")),
    ("crashreport", include_str!("../../../plugins/crashreport/README.md")),
    ("heartbeat", include_str!("../../../plugins/heartbeat/README.md")),
    ("logship", include_str!("../../../plugins/logship/README.md")),
    ("resguard", include_str!("../../../plugins/resguard/README.md")),
    ("webhook", include_str!("../../../plugins/webhook/README.md")),
];

#[test]
fn each_config_on_a_page_is_good() {
    for (name, page) in PAGES {
        let blocks: Vec<_> = page.split("\n```yaml\n").skip(1).filter_map(|rest| rest.split_once("\n```")).collect();
        assert!(!blocks.is_empty(), "{name} has no config");
        for (block, _) in blocks {
            // As it stands there: `@problem` is no child of a test.
            let home = Home::new("");
            std::fs::write(home.config(), block).expect("a config");
            home.cli(&["check"]).exits(0);
            let listed = home.cli(&["plugin", "list"]).exits(0).out;
            let line = listed.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_default();
            assert!(line.contains("  ready  "), "{listed}");
            home.cli(&["plugin", "check", name]).exits(0);
        }
    }
}

#[test]
fn commands_on_a_page_are_commands_of_the_plugin() {
    for (name, page) in PAGES {
        let home = Home::new("services: {}");
        let shown = home.cli(&["plugin", "show", name]).exits(0).out;
        let (_, commands) = shown.split_once("\ncommands: ").expect("commands");
        let commands: Vec<_> = commands.lines().next().unwrap_or_default().split(", ").collect();
        for used in page.split(&format!("section3 x {name} ")).skip(1) {
            let word = used.split(['`', ' ']).next().unwrap_or_default();
            assert!(commands.contains(&word), "{name}: `{word}` of {commands:?}");
        }
    }
}
