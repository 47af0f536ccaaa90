//! `logship` with a receiver that fails half of the time.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use super::loaded;
use crate::support::deadline::Deadline;
use crate::support::receiver::{Receiver, Reply};
use crate::support::{Home, Launch};

/// What gzip makes of these bytes.
fn unpacked(bytes: &[u8]) -> String {
    let mut child = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gzip");
    let mut stdin = child.stdin.take().expect("stdin");
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().expect("its output");
    writer.join().expect("no panic").expect("written");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn nothing_is_lost_and_nothing_is_sent_under_two_names() {
    let receiver = Receiver::tcp(|number, _| Reply::status(if number % 2 == 0 { 503 } else { 201 }));
    let config = format!(
        "services: {{a: {{command: @a, log_max_size: 4K, log_keep: 99}}}}\n\
         plugins: {{logship: {{url: \"{}/logs/\", attempts: 1, leftovers: 300ms}}}}",
        receiver.address
    );
    let mut daemon = Launch::new(Home::new(&config)).start();
    loaded(&daemon, "logship");
    let mut a = daemon.stage.actor("a");
    a.does("print 2000");
    a.does("print 2000");
    // What is still in the pipe would stay in the log after it was rotated.
    let deadline = Deadline::new();
    while !daemon.cli(&["tail", "-n", "1", "a"]).exits(0).out.contains("a line 4000\n") {
        assert!(!deadline.is_over(), "the last line is not in the log");
    }
    daemon.cli(&["rotate", "a"]).exits(0);

    let mut taken: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    let mut number = 0;
    while lines.len() < 4000 {
        let request = receiver.next();
        let is_taken = number % 2 == 1;
        number += 1;
        assert_eq!(request.method, "PUT");
        assert!(request.path.starts_with("/logs/") && request.path.contains("/a/a-"), "{}", request.path);
        let before = taken.entry(request.path.clone()).or_insert_with(|| request.body.clone());
        assert_eq!(unpacked(before), unpacked(&request.body), "{} is two different logs", request.path);
        if is_taken {
            for line in unpacked(&request.body).lines() {
                let first = lines.entry(line.to_owned()).or_insert_with(|| request.path.clone());
                assert_eq!(*first, request.path, "`{line}` is in two logs");
            }
        }
    }
    assert!(taken.len() > 5, "{} logs", taken.len());
}
