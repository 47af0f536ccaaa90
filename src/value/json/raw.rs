//! JSON that goes on as it came.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The text of one JSON value, checked to be one. Only this module's reader and writer know it.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw(Box<str>);

impl Raw {
    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        &self.0
    }

    /// Text that is known to be JSON.
    pub(super) fn trusted(text: &str) -> Self {
        Self(text.into())
    }

    /// The data of an enum's variant, written down without the variant's name: DATA of `{"NAME":DATA}`.
    ///
    /// # Errors
    ///
    /// It cannot be written as JSON, or has no data.
    pub fn of_variant<T: Serialize>(value: &T) -> Result<Self, super::Unwritable> {
        let text = super::to_string(value)?;
        let inside = text.strip_prefix("{\"").and_then(|rest| rest.strip_suffix('}'));
        let data = inside.and_then(|inside| inside.split_once("\":")).ok_or(super::Unwritable)?.1;
        Ok(Self::trusted(data))
    }

    /// A value, written down.
    ///
    /// # Errors
    ///
    /// It cannot be written as JSON.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, super::Unwritable> {
        super::to_string(value).map(|text| Self(text.into()))
    }
}

impl Default for Raw {
    fn default() -> Self {
        Self::trusted("null")
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// There are no bytes in JSON, so they stand for text of it, here and in [`Raw::deserialize`].
impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Raw, E> {
                Ok(Raw::trusted(text))
            }
        }
        deserializer.deserialize_bytes(Text)
    }
}
