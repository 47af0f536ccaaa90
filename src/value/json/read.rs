//! From JSON to types.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Visitor};

use super::Raw;
use super::scan::{Number, Scanner};

/// Why a text is not JSON, or not what was expected.
#[derive(Debug)]
pub struct Flaw(pub(super) String);

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Flaw {}

/// The error of what serde compiles for each type: there is none. A flaw unwinds to [`scan`] instead, past all that was read
/// before it. As a value it would be looked at behind each field of each struct, and each such place would give up all fields
/// before it by code of its own, which is there for unwinding already: a third of the code of every type.
#[derive(Debug)]
pub(super) enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

impl de::Error for Never {
    fn custom<T: fmt::Display>(what: T) -> Self {
        give_up(format_args!("{what}"))
    }
}

/// Ends the reading. No panic: nothing is reported, and [`scan`] is around every reading.
#[cold]
#[inline(never)]
pub(super) fn give_up(what: fmt::Arguments<'_>) -> ! {
    resume_unwind(Box::new(Flaw(fmt::format(what))))
}

/// Reads a text.
///
/// # Errors
///
/// It is not JSON, or not of this type; with line and column.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Flaw> {
    let mut value = None;
    scan(text, &mut |scanner| {
        let Ok(read) = T::deserialize(scanner);
        value = Some(read);
    })?;
    value.ok_or_else(|| Flaw("nothing was read".to_owned()))
}

/// Lets `read` take the whole of a text. What of [`from_str`] is the same for every type.
fn scan(text: &str, read: &mut dyn FnMut(&mut Scanner<'_>)) -> Result<(), Flaw> {
    let mut scanner = Scanner::new(text);
    catch_unwind(AssertUnwindSafe(|| {
        read(&mut scanner);
        scanner.end();
    }))
    .map_err(|cause| match cause.downcast::<Flaw>() {
        Ok(flaw) => scanner.placed(*flaw),
        Err(fault) => resume_unwind(fault),
    })
}

/// Reads bytes.
///
/// # Errors
///
/// They are not UTF-8, not JSON, or not of this type.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Flaw> {
    match std::str::from_utf8(bytes) {
        Ok(text) => from_str(text),
        Err(error) => Err(Flaw(error.to_string())),
    }
}

impl Raw {
    /// Text that must be one JSON value.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        from_str(text)
    }
}

impl Scanner<'_> {
    fn table<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Never> {
        self.open(b'{');
        let value = visitor.visit_map(Inside { scanner: self, is_first: true })?;
        self.close(b'}');
        Ok(value)
    }

    fn list<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Never> {
        self.open(b'[');
        let value = visitor.visit_seq(Inside { scanner: self, is_first: true })?;
        self.close(b']');
        Ok(value)
    }
}

/// The methods of serde that read a scalar.
macro_rules! scalars {
    ($($method:ident)* => $read:ident $visit:ident) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
            visitor.$visit(self.$read())
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Scanner<'_> {
    type Error = Never;

    scalars!(deserialize_bool => bool visit_bool);
    scalars!(deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 => unsigned visit_u64);
    scalars!(deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 => signed visit_i64);
    scalars!(deserialize_f32 deserialize_f64 => float visit_f64);
    scalars!(deserialize_str deserialize_string deserialize_char deserialize_identifier => word visit_str);
    // Only `Raw` wants bytes, and what it means is text of JSON.
    scalars!(deserialize_bytes deserialize_byte_buf => skip visit_str);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        match self.peek() {
            b'{' => self.table(visitor),
            b'[' => self.list(visitor),
            b'"' => visitor.visit_str(self.word()),
            b't' | b'f' => visitor.visit_bool(self.bool()),
            b'n' => {
                self.null();
                visitor.visit_unit()
            }
            _ => match self.number() {
                Number::Unsigned(number) => visitor.visit_u64(number),
                Number::Signed(number) => visitor.visit_i64(number),
                Number::Float(number) => visitor.visit_f64(number),
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        if self.peek() == b'n' {
            self.null();
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        self.null();
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Never> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        self.list(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Never> {
        self.list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, _: usize, visitor: V) -> Result<V::Value, Never> {
        self.list(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        self.table(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Never> {
        self.table(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Never> {
        let has_data = self.choice();
        let value = visitor.visit_enum(Choice { scanner: self, has_data })?;
        if has_data {
            self.close(b'}');
        }
        Ok(value)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        self.skip();
        visitor.visit_unit()
    }
}

/// The elements of a list or the entries of a table.
struct Inside<'a, 't> {
    scanner: &'a mut Scanner<'t>,
    is_first: bool,
}

impl<'de> de::SeqAccess<'de> for Inside<'_, '_> {
    type Error = Never;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Never> {
        if self.scanner.element(&mut self.is_first) { seed.deserialize(&mut *self.scanner).map(Some) } else { Ok(None) }
    }
}

impl<'de> de::MapAccess<'de> for Inside<'_, '_> {
    type Error = Never;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Never> {
        if self.scanner.key(&mut self.is_first) { seed.deserialize(&mut *self.scanner).map(Some) } else { Ok(None) }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Never> {
        seed.deserialize(&mut *self.scanner)
    }
}

/// One of several: a word, or a table of one key that is the word.
struct Choice<'a, 't> {
    scanner: &'a mut Scanner<'t>,
    has_data: bool,
}

impl<'de> de::EnumAccess<'de> for Choice<'_, '_> {
    type Error = Never;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Never> {
        let variant = seed.deserialize(&mut *self.scanner)?;
        Ok((variant, self))
    }
}

impl Choice<'_, '_> {
    fn data(&self) {
        if !self.has_data {
            give_up(format_args!("the word needs data: {{\"WORD\": DATA}}"));
        }
    }
}

impl<'de> de::VariantAccess<'de> for Choice<'_, '_> {
    type Error = Never;

    fn unit_variant(self) -> Result<(), Never> {
        if self.has_data {
            self.scanner.null();
        }
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Never> {
        self.data();
        seed.deserialize(self.scanner)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Never> {
        self.data();
        self.scanner.list(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Never> {
        self.data();
        self.scanner.table(visitor)
    }
}
