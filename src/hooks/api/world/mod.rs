//! The real outside of scripts: requests, programs, files, secrets. What the hook host makes its [`Effects`] from.
//!
//! [`Effects`]: crate::hooks::script::Effects

pub mod exec;
pub mod files;
pub mod http;
mod retry_after;

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::hooks::script::{ExecRequest, ExecResult, FileChange, HttpRequest, HttpResponse, IoFault};
use crate::spec::script::SecretSource;
use crate::sys::words;

pub use retry_after::{date, retry_after};

use files::Roots;
use http::Web;

/// Bytes of a secret; what is longer is some other file.
const MAX_SECRET: u64 = 64 << 10;

/// The outside of one script.
#[derive(Debug)]
pub struct World {
    roots: Roots,
    web: Web,
}

impl World {
    /// The outside of a script with these folders; neither is touched yet.
    #[must_use]
    pub fn new(state_dir: &Path, log_dir: &Path) -> Self {
        Self { roots: Roots { state: state_dir.to_owned(), logs: log_dir.to_owned() }, web: Web::default() }
    }

    /// Makes one request.
    ///
    /// # Errors
    ///
    /// Where no whole answer came.
    pub async fn http(&self, request: HttpRequest) -> Result<HttpResponse, IoFault> {
        self.web.request(&self.roots, request).await
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    ///
    /// Where it could not be launched, or its time was over.
    pub async fn exec(&self, request: ExecRequest) -> Result<ExecResult, IoFault> {
        exec::exec(request).await
    }

    /// Changes a file, on a thread that may wait for a disk.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub async fn change(&self, change: FileChange) -> Result<(), IoFault> {
        let roots = self.roots.clone();
        let failed = |error| IoFault { code: "io", message: format!("writing failed: {error}"), retryable: false };
        tokio::task::spawn_blocking(move || roots.change(&change)).await.map_err(failed)?
    }
}

/// A secret, read now. A newline at the end of a file is not part of it.
///
/// # Errors
///
/// Where its file or variable cannot be read; the text names the secret and its source, never its value.
pub fn secret(name: &str, source: &SecretSource) -> Result<String, IoFault> {
    let fault =
        |what: String| IoFault { code: "secret", message: format!("cannot read the secret `{name}`: {what}"), retryable: false };
    match source {
        SecretSource::Env(variable) => std::env::var(variable).map_err(|_| fault(format!("the variable {variable} is not set"))),
        SecretSource::File(path) => {
            use io::Read as _;
            use std::os::unix::fs::OpenOptionsExt as _;
            let mut text = String::new();
            // The script's own thread reads it: one that waited for the writer of a FIFO would wait for good.
            let open = std::fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
            let read = open.and_then(|file| match file.metadata()?.is_file() {
                true => file.take(MAX_SECRET + 1).read_to_string(&mut text).map(Some),
                false => Ok(None),
            });
            match read {
                Ok(None) => Err(fault(format!("{} is no regular file", path.display()))),
                Err(error) => Err(fault(format!("{}: {}", path.display(), words::io(&error)))),
                Ok(Some(bytes)) if bytes as u64 > MAX_SECRET => Err(fault(format!("{} is longer than 64 KiB", path.display()))),
                Ok(Some(_)) => {
                    let text = text.strip_suffix('\n').unwrap_or(&text);
                    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
                }
            }
        }
    }
}

/// Seconds of a `Retry-After`, from now.
fn until(at: SystemTime, now: SystemTime) -> Duration {
    at.duration_since(now).unwrap_or_default()
}

#[cfg(test)]
mod http_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_from_files() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        let source = SecretSource::File(path.clone());
        for (text, secret_is) in [("abc\n", "abc"), ("abc\r\n", "abc"), ("abc", "abc"), ("a\n\n", "a\n"), ("", "")] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(secret("t", &source).expect("a secret"), secret_is, "{text:?}");
        }
        std::fs::write(&path, "x".repeat(64 << 10)).expect("written");
        assert!(secret("t", &source).is_ok());
        std::fs::write(&path, "x".repeat((64 << 10) + 1)).expect("written");
        assert!(secret("t", &source).expect_err("too long").message.ends_with("is longer than 64 KiB"));
        std::fs::remove_file(&path).expect("removed");
        let said = secret("t", &source).expect_err("no file").message;
        assert!(said.starts_with("cannot read the secret `t`: ") && said.ends_with(": no such file or directory"), "{said}");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
        let said = secret("t", &source).expect_err("nobody writes").message;
        assert!(said.ends_with("token is no regular file"), "{said}");
        let said = secret("t", &SecretSource::Env("SECTION3_TEST_NOT_SET".to_owned())).expect_err("no variable").message;
        assert_eq!(said, "cannot read the secret `t`: the variable SECTION3_TEST_NOT_SET is not set");
    }
}
