//! Where one file ends and the next begins. Pure: positions and bytes in, one step out.
//!
//! The rule (contract 5): a file never exceeds its limit, and the border falls after a newline; only a line that is by
//! itself longer than the limit is cut. Bytes go to the file as they come, so the unfinished line at the end of a file is
//! in that file before anyone knows how long it will get. Where it turns out not to fit, it is carried: the new file begins
//! with it and the old one is shortened by it. A line is carried at most once, so this at most doubles the writing.

use memchr::{memchr, memrchr};

/// Where a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Position {
    /// Its length.
    pub size: u64,
    /// Just after its last newline; zero where it has none. Equal to `size` where no line is unfinished.
    pub line_start: u64,
}

impl Position {
    /// Whether the last line lacks its newline.
    #[must_use]
    pub const fn is_mid_line(self) -> bool {
        self.line_start < self.size
    }

    /// Where it stands after `bytes` were added.
    #[must_use]
    pub fn after(self, bytes: &[u8]) -> Self {
        let line_start = memrchr(b'\n', bytes).map_or(self.line_start, |at| self.size + at as u64 + 1);
        Self { size: self.size + bytes.len() as u64, line_start }
    }
}

/// What to do next with bytes that are to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Append so many of them, then ask again for the rest.
    Write(usize),
    /// Go on in a new file, then ask again.
    Rotate,
    /// Go on in a new file that begins with this one's unfinished line, then ask again.
    Carry,
}

/// The next step for `bytes` (not empty) in a file that stands `at` and may hold `limit` bytes (at least 1).
#[must_use]
pub fn step(at: Position, limit: u64, bytes: &[u8]) -> Step {
    let room = usize::try_from(limit.saturating_sub(at.size)).unwrap_or(usize::MAX);
    if bytes.len() <= room {
        return Step::Write(bytes.len());
    }
    if let Some(newline) = memrchr(b'\n', &bytes[..room]) {
        return Step::Write(newline + 1);
    }
    // The line at hand does not end within this file.
    let cut = if room > 0 { Step::Write(room) } else { Step::Rotate };
    if at.line_start == 0 {
        // It has the file to itself. An empty file has room, for the limit is not zero.
        return cut;
    }
    if !at.is_mid_line() {
        return Step::Rotate;
    }
    let begun = at.size - at.line_start;
    let known = memchr(b'\n', bytes).map_or(bytes.len(), |newline| newline + 1) as u64;
    if begun + known > limit { cut } else { Step::Carry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps() {
        let at = |size, line_start| Position { size, line_start };
        for (what, position, limit, bytes, expected) in [
            ("fits", at(0, 0), 10, &b"abc\n"[..], Step::Write(4)),
            ("fits exactly", at(6, 6), 10, b"abc\n", Step::Write(4)),
            ("up to the last newline that fits", at(4, 4), 10, b"ab\ncd\nef\n", Step::Write(6)),
            ("at a border", at(8, 8), 10, b"abcd\n", Step::Rotate),
            ("full", at(10, 10), 10, b"a\n", Step::Rotate),
            ("unfinished line would cross", at(8, 6), 10, b"cde\n", Step::Carry),
            ("unfinished line, full", at(10, 6), 10, b"e\n", Step::Carry),
            ("unfinished line whose end is not known", at(9, 6), 10, b"cde", Step::Carry),
            ("unfinished line that is known to be too long", at(9, 6), 10, b"cdefghijk", Step::Write(1)),
            ("the same without room", at(10, 6), 10, b"cdefghijk", Step::Rotate),
            ("longest line that can be carried", at(9, 6), 10, b"defghi\n", Step::Carry),
            ("longer than a file from its start", at(0, 0), 4, b"abcdef\n", Step::Write(4)),
            ("its rest", at(4, 0), 4, b"ef\n", Step::Rotate),
            ("limit was lowered", at(100, 100), 10, b"a\n", Step::Rotate),
            ("limit was lowered under an unfinished line", at(100, 50), 10, b"a\n", Step::Rotate),
            ("limit was lowered under a short unfinished line", at(100, 97), 10, b"a\n", Step::Carry),
        ] {
            assert_eq!(step(position, limit, bytes), expected, "{what}");
        }
    }

    #[test]
    fn positions() {
        let start = Position::default();
        assert_eq!(start.after(b"ab\ncd"), Position { size: 5, line_start: 3 });
        assert_eq!(start.after(b"ab").after(b"cd"), Position { size: 4, line_start: 0 });
        assert_eq!(start.after(b"ab").after(b"\n"), Position { size: 3, line_start: 3 });
    }

    /// xorshift64*: the property needs variety, not quality.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
        }
    }

    /// Appends as `LogFile` does, in memory; the last file is the current one.
    fn append(files: &mut Vec<Vec<u8>>, at: &mut Position, limit: u64, mut bytes: &[u8]) {
        let mut carried = false;
        while !bytes.is_empty() {
            match step(*at, limit, bytes) {
                Step::Write(count) => {
                    assert!(count > 0, "a write of nothing");
                    files.last_mut().expect("a file").extend_from_slice(&bytes[..count]);
                    *at = at.after(&bytes[..count]);
                    bytes = &bytes[count..];
                    carried = false;
                }
                Step::Rotate => {
                    assert!(at.size > 0, "an empty file was rotated");
                    files.push(Vec::new());
                    *at = Position::default();
                }
                Step::Carry => {
                    assert!(!carried, "carried twice");
                    carried = true;
                    let start = usize::try_from(at.line_start).expect("small");
                    let line = files.last_mut().expect("a file").split_off(start);
                    *at = Position { size: line.len() as u64, line_start: 0 };
                    files.push(line);
                }
            }
        }
    }

    #[test]
    fn every_byte_once_in_order_within_limits_at_line_ends() {
        for seed in 1..=300_u64 {
            let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let limit = [16, 64, 100, 4096][usize::try_from(seed % 4).expect("small")];
            let longest = [limit / 8, limit, limit * 3][usize::try_from(dice.below(3)).expect("small")] + 2;
            let mut stream = Vec::new();
            while (stream.len() as u64) < limit * 20 {
                let line = dice.below(longest);
                stream.extend((0..line).map(|_| b'a' + u8::try_from(dice.below(26)).expect("a letter")));
                stream.push(b'\n');
            }
            let (mut files, mut at, mut rest) = (vec![Vec::new()], Position::default(), &stream[..]);
            while !rest.is_empty() {
                let most = if dice.below(4) == 0 { limit * 2 } else { limit / 4 };
                let size = 1 + dice.below(most);
                let (chunk, after) = rest.split_at(rest.len().min(usize::try_from(size).expect("small")));
                append(&mut files, &mut at, limit, chunk);
                rest = after;
            }
            assert_eq!(files.concat(), stream, "seed {seed}: bytes were lost, doubled or moved");
            let mut border = 0;
            for (n, file) in files.iter().enumerate() {
                assert!(file.len() as u64 <= limit, "seed {seed}: file {n} has {} bytes", file.len());
                border += file.len();
                if stream[border - 1] != b'\n' {
                    let begin = memrchr(b'\n', &stream[..border]).map_or(0, |newline| newline + 1);
                    let end = border + memchr(b'\n', &stream[border..]).expect("every line ends") + 1;
                    assert!((end - begin) as u64 > limit, "seed {seed}: a line of {} bytes was cut", end - begin);
                }
            }
        }
    }
}
