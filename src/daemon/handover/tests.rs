//! What a re-exec waits for, and what it gives way to. The program on disk is one that cannot be run: every exec fails, and the
//! supervisor is still there to be looked at.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::program::edition;
use super::*;
use crate::control::server::Call;
use crate::daemon::inbox::CAPACITY;
use crate::daemon::recipe::Materials;
use crate::daemon::stand::{self, Stand};
use crate::supervision::{Question, ServiceId};
use crate::sys::spawn::Recipe;
use crate::value::{Run, ServiceName};
use crate::wire::Request;
use crate::wire::advice::{Case, CaseFacts, Point, Step, Verdict};
use crate::wire::event::StartReason;
use crate::wire::request::Form;

fn play(play: impl FnOnce(&mut Stand)) {
    stand::play("services: {web: {command: x, ready: {log: up}}}", |mut stand| {
        let program = stand.dir.path().join("program");
        std::fs::write(&program, "#!/nonexistent/interpreter\n").expect("a program");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("a mode");
        stand.daemon.handover = Handover::new(Some(program));
        play(&mut stand);
    });
}

fn asker() -> Asker {
    Asker { actor: Actor::Supervisor, answer: None }
}

impl Stand {
    fn rehearsed(&self) -> Rehearsed {
        let program: &Path = self.daemon.handover.program.as_deref().expect("a program");
        Rehearsed { version: "9.9.9".to_owned(), edition: edition(program).expect("a program"), events: 1 }
    }

    /// As it is once the program on disk has said that it can take over, so long ago.
    fn is_rehearsed(&mut self, ago: Duration) {
        let (rehearsed, asker) = (self.rehearsed(), asker());
        let since = self.now.moment;
        self.now.moment = since + ago;
        self.daemon.handover.stage = Stage::Rehearsed { asker, rehearsed, since, look_at: since };
    }

    fn looks(&mut self) {
        self.daemon.reexec_when_calm(&mut self.letters, self.now);
    }

    /// Looks until something has come of it. Only a pump on a busy machine makes more than one look of it.
    fn looks_until_it_is_over(&mut self) {
        while !matches!(self.daemon.handover.stage, Stage::Idle) {
            if let Stage::Rehearsed { look_at, .. } = &mut self.daemon.handover.stage {
                *look_at = self.now.moment;
            }
            self.looks();
        }
    }

    /// Why it did not happen, each time it was told.
    fn failures(&self) -> Vec<String> {
        let told = self.daemon.ring.since(0);
        let failures = told.iter().filter_map(|event| match &event.kind {
            Kind::Update { phase: UpdatePhase::Failed, error, .. } => error.clone(),
            _ => None,
        });
        failures.collect()
    }

    fn web(&self) -> ServiceId {
        self.daemon.supervisor.services().next().expect("web").0
    }
}

#[test]
fn a_program_that_cannot_be_run_changes_nothing() {
    play(|stand| {
        stand.is_rehearsed(Duration::ZERO);
        stand.looks_until_it_is_over();
        let failures = stand.failures();
        assert!(failures.len() == 1 && failures[0].contains("cannot run ") && failures[0].contains("goes on"), "{failures:?}");
    });
}

/// Puts something in the way, which is gone when what is returned is dropped and the second one was called.
type Obstacle = (&'static str, fn(&mut Stand) -> Option<Rc<()>>, fn(&mut Stand));

const NOTHING: fn(&mut Stand) = |_| ();

/// What cannot be written down, and may take as long as anything may.
const LASTING: [Obstacle; 2] = [
    (
        "a reload is under way",
        |stand| {
            stand.daemon.reloading = true;
            None
        },
        |stand| stand.daemon.reloading = false,
    ),
    (
        "the output of a service that starts is being searched",
        |stand| {
            let id = stand.web();
            let spec = Arc::clone(stand.daemon.supervisor.service(id).expect("web").spec());
            let mut recipe = Recipe::default();
            let given = stand.daemon.prepare_watch(id, Run(1), &spec, Materials::default(), &mut recipe);
            assert!(given.is_ok_and(|given| given.is_none()));
            None
        },
        |stand| stand.daemon.watches = crate::daemon::watch::Watches::default(),
    ),
];

/// What goes on for a while, and is cut off then.
const PASSING: [Obstacle; 2] = [
    (
        "a hook is asked for its advice",
        |stand| {
            let question = Question {
                number: 1,
                run: Run(0),
                asked_at: stand.now.moment,
                deadline: stand.now.moment + Duration::from_secs(60),
                most: Duration::ZERO,
                case: Case {
                    point: Point::Start,
                    service: ServiceName::parse("web").expect("a name"),
                    run: Run(0),
                    attempt: 1,
                    crashes: 0,
                    facts: CaseFacts::Start { reason: StartReason::Boot },
                    default: Verdict { step: Step::Allow, reason: String::new() },
                    deadline_ms: 60_000,
                },
            };
            stand.daemon.questions.open(stand.web(), question, vec![Actor::Supervisor]);
            None
        },
        |stand| stand.daemon.questions = crate::daemon::advice::Questions::default(),
    ),
    ("answers are under way", |stand| Some(Rc::clone(&stand.daemon.flows)), NOTHING),
];

#[test]
fn what_cannot_be_written_down_is_waited_for() {
    for (what, put, clear) in LASTING.into_iter().chain(PASSING) {
        play(|stand| {
            let held = put(stand);
            stand.is_rehearsed(Duration::ZERO);
            stand.looks();
            let later = stand.daemon.handover.deadline();
            assert_eq!((later, stand.failures().len()), (Some(stand.now.moment + LOOK_AGAIN), 0), "{what}");
            drop(held);
            clear(stand);
            // Not before its time.
            stand.looks();
            assert_eq!((stand.daemon.handover.deadline(), stand.failures().len()), (later, 0), "{what}");
            stand.looks_until_it_is_over();
            let failures = stand.failures();
            assert!(failures.len() == 1 && failures[0].contains("cannot run "), "{what}: {failures:?}");
        });
    }
}

#[test]
fn it_is_waited_for_five_seconds_and_for_answers_one() {
    for (what, put, _) in LASTING {
        for (ago, is_over) in [(4999, false), (5000, true)] {
            play(|stand| {
                put(stand);
                stand.is_rehearsed(Duration::from_millis(ago));
                stand.looks();
                let failures = stand.failures();
                assert_eq!(stand.daemon.handover.deadline().is_none(), is_over, "{what}: {failures:?}");
                assert!(
                    failures.len() == usize::from(is_over) && failures.iter().all(|said| said.contains(what)),
                    "{failures:?}"
                );
            });
        }
    }
    for (what, put, _) in PASSING {
        for (ago, is_over) in [(999, false), (1000, true)] {
            play(|stand| {
                let _held = put(stand);
                stand.is_rehearsed(Duration::from_millis(ago));
                if is_over {
                    stand.looks_until_it_is_over();
                } else {
                    stand.looks();
                }
                let failures = stand.failures();
                assert_eq!(failures.len(), usize::from(is_over), "{what}");
                assert!(failures.iter().all(|said| said.contains("cannot run ")), "{what}: {failures:?}");
            });
        }
    }
}

#[test]
fn decisions_are_carried_out_before() {
    play(|stand| {
        stand.daemon.supervisor.boot(stand.now.moment);
        stand.is_rehearsed(Duration::from_secs(5));
        stand.looks();
        let failures = stand.failures();
        assert!(failures.len() == 1 && failures[0].contains("decisions wait to be carried out"), "{failures:?}");
    });
}

/// More letters than are read at the end: what they say is lost to the next program, which is not run therefore.
#[test]
fn letters_that_nobody_has_read_are_no_part_of_the_state() {
    for (count, is_passing) in [(2 * CAPACITY, false), (2 * CAPACITY + 1, true)] {
        play(|stand| {
            let (sender, mut letters) = mpsc::channel(4 * CAPACITY);
            for _ in 1..count {
                // Of a service that is gone.
                sender.try_send(Letter::Launched(ServiceId(99), Run(1))).expect("room");
            }
            sender.try_send(Letter::Rehearsed(Err("the last letter".to_owned()))).expect("room");
            stand.daemon.handover.stage = Stage::Rehearsing(asker());
            let (asker, rehearsed) = (asker(), stand.rehearsed());
            // A busy pump is no answer.
            let said = loop {
                match stand.daemon.leave(&asker, &rehearsed, false, &mut letters, stand.now) {
                    Hitch::Passing(why) if why.contains("pump") => {}
                    Hitch::Passing(why) => break (true, why),
                    Hitch::Final(why) => break (false, why),
                }
            };
            assert_eq!(said.0, is_passing, "{}", said.1);
            assert!(said.1.contains(if is_passing { "letters came" } else { "cannot run " }), "{}", said.1);
            let failures = stand.failures();
            assert!(failures.len() == 1 && failures[0].ends_with("the last letter"), "{failures:?}");
            assert!(letters.try_recv().is_err(), "a letter was not read");
        });
    }
}

/// What stands in the way may come with the last letters.
#[test]
fn what_the_last_letters_ask_for_is_waited_for_too() {
    for (cuts_flows, is_passing) in [(false, true), (true, false)] {
        play(|stand| {
            let (answer, _sent) = crate::control::server::answer(Form::Plain);
            let request = Request::Events { lines: 1, follow: false };
            let call = Letter::Call(Call { request, uid: 0, answer });
            stand.daemon.inbox.try_send(call).expect("room");
            let (asker, rehearsed) = (asker(), stand.rehearsed());
            let said = loop {
                match stand.daemon.leave(&asker, &rehearsed, cuts_flows, &mut stand.letters, stand.now) {
                    Hitch::Passing(why) if why.contains("pump") => {}
                    Hitch::Passing(why) => break (true, why),
                    Hitch::Final(why) => break (false, why),
                }
            };
            assert_eq!(said.0, is_passing, "{}", said.1);
            assert!(said.1.contains(if is_passing { "answers are under way" } else { "cannot run " }), "{}", said.1);
        });
    }
}

#[test]
fn a_shutdown_goes_before_and_so_does_another_one() {
    play(|stand| {
        stand.daemon.supervisor.shut_down("SIGTERM".to_owned(), Actor::Supervisor, stand.now.moment);
        stand.daemon.begin_reexec(asker(), stand.now);
        assert!(matches!(stand.daemon.handover.stage, Stage::Idle));
        // It came while the program was tried.
        stand.is_rehearsed(Duration::ZERO);
        stand.looks();
        assert!(matches!(stand.daemon.handover.stage, Stage::Idle));
        assert_eq!(stand.failures(), Vec::<String>::new(), "it was tried");
    });
    play(|stand| {
        stand.is_rehearsed(Duration::ZERO);
        stand.daemon.begin_reexec(asker(), stand.now);
        assert!(matches!(stand.daemon.handover.stage, Stage::Rehearsed { .. }));
        // What an earlier rehearsal says is nobody's business any more.
        stand.daemon.handover.stage = Stage::Idle;
        let rehearsed = stand.rehearsed();
        stand.daemon.rehearsed(Ok(rehearsed), stand.now);
        assert!(matches!(stand.daemon.handover.stage, Stage::Idle));
        stand.daemon.rehearsed(Err("no".to_owned()), stand.now);
        assert_eq!(stand.failures(), Vec::<String>::new());
    });
}
