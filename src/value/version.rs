//! The version of this program.

/// The number behind a mark: so it can be found in the file, and tests can make another version without building one.
const MARKED: &str = concat!("section3-version=", env!("CARGO_PKG_VERSION"));

/// The version of this program, as `status` shows it.
pub const VERSION: &str = MARKED.split_at("section3-version=".len()).1;
