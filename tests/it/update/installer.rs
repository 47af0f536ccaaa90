//! `packaging/install.sh` and `packaging/release`, run as they are.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::stand::{Key, NEW, OLD, Stand, TARGET, fake, runs, says, signature_of};
use crate::support::home::{Answer, finish};

const SCRIPT: &str = include_str!("../../../packaging/install.sh");

/// What the script needs of a system, all of which busybox has.
const TOOLS: &[&str] = &[
    "sh",
    "id",
    "uname",
    "mktemp",
    "rm",
    "mkdir",
    "head",
    "tail",
    "sed",
    "grep",
    "cut",
    "sort",
    "date",
    "cmp",
    "wc",
    "cat",
    "chmod",
    "mv",
    "basename",
    "sha256sum",
    "wget",
];

fn found(program: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let places = path.split(':').chain(["/usr/sbin", "/sbin"]).map(|folder| Path::new(folder).join(program));
    places.into_iter().find(|path| path.exists()).unwrap_or_else(|| panic!("{program} is missing"))
}

/// A folder of programs: busybox for everything, and these as they are here.
fn toolbox(stand: &Stand, name: &str, more: &[&str]) -> PathBuf {
    let folder = stand.path(name);
    fs::create_dir(&folder).expect("a folder");
    for tool in TOOLS {
        symlink(found("busybox"), folder.join(tool)).expect("a link");
    }
    for program in more {
        symlink(found(program), folder.join(program)).expect("a link");
    }
    folder
}

/// The script as a release has it.
fn script(stand: &Stand) -> String {
    let url = stand.server.url();
    SCRIPT.replace("@RELEASE_URL@", url.trim_end_matches('/')).replace("@RELEASE_KEYS@", &stand.key.line())
}

/// Runs a script with only these programs; it installs into `to`.
fn install(stand: &Stand, text: &str, tools: &Path, wrapper: &[&str]) -> Answer {
    let file = stand.path("install.sh");
    fs::write(&file, text).expect("a script");
    let mut words: Vec<&str> = wrapper.to_vec();
    let (shell, file, to) = (tools.join("sh"), file.display().to_string(), stand.path("to").display().to_string());
    let shell = shell.display().to_string();
    words.extend([shell.as_str(), &file, "--dir", &to]);
    let mut command = Command::new(found(words[0]));
    command.args(&words[1..]).env_clear().env("PATH", tools).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().expect("a shell"), "install.sh")
}

/// What lies in the folder to install into.
fn installed(stand: &Stand) -> Vec<String> {
    let entries = fs::read_dir(stand.path("to")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn it_installs_with_either_verifier_for_root_and_others() {
    let stand = Stand::offering();
    for (verifier, wrapper) in
        [("minisign", &[][..]), ("openssl", &[]), ("minisign", &["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"])]
    {
        let tools = toolbox(&stand, &format!("tools-{verifier}-{}", wrapper.len()), &[verifier]);
        let _ = fs::remove_dir_all(stand.path("to"));
        fs::create_dir(stand.path("to")).expect("a folder");
        if !wrapper.is_empty() {
            std::os::unix::fs::chown(stand.path("to"), Some(54_321), Some(54_321)).expect("an owner");
        }
        install(&stand, &script(&stand), &tools, wrapper).exits(0).says(&[
            &format!("section3 {NEW} for {TARGET}, verified with {verifier}"),
            "installed",
            "is not in PATH",
        ]);
        assert_eq!(installed(&stand), ["section3"]);
        assert_eq!(fs::read(stand.path("to/section3")).ok(), fs::read(stand.released(NEW)).ok());
        assert_eq!(fs::metadata(stand.path("to/section3")).expect("it").permissions().mode() & 0o7777, 0o755);
    }
}

/// As in an image `FROM scratch`: nothing there but busybox, and a verifier with its libraries.
#[test]
fn it_installs_where_there_is_only_busybox() {
    let stand = Stand::offering();
    let root = stand.path("root");
    for folder in ["bin", "dev", "proc", "opt"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let busybox = if Path::new("/bin/busybox").exists() { PathBuf::from("/bin/busybox") } else { found("busybox") };
    fs::copy(busybox, root.join("bin/busybox")).expect("busybox");
    for tool in TOOLS {
        symlink("busybox", root.join("bin").join(tool)).expect("a link");
    }
    // With the libraries that the verifier and the program are linked with.
    let minisign = found("minisign");
    for program in [&minisign, &stand.released(NEW)] {
        for library in runs(&["ldd", &program.display().to_string()]).split_whitespace().filter(|word| word.starts_with('/')) {
            let to = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::copy(library, to).expect("a library");
        }
    }
    fs::copy(minisign, root.join("bin/minisign")).expect("minisign");
    fs::write(root.join("install.sh"), script(&stand)).expect("a script");
    fs::set_permissions(root.join("opt"), fs::Permissions::from_mode(0o777)).expect("open");

    let inside = |wrapper: &[&str], line: &str| {
        let root = root.display().to_string();
        let mount = format!(
            "mount -t tmpfs none '{root}/dev' && mknod -m 666 '{root}/dev/null' c 1 3 && mount -t proc none '{root}/proc' && exec \"$@\""
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &mount, "sh", "chroot"]).args(wrapper).args([&root, "/bin/sh", "-c", line]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.spawn().expect("chroot"), line)
    };
    inside(&[], "sh /install.sh && /usr/local/bin/section3 self version").exits(0).says(&["verified with minisign", NEW]);
    inside(&["--userspec=54321:54321"], "HOME=/opt sh /install.sh && /opt/.local/bin/section3 self version")
        .exits(0)
        .says(&["installed /opt/.local/bin/section3", NEW]);
    inside(&["--userspec=54321:54321"], "sh /install.sh --dir /usr/local/bin").exits(1).says(&["cannot write in /usr/local/bin"]);
    fs::remove_file(root.join("bin/minisign")).expect("removed");
    inside(&[], "sh /install.sh --dir /opt/x").exits(1).says(&["cannot verify signatures: install minisign, or openssl 3"]);
    assert!(!root.join("opt/x").exists());
}

#[test]
fn cut_off_anywhere_it_does_nothing() {
    let stand = Stand::offering();
    let tools = toolbox(&stand, "tools", &["minisign"]);
    let whole = script(&stand);
    let last = whole.trim_end().rfind('\n').expect("lines");
    let hundredths = (0..last).step_by(100);
    for end in hundredths.chain(last..whole.trim_end().len()) {
        install(&stand, &whole[..end], &tools, &[]);
        assert!(!stand.path("to").exists(), "cut off at {end}");
    }
    assert!(stand.server.asked().is_empty(), "{:?}", stand.server.asked());
    install(&stand, whole.trim_end(), &tools, &[]).exits(0);
}

#[test]
fn it_refuses_what_is_not_as_signed() {
    let stand = Stand::offering();
    let toolboxes = ["minisign", "openssl"].map(|verifier| toolbox(&stand, verifier, &[verifier]));
    let whole = script(&stand);
    let refuses = |text: &str, words: &[&str]| {
        for tools in &toolboxes {
            install(&stand, text, tools, &[]).exits(1).says(words).says(&["nothing was installed"]);
            assert!(installed(&stand).is_empty(), "{:?}", installed(&stand));
        }
    };
    let (program, manifest) = (stand.released(NEW), stand.path("www/latest.json"));
    let files = [program.clone(), signature_of(&program), manifest.clone(), signature_of(&manifest)];
    let good: Vec<_> = files.iter().map(|file| fs::read(file).expect("a file")).collect();
    for (file, bytes) in files.iter().zip(&good) {
        let places = if file.extension().is_some_and(|e| e == "minisig") {
            let text = String::from_utf8_lossy(bytes);
            // Algorithm, signature, statement, signature of the statement.
            vec![
                text.find("\nRU").unwrap_or(0) + 2,
                text.find("\nRU").unwrap_or(0) + 40,
                text.find("version=").unwrap_or(0) + 8,
                bytes.len() - 20,
            ]
        } else {
            vec![bytes.len() / 2]
        };
        for at in places {
            let mut tampered = bytes.clone();
            tampered[at] = if tampered[at] == b'X' { b'W' } else { b'X' };
            fs::write(file, tampered).expect("written");
            refuses(&whole, &[]);
        }
        fs::write(file, &bytes[..bytes.len() / 2]).expect("written");
        refuses(&whole, &[]);
        fs::remove_file(file).expect("removed");
        refuses(&whole, &["cannot get"]);
        fs::write(file, bytes).expect("written");
    }
    refuses(&whole.replace(&stand.key.line(), &Key::new().line()), &["is not accepted"]);
    refuses(SCRIPT, &["was not made by packaging/release"]);

    let (text, statement) = (stand.manifest(NEW), stand.statement(NEW));
    stand.key.sign_legacy(&program, &statement);
    refuses(&whole, &["the signature of section3 is not accepted"]);
    for (from, to) in [("product=section3", "product=other"), (NEW, "0.8.0"), (TARGET, "linux-other")] {
        stand.key.sign(&program, &statement.replace(from, to));
        refuses(&whole, &["is signed, but as another file"]);
    }
    stand.key.sign(&program, &statement);
    for (manifest, words) in [
        (text.replace("2099-01-01", "2020-02-01"), "the release manifest expired at 2020-02-01"),
        (text.replace("2020-01-01", "2098-01-01"), "published at 2098-01-01"),
        (text.replace(TARGET, "linux-other"), "is not released for"),
        (text.replace("\"sha256\":\"", "\"sha256\":\"0"), "is not the file that the manifest names"),
        (text.replace(NEW, "0.8.0"), "cannot get"),
    ] {
        stand.publish(&manifest);
        refuses(&whole, &[words]);
    }
    stand.release(NEW, &says("0.8.0"));
    refuses(&whole, &["does not run here, or is not what it is said to be"]);
    stand.release(NEW, &says(NEW));
    install(&stand, &whole, &toolboxes[0], &[]).exits(0);
}

/// Two keys trust each other through one release: today's signs it, and it trusts tomorrow's too. The arm64 program is run.
#[test]
fn a_release_is_all_or_nothing() {
    let cross = ["aarch64-linux-musl-gcc", "aarch64-linux-gnu-gcc"]
        .into_iter()
        .find(|compiler| Command::new(compiler).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok());
    let qemu = Command::new("qemu-aarch64-static").arg("--version").stdout(Stdio::null()).status().is_ok();
    let (Some(cross), true) = (cross, qemu) else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "a compiler for arm64 or qemu-aarch64-static is missing");
        println!("NOT RUN: a compiler for arm64 or qemu-aarch64-static is missing");
        return;
    };
    let stand = Stand::new();
    let binaries = stand.path("dist");
    fs::create_dir(&binaries).expect("a folder");
    let build = |version: &str| {
        fake(&says(version).replace(TARGET, "linux-amd64"), &binaries.join("section3-linux-amd64"));
        let source = binaries.join("fake.c");
        let body = says(version).replace(TARGET, "linux-arm64");
        fs::write(&source, format!("#include <stdio.h>\nint main(void) {{ {body} }}\n")).expect("a source");
        let (source, to) = (source.display().to_string(), binaries.join("section3-linux-arm64").display().to_string());
        runs(&[cross, "-static", "-o", &to, &source]);
    };
    let next = Key::new();
    let out = stand.path("www");
    let release = |key: &Key, trust: &[&Key]| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/release");
        let mut command = Command::new(script);
        command.args(["--url", &stand.server.url(), "--days", "30"]);
        command.arg("--binaries").arg(&binaries).arg("--out").arg(&out).arg("--key").arg(key.secret());
        for key in trust {
            command.arg("--trust").arg(key.public());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.spawn().expect("packaging/release"), "release")
    };
    let names = |folder: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(folder).expect("a folder").flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };

    build(NEW);
    release(&stand.key, &[&next]).exits(1).says(&["is none of those that are trusted; nothing was published"]);
    fs::remove_file(binaries.join("section3-linux-arm64")).expect("removed");
    release(&stand.key, &[&stand.key]).exits(1).says(&["section3-linux-arm64 is missing; nothing was published"]);
    assert!(names(&out).is_empty(), "{:?}", names(&out));
    build(NEW);
    release(&stand.key, &[&stand.key, &next]).exits(0).says(&[&format!("section3 {NEW} is in")]);
    assert_eq!(names(&out), [NEW, "install.sh", "latest.json", "latest.json.minisig"]);
    assert_eq!(names(&out.join(NEW)).len(), 8, "{:?}", names(&out.join(NEW)));
    stand.runs(&["self", "update"]).exits(0);
    assert!(stand.has(NEW));
    let tools = toolbox(&stand, "tools", &["openssl"]);
    let text = fs::read_to_string(out.join("install.sh")).expect("a script");
    assert!(text.contains(&stand.key.line()) && text.contains(&next.line()), "{text}");
    install(&stand, &text, &tools, &[]).exits(0);

    // The manifest is signed anew with the next key; the version itself never changes.
    release(&next, &[&stand.key, &next]).exits(0);
    stand.reinstall();
    stand.refuses(&["self", "update"], 1, &["a key that is not trusted"]);
    build(NEW);
    fs::write(
        binaries.join("section3-linux-amd64"),
        fs::read(binaries.join("section3-linux-amd64")).map(|b| [b, vec![0]].concat()).expect("it"),
    )
    .expect("written");
    release(&next, &[&next]).exits(1).says(&["a published version never changes"]);
    build("0.9.1");
    release(&next, &[&next]).exits(0);
    assert!(names(&out).contains(&"0.9.1".to_owned()) && names(&out).contains(&NEW.to_owned()));
    assert_ne!(OLD, NEW);
}
