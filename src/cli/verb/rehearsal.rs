//! `section3 hook test` and `hook types`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{Help, Takes, Verb};
use crate::hooks::catalog::annotations;
use crate::hooks::rehearsal::{MAX_EVENTS, Plan, Reply, Sample, rehearse};
use crate::sys::words;
use crate::value::duration;
use crate::wire::{Fault, FaultCode, escape};

#[derive(Args)]
pub struct Test {
    /// Lua file
    file: PathBuf,
    /// Event: its type, such as crash or custom.deploy
    #[arg(long, value_name = "TYPE")]
    event: String,
    /// Service of the event; web without it
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Set a field of the event: data.code=1, severity=error
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Events in all
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_EVENTS)))]
    repeat: u32,
    /// Time between two events
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "0s")]
    every: Duration,
    /// Answers, in order: 'POST api.example.net=503,429:7,200', 'GET unix:*=refused', 'exec gzip=1'
    #[arg(long, value_name = "WHOM=ANSWERS", value_parser = Reply::parse)]
    reply: Vec<Reply>,
    /// Do everything for real, but for what would be asked of the supervisor
    #[arg(long)]
    live: bool,
    /// The same seed gives the same output
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Verb for Test {
    const HELP: Help = Help {
        name: "test",
        about: "Run a hook on made-up events, no supervisor needed",
        more: "\
What it does is printed in order instead of done, and the clock jumps to whatever is due next. Exit 1 when its handler
failed or would have been killed.",
        example: "section3 hook test hooks/notify-sidecar.lua --event crash --set data.code=78",
    };
    const TAKES: Takes = Takes::NOTHING;

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let out = context.out;
        let sample = Sample::new(&self.event, self.service, &self.set).map_err(|what| Fault::new(FaultCode::Usage, what))?;
        let Self { file, repeat, every, reply: replies, live, seed, json, .. } = self;
        let report = rehearse(Plan { file, sample, repeat, every, replies, live, seed });
        if json {
            out.document(&report.json().to_string())?;
        } else {
            for line in report.text().lines() {
                out.write(format!("{}\n", escape::message(line)).as_bytes())?;
            }
        }
        Ok(if report.problems.is_empty() { exit::DONE } else { exit::FAILED })
    }
}

#[derive(Args)]
pub struct Types {
    /// Write to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Verb for Types {
    const HELP: Help = Help {
        name: "types",
        about: "Print annotations of the Lua API, for editors",
        more: "",
        example: "section3 hook types --out section3.d.lua",
    };
    const TAKES: Takes = Takes::NOTHING;

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let text = annotations();
        let Some(file) = self.out else {
            context.out.write(text.as_bytes())?;
            return Ok(exit::DONE);
        };
        std::fs::write(&file, text)
            .map_err(|error| Fault::new(FaultCode::Failed, format!("cannot write {}: {}", file.display(), words::io(&error))))?;
        context.out.write(format!("wrote {}\n", file.display()).as_bytes())?;
        Ok(exit::DONE)
    }
}
