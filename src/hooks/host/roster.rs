//! Which version of which script is in force, and on which thread.
//!
//! A new version is loaded on a thread of its own while the old one goes on. When it is loaded, all that comes goes to it; it
//! begins when the old one is done with what it had, or 10 s later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::pulse::Pulse;
use crate::hooks::frame::{Ask, Delivery};
use crate::value::sorted::Map;

/// What a script's thread is handed. The supervisor bounds how much is on its way: 64 events a handler, and its questions.
pub enum Errand {
    /// An event.
    Event(Delivery),
    /// A question.
    Ask(Ask),
    /// Nobody waits for the answer.
    Drop(u64),
    /// Another version takes over, or none: end, and say so by dropping this.
    Retire(oneshot::Sender<()>),
    /// The supervisor ends: end.
    Bye,
    /// The supervisor is gone: end at once, but for what is to be kept.
    Leave,
}

/// All scripts.
#[derive(Default)]
pub struct Roster {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    scripts: Map<String, Entry>,
    /// Every thread there is, also of versions that come and go.
    threads: Vec<(String, Weak<Pulse>)>,
    is_ending: bool,
}

struct Entry {
    /// The newest version that was asked for.
    wanted: u64,
    /// The version in force.
    now: Option<UnboundedSender<Errand>>,
}

impl Roster {
    /// A version is to be loaded; its thread shows itself through `pulse`.
    pub fn wants(&self, script: &str, generation: u64, pulse: &Arc<Pulse>) {
        let mut inside = self.lock();
        inside.threads.retain(|(_, pulse)| pulse.strong_count() > 0);
        inside.threads.push((script.to_owned(), Arc::downgrade(pulse)));
        inside.scripts.get_or_insert_with(script.to_owned(), || Entry { wanted: 0, now: None }).wanted = generation;
    }

    /// A version is loaded: what comes goes to it. Returns what tells that the one before is done; `Err` where the version is
    /// no longer wanted.
    pub fn takes_over(
        &self,
        script: &str,
        generation: u64,
        errands: UnboundedSender<Errand>,
    ) -> Result<Option<oneshot::Receiver<()>>, ()> {
        let mut inside = self.lock();
        let is_ending = inside.is_ending;
        let entry = inside.scripts.get_mut(script).filter(|entry| entry.wanted == generation && !is_ending).ok_or(())?;
        let old = entry.now.replace(errands);
        Ok(old.map(|old| {
            let (retired, done) = oneshot::channel();
            // A thread that has ended drops it at once, which is what it is for.
            let _ = old.send(Errand::Retire(retired));
            done
        }))
    }

    /// Forgets a script.
    pub fn unload(&self, script: &str) {
        let entry = self.lock().scripts.remove(script);
        if let Some(errands) = entry.and_then(|entry| entry.now) {
            let _ = errands.send(Errand::Retire(oneshot::channel().0));
        }
    }

    /// Hands something to a script; back where no such script is in force.
    pub fn hand(&self, script: &str, errand: Errand) -> Result<(), Errand> {
        let inside = self.lock();
        let Some(errands) = inside.scripts.get(script).and_then(|entry| entry.now.as_ref()) else { return Err(errand) };
        errands.send(errand).map_err(|unsent| unsent.0)
    }

    /// Nobody waits for the answer to a question any more; which script it was put to is not told.
    pub fn drop_ask(&self, ask: u64) {
        for errands in self.lock().scripts.values().filter_map(|entry| entry.now.as_ref()) {
            let _ = errands.send(Errand::Drop(ask));
        }
    }

    /// The supervisor ends.
    pub fn bye(&self) {
        self.end(|| Errand::Bye);
    }

    /// The supervisor is gone.
    pub fn leave(&self) {
        self.end(|| Errand::Leave);
    }

    fn end(&self, errand: impl Fn() -> Errand) {
        let mut inside = self.lock();
        inside.is_ending = true;
        for errands in inside.scripts.values().filter_map(|entry| entry.now.as_ref()) {
            let _ = errands.send(errand());
        }
    }

    /// Threads that have not ended.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.lock().threads.iter().filter(|(_, pulse)| pulse.strong_count() > 0).count()
    }

    /// The slice under way that has computed most.
    #[must_use]
    pub fn busiest(&self) -> Option<(String, Arc<Pulse>, Duration)> {
        let inside = self.lock();
        let busy = inside.threads.iter().filter_map(|(script, pulse)| {
            let pulse = pulse.upgrade()?;
            let busy = pulse.busy_for()?;
            Some((script.clone(), pulse, busy))
        });
        busy.max_by_key(|(_, _, busy)| *busy)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn the_newest_version_that_was_asked_for_takes_over() {
        let roster = Roster::default();
        let pulse = Arc::default();
        let (first, mut first_errands) = unbounded_channel();
        let (second, mut second_errands) = unbounded_channel();
        roster.wants("a", 1, &pulse);
        assert!(matches!(roster.takes_over("a", 1, first.clone()), Ok(None)));
        roster.wants("a", 2, &pulse);
        roster.wants("a", 3, &pulse);
        assert!(roster.takes_over("a", 2, first).is_err());
        assert!(roster.hand("a", Errand::Drop(1)).is_ok());
        let mut done = roster.takes_over("a", 3, second).unwrap().unwrap();
        assert!(roster.hand("a", Errand::Drop(2)).is_ok());
        assert!(matches!(first_errands.try_recv(), Ok(Errand::Drop(1))));
        let Ok(Errand::Retire(retired)) = first_errands.try_recv() else { panic!("the old one goes") };
        assert!(done.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        drop(retired);
        assert!(done.try_recv() == Err(oneshot::error::TryRecvError::Closed));
        assert!(matches!(second_errands.try_recv(), Ok(Errand::Drop(2))));
    }

    #[test]
    fn who_is_not_there_gets_nothing() {
        let roster = Roster::default();
        assert!(roster.hand("a", Errand::Bye).is_err());
        let (errands, mut rest) = unbounded_channel();
        roster.wants("a", 1, &Arc::default());
        roster.takes_over("a", 1, errands).unwrap();
        roster.unload("a");
        assert!(matches!(rest.try_recv(), Ok(Errand::Retire(_))));
        assert!(roster.hand("a", Errand::Bye).is_err());
    }
}
