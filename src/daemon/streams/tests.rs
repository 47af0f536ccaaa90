//! Answers that go on, up to their readers.

use std::time::SystemTime;

use tokio::sync::mpsc::Receiver;
use tokio::task::{LocalSet, yield_now};

use super::*;
use crate::control::server::answer;
use crate::daemon::stand;
use crate::daemon::tails::LONGEST_LINE;
use crate::log::Follower;
use crate::value::ServiceName;
use crate::wire::event::{Actor, Kind};
use crate::wire::request::Form;

const WHILE: Duration = Duration::from_secs(60);

fn web() -> LogName {
    LogName::Service(ServiceName::parse("web").expect("a name"))
}

async fn next(sent: &mut Receiver<Vec<u8>>) -> Option<String> {
    let frame = timeout(WHILE, sent.recv()).await.expect("a frame, or the end");
    frame.map(|frame| String::from_utf8(frame).expect("text"))
}

/// Plays with a log that somebody follows.
fn follow(scene: impl AsyncFnOnce(Follower, Receiver<Vec<u8>>)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let ((answer, sent), (follower, following)) = (answer(Form::Plain), following());
        task::begin(async {
            let tail = Tails::default().enter(7, false, vec![Followed::new(web(), LogId(0), following, Vec::new())]);
            let _ = super::follow(tail, answer, TailText::new(1, true, false)).await;
        });
        scene(follower, sent).await;
    });
}

#[test]
fn output_without_a_line_end_is_passed_on_in_pieces_and_its_rest_at_the_end() {
    follow(async |follower, mut sent| {
        let endless = "x".repeat(LONGEST_LINE + 1);
        assert!(follower.send(&endless.as_bytes().into()));
        assert!(next(&mut sent).await.is_some_and(|piece| piece.contains(&endless)));
        assert!(follower.send(&b"rest".as_slice().into()));
        drop(follower);
        assert!(next(&mut sent).await.is_some_and(|piece| piece.contains("rest")));
        assert_eq!(next(&mut sent).await, None);
    });
}

#[test]
fn who_falls_behind_a_log_is_told() {
    follow(async |follower, mut sent| {
        let chunk: Arc<[u8]> = [&[b'x'; 1000], &b"\n"[..]].concat().into();
        while follower.send(&chunk) {}
        drop(follower);
        let mut last = String::new();
        while let Some(frame) = next(&mut sent).await {
            last = frame;
        }
        assert!(last.starts_with("ERROR: the reader fell too far behind"), "{last}");
    });
}

/// A silent log would keep everybody who ever followed it.
#[test]
fn who_left_a_silent_log_is_forgotten() {
    follow(async |follower, sent| {
        drop(sent);
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(follower.is_gone());
    });
}

#[tokio::test(start_paused = true)]
async fn a_log_that_does_not_come_is_not_waited_for_and_one_that_is_gone_is_left_out() {
    let (answer_of_one, mut sent) = answer(Form::Plain);
    let (_pump, snapshot) = oneshot::channel();
    let asked = vec![Asked { name: web(), log: LogId(0), snapshot, live: None }];
    assert!(
        timeout(2 * PUMP_PATIENCE, tail(asked, 1, false, &Tails::default(), answer_of_one)).await.is_ok_and(|told| told.is_ok())
    );
    let said = next(&mut sent).await.unwrap_or_default();
    assert!(said.starts_with("ERROR: the log of web cannot be read now"), "{said}");

    let (answer, mut sent) = answer(Form::Json);
    let (pump, snapshot) = oneshot::channel();
    assert!(pump.send(None).is_ok());
    assert_eq!(
        tail(vec![Asked { name: web(), log: LogId(0), snapshot, live: None }], 1, false, &Tails::default(), answer).await,
        Ok(())
    );
    assert_eq!(next(&mut sent).await, Some(crate::wire::reply::end()));
}

/// A re-exec waits for answers that end, and notes of the others which event comes next.
#[test]
fn where_a_reader_of_events_is() {
    stand::play_on("services: {}", async |mut stand| {
        let daemon = &mut stand.daemon;
        let happens = |daemon: &mut Daemon| daemon.tell(None, Kind::Orphan { reaped: 1 }, Actor::Supervisor, stand.now);
        happens(daemon);
        let first = daemon.ring.last(1)[0].seq;
        let (answer_to_all, mut sent) = answer(Form::Plain);
        daemon.stream_events(1, true, answer_to_all);
        assert_eq!(daemon.subscribers.rest(), [(7, first)]);
        assert!(next(&mut sent).await.is_some());
        yield_now().await;
        assert_eq!(daemon.subscribers.rest(), [(7, first + 1)]);
        happens(daemon);
        assert!(next(&mut sent).await.is_some());
        yield_now().await;
        assert_eq!((daemon.subscribers.rest(), Rc::strong_count(&daemon.flows)), (vec![(7, first + 2)], 1));
        drop(sent);
        yield_now().await;
        yield_now().await;
        assert_eq!(daemon.subscribers.rest(), []);

        let (answer_to_one, mut sent) = answer(Form::Plain);
        daemon.stream_events(2, false, answer_to_one);
        assert_eq!((daemon.subscribers.rest(), Rc::strong_count(&daemon.flows)), (vec![], 2));
        while next(&mut sent).await.is_some() {}
        yield_now().await;
        assert_eq!(Rc::strong_count(&daemon.flows), 1);
    });
}

#[test]
fn who_falls_behind_the_events_is_told() {
    stand::play_on("services: {}", async |mut stand| {
        let (answer, mut sent) = answer(Form::Plain);
        stand.daemon.stream_events(0, true, answer);
        for _ in 0..WAITING_EVENTS {
            stand.daemon.tell(None, Kind::Orphan { reaped: 1 }, Actor::Supervisor, stand.now);
        }
        assert_eq!(stand.daemon.subscribers.rest().len(), 1);
        stand.daemon.tell(None, Kind::Orphan { reaped: 1 }, Actor::Supervisor, stand.now);
        assert_eq!(stand.daemon.subscribers.rest(), []);
        let mut frames = Vec::new();
        while let Some(frame) = next(&mut sent).await {
            frames.push(frame);
        }
        let last = frames.pop().unwrap_or_default();
        assert!(frames.len() == WAITING_EVENTS && last.starts_with("ERROR: the reader fell too far behind"), "{last}");
    });
}

#[test]
fn who_does_not_read_is_let_go_and_told_and_who_is_gone_is_forgotten() {
    let event = Arc::new(Event {
        seq: 1,
        time: SystemTime::UNIX_EPOCH,
        mono_ms: 0,
        service: None,
        run: None,
        actor: Actor::Supervisor,
        cause: None,
        depth: 0,
        kind: Kind::Orphan { reaped: 1 },
    });
    let mut all = Subscribers::default();
    let mut subscribe = |connection| {
        let (events, live) = mpsc::channel(1);
        let (next, too_slow) = (Rc::new(Cell::new(7)), Rc::new(Cell::new(false)));
        all.0.push(Subscriber { connection, next, events, too_slow: Rc::clone(&too_slow) });
        (live, too_slow)
    };
    let ((slow, is_slow), (mut fast, is_fast_slow), (gone, _)) = (subscribe(Some(5)), subscribe(Some(6)), subscribe(Some(8)));
    assert_eq!(all.rest(), [(5, 7), (6, 7), (8, 7)]);
    drop(gone);
    assert_eq!(all.rest(), [(5, 7), (6, 7)]);
    for _ in 0..2 {
        all.publish(&event);
        assert!(fast.try_recv().is_ok());
    }
    assert_eq!((all.rest(), all.0.len()), (vec![(6, 7)], 1));
    assert!(is_slow.get() && !is_fast_slow.get());
    drop(slow);
}
