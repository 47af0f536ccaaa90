//! What the kernel, and a fault of our own, say: as the end of a sentence.

use std::any::Any;
use std::io;

use nix::errno::Errno;

/// The kernel's text for an error, small at the start.
#[must_use]
pub fn errno(errno: Errno) -> String {
    small(errno.desc())
}

/// The same for an error of the standard library, which may be one of its own.
#[must_use]
pub fn io(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => errno(Errno::from_raw(number)),
        None => small(&error.to_string()),
    }
}

/// What a panic said of itself.
#[must_use]
pub fn fault(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("it left no message")
}

fn small(text: &str) -> String {
    let mut letters = text.chars();
    // An abbreviation such as `RPC failed` or `I/O error` keeps its size.
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain([second]).chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_small_at_the_start() {
        assert_eq!(io(&Errno::ENOSPC.into()), "no space left on device");
        assert_eq!(io(&io::Error::other("not a regular file")), "not a regular file");
        assert_eq!(small("RPC failed"), "RPC failed");
        assert_eq!(io(&Errno::EIO.into()), "I/O error");
    }

    #[test]
    fn a_fault_says_what_it_can() {
        assert_eq!((fault(&"text"), fault(&"text".to_owned()), fault(&7)), ("text", "text", "it left no message"));
    }
}
