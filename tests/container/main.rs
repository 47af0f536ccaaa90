//! The program as it is meant to be used: PID 1 of a real container, from an image of nothing but itself and busybox.
//!
//! Needs Docker, busybox-static and the static binary; `tests/run container` sees to all three. Every container and
//! image has a name of its own and goes with the test that made it, also when the test fails.

#[allow(dead_code, reason = "the black-box tests use all of it")]
#[path = "../it/support/deadline.rs"]
mod deadline;
#[allow(dead_code, reason = "the black-box tests use all of it")]
#[path = "../it/support/receiver.rs"]
mod receiver;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use receiver::{Receiver, Reply, Request};

/// The longest wait for one command: far beyond what a loaded machine needs.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs `docker` to its end; what it says and its exit code.
#[track_caller]
fn docker(args: &[&str]) -> Output {
    let mut client = Command::new("docker");
    client.args(args).env("DOCKER_BUILDKIT", "0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = client.spawn().expect("docker");
    let (to, from) = channel();
    thread::spawn(move || to.send(child.wait_with_output()));
    from.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("docker {args:?} did not end")).expect("its output")
}

/// The same, and it must succeed; its standard output.
#[track_caller]
fn docker_ok(args: &[&str]) -> String {
    let output = docker(args);
    assert!(output.status.success(), "docker {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Docker builds and removes images one at a time here: a removal would take the layers away from under a build.
static IMAGES: Mutex<()> = Mutex::new(());

/// The image that the containers of this run share; it goes with the last one.
struct Image {
    name: String,
}

impl Image {
    /// The one that is there, or a new one.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Image>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let image = Arc::new(Self::build());
            *shared = Arc::downgrade(&image);
            image
        })
    }

    fn build() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let _one = IMAGES.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("section3-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let context = tempfile::tempdir().expect("a build context");
        let copy = |from: &Path, to: &str| {
            let to = context.path().join(to);
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::copy(from, &to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        };
        copy(&static_binary(), "section3");
        copy(Path::new("/bin/busybox"), "bin/busybox");
        for applet in ["sh", "cat", "chmod", "echo", "httpd", "mv", "sleep", "wget", "id", "grep"] {
            std::os::unix::fs::symlink("busybox", context.path().join("bin").join(applet)).expect("a link");
        }
        // In the image it is root's, as it must be; in a mounted folder it would be whoever's runs the tests.
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks/notify-sidecar.lua"), "hooks/notify-sidecar.lua");
        let hook = context.path().join("hooks/notify-sidecar.lua");
        fs::set_permissions(hook, fs::Permissions::from_mode(0o644)).expect("nobody else's to write");
        fs::create_dir(context.path().join("workspace")).expect("a folder");
        fs::write(context.path().join("workspace/section3.yml"), "services: {}\n").expect("a config");
        fs::write(context.path().join("Dockerfile"), "FROM scratch\nCOPY . /\nENV PATH=/bin\nENTRYPOINT [\"/section3\"]\n")
            .expect("a Dockerfile");
        docker_ok(&["build", "--quiet", "--tag", &name, &context.path().display().to_string()]);
        Self { name }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _one = IMAGES.lock().unwrap_or_else(PoisonError::into_inner);
        docker(&["rmi", "--force", &self.name]);
    }
}

/// What `packaging/build-static` built.
fn static_binary() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_section3")).ancestors().nth(2).expect("the target folder");
    let binary = target.join("x86_64-unknown-linux-musl/release/section3");
    assert!(binary.exists(), "{} is missing; run `packaging/build-static x86_64`", binary.display());
    binary
}

/// One container; it is removed when it goes.
struct Container {
    id: String,
    config: tempfile::TempDir,
    /// Kept until the container is gone.
    _image: Arc<Image>,
}

impl Container {
    /// Starts one on this configuration and waits until its supervisor is ready.
    #[track_caller]
    fn start(config: &str, flags: &[&str]) -> Self {
        let container = Self::run(config, flags);
        container.until("daemon_ready");
        container
    }

    /// Starts one on this configuration.
    #[track_caller]
    fn run(config: &str, flags: &[&str]) -> Self {
        let image = Image::shared();
        let folder = tempfile::tempdir().expect("a folder for the config");
        // A user of any number may read it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("an open folder");
        fs::write(folder.path().join("section3.yml"), config).expect("a config");
        let mount = format!("{}:/workspace", folder.path().display());
        // No network: the tests need none, and then Docker needs no bridge.
        let run = ["run", "--detach", "--network", "none", "--volume", &mount];
        let id = docker_ok(&[&run[..], flags, &[&image.name]].concat()).trim().to_owned();
        Self { id, config: folder, _image: image }
    }

    /// Waits until it has ended by itself; its exit code.
    #[track_caller]
    fn ends(&self) -> i32 {
        docker_ok(&["wait", &self.id]).trim().parse().expect("a code")
    }

    fn configure(&self, config: &str) {
        fs::write(self.config.path().join("section3.yml"), config).expect("a config");
    }

    /// `docker exec` of the program itself; it must succeed.
    #[track_caller]
    fn section3(&self, args: &[&str]) -> String {
        docker_ok(&[&["exec", &self.id, "/section3"], args].concat())
    }

    /// Runs a shell line inside.
    #[track_caller]
    fn sh(&self, line: &str) -> String {
        docker_ok(&["exec", &self.id, "/bin/sh", "-c", line])
    }

    /// Waits for an event that holds this text, by reading them live from inside.
    #[track_caller]
    fn until(&self, wanted: &str) {
        let mut client = Command::new("docker");
        // A supervisor that has just been started may not listen yet: the shell asks again as soon as it was refused.
        let line = "until /section3 status >/dev/null 2>&1; do :; done; exec /section3 events -f -n 1000 --json";
        client.args(["exec", &self.id, "/bin/sh", "-c", line]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut client = client.spawn().expect("docker exec");
        let events = BufReader::new(client.stdout.take().expect("stdout"));
        let (to, from) = channel();
        thread::spawn(move || events.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        let mut seen = Vec::new();
        let found = loop {
            match from.recv_timeout(LIMIT) {
                Ok(line) if line.contains(wanted) => break true,
                Ok(line) => seen.push(line),
                Err(_) => break false,
            }
        };
        let _ = client.kill();
        let _ = client.wait();
        assert!(found, "no event with `{wanted}`; seen:\n{}\nlogs:\n{}", seen.join("\n"), self.logs());
    }

    /// What `docker logs` shows.
    fn logs(&self) -> String {
        let output = docker(&["logs", &self.id]);
        text(&output.stdout) + &text(&output.stderr)
    }

    /// `docker stop` with the grace that Docker gives by default; the exit code of the container.
    #[track_caller]
    fn stop(&self) -> i32 {
        docker_ok(&["stop", "--time", "10", &self.id]);
        docker_ok(&["inspect", "--format", "{{.State.ExitCode}}", &self.id]).trim().parse().expect("a code")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "--force", "--volumes", &self.id]);
    }
}

const TWO: &str = "services:
  web: {command: exec httpd -f -p 127.0.0.1:8080 -h /workspace, ready: {tcp: '127.0.0.1:8080'}}
  worker: {command: 'echo working; exec sleep 1000', restart: on-crash, depends_on: [web]}
";

#[test]
fn it_works_from_end_to_end() {
    let container = Container::start(TWO, &[]);
    container.section3(&["wait", "worker", "--for", "running"]);
    let status = container.section3(&["status"]);
    let lines: Vec<Vec<&str>> = status.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines[0][0], lines[0][1], lines[1][0], lines[1][1]), ("web", "running", "worker", "running"), "{status}");
    assert_eq!(container.sh("wget -q -O - http://127.0.0.1:8080/section3.yml"), TWO);
    container.section3(&["stop", "worker"]);
    assert_eq!(container.section3(&["tail", "worker"]), "working\n");
    assert_eq!(container.sh("cat /proc/1/cmdline"), "/section3\0");
}

#[test]
fn docker_stop_ends_the_services_in_order_and_the_container_with_0() {
    let line =
        |name: &str| format!("'trap \"echo {name} ends; exit 0\" TERM; echo {name} begins; while :; do sleep 1000 & wait; done'");
    let config =
        format!("services: {{web: {{command: {}}}, worker: {{command: {}, depends_on: [web]}}}}", line("web"), line("worker"));
    let container = Container::start(&config, &[]);
    container.section3(&["wait", "worker", "--for", "running"]);
    // 137 would be Docker's SIGKILL after its 10 s.
    assert_eq!(container.stop(), 0);
    let logs = container.logs();
    let at = |text: &str| logs.lines().position(|l| l == text).unwrap_or_else(|| panic!("`{text}` is missing in:\n{logs}"));
    assert!(at("[worker] worker ends") < at("[web] web ends"), "{logs}");
}

/// As PID 1 of a container, with another version in the place of the first: its services notice nothing, Docker neither.
#[test]
fn the_program_is_replaced_in_a_running_container() {
    let ends =
        |name: &str| format!("'trap \"echo {name} ends; exit 0\" TERM; echo {name} begins; while :; do sleep 1000 & wait; done'");
    let config = format!(
        "services:
  loud: {{command: 'i=0; while :; do i=$((i+1)); echo line $i; done', log_max_size: 1G, stop_signal: KILL}}
  web: {{command: {}}}
  worker: {{command: {}, depends_on: [web]}}
",
        ends("web"),
        ends("worker")
    );
    let container = Container::start(&config, &[]);
    container.section3(&["wait", "loud", "--for", "running"]);
    container.section3(&["wait", "worker", "--for", "running"]);
    let status = || serde_json::from_str::<serde_json::Value>(&container.section3(&["status", "--json"])).expect("JSON");
    let runs = |status: &serde_json::Value| {
        let services = status["services"].as_array().expect("services").iter();
        services.map(|service| ["name", "state", "pid", "run"].map(|key| service[key].clone())).collect::<Vec<_>>()
    };
    let before = status();
    assert_eq!(before["services"].as_array().map(Vec::len), Some(3));

    let mark = b"section3-version=";
    let mut bytes = fs::read(static_binary()).expect("the program");
    let at = memchr::memmem::find(&bytes, mark).expect("the mark before the version") + mark.len();
    bytes[at..at + 5].copy_from_slice(b"9.8.7");
    fs::write(container.config.path().join("section3.new"), bytes).expect("the other version");
    container.sh("cat /workspace/section3.new > /section3.new && chmod 0755 /section3.new && mv /section3.new /section3");
    for round in 0..10 {
        let said = container.section3(&["self", "reexec"]);
        assert!(said.contains("section3 9.8.7 took over") && said.contains("(PID 1)"), "round {round}: {said}");
    }
    let after = status();
    assert_eq!(runs(&after), runs(&before));
    assert_eq!(after["supervisor"]["version"], "9.8.7");
    assert_eq!(after["supervisor"]["boot"], before["supervisor"]["boot"]);
    container.section3(&["stop", "loud"]);
    let log = container.sh("cat /var/log/section3/loud.log");
    let mut last = 0;
    for (line, number) in log.split_inclusive('\n').filter(|line| line.ends_with('\n')).zip(1_u64..) {
        assert_eq!(line, format!("line {number}\n"));
        last = number;
    }
    assert!(last > 100, "it was not loud: {last}");
    // 137 would be Docker's SIGKILL after its 10 s.
    assert_eq!(container.stop(), 0);
    let logs = container.logs();
    let at = |text: &str| logs.lines().position(|line| line == text).unwrap_or_else(|| panic!("`{text}` is missing"));
    assert!(at("[worker] worker ends") < at("[web] web ends"), "they did not end in order");
}

#[test]
fn docker_logs_shows_each_line_with_its_service() {
    let container = Container::start(TWO, &[]);
    container.section3(&["stop", "--all"]);
    container.stop();
    let logs = container.logs();
    assert!(logs.lines().any(|line| line == "[worker] working"), "{logs}");
}

#[test]
fn a_hangup_from_docker_kill_reloads() {
    let container = Container::start(TWO, &[]);
    container.configure("services: {new: {command: exec sleep 1000}}");
    docker_ok(&["kill", "--signal", "HUP", &container.id]);
    container.until("signal:SIGHUP");
    container.section3(&["wait", "new", "--for", "running"]);
    let status = container.section3(&["status"]);
    assert_eq!(status.lines().count(), 1, "{status}");
}

#[test]
fn g38_ten_thousand_orphans_leave_no_zombie() {
    // Each is started by a shell that is gone before it, so it falls to PID 1.
    let config = "services:
  orphans:
    command: 'i=0; while [ $i -lt 10000 ]; do ( : & ); i=$((i + 1)); done'
    restart: never
";
    let container = Container::start(config, &[]);
    container.section3(&["wait", "orphans", "--for", "exited", "--timeout", "280s"]);
    // The last one may have died just now: each answer of the supervisor is one more turn of its loop.
    let count = "grep -l '^State:.*zombie' /proc/[0-9]*/status 2>/dev/null | grep -c . ; :";
    let mut left = String::new();
    for _ in 0..1000 {
        container.section3(&["status"]);
        left = container.sh(count);
        if left.trim() == "0" {
            return;
        }
    }
    panic!("zombies stay: {left}");
}

#[test]
fn it_works_on_a_read_only_root_as_a_plain_user_without_capabilities() {
    let config = "services: {web: {command: 'id -u; exec sleep 1000'}}";
    let locked = ["--read-only", "--user", "1000", "--cap-drop=ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp"];
    let container = Container::start(config, &locked);
    container.section3(&["wait", "web", "--for", "running"]);
    container.section3(&["stop", "web"]);
    assert_eq!(container.section3(&["tail", "web"]), "1000\n");
    assert_eq!(container.stop(), 0);
}

#[test]
fn as_root_on_a_read_only_root_it_says_where_it_goes_instead() {
    let container = Container::start(TWO, &["--read-only", "--tmpfs", "/tmp"]);
    container.section3(&["wait", "worker", "--for", "running"]);
    assert_eq!(container.stop(), 0);
    assert!(container.logs().contains("/tmp/section3-0"), "{}", container.logs());
}

#[test]
fn dockers_own_init_in_front_is_no_problem() {
    let container = Container::start(TWO, &["--init"]);
    container.section3(&["wait", "worker", "--for", "running"]);
    assert_eq!(container.stop(), 0);
}

/// The sidecars of a bundle; what each does is up to the test.
fn bundle(egress: &str, pipelock: &str) -> String {
    format!(
        "supervisor: {{select: {{env: CLAUDE_BOTTLE_SIDECAR_DAEMONS}}, exit_when: all-ended}}
defaults: {{restart: never}}
services:
  egress: {{command: '{egress}'}}
  pipelock: {{command: '{pipelock}'}}
  git-gate: {{command: 'echo git-gate begins; exec sleep 1000'}}
  supervise: {{command: 'echo supervise begins; exec sleep 1000'}}
"
    )
}

#[test]
fn a_bundle_is_narrowed_and_outlives_one_of_its_daemons() {
    let config = bundle("echo egress begins; exec sleep 1000", "echo pipelock begins; exec sleep 1000");
    let container = Container::start(&config, &["--env", "CLAUDE_BOTTLE_SIDECAR_DAEMONS=pipelock,egress"]);
    let pid = |name: &str| {
        let status = container.section3(&["status", name]);
        status.split_whitespace().nth(3).and_then(|pid| pid.parse::<u32>().ok()).unwrap_or_else(|| panic!("{status}"))
    };
    assert!(pid("egress") < pid("pipelock"), "they begin in the order of the file");
    assert!(container.section3(&["status", "git-gate"]).contains("stopped"));
    container.section3(&["signal", "egress", "SEGV"]);
    container.section3(&["wait", "egress", "--for", "failed"]);
    assert!(container.section3(&["status", "pipelock"]).contains("running"));
    // The last one ends well, and the one that did not is not hidden by it.
    // The client may be ended by the end of the container that it brings about.
    docker(&["exec", &container.id, "/section3", "signal", "pipelock", "KILL"]);
    assert_eq!(container.ends(), 139);
    let logs = container.logs();
    for name in ["egress", "pipelock"] {
        assert!(logs.lines().any(|line| line == format!("[{name}] {name} begins")), "{logs}");
    }
    assert!(!logs.contains("git-gate begins"), "{logs}");
}

#[test]
fn a_bundle_ends_with_0_after_docker_stop_although_one_ignores_term() {
    let stubborn = "trap \"\" TERM; while :; do sleep 1000; done";
    let container = Container::start(&bundle("exec sleep 1000", stubborn), &[]);
    // 137 would be Docker's SIGKILL after its 10 s.
    assert_eq!(container.stop(), 0);
}

#[test]
fn a_selection_that_names_what_does_not_exist_is_no_success() {
    let config = bundle("exec sleep 1000", "exec sleep 1000");
    let container = Container::run(&config, &["--env", "CLAUDE_BOTTLE_SIDECAR_DAEMONS=egres"]);
    assert_eq!(container.ends(), 6);
    let logs = container.logs();
    assert!(logs.contains("egres") && logs.contains("did you mean `egress`"), "{logs}");
    // Nor is it one where unknown names are only a warning.
    let lenient = config.replace("DAEMONS}", "DAEMONS, unknown: warn}");
    let container = Container::run(&lenient, &["--env", "CLAUDE_BOTTLE_SIDECAR_DAEMONS=egres"]);
    assert_eq!(container.ends(), 6);
    // But beside a known one it is left out, and said.
    let container = Container::start(&lenient, &["--env", "CLAUDE_BOTTLE_SIDECAR_DAEMONS=egres,pipelock"]);
    container.section3(&["wait", "pipelock", "--for", "running"]);
    assert!(container.logs().contains("egres"), "{}", container.logs());
}

/// The hook of the repository, a receiver that is not well at first, and a service that crashes until it is given up.
#[test]
fn a_sidecar_has_each_crash_once_and_in_order_although_it_fails_at_first() {
    let folder = tempfile::tempdir().expect("a folder for the socket");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("an open folder");
    let receiver = Receiver::unix(&folder.path().join("sock"), |number, _| Reply::status(if number < 3 { 503 } else { 200 }));
    let config = "services:
  web: {command: 'echo one; echo two; exit 7', backoff: {initial: 10ms, max: 10ms, give_up_after: 3}}
  worker: {command: exec sleep 1000}
hooks: [/hooks/notify-sidecar.lua]
";
    let mount = format!("{}:/sidecar", folder.path().display());
    let url = "SIDECAR_URL=unix:/sidecar/sock:/v1/events";
    let container = Container::start(config, &["--volume", &mount, "--env", url]);
    let mut requests = Vec::new();
    while requests.iter().all(|request: &Request| request.json()["type"] != "gave_up") {
        requests.push(receiver.next());
    }
    let ids: Vec<&str> = requests.iter().map(|request| request.header("idempotency-key")).collect();
    assert!(ids[..3].iter().all(|id| *id == ids[3]), "it asks again with the same: {ids:?}");
    let taken: Vec<serde_json::Value> = requests[3..].iter().map(Request::json).collect();
    let told: Vec<_> = taken.iter().map(|event| (event["type"].as_str(), event["run"].as_u64())).collect();
    let crash = |run: u64| (Some("crash"), Some(run));
    assert_eq!(told, [crash(1), crash(2), crash(3), (Some("gave_up"), Some(3))]);
    for (request, event) in requests[3..].iter().zip(&taken) {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/events"));
        assert_eq!((&event["service"], &event["exit"]["code"]), (&"web".into(), &7.into()), "{event}");
        assert_eq!(event["tail"], serde_json::json!(["one", "two"]), "{event}");
        assert_eq!(event["id"].as_str(), Some(request.header("idempotency-key")));
    }
    // Ticked off, which may come a moment after the answer.
    let ticked = "until /section3 hook list --json | grep -q '\"ok\": *4'; do :; done";
    container.sh(ticked);
    // The code of the one that ended badly for good.
    assert_eq!(container.stop(), 7);
    assert!(receiver.rest().is_empty(), "nothing twice");
}
