//! Text -> a tree of what was written: order, duplicates, spelling and places kept, nothing judged.
//!
//! The library resolves `1.10` to a number and forgets its spelling, so the text is read twice: once for its shape, once
//! for the spelling of what looked like a number or a truth value. Where all of these can be spelled in one way only, the
//! first reading is enough for a good file; the second is for the places in messages. Places come from the borrowed slices that the
//! library hands out: where a scalar is a piece of the text, its address says which.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Values and keys in one file; aliases count each time they are used. A thousand services need 20,000; a list of
/// aliases of a list of aliases would fill the memory of PID 1.
const MAX_VALUES: usize = 200_000;
/// Bytes of text in all values; four times what a file may hold, again because of aliases.
const MAX_TEXT: usize = 4 << 20;

/// One value as written.
#[derive(Debug, PartialEq)]
pub enum Node {
    /// A single word or text.
    Scalar(Scalar),
    /// `[a, b]` or lines with `-`.
    List(Vec<Node>),
    /// `{a: b}` or lines with `:`; in order, duplicates included.
    Map(Vec<Entry>),
}

/// A single word or text.
#[derive(Debug, PartialEq)]
pub struct Scalar {
    /// What YAML takes it for.
    pub kind: Kind,
    /// As it is spelled, without quotes; empty for [`Kind::Null`].
    pub text: String,
    /// Where it begins (its quote, if it has one), in bytes; `None` where it is no plain piece of the text (a block, an escape).
    pub at: Option<usize>,
}

/// What YAML takes a scalar for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// Digits without quotes.
    Number,
    /// Anything else.
    Text,
}

/// One `key: value`.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// The key as it is spelled.
    pub key: String,
    /// Where the key begins, as in [`Scalar::at`].
    pub at: Option<usize>,
    /// The value.
    pub value: Node,
}

/// Text that is no single YAML document of plain values.
#[derive(Debug, PartialEq)]
pub struct Syntax {
    /// Line and column, from 1, in characters.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
}

/// Reads one YAML document, with every spelling and place.
///
/// # Errors
///
/// The first thing that is no YAML, or more of it than a config needs.
pub fn read(text: &str) -> Result<Node, Syntax> {
    guarded(text, false)
}

/// Reads one YAML document in half the time: like [`read`], but without the places of numbers and truth values.
///
/// # Errors
///
/// As [`read`].
pub fn skim(text: &str) -> Result<Node, Syntax> {
    // Without these a whole number and a truth value have one spelling.
    let odd = ["0x", "0o", "0b", "True", "TRUE", "False", "FALSE"];
    let signed = text.as_bytes().windows(2).any(|pair| pair[0] == b'+' && pair[1].is_ascii_digit());
    guarded(text, !signed && !odd.iter().any(|odd| text.contains(odd)))
}

fn guarded(text: &str, plain: bool) -> Result<Node, Syntax> {
    // The library would say so too, but with a place in bytes.
    if let Some((at, c)) = text.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')) {
        let message = format!("found the control character U+{:04X}; a config is plain text", u32::from(c));
        return Err(Syntax { place: Some(place_of(text, at)), message });
    }
    // The library reads the whole text before it gives anything away, and its time grows with the square of the depth of
    // brackets: a deep text is cut off, piece by piece, until one piece is wrong for another reason than its missing end.
    for (piece, end) in depths(text).enumerate() {
        if piece == PIECES {
            let message = format!("more than {} brackets are opened and not closed again", DEPTH + PIECES * DEPTH_STEP);
            return Err(Syntax { place: Some(place_of(text, end - 1)), message });
        }
        if let Err(wrong) = whole(&text[..end], plain)
            && (!wrong.message.starts_with(NOT_YAML) || wrong.message.contains(PLAIN_KEY))
        {
            return Err(wrong);
        }
    }
    whole(text, plain)
}

/// The library recurses, and stops there.
const TOO_DEEP: &str = "nested more than 128 levels deep";

/// What the library found wrong in the text itself, its end included.
const NOT_YAML: &str = "not valid YAML: ";

/// What a key must be.
const PLAIN_KEY: &str = "a plain word as key";

/// Brackets that may be open before the text is looked at in pieces; in each piece there may be [`DEPTH_STEP`] more.
const DEPTH: usize = 128;
/// A small step means many pieces, a large one long time for each.
const DEPTH_STEP: usize = 4000;
/// Each piece is read from the beginning, so there cannot be many.
const PIECES: usize = 10;

/// The ends of the pieces: where more and more brackets were opened and not closed. Brackets in quotes and comments count
/// too, so this alone proves nothing.
fn depths(text: &str) -> impl Iterator<Item = usize> + '_ {
    let (mut open, mut limit) = (0_usize, DEPTH);
    text.bytes().enumerate().filter_map(move |(at, b)| {
        match b {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        (open > limit).then(|| {
            limit += DEPTH_STEP;
            at + 1
        })
    })
}

/// Line and column of a byte, from 1, in characters.
fn place_of(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let column = before[before.rfind('\n').map_or(0, |end| end + 1)..].chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

fn whole(text: &str, plain: bool) -> Result<Node, Syntax> {
    let reading = Reading {
        text,
        plain,
        values: Cell::new(0),
        bytes: Cell::new(0),
        respell: Cell::new(false),
        refusal: RefCell::new(None),
    };
    let mut root = Shape(&reading).deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|e| reading.explain(&e))?;
    if reading.respell.get() {
        let spelling = Spelling { node: &mut root, reading: &reading };
        spelling.deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|e| reading.explain(&e))?;
    }
    Ok(root)
}

/// What both readings share.
struct Reading<'t> {
    text: &'t str,
    /// Whether whole numbers and truth values have only one spelling, and nobody asks for their places.
    plain: bool,
    values: Cell<usize>,
    bytes: Cell<usize>,
    /// Whether a number or truth value was seen, whose spelling is still missing.
    respell: Cell<bool>,
    /// Our own reason for the library's error, which would otherwise carry a path and a place inside its text.
    refusal: RefCell<Option<String>>,
}

impl<'t> Reading<'t> {
    /// Where a slice of the text begins, or its opening quote.
    fn place(&self, slice: &'t str) -> Option<usize> {
        let at = (slice.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize).filter(|at| *at <= self.text.len())?;
        // No plain scalar can follow a quote directly.
        let quoted = at > 0 && matches!(self.text.as_bytes()[at - 1], b'"' | b'\'');
        Some(at - usize::from(quoted))
    }

    fn count<E: Error>(&self, bytes: usize) -> Result<(), E> {
        self.values.set(self.values.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
        if self.values.get() > MAX_VALUES {
            return Err(self.refuse(format!("more than {MAX_VALUES} values; an alias counts each time it is used")));
        }
        if self.bytes.get() > MAX_TEXT {
            return Err(self.refuse(format!("more than {MAX_TEXT} bytes of text; an alias counts each time it is used")));
        }
        Ok(())
    }

    fn refuse<E: Error>(&self, message: String) -> E {
        *self.refusal.borrow_mut() = Some(message);
        E::custom("refused")
    }

    fn explain(&self, error: &serde_yaml::Error) -> Syntax {
        let place = error.location().map(|at| (at.line(), at.column()));
        if let Some(message) = self.refusal.borrow_mut().take() {
            return Syntax { place, message };
        }
        let said = error.to_string();
        if said.starts_with("recursion limit") {
            return Syntax { place, message: TOO_DEEP.to_owned() };
        }
        if said.starts_with("repetition limit") {
            return Syntax { place, message: "aliases of aliases repeat too much".to_owned() };
        }
        // Only then: after a syntax error the library's next document begins in the middle of one, and it panics.
        if said.contains("more than one document") {
            let message = "a second document begins here; a config is one document".to_owned();
            return Syntax { place: self.second_document(), message };
        }
        let message = match place {
            Some((line, column)) => {
                let said = said.replace(&format!(" at line {line} column {column}"), "");
                let line = self.text.lines().nth(line - 1).unwrap_or_default();
                let indent = line.len() - line.trim_start().len();
                if line[..indent].contains('\t') { format!("{said}; indent with spaces, not tabs") } else { said }
            }
            None => said,
        };
        Syntax { place, message: format!("{NOT_YAML}{message}") }
    }

    /// The place of the second document.
    fn second_document(&self) -> Option<(usize, usize)> {
        struct Fail;
        impl Visitor<'_> for Fail {
            type Value = ();
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("nothing")
            }
        }
        let second = serde_yaml::Deserializer::from_str(self.text).nth(1)?;
        let place = second.deserialize_any(Fail).err()?.location()?;
        Some((place.line(), place.column()))
    }
}

/// The first reading: everything but the spelling of numbers and truth values.
#[derive(Clone, Copy)]
struct Shape<'r, 't>(&'r Reading<'t>);

impl Shape<'_, '_> {
    fn unspelled<E: Error>(self, kind: Kind) -> Result<Node, E> {
        self.0.respell.set(true);
        self.scalar(kind, String::new(), None)
    }

    /// A number or truth value that is spelled like this, where it has one spelling.
    fn spelled<E: Error>(self, kind: Kind, text: impl ToString) -> Result<Node, E> {
        if self.0.plain { self.scalar(kind, text.to_string(), None) } else { self.unspelled(kind) }
    }

    fn scalar<E: Error>(self, kind: Kind, text: String, at: Option<usize>) -> Result<Node, E> {
        self.0.count(text.len())?;
        Ok(Node::Scalar(Scalar { kind, text, at }))
    }
}

impl<'t> DeserializeSeed<'t> for Shape<'_, 't> {
    type Value = Node;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Shape<'_, 't> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value, a list or a map")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.scalar(Kind::Null, String::new(), None)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Node, E> {
        self.spelled(Kind::Bool, truth)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
        self.spelled(Kind::Number, number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        // Only `-0` comes here without being negative.
        if number < 0 { self.spelled(Kind::Number, number) } else { self.unspelled(Kind::Number) }
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Node, E> {
        self.unspelled(Kind::Number)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Node, E> {
        self.unspelled(Kind::Number)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Node, E> {
        self.unspelled(Kind::Number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        self.scalar(Kind::Text, text.to_owned(), None)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'t str) -> Result<Node, E> {
        self.scalar(Kind::Text, text.to_owned(), self.0.place(text))
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut seq: A) -> Result<Node, A::Error> {
        self.0.count(0)?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Node, A::Error> {
        self.0.count(0)?;
        let mut entries = Vec::new();
        while let Some((key, at)) = map.next_key_seed(Key(self.0))? {
            let value = map.next_value_seed(self)?;
            entries.push(Entry { key, at, value });
        }
        Ok(Node::Map(entries))
    }

    fn visit_enum<A: serde::de::EnumAccess<'t>>(self, _: A) -> Result<Node, A::Error> {
        Err(self.0.refuse("a tag such as `!name` means nothing here".to_owned()))
    }
}

/// A scalar as it is spelled, with its place.
struct Key<'r, 't>(&'r Reading<'t>);

impl<'t> DeserializeSeed<'t> for Key<'_, 't> {
    type Value = (String, Option<usize>);

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'t> Visitor<'t> for Key<'_, 't> {
    type Value = (String, Option<usize>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PLAIN_KEY)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        self.0.count(text.len())?;
        Ok((text.to_owned(), None))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'t str) -> Result<Self::Value, E> {
        self.0.count(text.len())?;
        Ok((text.to_owned(), self.0.place(text)))
    }
}

/// The second reading: fills the spelling into the tree of the first.
struct Spelling<'n, 'r, 't> {
    node: &'n mut Node,
    reading: &'r Reading<'t>,
}

impl<'t> DeserializeSeed<'t> for Spelling<'_, '_, 't> {
    type Value = ();

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.node {
            Node::Scalar(Scalar { kind: Kind::Bool | Kind::Number, text, at }) => {
                (*text, *at) = Key(self.reading).deserialize(deserializer)?;
                Ok(())
            }
            Node::Scalar(_) => IgnoredAny::deserialize(deserializer).map(drop),
            Node::List(_) => deserializer.deserialize_seq(self),
            Node::Map(_) => deserializer.deserialize_map(self),
        }
    }
}

impl<'t> Visitor<'t> for Spelling<'_, '_, 't> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the same as at the first reading")
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut seq: A) -> Result<(), A::Error> {
        if let Node::List(items) = self.node {
            for node in items {
                seq.next_element_seed(Spelling { node, reading: self.reading })?;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<(), A::Error> {
        if let Node::Map(entries) = self.node {
            for entry in entries {
                map.next_key::<IgnoredAny>()?;
                map.next_value_seed(Spelling { node: &mut entry.value, reading: self.reading })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> (Kind, String, Option<usize>) {
        match read(text) {
            Ok(Node::Scalar(Scalar { kind, text, at })) => (kind, text, at),
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn a_scalar_keeps_its_spelling_and_its_place() {
        for (text, kind, spelled, at) in [
            ("1.10", Kind::Number, "1.10", Some(0)),
            ("0755", Kind::Text, "0755", Some(0)),
            ("0x1F", Kind::Number, "0x1F", Some(0)),
            ("+5", Kind::Number, "+5", Some(0)),
            ("340282366920938463463374607431768211455", Kind::Number, "340282366920938463463374607431768211455", Some(0)),
            ("12:30:45", Kind::Text, "12:30:45", Some(0)),
            ("True", Kind::Bool, "True", Some(0)),
            ("no", Kind::Text, "no", Some(0)),
            ("~", Kind::Null, "", None),
            ("", Kind::Null, "", None),
            ("# nothing\n", Kind::Null, "", None),
            ("\"5\"", Kind::Text, "5", Some(0)),
            ("  'a b'", Kind::Text, "a b", Some(2)),
            ("''", Kind::Text, "", Some(0)),
            ("\"a\\tb\"", Kind::Text, "a\tb", None),
            ("!!str 5", Kind::Text, "5", Some(6)),
            ("\u{feff}5", Kind::Number, "5", Some(3)),
        ] {
            assert_eq!(scalar(text), (kind, spelled.to_owned(), at), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_piece_of_the_text_has_no_place() {
        let all = "abcdef";
        let (values, bytes, respell, refusal) = Default::default();
        let reading = Reading { text: &all[2..4], plain: true, values, bytes, respell, refusal };
        for (piece, place) in [(0..1, None), (2..3, Some(0)), (3..4, Some(1)), (5..6, None)] {
            assert_eq!(reading.place(&all[piece.clone()]), place, "{piece:?}");
        }
    }

    #[test]
    fn skimming_tells_the_same_words() {
        fn words(node: &Node) -> Vec<(Kind, &str)> {
            match node {
                Node::Scalar(scalar) => vec![(scalar.kind, &scalar.text)],
                Node::List(items) => items.iter().flat_map(words).collect(),
                Node::Map(entries) => entries.iter().flat_map(|entry| words(&entry.value)).collect(),
            }
        }
        for text in [
            "[5, -5, 0, -0, 00, true, false, no, ~, x, 1.10, 1e3, .5, 18446744073709551615, 18446744073709551616]",
            "[-0, 5]",
            "[0x1F, 5]",
            "[0o17, 5]",
            "[0b11, 5]",
            "[+5, 5]",
            "[True, true]",
            "[FALSE, false]",
            "{a: {b: [-0.0, -7]}}",
            "[!!int \"5\", !!bool \"true\", !!float 1]",
        ] {
            let (skimmed, read) = (skim(text).expect(text), read(text).expect(text));
            assert_eq!(words(&skimmed), words(&read), "{text}");
        }
    }

    #[test]
    fn a_map_keeps_order_and_duplicates() {
        let Ok(Node::Map(entries)) = read("b: 1\na: [x, 2]\nb: {c: 3}\n5: true\n") else { panic!("no map") };
        let keys: Vec<_> = entries.iter().map(|e| (e.key.as_str(), e.at)).collect();
        assert_eq!(keys, [("b", Some(0)), ("a", Some(5)), ("b", Some(15)), ("5", Some(25))]);
    }

    #[test]
    fn aliases_are_read_like_what_they_name() {
        let Ok(Node::Map(entries)) = read("a: &x [1.10, b]\nc: *x\n") else { panic!("no map") };
        assert_eq!(entries[0].value, entries[1].value);
    }

    /// G07: one document. G09: bombs and depths.
    #[test]
    fn what_is_no_single_document_of_plain_values() {
        let deep = "[".repeat(100_000);
        let maps = "{a: ".repeat(250_000);
        let braces = "{".repeat(500_000);
        let tagged = format!("!x {}", "[".repeat(500_000));
        let hidden = format!("# {}\na: '{}'\nb: {}", "[".repeat(10_000), "[".repeat(10_000), "{a: [".repeat(100_000));
        let quoted = format!("a: '{}'\n", "[".repeat(500_000));
        // Brackets in a quoted text are no depth.
        let odd = format!("{{a: \"{}\"\n", "[".repeat(2000));
        let bomb: String = ('b'..='j').fold("a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, name| {
            let before = char::from(name as u8 - 1);
            text + &format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(", "))
        });
        let wide = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(50_000), "*a,".repeat(50_000));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a,".repeat(50_000));
        for (text, place, message) in [
            ("a: 1\n---\nb: 2\n", Some((3, 1)), "second document"),
            ("a: !x 1\n", Some((1, 4)), "a tag such as"),
            ("a: !x {b: 1}\n", Some((1, 4)), "a tag such as"),
            ("? [a]\n: b\n", Some((1, 3)), "a plain word as key"),
            ("a: *b\n", Some((1, 4)), "unknown anchor"),
            ("a: [1\nb: 2\n", Some((2, 2)), "not valid YAML"),
            ("a:\n\tb: 1\n", Some((2, 1)), "indent with spaces, not tabs"),
            ("a: 1\nbé: \u{0}\n", Some((2, 5)), "found the control character U+0000"),
            ("a: \u{9b}2J\n", Some((1, 4)), "found the control character U+009B"),
            (deep.as_str(), Some((1, 129)), "128 levels"),
            (maps.as_str(), Some((1, 513)), "128 levels"),
            (braces.as_str(), Some((1, 2)), "a plain word as key"),
            (tagged.as_str(), Some((1, 1)), "a tag such as"),
            (hidden.as_str(), None, "128 levels"),
            (quoted.as_str(), Some((1, 40_133)), "more than 40128 brackets"),
            (odd.as_str(), Some((2, 1)), "while parsing a flow mapping"),
            (bomb.as_str(), None, "aliases of aliases"),
            (wide.as_str(), None, "more than 200000 values"),
            (long.as_str(), None, "more than 4194304 bytes"),
        ] {
            let wrong = read(text).expect_err(&text[..text.len().min(40)]);
            assert!(wrong.message.contains(message), "{:?}: {wrong:?}", &text[..text.len().min(40)]);
            if place.is_some() {
                assert_eq!(wrong.place, place, "{:?}: {wrong:?}", &text[..text.len().min(40)]);
            }
        }
    }
}
