//! From a service's definition to what its process is made of.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Group, User as Entry};
use serde::{Deserialize, Serialize};

use crate::spec::{Account, Command, Definition, Limit as Limitation, LimitValue, Resource, User};
use crate::sys::child::Limit;
use crate::sys::spawn::{self, Identity, Recipe, Stage};
use crate::sys::words;
use crate::value::sorted::Map;
use crate::value::{Run, ServiceName};
use crate::wire::event::LaunchFacts;

/// What all launches have in common.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The supervisor's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// This incarnation: marks what descends from our services, so that it can be found again.
    pub boot: String,
    /// Where the supervisor answers, for `section3 status` within a service.
    pub socket: OsString,
    /// The limit of open descriptors that the supervisor was started with.
    pub descriptor_limit: Limit,
}

/// What a launch needs from files: read by [`Materials::gather`], which may wait for a disk.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename = "[]")]
pub struct Materials {
    variables: Map<String, String>,
    identity: Option<Who>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename = "[]")]
struct Who {
    identity: Identity,
    name: Option<String>,
    home: Option<OsString>,
}

impl Materials {
    /// Whether a launch of this needs files at all.
    #[must_use]
    pub fn are_needed(definition: &Definition) -> bool {
        !definition.env_files.is_empty() || definition.user.is_some()
    }

    /// Reads the environment files and looks up the user. Waits for disks: never to be called on the event loop.
    ///
    /// # Errors
    ///
    /// The stage and what was found.
    pub fn gather(definition: &Definition) -> Result<Self, LaunchFacts> {
        let mut variables = Map::new();
        for path in &definition.env_files {
            read_variables(path, &mut variables).map_err(|message| LaunchFacts { stage: "env_file", message })?;
        }
        let identity = definition.user.as_ref().map(look_up).transpose();
        let identity = identity.map_err(|message| LaunchFacts { stage: "user", message })?;
        Ok(Self { variables, identity })
    }
}

/// The longest environment file.
const MAX_ENV_FILE: u64 = 1 << 20;

/// `NAME=value` lines; blank lines, `#` comments and a leading `export` are allowed, and quotes around a whole value.
fn read_variables(path: &Path, into: &mut Map<String, String>) -> Result<(), String> {
    use std::io::Read;
    let shown = path.display();
    let io = |error: std::io::Error| format!("{shown}: {}", words::io(&error));
    let file = std::fs::OpenOptions::new().read(true).custom_flags_nonblock().open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(format!("{shown}: not a regular file"));
    }
    let mut text = String::new();
    file.take(MAX_ENV_FILE + 1).read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > MAX_ENV_FILE {
        return Err(format!("{shown}: larger than 1M"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        // The value is a secret more often than not: it never goes into a message.
        let Some((name, value)) = line.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
            return Err(format!("{shown}:{number}: no `=` in this line; a line is NAME=value"));
        };
        let good = !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
        if !good || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!("{shown}:{number}: `{}` is no name of a variable", name.escape_debug()));
        }
        let unquoted = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        into.insert(name.to_owned(), unquoted.unwrap_or(value).to_owned());
    }
    Ok(())
}

/// Opens without waiting for a writer, where somebody put a FIFO in place of a file.
trait NonBlocking {
    fn custom_flags_nonblock(&mut self) -> &mut Self;
}

impl NonBlocking for std::fs::OpenOptions {
    fn custom_flags_nonblock(&mut self) -> &mut Self {
        std::os::unix::fs::OpenOptionsExt::custom_flags(self, libc::O_NONBLOCK | libc::O_CLOEXEC)
    }
}

fn look_up(user: &User) -> Result<Who, String> {
    let not_found = |what: &str, name: &str| format!("no such {what}: `{name}`");
    let entry = match &user.user {
        Account::Name(name) => {
            let entry =
                Entry::from_name(name).map_err(|errno| format!("cannot look up user `{name}`: {}", words::errno(errno)))?;
            Some(entry.ok_or_else(|| not_found("user", name))?)
        }
        // A number needs no entry.
        Account::Number(uid) => Entry::from_uid((*uid).into()).ok().flatten(),
    };
    let uid = match &user.user {
        Account::Number(uid) => *uid,
        Account::Name(name) => entry.as_ref().map(|entry| entry.uid.as_raw()).ok_or_else(|| not_found("user", name))?,
    };
    let gid = match &user.group {
        Some(Account::Number(gid)) => *gid,
        Some(Account::Name(name)) => {
            let group =
                Group::from_name(name).map_err(|errno| format!("cannot look up group `{name}`: {}", words::errno(errno)))?;
            group.ok_or_else(|| not_found("group", name))?.gid.as_raw()
        }
        // A bare number without an entry gets the group of the same number, as Docker has it.
        None => entry.as_ref().map_or(uid, |entry| entry.gid.as_raw()),
    };
    let groups = match &entry {
        Some(entry) if matches!(user.user, Account::Name(_)) => {
            let name = CString::new(entry.name.as_bytes()).map_err(|_| not_found("user", &entry.name))?;
            let groups = nix::unistd::getgrouplist(&name, gid.into());
            groups.map_err(|errno| format!("cannot look up the groups of `{}`: {}", entry.name, words::errno(errno)))?
        }
        _ => vec![gid.into()],
    };
    Ok(Who {
        identity: Identity { uid, gid, groups: groups.into_iter().map(nix::unistd::Gid::as_raw).collect() },
        name: entry.as_ref().map(|entry| entry.name.clone()),
        home: entry.map(|entry| entry.dir.into_os_string()),
    })
}

/// The recipe of one run.
///
/// # Errors
///
/// The stage where something cannot be handed to the kernel, such as a NUL byte.
pub fn recipe(
    name: &ServiceName,
    definition: &Definition,
    run: Run,
    around: &Surroundings,
    materials: Materials,
) -> Result<Recipe, LaunchFacts> {
    let Materials { variables, identity } = materials;
    let environment = environment(name, definition, run, around, &variables, identity.as_ref());
    let path = environment.get(OsStr::new("PATH")).and_then(|path| path.to_str());
    let words = definition.command.argv();
    let program = match &definition.command {
        Command::Shell(_) => "/bin/sh",
        Command::Argv(words) => words.first().map_or("", String::as_str),
    };
    let text = |stage: &'static str, bytes: &[u8]| {
        CString::new(bytes).map_err(|_| LaunchFacts { stage, message: "holds a NUL byte".to_owned() })
    };
    let programs = spawn::candidates(program, path);
    let mut limits = vec![(resource_number(Resource::Nofile), around.descriptor_limit)];
    limits.extend(definition.limits.iter().map(|limit| {
        let value = match limit.value {
            LimitValue::At(value) => value,
            LimitValue::Unlimited => libc::RLIM_INFINITY,
        };
        (resource_number(limit.resource), Limit { soft: value, hard: value })
    }));
    let pairs = environment.iter().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    Ok(Recipe {
        programs: programs.iter().map(|path| text("exec", path.as_os_str().as_bytes())).collect::<Result<_, _>>()?,
        argv: words.iter().map(|word| text("exec", word.as_bytes())).collect::<Result<_, _>>()?,
        environment: pairs.map(|pair| text("env", &pair)).collect::<Result<_, _>>()?,
        dir: definition.dir.as_ref().map(|dir| text("dir", dir.as_os_str().as_bytes())).transpose()?,
        umask: definition.umask,
        nice: definition.nice,
        oom_score_adj: definition.oom_score_adj.map(|score| text("oom_score_adj", score.to_string().as_bytes())).transpose()?,
        limits,
        identity: identity.map(|who| who.identity),
        no_new_privileges: false,
    })
}

fn environment(
    name: &ServiceName,
    definition: &Definition,
    run: Run,
    around: &Surroundings,
    from_files: &Map<String, String>,
    who: Option<&Who>,
) -> Map<OsString, OsString> {
    const KEPT: [&str; 3] = ["PATH", "HOME", "USER"];
    // What whoever started us wants to hear from us, not from our services.
    const OURS: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];
    let inherited = around.environment.iter();
    let inherited = inherited.filter(|(name, _)| !OURS.iter().any(|ours| *ours == name));
    let inherited = inherited.filter(|(name, _)| !definition.clean_env || KEPT.iter().any(|kept| *kept == name));
    let mut all: Map<OsString, OsString> = inherited.cloned().collect();
    if let Some(who) = who {
        all.extend(who.home.clone().map(|home| ("HOME".into(), home)));
        let names = who.name.iter().flat_map(|user| [("USER".into(), user.into()), ("LOGNAME".into(), user.into())]);
        all.extend(names.filter(|(name, _)| !definition.clean_env || *name == "USER"));
    }
    let own = from_files.iter().chain(&definition.env);
    all.extend(own.map(|(name, value)| (name.into(), value.into())));
    // Last: nothing may stand in for the marks by which descendants are found.
    all.extend([
        ("SECTION3_SERVICE".into(), name.as_str().into()),
        ("SECTION3_RUN".into(), run.to_string().into()),
        ("SECTION3_BOOT".into(), (&around.boot).into()),
        ("SECTION3_SOCKET".into(), around.socket.clone()),
    ]);
    all
}

/// The kernel's number of a resource.
#[must_use]
#[allow(clippy::unnecessary_cast, reason = "the C libraries disagree on the type of a resource")]
pub const fn resource_number(resource: Resource) -> u32 {
    match resource {
        Resource::Nofile => libc::RLIMIT_NOFILE as u32,
        Resource::Nproc => libc::RLIMIT_NPROC as u32,
        Resource::Core => libc::RLIMIT_CORE as u32,
        Resource::Memlock => libc::RLIMIT_MEMLOCK as u32,
        Resource::Stack => libc::RLIMIT_STACK as u32,
        Resource::As => libc::RLIMIT_AS as u32,
        Resource::Fsize => libc::RLIMIT_FSIZE as u32,
    }
}

/// A launch that failed, in the operator's words.
#[must_use]
pub fn explain(definition: &Definition, stage: Stage, errno: Errno) -> LaunchFacts {
    let error = words::errno(errno);
    let message = match stage {
        Stage::Exec => {
            let program = match &definition.command {
                Command::Shell(_) => "/bin/sh",
                Command::Argv(words) => words.first().map_or("", String::as_str),
            };
            let why = match errno {
                Errno::ENOENT if program.contains('/') => "no such file (or the interpreter it names is missing)".to_owned(),
                Errno::ENOENT => "not found in PATH".to_owned(),
                Errno::EACCES => "permission denied (is it executable?)".to_owned(),
                Errno::ENOEXEC => "neither a program nor a script that begins with #!".to_owned(),
                _ => error,
            };
            format!("{program}: {why}")
        }
        Stage::Dir => match &definition.dir {
            Some(dir) => format!("{}: {error}", dir.display()),
            None => error,
        },
        Stage::User => match &definition.user {
            Some(user) => format!("cannot become {}: {error}", user_text(user)),
            None => error,
        },
        Stage::Nice => format!("cannot set {}: {error}", definition.nice.unwrap_or_default()),
        Stage::OomScore => format!("cannot set {}: {error}", definition.oom_score_adj.unwrap_or_default()),
        Stage::Limits => {
            let limits: Vec<String> = definition.limits.iter().map(limit_text).collect();
            format!("cannot set {}: {error}", limits.join(", "))
        }
        Stage::Pipe | Stage::Clone | Stage::Session | Stage::Output => error,
    };
    LaunchFacts { stage: stage.word(), message }
}

fn user_text(user: &User) -> String {
    let account = |account: &Account| match account {
        Account::Name(name) => name.clone(),
        Account::Number(number) => number.to_string(),
    };
    match &user.group {
        Some(group) => format!("{}:{}", account(&user.user), account(group)),
        None => account(&user.user),
    }
}

fn limit_text(limit: &Limitation) -> String {
    let value = match limit.value {
        LimitValue::At(value) => value.to_string(),
        LimitValue::Unlimited => "unlimited".to_owned(),
    };
    format!("{}={value}", format!("{:?}", limit.resource).to_lowercase())
}

/// The environment the supervisor was started with.
#[must_use]
pub fn inherited_environment() -> Vec<(OsString, OsString)> {
    let ours = |name: &OsStr| name == super::handover::VARIABLE;
    std::env::vars_os()
        .filter(|(name, _)| !ours(name))
        .map(|(name, value)| (OsString::from_vec(name.into_vec()), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        let inherited = [("PATH", "/bin"), ("TOKEN", "t"), ("SECTION3_RUN", "77")];
        Surroundings {
            environment: inherited.map(|(name, value)| (name.into(), value.into())).to_vec(),
            boot: "b".to_owned(),
            socket: "/s".into(),
            descriptor_limit: Limit { soft: 1, hard: 2 },
        }
    }

    fn definition() -> Definition {
        Definition {
            command: Command::Argv(vec!["sleep".to_owned(), "1".to_owned()]),
            dir: None,
            depends_on: Vec::new(),
            env: Map::from([("A".to_owned(), "env".to_owned()), ("SECTION3_BOOT".to_owned(), "forged".to_owned())]),
            env_files: Vec::new(),
            clean_env: false,
            user: None,
            umask: 0o022,
            nice: None,
            oom_score_adj: None,
            limits: Vec::new(),
            ready: None,
        }
    }

    fn environment_of(definition: &Definition, materials: Materials) -> Vec<String> {
        let name = ServiceName::parse("web").expect("name");
        let recipe = recipe(&name, definition, Run(3), &around(), materials).expect("recipe");
        recipe.environment.iter().map(|pair| pair.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_environment_is_layered_and_its_marks_cannot_be_forged() {
        let files = Map::from([("A".to_owned(), "file".to_owned()), ("B".to_owned(), "file".to_owned())]);
        let materials = Materials { variables: files, identity: None };
        let marks = ["SECTION3_BOOT=b", "SECTION3_RUN=3", "SECTION3_SERVICE=web", "SECTION3_SOCKET=/s"];
        let full = [&["A=env", "B=file", "PATH=/bin"], marks.as_slice(), &["TOKEN=t"]].concat();
        assert_eq!(environment_of(&definition(), materials.clone()), full);
        let clean = Definition { clean_env: true, ..definition() };
        assert_eq!(environment_of(&clean, materials), [&["A=env", "B=file", "PATH=/bin"], marks.as_slice()].concat());
    }

    #[test]
    fn environment_files() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("env");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("written");
            let mut variables = Map::new();
            read_variables(&path, &mut variables).map(|()| variables.into_iter().collect::<Vec<_>>())
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("# c\n\nA=1\nexport B = \"x y\" \nC='q'\nD=a=b\nE=\n"),
            Ok(vec![pair("A", "1"), pair("B", "x y"), pair("C", "q"), pair("D", "a=b"), pair("E", "")])
        );
        for (bad, place) in [("A=1\nsecret\n", ":2: no `=`"), ("1A=x", ":1: `1A` is no name"), ("=x", ":1: `` is no name")] {
            let message = read(bad).expect_err(bad);
            assert!(message.contains(place) && !message.contains("secret"), "{message}");
        }
        let mut none = Map::new();
        let missing = read_variables(Path::new("/no/such"), &mut none).expect_err("missing");
        assert_eq!(missing, "/no/such: no such file or directory");
    }
}
