//! Patterns of names: `*` and `?`.

use std::fmt;

/// A pattern in which `*` stands for any text and `?` for any one character; everything else stands for itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Glob(String);

impl Glob {
    /// A pattern; every text is one.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// The pattern as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name is one of those meant. Takes the product of both lengths at worst, never more.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        wild(&self.0, name, |_| true)
    }

    /// Whether every name that the other pattern means is meant by this one as well; `?*` is not seen to cover `*?`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        wild(&self.0, &other.0, |one| one != '*')
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Matches without recursion: only the last `*` is ever taken up again. `one` says what a `?` may stand for.
fn wild(pattern: &str, text: &str, one: impl Fn(char) -> bool) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    let mut again = None;
    loop {
        let before = text.clone();
        match (pattern.next(), text.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                text = before;
                again = Some((pattern.clone(), text.clone()));
            }
            (Some('?'), Some(found)) if one(found) => {}
            (Some(wanted), Some(found)) if wanted == found && wanted != '?' => {}
            _ => {
                let Some((after_star, mut from)) = again.take() else { return false };
                if from.next().is_none() {
                    return false;
                }
                pattern = after_star;
                text = from;
                again = Some((pattern.clone(), text.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn what_matches() {
        for (pattern, name, is_meant) in [
            ("web", "web", true),
            ("web", "webs", false),
            ("web*", "web", true),
            ("web*", "web-1", true),
            ("*", "", true),
            ("?", "", false),
            ("?", "é", true),
            ("w?b", "wab", true),
            ("w?b", "wb", false),
            ("*b*b", "abab", true),
            ("*b*b", "aba", false),
            ("a*b?c", "axxbbbyc", true),
            ("", "", true),
            ("", "a", false),
            ("?", "?", true),
            ("*?", "a", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), is_meant, "{pattern} {name}");
        }
        // Backtracking over every `*` would take for ever.
        assert!(!Glob::new(&("*a".repeat(40) + "b")).matches(&"a".repeat(5000)));
    }

    #[test]
    fn what_covers() {
        for (wide, narrow, is_covered) in [
            ("*", "*", true),
            ("*", "web*", true),
            ("web*", "web-?", true),
            ("web*", "web", true),
            ("web", "web*", false),
            ("?", "*", false),
            ("?", "?", true),
            ("a?", "ab", true),
            ("a*c", "a*b*c", true),
            ("a*c", "a*", false),
            ("??", "?", false),
        ] {
            assert_eq!(Glob::new(wide).covers(&Glob::new(narrow)), is_covered, "{wide} {narrow}");
        }
    }
}
