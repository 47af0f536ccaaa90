//! Bytes of others made visible: what came from a service, a hook or the other end of the socket must not move the
//! cursor, set the title or turn the direction of text on an operator's terminal.

use std::borrow::Cow;

/// One line of a log for a terminal: control characters, bidirectional controls and bytes that are not UTF-8 as `\x1b`
/// or `\u{202e}`; tabs stay, and so does everything in a line that holds none of these. A carriage return at the end
/// is left out: a CRLF ending shows nothing.
#[must_use]
pub fn log_line(line: &[u8]) -> Cow<'_, [u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // Printable ASCII is nearly every line there is.
    if line.iter().all(|b| matches!(b, b' '..=b'~' | b'\t')) {
        return line.into();
    }
    let mut safe = String::with_capacity(line.len() + 16);
    for chunk in line.utf8_chunks() {
        for c in chunk.valid().chars() {
            push(&mut safe, c, c == '\t');
        }
        for byte in chunk.invalid() {
            safe.push_str(&format!("\\x{byte:02x}"));
        }
    }
    safe.into_bytes().into()
}

/// A word or sentence in one line: as [`log_line`], and tabs and line breaks are escaped too.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    visible(text, |_| false)
}

/// A message that may have several lines: line breaks and tabs stay.
#[must_use]
pub fn message(text: &str) -> Cow<'_, str> {
    visible(text, |c| matches!(c, '\n' | '\t'))
}

fn visible(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|c| moves_the_cursor(c) && !stays(c)) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        push(&mut safe, c, stays(c));
    }
    safe.into()
}

fn push(safe: &mut String, c: char, stays: bool) {
    match c {
        c if stays || !moves_the_cursor(c) => safe.push(c),
        '\n' => safe.push_str("\\n"),
        '\t' => safe.push_str("\\t"),
        '\r' => safe.push_str("\\r"),
        c if c.is_ascii() => safe.push_str(&format!("\\x{:02x}", u32::from(c))),
        c => safe.extend(c.escape_unicode()),
    }
}

/// Controls of ASCII and of ISO 6429 (C1), line and paragraph separators, and the bidirectional controls of Unicode.
fn moves_the_cursor(c: char) -> bool {
    c.is_control() || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        for (line, shown) in [
            (b"plain\ttext".as_slice(), "plain\ttext"),
            (b"", ""),
            (b"crlf\r", "crlf"),
            (b"10%\r20%", "10%\\r20%"),
            (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            (b"\x7f\0", "\\x7f\\x00"),
            ("grüße \u{9b}31m \u{202e}".as_bytes(), "grüße \\u{9b}31m \\u{202e}"),
            (b"\xff ok \xc3", "\\xff ok \\xc3"),
            (b"two\nlines", "two\\nlines"),
        ] {
            assert_eq!(String::from_utf8(log_line(line).into_owned()).as_deref(), Ok(shown));
        }
        assert_eq!(one_line("a\nb\tc"), "a\\nb\\tc");
        assert_eq!(message("a\nb\x1b"), "a\nb\\x1b");
    }
}
