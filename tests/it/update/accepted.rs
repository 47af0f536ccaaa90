//! What is installed, and what is left as it was.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use super::stand::{Key, NEW, OLD, Stand, says};
use crate::support::home::finish;

#[test]
fn the_good_update() {
    let stand = Stand::offering();
    stand.runs(&["self", "update", "--check"]).exits(8).says(&[NEW, "is available", "2020-01-01"]);
    assert!(stand.has_old());
    stand.runs(&["self", "update"]).exits(0).says(&[&format!("section3 {NEW} is installed"), "section3.prev"]);
    assert!(stand.has(NEW));
    let found = fs::metadata(stand.program()).expect("a program");
    assert_eq!((found.mode() & 0o7777, found.uid()), (0o755, 0));
    assert_eq!(stand.names(), [".section3.lock", ".section3.record", "section3", "section3.prev"]);
    // The kept copy is the old program, whole.
    let kept = stand.path("bin/section3.prev");
    assert!(finish(stand.command_of(&kept, &["--version"]).spawn().expect("it"), "prev").exits(0).out.contains(OLD));
}

/// A proxy is for what is elsewhere.
#[test]
fn a_proxy_is_not_asked_for_this_very_machine() {
    let stand = Stand::offering();
    let mut command = stand.command(&["self", "update"]);
    command.env_remove("NO_PROXY").env("http_proxy", "http://127.0.0.1:9").env("all_proxy", "http://127.0.0.1:9");
    finish(command.spawn().expect("it"), "self update").exits(0);
    assert!(stand.has(NEW));
}

/// `script` gives it a terminal.
#[test]
fn a_terminal_sees_how_far_it_is() {
    let stand = Stand::offering();
    let line = format!("{} self update", stand.program().display());
    let mut command = stand.command_of("script".as_ref(), &["-qec", &line, "/dev/null"]);
    let said = finish(command.spawn().expect("script"), "script").exits(0).out;
    let whole = format!("\r\u{1b}[Ksection3 {NEW} [==============================] 100%");
    assert!(said.contains(&whole) && said.contains("is installed"), "{said:?}");
    assert!(stand.has(NEW));
}

/// Installed it is all the same; what the supervisor makes of it is told apart.
#[test]
fn live_needs_a_supervisor() {
    let stand = Stand::offering();
    stand.runs(&["self", "update", "--live"]).exits(3).says(&[&format!("section3 {NEW} is installed"), "no supervisor at"]);
    assert!(stand.has(NEW));
}

#[test]
fn the_same_version_is_up_to_date() {
    let stand = Stand::new();
    stand.release(OLD, &says(OLD));
    for args in [&["self", "update"][..], &["self", "update", "--check"]] {
        stand.refuses(args, 0, &["is up to date"]);
    }
    stand.refuses(&["self", "update", "--to", OLD], 0, &["nothing was changed"]);
}

#[test]
fn a_link_that_leads_to_the_program_stays() {
    let stand = Stand::offering();
    let link = stand.path("link");
    symlink(stand.program(), &link).expect("a link");
    finish(stand.command_of(&link, &["self", "update"]).spawn().expect("it"), "update").exits(0);
    assert!(stand.has(NEW) && fs::read_link(&link).is_ok_and(|to| to == stand.program()));
}

#[test]
fn bits_and_group_of_the_old_one() {
    let stand = Stand::offering();
    let copy = stand.path("bin/copy");
    fs::copy(stand.program(), &copy).expect("a copy");
    std::os::unix::fs::chown(&copy, None, Some(54_321)).expect("a group");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).expect("a mode");
    fs::rename(&copy, stand.program()).expect("installed");
    stand.runs(&["self", "update"]).exits(0);
    let found = fs::metadata(stand.program()).expect("a program");
    assert_eq!((found.mode() & 0o7777, found.gid()), (0o755, 54_321));
}

#[test]
fn a_named_version_may_be_older() {
    let stand = Stand::offering();
    stand.release("0.0.7", &says("0.0.7"));
    stand.refuses(&["self", "update"], 1, &["0.0.7 is offered, which is older than", "--to 0.0.7"]);
    stand.runs(&["self", "update", "--to", "0.0.7"]).exits(0);
    assert!(stand.has("0.0.7"));
}

/// A release signed by key 2 is accepted by a program that trusts keys 1 and 2, and refused by one that trusts key 1 only.
#[test]
fn keys_are_handed_over() {
    let mut stand = Stand::new();
    let (first, second) = (stand.key.line(), Key::new());
    stand.key = second;
    stand.release(NEW, &says(NEW));
    stand.trust(&[&first]);
    stand.refuses(&["self", "update"], 1, &["latest.json is not accepted", "a key that is not trusted"]);
    let second = stand.key.line();
    stand.trust(&[&first, &second]);
    stand.runs(&["self", "update"]).exits(0);
    assert!(stand.has(NEW));
}

#[test]
fn rollback_needs_no_network_and_twice_is_back_again() {
    let stand = Stand::new();
    stand.refuses(&["self", "rollback"], 1, &["there is no kept copy"]);
    stand.release("0.0.7", &says("0.0.7"));
    stand.runs(&["self", "update", "--to", "0.0.7"]).exits(0);
    let asked = stand.server.asked().len();
    // The fake cannot roll back, so the two are exchanged by hand once.
    fs::rename(stand.program(), stand.path("bin/fake")).expect("renamed");
    fs::rename(stand.path("bin/section3.prev"), stand.program()).expect("renamed");
    fs::rename(stand.path("bin/fake"), stand.path("bin/section3.prev")).expect("renamed");
    stand.runs(&["self", "rollback"]).exits(0).says(&["section3 0.0.7 is in place again", OLD]);
    assert!(stand.has("0.0.7"));
    assert_eq!(stand.names(), [".section3.lock", ".section3.record", "section3", "section3.prev"]);
    assert_eq!(stand.server.asked().len(), asked, "the network was used");
}

#[test]
fn a_damaged_kept_copy_is_refused() {
    let stand = Stand::offering();
    stand.runs(&["self", "update"]).exits(0);
    let old = stand.path("bin/section3.prev");
    fs::remove_file(stand.program()).expect("removed");
    fs::rename(&old, stand.program()).expect("renamed");
    // One that is whole, but belongs to somebody else or cannot be run, is of no more use.
    fs::copy(stand.released(NEW), &old).expect("a copy");
    chown(&old, Some(12_345), None).expect("given away");
    stand.refuses(&["self", "rollback"], 1, &["section3.prev is not a file of yours"]);
    chown(&old, Some(0), None).expect("taken back");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o644)).expect("a mode");
    stand.refuses(&["self", "rollback"], 1, &["it cannot be run: permission denied"]);
    for damage in [&b""[..], b"noise", &fs::read(stand.released(NEW)).expect("it")[1..]] {
        fs::write(&old, damage).expect("damaged");
        stand.refuses(&["self", "rollback"], 1, &["section3.prev is damaged"]);
    }
    fs::remove_file(&old).expect("removed");
    symlink(stand.released(NEW), &old).expect("a link");
    stand.refuses(&["self", "rollback"], 1, &["section3.prev"]);
}
