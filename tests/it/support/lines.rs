//! Lines of a pipe or socket, read as they come by a thread of their own.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use super::deadline::Deadline;

/// A stream of lines with a deadline on every wait. Keeps what it has seen, for the message of a failed wait.
pub struct Lines {
    from: Receiver<String>,
    name: String,
    seen: Vec<String>,
}

impl Lines {
    /// Reads `source` to its end in the background. `name` is how messages call it.
    pub fn of(source: impl Read + Send + 'static, name: &str) -> Self {
        let (to, from) = channel();
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                if to.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { from, name: name.to_owned(), seen: Vec::new() }
    }

    /// The next line; `None` at the end of the stream.
    #[track_caller]
    pub fn next(&mut self) -> Option<String> {
        self.next_before(Deadline::new(), "a line or the end")
    }

    /// The first line from here on for which `is_it` holds. `wanted` is how messages call it.
    #[track_caller]
    pub fn until(&mut self, wanted: &str, is_it: impl Fn(&str) -> bool) -> String {
        let deadline = Deadline::new();
        loop {
            match self.next_before(deadline, wanted) {
                Some(line) if is_it(&line) => return line,
                Some(_) => {}
                None => panic!("{}: ended before {wanted}; seen:\n{}", self.name, self.seen.join("\n")),
            }
        }
    }

    /// Whether this line was among those read so far.
    pub fn saw(&self, line: &str) -> bool {
        self.seen.iter().any(|seen| seen == line)
    }

    /// All that is left, to the end of the stream.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let deadline = Deadline::new();
        let mut all = String::new();
        while let Some(line) = self.next_before(deadline, "the end") {
            all += &line;
            all.push('\n');
        }
        all
    }

    #[track_caller]
    fn next_before(&mut self, deadline: Deadline, wanted: &str) -> Option<String> {
        match self.from.recv_timeout(deadline.left()) {
            Ok(line) => {
                self.seen.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                let from = self.seen.len().saturating_sub(60);
                panic!("{}: waited in vain for {wanted}; seen last:\n{}", self.name, self.seen[from..].join("\n"))
            }
        }
    }
}
