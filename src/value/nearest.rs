//! "did you mean".

/// The known word closest to `word`, if any is close enough to be meant.
///
/// Damerau-Levenshtein distance, at most a third of the longer word (at least one edit): `comand` finds `command`,
/// `nevr` finds `never`, `kill` finds nothing.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance is quadratic; nobody mistypes a word into a thousand letters.
    if word.len() > 128 {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (word.len().max(candidate.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant() {
        let keys = ["command", "dir", "restart", "depends_on", "log_max_size"];
        for (word, found) in [
            ("comand", Some("command")),
            ("commnad", Some("command")),
            ("Command", Some("command")),
            ("depend_on", Some("depends_on")),
            ("logmaxsize", Some("log_max_size")),
            ("dri", Some("dir")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), found, "{word}");
        }
    }
}
