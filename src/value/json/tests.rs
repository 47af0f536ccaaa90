use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::*;

/// Texts of every kind, right and wrong: what serde_json says of each is what is expected here.
const TEXTS: &[&str] = &[
    "",
    " ",
    "null",
    " true ",
    "false",
    "nul",
    "truely",
    "0",
    "-0",
    "-1",
    "01",
    "1.",
    "1.5",
    "-1.5e3",
    "1e5",
    "1E+2",
    "1e",
    "-",
    "+1",
    ".5",
    "1000000000000000000",
    "9999999999999999999",
    "10000000000000000000",
    "9999999999999999999.5",
    "18446744073709551615",
    "18446744073709551616",
    "00",
    "0.5",
    "0e1",
    "-7.",
    "36893488147419103232",
    "-9223372036854775808",
    "-9223372036854775809",
    "1e400",
    "1e-400",
    "\"\"",
    "\"a\"",
    "\"a",
    "\"a\\\"b\\\\c\\/\\b\\f\\n\\r\\t\"",
    "\"\\u00e9\\u20ac\\ud83d\\ude00 é€😀\"",
    "\"\\ud83d\"",
    "\"\\ud83dx\"",
    "\"\\ud83d\\u0041\"",
    "\"\\ude00\"",
    "\"\\u12\"",
    "\"\\u+123\"",
    "\"\\u12é\"",
    "\"\\x\"",
    "\"\\é\"",
    "\"\\",
    "\"tab\there\"",
    "\"nul\\u0000\"",
    "[]",
    "[ ]",
    "[1]",
    "[1,2 , 3]",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[",
    "[1",
    "[1}",
    "]",
    "{}",
    "{ }",
    "{\"a\":1}",
    "{ \"a\" : [ { \"b\" : null } ] , \"c\" : {} }",
    "{\"a\":1,}",
    "{\"a\" 1}",
    "{\"a\":}",
    "{\"a\"}",
    "{a:1}",
    "{1:1}",
    "{\"a\":1]",
    "{\"a\":1,\"a\":2}",
    "{\"a\\n\":1}",
    "{} {}",
    "{}x",
    "\u{feff}{}",
    "/* */ 1",
    "NaN",
    "\0",
    "1\0",
];

#[test]
fn it_reads_what_serde_json_reads() {
    for text in TEXTS {
        let (ours, theirs) = (from_str::<Value>(text), serde_json::from_str::<Value>(text));
        assert_eq!(ours.as_ref().ok(), theirs.as_ref().ok(), "{text:?}: {ours:?}, {theirs:?}");
        // A number out of range is no number, and as text it goes on.
        assert!(Raw::parse(text).is_ok() == theirs.is_ok() || *text == "1e400", "{text:?} as it stands");
    }
    assert!(from_slice::<Value>(b"\"\xff\"").is_err());
}

#[test]
fn it_writes_what_serde_json_writes() {
    for value in TEXTS.iter().filter_map(|text| serde_json::from_str::<Value>(text).ok()) {
        assert_eq!(to_string(&value).unwrap(), serde_json::to_string(&value).unwrap());
        assert_eq!(to_value(&value).unwrap(), value);
    }
    let controls: String = (0..=0x7f_u8).map(char::from).collect();
    assert_eq!(to_string(&controls).unwrap(), serde_json::to_string(&controls).unwrap());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct All {
    flag: bool,
    small: i8,
    large: u64,
    real: f64,
    letter: char,
    none: Option<u8>,
    some: Option<u8>,
    unit: (),
    pair: (u8, String),
    list: Vec<Choice>,
    numbers: BTreeMap<u32, i64>,
    words: BTreeMap<String, Wrapped>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    absent: Vec<u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Wrapped(f32);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Choice {
    Nothing,
    One(u8),
    Two(u8, u8),
    Named { a: u8 },
}

fn all() -> All {
    All {
        flag: true,
        small: -5,
        large: u64::MAX,
        real: 0.1,
        letter: 'é',
        none: None,
        some: Some(3),
        unit: (),
        pair: (1, "a\"b\u{1}".to_owned()),
        list: vec![Choice::Nothing, Choice::One(1), Choice::Two(1, 2), Choice::Named { a: 9 }],
        numbers: [(7, -7), (8, 8)].into(),
        words: [("a b".to_owned(), Wrapped(1.5))].into(),
        absent: vec![],
    }
}

#[test]
fn types_come_back() {
    let text = to_string(&all()).unwrap();
    assert_eq!(text, serde_json::to_string(&all()).unwrap());
    assert_eq!(from_str::<All>(&text).unwrap(), all());
    let spread = serde_json::to_string_pretty(&all()).unwrap();
    assert_eq!(from_str::<All>(&spread).unwrap(), all());
    assert_eq!(from_str::<Choice>(r#"{"nothing":null}"#).unwrap(), Choice::Nothing);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
struct Fields {
    first: u8,
    inner: Option<Shape>,
    #[serde(default)]
    last: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "[]")]
enum Shape {
    Point,
    Box { width: u8, height: u8 },
    Named(String),
}

#[test]
fn fields_of_a_list_have_no_names() {
    let whole = Fields { first: 1, inner: Some(Shape::Box { width: 2, height: 3 }), last: "x".to_owned() };
    let text = to_string(&whole).unwrap();
    assert_eq!(text, r#"[1,{"Box":[2,3]},"x"]"#);
    for (text, read) in [
        (text.as_str(), whole),
        ("[1,\"Point\"]", Fields { first: 1, inner: Some(Shape::Point), last: String::new() }),
        (
            "[1,{\"Named\":\"n\"},\"\",{\"new\":[1]},null]",
            Fields { first: 1, inner: Some(Shape::Named("n".to_owned())), last: String::new() },
        ),
    ] {
        assert_eq!(from_str::<Fields>(text).unwrap(), read, "{text}");
    }
    for (text, said) in [
        ("{\"first\":1}", "expected a list, found an object at line 1 column 0"),
        ("[]", "invalid length 0, expected struct Fields with 3 elements at line 1 column 1"),
        ("[1,null,\"\" 5]", "expected `,` or `]`, found a number at line 1 column 11"),
        ("[1,{\"Box\":[2]}]", "invalid length 1, expected struct variant Shape::Box with 2 elements at line 1 column 12"),
    ] {
        assert_eq!(from_str::<Fields>(text).unwrap_err().to_string(), said, "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, said) in [
        ("", "expected a word or an object of one word, found the end at line 1 column 0"),
        ("7", "expected a word or an object of one word, found a number at line 1 column 0"),
        ("\"one\"", "the word needs data: {\"WORD\": DATA} at line 1 column 5"),
        ("{\"one\":\n -1}", "expected a whole number from 0 on at line 2 column 3"),
        ("{\"one\":256}", "invalid value: integer `256`, expected u8 at line 1 column 10"),
        ("{\"one\":1,\"two\":[1,2]}", "expected `}`, found something else at line 1 column 8"),
        ("{\"two\":[1,2,3]}", "expected `]`, found something else at line 1 column 11"),
        ("{\"named\":{}}", "missing field `a` at line 1 column 10"),
        ("{\"named\":{\"b\":1}}", "unknown field `b`, expected `a` at line 1 column 14"),
        ("{\"named\":{\"a\":1,\"a\":1}}", "duplicate field `a` at line 1 column 20"),
        ("{\"nothing\":1}", "expected null, found a number at line 1 column 11"),
        ("\"nothing\" 1", "expected the end, found a number at line 1 column 10"),
        ("{}", "expected a word, found something else at line 1 column 1"),
        ("\"more\"", "unknown variant `more`, expected one of `nothing`, `one`, `two`, `named` at line 1 column 6"),
    ] {
        assert_eq!(from_str::<Choice>(text).unwrap_err().to_string(), said, "{text}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(from_str::<Value>(&nested(127)).is_ok());
    for depth in [129, 100_000] {
        assert!(from_str::<Value>(&nested(depth)).unwrap_err().to_string().contains("too deeply"));
        assert!(Raw::parse(&nested(depth)).is_err());
        assert!(from_str::<Value>(&"{\"a\":".repeat(depth)).is_err());
    }
}

#[test]
fn raw_text_goes_on_as_it_came() {
    let pair: (Raw, u8) = from_str(" [ { \"a\" : 1.50 } , 2 ] ").unwrap();
    assert_eq!((pair.0.get(), pair.1), ("{ \"a\" : 1.50 }", 2));
    assert_eq!(to_string(&pair).unwrap(), "[{ \"a\" : 1.50 },2]");
    assert_eq!(Raw::of(&all()).unwrap().get(), to_string(&all()).unwrap());
    for text in ["", "{", "1 2", "[1,]", "tru"] {
        assert!(Raw::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_path_that_is_no_text_cannot_be_written() {
    use std::os::unix::ffi::OsStrExt;
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(b"/\xff"));
    assert!(to_string(&(1, path)).is_err());
}

#[test]
fn a_fault_in_reading_is_not_taken_for_a_flaw_of_the_text() {
    #[derive(Debug)]
    struct Faulty;
    impl<'de> Deserialize<'de> for Faulty {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            std::panic::resume_unwind(Box::new("planted"))
        }
    }
    let cause = std::panic::catch_unwind(|| from_str::<Faulty>("1")).unwrap_err();
    assert_eq!(cause.downcast_ref(), Some(&"planted"));
}
