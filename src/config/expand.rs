//! `${NAME}`, `${NAME:-default}` and `$$` in values.
//!
//! A `$` before anything else stays as it is, so that a pattern such as `ready$` needs no care. As in a shell, `:-` takes
//! the default where the variable is unset or empty. A default is plain text: no second `${` in it.

use std::borrow::Cow;

use super::Environment;

/// A `${` that cannot be expanded.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The piece of the value, `${` included.
    pub piece: String,
    /// What is allowed.
    pub rule: String,
}

/// Expands a value.
///
/// # Errors
///
/// The first variable that is unset and has no default, or that is no variable.
pub fn expand<'a>(text: &'a str, env: Environment<'_>) -> Result<Cow<'a, str>, Wrong> {
    if !text.contains('$') {
        return Ok(Cow::Borrowed(text));
    }
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        done.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            done.push('$');
            rest = after;
        } else if let Some(inside) = after.strip_prefix('{') {
            let Some((inside, after)) = inside.split_once('}') else {
                return Err(Wrong { piece: format!("${{{inside}"), rule: format!("the closing `}}` is missing; {FORMS}") });
            };
            done.push_str(&variable(inside, env)?);
            rest = after;
        } else {
            done.push('$');
            rest = after;
        }
    }
    done.push_str(rest);
    Ok(Cow::Owned(done))
}

const FORMS: &str = "allowed: `${NAME}`, `${NAME:-default}`, and `$$` for a dollar sign";

fn variable(inside: &str, env: Environment<'_>) -> Result<String, Wrong> {
    let wrong = |rule: String| Wrong { piece: format!("${{{inside}}}"), rule };
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_name(name) || default.is_some_and(|d| d.contains("${")) {
        return Err(wrong(FORMS.to_owned()));
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.replace("$$", "$")),
        (None, None) => {
            Err(wrong(format!("`{name}` is not set in the supervisor's environment; set it, or write `${{{name}:-default}}`")))
        }
    }
}

/// Whether a word can name a variable: letters, digits and `_`, no digit first (POSIX.1-2017, 8.1).
pub fn is_name(word: &str) -> bool {
    word.bytes().next().is_some_and(|b| !b.is_ascii_digit()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            "RAW" => Some("${A}$$".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn what_is_expanded_and_what_stays() {
        for (text, expanded) in [
            ("plain", "plain"),
            ("${A}", "1"),
            ("x${A}y${A}", "x1y1"),
            ("${NO:-d}", "d"),
            ("${NO:-}", ""),
            ("${NO:-a:-b}", "a:-b"),
            ("${NO:-a$$b}", "a$b"),
            ("${A:-d}", "1"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("$$", "$"),
            ("$${A}", "${A}"),
            ("$$$$", "$$"),
            ("$A", "$A"),
            ("ready$", "ready$"),
            ("$(x)", "$(x)"),
            ("${RAW}", "${A}$$"),
            ("é${A}é", "é1é"),
        ] {
            assert_eq!(expand(text, &env).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_expanded() {
        for (text, piece) in [
            ("a${NO}", "${NO}"),
            ("${}", "${}"),
            ("${A", "${A"),
            ("${1}", "${1}"),
            ("${1:-d}", "${1:-d}"),
            ("${:-d}", "${:-d}"),
            ("${A-d}", "${A-d}"),
            ("${A:?e}", "${A:?e}"),
            ("${ A }", "${ A }"),
            ("${NO:-${A}}", "${NO:-${A}"),
        ] {
            assert_eq!(expand(text, &env).map_err(|w| w.piece), Err(piece.to_owned()), "{text}");
        }
    }
}
