//! Whom a service runs as, and that it is never more than it was told to be.

use std::fs;
use std::os::unix::fs::chown;

use super::STRANGER;
use crate::support::{Home, Launch};

#[test]
fn what_cannot_be_set_is_a_launch_failure_that_says_so() {
    let home = Home::new(
        "defaults: {restart: never}
services:
  user: {command: @never, user: nobody}
  group: {command: @never, user: '54321:7'}
  limits: {command: @never, limits: {nofile: 1000000}}
  nice: {command: @never, nice: -5}
  oom_score_adj: {command: @never, oom_score_adj: -1000}
",
    );
    let home = owned_by_a_stranger(home);
    let wrapper =
        ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "sh", "-c", "ulimit -Hn 4096; exec \"$@\"", "sh"];
    let mut daemon = Launch::new(home).under(&wrapper).start();
    for (name, stage, value) in [
        ("user", "user", "nobody"),
        ("group", "user", "54321:7"),
        ("limits", "limits", "nofile=1000000"),
        ("nice", "nice", "-5"),
        ("oom_score_adj", "oom_score_adj", "-1000"),
    ] {
        daemon.cli(&["wait", name, "--for", "failed"]).exits(0);
        let message = daemon.status(name)["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(&format!("{stage}: ")) && message.contains(value), "{name}: {message}");
    }
    assert!(daemon.stage.unclaimed().is_empty(), "none of their programs ran");
}

/// Hands a corner over, so that a supervisor of that user can live there.
fn owned_by_a_stranger(home: Home) -> Home {
    for path in [home.path(""), home.path("run"), home.config(), home.path("stage")] {
        chown(&path, Some(STRANGER), Some(STRANGER)).expect("ours to give");
    }
    home
}

#[test]
fn a_user_is_one_by_name_or_number_with_its_groups() {
    let services: Vec<String> = [
        ("name", "nobody"),
        ("name-group", "nobody:daemon"),
        ("number", "54321"),
        ("numbers", "54321:12345"),
        ("backup", "backup"),
    ]
    .iter()
    .map(|(name, user)| {
        format!("  {name}: {{command: 'id -u; id -g; id -G; echo $USER $HOME', user: '{user}', dir: /, restart: never}}\n")
    })
    .collect();
    let home = Home::new(&format!("services:\n{}", services.concat()));
    let daemon = Launch::new(home).env("USER", "root").env("HOME", "/root").start();
    let ids = |name: &str| {
        daemon.cli(&["wait", name, "--for", "exited"]).exits(0);
        daemon.log_text(name)
    };
    assert_eq!(ids("name"), "65534\n65534\n65534\nnobody /nonexistent\n");
    assert_eq!(ids("name-group"), "65534\n1\n1\nnobody /nonexistent\n");
    // Nobody knows this one: it keeps the variables, and has no groups of anybody else.
    assert_eq!(ids("number"), "54321\n54321\n54321\nroot /root\n");
    assert_eq!(ids("numbers"), "54321\n12345\n12345\nroot /root\n");
    assert_eq!(ids("backup"), "34\n34\n34\nbackup /var/backups\n");
}

#[test]
fn a_check_runs_as_its_service() {
    let home = Home::new("");
    let file = home.path("vars");
    fs::write(&file, "FROM_FILE=one\n").expect("an env file");
    home.configure(&format!(
        "services: {{web: {{command: sleep 1000, user: nobody, dir: /usr, umask: '027', env_file: {},
           ready: {{exec: 'echo $(id -u) $(pwd) $(umask) $FROM_FILE $SECTION3_SERVICE; exit 1', interval: 10ms}}}}}}",
        file.display()
    ));
    let daemon = Launch::new(home).start();
    let deadline = crate::support::deadline::Deadline::new();
    loop {
        let message = daemon.status("web")["message"].as_str().unwrap_or_default().to_owned();
        if message.contains("65534 /usr 0027 one web") {
            break;
        }
        assert!(!deadline.is_over(), "{message}");
    }
}

/// G40: a supervisor trusts no folder of somebody else, whatever its mode.
#[test]
fn a_socket_is_not_made_in_the_folder_of_another_user() {
    let home = Home::new("services: {}");
    chown(home.path("run"), Some(STRANGER), None).expect("ours to give");
    let mut daemon = Launch::new(home).spawn();
    assert_ne!(daemon.ends(), 0);
    let said = daemon.stderr.rest();
    assert!(said.contains(&format!("belongs to user {STRANGER}, not to user 0")), "{said}");
}

/// A client says nothing to a server that is neither root nor its own user, even where it may connect.
#[test]
fn a_client_asks_no_server_of_another_user() {
    let home = Home::new("services: {}");
    let home = owned_by_a_stranger(home);
    let own = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"];
    let daemon = Launch::new(home).under(&own).start();
    let open = |path: &std::path::Path, mode| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("a mode");
    };
    open(&daemon.path(""), 0o755);
    open(&daemon.path("run"), 0o755);
    open(&daemon.socket(), 0o666);
    let mut client = std::process::Command::new("setpriv");
    client.args(["--reuid=54322", "--regid=54322", "--clear-groups"]).arg(crate::support::home::program());
    client.args(["--socket"]).arg(daemon.socket()).arg("status");
    let answer = client.output().expect("a client");
    let said = String::from_utf8_lossy(&answer.stderr);
    assert!(said.contains("is served by uid 54321, which is neither root nor you (uid 54322); nothing was sent"), "{said}");
    open(&daemon.path("run"), 0o700);
}
