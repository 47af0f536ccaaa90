//! JSON and the program's types: one reader and one writer for everything that travels or is kept.
//!
//! serde makes a copy of a type's code for each form of input and output that the type is used with, and the derived reading
//! of a struct asks for two forms of each, a table and a list. So there is one of each here, a struct is a table, and what
//! does not depend on the type is in no copy: that is 0.5 MB less of the program than with `serde_json`'s own. What is wrong
//! with a text unwinds to the border of the reader, which is 70 KB less than a result behind each field (`border`).
//! JSON of no known type stays `serde_json::Value`.
//!
//! A type that serde knows by the name `[]` (`#[serde(rename = "[]")]`) has the fields of its structs in a list, in their order,
//! without names: to read such a one takes a third of the code. It is for what only this program reads, the state of a re-exec.
//! As in a table, what a newer version added is passed by an older one; so new fields come last, with a default.

mod border;
mod raw;
mod read;
mod scan;
mod write;

pub use border::Flaw;
pub use raw::Raw;
pub use read::{from_slice, from_str};
pub use write::{Table, Unwritable, to_string, to_vec};

use serde::Serialize;
use serde_json::Value;

/// The name of a type whose fields are a list.
const LIST: &str = "[]";

/// A value as JSON of no known type.
///
/// # Errors
///
/// It cannot be written as JSON.
pub fn to_value<T: Serialize>(value: &T) -> Result<Value, Unwritable> {
    from_str(&to_string(value)?).map_err(|_| Unwritable)
}

#[cfg(test)]
mod tests;
