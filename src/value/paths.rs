//! Where things are: one rule for the supervisor and its clients. Pure; nothing here looks at the disk.

use std::ffi::OsString;
use std::path::PathBuf;

/// Places to try, in order. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    /// The paths.
    pub paths: Vec<PathBuf>,
    /// Whether a flag or a variable named it; then there is one, and no other is tried.
    pub named: bool,
}

/// What the rules look at.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The effective user id.
    pub uid: u32,
    /// A lookup in the environment.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
}

impl Surroundings<'_> {
    /// The configuration: flag, `SECTION3_CONFIG`, `/workspace/section3.yml`.
    #[must_use]
    pub fn config(self, flag: Option<PathBuf>) -> PathBuf {
        flag.or_else(|| self.variable("SECTION3_CONFIG")).unwrap_or_else(|| "/workspace/section3.yml".into())
    }

    /// The socket: flag, `SECTION3_SOCKET`, then the defaults of this user.
    #[must_use]
    pub fn socket(self, flag: Option<PathBuf>) -> Places {
        self.places(flag, "SECTION3_SOCKET", || {
            let first = match self.uid {
                0 => Some("/run/section3".into()),
                _ => self.absolute("XDG_RUNTIME_DIR").map(|dir| dir.join("section3")),
            };
            first.into_iter().chain([self.temporary()]).map(|dir| dir.join("section3.sock")).collect()
        })
    }

    /// The log folder: flag, `SECTION3_LOG_DIR`, then the defaults of this user.
    #[must_use]
    pub fn log_dir(self, flag: Option<PathBuf>) -> Places {
        self.places(flag, "SECTION3_LOG_DIR", || {
            let first = match self.uid {
                0 => Some("/var/log/section3".into()),
                _ => self
                    .absolute("XDG_STATE_HOME")
                    .or_else(|| self.absolute("HOME").map(|home| home.join(".local/state")))
                    .map(|dir| dir.join("section3")),
            };
            first.into_iter().chain([self.temporary().join("log")]).collect()
        })
    }

    fn places(self, flag: Option<PathBuf>, variable: &str, defaults: impl FnOnce() -> Vec<PathBuf>) -> Places {
        match flag.or_else(|| self.variable(variable)) {
            Some(path) => Places { paths: vec![path], named: true },
            None => Places { paths: defaults(), named: false },
        }
    }

    fn temporary(self) -> PathBuf {
        format!("/tmp/section3-{}", self.uid).into()
    }

    /// An empty variable is as good as none.
    fn variable(self, name: &str) -> Option<PathBuf> {
        (self.env)(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// The XDG base directory specification: a relative path in these variables is to be ignored.
    fn absolute(self, name: &str) -> Option<PathBuf> {
        self.variable(name).filter(|path| path.is_absolute())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(uid: u32, env: &[(&str, &str)], ask: impl FnOnce(Surroundings<'_>) -> T) -> T {
        ask(Surroundings { uid, env: &|name| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()) })
    }

    fn shown(places: &Places) -> String {
        let paths: Vec<_> = places.paths.iter().map(|path| path.display().to_string()).collect();
        format!("{}{}", if places.named { "named " } else { "" }, paths.join(" "))
    }

    #[test]
    fn flag_beats_variable_beats_default() {
        let env = [("SECTION3_SOCKET", "/v/s"), ("SECTION3_CONFIG", "v.yml"), ("SECTION3_LOG_DIR", "/v/log")];
        with(0, &env, |around| {
            assert_eq!(shown(&around.socket(Some("/f/s".into()))), "named /f/s");
            assert_eq!(shown(&around.socket(None)), "named /v/s");
            assert_eq!(shown(&around.log_dir(None)), "named /v/log");
            assert_eq!(around.config(Some("f.yml".into())), PathBuf::from("f.yml"));
            assert_eq!(around.config(None), PathBuf::from("v.yml"));
        });
        with(0, &[("SECTION3_CONFIG", "")], |around| {
            assert_eq!(around.config(None), PathBuf::from("/workspace/section3.yml"));
        });
    }

    #[test]
    fn defaults_by_user() {
        let xdg = [("XDG_RUNTIME_DIR", "/run/user/7"), ("XDG_STATE_HOME", "/s"), ("HOME", "/h")];
        for (uid, env, socket, log) in [
            (
                0,
                xdg.as_slice(),
                "/run/section3/section3.sock /tmp/section3-0/section3.sock",
                "/var/log/section3 /tmp/section3-0/log",
            ),
            (
                7,
                xdg.as_slice(),
                "/run/user/7/section3/section3.sock /tmp/section3-7/section3.sock",
                "/s/section3 /tmp/section3-7/log",
            ),
            (7, &[("HOME", "/h")], "/tmp/section3-7/section3.sock", "/h/.local/state/section3 /tmp/section3-7/log"),
            (7, &[("XDG_RUNTIME_DIR", "run"), ("HOME", "")], "/tmp/section3-7/section3.sock", "/tmp/section3-7/log"),
        ] {
            with(uid, env, |around| {
                assert_eq!(shown(&around.socket(None)), socket);
                assert_eq!(shown(&around.log_dir(None)), log);
            });
        }
    }
}
