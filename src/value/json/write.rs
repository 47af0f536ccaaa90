//! From types to JSON.

use std::fmt::{self, Write};

use serde::Serialize;
use serde::ser::{self, Serializer};

use super::{LIST, Raw};

/// Something in a value cannot be written as JSON, such as a path that is not UTF-8.
#[derive(Debug)]
pub struct Unwritable;

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("something in it cannot be written as JSON, such as a path that is not UTF-8")
    }
}

impl std::error::Error for Unwritable {}

impl ser::Error for Unwritable {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// The text.
///
/// # Errors
///
/// Something in the value cannot be written as JSON.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, Unwritable> {
    let mut writer = Writer { text: String::with_capacity(128), is_key: false };
    value.serialize(&mut writer)?;
    Ok(writer.text)
}

/// The text as bytes.
///
/// # Errors
///
/// Something in the value cannot be written as JSON.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Unwritable> {
    to_string(value).map(String::into_bytes)
}

/// A table that is written field by field. For one that no type stands for.
pub struct Table(Result<Writer, Unwritable>);

impl Default for Table {
    fn default() -> Self {
        Self(Ok(Writer { text: "{".to_owned(), is_key: false }))
    }
}

impl Table {
    /// With a field more; its key comes once.
    #[must_use]
    pub fn field<T: Serialize + ?Sized>(self, key: &str, value: &T) -> Self {
        Self(self.0.and_then(|mut writer| {
            writer.key(key);
            value.serialize(&mut writer)?;
            Ok(writer)
        }))
    }

    /// With a field more, if there is a value.
    #[must_use]
    pub fn maybe<T: Serialize>(self, key: &str, value: Option<&T>) -> Self {
        match value {
            Some(value) => self.field(key, value),
            None => self,
        }
    }

    /// The text.
    ///
    /// # Errors
    ///
    /// Something in a value cannot be written as JSON.
    pub fn end(self) -> Result<Raw, Unwritable> {
        self.0.map(|writer| Raw::trusted(&(writer.text + "}")))
    }
}

struct Writer {
    text: String,
    /// What is written next is the key of a table: in JSON that is a string, so numbers get quotes.
    is_key: bool,
}

impl Writer {
    /// Before an element or a key: a comma where it is not the first one.
    fn next(&mut self) {
        if !self.text.ends_with(['{', '[']) {
            self.text.push(',');
        }
    }

    fn key(&mut self, key: &str) {
        self.next();
        self.word(key);
        self.text.push(':');
    }

    fn word(&mut self, word: &str) {
        self.text.push('"');
        let mut plain = 0;
        for (at, byte) in word.bytes().enumerate() {
            if !matches!(byte, b'"' | b'\\' | 0..0x20) {
                continue;
            }
            self.text.push_str(word.get(plain..at).unwrap_or_default());
            plain = at + 1;
            let letter = match byte {
                b'"' | b'\\' => char::from(byte),
                b'\n' => 'n',
                b'\r' => 'r',
                b'\t' => 't',
                8 => 'b',
                12 => 'f',
                _ => {
                    let _ = write!(self.text, "\\u{byte:04x}");
                    continue;
                }
            };
            self.text.push('\\');
            self.text.push(letter);
        }
        self.text.push_str(word.get(plain..).unwrap_or_default());
        self.text.push('"');
    }

    fn number(&mut self, number: fmt::Arguments<'_>) {
        let quote = if self.is_key { "\"" } else { "" };
        let _ = write!(self.text, "{quote}{number}{quote}");
    }

    fn unsigned(&mut self, number: u64) {
        self.number(format_args!("{number}"));
    }

    fn signed(&mut self, number: i64) {
        self.number(format_args!("{number}"));
    }

    fn float(&mut self, number: f64) {
        match serde_json::Number::from_f64(number) {
            Some(number) => self.number(format_args!("{number}")),
            None => self.text.push_str("null"),
        }
    }

    /// What a variant with data is wrapped in, up to its data.
    fn variant(&mut self, name: &str) {
        self.text.push('{');
        self.key(name);
    }

    fn open(&mut self, form: Form) -> Open<'_> {
        self.text.push(if form.is_list() { '[' } else { '{' });
        Open { writer: self, form }
    }

    /// What comes before a field.
    fn field(&mut self, name: &str, form: Form) {
        if form.is_list() {
            self.next();
        } else {
            self.key(name);
        }
    }

    fn close(&mut self, form: Form) {
        self.text.push_str(match form {
            Form::List => "]",
            Form::Table => "}",
            Form::VariantList => "]}",
            Form::VariantTable => "}}",
        });
    }
}

/// What holds fields and elements.
#[derive(Clone, Copy)]
enum Form {
    List,
    Table,
    /// The data of a variant.
    VariantList,
    VariantTable,
}

impl Form {
    const fn is_list(self) -> bool {
        matches!(self, Self::List | Self::VariantList)
    }
}

/// A table or a list under way.
struct Open<'w> {
    writer: &'w mut Writer,
    form: Form,
}

impl Open<'_> {
    fn field<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Unwritable> {
        self.writer.field(key, self.form);
        value.serialize(&mut *self.writer)
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.writer.next();
        value.serialize(&mut *self.writer)
    }

    fn close(self) {
        self.writer.close(self.form);
    }
}

/// The methods of serde that write a scalar.
macro_rules! scalars {
    ($($method:ident $type:ty => $write:ident $as:ty),* $(,)?) => {
        $(fn $method(self, value: $type) -> Result<(), Unwritable> {
            self.$write(<$as>::from(value));
            Ok(())
        })*
    };
}

impl<'w> Serializer for &'w mut Writer {
    type Ok = ();
    type Error = Unwritable;
    type SerializeSeq = Open<'w>;
    type SerializeTuple = Open<'w>;
    type SerializeTupleStruct = Open<'w>;
    type SerializeTupleVariant = Open<'w>;
    type SerializeMap = Open<'w>;
    type SerializeStruct = Open<'w>;
    type SerializeStructVariant = Open<'w>;

    scalars! {
        serialize_u8 u8 => unsigned u64, serialize_u16 u16 => unsigned u64, serialize_u32 u32 => unsigned u64,
        serialize_u64 u64 => unsigned u64, serialize_i8 i8 => signed i64, serialize_i16 i16 => signed i64,
        serialize_i32 i32 => signed i64, serialize_i64 i64 => signed i64, serialize_f32 f32 => float f64,
        serialize_f64 f64 => float f64,
    }

    fn serialize_bool(self, value: bool) -> Result<(), Unwritable> {
        self.number(format_args!("{value}"));
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Unwritable> {
        self.word(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Unwritable> {
        self.word(value);
        Ok(())
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), Unwritable> {
        self.word(&fmt::format(format_args!("{value}")));
        Ok(())
    }

    /// Only [`Raw`](super::Raw) writes bytes, and they are JSON.
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Unwritable> {
        self.text.push_str(std::str::from_utf8(value).map_err(|_| Unwritable)?);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Unwritable> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unwritable> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unwritable> {
        self.text.push_str("null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unwritable> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Unwritable> {
        self.word(variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Unwritable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        self.variant(variant);
        value.serialize(&mut *self)?;
        self.text.push('}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Open<'w>, Unwritable> {
        Ok(self.open(Form::List))
    }

    fn serialize_tuple(self, _: usize) -> Result<Open<'w>, Unwritable> {
        Ok(self.open(Form::List))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Open<'w>, Unwritable> {
        Ok(self.open(Form::List))
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Result<Open<'w>, Unwritable> {
        self.variant(variant);
        Ok(self.open(Form::VariantList))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Open<'w>, Unwritable> {
        Ok(self.open(Form::Table))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Open<'w>, Unwritable> {
        Ok(self.open(if name == LIST { Form::List } else { Form::Table }))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Open<'w>, Unwritable> {
        self.variant(variant);
        Ok(self.open(if name == LIST { Form::VariantList } else { Form::VariantTable }))
    }
}

impl ser::SerializeMap for Open<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unwritable> {
        self.writer.next();
        self.writer.is_key = true;
        key.serialize(&mut *self.writer)?;
        self.writer.is_key = false;
        self.writer.text.push(':');
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), Unwritable> {
        self.close();
        Ok(())
    }
}

/// The traits of serde for lists (`element`) and for structs (`field`): all do the same here.
macro_rules! compounds {
    ($($trait:ident $method:ident $own:ident ($($key:ident)?)),* $(,)?) => {
        $(impl ser::$trait for Open<'_> {
            type Ok = ();
            type Error = Unwritable;

            fn $method<T: Serialize + ?Sized>(&mut self, $($key: &'static str,)? value: &T) -> Result<(), Unwritable> {
                self.$own($($key,)? value)
            }

            fn end(self) -> Result<(), Unwritable> {
                self.close();
                Ok(())
            }
        })*
    };
}

compounds! {
    SerializeSeq serialize_element element (),
    SerializeTuple serialize_element element (),
    SerializeTupleStruct serialize_field element (),
    SerializeTupleVariant serialize_field element (),
    SerializeStruct serialize_field field (key),
    SerializeStructVariant serialize_field field (key),
}
