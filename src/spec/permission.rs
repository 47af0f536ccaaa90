//! What a plugin may do: the words of `permissions:` in a manifest and of `allow:` in `section3.yml`.

use std::fmt;
use std::path::{Component, Path};

use crate::value::Glob;
use crate::value::nearest::nearest;

/// One thing that a plugin may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// `http:HOST`: requests to hosts of this pattern, in small letters, at any port; `http:*` is every host.
    Http(Glob),
    /// `http:unix:PATH`: requests to this socket.
    HttpUnix(String),
    /// `exec:PROG`: this program, as a name or as a path, just as it is written in `cmd`.
    Exec(String),
    /// `services:read`: states and logs of services.
    ServicesRead,
    /// `services:control:GLOB`: start, stop, restart, signal, hold and release services of this pattern.
    ServicesControl(Glob),
    /// `secret:NAME`: this entry of `secrets:`.
    Secret(String),
    /// `env:NAME`: this variable of the supervisor.
    Env(String),
    /// `fs:write:logs`: change files in the log folder; its own state folder needs no permission, nor does reading logs.
    FsWriteLogs,
    /// `decide:POINT`: advise on this.
    Decide(Point),
}

/// Where scripts may advise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// Before a launch.
    Start,
    /// After a crash.
    Restart,
    /// Before the stop signal.
    Stop,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Start, Self::Restart, Self::Stop];

    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Stop => "stop",
        }
    }

    /// The point of this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|point| point.word() == word)
    }
}

/// The forms, as a person would write them.
const FORMS: &str = "allowed: `http:HOST`, `http:unix:PATH`, `exec:PROGRAM`, `services:read`, `services:control:GLOB`, `secret:NAME`, \
                     `env:NAME`, `fs:write:logs`, `decide:start`, `decide:restart`, `decide:stop`";

/// Their beginnings, for "did you mean".
const BEGINNINGS: [&str; 7] = ["http", "exec", "services", "secret", "env", "fs", "decide"];

/// Bytes of a permission; a path and its prefix.
const LONGEST: usize = 4200;

impl Permission {
    /// Reads one. `http:` takes an address as well as a host, so that a manifest can say `http:${config.url}`: of
    /// `http://host:80/x` the host is what counts, of `unix:/sock:/x` the socket.
    ///
    /// # Errors
    ///
    /// What is allowed, in the operator's words, without the text itself.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(format!("a permission is one word of at most {LONGEST} bytes"));
        }
        let forms = || {
            let meant =
                text.split(':').next().filter(|word| !BEGINNINGS.contains(word)).and_then(|word| nearest(word, BEGINNINGS));
            meant.map_or_else(|| FORMS.to_owned(), |meant| format!("{FORMS}; did you mean `{meant}:...`?"))
        };
        let (kind, rest) = text.split_once(':').filter(|(_, rest)| !rest.is_empty()).ok_or_else(forms)?;
        match (kind, rest) {
            ("http", address) => http(address),
            ("exec", program) => Ok(Self::Exec(program.to_owned())),
            ("services", "read") => Ok(Self::ServicesRead),
            ("services", rest) => match rest.strip_prefix("control:") {
                Some(glob) if !glob.is_empty() => Ok(Self::ServicesControl(Glob::new(glob))),
                _ => Err("allowed: `services:read`, `services:control:GLOB` such as `services:control:web*`".to_owned()),
            },
            ("secret", name) => Ok(Self::Secret(name.to_owned())),
            ("env", name) => Ok(Self::Env(name.to_owned())),
            ("fs", "write:logs") => Ok(Self::FsWriteLogs),
            ("fs", _) => Err("allowed: `fs:write:logs`".to_owned()),
            ("decide", word) => Point::of_word(word)
                .map(Self::Decide)
                .ok_or_else(|| "allowed: `decide:start`, `decide:restart`, `decide:stop`".to_owned()),
            _ => Err(forms()),
        }
    }

    /// Whether whoever may do this may do the other, too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(wide), Self::Http(narrow)) | (Self::ServicesControl(wide), Self::ServicesControl(narrow)) => {
                wide.covers(narrow)
            }
            _ => self == other,
        }
    }
}

/// Reads what stands behind `http:`.
fn http(address: &str) -> Result<Permission, String> {
    if let Some(path) = address.strip_prefix("unix:") {
        // `unix:/sock:/path`, as in a request: only the socket counts.
        let socket = path.split_once(":/").map_or(path, |(socket, _)| socket);
        let plain = Path::new(socket).components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        return if socket.starts_with('/') && plain {
            Ok(Permission::HttpUnix(socket.to_owned()))
        } else {
            Err("allowed: `http:unix:/PATH`, an absolute path without `.` and `..`".to_owned())
        };
    }
    let rule = "allowed: `http:HOST` such as `http:hooks.example.net`, `http:[::1]` or `http:*.example.net`";
    let after_scheme = ["http://", "https://"].iter().find_map(|scheme| address.strip_prefix(scheme)).unwrap_or(address);
    let authority = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let host = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => inside,
        None => place.split(':').next().unwrap_or_default(),
    };
    let good = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '*' | ':' | '%');
    // Some readers of addresses take a backslash for a slash: what lies behind it may be the host or not.
    if host.is_empty() || address.contains('\\') || !host.chars().all(good) {
        return Err(rule.to_owned());
    }
    Ok(Permission::Http(Glob::new(&host.to_lowercase())))
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(host) if host.as_str().contains(':') => write!(f, "http:[{host}]"),
            Self::Http(host) => write!(f, "http:{host}"),
            Self::HttpUnix(socket) => write!(f, "http:unix:{socket}"),
            Self::Exec(program) => write!(f, "exec:{program}"),
            Self::ServicesRead => f.write_str("services:read"),
            Self::ServicesControl(glob) => write!(f, "services:control:{glob}"),
            Self::Secret(name) => write!(f, "secret:{name}"),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::FsWriteLogs => f.write_str("fs:write:logs"),
            Self::Decide(point) => write!(f, "decide:{}", point.word()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Permission {
        Permission::parse(text).unwrap_or_else(|rule| panic!("{text}: {rule}"))
    }

    #[test]
    fn what_is_read_is_written_again() {
        for (text, written) in [
            ("http:hooks.example.net", "http:hooks.example.net"),
            ("http:Hooks.Example.NET", "http:hooks.example.net"),
            ("http:127.0.0.1", "http:127.0.0.1"),
            ("http:127.0.0.1:9100", "http:127.0.0.1"),
            ("http:http://127.0.0.1:9100/section3", "http:127.0.0.1"),
            ("http:https://user@a.b/c?d", "http:a.b"),
            ("http:https://a.b?x@y", "http:a.b"),
            ("http:[::1]", "http:[::1]"),
            ("http:http://[::1]:80/", "http:[::1]"),
            ("http:*.example.net", "http:*.example.net"),
            ("http:unix:/run/x.sock", "http:unix:/run/x.sock"),
            ("http:unix:/run/x.sock:/v1/events", "http:unix:/run/x.sock"),
            ("exec:gzip", "exec:gzip"),
            ("exec:/usr/bin/gzip", "exec:/usr/bin/gzip"),
            ("services:read", "services:read"),
            ("services:control:web*", "services:control:web*"),
            ("secret:tg_token", "secret:tg_token"),
            ("env:HOME", "env:HOME"),
            ("fs:write:logs", "fs:write:logs"),
            ("decide:start", "decide:start"),
            ("decide:restart", "decide:restart"),
            ("decide:stop", "decide:stop"),
        ] {
            let permission = read(text);
            assert_eq!(permission.to_string(), written, "{text}");
            assert_eq!(read(written), permission, "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for (text, said) in [
            ("", "allowed: `http:HOST`"),
            ("http", "allowed: `http:HOST`"),
            ("http:", "allowed: `http:HOST`"),
            ("htpp:a", "did you mean `http:...`"),
            ("service:read", "did you mean `services:...`"),
            ("services:raed", "allowed: `services:read`, `services:control:GLOB`"),
            ("services:control:", "allowed: `services:read`, `services:control:GLOB`"),
            ("services:control", "allowed: `services:read`, `services:control:GLOB`"),
            ("fs:write:/etc", "allowed: `fs:write:logs`"),
            ("decide:exit", "allowed: `decide:start`"),
            ("http:unix:run/x", "an absolute path"),
            ("http:unix:/run/../x", "an absolute path"),
            ("http:http://a\\@b/", "allowed: `http:HOST` such as"),
            ("http:http:///x", "allowed: `http:HOST` such as"),
            ("exec:a b", "one word"),
            ("exec:a\nb", "one word"),
        ] {
            let rule = Permission::parse(text).expect_err(text);
            assert!(rule.contains(said), "{text}: {rule}");
        }
    }

    #[test]
    fn what_covers_what() {
        for (wide, narrow, is_covered) in [
            ("http:a.b", "http:A.b", true),
            ("http:a.b", "http:c.a.b", false),
            ("http:*.a.b", "http:c.a.b", true),
            ("http:*.a.b", "http:a.b", false),
            ("http:*", "http:a.b", true),
            ("http:a.b", "http:*", false),
            ("http:*", "http:unix:/x", false),
            ("http:unix:/x", "http:unix:/x", true),
            ("http:unix:/x", "http:unix:/x/y", false),
            ("exec:gzip", "exec:gzip", true),
            ("exec:gzip", "exec:/usr/bin/gzip", false),
            ("exec:*", "exec:gzip", false),
            ("services:control:*", "services:control:web", true),
            ("services:control:web*", "services:control:*", false),
            ("services:control:*", "services:read", false),
            ("services:read", "services:read", true),
            ("secret:a", "secret:b", false),
            ("env:a", "env:a", true),
            ("decide:stop", "decide:start", false),
            ("fs:write:logs", "fs:write:logs", true),
        ] {
            assert_eq!(read(wide).covers(&read(narrow)), is_covered, "{wide} {narrow}");
        }
    }
}
