//! `log: REGEX`: a line of the output matches. In time linear to the line, whatever the pattern.

use regex_lite::Regex;

/// The most of a line that is looked at.
const LONGEST_LINE: usize = 64 << 10;

/// Cuts output into lines and looks for one that matches.
#[derive(Debug)]
pub struct Lines {
    regex: Regex,
    unfinished: Vec<u8>,
}

impl Lines {
    /// Nothing seen yet.
    ///
    /// # Errors
    ///
    /// What is wrong with the pattern.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
        Ok(Self { regex, unfinished: Vec::new() })
    }

    /// The line that is not finished yet.
    #[must_use]
    pub fn unfinished(&self) -> &[u8] {
        &self.unfinished
    }

    /// Goes on after such a line.
    #[must_use]
    pub fn after(self, unfinished: Vec<u8>) -> Self {
        Self { unfinished, ..self }
    }

    /// Whether one of the lines that end in this part of the output matches. A line that is not finished yet is kept.
    pub fn take(&mut self, part: &[u8]) -> bool {
        let mut rest = part;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            let found = if self.unfinished.is_empty() {
                self.matches(line)
            } else {
                self.keep(line);
                let line = std::mem::take(&mut self.unfinished);
                self.matches(&line)
            };
            if found {
                return true;
            }
        }
        self.keep(rest);
        false
    }

    fn keep(&mut self, part: &[u8]) {
        let room = LONGEST_LINE.saturating_sub(self.unfinished.len());
        self.unfinished.extend_from_slice(part.get(..room).unwrap_or(part));
    }

    fn matches(&self, line: &[u8]) -> bool {
        let line = line.get(..LONGEST_LINE).unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.regex.is_match(&String::from_utf8_lossy(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_matches_once_it_is_whole() {
        for (pattern, parts, expected) in [
            ("^up$", ["up\n", "", ""], Some(0)),
            ("^up$", ["u", "p", "\nmore"], Some(2)),
            ("^up$", ["up\r\n", "", ""], Some(0)),
            ("^up$", ["up", "", ""], None),
            ("^up$", ["not up\n", "up and away\n", ""], None),
            ("listening on .*:\\d+", ["a\nb\nnow listening ", "on 0.0.0.0:80\nc", ""], Some(1)),
            ("", ["x", "\n", ""], Some(1)),
            ("a.c", ["a\u{e4}c\n", "", ""], Some(0)),
        ] {
            let mut lines = Lines::new(pattern).expect(pattern);
            let found = parts.iter().position(|part| lines.take(part.as_bytes()));
            assert_eq!(found, expected, "{pattern} in {parts:?}");
        }
        assert!(Lines::new("a(b").is_err());
    }

    #[test]
    fn bytes_that_are_no_text_hide_nothing() {
        let mut lines = Lines::new("up$").expect("pattern");
        assert!(lines.take(b"\xff\xfe up\n"));
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut lines = Lines::new("x$").expect("pattern");
        for _ in 0..100 {
            assert!(!lines.take(&[b'y'; 4096]));
        }
        assert_eq!(lines.unfinished.len(), LONGEST_LINE);
        assert!(!lines.take(b"x\n"), "beyond what is looked at");
        assert!(lines.take(b"x\n"));
        let whole = [&[b'y'; LONGEST_LINE][..], b"x\n"].concat();
        assert!(!lines.take(&whole), "beyond what is looked at");
    }
}
