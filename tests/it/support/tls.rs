//! A web server behind TLS whose certificate is signed by an authority that nobody knows: `openssl s_server`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::home::finish;
use super::lines::Lines;

/// What is not in the certificates of OpenSSL's own configuration, which differ from one system to the next.
const CONFIG: &str = "[req]\ndistinguished_name=dn\n[dn]\n";

/// Serves the files of a folder until it goes.
pub struct TlsServer {
    keys: TempDir,
    child: Child,
    _said: Lines,
    port: u16,
}

impl TlsServer {
    /// Makes an authority, a certificate for 127.0.0.1, and serves this folder with it.
    #[track_caller]
    pub fn new(www: &Path) -> Self {
        let keys = tempfile::tempdir().expect("a folder");
        let at = |name: &str| keys.path().join(name).display().to_string();
        fs::write(at("config"), CONFIG).expect("written");
        let made = |name: &str, more: &[&str]| {
            let (key, file, config) = (at(&format!("{name}.key")), at(&format!("{name}.pem")), at("config"));
            let mut command = Command::new("openssl");
            command.args(["req", "-config", &config, "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
            command.args(["-nodes", "-days", "2", "-keyout", &key, "-out", &file, "-subj", &format!("/CN={name}")]).args(more);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            finish(command.spawn().expect("openssl"), "openssl req").exits(0);
        };
        made("authority", &["-addext", "basicConstraints=critical,CA:TRUE"]);
        let signed = ["-CA", &at("authority.pem"), "-CAkey", &at("authority.key")];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1"];
        made("server", &[&signed[..], &leaf].concat());
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-cert", &at("server.pem"), "-key", &at("server.key"), "-WWW"]);
        command.current_dir(www).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("openssl");
        let mut said = Lines::of(child.stdout.take().expect("stdout"), "openssl s_server");
        let line = said.until("the port of openssl s_server", |line| line.starts_with("ACCEPT "));
        let port = line.rsplit(':').next().and_then(|port| port.trim().parse().ok()).unwrap_or_else(|| panic!("{line}"));
        Self { keys, child, _said: said, port }
    }

    /// The address of its folder.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.keys.path().join("authority.pem")
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
