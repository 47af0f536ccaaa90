use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn roots() -> (tempfile::TempDir, Roots) {
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir(dir.path().join("logs")).expect("made");
    let roots = Roots { state: dir.path().join("web"), logs: dir.path().join("logs") };
    (dir, roots)
}

fn write(path: impl Into<PathBuf>, text: &str) -> FileChange {
    FileChange::Write { path: path.into(), bytes: text.into() }
}

#[test]
fn what_is_written_is_read() {
    let (_dir, roots) = roots();
    roots.change(&write("a.txt", "one")).expect("written");
    assert_eq!(roots.read(Path::new("a.txt"), 10).expect("read"), b"one");
    assert_eq!(fs::metadata(roots.state.join("a.txt")).expect("there").permissions().mode() & 0o777, 0o600);
    roots.change(&FileChange::Append { path: "a.txt".into(), bytes: b" two".into() }).expect("added");
    assert_eq!(roots.read(&roots.state.join("a.txt"), 7).expect("read"), b"one two");
    assert_eq!(roots.read(Path::new("a.txt"), 6).expect_err("too long").code, "too_large");
    roots.change(&FileChange::MakeDir { path: "b/c".into() }).expect("made");
    roots.change(&FileChange::Rename { from: "a.txt".into(), to: "b/c/d".into() }).expect("renamed");
    let names = |list: Vec<Entry>| list.into_iter().map(|entry| (entry.name, entry.kind, entry.size)).collect::<Vec<_>>();
    assert_eq!(names(roots.list(Path::new("b/c")).expect("listed")), [("d".to_owned(), "file", 7)]);
    assert_eq!(names(roots.list(Path::new("")).expect("listed")).len(), 1);
    assert_eq!(roots.stat(Path::new("b/c")).expect("there").kind, "dir");
    assert_eq!(roots.change(&FileChange::Remove { path: "b/c".into() }).expect_err("not empty").code, "exists");
    for path in ["b/c/d", "b/c", "b"] {
        roots.change(&FileChange::Remove { path: path.into() }).expect(path);
    }
    assert_eq!(roots.stat(Path::new("b")).expect_err("gone").code, "not_found");
}

#[test]
fn nothing_leads_out() {
    let (dir, roots) = roots();
    fs::write(dir.path().join("other"), "x").expect("written");
    roots.change(&FileChange::MakeDir { path: "in".into() }).expect("made");
    symlink(dir.path(), roots.state.join("link")).expect("linked");
    symlink(dir.path().join("other"), roots.state.join("file")).expect("linked");
    symlink(dir.path(), roots.state.join("in/deep")).expect("linked");
    for path in ["../other", "in/../../other", "/etc/passwd", "/", "link/other", "in/deep/other", "file"] {
        let path = Path::new(path);
        for code in [
            roots.read(path, 100).expect_err("read").code,
            roots.change(&FileChange::Append { path: path.into(), bytes: b"x".into() }).expect_err("append").code,
        ] {
            assert_eq!(code, "outside", "{}", path.display());
        }
    }
    for path in ["../other", "/etc/passwd", "link/other", "in/deep/other"] {
        assert_eq!(roots.change(&write(path, "y")).expect_err("write").code, "outside", "{path}");
        assert_eq!(roots.change(&FileChange::Remove { path: path.into() }).expect_err("remove").code, "outside", "{path}");
        assert_eq!(
            roots.change(&FileChange::MakeDir { path: format!("{path}/x").into() }).expect_err("mkdir").code,
            "outside",
            "{path}"
        );
        let rename = FileChange::Rename { from: "in".into(), to: path.into() };
        assert_eq!(roots.change(&rename).expect_err("rename").code, "outside", "{path}");
        assert_eq!(roots.stat(Path::new(path)).expect_err("stat").code, "outside", "{path}");
    }
    assert_eq!(roots.list(Path::new("link")).expect_err("list").code, "outside");
    assert_eq!(roots.change(&FileChange::MakeDir { path: "link/new/x".into() }).expect_err("mkdir").code, "outside");
    assert!(!dir.path().join("new").exists());
    // A link is looked at, not what it leads to.
    assert_eq!(roots.stat(Path::new("file")).expect("a link").kind, "other");
    // A file that is a link is replaced, not followed.
    roots.change(&write("file", "mine")).expect("written");
    assert_eq!(fs::read_to_string(dir.path().join("other")).expect("read"), "x");
    // The roots themselves stay.
    assert_eq!(roots.change(&FileChange::Remove { path: roots.logs.clone() }).expect_err("root").code, "io");
    assert!(roots.is_log(&roots.logs.join("a")) && !roots.is_log(Path::new("a")));
}

#[test]
fn only_regular_files_are_opened() {
    let (_dir, roots) = roots();
    let fifo = roots.logs.join("fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).expect("a fifo");
    assert_eq!(roots.read(&fifo, 10).expect_err("a fifo").code, "invalid");
    assert_eq!(roots.read(&roots.logs, 10).expect_err("a folder").code, "io");
    let append = FileChange::Append { path: fifo.clone(), bytes: b"x".into() };
    assert!(roots.change(&append).is_err());
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&fifo).expect("a reader");
    assert_eq!(roots.change(&append).expect_err("a fifo").code, "invalid");
}

#[test]
fn what_is_kept_is_beside_the_folder() {
    let (dir, roots) = roots();
    // What a killed host left does not stand in the way.
    fs::write(dir.path().join(".web.kv.json.new"), "half").expect("written");
    roots.change(&FileChange::Keep { bytes: b"{}".into() }).expect("kept");
    assert_eq!(fs::read_to_string(dir.path().join("web.kv.json")).expect("read"), "{}");
    assert_eq!(kept(&roots.state), dir.path().join("web.kv.json"));
    assert!(!dir.path().join(".web.kv.json.new").exists());
    assert!(!roots.state.exists(), "an unused folder is not made");
}
