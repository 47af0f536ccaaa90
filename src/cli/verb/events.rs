//! `section3 events`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{Help, Verb};
use crate::wire::request::{EVENT_LINES, MAX_LINES};
use crate::wire::{Request, escape, reply, text};

#[derive(Args)]
pub struct Events {
    /// The last N, 0 to 10000
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, default_value_t = EVENT_LINES, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_LINES)))]
    lines: u32,
    /// Go on with new ones
    #[arg(short, long)]
    follow: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

impl Verb for Events {
    const HELP: Help = Help {
        name: "events",
        about: "Show what happened, oldest first",
        more: "\
One line an event: time, severity, service, type, data. With --json one JSON object a line.",
        example: "section3 events -f --json",
    };

    fn run(self, mut context: Context<'_>) -> Result<u8, Halt> {
        let terminal = context.out.terminal;
        let request = Request::Events { lines: self.lines, follow: self.follow };
        context.stream(&request, self.follow, |item, piece| {
            if !self.json {
                piece.extend_from_slice(text::event(&reply::read(item)?).as_bytes());
            } else if terminal {
                piece.extend_from_slice(escape::one_line(item.get()).as_bytes());
                piece.push(b'\n');
            } else {
                piece.extend_from_slice(item.get().as_bytes());
                piece.push(b'\n');
            }
            Ok(())
        })?;
        Ok(exit::DONE)
    }
}
