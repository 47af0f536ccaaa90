//! `s3.re`: regular expressions whose time is linear in the text, unlike Lua's own patterns.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};
use regex_lite::{Captures, Regex, RegexBuilder};

use super::Shared;
use super::args::Args;
use super::define::plain;

/// Compiled expressions that are kept: a handler uses a few, again and again.
const KEPT: usize = 32;

/// Bytes that one compiled expression may take.
const SIZE: usize = 256 << 10;

/// The last expressions, the latest first.
type Cache = Rc<RefCell<VecDeque<(String, Regex)>>>;

pub(super) fn install(lua: &Lua, s3: &Table, _: &Shared) -> mlua::Result<()> {
    let cache = Cache::default();
    let kept = Rc::clone(&cache);
    plain(lua, s3, "re.match", move |lua, args| {
        let regex = compiled(&kept, lua, &args)?;
        let text = args.text(0);
        let Some(found) = regex.captures(&text) else { return Ok(MultiValue::new()) };
        let from = usize::from(found.len() > 1);
        captures(lua, &found, from)
    })?;
    let kept = Rc::clone(&cache);
    plain(lua, s3, "re.find", move |lua, args| {
        let regex = compiled(&kept, lua, &args)?;
        let text = args.text(0);
        let start = start(&text, args.integer(2).unwrap_or(1));
        let found = start.and_then(|start| regex.captures_at(&text, start));
        let Some((found, whole)) = found.as_ref().and_then(|found| Some((found, found.get(0)?))) else {
            return Ok(MultiValue::new());
        };
        let mut out = captures(lua, found, 1)?;
        let place = |at: usize| Value::Integer(i64::try_from(at).unwrap_or(i64::MAX));
        out.push_front(place(whole.end()));
        out.push_front(place(whole.start() + 1));
        Ok(out)
    })?;
    plain(lua, s3, "re.gsub", move |lua, args| {
        let regex = compiled(&cache, lua, &args)?;
        let (text, with) = (args.text(0), args.text(2));
        let most = args.integer(3).map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(0));
        let mut out = String::with_capacity(text.len());
        let (mut last, mut count) = (0, 0_usize);
        for found in regex.captures_iter(&text).take(most) {
            let Some(whole) = found.get(0) else { continue };
            out.push_str(&text[last..whole.start()]);
            found.expand(&with, &mut out);
            (last, count) = (whole.end(), count + 1);
        }
        out.push_str(&text[last..]);
        Ok((out, count))
    })
}

/// The expression of argument 2.
fn compiled(cache: &Cache, lua: &Lua, args: &Args) -> mlua::Result<Regex> {
    let pattern = args.text(1);
    let mut cache = cache.borrow_mut();
    if let Some(at) = cache.iter().position(|(known, _)| *known == pattern)
        && let Some(entry) = cache.remove(at)
    {
        let regex = entry.1.clone();
        cache.push_front(entry);
        return Ok(regex);
    }
    let built = RegexBuilder::new(&pattern).size_limit(SIZE).build();
    let regex = built.map_err(|error| args.misuse(lua, format!("cannot use the expression `{pattern}`: {error}")))?;
    cache.push_front((pattern, regex.clone()));
    cache.truncate(KEPT);
    Ok(regex)
}

/// The captures from number `from` on; one that took no part is `nil`.
fn captures(lua: &Lua, found: &Captures<'_>, from: usize) -> mlua::Result<MultiValue> {
    let texts = (from..found.len()).map(|at| match found.get(at) {
        Some(part) => lua.create_string(part.as_str()).map(Value::String),
        None => Ok(Value::Nil),
    });
    texts.collect()
}

/// Where a search begins: from 1, or from the end where it is negative, as in `string.find`; at a whole character.
fn start(text: &str, init: i64) -> Option<usize> {
    let from_end = |back: i64| text.len().saturating_sub(usize::try_from(back).unwrap_or(usize::MAX));
    let at = if init < 0 { from_end(init.saturating_neg()) } else { usize::try_from(init.max(1) - 1).ok()? };
    (at..=text.len()).find(|at| text.is_char_boundary(*at))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{eval, fails};

    fn joined(call: &str) -> String {
        eval(&format!("local t = table.pack({call}) for i = 1, t.n do t[i] = tostring(t[i]) end return table.concat(t, ' ')"))
    }

    #[test]
    fn matches() {
        for (call, result) in [
            ("s3.re.match('exit 137', '[0-9]+')", "137"),
            ("s3.re.match('k=v', '(\\\\w+)=(\\\\w+)')", "k v"),
            ("s3.re.match('a', '(a)|(b)')", "a nil"),
            ("s3.re.match('a', 'b')", ""),
            ("s3.re.find('xaay', 'a+')", "2 3"),
            ("s3.re.find('xaay', '(a)(a)')", "2 3 a a"),
            ("s3.re.find('aXa', 'a', 2)", "3 3"),
            ("s3.re.find('aXa', 'a', -1)", "3 3"),
            ("s3.re.find('aXa', '^a', 2)", ""),
            ("s3.re.find('a', 'a', 9)", ""),
            ("s3.re.find('äa', 'a', 2)", "3 3"),
            ("s3.re.gsub('a1b22', '[0-9]+', '#')", "a#b# 2"),
            ("s3.re.gsub('a1b22', '[0-9]+', '#', 1)", "a#b22 1"),
            ("s3.re.gsub('k=v', '(?P<k>\\\\w)=(\\\\w)', '$2=${k}$$')", "v=k$ 1"),
            ("s3.re.gsub('ab', '', '-')", "-a-b- 3"),
        ] {
            assert_eq!(joined(call), result, "{call}");
        }
    }

    /// With backtracking this would take longer than the universe has.
    #[test]
    fn time_is_linear() {
        assert_eq!(joined("s3.re.match(('a'):rep(5000), '(a*)*b')"), "");
        assert_eq!(joined("s3.re.match(('a'):rep(5000), '(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)b')"), "");
    }

    #[test]
    fn a_bad_expression_is_a_mistake() {
        for (pattern, says) in [("(", "cannot use the expression `(`"), ("(?:a{1000}){1000}", "cannot use the expression")] {
            let said = fails(&format!("s3.re.match('x', '{pattern}')"));
            assert!(said.starts_with("hook.lua:1: s3.re.match: ") && said.contains(says), "{said}");
        }
    }
}
