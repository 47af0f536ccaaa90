//! Standard output and standard error of a command.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::wire::text::Paint;
use crate::wire::{Fault, FaultCode, escape};

/// Why a command ends before its end.
#[derive(Debug)]
pub enum Halt {
    /// It cannot go on.
    Fault(Fault),
    /// Nobody reads its output any more.
    ReaderGone,
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Where a command's words go. Standard output is written in the pieces that are handed in: nothing is held back.
pub struct Out {
    stdout: Box<dyn Write>,
    stderr: Box<dyn Write>,
    /// Whether standard output is a terminal.
    pub terminal: bool,
    /// Whether words may be coloured.
    pub paint: Paint,
}

impl Out {
    /// The standard streams of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let terminal = io::stdout().is_terminal();
        let paint = paint(terminal, std::env::var_os("NO_COLOR").as_deref(), std::env::var_os("TERM").as_deref());
        Self { stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()), terminal, paint }
    }

    /// Writes to standard output.
    ///
    /// # Errors
    ///
    /// That its reader is gone, or why it cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        self.stdout.write_all(bytes).and_then(|()| self.stdout.flush()).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Halt::ReaderGone,
            _ => Fault::new(FaultCode::Failed, format!("cannot write to standard output: {error}")).into(),
        })
    }

    /// Writes a JSON document and a newline to standard output. JSON leaves some characters as they are that a terminal
    /// would obey; there they are escaped.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub fn document(&mut self, json: &str) -> Result<(), Halt> {
        let mut text = if self.terminal { escape::message(json).into_owned() } else { json.to_owned() };
        text.push('\n');
        self.write(text.as_bytes())
    }

    /// Writes to standard error. What cannot be written there has no other place to go; the exit code still tells.
    pub fn complain(&mut self, text: &str) {
        let _ = self.stderr.write_all(text.as_bytes());
    }

    /// Waits until `source` can be read, or the reader of standard output is gone: a follower in a pipe must not outlive
    /// the pipe until the next line happens to come.
    ///
    /// # Errors
    ///
    /// That the reader is gone.
    pub fn wait_for(&self, source: BorrowedFd<'_>) -> Result<(), Halt> {
        if readable_before_gone(source, io::stdout().as_fd()) { Ok(()) } else { Err(Halt::ReaderGone) }
    }
}

/// Waits until `source` can be read (true), or nobody can read what is written to `sink` any more (false).
fn readable_before_gone(source: BorrowedFd<'_>, sink: BorrowedFd<'_>) -> bool {
    let mut watched = [PollFd::new(source, PollFlags::POLLIN), PollFd::new(sink, PollFlags::empty())];
    while poll(&mut watched, PollTimeout::NONE) == Err(Errno::EINTR) {}
    // Where poll(2) itself failed, the read that follows says what is wrong.
    let lost = PollFlags::POLLERR | PollFlags::POLLHUP;
    !watched[1].revents().is_some_and(|events| events.intersects(lost))
}

/// Colours only on a terminal that has them, never with `NO_COLOR` (<https://no-color.org>).
fn paint(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Paint {
    let refused = no_color.is_some_and(|value| !value.is_empty()) || term.is_none_or(|term| term == "dumb");
    if terminal && !refused { Paint::Colour } else { Paint::Plain }
}

#[cfg(test)]
pub mod testing {
    //! An `Out` whose words can be looked at.

    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// What was written.
    #[derive(Clone, Default)]
    pub struct Sheet(Rc<RefCell<Vec<u8>>>);

    impl Sheet {
        /// As text.
        pub fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.borrow()).into_owned()
        }
    }

    impl Write for Sheet {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Standard output and standard error on two sheets.
    pub fn sheets(terminal: bool) -> (Out, Sheet, Sheet) {
        let (stdout, stderr) = (Sheet::default(), Sheet::default());
        let out = Out { stdout: Box::new(stdout.clone()), stderr: Box::new(stderr.clone()), terminal, paint: Paint::Plain };
        (out, stdout, stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours() {
        let os = |word: Option<&'static str>| word.map(OsStr::new);
        for (terminal, no_color, term, coloured) in [
            (true, None, Some("xterm"), true),
            (true, Some(""), Some("xterm"), true),
            (true, Some("1"), Some("xterm"), false),
            (true, None, Some("dumb"), false),
            (true, None, None, false),
            (false, None, Some("xterm"), false),
        ] {
            assert_eq!(paint(terminal, os(no_color), os(term)) == Paint::Colour, coloured);
        }
    }

    #[test]
    fn a_reader_that_is_gone_is_no_failure() {
        struct Closed(ErrorKind);
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (mut out, ..) = testing::sheets(false);
        out.stdout = Box::new(Closed(ErrorKind::BrokenPipe));
        assert!(matches!(out.write(b"x"), Err(Halt::ReaderGone)));
        out.stdout = Box::new(Closed(ErrorKind::StorageFull));
        assert!(matches!(out.write(b"x"), Err(Halt::Fault(fault)) if fault.code == FaultCode::Failed));
    }

    #[test]
    fn a_follower_ends_with_its_reader() {
        let (source, mut feed) = io::pipe().unwrap();
        let (reader, sink) = io::pipe().unwrap();
        feed.write_all(b"x").unwrap();
        assert!(readable_before_gone(source.as_fd(), sink.as_fd()));
        drop(reader);
        assert!(!readable_before_gone(source.as_fd(), sink.as_fd()));
    }

    #[test]
    fn a_document_on_a_terminal_is_harmless() {
        let (mut out, stdout, _) = testing::sheets(true);
        assert!(out.document("\"\u{9b}\"").is_ok());
        assert_eq!(stdout.text(), "\"\\u{9b}\"\n");
    }
}
