//! Frames of an answer: one JSON object a line.
//!
//! `{"v":1,"ok":true,"data":...}` is a whole answer; `{"v":1,"item":...}` is one piece of a stream, which ends with
//! `{"v":1,"ok":true}` or with `{"v":1,"ok":false,"error":...}`. Answers have no bound on their length.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::request::VERSION;
use super::{Fault, FaultCode};
use crate::value::json::{self, Raw};

#[derive(Serialize)]
struct DataFrame<'a, T> {
    v: u64,
    ok: bool,
    data: &'a T,
}

#[derive(Serialize)]
struct ItemFrame<'a, T> {
    v: u64,
    item: &'a T,
}

#[derive(Serialize)]
struct FaultFrame<'a> {
    v: u64,
    ok: bool,
    error: &'a Fault,
}

/// A whole answer, its newline included.
#[must_use]
pub fn data<T: Serialize>(data: &T) -> String {
    frame(&DataFrame { v: VERSION, ok: true, data })
}

/// A piece of a stream, its newline included.
#[must_use]
pub fn item<T: Serialize>(item: &T) -> String {
    frame(&ItemFrame { v: VERSION, item })
}

/// The good end of a stream, its newline included.
#[must_use]
pub fn end() -> String {
    "{\"v\":1,\"ok\":true}\n".to_owned()
}

/// A refusal or failure, also the bad end of a stream; its newline included.
#[must_use]
pub fn fault(error: &Fault) -> String {
    frame(&FaultFrame { v: VERSION, ok: false, error })
}

fn frame<T: Serialize>(frame: &T) -> String {
    match json::to_string(frame) {
        Ok(mut line) => {
            line.push('\n');
            line
        }
        // Only a map with keys that are no strings can bring this about; the client still learns that it is over.
        Err(_) => "{\"v\":1,\"ok\":false,\"error\":{\"code\":\"internal\",\"message\":\"cannot write the answer as JSON\"}}\n"
            .to_owned(),
    }
}

/// One frame as a client reads it, with the data of an answer as `D`.
#[derive(Debug)]
pub enum Reply<D = Raw> {
    /// The answer, or the good end of a stream.
    Done(Option<D>),
    /// A piece of a stream.
    Item(Raw),
    /// A refusal or failure.
    Fault(Fault),
}

impl<D: DeserializeOwned> Reply<D> {
    /// Reads one line, with or without its line end. Keys that a newer supervisor adds are skipped.
    ///
    /// # Errors
    ///
    /// A fault of code `internal` where the line is no frame of this version.
    pub fn decode(line: &[u8]) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        struct Frame<D> {
            v: u64,
            ok: Option<bool>,
            data: Option<D>,
            item: Option<Raw>,
            error: Option<Fault>,
        }
        let Frame { v, ok, data, item, error } = json::from_slice(line).map_err(|error| unreadable(&error.to_string()))?;
        Ok(match judged(v, ok, item, error)? {
            Reply::Done(_) => Self::Done(data),
            Reply::Item(item) => Self::Item(item),
            Reply::Fault(fault) => Self::Fault(fault),
        })
    }
}

/// What of a frame is the same whatever its data is.
fn judged(v: u64, ok: Option<bool>, item: Option<Raw>, error: Option<Fault>) -> Result<Reply<()>, Fault> {
    match (ok, item, error) {
        _ if v != VERSION => Err(Fault::new(
            FaultCode::Internal,
            format!("the supervisor answers in version {v} of the protocol, this client speaks version {VERSION}"),
        )),
        (Some(true), ..) => Ok(Reply::Done(None)),
        // The other end's words are no more trusted than a log line.
        (Some(false), _, Some(error)) => {
            let safe = Fault::new(error.code, error.message);
            Ok(Reply::Fault(match error.hint {
                Some(hint) => safe.with_hint(hint),
                None => safe,
            }))
        }
        (_, Some(item), _) => Ok(Reply::Item(item)),
        _ => Err(unreadable("it has neither `ok` nor `item`")),
    }
}

/// Reads the data of an answer or an item of a stream.
///
/// # Errors
///
/// A fault of code `internal` where it is not what was expected.
pub fn read<T: DeserializeOwned>(raw: &Raw) -> Result<T, Fault> {
    json::from_str(raw.get()).map_err(|error| unreadable(&error.to_string()))
}

fn unreadable(why: &str) -> Fault {
    Fault::new(FaultCode::Internal, format!("cannot read the supervisor's answer: {why}"))
        .with_hint("client and supervisor may be of different versions: compare `section3 --version` with what the socket answers to `version`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_frames() {
        assert_eq!(data(&[1, 2]), "{\"v\":1,\"ok\":true,\"data\":[1,2]}\n");
        assert_eq!(item(&"a\nb"), "{\"v\":1,\"item\":\"a\\nb\"}\n");
        assert_eq!(end(), "{\"v\":1,\"ok\":true}\n");
        assert_eq!(
            fault(&Fault::unknown_service("wbe", ["web"])),
            "{\"v\":1,\"ok\":false,\"error\":{\"code\":\"unknown_service\",\"message\":\"no such service: `wbe`\",\
             \"hint\":\"did you mean `web`?\"}}\n"
        );
    }

    #[test]
    fn frames_are_read_back() {
        let Ok(Reply::Done(Some(raw))) = Reply::decode(data(&vec!["x"]).as_bytes()) else { panic!("no data") };
        assert_eq!(read::<Vec<String>>(&raw).unwrap(), ["x"]);
        assert!(read::<u32>(&raw).is_err());
        let Ok(Reply::Item(raw)) = Reply::<Raw>::decode(item(&7).as_bytes()) else { panic!("no item") };
        assert_eq!(read::<u32>(&raw).unwrap(), 7);
        assert!(matches!(Reply::<Raw>::decode(end().as_bytes()), Ok(Reply::Done(None))));
        let refusal = Fault::new(FaultCode::Busy, "a reload is under way");
        assert!(matches!(Reply::<Raw>::decode(fault(&refusal).as_bytes()), Ok(Reply::Fault(f)) if f == refusal));
    }

    #[test]
    fn frames_that_are_none() {
        for line in ["", "x", "{}", "[]", r#"{"v":1}"#, r#"{"v":2,"ok":true}"#, r#"{"v":1,"ok":false}"#] {
            assert!(Reply::<Raw>::decode(line.as_bytes()).is_err(), "{line}");
        }
        // A newer supervisor may say more.
        assert!(matches!(Reply::<Raw>::decode(br#"{"v":1,"ok":true,"took_ms":3}"#), Ok(Reply::Done(None))));
    }

    #[test]
    fn the_other_end_cannot_move_the_cursor() {
        let line = br#"{"v":1,"ok":false,"error":{"code":"failed","message":"\u001b[2Jx"}}"#;
        assert!(matches!(Reply::<Raw>::decode(line), Ok(Reply::Fault(f)) if f.message == r"\x1b[2Jx"));
    }
}
