//! `section3 tail`.

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{Help, Verb};
use crate::wire::request::{MAX_LINES, TAIL_LINES, logs};
use crate::wire::text::TailText;
use crate::wire::{Request, TailItem, reply};

#[derive(Args)]
pub struct Tail {
    /// Services; all without one
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Lines of each, 0 to 10000
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true, default_value_t = TAIL_LINES, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_LINES)))]
    lines: u32,
    /// Go on with new lines
    #[arg(short, long)]
    follow: bool,
    /// Never escape control bytes
    #[arg(long)]
    raw: bool,
}

impl Verb for Tail {
    const HELP: Help = Help {
        name: "tail",
        about: "Show the last lines of logs",
        more: "\
Of every service without a name; `section3` is the supervisor's own log. Reads across rotations. Control bytes
are escaped on a terminal and left as they are in a pipe.",
        example: "section3 tail -n 100 web\n  section3 tail -f",
    };

    fn run(self, mut context: Context<'_>) -> Result<u8, Halt> {
        let logs = logs(&self.names)?;
        let mut text = TailText::new(logs.len(), self.follow, context.out.terminal && !self.raw);
        let request = Request::Tail { logs, lines: self.lines, follow: self.follow };
        context.stream(&request, self.follow, |item, piece| {
            text.write(&reply::read::<TailItem>(item)?, piece);
            Ok(())
        })?;
        Ok(exit::DONE)
    }
}
