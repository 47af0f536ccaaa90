//! What README.md says of updates is so.

use section3::update::fetch::LIMITS;
use section3::update::place::Place;
use section3::update::signature::Keys;
use section3::update::source::Written;
use section3::update::{MAX_MANIFEST, MAX_PROGRAM};

use super::stand::{Stand, says};

const PAGE: &str = include_str!("../../../README.md");

fn section() -> &'static str {
    let (_, under) = PAGE.split_once("\n## Updating\n").expect("the section");
    under.split("\n## ").next().unwrap_or_default()
}

#[test]
fn its_release_yml_is_one() {
    let (_, block) = section().split_once("```release\n").expect("the block");
    let written = Written::parse(block.split("```").next().unwrap_or_default()).expect("a release.yml");
    assert!(written.url.is_some_and(|url| url.starts_with("https://")));
    assert!(Keys::parse(&written.keys.unwrap_or_default()).is_ok());
}

#[test]
fn its_limits_are_the_limits() {
    let words = section().split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        format!("at most {} KiB, a program {} MiB", MAX_MANIFEST >> 10, MAX_PROGRAM >> 20),
        format!(
            "{} s to connect, {} s of silence, {} s in all",
            LIMITS.connect.as_secs(),
            LIMITS.idle.as_secs(),
            LIMITS.total.as_secs()
        ),
    ] {
        assert!(words.contains(&part), "{part}");
    }
}

#[test]
fn its_files_are_the_files() {
    let stand = Stand::new();
    stand.release("0.9.0", &says("0.9.0"));
    stand.runs(&["self", "update"]).exits(0);
    let rows =
        section().lines().skip_while(|line| !line.starts_with("| file, beside")).skip(2).take_while(|line| line.starts_with('|'));
    let mut written: Vec<_> = rows.filter_map(|row| row.split('`').nth(1).map(str::to_owned)).collect();
    let place = Place::at(&stand.program()).expect("a place");
    assert!(place.previous().ends_with("section3.prev"));
    written.push("section3".to_owned());
    written.sort();
    assert_eq!(stand.names(), written);
}
