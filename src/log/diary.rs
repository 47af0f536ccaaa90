//! The supervisor's own messages: `tracing` events become lines of `section3.log` and of the console.
//!
//! Nothing here waits: a line that the pump has no room for is dropped, and the pump says how many were.

use std::fmt::{self, Write};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::Voice;
use crate::sys::clock;

/// From here on `tracing` speaks through `voice`, at level info and above. Once a process.
pub fn begin(voice: Voice) {
    // A second supervisor in one process exists in tests only, and speaks through the first one's voice.
    let _ = tracing::subscriber::set_global_default(Diary { voice });
}

struct Diary {
    voice: Voice,
}

impl Subscriber for Diary {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries have nothing to say to the operator of a container.
        metadata.is_event() && *metadata.level() <= Level::INFO && metadata.target().starts_with("section3")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line { level: *event.metadata().level(), text: String::new() };
        event.record(&mut line);
        let stamp = format!("{} {:5}", humantime::format_rfc3339_millis(wall()), line.level.as_str().to_ascii_lowercase());
        self.voice.say(&stamp, &line.text);
    }

    // No spans: one loop does everything, and a message names its service.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn wall() -> SystemTime {
    clock::wall()
}

struct Line {
    level: Level,
    text: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let separator = if self.text.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.text, "{separator}{value:?}"),
            name => write!(self.text, "{separator}{name}={value:?}"),
        };
    }
}
