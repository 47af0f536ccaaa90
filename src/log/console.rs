//! The copy of all output on the supervisor's stdout. A thread of its own does the writing, so that a reader of stdout who
//! is slow or stuck holds up nothing but this thread; what does not fit meanwhile is dropped, counted and said.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use memchr::memchr_iter;
use nix::errno::Errno;

use crate::sys::epoll::wait_writable;
use crate::sys::wake::Wake;
use crate::sys::words;

/// Bytes that wait for the reader of stdout at most; twice that with what is being written.
const SPOOL: usize = 1 << 20;
/// A line that has not ended by then is cut on the console.
const LONGEST_LINE: usize = 64 << 10;
/// Written at once. A pipe that has room at all has room for this much, so no write blocks, and a pause comes through whoever
/// reads.
const PIECE: usize = 4 << 10;
/// Room that each of the two buffers keeps while there is nothing to write.
const KEPT: usize = 16 << 10;
/// It only writes.
const STACK: usize = 128 << 10;

/// The pump's end of the console.
#[derive(Debug)]
pub struct Printer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    spool: Mutex<Spool>,
    changed: Condvar,
    /// Rung for a pause: a thread that waits for the reader of stdout must hear of it.
    bell: Wake,
    /// What the kernel said as stdout could not be written any more, until the pump has asked; 0 where there is nothing new.
    fault: AtomicI32,
}

#[derive(Debug, Default)]
struct Spool {
    bytes: Vec<u8>,
    /// Lines dropped since the last line that fitted.
    dropped: u64,
    /// Lines that could not be written and are not said to be missing yet.
    unwritten: u64,
    /// As many of them as the pump was not told of.
    untold: u64,
    /// What the kernel said when it was tried last; `None` where it went well.
    trouble: Option<Errno>,
    /// The last thing that was written is a part of a line.
    is_torn: bool,
    /// The thread has taken bytes and not written them yet.
    is_writing: bool,
    /// Nothing is to be written until the pause is over.
    is_paused: bool,
    /// The thread has put back what it had taken, and waits for that.
    is_parked: bool,
    /// No more lines will come.
    is_ending: bool,
    /// All is written after the end: nothing will be written any more.
    is_closed: bool,
}

impl Printer {
    /// Starts the thread that writes to `stdout`.
    ///
    /// # Errors
    ///
    /// No thread could be made.
    pub fn start(stdout: OwnedFd) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { spool: Mutex::default(), changed: Condvar::new(), bell: Wake::new()?, fault: AtomicI32::new(0) });
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("console".to_owned()).stack_size(STACK).spawn(move || theirs.write_all_to(&stdout))?;
        Ok(Self(shared))
    }

    /// Adds the whole lines of `bytes`, each under the name; `begun` belongs before the first. The rest after the last
    /// newline is for the caller to keep. Returns how many lines were dropped.
    fn print(&self, name: &str, begun: &[u8], bytes: &[u8]) -> u64 {
        let mut spool = self.0.lock();
        if spool.is_closed {
            return 0;
        }
        let (mut dropped, mut start, mut begun) = (std::mem::take(&mut spool.untold), 0, begun);
        for newline in memchr_iter(b'\n', bytes) {
            dropped += u64::from(!spool.add(name, begun, &bytes[start..=newline]));
            begun = &[];
            start = newline + 1;
        }
        let has_news = !spool.bytes.is_empty() && !spool.is_writing;
        drop(spool);
        if has_news {
            self.0.changed.notify_all();
        }
        dropped
    }

    /// Why stdout cannot be written, once as that begins.
    pub fn fault(&self) -> Option<Errno> {
        match self.0.fault.swap(0, Ordering::AcqRel) {
            0 => None,
            number => Some(Errno::from_raw(number)),
        }
    }

    /// Stops writing, between two bytes that are known to be written and not to be. Returns what was not; `None` where the
    /// thread does not come to a stop within `limit`, stuck in a write to something that is no pipe. Ends with
    /// [`Printer::go_on`].
    pub fn pause(&self, limit: Duration) -> Option<Vec<u8>> {
        let mut spool = self.0.lock();
        spool.is_paused = true;
        self.0.bell.ring();
        self.0.changed.notify_all();
        let still = |spool: &mut Spool| !spool.is_parked && !spool.is_closed;
        let (mut spool, waited) = self.0.changed.wait_timeout_while(spool, limit, still).unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        spool.add_dropped();
        Some([spool.missing(), spool.bytes.clone()].concat())
    }

    /// The pause is over.
    pub fn go_on(&self) {
        self.0.lock().is_paused = false;
        self.0.bell.silence();
        self.0.changed.notify_all();
    }

    /// What the printer before this one, in an earlier image of the program, could not write any more.
    pub fn take_over(&self, bytes: Vec<u8>) {
        self.0.lock().bytes = bytes;
        self.0.changed.notify_all();
    }

    /// Writes what waits, as far as it can be written within `limit`, and ends the thread (or leaves it to its stuck write).
    pub fn finish(self, limit: Duration) {
        let mut spool = self.0.lock();
        spool.is_ending = true;
        spool.add_dropped();
        self.0.changed.notify_all();
        let _ = self.0.changed.wait_timeout_while(spool, limit, |spool| !spool.is_closed);
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.0.lock().is_ending = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    /// A panic while it was held left whole lines at the worst.
    fn lock(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all_to(&self, stdout: &OwnedFd) {
        let mut batch = Vec::new();
        loop {
            let mut spool = self.lock();
            spool.is_writing = false;
            while spool.bytes.is_empty() || spool.is_paused {
                if spool.is_paused {
                    spool.is_parked = true;
                    self.changed.notify_all();
                    spool = self.changed.wait(spool).unwrap_or_else(PoisonError::into_inner);
                    spool.is_parked = false;
                    continue;
                }
                spool.add_dropped();
                if !spool.bytes.is_empty() {
                    break;
                }
                if spool.is_ending {
                    // The last that can be tried.
                    let missing = spool.missing();
                    drop(spool);
                    let _ = self.write(stdout, &missing);
                    return self.close(self.lock());
                }
                // What a burst needed is not kept for the next one.
                spool.bytes.shrink_to(KEPT);
                batch.shrink_to(KEPT);
                spool = self.changed.wait(spool).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut spool.bytes, &mut batch);
            spool.is_writing = true;
            let missing = spool.missing();
            drop(spool);
            let said = self.write(stdout, &missing);
            let mut spool = self.lock();
            if said == Ok(missing.len()) {
                (spool.unwritten, spool.is_torn) = (0, false);
                drop(spool);
                let written = self.write(stdout, &batch);
                spool = self.lock();
                match written {
                    Ok(written) if written < batch.len() => {
                        batch.drain(..written);
                        spool.put_back(&mut batch);
                    }
                    Ok(_) => spool.trouble = None,
                    Err((written, errno)) => self.give_up(&mut spool, &batch, written, errno),
                }
            } else if let Err((written, errno)) = said {
                spool.is_torn |= written > 0;
                self.give_up(&mut spool, &batch, 0, errno);
            } else {
                // A pause in the middle of it: it is said again.
                spool.is_torn |= said != Ok(0);
                spool.put_back(&mut batch);
            }
            drop(spool);
            batch.clear();
        }
    }

    /// Counts what could not be written after the first `written` bytes. The next lines are tried again: a full disk gets
    /// room, and a named pipe a reader.
    fn give_up(&self, spool: &mut Spool, batch: &[u8], written: usize, errno: Errno) {
        let (done, rest) = batch.split_at(written.min(batch.len()));
        spool.is_torn |= done.last().is_some_and(|byte| *byte != b'\n');
        let lines = memchr_iter(b'\n', rest).count() as u64;
        spool.unwritten += lines;
        spool.untold += lines;
        if spool.trouble.replace(errno) != Some(errno) {
            self.fault.store(errno as i32, Ordering::Release);
        }
    }

    /// Returns how much was written: all of it but where a pause came.
    ///
    /// # Errors
    ///
    /// How much was written, and what the kernel said then.
    fn write(&self, stdout: &OwnedFd, bytes: &[u8]) -> Result<usize, (usize, Errno)> {
        let mut written = 0;
        while written < bytes.len() {
            wait_writable(stdout, &self.bell);
            if self.bell.is_rung() {
                break;
            }
            let piece = bytes.get(written..).unwrap_or_default();
            match nix::unistd::write(stdout, piece.get(..PIECE).unwrap_or(piece)) {
                Ok(count) => written += count,
                // Somebody who shares it made it non-blocking.
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(errno) => return Err((written, errno)),
            }
        }
        Ok(written)
    }

    fn close(&self, mut spool: MutexGuard<'_, Spool>) {
        *spool = Spool { is_closed: true, ..Spool::default() };
        self.changed.notify_all();
    }
}

impl Spool {
    /// Puts bytes before all others.
    fn put_back(&mut self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.bytes);
        std::mem::swap(&mut self.bytes, bytes);
    }

    /// Adds one whole line; `false` where it does not fit.
    fn add(&mut self, name: &str, begun: &[u8], line: &[u8]) -> bool {
        let size = name.len() + 3 + begun.len() + line.len();
        if self.bytes.len() + size > SPOOL {
            self.dropped += 1;
            return false;
        }
        self.add_dropped();
        for part in [b"[", name.as_bytes(), b"] ", begun, line] {
            self.bytes.extend_from_slice(part);
        }
        true
    }

    /// Says what was dropped before the next line that fits.
    fn add_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            self.bytes.extend_from_slice(missing(dropped, "the reader of stdout is too slow").as_bytes());
        }
    }

    /// What belongs before the next byte: the end of a line that was torn, and what could not be written since.
    fn missing(&self) -> Vec<u8> {
        let mut text = String::new();
        if self.is_torn {
            text.push('\n');
        }
        if let (Some(errno), 1..) = (self.trouble, self.unwritten) {
            text += &missing(self.unwritten, &words::errno(errno));
        }
        text.into_bytes()
    }
}

fn missing(count: u64, why: &str) -> String {
    let lines = if count == 1 { "1 line is".to_owned() } else { format!("{count} lines are") };
    format!("[section3] {lines} missing here: {why}\n")
}

/// The unfinished console line of one log.
#[derive(Debug, Default)]
pub struct Line(Vec<u8>);

impl Line {
    /// Prints the lines that `bytes` complete and keeps the rest. Returns how many lines were dropped.
    pub fn add(&mut self, printer: &Printer, name: &str, bytes: &[u8]) -> u64 {
        let mut dropped = 0;
        let rest = match memchr::memrchr(b'\n', bytes) {
            Some(newline) => {
                dropped += printer.print(name, &self.0, &bytes[..=newline]);
                self.0.clear();
                &bytes[newline + 1..]
            }
            None => bytes,
        };
        for piece in rest.chunks(LONGEST_LINE) {
            if self.0.len() + piece.len() > LONGEST_LINE {
                dropped += self.flush(printer, name);
            }
            self.0.extend_from_slice(piece);
        }
        dropped
    }

    /// Prints the unfinished line as if it had ended. Returns how many lines were dropped.
    pub fn flush(&mut self, printer: &Printer, name: &str) -> u64 {
        if self.0.is_empty() {
            return 0;
        }
        // The buffer goes: most logs never need it again.
        printer.print(name, &std::mem::take(&mut self.0), b"\n")
    }

    /// What there is of it.
    pub fn begun(&self) -> &[u8] {
        &self.0
    }

    /// Goes on with what another one had.
    pub fn take_over(&mut self, begun: Vec<u8>) {
        self.0 = begun;
    }

    /// Forgets it.
    pub fn clear(&mut self) {
        self.0 = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    /// G20: the console tells services apart.
    #[test]
    fn lines_are_whole_and_prefixed() {
        let (out, into) = nix::unistd::pipe().expect("pipe");
        let printer = Printer::start(into).expect("start");
        let (mut web, mut db) = (Line::default(), Line::default());
        web.add(&printer, "web", b"one\ntw");
        db.add(&printer, "db", b"eins\n\n");
        web.add(&printer, "web", b"o\nthr");
        web.flush(&printer, "web");
        db.flush(&printer, "db");
        printer.finish(Duration::from_secs(10));
        let mut text = String::new();
        File::from(out).read_to_string(&mut text).expect("read");
        assert_eq!(text, "[web] one\n[db] eins\n[db] \n[web] two\n[web] thr\n");
    }

    #[test]
    fn an_endless_line_is_cut() {
        let (out, into) = nix::unistd::pipe().expect("pipe");
        let printer = Printer::start(into).expect("start");
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            File::from(out).read_to_end(&mut bytes).expect("read");
            bytes
        });
        let mut line = Line::default();
        for _ in 0..100 {
            line.add(&printer, "web", &[b'x'; 5000]);
            assert!(line.0.len() <= LONGEST_LINE);
        }
        line.add(&printer, "web", b"\n");
        printer.finish(Duration::from_secs(10));
        let bytes = reader.join().expect("reader");
        assert_eq!(bytes.iter().filter(|byte| **byte == b'x').count(), 500_000);
        assert!(bytes.split(|byte| *byte == b'\n').all(|line| line.len() <= LONGEST_LINE + 6));
    }

    /// G20: what is missing is said. P08: a reader that left ends nothing.
    #[test]
    fn a_reader_that_stands_still_costs_lines_and_one_that_left_costs_nothing() {
        let (out, into) = nix::unistd::pipe().expect("pipe");
        let printer = Printer::start(into).expect("start");
        let mut line = Line::default();
        let mut dropped = 0;
        for n in 0..40_000 {
            dropped += line.add(&printer, "web", format!("{n:0>99}\n").as_bytes());
        }
        assert!(dropped > 10_000, "{dropped}");
        let reader = thread::spawn(move || {
            let mut text = String::new();
            File::from(out).read_to_string(&mut text).expect("read");
            text
        });
        printer.finish(Duration::from_secs(10));
        let text = reader.join().expect("reader");
        let said = format!("[section3] {dropped} lines are missing here: the reader of stdout is too slow\n");
        assert!(text.ends_with(&said), "{:?}", &text[text.len() - 100..]);
        assert_eq!(text.lines().filter(|line| line.starts_with("[web] 0")).count() as u64 + dropped, 40_000);

        let (out, into) = nix::unistd::pipe().expect("pipe");
        drop(out);
        let printer = Printer::start(into).expect("start");
        line.add(&printer, "web", b"nobody reads this\n");
        printer.finish(Duration::from_secs(10));
    }

    /// P08: a full disk gets room again, and a named pipe another reader.
    #[test]
    fn what_cannot_be_written_is_counted_and_said_once_it_can_be() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a named pipe");
        let ends = || File::options().read(true).write(true).open(&path).expect("both ends");
        let both = ends();
        let into = File::options().write(true).open(&path).expect("the end to write to");
        drop(both);
        let printer = Printer::start(into.into()).expect("start");
        let mut line = Line::default();
        let (mut written, mut dropped) = (0, 0);
        while dropped == 0 {
            dropped = line.add(&printer, "web", b"nobody reads this\n");
            written += 1;
        }
        assert_eq!(printer.fault(), Some(Errno::EPIPE));
        assert_eq!(printer.fault(), None, "twice");
        while printer.0.lock().is_writing || !printer.0.lock().bytes.is_empty() {
            thread::yield_now();
        }
        let again = ends();
        line.add(&printer, "web", b"somebody reads this\n");
        printer.finish(Duration::from_secs(10));
        let mut text = vec![0; 4096];
        let count = (&again).read(&mut text).expect("read");
        let said = format!("[section3] {written} lines are missing here: broken pipe\n[web] somebody reads this\n");
        assert_eq!(String::from_utf8_lossy(&text[..count]), said);
    }

    /// The words that come before the next byte.
    #[test]
    fn what_is_missing_is_said() {
        for (is_torn, unwritten, trouble, said) in [
            (false, 0, None, ""),
            (true, 0, None, "\n"),
            (false, 3, None, ""),
            (false, 0, Some(Errno::ENOSPC), ""),
            (false, 1, Some(Errno::ENOSPC), "[section3] 1 line is missing here: no space left on device\n"),
            (true, 3, Some(Errno::EPIPE), "\n[section3] 3 lines are missing here: broken pipe\n"),
        ] {
            let spool = Spool { is_torn, unwritten, trouble, ..Spool::default() };
            assert_eq!(String::from_utf8_lossy(&spool.missing()), said);
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted_from_the_first_byte_that_is_not() {
        let (_out, into) = nix::unistd::pipe().expect("pipe");
        let printer = Printer::start(into).expect("start");
        for (written, is_torn, unwritten) in [(0, false, 3), (4, false, 2), (5, true, 2), (99, false, 0)] {
            let mut spool = Spool::default();
            printer.0.give_up(&mut spool, b"one\ntwo\nsix\n", written, Errno::ENOSPC);
            let counted = (spool.is_torn, spool.unwritten, spool.untold, printer.fault());
            assert_eq!(counted, (is_torn, unwritten, unwritten, Some(Errno::ENOSPC)), "{written}");
            // The same trouble again is no news, another one is.
            printer.0.give_up(&mut spool, b"x\n", 0, Errno::ENOSPC);
            assert_eq!((spool.unwritten, printer.fault()), (unwritten + 1, None));
            printer.0.give_up(&mut spool, b"x\n", 0, Errno::EPIPE);
            assert_eq!(printer.fault(), Some(Errno::EPIPE));
        }
    }

    /// A reader that takes nothing: what was dropped is said at a pause and at the end.
    #[test]
    fn what_was_dropped_is_no_secret_of_the_spool() {
        let (out, into) = nix::unistd::pipe().expect("pipe");
        let printer = Printer::start(into).expect("start");
        let mut line = Line::default();
        let long = [&[b'x'; 60_000][..], b"\n"].concat();
        // More than the pipe holds is taken for it first: from then on nobody makes room in the spool.
        let first = line.add(&printer, "web", &long.repeat(3));
        while !printer.0.lock().is_writing || !printer.0.lock().bytes.is_empty() {
            thread::yield_now();
        }
        let dropped: u64 = (0..60).map(|_| line.add(&printer, "web", &long)).sum();
        assert!(first == 0 && dropped > 0);
        let left = printer.pause(Duration::from_secs(30)).expect("parked");
        let said = format!("[section3] {dropped} lines are missing here: the reader of stdout is too slow\n");
        assert!(left.ends_with(said.as_bytes()));
        drop(out);
    }

    #[test]
    fn a_pause_loses_nothing_and_doubles_nothing_whoever_reads() {
        let (out, into) = nix::unistd::pipe().expect("pipe");
        let printer = Printer::start(into.try_clone().expect("dup")).expect("start");
        let mut line = Line::default();
        for n in 0..4000 {
            line.add(&printer, "web", format!("{n:0>99}\n").as_bytes());
        }
        // Nobody reads: the pipe is full, and most of it is left.
        let left = printer.pause(Duration::from_secs(30)).expect("parked");
        assert!(!left.is_empty());
        line.add(&printer, "web", b"meanwhile\n");
        assert_eq!(printer.pause(Duration::from_secs(30)).expect("parked").len(), left.len() + 16);
        printer.go_on();
        let reader = thread::spawn(move || {
            let mut text = String::new();
            File::from(out).read_to_string(&mut text).expect("read");
            text
        });
        line.add(&printer, "web", b"after\n");
        // A second pause, to be taken over by another printer.
        let left = printer.pause(Duration::from_secs(30)).expect("parked");
        let heir = Printer::start(into).expect("start");
        heir.take_over(left);
        heir.finish(Duration::from_secs(30));
        drop(heir_of_nothing(printer));
        let text = reader.join().expect("reader");
        let mut expected: String = (0..4000).map(|n| format!("[web] {n:0>99}\n")).collect();
        expected += "[web] meanwhile\n[web] after\n";
        assert!(text == expected, "{} bytes in place of {}", text.len(), expected.len());
    }

    /// A paused printer, as the exec would end it: with nothing left to write.
    fn heir_of_nothing(printer: Printer) -> Printer {
        printer.0.lock().bytes.clear();
        printer.go_on();
        printer
    }

    /// P01: as its reader never comes back.
    #[test]
    fn a_stuck_reader_does_not_hold_up_the_end() {
        let (out, into) = nix::unistd::pipe().expect("pipe");
        let printer = Printer::start(into.try_clone().expect("dup")).expect("start");
        nix::fcntl::fcntl(&into, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).expect("fcntl");
        while File::from(into.try_clone().expect("dup")).write(&[0; 4096]).is_ok() {}
        Line::default().add(&printer, "web", b"never\n");
        printer.finish(Duration::from_millis(1));
        drop(out);
    }
}
