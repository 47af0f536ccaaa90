//! Each attack and each accident has a refusal with words of its own, and the installed program is not touched.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::stand::{Key, NEW, OLD, Stand, TARGET, fake, says, sha256, signature_of};
use crate::support::deadline::LIMIT;
use crate::support::home::finish;

const UPDATE: &[&str] = &["self", "update"];

fn program_path() -> String {
    format!("/{NEW}/section3-{TARGET}")
}

/// Writes into a file what a function makes of it.
fn change(path: &std::path::Path, how: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    fs::write(path, how(fs::read(path).expect("a file"))).expect("written");
}

#[test]
fn where_from_and_whom_to_trust_must_be_set() {
    let stand = Stand::new();
    let key = stand.key.line();
    fs::remove_file(stand.path("etc/section3/release.yml")).expect("removed");
    stand.refuses(UPDATE, 1, &["where releases come from is not set", "/etc/section3/release.yml", "SECTION3_RELEASE_URL"]);
    for (text, words) in [
        (format!("url: http://example.org/\nkeys: [{key}]\n"), "neither https nor http to the loopback"),
        (format!("url: https://example.org/\nkeys: [{key}]\nextra: 1\n"), "unknown field `extra`"),
        ("url: https://example.org/\nkeys: [x]\n".to_owned(), "no minisign public key"),
        ("url: https://example.org/\nkeys: []\n".to_owned(), "found 0 keys"),
    ] {
        stand.source(&text);
        stand.refuses(UPDATE, 1, &[words]);
    }
    stand.trust(&[&key]);
    runs_chmod(&stand, "o+w");
    stand.refuses(UPDATE, 1, &["others than root can write it"]);
    runs_chmod(&stand, "o-w");
    stand.refuses(&["self", "update", "--to", "9"], 2, &["a version is three numbers"]);
    assert!(stand.server.asked().is_empty());
}

fn runs_chmod(stand: &Stand, mode: &str) {
    super::stand::runs(&["chmod", mode, &stand.path("etc/section3/release.yml").display().to_string()]);
}

#[test]
fn bytes_that_were_tampered_with() {
    let stand = Stand::offering();
    let program = stand.released(NEW);
    let good = fs::read(&program).expect("a program");
    change(&program, |mut bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes
    });
    stand.refuses(UPDATE, 1, &["signature of http", "does not match: the file or the signature was changed"]);
    fs::write(&program, &good).expect("written");
    change(&stand.path("www/latest.json"), |bytes| [&bytes[..], b" "].concat());
    stand.refuses(UPDATE, 1, &["latest.json is not accepted", "does not match"]);
}

#[test]
fn signatures_that_do_not_count() {
    let stand = Stand::offering();
    let manifest = stand.path("www/latest.json");
    for file in [stand.released(NEW), manifest] {
        let signature = signature_of(&file);
        let good = fs::read_to_string(&signature).expect("a signature");
        let comment = good.lines().nth(2).and_then(|line| line.strip_prefix("trusted comment: ")).expect("a comment").to_owned();
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();

        fs::remove_file(&signature).expect("removed");
        stand.refuses(UPDATE, 1, &[".minisig is answered with 404 Not Found"]);
        for end in [0, 1, 60, good.len() / 2, good.len() - 20] {
            fs::write(&signature, &good[..end]).expect("written");
            stand.refuses(UPDATE, 1, &[&name, "it is truncated, or no minisign signature"]);
        }
        fs::write(&signature, good.clone() + &" ".repeat(5000)).expect("written");
        stand.refuses(UPDATE, 1, &["has more than the 4096 bytes that are allowed"]);

        Key::new().sign(&file, &comment);
        stand.refuses(UPDATE, 1, &[&name, "a key that is not trusted"]);

        stand.key.sign_legacy(&file, &comment);
        stand.refuses(UPDATE, 1, &[&name, "legacy signature; only prehashed ones"]);
        // G52: the two bytes that say which kind it is are under no signature.
        let legacy = fs::read_to_string(&signature).expect("a signature");
        fs::write(&signature, legacy.replacen("\nRW", "\nRU", 1)).expect("written");
        stand.refuses(UPDATE, 1, &[&name, "does not match"]);
        fs::write(&signature, good.replacen("\nRU", "\nRW", 1)).expect("written");
        stand.refuses(UPDATE, 1, &[&name, "legacy signature"]);

        // A statement that nobody signed, and signed ones that state something else.
        fs::write(&signature, good.replace(&format!("version={NEW}"), "version=9.9.9")).expect("written");
        stand.refuses(UPDATE, 1, &[&name, "does not match"]);
        for (from, to, words) in [
            ("product=section3", "product=other", "its product is `other`"),
            (&format!("version={NEW}"), "version=0.8.0", "its version is `0.8.0`"),
            ("target=", "target=x", "its target is `x"),
            ("sha256=", "sha256=0", "does not say what it signs"),
            ("product=section3 ", "", "`product` is missing"),
            ("product=", "timestamp:1 product=", "is not `key=value`"),
        ] {
            stand.key.sign(&file, &comment.replacen(from, to, 1));
            stand.refuses(UPDATE, 1, &[words]);
        }
        fs::write(&signature, good).expect("written");
    }
    stand.runs(UPDATE).exits(0);
}

/// G51: a genuine file of another version, of another platform or of another product, under the name of what was asked for.
#[test]
fn g51_a_signed_file_of_something_else() {
    let stand = Stand::offering();
    let good = stand.manifest(NEW);
    stand.release("0.8.0", &says("0.8.0"));
    stand.publish(&good);
    let copy = |from: &str| {
        for (from, to) in [
            (stand.released(from), stand.released(NEW)),
            (signature_of(&stand.released(from)), signature_of(&stand.released(NEW))),
        ] {
            fs::copy(from, to).expect("a copy");
        }
    };
    copy("0.8.0");
    // By the size, the sum or the statement, whichever differs first.
    stand.refuses(UPDATE, 1, &["signed"]);
    // By name there is no manifest that would know better.
    stand.refuses(&["self", "update", "--to", NEW], 1, &["signed, but as another file: its version is `0.8.0`"]);
    // A manifest of the new version that names the old file's sum.
    stand.publish(&stand.manifest(NEW));
    stand.refuses(UPDATE, 1, &["its version is `0.8.0`, and asked for was"]);

    let other = if TARGET == "linux-amd64" { "linux-arm64" } else { "linux-amd64" };
    stand.key.sign(&stand.released(NEW), &stand.statement(NEW).replace(TARGET, other));
    stand.refuses(UPDATE, 1, &[&format!("its target is `{other}`")]);
    stand.publish(&stand.manifest(NEW).replace(TARGET, other));
    stand.refuses(UPDATE, 1, &[&format!("is not released for {TARGET}; it is for {other}")]);
    // A signed program in the place of the manifest.
    let manifest = stand.path("www/latest.json");
    fs::copy(stand.released("0.8.0"), &manifest).expect("a copy");
    fs::copy(signature_of(&stand.released("0.8.0")), signature_of(&manifest)).expect("a copy");
    stand.refuses(UPDATE, 1, &["the release manifest is signed, but cannot be used"]);
}

#[test]
fn manifests_that_are_signed_and_wrong() {
    let stand = Stand::offering();
    let good = stand.manifest(NEW);
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = "[".repeat(60_000);
    for (manifest, words) in [
        (good.replace("2099-01-01", "2020-02-01"), "manifest expired at 2020-02-01T00:00:00Z"),
        (good.replace("2020-01-01", "2098-01-01"), "published at 2098-01-01T00:00:00Z, which is in the future"),
        (good.replace(NEW, "0.0.1"), "0.0.1 is offered, which is older than"),
        (good.replace(NEW, "7.0.0"), "more than one major version above"),
        (good.replace("\"section3\"", "\"other\""), "the release is of `other`"),
        (good.replace("\"product\":\"section3\"", r#""product":"\u001b]0;x\u0007""#), "`product`: a name is"),
        (good.replace("\"v\":1", r#""v":1,"\u001b[2J":1"#), "unknown field"),
        (good.replace("\"v\":1", "\"v\":2"), "`v` is 2"),
        (good.replace(&format!("section3-{TARGET}\""), "../../../etc/passwd\""), ".file`: a name is"),
        (good.replace("\"size\":", "\"size\":9"), "ended after"),
        (good.replace("\"size\":1", "\"size\":"), "more bytes than the"),
        (good.replace("\"size\":", "\"size\":99999"), "allowed are 1 to 67108864 bytes"),
        (nested, "latest.json has more than the 65536 bytes that are allowed"),
        (deep, "cannot be used: expected an object, found a list"),
        (String::new(), "cannot be used: expected an object, found the end"),
        ("not JSON".to_owned(), "cannot be used: expected"),
    ] {
        stand.publish(&manifest);
        stand.refuses(UPDATE, 1, &[words]);
    }
    assert!(!stand.server.asked().iter().any(|path| path.contains("..")));
}

#[test]
fn a_rolled_back_release_does_not_come_back_by_itself() {
    let stand = Stand::offering();
    stand.runs(UPDATE).exits(0);
    fs::rename(stand.path("bin/section3.prev"), stand.program()).expect("put back by hand");
    stand.refuses(UPDATE, 1, &[&format!("{NEW} was installed here before and rolled back"), &format!("--to {NEW}")]);
    stand.refuses(&["self", "update", "--check"], 1, &["rolled back"]);
    fs::write(stand.path("bin/.section3.record"), "{").expect("damaged");
    stand.refuses(UPDATE, 1, &[".section3.record", "remove it to begin anew"]);
}

#[test]
fn servers_that_misbehave() {
    let stand = Stand::offering();
    let program = program_path();
    let length = fs::metadata(stand.released(NEW)).expect("it").len();
    for (head, words) in [
        ("302 Found\r\nLocation: http://127.0.0.2:1/x".to_owned(), "another host; only the same one is followed"),
        ("302 Found\r\nLocation: https://example.org/x".to_owned(), "another host"),
        (format!("302 Found\r\nLocation: {program}"), "redirected more than 3 times"),
        (format!("206 Partial Content\r\nContent-Range: bytes 0-9/{length}"), "206 Partial Content; only 200 OK"),
        ("200 OK\r\nContent-Encoding: gzip".to_owned(), "Content-Encoding `gzip`, which was not asked for"),
        ("200 OK\r\nContent-Encoding: \u{9b}2J\u{202e}".to_owned(), "Content-Encoding `\\u{9b}2J\\u{202e}`"),
        ("500 \u{1b}[2J".to_owned(), "http://127.0.0.1"),
        ("200 OK\r\nContent-Length: 99999999".to_owned(), "more bytes than the"),
    ] {
        stand.server.heads(&program, &head);
        stand.refuses(UPDATE, 1, &[words]);
    }
    // Half of it, then a reset.
    let half = fs::read(stand.released(NEW)).expect("it")[..1000].to_vec();
    stand.server.does(&program, move |stream| {
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
        let _ = stream.write_all(&half);
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        let _ = nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &linger);
    });
    stand.refuses(UPDATE, 1, &["broke off after"]);
    for endless in [program.as_str(), "/latest.json.minisig", "/latest.json"] {
        stand.server.does(endless, |stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 65_536]).is_ok() {}
        });
        stand.refuses(UPDATE, 1, &["more"]);
    }
    stand.source(&format!("url: http://127.0.0.1:9/\nkeys: [{}]\n", stand.key.line()));
    stand.refuses(UPDATE, 1, &["connection refused"]);
}

#[test]
fn programs_that_are_signed_and_no_good() {
    let stand = Stand::offering();
    for (body, words) in [
        ("return 1;".to_owned(), "asked for its version it ended with exit 1"),
        ("__builtin_trap();".to_owned(), "ended with signal"),
        ("return 0;".to_owned(), "it does not say its version"),
        (says("0.8.0"), "it says that its version is `0.8.0`"),
        (says(NEW).replace("\"section3\\", "\"other\\"), "it says that its product is"),
        ("for (;;) pause();".to_owned(), "did not say its version within 10s"),
    ] {
        stand.release(NEW, &body);
        stand.refuses(UPDATE, 1, &[words]);
    }
    for (bytes, words) in [
        (
            b"#!/bin/sh\necho owned >/dev/tty\n#################################################\n".to_vec(),
            "it is no ELF program",
        ),
        (b"x".to_vec(), "it has only 1 bytes"),
    ] {
        fs::write(stand.released(NEW), bytes).expect("written");
        stand.sign(NEW);
        stand.refuses(UPDATE, 1, &[words]);
    }
    fake(&says(NEW), &stand.released(NEW));
    change(&stand.released(NEW), |mut bytes| {
        bytes[18] = if TARGET == "linux-amd64" { 183 } else { 62 };
        bytes
    });
    stand.sign(NEW);
    stand.refuses(UPDATE, 1, &["a program for another machine"]);
}

#[test]
fn places_that_are_not_ours_to_change() {
    let read_only = format!("mount --bind '{0}' '{0}' && mount -o remount,bind,ro '{0}'", "BIN");
    let stand = Stand::offering();
    let bin = stand.path("bin").display().to_string();
    let stand = stand.after(&read_only.replace("BIN", &bin));
    stand.refuses(UPDATE, 7, &["cannot replace", "read-only file system"]);
    let asked = |stand: &Stand| stand.server.asked();
    assert!(asked(&stand).is_empty(), "{:?}", asked(&stand));

    let stand = Stand::offering().under(&["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]);
    stand.refuses(UPDATE, 7, &["it belongs to uid 0, and you are uid 54321"]);
    assert!(asked(&stand).is_empty(), "{:?}", asked(&stand));
    // Looking is free.
    stand.runs(&["self", "update", "--check"]).exits(8);

    let stand = Stand::offering();
    std::os::unix::fs::chown(stand.path("bin"), Some(54_321), None).expect("another owner");
    stand.refuses(UPDATE, 7, &["its folder belongs to uid 54321"]);
    super::stand::runs(&["chown", "0", &stand.path("bin").display().to_string()]);
    super::stand::runs(&["chmod", "0777", &stand.path("bin").display().to_string()]);
    stand.refuses(UPDATE, 7, &["everybody can write there"]);
    assert!(asked(&stand).is_empty(), "{:?}", asked(&stand));
}

#[test]
fn a_full_disk() {
    let stand = Stand::new();
    // Signatures cover what lies behind the program too.
    fs::create_dir_all(stand.released(NEW).parent().expect("a folder")).expect("a folder");
    fake(&says(NEW), &stand.released(NEW));
    change(&stand.released(NEW), |bytes| [&bytes[..], &vec![0; 8 << 20]].concat());
    stand.sign(NEW);
    let kilobytes = fs::metadata(stand.program()).expect("it").len() / 1024 + 4096;
    let bin = stand.path("bin").display().to_string();
    let (copy, after) = (stand.path("copy").display().to_string(), stand.path("after").display().to_string());
    super::stand::runs(&["cp", &stand.program().display().to_string(), &copy]);
    let script = format!("mount -t tmpfs -o size={kilobytes}k,mode=0755 none '{bin}' && cp '{copy}' '{bin}/section3'");
    let list = format!("\"$@\"; code=$?; ls -A '{bin}' >'{after}'; cmp '{bin}/section3' '{copy}' >>'{after}'; exit $code");
    let stand = stand.after(&script).under(&["sh", "-c", &list, "sh"]);
    stand.refuses(UPDATE, 1, &["cannot write", "no space left on device; nothing was changed"]);
    assert_eq!(fs::read_to_string(&after).expect("a list"), ".section3.lock\nsection3\n");
}

#[test]
fn two_at_once() {
    let stand = Stand::offering();
    let (to_test, arrived) = channel();
    let (release, gate) = channel::<()>();
    let (to_test, gate) = (Mutex::new(to_test), Mutex::new(gate));
    let body = fs::read(stand.released(NEW)).expect("it");
    stand.server.does(&program_path(), move |stream| {
        let _ = to_test.lock().expect("one at a time").send(());
        let _ = gate.lock().expect("one at a time").recv();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
    });
    let first = stand.command(UPDATE).spawn().expect("it");
    arrived.recv_timeout(LIMIT).expect("the first is on its way");
    stand.refuses(UPDATE, 1, &["another update of", "is under way; nothing was done"]);
    stand.refuses(&["self", "rollback"], 1, &["is under way"]);
    release.send(()).expect("a waiting server");
    finish(first, "the first").exits(0);
    assert!(stand.has(NEW));
}

#[test]
fn a_target_that_becomes_another_file_meanwhile() {
    let stand = Stand::offering();
    let (program, victim) = (stand.program(), stand.path("victim"));
    fs::write(&victim, "victim").expect("a file");
    let body = fs::read(stand.released(NEW)).expect("it");
    let (link, to) = (program.clone(), victim.clone());
    stand.server.does(&program_path(), move |stream| {
        let _ = fs::remove_file(&link).and_then(|()| symlink(&to, &link));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
    });
    let answer = stand.runs(UPDATE).exits(1);
    assert!(answer.err.contains("section3"), "{}", answer.err);
    assert!(fs::read_link(&program).is_ok_and(|to| to == victim));
    assert_eq!(fs::read_to_string(&victim).ok().as_deref(), Some("victim"));
}

#[test]
fn a_program_that_was_removed_while_it_runs() {
    let stand = Stand::offering();
    let copy = stand.path("bin/copy");
    fs::copy(stand.program(), &copy).expect("a copy");
    // The shell holds it open, takes its name away and runs what it holds.
    let script = "exec 9<copy; rm copy; exec /proc/self/fd/9 self update";
    let mut command: Command = stand.command_of("/bin/sh".as_ref(), &["-c", script]);
    let answer = finish(command.spawn().expect("it"), script);
    answer.exits(1).says(&["was replaced or removed while it runs"]);
    assert!(stand.has_old());
}

#[test]
fn sums_are_those_of_the_real_program() {
    let stand = Stand::offering();
    stand.runs(UPDATE).exits(0);
    let record = fs::read_to_string(stand.path("bin/.section3.record")).expect("a record");
    for path in [stand.program(), stand.path("bin/section3.prev")] {
        assert!(record.contains(&sha256(&path)), "{record}");
    }
    assert!(record.contains(&format!("\"newest\":\"{NEW}\"")) && record.contains(OLD), "{record}");
}
