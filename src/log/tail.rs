//! The last lines of a log, read backwards in blocks, also across rotations. Runs on a thread that may wait for the disk;
//! memory is bounded by [`MOST_BYTES`], whatever the lines are like.

use std::io;
use std::os::unix::fs::FileExt;

use memchr::{memchr, memrchr_iter};

use super::file::Part;

/// The longest answer. More lines than fit are left out at the top.
pub const MOST_BYTES: usize = 8 << 20;
/// The most lines one can ask for.
pub const MOST_LINES: usize = 10_000;
/// Enough for 20 usual lines in one read.
const BLOCK: usize = 16 << 10;

/// A log as it was at one moment. Its files may be rotated or written to meanwhile: the open handles still show this.
#[derive(Debug)]
pub struct Snapshot {
    /// Files, newest first.
    pub(super) parts: Vec<Part>,
    /// What follows the newest: an unfinished line, kept here since a rotation can carry it to another file.
    pub(super) unfinished: Vec<u8>,
}

impl Snapshot {
    /// The last `lines` lines, at most [`MOST_LINES`], as they were written; an unfinished last line counts as one.
    ///
    /// # Errors
    ///
    /// `pread(2)`.
    pub fn last(&self, lines: usize) -> io::Result<Vec<u8>> {
        self.last_within(lines.min(MOST_LINES), MOST_BYTES)
    }

    /// Leaves the last `bytes` out.
    pub(super) fn cut(&mut self, bytes: u64) {
        let here = usize::try_from(bytes).map_or(self.unfinished.len(), |bytes| bytes.min(self.unfinished.len()));
        self.unfinished.truncate(self.unfinished.len() - here);
        let mut left = bytes - here as u64;
        for part in &mut self.parts {
            let here = left.min(part.size);
            part.size -= here;
            left -= here;
        }
    }

    /// As [`Snapshot::last`], of at most `most` bytes. Where that cuts a line, the answer begins with the next one, if there
    /// is a next one.
    pub(super) fn last_within(&self, lines: usize, most: usize) -> io::Result<Vec<u8>> {
        if lines == 0 || most == 0 {
            return Ok(Vec::new());
        }
        let mut search = Search { left: lines, most, taken: 0, blocks: Vec::new(), is_first: true };
        if search.take(&self.unfinished) {
            return Ok(search.finish());
        }
        for part in &self.parts {
            let mut end = part.size;
            let mut block = vec![0; BLOCK];
            while end > 0 {
                let wanted = usize::try_from(end).map_or(block.len(), |end| end.min(block.len()));
                let start = end - wanted as u64;
                let read = read_at(part, &mut block[..wanted], start)?;
                if search.take(&block[..read]) {
                    return Ok(search.finish());
                }
                end = start;
                block.resize(BLOCK * 4, 0);
            }
        }
        Ok(search.finish())
    }
}

/// As much as is there: a file that somebody emptied meanwhile is no error.
fn read_at(part: &Part, block: &mut [u8], start: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < block.len() {
        match part.file.read_at(&mut block[done..], start + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Blocks from the end towards the start, until enough line starts were seen.
struct Search {
    left: usize,
    most: usize,
    taken: usize,
    blocks: Vec<Vec<u8>>,
    /// The newline at the very end begins no line.
    is_first: bool,
}

impl Search {
    /// Takes the bytes before those taken so far; `true` when nothing more is needed.
    fn take(&mut self, block: &[u8]) -> bool {
        if block.is_empty() {
            return false;
        }
        let mut skip_end = std::mem::take(&mut self.is_first) && block.ends_with(b"\n");
        for newline in memrchr_iter(b'\n', block) {
            if std::mem::take(&mut skip_end) {
                continue;
            }
            self.left -= 1;
            if self.left == 0 {
                self.keep(&block[newline + 1..]);
                return true;
            }
        }
        self.keep(block);
        self.taken >= self.most
    }

    fn keep(&mut self, block: &[u8]) {
        self.taken += block.len();
        self.blocks.push(block.to_vec());
    }

    fn finish(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.blocks.iter().rev().flatten().copied().collect();
        let over = bytes.len().saturating_sub(self.most);
        if over > 0 {
            // The byte before the cut tells whether the cut is at a line start.
            let next_line = memchr(b'\n', &bytes[over - 1..]).map(|newline| over + newline);
            let from = next_line.filter(|from| *from < bytes.len()).unwrap_or(over);
            bytes.drain(..from);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn snapshot(dir: &tempfile::TempDir, newest_first: &[&[u8]], unfinished: &[u8]) -> Snapshot {
        let part = |(n, bytes): (usize, &&[u8])| {
            let path = dir.path().join(n.to_string());
            std::fs::write(&path, bytes).expect("write");
            Part { file: File::open(path).expect("open"), size: bytes.len() as u64 }
        };
        Snapshot { parts: newest_first.iter().enumerate().map(part).collect(), unfinished: unfinished.to_vec() }
    }

    #[test]
    fn last_lines() {
        let dir = tempfile::tempdir().expect("tempdir");
        for (what, files, unfinished, lines, expected) in [
            ("empty", &[&b""[..]][..], &b""[..], 5, &b""[..]),
            ("none asked", &[b"a\n"], b"", 0, b""),
            ("some", &[b"a\nb\nc\n"], b"", 2, b"b\nc\n"),
            ("all", &[b"a\nb\n"], b"", 9, b"a\nb\n"),
            ("exactly all", &[b"a\nb\n"], b"", 2, b"a\nb\n"),
            ("unfinished counts", &[b"a\nb\n"], b"c", 2, b"b\nc"),
            ("unfinished alone", &[b"a\nb\n"], b"c", 1, b"c"),
            ("across a rotation", &[b"d\n", b"b\nc\n", b"a\n"], b"", 3, b"b\nc\nd\n"),
            ("up to a border", &[b"d\n", b"b\nc\n"], b"", 1, b"d\n"),
            ("a line that was cut", &[b"y\n", b"x", b"a\n"], b"", 1, b"xy\n"),
            ("empty lines", &[b"\n\n\n"], b"", 2, b"\n\n"),
        ] {
            let found = snapshot(&dir, files, unfinished).last(lines).expect("read");
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn no_more_lines_than_one_can_ask_for_and_no_more_is_read_than_is_wanted() {
        let dir = tempfile::tempdir().expect("tempdir");
        let lines = "x\n".repeat(MOST_LINES + 5);
        let found = snapshot(&dir, &[lines.as_bytes()], b"").last(usize::MAX).expect("read");
        assert_eq!(found.len(), 2 * MOST_LINES);
        let mut search = Search { left: 9, most: 4, taken: 0, blocks: Vec::new(), is_first: true };
        assert!(!search.take(b"abc") && search.take(b"defg"), "it goes on for ever in a log without lines");
    }

    /// G44: read backwards in blocks, in bounded memory.
    #[test]
    fn more_lines_than_a_block_and_fewer_bytes_than_asked() {
        let dir = tempfile::tempdir().expect("tempdir");
        let all: Vec<u8> = (0..30_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        let (old, new) = all.split_at(200_000);
        let snapshot = snapshot(&dir, &[new, old], b"");
        let text = String::from_utf8(snapshot.last(10_000).expect("read")).expect("text");
        assert_eq!(text.lines().count(), 10_000);
        assert!(text.starts_with("line 20000\n") && text.ends_with("line 29999\n"));
        let short = String::from_utf8(snapshot.last_within(20, 100).expect("read")).expect("text");
        assert!(short.len() <= 100 && short.starts_with("line 299") && short.ends_with("line 29999\n"), "{short}");
    }

    #[test]
    fn what_came_later_can_be_left_out() {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut snapshot = snapshot(&dir, &[b"c\nd\n", b"a\nb\n"], b"e");
        for (cut, expected) in [(0, &b"d\ne"[..]), (1, b"c\nd\n"), (3, b"b\nc"), (1, b"a\nb\n"), (9, b"")] {
            snapshot.cut(cut);
            assert_eq!(snapshot.last(2).expect("read"), expected);
        }
    }

    /// G44: read backwards in blocks, in bounded memory.
    #[test]
    fn one_endless_line_is_cut_to_the_bytes_asked_for() {
        let dir = tempfile::tempdir().expect("tempdir");
        let snapshot = snapshot(&dir, &[&[b'x'; 100_000]], b"");
        assert_eq!(snapshot.last_within(20, 8192).expect("read").len(), 8192);
    }
}
