//! Floor 3: signed releases. Runs in the client process only, never in the supervisor.
//!
//! Three parts that know nothing of each other, and [`job`] that puts them in a row:
//! 1. What is trusted, pure: [`source`] (where from, which keys), [`signature`], [`manifest`], [`elf`], [`decision`].
//! 2. [`fetch`]: bytes from the net, bounded in size and time.
//! 3. What is on disk: [`place`] (the installed program and its neighbours), [`install`], [`rollback`], [`trial`] (the new
//!    program is run once), [`record`] (what was installed here before).
//!
//! What it must never do: execute or install a byte that is not signed for this product, version and target; print such a
//! byte unescaped; leave anything but the whole old or the whole new program at the installed path.

pub mod decision;
pub mod elf;
pub mod fetch;
pub mod install;
pub mod job;
pub mod manifest;
pub mod place;
pub mod record;
pub mod rollback;
pub mod sha256;
pub mod signature;
pub mod source;
pub mod trial;

use crate::wire::{Fault, FaultCode};

/// The name in everything that is signed: another product's files, signed with the same key, are refused.
pub const PRODUCT: &str = "section3";

/// The largest manifest in bytes: room for a hundred targets.
pub const MAX_MANIFEST: u64 = 64 << 10;

/// The largest signature file in bytes; a real one has about 400.
pub const MAX_SIGNATURE: u64 = 4 << 10;

/// The largest program in bytes, whatever a manifest says: ten times what one has.
pub const MAX_PROGRAM: u64 = 64 << 20;

/// A refusal or failure that the operator reads.
fn failed(message: impl AsRef<str>) -> Fault {
    Fault::new(FaultCode::Failed, message)
}
