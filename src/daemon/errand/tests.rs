//! Short processes: what is read of them, and who goes with them.

use std::ffi::CString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::pin::pin;
use std::process::{Child, Command, Stdio};

use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::*;
use crate::sys::wait;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn shell(script: &str) -> Recipe {
    let text = |text: &str| CString::new(text).expect("no NUL");
    Recipe {
        programs: vec![text("/bin/sh")],
        argv: ["sh", "-c", script].map(text).to_vec(),
        environment: vec![text("PATH=/usr/local/bin:/usr/bin:/bin")],
        ..Recipe::default()
    }
}

fn null() -> OwnedFd {
    crate::sys::init::open_null().expect("/dev/null").0
}

/// Tells that an errand has ended, once it has.
fn end(errands: &Errands) {
    let zombie = wait::until_ended(errands.rest()[0].0).expect("its end");
    assert!(errands.ended(zombie) && !errands.ended(zombie), "it is one, once");
    let _ = wait::reap(zombie);
}

#[test]
fn the_end_of_the_output_is_kept() {
    let mut tail = Tail::default();
    assert_eq!(after("exit 1", &tail.0), "exit 1");
    tail.keep(b" no\n");
    assert_eq!(after("exit 1", &tail.0), "exit 1: no");
    tail.keep(&[b'x'; 5000]);
    tail.keep(b"end\n");
    assert_eq!(tail.0.len(), KEPT_OUTPUT);
    assert!(after("exit 1", &tail.0).ends_with("xend"));
}

/// A pipe that holds two turns of output, and a bit.
fn chatty() -> (AsyncFd<OwnedFd>, std::fs::File) {
    let (output, input) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).expect("a pipe");
    let size = i32::try_from(4 * OUTPUT_A_TURN).expect("a size");
    fcntl(&input, FcntlArg::F_SETPIPE_SZ(size)).expect("a large one");
    let mut input = std::fs::File::from(input);
    input.write_all(&vec![b'x'; 2 * OUTPUT_A_TURN + 1]).expect("room");
    (watch(output).expect("watched"), input)
}

#[tokio::test(start_paused = true)]
async fn a_chatty_one_is_held_up_and_not_the_loop() {
    let (output, input) = chatty();
    let mut tail = Tail::default();
    assert!(matches!(tail.take(&output), Taken::Much));
    assert!(matches!(tail.take(&output), Taken::Much));
    assert!(matches!(tail.take(&output), Taken::All));
    drop(input);
    assert!(matches!(tail.take(&output), Taken::End));

    let (output, _input) = chatty();
    assert!(timeout(OUTPUT_PAUSE / 2, tail.follow(&output)).await.is_err());
    assert!(matches!(tail.take(&output), Taken::Much), "there was no pause");
}

#[tokio::test]
async fn a_read_of_its_output_does_not_wait() {
    let (launch, output) = begin(&shell("exit"), &null(), None).expect("begun");
    let flags = OFlag::from_bits_retain(fcntl(output.get_ref(), FcntlArg::F_GETFL).expect("flags"));
    assert!(flags.contains(OFlag::O_NONBLOCK), "a read would hold up the loop");
    let zombie = wait::until_ended(launch.pid).expect("its end");
    let _ = wait::reap(zombie);
}

#[test]
fn a_program_that_cannot_be_run_says_nothing_good() {
    let mut recipe = shell("");
    recipe.programs = vec![c"/no/such/program".to_owned()];
    runtime().block_on(async {
        let (errands, null) = (Rc::new(Errands::default()), null());
        let mut asked = pin!(converse(&errands, None, &recipe, &null, None));
        tokio::select! {
            biased;
            _ = &mut asked => panic!("it ended"),
            () = std::future::ready(()) => end(&errands),
        }
        assert_eq!(asked.await, Err((Stage::Exec, Errno::ENOENT)));
    });
}

/// It has ended before the loop had a turn to read.
#[test]
fn its_last_words_are_heard() {
    runtime().block_on(async {
        let (errands, null, recipe) = (Rc::new(Errands::default()), null(), shell("echo no; exit 3"));
        let mut asked = pin!(converse(&errands, None, &recipe, &null, None));
        tokio::select! {
            biased;
            _ = &mut asked => panic!("it ended"),
            () = std::future::ready(()) => end(&errands),
        }
        assert_eq!(asked.await, Ok((ExitStatus::Code(3), b"no\n".to_vec())));
    });
}

/// A process of ours that ends when its input does.
fn waits(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a process")
}

fn let_go(errands: &Rc<Errands>, process: &Child) {
    drop(Guard { errands: Rc::clone(errands), pid: process.id() as i32 });
}

/// Its number may be somebody else's by then.
#[test]
fn who_was_reaped_is_not_killed() {
    let mut other = waits(Command::new("cat").process_group(0));
    let_go(&Rc::default(), &other);
    drop(other.stdin.take());
    assert!(other.wait().expect("its end").success(), "it was killed");
}

/// Between its making and its session it is in our own group.
#[test]
fn who_has_no_group_yet_is_killed_alone() {
    let mut young = waits(&mut Command::new("cat"));
    let errands = Rc::new(Errands::default());
    let (ended, _) = oneshot::channel();
    errands.0.borrow_mut().insert(young.id() as i32, Errand { owner: None, launch: None, ended });
    let_go(&errands, &young);
    let killed = std::os::unix::process::ExitStatusExt::signal(&young.wait().expect("its end"));
    assert_eq!(killed, Some(libc::SIGKILL));
}

/// A shell with this script, in which 9 is an end of a pipe that all it starts inherit. `play` is to end it; then whoever
/// could still write there must be gone.
fn with_a_shell(script: &str, play: impl AsyncFnOnce(&Rc<Errands>, &Recipe, &OwnedFd, oneshot::Receiver<()>)) {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let recipe = shell(&format!("exec 9>'{}'\n{script}", pipe.display()));
    let (begun, has_begun) = oneshot::channel();
    let reader = std::thread::spawn(move || {
        let mut reader = std::io::BufReader::new(std::fs::File::open(pipe).expect("open"));
        let _ = std::io::BufRead::read_line(&mut reader, &mut String::new());
        let _ = begun.send(());
        // Its end comes when the last process that could write there is gone.
        std::io::read_to_string(reader)
    });
    let errands = Rc::new(Errands::default());
    runtime().block_on(play(&errands, &recipe, &null(), has_begun));
    let (to, from) = std::sync::mpsc::channel();
    std::thread::spawn(move || to.send(reader.join().is_ok()));
    assert!(from.recv_timeout(Duration::from_secs(60)).is_ok(), "somebody is left");
}

/// The group of the shell, and one that has left it.
const FAMILY: &str = "sleep 1000 &\nsetsid sh -c 'echo up >&9; exec sleep 1000' &\n";

#[test]
fn who_is_not_wanted_any_more_goes_with_all_it_started() {
    with_a_shell(&format!("{FAMILY}wait"), async |errands, recipe, null, mut has_begun| {
        tokio::select! {
            _ = converse(errands, None, recipe, null, None) => panic!("it ended"),
            begun = &mut has_begun => begun.expect("it began"),
        }
        let pid = errands.rest()[0].0;
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).expect("its end");
    });
}

#[test]
fn who_ends_takes_its_group_along() {
    with_a_shell("sleep 1000 &\necho up >&9", async |errands, recipe, null, has_begun| {
        let ended = async {
            has_begun.await.expect("it began");
            end(errands);
        };
        let (answer, ()) = tokio::join!(converse(errands, None, recipe, null, None), ended);
        assert!(answer.is_ok_and(|(status, _)| status.is_success()));
    });
}
