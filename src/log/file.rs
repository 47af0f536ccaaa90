//! One log on disk: the current file and its generations. It writes what it is given, rotates at the border that
//! [`splitter`](super::splitter) names, and says what it could not keep. It must never decide what happens to lost bytes,
//! and never wait: what fails is tried again when a later call comes after the time to try again.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::folder::Folder;
use super::splitter::{Position, Step, step};
use crate::spec::LogLimits;
use crate::sys::logfile::{self, Identity};
use crate::value::Moment;

/// How often the name is compared with the open file while something is written: the contract promises that a deleted log
/// is there again within one second of the next write.
const CHECK_EVERY: Duration = Duration::from_millis(900);
/// After a rotation failed, the next try. Each try costs some renames; the current file goes on meanwhile.
const ROTATE_AGAIN: Duration = Duration::from_secs(1);
/// After opening failed, the next try.
const OPEN_AGAIN: Duration = Duration::from_millis(250);
/// How much of an unfinished line is moved to the next file at a time.
const CARRY_BLOCK: usize = 64 << 10;
/// Generations a config can ask for; what is beyond `keep` is looked for up to here.
const MOST_GENERATIONS: u32 = 99;

/// One log on disk.
#[derive(Debug)]
pub struct LogFile {
    /// Name of the current file; its generations have a number behind it.
    name: String,
    limits: LogLimits,
    current: Option<Current>,
    /// The generation whose place a shift that failed half-way left free: the next try starts there, or it would throw away
    /// one more generation each time.
    hole: Option<usize>,
    rotate_again_at: Option<Moment>,
    open_again_at: Option<Moment>,
    check_at: Moment,
    /// Something was written since the last check.
    is_unchecked: bool,
}

#[derive(Debug)]
struct Current {
    file: File,
    identity: Identity,
    at: Position,
}

/// A file of a log, open, and how much of it counts.
#[derive(Debug)]
pub struct Part {
    /// The file; read it by position only.
    pub file: File,
    /// Bytes from its start that count.
    pub size: u64,
}

/// One rotation that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turned {
    /// Size of the file that is now the first generation.
    pub bytes: u64,
}

/// What became of bytes that were to be appended.
#[derive(Debug, Default)]
pub struct Appended {
    /// So many of them, from the first on, are in a file.
    pub kept: usize,
    /// Why the others are not.
    pub error: Option<io::Error>,
    /// Why a rotation that was due did not happen; the current file goes on beyond its limit.
    pub unrotated: Option<io::Error>,
}

impl LogFile {
    /// A log by the name of its service. Nothing is touched before [`LogFile::open`].
    #[must_use]
    pub fn new(name: &str, limits: LogLimits) -> Self {
        Self {
            name: format!("{name}.log"),
            limits,
            current: None,
            hole: None,
            rotate_again_at: None,
            open_again_at: None,
            check_at: Moment::default(),
            is_unchecked: false,
        }
    }

    /// How much is kept.
    #[must_use]
    pub const fn limits(&self) -> LogLimits {
        self.limits
    }

    /// The generation that a shift which failed half-way left free.
    #[must_use]
    pub const fn hole(&self) -> Option<usize> {
        self.hole
    }

    /// The same log with such a gap.
    #[must_use]
    pub fn with_hole(self, hole: Option<usize>) -> Self {
        Self { hole, ..self }
    }

    /// The file's name in the folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of a generation; 0 is the current file.
    #[must_use]
    pub fn generation(&self, number: usize) -> Cow<'_, str> {
        if number == 0 { Cow::Borrowed(&self.name) } else { Cow::Owned(format!("{}.{number}", self.name)) }
    }

    /// The oldest generation that is kept.
    fn oldest(&self) -> usize {
        self.limits.keep.clamp(1, MOST_GENERATIONS) as usize
    }

    /// Where the current file stands; zero where none is open.
    #[must_use]
    pub fn position(&self) -> Position {
        self.current.as_ref().map_or_else(Position::default, |current| current.at)
    }

    /// When the file should be looked at though nothing is written.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.is_unchecked.then_some(self.check_at)
    }

    /// The current file and its generations as they are now, newest first, open for reading. Generations are added until
    /// `enough` bytes are there, so that a log of 99 of them does not use up the descriptors.
    #[must_use]
    pub fn parts(&self, folder: &Folder, enough: u64) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        let current = self.current.as_ref().and_then(|current| Some((current.file.try_clone().ok()?, current.at.size)));
        parts.extend(current.map(|(file, size)| Part { file, size }));
        let mut total: u64 = parts.iter().map(|part| part.size).sum();
        for number in 1..=self.oldest() {
            if total >= enough {
                break;
            }
            if let Ok((file, facts)) = logfile::open_read(folder, &self.generation(number)) {
                total += facts.size;
                parts.push(Part { file, size: facts.size });
            }
        }
        parts
    }

    /// Opens the current file where it is not open, and removes generations beyond `keep`.
    ///
    /// # Errors
    ///
    /// The folder's or the file's; within [`OPEN_AGAIN`] of a failure, the next try is refused at once.
    pub fn open(&mut self, folder: &mut Folder, now: Moment) -> io::Result<()> {
        if self.current.is_some() {
            return Ok(());
        }
        if self.open_again_at.is_some_and(|at| now < at) {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        self.open_again_at = Some(now + OPEN_AGAIN);
        folder.refresh()?;
        self.current = Some(Current::open(folder, self.name())?);
        self.open_again_at = None;
        self.remove_surplus(folder);
        Ok(())
    }

    /// Closes the current file until it is needed again.
    pub fn let_go(&mut self) {
        self.current = None;
    }

    /// Takes other limits. A file that is too long for them is rotated at once.
    ///
    /// # Errors
    ///
    /// As [`LogFile::rotate`]; the limits hold all the same.
    pub fn set_limits(
        &mut self,
        folder: &mut Folder,
        limits: LogLimits,
        line_is_open: bool,
        now: Moment,
    ) -> io::Result<Option<Turned>> {
        self.limits = limits;
        self.remove_surplus(folder);
        if self.position().size > limits.max_size.get() { self.rotate(folder, line_is_open, now) } else { Ok(None) }
    }

    /// Appends, rotating where it must; `turned` is told of each rotation.
    pub fn append(&mut self, folder: &mut Folder, bytes: &[u8], now: Moment, turned: &mut dyn FnMut(Turned)) -> Appended {
        let mut done = Appended::default();
        let is_due = now >= self.check_at;
        if let Err(error) = self.check(folder, now).and_then(|()| self.open(folder, now)) {
            done.error = Some(error);
            return done;
        }
        // A log that is written now and then is checked at its writes and needs no timer.
        self.is_unchecked |= !is_due;
        // While it cannot rotate, the current file goes on, as far as the whole log was meant to go.
        let (max, files) = (self.limits.max_size.get(), self.oldest() as u64 + 1);
        while done.kept < bytes.len() {
            let Some(current) = &mut self.current else { break };
            let rest = &bytes[done.kept..];
            let is_blocked = self.rotate_again_at.is_some_and(|at| now < at);
            let limit = if is_blocked { max * files } else { max };
            let wanted = step(current.at, limit, rest);
            match wanted {
                Step::Write(count) => {
                    let (written, error) = current.write(&rest[..count]);
                    done.kept += written;
                    if error.is_some() {
                        done.error = error;
                        break;
                    }
                }
                Step::Rotate | Step::Carry if is_blocked => {
                    done.error = Some(io::Error::other("it is full and cannot be rotated"));
                    break;
                }
                Step::Rotate | Step::Carry => match self.turn(folder, wanted == Step::Carry, now) {
                    Ok(Some(turn)) => turned(turn),
                    Ok(None) => {}
                    Err(error) => done.unrotated = Some(error),
                },
            }
        }
        done
    }

    /// Rotates now; `None` where there is nothing to rotate. `line_is_open`: somebody may still write the rest of the last
    /// line, so an unfinished one goes along to the new file; else it stays as it is.
    ///
    /// # Errors
    ///
    /// What stopped the shift. The current file goes on.
    pub fn rotate(&mut self, folder: &mut Folder, line_is_open: bool, now: Moment) -> io::Result<Option<Turned>> {
        self.check_now(folder, now)?;
        // Somebody asks, and is to hear what stands in the way, not that it was tried a moment ago.
        self.open_again_at = None;
        self.open(folder, now)?;
        let at = self.position();
        let is_too_long = at.size - at.line_start >= self.limits.max_size.get();
        let carries = line_is_open && !is_too_long;
        if at.size == 0 || (carries && at.line_start == 0) { Ok(None) } else { self.turn(folder, carries, now) }
    }

    /// Shortens the file to where it stood before the caller's last bytes, of which only a part could be written.
    pub fn take_back(&mut self, to: Position) {
        if let Some(current) = &mut self.current
            && to.size < current.at.size
            && current.file.set_len(to.size).is_ok()
        {
            current.at = to;
        }
    }

    /// Compares the name with the open file, where that is due.
    ///
    /// # Errors
    ///
    /// The folder's.
    pub fn check(&mut self, folder: &mut Folder, now: Moment) -> io::Result<()> {
        if now < self.check_at { Ok(()) } else { self.check_now(folder, now) }
    }

    fn check_now(&mut self, folder: &mut Folder, now: Moment) -> io::Result<()> {
        self.check_at = now + CHECK_EVERY;
        self.is_unchecked = false;
        folder.refresh()?;
        let Some(current) = &mut self.current else { return Ok(()) };
        if logfile::identity(&*folder, &self.name)? != Some(current.identity) {
            // Deleted, moved, or another one in its place.
            self.current = None;
            return self.open(folder, now);
        }
        let size = logfile::facts(&current.file)?.size;
        if size != current.at.size {
            // Somebody emptied it, or wrote to it.
            current.at = current.find_position(size)?;
        }
        Ok(())
    }

    fn turn(&mut self, folder: &mut Folder, carries: bool, now: Moment) -> io::Result<Option<Turned>> {
        let Some(old) = self.current.take() else { return Ok(None) };
        match self.shift(folder).and_then(|()| Current::open(folder, self.name())) {
            Ok(new) => {
                self.rotate_again_at = None;
                let new = self.current.insert(new);
                if carries {
                    old.give_line_to(new);
                }
                Ok(Some(Turned { bytes: old.at.size.min(if carries { old.at.line_start } else { u64::MAX }) }))
            }
            Err(error) => {
                // Whatever name it has now, it is ours and open; the next check puts a new file in the empty place.
                self.current = Some(old);
                self.rotate_again_at = Some(now + ROTATE_AGAIN);
                Err(error)
            }
        }
    }

    /// Moves every file one generation up, from the oldest on, and stops at the first failure: going on would put a file
    /// over one that could not be moved away.
    fn shift(&mut self, folder: &Folder) -> io::Result<()> {
        let last = self.oldest();
        let mut free = match self.hole {
            Some(free) if free <= last => free,
            _ => {
                // First of all, for ext4 flushes a file that is renamed over another one (259 against 682 MB/s).
                absent_is_fine(logfile::unlink(folder, &self.generation(last)))?;
                last
            }
        };
        while free > 0 {
            self.hole = Some(free);
            absent_is_fine(logfile::rename(folder, &self.generation(free - 1), &self.generation(free)))?;
            free -= 1;
        }
        self.hole = None;
        Ok(())
    }

    /// Removes what an earlier, larger `keep` left. Stops at the first number that is not there.
    fn remove_surplus(&self, folder: &Folder) {
        for number in self.oldest() + 1..=MOST_GENERATIONS as usize {
            if logfile::unlink(folder, &self.generation(number)).is_err() {
                break;
            }
        }
    }
}

impl Current {
    fn open(folder: &Folder, name: &str) -> io::Result<Self> {
        let (file, facts) = logfile::open_append(folder, name)?;
        let mut current = Self { file, identity: facts.identity, at: Position::default() };
        current.at = current.find_position(facts.size)?;
        Ok(current)
    }

    /// Looks backwards for the last newline.
    fn find_position(&self, size: u64) -> io::Result<Position> {
        let mut block = vec![0; 4 << 10];
        let mut end = size;
        while end > 0 {
            let start = end.saturating_sub(block.len() as u64);
            let part = &mut block[..usize::try_from(end - start).unwrap_or(0)];
            self.file.read_exact_at(part, start)?;
            if let Some(newline) = memchr::memrchr(b'\n', part) {
                return Ok(Position { size, line_start: start + newline as u64 + 1 });
            }
            end = start;
            block.resize(CARRY_BLOCK, 0);
        }
        Ok(Position { size, line_start: 0 })
    }

    /// Writes as much as the disk takes.
    fn write(&mut self, bytes: &[u8]) -> (usize, Option<io::Error>) {
        let mut written = 0;
        let mut failure = None;
        while written < bytes.len() {
            match (&self.file).write(&bytes[written..]) {
                Ok(0) => failure = Some(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => failure = Some(error),
            }
            if failure.is_some() {
                break;
            }
        }
        self.at = self.at.after(&bytes[..written]);
        (written, failure)
    }

    /// Copies the unfinished line into `new`, then takes it away here. In this order, so that a kill in between doubles the
    /// line instead of losing it. Where it cannot be copied (disk full) it stays here, torn but kept.
    fn give_line_to(&self, new: &mut Self) {
        let mut block = vec![0; CARRY_BLOCK];
        let mut from = self.at.line_start;
        while from < self.at.size {
            let part = usize::try_from(self.at.size - from).map_or(CARRY_BLOCK, |left| left.min(CARRY_BLOCK));
            let copied = self.file.read_exact_at(&mut block[..part], from).is_ok() && new.write(&block[..part]).1.is_none();
            if !copied {
                break;
            }
            from += part as u64;
        }
        let is_moved = from == self.at.size && self.file.set_len(self.at.line_start).is_ok();
        if !is_moved && new.file.set_len(0).is_ok() {
            new.at = Position::default();
        }
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::{Mount, files, limits, small_disk};
    use super::*;

    struct Rig {
        dir: tempfile::TempDir,
        folder: Folder,
        log: LogFile,
        now: Moment,
        turned: usize,
    }

    impl Rig {
        fn new(max_size: &str, keep: u32) -> Self {
            let dir = tempfile::tempdir().expect("tempdir");
            let folder = Folder::open(dir.path()).expect("folder");
            let log = LogFile::new("web", limits(max_size, keep));
            Self { dir, folder, log, now: Moment::from_nanos(1), turned: 0 }
        }

        fn append(&mut self, bytes: &[u8]) -> Appended {
            let turned = &mut self.turned;
            self.log.append(&mut self.folder, bytes, self.now, &mut |_| *turned += 1)
        }

        fn keep(&mut self, bytes: &[u8]) {
            let done = self.append(bytes);
            assert!(done.error.is_none() && done.kept == bytes.len(), "{done:?}");
        }

        fn skip(&mut self, millis: u64) {
            self.now = self.now + Duration::from_millis(millis);
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.dir.path().join(name)).unwrap_or_else(|error| error.to_string())
        }
    }

    fn block(letter: char) -> Vec<u8> {
        let mut block = vec![u8::try_from(letter).expect("ascii"); 4095];
        block.push(b'\n');
        block
    }

    #[test]
    fn a_log_deleted_or_moved_or_replaced_from_outside_is_there_again_within_a_second() {
        let mut rig = Rig::new("1M", 5);
        let path = rig.dir.path().join("web.log");
        rig.keep(b"one\n");
        rig.keep(b"and more\n");
        assert_eq!(rig.log.deadline(), Some(rig.now + CHECK_EVERY));
        fs::remove_file(&path).expect("remove");
        rig.skip(900);
        rig.keep(b"two\n");
        assert_eq!(rig.read("web.log"), "two\n");
        assert_eq!(rig.log.deadline(), None, "it was just looked at");
        fs::rename(&path, rig.dir.path().join("moved")).expect("move");
        rig.keep(b"three\n");
        rig.skip(900);
        assert!(rig.log.deadline().is_some_and(|at| at <= rig.now));
        rig.log.check(&mut rig.folder, rig.now).expect("check");
        assert_eq!(rig.read("web.log"), "");
        assert_eq!(rig.read("moved"), "two\nthree\n");
        fs::remove_dir_all(rig.dir.path()).expect("remove");
        rig.skip(900);
        rig.keep(b"four\n");
        assert_eq!(rig.read("web.log"), "four\n");
        // The folder goes away with the log in it.
        let elsewhere = tempfile::tempdir().expect("tempdir");
        fs::rename(rig.dir.path(), elsewhere.path().join("log")).expect("move");
        rig.skip(900);
        rig.keep(b"four\n");
        assert_eq!(rig.read("web.log"), "four\n");
        fs::write(&path, "emptied by hand\n").expect("write");
        rig.skip(900);
        rig.keep(b"five\n");
        assert_eq!(rig.log.position(), Position { size: 21, line_start: 21 });
    }

    /// G17: the next older file is not put over one that could not be moved.
    #[test]
    fn a_generation_that_cannot_be_moved_stops_the_shift_and_nothing_is_overwritten() {
        let mut rig = Rig::new("4K", 3);
        let immovable = rig.dir.path().join("web.log.3");
        fs::create_dir(&immovable).expect("mkdir");
        for n in [1, 2] {
            fs::write(rig.dir.path().join(format!("web.log.{n}")), format!("old {n}")).expect("write");
        }
        rig.keep(&block('a'));
        let done = rig.append(&block('b'));
        assert!(done.unrotated.is_some() && done.kept == 4096, "{done:?}");
        assert!(rig.append(&block('c')).unrotated.is_none(), "it was tried again at once");
        assert_eq!((rig.read("web.log.1"), rig.read("web.log.2")), ("old 1".to_owned(), "old 2".to_owned()));
        assert_eq!(rig.read("web.log").len(), 3 * 4096);
        // The whole log never takes more than it was meant to.
        let done = rig.append(&[block('d'), block('e')].concat());
        assert_eq!((done.kept, done.error.is_some()), (4096, true));
        fs::remove_dir(&immovable).expect("rmdir");
        rig.skip(1000);
        rig.keep(&block('f'));
        assert_eq!((rig.read("web.log.3"), rig.read("web.log.2")), ("old 2".to_owned(), "old 1".to_owned()));
        assert_eq!(rig.read("web.log").as_bytes(), block('f'));
    }

    #[test]
    fn a_shift_that_failed_half_way_goes_on_where_it_stopped() {
        let mut rig = Rig::new("4K", 3);
        for n in [2, 3] {
            fs::write(rig.dir.path().join(format!("web.log.{n}")), format!("old {n}")).expect("write");
        }
        // `.1` cannot go to `.2`, which is a folder by the time: the shift has moved 2 to 3 then.
        rig.keep(&block('a'));
        rig.log.hole = Some(2);
        fs::remove_file(rig.dir.path().join("web.log.2")).expect("remove");
        fs::write(rig.dir.path().join("web.log.1"), "old 1").expect("write");
        rig.keep(&block('b'));
        assert_eq!((rig.read("web.log.3"), rig.read("web.log.2")), ("old 3".to_owned(), "old 1".to_owned()));
        assert_eq!((rig.read("web.log.1").as_bytes(), rig.read("web.log").as_bytes()), (&block('a')[..], &block('b')[..]));
    }

    #[test]
    fn where_a_shift_stopped_is_known_also_under_other_limits() {
        for (keep, left) in [(4, ["old 1", "old 3"]), (2, ["old 1", "no such file"])] {
            let mut rig = Rig::new("4K", 3);
            rig.keep(&block('a'));
            for n in [1, 3] {
                fs::write(rig.dir.path().join(format!("web.log.{n}")), format!("old {n}")).expect("write");
            }
            rig.log.hole = Some(2);
            let done = rig.log.set_limits(&mut rig.folder, limits("4K", keep), true, rig.now).expect("set");
            assert_eq!(done, None);
            rig.keep(&block('b'));
            let found = [rig.read("web.log.2"), rig.read("web.log.3")];
            assert!(found.iter().zip(left).all(|(found, left)| found.to_lowercase().starts_with(left)), "{keep}: {found:?}");
            assert_eq!(rig.read("web.log.1").as_bytes(), block('a'));
        }
    }

    #[test]
    fn a_gap_beyond_what_is_kept_is_none() {
        let mut rig = Rig::new("4K", 2);
        rig.log.hole = Some(3);
        for letter in ['a', 'b', 'c', 'd'] {
            rig.keep(&block(letter));
        }
        assert_eq!(files(rig.dir.path(), "web"), [block('b'), block('c'), block('d')]);
    }

    /// A file with another one mounted over it cannot be moved.
    #[test]
    fn a_shift_that_fails_half_way_says_where() {
        let mut rig = Rig::new("4K", 3);
        for n in [1, 2, 3] {
            fs::write(rig.dir.path().join(format!("web.log.{n}")), format!("old {n}")).expect("write");
        }
        let Some(stuck) = Mount::over(&rig.dir.path().join("web.log.1"), &["--bind", "/dev/null"]) else { return };
        rig.keep(&block('a'));
        assert!(rig.append(&block('b')).unrotated.is_some());
        assert_eq!((rig.read("web.log.3"), rig.log.hole()), ("old 2".to_owned(), Some(2)));
        drop(stuck);
        rig.skip(1000);
        rig.keep(&block('c'));
        assert_eq!((rig.read("web.log.3"), rig.read("web.log.2")), ("old 2".to_owned(), "old 1".to_owned()));
        assert_eq!((rig.read("web.log").as_bytes(), rig.log.hole()), (&block('c')[..], None));
    }

    #[test]
    fn a_line_that_finds_no_room_in_the_next_file_stays() {
        let home = tempfile::tempdir().expect("tempdir");
        let Some(disk) = small_disk(home.path()) else { return };
        let folder = Folder::open(&disk.0).expect("folder");
        let log = LogFile::new("web", limits("92K", 5));
        let mut rig = Rig { dir: home, folder, log, now: Moment::from_nanos(1), turned: 0 };
        let old = [&[b'a'; 40_959][..], b"\n", &[b'b'; 51_200]].concat();
        rig.keep(&old);
        // Room for a part of the line only.
        fs::write(disk.0.join("ballast"), vec![0; (256 << 10) - (92 << 10) - (16 << 10)]).expect("ballast");
        let done = rig.append(&[b'c'; 4096]);
        assert_eq!((done.kept, done.error.is_none()), (4096, true), "{done:?}");
        let files = files(&disk.0, "web");
        assert_eq!(files.iter().map(Vec::len).collect::<Vec<_>>(), [old.len(), 4096]);
        assert!(files.concat() == [&old[..], &[b'c'; 4096]].concat());
    }

    #[test]
    fn only_what_is_longer_is_taken_back() {
        let mut rig = Rig::new("1M", 5);
        rig.keep(b"one\ntwo\n");
        rig.log.take_back(Position { size: 9, line_start: 9 });
        assert_eq!((rig.read("web.log"), rig.log.position().size), ("one\ntwo\n".to_owned(), 8));
        rig.log.take_back(Position { size: 4, line_start: 4 });
        assert_eq!((rig.read("web.log"), rig.log.position().size), ("one\n".to_owned(), 4));
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_tried_again_later_or_when_somebody_asks() {
        let mut rig = Rig::new("1M", 5);
        let in_the_way = rig.dir.path().join("web.log");
        fs::create_dir(&in_the_way).expect("mkdir");
        let failed = |rig: &mut Rig| rig.append(b"x\n").error.map(|error| error.kind());
        assert_eq!(failed(&mut rig), Some(io::ErrorKind::IsADirectory));
        rig.skip(249);
        assert_eq!(failed(&mut rig), Some(io::ErrorKind::WouldBlock));
        let asked = rig.log.rotate(&mut rig.folder, true, rig.now).expect_err("a folder in its place");
        assert_eq!(asked.kind(), io::ErrorKind::IsADirectory);
        fs::remove_dir(&in_the_way).expect("rmdir");
        assert_eq!(failed(&mut rig), Some(io::ErrorKind::WouldBlock));
        rig.skip(250);
        assert_eq!(failed(&mut rig), None);
    }

    #[test]
    fn what_an_asked_for_rotation_finds() {
        let mut rig = Rig::new("1M", 5);
        let rotate = |rig: &mut Rig, line_is_open| rig.log.rotate(&mut rig.folder, line_is_open, rig.now).expect("rotate");
        rig.keep(b"begun");
        assert_eq!(rotate(&mut rig, true), None, "the line goes along, and nothing is left");
        assert_eq!(rotate(&mut rig, false), Some(Turned { bytes: 5 }));
        assert_eq!((rig.read("web.log.1"), rig.read("web.log")), ("begun".to_owned(), String::new()));
        rig.keep(b"one\n");
        fs::remove_file(rig.dir.path().join("web.log")).expect("remove");
        assert_eq!(rotate(&mut rig, true), None, "it is not there any more");
        assert_eq!((rig.read("web.log.1"), rig.read("web.log")), ("begun".to_owned(), String::new()));
    }

    /// Each file that is opened is a descriptor, and there may be 99.
    #[test]
    fn no_more_files_are_read_or_kept_than_are_wanted() {
        let mut rig = Rig::new("4K", 3);
        for letter in ['a', 'b', 'c', 'd', 'e'] {
            rig.keep(&block(letter));
        }
        let sizes = |enough| rig.log.parts(&rig.folder, enough).iter().map(|part| part.size).collect::<Vec<_>>();
        for (enough, parts) in [(4096, 1), (4097, 2), (u64::MAX, 4)] {
            assert_eq!(sizes(enough), vec![4096; parts], "{enough}");
        }
        for (keep, oldest) in [(0, 1), (1, 1), (99, 99), (u32::MAX, 99)] {
            assert_eq!(LogFile::new("web", limits("4K", keep)).oldest(), oldest, "{keep}");
        }
    }

    #[test]
    fn limits_hold_at_once() {
        let mut rig = Rig::new("1M", 5);
        for letter in ['a', 'b', 'c', 'd'] {
            rig.keep(&block(letter));
            assert!(rig.log.rotate(&mut rig.folder, true, rig.now).expect("rotate").is_some());
        }
        rig.keep(&block('e'));
        rig.keep(b"more\nand the begun");
        let turned = rig.log.set_limits(&mut rig.folder, limits("4K", 2), true, rig.now).expect("rotate");
        assert_eq!(turned, Some(Turned { bytes: 4101 }));
        let files = files(rig.dir.path(), "web");
        assert_eq!(files, [block('d'), [&block('e')[..], b"more\n"].concat(), b"and the begun".to_vec()]);
        // A line that is longer than a file stays where it is.
        let mut rig = Rig::new("1M", 5);
        rig.keep(&[b'x'; 5000]);
        let turned = rig.log.set_limits(&mut rig.folder, limits("4K", 2), true, rig.now).expect("rotate");
        assert_eq!((turned, rig.log.position().size), (Some(Turned { bytes: 5000 }), 0));
    }

    #[test]
    fn an_unfinished_line_of_an_earlier_life_is_found() {
        let mut rig = Rig::new("4K", 5);
        let long = [&[b'a'; 2000][..], b"\n", &[b'b'; 2000]].concat();
        fs::write(rig.dir.path().join("web.log"), &long).expect("write");
        fs::write(rig.dir.path().join("web.log.6"), "surplus").expect("write");
        rig.keep(&[b'c'; 500]);
        assert!(!rig.dir.path().join("web.log.6").exists());
        let files = files(rig.dir.path(), "web");
        assert_eq!(files, [long[..2001].to_vec(), [&[b'b'; 2000][..], &[b'c'; 500]].concat()]);
    }
}
