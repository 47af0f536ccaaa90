//! Parts of events that are read back by the next image of the program in another way than serde would.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::value::{ExitStatus, Signal};

/// A word of the program's own. By another name than `&str`, which serde could only borrow from what it reads.
pub type Word = &'static str;

/// Reads a [`Word`] that an earlier image of the program wrote down. Words are few and repeat, so each is kept once, for good.
///
/// # Errors
///
/// It is no string.
pub fn known_word<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    static KNOWN: Mutex<BTreeSet<Word>> = Mutex::new(BTreeSet::new());
    let text = Cow::<str>::deserialize(deserializer)?;
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(known.get(&*text).copied().unwrap_or_else(|| {
        let word: Word = Box::leak(text.into_owned().into_boxed_str());
        known.insert(word);
        word
    }))
}

/// `code`, or `signal` and `core`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedBy(pub ExitStatus);

impl Serialize for EndedBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            ExitStatus::Code(code) => map.serialize_entry("code", &code)?,
            ExitStatus::Signal { signal, core } => {
                map.serialize_entry("signal", &signal)?;
                map.serialize_entry("core", &core)?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for EndedBy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Written {
            code: Option<u8>,
            signal: Option<Signal>,
            #[serde(default)]
            core: bool,
        }
        match Written::deserialize(deserializer)? {
            Written { code: Some(code), signal: None, .. } => Ok(Self(ExitStatus::Code(code))),
            Written { code: None, signal: Some(signal), core } => Ok(Self(ExitStatus::Signal { signal, core })),
            Written { .. } => Err(serde::de::Error::custom("an end is either a code or a signal")),
        }
    }
}

/// Data of any form. By way of a value: as raw text it could not be read where the type comes after it.
pub(super) fn free<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Arc<RawValue>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    serde_json::value::to_raw_value(&value).map(Arc::from).map_err(serde::de::Error::custom)
}
