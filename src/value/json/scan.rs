//! The marks of JSON, without types.

use super::border::{Flaw, give_up};

/// Tables and lists in each other: what is deeper is refused, so that no text can use up the stack.
const MAX_DEPTH: u8 = 128;

/// Which bytes of a string do not stand for themselves. A table: most bytes of a text are looked at here.
static ENDS_RUN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

/// A place in a text.
pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
    depth: u8,
    /// What comes next is the key of a table, up to and with its colon: a string, also where a number is wanted.
    pub(super) is_key: bool,
    /// The last string, where it is not in the text as it is.
    unescaped: String,
}

/// So many digits always fit into 64 bits.
const MAX_EXACT: usize = 19;

/// A number as it stands in the text, or what it is where that is whole, from 0 on and of no more than [`MAX_EXACT`] digits, as
/// nearly every one is.
enum Digits<'t> {
    Whole(u64),
    Text(&'t str),
}

/// A number.
pub(super) enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

fn flaw(what: &str) -> ! {
    give_up(format_args!("{what}"))
}

impl<'t> Scanner<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self { text, at: 0, depth: 0, is_key: false, unescaped: String::new() }
    }

    /// Nothing may follow.
    pub(super) fn end(&mut self) {
        if self.peek() != 0 || self.at < self.text.len() {
            self.unexpected("the end");
        }
    }

    /// A flaw with its place.
    pub(super) fn placed(&self, flaw: &Flaw) -> Flaw {
        let before = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
        Flaw(format!("{flaw} at line {line} column {column}"))
    }

    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// The first byte of what comes next, 0 at the end.
    pub(super) fn peek(&mut self) -> u8 {
        loop {
            match self.byte() {
                b' ' | b'\n' | b'\t' | b'\r' => self.at += 1,
                byte => return byte,
            }
        }
    }

    /// Passes a byte if it is the next, without a look beyond white space.
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.byte() == byte;
        self.at += usize::from(found);
        found
    }

    fn unexpected(&mut self, wanted: &str) -> ! {
        let found = match self.peek() {
            0 if self.at >= self.text.len() => "the end",
            b'{' => "an object",
            b'[' => "a list",
            b'"' => "a string",
            b't' | b'f' => "a boolean",
            b'n' => "null",
            b'-' | b'0'..=b'9' => "a number",
            _ => "something else",
        };
        give_up(format_args!("expected {wanted}, found {found}"))
    }

    fn take(&mut self, byte: u8, name: &str) {
        if !self.eat(byte) {
            self.peek();
            if !self.eat(byte) {
                self.unexpected(name);
            }
        }
    }

    pub(super) fn open(&mut self, bracket: u8) {
        self.take(bracket, if bracket == b'{' { "an object" } else { "a list" });
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            flaw("objects and lists are nested too deeply");
        }
    }

    /// The end of what [`Self::open`] began.
    pub(super) fn close(&mut self, bracket: u8) {
        self.depth -= 1;
        self.take(bracket, if bracket == b'}' { "`}`" } else { "`]`" });
    }

    /// Passes what is left of a list of which something was read, and its end.
    pub(super) fn rest(&mut self) {
        while self.element(&mut false) {
            self.skip();
        }
        self.close(b']');
    }

    /// Whether another element of a list follows.
    pub(super) fn element(&mut self, is_first: &mut bool) -> bool {
        self.another(b']', is_first)
    }

    /// Whether another entry of a table follows; its key is to be read next, its value after that.
    pub(super) fn key(&mut self, is_first: &mut bool) -> bool {
        self.is_key = self.another(b'}', is_first);
        if self.is_key && self.peek() != b'"' {
            self.unexpected("a key in quotes");
        }
        self.is_key
    }

    fn another(&mut self, closing: u8, is_first: &mut bool) -> bool {
        if self.peek() == closing {
            return false;
        }
        if !std::mem::take(is_first) {
            self.take(b',', if closing == b'}' { "`,` or `}`" } else { "`,` or `]`" });
            if self.peek() == closing {
                flaw("trailing comma");
            }
        }
        true
    }

    /// Begins one of several: whether it is a table with the word as its key.
    pub(super) fn choice(&mut self) -> bool {
        match self.peek() {
            b'{' => {
                self.open(b'{');
                if self.key(&mut true) { true } else { self.unexpected("a word") }
            }
            b'"' => false,
            _ => self.unexpected("a word or an object of one word"),
        }
    }

    fn literal(&mut self, word: &str) -> bool {
        let found = self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes()));
        if found {
            self.at += word.len();
        }
        found
    }

    pub(super) fn null(&mut self) {
        self.peek();
        if !self.literal("null") {
            self.unexpected("null");
        }
    }

    pub(super) fn bool(&mut self) -> bool {
        self.peek();
        if self.literal("true") {
            true
        } else if self.literal("false") {
            false
        } else {
            self.unexpected("a boolean")
        }
    }

    /// A string.
    pub(super) fn word(&mut self) -> &str {
        self.take(b'"', "a string");
        let (start, end) = (self.at, self.run());
        let is_plain = self.byte() == b'"';
        if !is_plain {
            self.unescaped.clear();
            self.unescaped.push_str(self.text.get(start..end).unwrap_or_default());
            while self.byte() == b'\\' {
                let letter = self.escape();
                self.unescaped.push(letter);
                let (from, to) = (self.at, self.run());
                self.unescaped.push_str(self.text.get(from..to).unwrap_or_default());
            }
        }
        self.end_word();
        if is_plain { self.text.get(start..end).unwrap_or_default() } else { &self.unescaped }
    }

    /// Passes a string.
    fn skip_word(&mut self) {
        self.take(b'"', "a string");
        self.run();
        while self.byte() == b'\\' {
            self.escape();
            self.run();
        }
        self.end_word();
    }

    fn end_word(&mut self) {
        self.at += 1;
        if std::mem::take(&mut self.is_key) {
            self.take(b':', "`:`");
        }
    }

    /// A string of one's own.
    pub(super) fn string(&mut self) -> String {
        self.word().to_owned()
    }

    /// Passes the part of a string that is as it stands, and says where it ends: at a quote or a backslash.
    fn run(&mut self) -> usize {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| ENDS_RUN[usize::from(*byte)]);
        self.at += length.unwrap_or(rest.len());
        match self.byte() {
            b'"' | b'\\' => self.at,
            _ if length.is_none() => flaw("a string does not end"),
            _ => flaw("a control character in a string"),
        }
    }

    fn escape(&mut self) -> char {
        self.at += 1;
        let letter = self.byte();
        self.at += 1;
        match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => self.code_point(),
            _ => flaw("an unknown escape in a string"),
        }
    }

    fn code_point(&mut self) -> char {
        let first = self.hex();
        let point = match first {
            0xd800..0xdc00 if self.literal("\\u") => match self.hex() {
                second @ 0xdc00..0xe000 => 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                _ => first,
            },
            _ => first,
        };
        char::from_u32(point).unwrap_or_else(|| flaw("half a character in an escape"))
    }

    fn hex(&mut self) -> u32 {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        value.unwrap_or_else(|| flaw("`\\u` needs four digits"))
    }

    pub(super) fn number(&mut self) -> Number {
        if std::mem::take(&mut self.is_key) {
            return self.number_in_quotes();
        }
        self.peek();
        let text = match self.digits() {
            Digits::Whole(number) => return Number::Unsigned(number),
            Digits::Text(text) => text,
        };
        let is_whole = !text.contains(['.', 'e', 'E']);
        if is_whole && let Ok(number) = text.parse() {
            return Number::Unsigned(number);
        }
        if is_whole
            && text != "-0"
            && let Ok(number) = text.parse()
        {
            return Number::Signed(number);
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Number::Float(number),
            _ => flaw("number out of range"),
        }
    }

    /// The key of a table of numbers: no more than digits, as this program writes them.
    fn number_in_quotes(&mut self) -> Number {
        self.is_key = true;
        let number = self.word().parse().map(Number::Unsigned);
        number.unwrap_or_else(|_| flaw("a key is not a number"))
    }

    /// Passes a number as JSON's grammar has it.
    fn digits(&mut self) -> Digits<'t> {
        let start = self.at;
        let is_negative = self.eat(b'-');
        let mut whole = 0;
        if !self.eat(b'0') {
            whole = self.some_digits();
        }
        if !is_negative && self.at - start <= MAX_EXACT && !matches!(self.byte(), b'.' | b'e' | b'E') {
            return Digits::Whole(whole);
        }
        if self.eat(b'.') {
            self.some_digits();
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.some_digits();
        }
        Digits::Text(self.text.get(start..self.at).unwrap_or_default())
    }

    /// At least one; what they stand for, if they are no more than [`MAX_EXACT`].
    fn some_digits(&mut self) -> u64 {
        if !self.byte().is_ascii_digit() {
            self.unexpected("a number");
        }
        let mut value = 0_u64;
        while let digit @ b'0'..=b'9' = self.byte() {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        value
    }

    pub(super) fn unsigned(&mut self) -> u64 {
        match self.number() {
            Number::Unsigned(number) => number,
            _ => flaw("expected a whole number from 0 on"),
        }
    }

    pub(super) fn signed(&mut self) -> i64 {
        match self.number() {
            Number::Unsigned(number) => number.try_into().unwrap_or_else(|_| flaw("number out of range")),
            Number::Signed(number) => number,
            Number::Float(_) => flaw("expected a whole number"),
        }
    }

    pub(super) fn float(&mut self) -> f64 {
        match self.number() {
            Number::Unsigned(number) => number as f64,
            Number::Signed(number) => number as f64,
            Number::Float(number) => number,
        }
    }

    /// Passes one value, whatever it is, and gives its text.
    pub(super) fn skip(&mut self) -> &'t str {
        let first = self.peek();
        let start = self.at;
        match first {
            b'{' | b'[' => {
                self.open(first);
                let (is_table, mut is_first) = (first == b'{', true);
                while if is_table { self.key(&mut is_first) } else { self.element(&mut is_first) } {
                    if is_table {
                        self.skip_word();
                    }
                    self.skip();
                }
                self.depth -= 1;
                self.at += 1;
            }
            b'"' => self.skip_word(),
            b't' | b'f' => {
                self.bool();
            }
            b'n' => self.null(),
            b'-' | b'0'..=b'9' => {
                self.digits();
            }
            _ => self.unexpected("a value"),
        }
        self.text.get(start..self.at).unwrap_or_default()
    }
}
