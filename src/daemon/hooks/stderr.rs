//! What the host and its scripts say, as lines of `section3.log`: whole lines, bounded, and counted where there are too many.

use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::unix::AsyncFd;

use crate::daemon::clock::Now;
use crate::value::Moment;

/// The longest line; the rest of it is a line of its own.
const LONGEST: usize = 4096;
/// Lines within [`WHILE`].
const LINES: u32 = 100;
/// For how long they count.
const WHILE: Duration = Duration::from_secs(1);

/// How much somebody has said lately.
#[derive(Clone, Copy, Debug, Default)]
pub struct Voice {
    since: Moment,
    said: u32,
    unsaid: u64,
}

/// Whether a line may be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leave {
    /// Yes; and so many before it were not.
    Yes(u64),
    /// No.
    No,
}

impl Voice {
    /// Asks for leave to tell one line.
    pub fn leave(&mut self, now: Moment) -> Leave {
        if now.since(self.since) >= WHILE {
            self.since = now;
            self.said = 0;
        }
        if self.said >= LINES {
            self.unsaid += 1;
            return Leave::No;
        }
        self.said += 1;
        Leave::Yes(std::mem::take(&mut self.unsaid))
    }
}

/// Tells what comes out of this pipe, to its end.
pub async fn tell(output: AsyncFd<OwnedFd>) {
    pass_on(output, || Now::read().moment, |line| tracing::warn!("hook host: {line}")).await;
}

async fn pass_on(output: AsyncFd<OwnedFd>, mut now: impl FnMut() -> Moment, mut say: impl FnMut(&str)) {
    let (mut unfinished, mut chunk, mut voice) = (Vec::new(), [0; 4096], Voice::default());
    loop {
        let Ok(mut ready) = output.readable().await else { return };
        match nix::unistd::read(output.get_ref(), &mut chunk) {
            Ok(0) => break,
            Ok(got) => unfinished.extend_from_slice(chunk.get(..got).unwrap_or_default()),
            Err(Errno::EAGAIN) => {
                ready.clear_ready();
                continue;
            }
            Err(Errno::EINTR) => continue,
            Err(_) => break,
        }
        drop(ready);
        for line in take_lines(&mut unfinished) {
            pass_on_line(&line, voice.leave(now()), &mut say);
        }
        // Whoever floods us is held up in his own pipe.
        tokio::task::yield_now().await;
    }
    if !unfinished.is_empty() {
        pass_on_line(&unfinished, voice.leave(now()), &mut say);
    }
}

fn take_lines(unfinished: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    loop {
        let end = match memchr::memchr(b'\n', unfinished) {
            Some(end) if end <= LONGEST => end + 1,
            _ if unfinished.len() > LONGEST => LONGEST,
            _ => return lines,
        };
        let rest = unfinished.split_off(end);
        lines.push(std::mem::replace(unfinished, rest));
    }
}

fn pass_on_line(line: &[u8], leave: Leave, say: &mut impl FnMut(&str)) {
    if let Leave::Yes(unsaid) = leave {
        if unsaid > 0 {
            say(&format!("{unsaid} lines of its output were left out"));
        }
        say(String::from_utf8_lossy(line).trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_they_are_too_long() {
        let mut unfinished = b"a\n\nbc".to_vec();
        assert_eq!(take_lines(&mut unfinished), [b"a\n".to_vec(), b"\n".to_vec()]);
        unfinished.extend_from_slice(&[b'x'; 2 * LONGEST]);
        assert_eq!(take_lines(&mut unfinished).iter().map(Vec::len).collect::<Vec<_>>(), [LONGEST, LONGEST]);
        assert_eq!(unfinished, b"xx");
    }

    #[test]
    fn a_hundred_lines_a_second_are_told_and_the_others_counted() {
        let at = |ms: u64| Moment::from_nanos(ms * 1_000_000);
        let mut voice = Voice::default();
        let told = (0..150).filter(|_| voice.leave(at(5000)) != Leave::No).count();
        assert_eq!(told, 100);
        assert_eq!(
            (voice.leave(at(5999)), voice.leave(at(6000)), voice.leave(at(6000))),
            (Leave::No, Leave::Yes(51), Leave::Yes(0))
        );
    }

    #[test]
    fn a_flood_is_cut_and_counted_to_its_end() {
        let (output, input) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).expect("a pipe");
        let flood = "short\n".repeat(3000) + &"x".repeat(2 * LONGEST + 10) + "\nlast";
        assert_eq!(nix::unistd::write(&input, flood.as_bytes()), Ok(flood.len()), "it fits into a pipe");
        drop(input);
        // The short ones come within a moment, the others a second later.
        let mut lines = 0;
        let now = || {
            lines += 1;
            Moment::from_nanos(if lines <= 3000 { 5_000_000_000 } else { 6_000_000_000 })
        };
        let mut said = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let output = crate::sys::watch::watch(output).expect("a watch");
            pass_on(output, now, |line| said.push(line.to_owned())).await;
        });
        assert!(said.drain(..100).all(|line| line == "short"));
        let long = "x".repeat(LONGEST);
        assert_eq!(said, ["2900 lines of its output were left out", &long, &long, "xxxxxxxxxx", "last"]);
    }
}
