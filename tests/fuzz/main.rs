//! What comes from outside is thrown at its parsers, changed at random: none may panic, and none may take long.
//!
//! A second for each target; `SECTION3_FUZZ_SECONDS` sets another time (`tests/run --long`: a minute). `SECTION3_FUZZ_SEED` begins
//! elsewhere; a failure prints seed and round, with which it can be had again.
#![cfg(feature = "update")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use section3::update::manifest::Manifest;
use section3::update::record::Record;
use section3::update::signature::{Keys, Signature, Statement};
use section3::update::source::Written;
use section3::value::json;
use serde_json::Value;

/// The longest that one input may take, on a machine that is busy with other things too.
const LONGEST: Duration = Duration::from_secs(10);

/// A sequence of numbers that is the same for the same seed: SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }
}

/// Pieces that parsers trip over.
const PIECES: &[&str] = &[
    "",
    "\0",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "-",
    "--",
    "---",
    "...",
    "#",
    "&a ",
    "*a",
    "<<",
    "!!str ",
    "|",
    ">",
    "%",
    "@",
    "`",
    "~",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "9999999999999999999999",
    "0x7f",
    "\u{feff}",
    "\u{202e}",
    "\u{1b}[2J",
    "=",
    "==",
    "=====",
    "ED",
    "Ed",
    "RW",
    "RU",
    "untrusted comment: ",
    "trusted comment: ",
    "version",
    "sha256=",
    "product=section3",
    "2026-01-01T00:00:00Z",
    "99999.99999.99999",
];

fn changed(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len() + 1);
        let to = (at + dice.below(40)).min(bytes.len());
        match dice.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = dice.roll() as u8,
            2 => drop(bytes.drain(at..to)),
            3 => bytes.truncate(at),
            4 => {
                let piece = bytes[at..to].to_vec();
                let times = 1 + dice.below(200);
                bytes.splice(at..at, piece.repeat(times));
            }
            5 => {
                let other = &seeds[dice.below(seeds.len())];
                let from = dice.below(other.len() + 1);
                bytes.splice(at..to, other[from..].iter().copied());
            }
            _ => {
                let piece = PIECES[dice.below(PIECES.len())].as_bytes();
                let times = if dice.below(20) == 0 { dice.below(20_000) } else { 1 };
                bytes.splice(at..at, piece.repeat(times));
            }
        }
        bytes.truncate(200_000);
    }
    bytes
}

#[allow(clippy::disallowed_methods, reason = "the time given to each target; no verdict on the program but \"not for ever\"")]
fn now() -> Instant {
    Instant::now()
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Throws changed seeds at a target for as long as it has.
fn fuzz(seeds: &[&[u8]], target: impl Fn(&[u8])) {
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
    let (seconds, seed) = (number("SECTION3_FUZZ_SECONDS", 1), number("SECTION3_FUZZ_SEED", 1));
    let end = now() + Duration::from_secs(seconds);
    let mut round = 0_u64;
    while now() < end {
        let mut dice = Dice(seed.wrapping_mul(1_000_003).wrapping_add(round));
        let bytes = changed(&seeds, &mut dice);
        let began = now();
        let result = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
        let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned();
        assert!(result.is_ok(), "seed {seed} round {round}: it panics on {:?}", shown());
        assert!(now() - began < LONGEST, "seed {seed} round {round}: it takes {:?} on {:?}", now() - began, shown());
        round += 1;
    }
    println!("{round} rounds");
    assert!(round > 10);
}

const MANIFEST: &[u8] = br#"{"v":1,"product":"section3","version":"0.2.0","published":"2026-01-01T00:00:00Z","expires":"2026-07-01T00:00:00Z","targets":{"linux-amd64":{"file":"section3-linux-amd64","size":4200000,"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}}"#;
const KEY: &str = "RWRYMke8fpOwfnSwfwot6Ic/ecqWeM/1W1YGuqJdm1+sNqDK9ugmoE7s";
const SIGNATURE: &[u8] = include_bytes!("../../src/update/testdata/hello.minisig");
const LEGACY: &[u8] = include_bytes!("../../src/update/testdata/hello.legacy");

#[test]
fn manifests() {
    fuzz(&[MANIFEST, b"{}", b"[[[[[[[["], |bytes| {
        if let Err(said) = Manifest::parse(bytes) {
            assert!(!said.contains(|c: char| c.is_control()), "{said:?}");
        }
    });
}

/// What the program before this one left, with everything in it that services and clients wrote.
#[test]
fn states() {
    let golden = include_bytes!("../fixtures/handover/1.json");
    assert_eq!(section3::daemon::fits(golden), Ok(()));
    fuzz(&[golden, b"{}"], |bytes| drop(section3::daemon::fits(bytes)));
}

#[test]
fn signature_files() {
    let keys = Keys::parse(&[KEY]).expect("a key");
    fuzz(&[SIGNATURE, LEGACY], |bytes| {
        let Ok(signature) = Signature::parse(bytes) else { return };
        if let Ok(statement) = keys.verify(&b"hello\n"[..], &signature) {
            // Nothing that a signature covers can be changed unseen.
            assert_eq!(statement.version.to_string(), "0.2.0");
            assert_eq!(statement.target, "linux-amd64");
        }
        assert!(keys.verify(&b"hello"[..], &signature).is_err());
    });
}

#[test]
fn statements_and_keys() {
    let comment = "product=section3 version=0.2.0 target=linux-amd64 sha256=5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    fuzz(&[comment.as_bytes(), KEY.as_bytes()], |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = (Statement::parse(&text), Keys::parse(&[&text]));
    });
}

#[test]
fn release_yml() {
    let good = format!("url: https://example.org/section3\nkeys:\n  - {KEY}\n  - {KEY}\n");
    fuzz(&[good.as_bytes(), b"url: 'a'\nkeys: [a, b]\n", b"a: &x [1]\nb: *x\n"], |bytes| {
        let _ = Written::parse(&String::from_utf8_lossy(bytes));
    });
}

#[test]
fn records() {
    let good = br#"{"newest":"0.2.0","known":[{"version":"0.1.0","sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}]}"#;
    fuzz(&[good], |bytes| drop(json::from_slice::<Record>(bytes)));
}

/// Our reader of JSON takes what serde_json takes, for the same, and nothing else.
#[test]
fn json_as_serde_json_reads_it() {
    let golden = include_bytes!("../fixtures/handover/1.json");
    let odd = r#"[1e5,-0,-0.5E-3,18446744073709551616,"\ud83d\ude00\u00e9\né",{"a":{"a":null}},true,[],{}, ""]"#;
    fuzz(&[golden, MANIFEST, odd.as_bytes(), br#""\u12"#, br#"{"a":1,"a":2}"#], |bytes| {
        let (ours, theirs) = (json::from_slice::<Value>(bytes), serde_json::from_slice::<Value>(bytes));
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => {
                assert!(same(ours, theirs), "{ours} is not {theirs}");
                let written = json::to_string(ours).expect("JSON");
                assert!(same(&serde_json::from_str(&written).expect("JSON"), ours), "{written}");
                let text = std::str::from_utf8(bytes).expect("UTF-8");
                assert_eq!(json::Raw::parse(text).expect("JSON").get(), text.trim_matches([' ', '\n', '\t', '\r']));
            }
            (Err(_), Err(_)) => {}
            _ => panic!("{ours:?} is not {theirs:?}"),
        }
    });
}

/// serde_json's own reading of fractions may be one off in the last place.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same(a, b)),
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() && other.is_f64() => {
            let (one, other) = (one.as_f64().unwrap_or(f64::NAN), other.as_f64().unwrap_or(f64::NAN));
            (one - other).abs() <= one.abs() * f64::EPSILON
        }
        _ => one == other,
    }
}
