//! Black-box tests of the supervisor against its contract: the real binary, real processes, real files.
//!
//! A test starts a `Daemon` with a few lines of YAML, in which `@web` stands for a scripted child named `web`, and then waits
//! for events (`daemon.events().until("ready", "web")`), for words of its children (`actor.hears("got TERM")`) or for the end
//! of a command. Nothing sleeps and nothing measures time; short durations are written into the YAML.
//! A test that guards against a known fault of an earlier supervisor carries its number in its name or its comment: `g13_...`, `G13: ...`. What needs root is in `root` and `update`.

mod advice;
mod article;
mod bundle;
mod check;
mod dependencies;
mod health;
#[cfg(feature = "hooks")]
mod hook_host;
#[cfg(feature = "hooks")]
mod hooks;
mod launch;
mod lifecycle;
mod logs;
mod packaging;
mod plugins;
mod readiness;
mod readme;
mod reexec;
mod rehearsal;
mod reload;
mod root;
mod shipped;
mod sidecars;
mod signals;
mod socket;
mod stage;
mod stop;
mod storm;
mod strangers;
mod support;
mod survival;
#[cfg(feature = "update")]
mod update;
mod verbs;
