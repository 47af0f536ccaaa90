//! section3: the init system and supervisor for containers that run more than one process.
//!
//! # The house
//!
//! Floor n uses floors below n, never its neighbours and never up; `tests/tidy.rs` holds that.
//!
//! | floor | rooms | who lives there |
//! | --- | --- | --- |
//! | 0 | [`value`] | checked words: name, size, duration, signal, exit status, moment |
//! | 1 | [`spec`] | what a service is, complete and valid |
//! | | [`wire`] | requests, answers, events as they travel |
//! | | [`sys`] | the kernel: all `unsafe`, all system calls that nix lacks |
//! | | `https` | the one HTTP client, for hooks and `self update`: TLS provider and certificates |
//! | 2 | [`config`] | `section3.yml` to a spec, or to a list of problems |
//! | | [`supervision`] | decisions, pure: the state machine of a service, the set, reloads |
//! | 3 | [`log`] | the pump thread: pipes into files, rotation, console, tail |
//! | | [`probe`] | how a service is asked whether it is there: readiness and health |
//! | | [`hooks`] | scripts: the events they get, the process they run in |
//! | | `update` | signed releases: what is offered, whether to trust it, how it is put in place |
//! | 4 | [`control`] | the two ends of the control socket |
//! | 5 | [`daemon`] | the event loop: everything that happens, in one order |
//! | 6 | [`cli`] | the command line |
//!
//! # Two threads
//!
//! The main thread runs one event loop. It owns all children, so spawning and reaping cannot race; it waits for nothing but
//! events. The log pump owns all pipes and log files, so a slow disk delays logs and nothing else. What they know of each
//! other travels as messages, none of which is waited for.
//!
//! # Invariants
//!
//! 1. After the boot nothing from outside ends the supervisor but what asks for it.
//! 2. At most one run of a service is alive.
//! 3. No signal is sent to a process whose number may be somebody else's.
//! 4. `stopped` means that no process of the service is alive.
//! 5. A byte that a service wrote is in its log, or a counter and a line in the log say how many are not.
//! 6. Every queue has a bound, and what does not fit is counted.

pub mod value;

#[cfg(feature = "https")]
pub mod https;
pub mod spec;
pub mod sys;
pub mod wire;

pub mod config;
pub mod supervision;

pub mod hooks;
pub mod log;
pub mod probe;
#[cfg(feature = "update")]
pub mod update;

pub mod control;

pub mod daemon;

pub mod cli;
