//! One file a command: its words and its help, what it asks, how the answer is printed.

mod check;
mod completions;
mod demo;
mod events;
mod hook;
mod init;
mod itself;
mod manual;
mod order;
#[cfg(feature = "hooks")]
mod plugin;
#[cfg(feature = "hooks")]
mod rehearsal;
mod reload;
mod rotate;
mod signal;
mod status;
mod tail;
mod wait;

use super::words::Entry;

/// All commands, as help lists them.
pub const TABLE: &[Entry] = &[
    Entry::verb::<status::Status>(),
    Entry::verb::<order::Start>(),
    Entry::verb::<order::Stop>(),
    Entry::verb::<order::Restart>(),
    Entry::verb::<reload::Reload>(),
    Entry::verb::<tail::Tail>(),
    Entry::verb::<wait::Wait>(),
    Entry::verb::<events::Events>(),
    Entry::verb::<signal::Signal>(),
    Entry::verb::<rotate::Rotate>(),
    Entry::group::<hook::Hook>(),
    Entry::verb::<hook::Emit>(),
    Entry::verb::<hook::X>(),
    #[cfg(feature = "hooks")]
    Entry::group::<plugin::Plugin>(),
    Entry::verb::<check::Check>(),
    Entry::verb::<init::Init>(),
    Entry::verb::<demo::Show>(),
    Entry::group::<itself::Itself>(),
    Entry::verb::<completions::Completions>(),
    Entry::verb::<manual::Man>(),
];
