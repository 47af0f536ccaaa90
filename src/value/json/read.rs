//! From JSON to types.

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Visitor};

use super::border::{Flaw, Never, give_up, within};
use super::scan::{Number, Scanner};
use super::{LIST, Raw};

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
    within(&mut || {
        read(&mut scanner);
        scanner.end();
    })
    .map_err(|flaw| scanner.placed(&flaw))
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

    /// Fields without names: those that this version does not know come last, and are passed.
    fn fields<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Never> {
        self.open(b'[');
        let value = visitor.visit_seq(Inside { scanner: self, is_first: true })?;
        self.rest();
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
    scalars!(deserialize_str deserialize_char deserialize_identifier => word visit_str);
    scalars!(deserialize_string => string visit_string);
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

    // Inlined, so that of the two forms the one that a type has not is not compiled for it; so below.
    #[inline(always)]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Never> {
        if name == LIST { self.fields(visitor) } else { self.table(visitor) }
    }

    #[inline(always)]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Never> {
        let has_data = self.choice();
        let value = if name == LIST {
            visitor.visit_enum(Choice::<true> { scanner: self, has_data })?
        } else {
            visitor.visit_enum(Choice::<false> { scanner: self, has_data })?
        };
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

/// One of several: a word, or a table of one key that is the word. Its fields are a list or a table.
struct Choice<'a, 't, const IS_LIST: bool> {
    scanner: &'a mut Scanner<'t>,
    has_data: bool,
}

impl<'de, const IS_LIST: bool> de::EnumAccess<'de> for Choice<'_, '_, IS_LIST> {
    type Error = Never;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Never> {
        let variant = seed.deserialize(&mut *self.scanner)?;
        Ok((variant, self))
    }
}

impl<const IS_LIST: bool> Choice<'_, '_, IS_LIST> {
    fn data(&self) {
        if !self.has_data {
            give_up(format_args!("the word needs data: {{\"WORD\": DATA}}"));
        }
    }
}

impl<'de, const IS_LIST: bool> de::VariantAccess<'de> for Choice<'_, '_, IS_LIST> {
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
        if IS_LIST { self.scanner.fields(visitor) } else { self.scanner.table(visitor) }
    }
}
