//! From the command line to a running loop: what can fail, fails here, loudly, before the first launch.

use std::io::Write;
use std::path::PathBuf;

use nix::unistd::geteuid;
use tokio::runtime::{LocalOptions, LocalRuntime};

use super::clock::Now;
use super::event_loop::Daemon;
use super::occupancy::{Occupancy, Refusal, end_leftovers};
use super::recipe::{Surroundings, inherited_environment};
use crate::config;
use crate::log::{Folder, Pump, Setup, diary};
use crate::spec::{Console, LogLimits, Spec, UnknownName};
use crate::sys::{clock, init, signals, task, words};
use crate::value::paths;
use crate::wire::event::Origin;

/// What the command line says; what is absent follows the rules of [`crate::value::paths`].
#[derive(Clone, Debug, Default)]
pub struct DaemonArgs {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--socket`.
    pub socket: Option<PathBuf>,
    /// `--log-dir`.
    pub log_dir: Option<PathBuf>,
}

/// The start failed in a way that a correct config or another option could mend.
const EXIT_FAILED: u8 = 1;
/// The config has problems.
const EXIT_CONFIG: u8 = 6;

/// Runs the supervisor until it is done; returns its exit code. A start that fails says so on stderr.
#[must_use]
pub fn run(args: DaemonArgs) -> u8 {
    match start(args) {
        Ok(code) => code,
        Err((code, message)) => {
            let text = if code == EXIT_CONFIG { format!("{message}\n") } else { format!("section3: {message}\n") };
            let _ = std::io::stderr().write_all(text.as_bytes());
            code
        }
    }
}

/// What the supervisor itself holds open, launches under way and clients included, with room to spare.
const DESCRIPTORS: usize = 200;
/// A pipe and a log.
const DESCRIPTORS_PER_SERVICE: usize = 2;

type Failure = (u8, String);

fn start(args: DaemonArgs) -> Result<u8, Failure> {
    let began = clock::monotonic();
    let failed = |message: String| (EXIT_FAILED, message);
    // First of all: from here on no signal is fatal, none is lost, and every thread and child starts from this mask.
    let signals =
        signals::block_and_open().map_err(|errno| failed(format!("cannot open a signal descriptor: {}", words::errno(errno))))?;
    let (null, no_null) = init::open_null().map_err(|errno| failed(format!("cannot open /dev/null: {}", words::errno(errno))))?;
    init::close_inherited_on_exec();

    let around = paths::Surroundings { uid: geteuid().as_raw(), env: &|name| std::env::var_os(name) };
    let config_path = around.config(args.config);
    let spec =
        config::load(&config_path, &|name| std::env::var(name).ok()).map_err(|problems| (EXIT_CONFIG, problems.to_string()))?;

    let mut restrictions = Vec::new();
    restrictions.extend(no_null.map(|errno| format!("no /dev/null ({}): services read an empty pipe", words::errno(errno))));
    let mut occupancy = occupy(&around.socket(args.socket), &mut restrictions)?;
    let folder = open_folder(&around.log_dir(args.log_dir), &mut restrictions)?;
    let boot = init::random_id();
    let leftovers = occupancy.predecessor().map(|predecessor| end_leftovers(&predecessor));
    occupancy.sign(&boot).map_err(|error| failed(format!("cannot sign the lock beside the socket: {}", words::io(&error))))?;

    let descriptor_limit =
        init::raise_descriptor_limit().map_err(|errno| failed(format!("cannot read limits: {}", words::errno(errno))))?;
    init::make_room_for_descriptors(&null, DESCRIPTORS + spec.services.len() * DESCRIPTORS_PER_SERVICE);
    if std::process::id() != 1
        && let Err(errno) = init::become_subreaper()
    {
        restrictions.push(format!("cannot become the reaper of orphans: {}", words::errno(errno)));
    }
    if crate::sys::process::stat(std::process::id() as i32).is_none() {
        restrictions.push("/proc cannot be read: processes that leave their group are not found".to_owned());
    }
    restrictions.extend(ignored_names(&spec));
    restrictions.extend(spec.scripts.withheld.iter().map(ToString::to_string));
    restrictions.extend(config::exposure(&config_path));

    let surroundings = Surroundings {
        environment: inherited_environment(),
        boot: boot.clone(),
        socket: occupancy.socket().as_os_str().to_owned(),
        descriptor_limit,
    };
    let origin = Origin { boot, host: hostname() };
    let runtime = runtime().map_err(|error| failed(format!("cannot start the event loop: {}", words::io(&error))))?;
    let log_dir = folder.path().to_owned();
    let program = super::handover::on_disk();
    let (inbox, letters) = tokio::sync::mpsc::channel(super::inbox::CAPACITY);
    let settings = &spec.settings;
    let pump = start_pump(folder, settings.log, settings.console, inbox.clone())
        .map_err(|error| failed(format!("cannot start the log pump: {}", words::io(&error))))?;
    diary::begin(pump.voice());
    let code = runtime.block_on(async move {
        let listener = occupancy.listen().map_err(|refusal| failed(refusal.into_message()))?;
        let mut daemon = Daemon::new(super::event_loop::Parts {
            catalogue: super::hooks::Catalogue::read(&spec.scripts),
            spec,
            config_path,
            log_dir,
            origin,
            began,
            surroundings,
            restrictions,
            occupancy,
            pump,
            null,
            program,
            inbox,
        });
        let listener =
            daemon.serve(listener).map_err(|error| failed(format!("cannot watch the socket: {}", words::io(&error))))?;
        let signals = crate::sys::watch::watch_signals(signals);
        let signals = signals.map_err(|error| failed(format!("cannot watch for signals: {}", words::io(&error))))?;
        daemon.begin(leftovers, Now::read());
        Ok(task::apart(daemon.run(signals, letters, listener)).await)
    });
    // A client that reads a log from a dead disk must not hold up the end.
    runtime.shutdown_background();
    code
}

/// The runtime of the event loop.
pub fn runtime() -> std::io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // Reads of files for clients and launches: few at a time, and gone when idle. Probes have places of their own.
        .max_blocking_threads(4 + crate::probe::MOST_LOOK_UPS)
        .thread_stack_size(256 << 10)
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .on_thread_park(super::rest::before_a_wait)
        .build_local(LocalOptions::default())
}

/// The log pump, which writes to our stdout and reports to the inbox.
pub fn start_pump(
    folder: Folder,
    own: LogLimits,
    console: Console,
    inbox: tokio::sync::mpsc::Sender<super::inbox::Letter>,
) -> std::io::Result<Pump> {
    use std::os::fd::AsFd;
    use tokio::sync::mpsc::error::TrySendError;

    let setup = Setup {
        folder,
        own,
        console,
        stdout: std::io::stdout().as_fd().try_clone_to_owned()?,
        clock: Box::new(clock::monotonic),
    };
    Pump::start(setup, move |report| {
        inbox.try_send(super::inbox::Letter::Log(report)).map_err(|error| match error {
            TrySendError::Full(super::inbox::Letter::Log(report)) | TrySendError::Closed(super::inbox::Letter::Log(report)) => {
                report
            }
            TrySendError::Full(_) | TrySendError::Closed(_) => unreachable!("the letter that was sent comes back"),
        })
    })
}

fn occupy(places: &paths::Places, restrictions: &mut Vec<String>) -> Result<Occupancy, Failure> {
    // Absolute: services with another `dir` find it in SECTION3_SOCKET.
    let take = |path: &std::path::Path| Occupancy::take(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    first_that_works(places, restrictions, ("the socket", "--socket or SECTION3_SOCKET"), |path| match take(path) {
        Ok(occupancy) => Ok(occupancy),
        Err(Refusal::Unwritable(message)) => Err((true, message)),
        Err(refusal) => Err((false, refusal.into_message())),
    })
}

fn open_folder(places: &paths::Places, restrictions: &mut Vec<String>) -> Result<Folder, Failure> {
    first_that_works(places, restrictions, ("the logs", "--log-dir or SECTION3_LOG_DIR"), |path| {
        Folder::open(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned())).map_err(|error| {
            use std::io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
            (matches!(error.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem), error.to_string())
        })
    })
}

/// The first of the places that can be written. A place that was named is the only one.
fn first_that_works<T>(
    places: &paths::Places,
    restrictions: &mut Vec<String>,
    (what, how_to_name): (&str, &str),
    open: impl Fn(&std::path::Path) -> Result<T, (bool, String)>,
) -> Result<T, Failure> {
    let mut tried: Vec<String> = Vec::new();
    for path in &places.paths {
        match open(path) {
            Ok(opened) => {
                if !tried.is_empty() {
                    restrictions.push(format!("{}; {what} went to {}", tried.join("; "), path.display()));
                }
                return Ok(opened);
            }
            Err((true, message)) => tried.push(message),
            Err((false, message)) => return Err((EXIT_FAILED, message)),
        }
    }
    Err((EXIT_FAILED, format!("{}; name a place that can be written with {how_to_name}", tried.join("; "))))
}

fn ignored_names(spec: &Spec) -> Option<String> {
    let select =
        spec.settings.select.as_ref().filter(|select| select.unknown == UnknownName::Warn && !select.ignored.is_empty())?;
    Some(format!("{} names no such service: {}", select.env, select.ignored.join(", ")))
}

fn hostname() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
