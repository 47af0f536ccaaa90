//! An installed program, releases of it signed by the real `minisign`, and a server that offers them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::server::Server;
use crate::support::home::{Answer, finish, program};

/// The version that is installed at first.
pub const OLD: &str = env!("CARGO_PKG_VERSION");
/// The version that is offered.
pub const NEW: &str = "0.9.0";
/// The platform of this machine, as releases call it.
pub const TARGET: &str = if cfg!(target_arch = "aarch64") { "linux-arm64" } else { "linux-amd64" };

/// Runs a program to its end; it must succeed.
#[track_caller]
pub fn runs(words: &[&str]) -> String {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", words[0]));
    finish(child, words[0]).exits(0).out
}

/// The sum as `sha256sum` has it.
pub fn sha256(path: &Path) -> String {
    runs(&["sha256sum", &shown(path)]).split(' ').next().unwrap_or_default().to_owned()
}

/// A path as text.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The program under test without what a debugger needs: a fifth of the size to copy and to sum up.
fn lean() -> &'static Path {
    static LEAN: OnceLock<PathBuf> = OnceLock::new();
    LEAN.get_or_init(|| {
        let lean = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("section3-{}", std::process::id()));
        runs(&["strip", "-o", &shown(&lean), program()]);
        lean
    })
}

/// A key pair of minisign.
pub struct Key {
    folder: TempDir,
}

impl Key {
    /// A new one.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = Self { folder };
        runs(&["minisign", "-G", "-W", "-p", &shown(&key.public()), "-s", &shown(&key.secret())]);
        key
    }

    /// The file with the secret half.
    pub fn secret(&self) -> PathBuf {
        self.folder.path().join("key.sec")
    }

    /// The file with the public half.
    pub fn public(&self) -> PathBuf {
        self.folder.path().join("key.pub")
    }

    /// The public half in one line.
    pub fn line(&self) -> String {
        fs::read_to_string(self.public()).expect("a key").lines().nth(1).unwrap_or_default().to_owned()
    }

    /// Signs a file; the signature lies beside it.
    pub fn sign(&self, file: &Path, comment: &str) {
        self.sign_as("-H", file, comment);
    }

    /// Signs a file in the old way.
    pub fn sign_legacy(&self, file: &Path, comment: &str) {
        self.sign_as("-l", file, comment);
    }

    fn sign_as(&self, kind: &str, file: &Path, comment: &str) {
        let signature = signature_of(file);
        runs(&[
            "minisign",
            "-S",
            kind,
            "-s",
            &shown(&self.secret()),
            "-m",
            &shown(file),
            "-x",
            &shown(&signature),
            "-t",
            comment,
        ]);
    }
}

/// Where the signature of a file lies.
pub fn signature_of(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}.minisig", file.display()))
}

/// What a fake program does when it is asked for its version.
pub fn says(version: &str) -> String {
    format!(r#"puts("{{\"version\":1,\"product\":\"section3\",\"release\":\"{version}\",\"target\":\"{TARGET}\"}}"); return 0;"#)
}

/// A real ELF program of which only this much is known.
pub fn fake(body: &str, to: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("fake.c");
    fs::write(&source, format!("#include <stdio.h>\n#include <unistd.h>\nint main(void) {{ {body} }}\n")).expect("a source");
    runs(&["cc", "-o", &shown(to), &shown(&source)]);
}

/// One corner with everything.
pub struct Stand {
    folder: TempDir,
    /// The key that is trusted.
    pub key: Key,
    /// Where the releases are.
    pub server: Server,
    wrapper: Vec<String>,
    prelude: String,
}

impl Stand {
    /// With the program installed and no release.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("section3-it-").tempdir().expect("a folder");
        // Also for tests that are another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("open");
        for name in ["bin", "www", "etc/section3"] {
            fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        let server = Server::new(&folder.path().join("www"));
        let stand = Self { folder, key: Key::new(), server, wrapper: Vec::new(), prelude: String::new() };
        stand.trust(&[&stand.key.line()]);
        stand.reinstall();
        stand
    }

    /// With a release of [`NEW`] that is as it should be.
    pub fn offering() -> Self {
        let stand = Self::new();
        stand.release(NEW, &says(NEW));
        stand
    }

    /// Does this in the mount namespace of the program before it starts.
    pub fn after(mut self, prelude: &str) -> Self {
        self.prelude = prelude.to_owned();
        self
    }

    /// Puts these words in front of the program.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Writes the release.yml of this corner.
    pub fn trust(&self, keys: &[&str]) {
        self.source(&format!("url: {}\nkeys: [{}]\n", self.server.url(), keys.join(", ")));
    }

    /// The same, as text.
    pub fn source(&self, text: &str) {
        fs::write(self.path("etc/section3/release.yml"), text).expect("a release.yml");
    }

    /// Puts the old program in place, as if nothing had happened.
    pub fn reinstall(&self) {
        for entry in fs::read_dir(self.path("bin")).expect("a folder").flatten() {
            fs::remove_file(entry.path()).expect("removed");
        }
        // A second name: a rename over it takes nothing from the others.
        if fs::hard_link(lean(), self.program()).is_err() {
            fs::copy(lean(), self.program()).expect("a copy");
        }
    }

    /// A path in this corner.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The installed program.
    pub fn program(&self) -> PathBuf {
        self.path("bin/section3")
    }

    /// The file of a release.
    pub fn released(&self, version: &str) -> PathBuf {
        self.path(&format!("www/{version}/section3-{TARGET}"))
    }

    /// Makes a release whose program does this, signed in all its parts.
    pub fn release(&self, version: &str, body: &str) {
        let file = self.released(version);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fake(body, &file);
        self.sign(version);
    }

    /// Signs what lies there as a release: the program and a manifest of it.
    pub fn sign(&self, version: &str) {
        let file = self.released(version);
        self.key.sign(&file, &self.statement(version));
        self.publish(&self.manifest(version));
    }

    /// What the signature of a program states.
    pub fn statement(&self, version: &str) -> String {
        format!("product=section3 version={version} target={TARGET} sha256={}", sha256(&self.released(version)))
    }

    /// The manifest of a release.
    pub fn manifest(&self, version: &str) -> String {
        let file = self.released(version);
        let size = fs::metadata(&file).expect("a program").len();
        format!(
            r#"{{"v":1,"product":"section3","version":"{version}","published":"2020-01-01T00:00:00Z","expires":"2099-01-01T00:00:00Z","targets":{{"{TARGET}":{{"file":"section3-{TARGET}","size":{size},"sha256":"{}"}}}}}}"#,
            sha256(&file)
        )
    }

    /// Signs this text as the manifest, stating the version that it has itself.
    pub fn publish(&self, manifest: &str) {
        let version = manifest.split("\"version\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or(NEW);
        let path = self.path("www/latest.json");
        fs::write(&path, manifest).expect("a manifest");
        self.key.sign(&path, &format!("product=section3 version={version} target=manifest sha256={}", sha256(&path)));
    }

    /// The installed program as a command that sees this corner's release.yml in /etc.
    pub fn command(&self, args: &[&str]) -> Command {
        self.command_of(&self.program(), args)
    }

    /// The same for a program elsewhere.
    pub fn command_of(&self, program: &Path, args: &[&str]) -> Command {
        // All of it lives and dies with this one command's own view of the file system.
        let prelude = if self.prelude.is_empty() { "true" } else { &self.prelude };
        let script = format!("mount --bind '{}' /etc && {{ {prelude}; }} && exec \"$@\"", shown(&self.path("etc")));
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]).args(&self.wrapper).arg(program).args(args);
        command.env("SECTION3_SOCKET", self.path("run/section3.sock")).env_remove("SSL_CERT_FILE").env("NO_PROXY", "*");
        command.current_dir(self.path("bin")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the installed program to its end.
    #[track_caller]
    pub fn runs(&self, args: &[&str]) -> Answer {
        finish(self.command(args).spawn().expect("unshare"), &args.join(" "))
    }

    /// Asserts that a command is refused with these words, that nothing was changed and nothing is left behind.
    #[track_caller]
    pub fn refuses(&self, args: &[&str], code: i32, words: &[&str]) {
        let state = |stand: &Self| fs::metadata(stand.program()).map(|found| (found.ino(), found.len(), found.mtime())).ok();
        let before = state(self);
        let names_before = self.names();
        let answer = self.runs(args).exits(code).says(words);
        assert_eq!(state(self), before, "the program was touched");
        let mut names = self.names();
        names.retain(|name| name != ".section3.lock" || names_before.contains(name));
        assert_eq!(names, names_before, "left behind");
        let text = answer.out + &answer.err;
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }

    /// What lies beside the program, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("bin")).expect("a folder").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Whether the installed program is wholly the old one.
    pub fn has_old(&self) -> bool {
        is_same(&self.program(), lean())
    }

    /// Whether it is wholly that of a release.
    pub fn has(&self, version: &str) -> bool {
        is_same(&self.program(), &self.released(version))
    }
}

/// Whether two files hold the same bytes.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino(), found.len())).expect("a file");
    identity(one) == identity(other) || fs::read(one).expect("a file") == fs::read(other).expect("a file")
}
