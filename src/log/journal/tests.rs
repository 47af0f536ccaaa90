//! One log on its own: what is lost, when it is tried again, and what is told of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::task::{Context, Poll, Waker};

use super::super::follow::{FollowEnd, following};
use super::super::tests::{Mount, limits, small_disk};
use super::*;

const WEB: LogId = LogId(1);

struct Rig {
    home: tempfile::TempDir,
    folder: Folder,
    journal: Journal,
    now: Moment,
}

impl Rig {
    fn new() -> Self {
        Self::on(|home| home.join("log"))
    }

    fn on(place: impl FnOnce(&std::path::Path) -> std::path::PathBuf) -> Self {
        let home = tempfile::tempdir().expect("tempdir");
        let folder = Folder::open(&place(home.path())).expect("folder");
        let journal = Journal::new("web", limits("4K", 3), Arc::default(), WEB);
        Self { home, folder, journal, now: Moment::from_nanos(1) }
    }

    fn turn<T>(&mut self, step: impl FnOnce(&mut Journal, &mut Turn<'_>) -> T) -> T {
        step(&mut self.journal, &mut Turn { now: self.now, folder: &mut self.folder, printer: None })
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        self.turn(|journal, turn| journal.put(bytes, turn))
    }

    fn skip(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    /// What is told now, where there is room for so many reports.
    fn told(&mut self, room: usize) -> Vec<Report> {
        let mut told = Vec::new();
        self.journal.report(self.now, &self.folder, &mut |report| {
            if told.len() == room {
                return Err(report);
            }
            told.push(report);
            Ok(())
        });
        told
    }

    /// All that is told now, in short.
    fn words(&mut self) -> Vec<String> {
        let word = |report| match report {
            Report::Lost { bytes, .. } => format!("lost {bytes}"),
            Report::Restored { bytes, .. } => format!("restored {bytes}"),
            Report::NotRotated { .. } => "not rotated".to_owned(),
            Report::Rotated { folded, .. } => format!("rotated {}", folded + 1),
            other => panic!("{other:?}"),
        };
        self.told(usize::MAX).into_iter().map(word).collect()
    }

    fn place(&self) -> std::path::PathBuf {
        self.folder.path().join("web.log")
    }

    fn read(&self) -> String {
        fs::read_to_string(self.place()).expect("a log")
    }

    /// Nothing can be written, until [`Rig::heal`].
    fn hurt(&mut self) {
        self.journal.file.let_go();
        let _ = fs::remove_file(self.place());
        symlink("elsewhere", self.place()).expect("symlink");
        self.skip(1000);
    }

    fn heal(&self) {
        fs::remove_file(self.place()).expect("remove");
    }

    /// When it is tried again.
    fn again(&self) -> Duration {
        self.journal.loss.again_at.since(self.now)
    }
}

#[test]
fn what_fails_is_tried_again_later_and_later_and_success_makes_it_soon_again() {
    let mut rig = Rig::new();
    rig.hurt();
    for wait in [250, 500, 1000, 2000, 2000] {
        assert_eq!((rig.put(b"x"), rig.again()), (0, Duration::from_millis(wait)));
        rig.skip(wait - 1);
        assert_eq!((rig.put(b"x"), rig.again()), (0, Duration::from_millis(1)), "it was tried before its time");
        rig.skip(1);
    }
    rig.heal();
    // Nobody writes: it is marked all the same.
    assert_eq!(rig.journal.deadline(), Some(rig.now));
    rig.turn(Journal::on_deadline);
    assert_eq!(rig.read(), "[section3] 10 bytes are missing here: too many symbolic links encountered\n");
    assert_eq!(rig.put(b"kept\n"), 5);
    rig.hurt();
    assert_eq!((rig.put(b"x"), rig.again()), (0, WRITE_AGAIN));
}

#[test]
fn losses_are_told_at_most_once_a_second_and_before_what_was_restored() {
    let mut rig = Rig::new();
    rig.hurt();
    rig.put(b"one");
    assert_eq!(rig.words(), ["lost 3"]);
    rig.put(b"four");
    assert_eq!(rig.words(), [""; 0]);
    rig.skip(250);
    rig.heal();
    rig.put(b"x\n");
    assert_eq!(rig.words(), [""; 0], "it was told before the loss");
    rig.skip(750);
    assert_eq!(rig.words(), ["lost 4", "restored 7"]);
    assert_eq!(rig.words(), [""; 0]);
}

/// The inbox of the event loop is full: nothing is forgotten, and nothing is told twice.
#[test]
fn what_finds_no_room_is_told_later() {
    let mut rig = Rig::new();
    for bytes in [3, 4] {
        rig.hurt();
        rig.put(&b"lost"[..bytes]);
        rig.skip(250);
        rig.heal();
        rig.put(b"kept\n");
    }
    rig.journal.turns.fail(&std::io::Error::from_raw_os_error(libc::EBUSY));
    rig.journal.turns.untold = Some((Turned { bytes: 1 }, 2));
    for _ in 0..4 {
        assert_eq!(rig.told(0), []);
        assert_eq!(rig.journal.report_deadline(), Some(Moment::default()));
        let told = rig.told(1);
        assert_eq!(told.len(), 1);
        rig.skip(1000);
        match &told[0] {
            Report::Lost { bytes, .. } | Report::Restored { bytes, .. } => assert_eq!(*bytes, 7),
            Report::NotRotated { reason, .. } => assert_eq!(*reason, RotateReason::Size),
            Report::Rotated { folded, .. } => assert_eq!(*folded, 2),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((rig.words(), rig.journal.report_deadline()), (vec![], None));
}

#[test]
fn rotations_are_folded_and_what_stops_them_is_told_once() {
    let mut rig = Rig::new();
    let line = [&[b'x'; 4095][..], b"\n"].concat();
    for _ in 0..4 {
        rig.put(&line);
    }
    assert_eq!(rig.words(), ["rotated 3"]);
    rig.put(&line);
    assert_eq!(rig.words(), [""; 0], "it was told at once");
    rig.skip(100);
    assert_eq!(rig.words(), ["rotated 1"]);
    // A folder that is not empty.
    let immovable = rig.folder.path().join("web.log.3");
    let block = |immovable: &std::path::Path| {
        fs::remove_file(immovable).expect("remove");
        fs::create_dir_all(immovable.join("x")).expect("mkdir");
    };
    block(&immovable);
    rig.put(&line);
    rig.skip(1000);
    assert_eq!(rig.words(), ["not rotated"]);
    rig.put(&line);
    rig.skip(1000);
    assert_eq!(rig.words(), [""; 0], "it was told twice");
    let rotate = |rig: &mut Rig| rig.turn(|journal, turn| journal.rotate(WEB, 7, turn));
    assert!(matches!(rotate(&mut rig), Report::NotRotated { .. }));
    fs::remove_dir_all(&immovable).expect("remove");
    assert!(matches!(rotate(&mut rig), Report::Rotated { .. }));
    assert_eq!(rig.words(), [""; 0]);
    // The same again is news after a rotation that went well.
    block(&immovable);
    rig.put(&line);
    rig.put(&line);
    assert_eq!(rig.words(), ["not rotated"]);
    fs::remove_dir_all(&immovable).expect("remove");
    rig.skip(1000);
    rig.put(&line);
    assert_eq!(rig.words(), ["rotated 1"]);
}

/// Half a line would stay between the service's own for ever.
#[test]
fn a_mark_that_finds_no_room_leaves_nothing() {
    let mut disk: Option<Mount> = None;
    let mut rig = Rig::on(|home| {
        disk = small_disk(home);
        disk.as_ref().map_or_else(|| home.join("log"), |disk| disk.0.clone())
    });
    if disk.is_none() {
        return;
    }
    rig.journal = Journal::new("web", limits("1M", 3), Arc::default(), WEB);
    let kept = rig.put(&[b'x'; 1 << 20]) as u64;
    assert!(kept < 1 << 20);
    // Room for a few bytes in the file's last page.
    fs::File::options().write(true).open(rig.place()).and_then(|file| file.set_len(kept - 9)).expect("shorter");
    rig.skip(1000);
    assert_eq!(rig.put(b"x"), 0);
    assert_eq!(fs::metadata(rig.place()).expect("stat").len(), kept - 9);
    assert_eq!(rig.journal.file.position(), Position { size: kept - 9, line_start: 0 });
}

#[test]
fn a_snapshot_copies_no_line_that_is_long_or_gone() {
    let mut rig = Rig::new();
    rig.journal = Journal::new("web", limits("1M", 3), Arc::default(), WEB);
    let look = |rig: &Rig| {
        let snapshot = rig.journal.look(&rig.folder, u64::MAX);
        (snapshot.unfinished.len(), snapshot.parts[0].size)
    };
    rig.put(b"one\n");
    rig.put(&vec![b'x'; 64 << 10]);
    assert_eq!(look(&rig), (64 << 10, 4));
    rig.put(b"x");
    assert_eq!(look(&rig), (0, (64 << 10) + 5));
    rig.put(b"\nbegun");
    fs::File::options().write(true).open(rig.place()).and_then(|file| file.set_len(0)).expect("emptied");
    assert_eq!(look(&rig), (0, (64 << 10) + 11));
    let last = rig.journal.look(&rig.folder, u64::MAX).last(1).expect("read");
    assert_eq!(last, b"");
}

#[test]
fn readers_of_a_log_that_is_closed_are_told_and_those_that_left_are_forgotten() {
    let mut rig = Rig::new();
    let (follower, mut following_it) = following();
    let snapshot = |rig: &mut Rig, follower| rig.turn(|journal, turn| journal.snapshot(false, Some(follower), turn));
    snapshot(&mut rig, follower);
    for _ in 0..3 {
        let (follower, _) = following();
        snapshot(&mut rig, follower);
    }
    assert_eq!(rig.journal.followers.len(), 2, "the one that stays, and the last one that left");
    rig.journal.disown(WEB);
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(following_it.poll_next(&mut context), Poll::Ready(Err(FollowEnd::Closed)));
}

/// A descriptor for each silent service would make every launch slower.
#[test]
fn a_silent_log_is_not_kept_open() {
    let mut rig = Rig::new();
    fs::write(rig.place(), "of an earlier life\n").expect("write");
    rig.turn(|journal, turn| journal.open(turn));
    assert_eq!((rig.journal.counters.size(), rig.journal.file.position().size), (19, 0));
}

#[test]
fn a_begun_line_for_a_console_that_is_off_is_forgotten() {
    let mut rig = Rig::new();
    rig.journal.line.take_over(b"begun".to_vec());
    rig.turn(|journal, turn| journal.end_line(turn));
    assert_eq!(rig.journal.line.begun(), b"");
    drop(rig.home);
}
