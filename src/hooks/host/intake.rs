//! What becomes of an event between its arrival and the run of its handler: folding, rates, batches, lanes. Pure: time is an
//! argument.
//!
//! The events of one service go one after the other, different services side by side. What is folded into a later event is
//! ticked off at once; the one that stands for all is ticked off with its run.

use crate::value::sorted::Map;
use std::collections::VecDeque;
use std::mem::take;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::letter::{Letter, Postmark};

/// Keys that `dedup` remembers at once; events with further ones go out as they are.
const MAX_KEYS: usize = 1024;

/// Of a batch that is longer than this only the newest would come again after a death of the host: the rest is ticked off,
/// so that more can come (see [`crate::hooks::frame::MAX_IN_FLIGHT`]).
const UNTICKED: usize = 32;

/// What a handler asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Services side by side.
    pub concurrency: usize,
    /// The same again within this time is folded.
    pub dedup: Option<Duration>,
    /// So many runs in so long; the rest is folded into the next.
    pub rate: Option<(u64, Duration)>,
    /// Lists instead of single events.
    pub batch: Option<Batch>,
}

/// When a list is handed over.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// When nothing came for so long.
    pub wait: Duration,
    /// But no later than this after the first.
    pub max_wait: Duration,
    /// Or when there are so many.
    pub max: usize,
    /// Or when one of these came: types and lists of the catalog.
    pub flush_on: Vec<String>,
}

/// One event, or several that were folded into the last of them.
#[derive(Clone, Debug)]
pub struct Item {
    /// What is not ticked off yet.
    pub deliveries: Vec<u64>,
    /// The event.
    pub letter: Rc<Letter>,
    /// What comes with it.
    pub mark: Postmark,
    /// Whether it ends the wait of a batch.
    pub flushes: bool,
}

impl Item {
    /// This one, standing for the earlier one as well; what of that is ticked off.
    fn absorb(&mut self, earlier: Self) -> Vec<u64> {
        self.mark.count += earlier.mark.count;
        self.mark.lost += earlier.mark.lost;
        self.mark.attempt = self.mark.attempt.max(earlier.mark.attempt);
        self.flushes |= earlier.flushes;
        earlier.deliveries
    }
}

/// One run of the handler.
#[derive(Debug)]
pub struct Work {
    /// Whose lane it holds until [`Intake::finished`].
    pub lane: Option<String>,
    /// One event, or a batch.
    pub items: Vec<Item>,
}

/// The events of one handler.
#[derive(Debug)]
pub struct Intake {
    shape: Shape,
    folds: Map<String, Fold>,
    rate: Option<Fold>,
    used: u64,
    gathered: Gathered,
    lanes: Map<Option<String>, Lane>,
    /// Lanes with something in them that nobody works on, in the order of arrival.
    ready: VecDeque<Option<String>>,
    running: usize,
}

#[derive(Debug)]
struct Fold {
    until: Instant,
    held: Option<Item>,
}

#[derive(Debug, Default)]
struct Gathered {
    items: Vec<Item>,
    first_at: Option<Instant>,
    last_at: Option<Instant>,
    is_due: bool,
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Item>,
    is_busy: bool,
}

impl Intake {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            folds: Map::new(),
            rate: None,
            used: 0,
            gathered: Gathered::default(),
            lanes: Map::new(),
            ready: VecDeque::new(),
            running: 0,
        }
    }

    /// Takes an event in; `key` is what tells it from others, where the handler folds the same. Returns what is ticked off.
    pub fn accept(&mut self, now: Instant, mut item: Item, key: Option<String>) -> Vec<u64> {
        if let (Some(window), Some(key)) = (self.shape.dedup, key) {
            if let Some(fold) = self.folds.get_mut(&key).filter(|fold| fold.until > now) {
                let gone = fold.held.take().map(|earlier| item.absorb(earlier));
                fold.held = Some(item);
                return gone.unwrap_or_default();
            }
            if self.folds.len() >= MAX_KEYS {
                self.folds.retain(|_, fold| fold.until > now || fold.held.is_some());
            }
            if self.folds.len() < MAX_KEYS || self.folds.contains_key(&key) {
                let before = self.folds.insert(key, Fold { until: now + window, held: None });
                if let Some(earlier) = before.and_then(|fold| fold.held) {
                    let mut gone = item.absorb(earlier);
                    gone.extend(self.pass(now, item));
                    return gone;
                }
            }
        }
        self.pass(now, item)
    }

    /// Behind the folds: rate, then batch or lane.
    fn pass(&mut self, now: Instant, mut item: Item) -> Vec<u64> {
        let mut gone = Vec::new();
        if let Some((most, window)) = self.shape.rate {
            let rate = self.rate.get_or_insert(Fold { until: now + window, held: None });
            if rate.until <= now {
                rate.until = now + window;
                self.used = 0;
            }
            if let Some(earlier) = rate.held.take() {
                gone = item.absorb(earlier);
            }
            if self.used >= most {
                rate.held = Some(item);
                return gone;
            }
            self.used += 1;
        }
        gone.extend(self.queue(now, item));
        gone
    }

    fn queue(&mut self, now: Instant, item: Item) -> Vec<u64> {
        if let Some(batch) = &self.shape.batch {
            self.gathered.is_due |= item.flushes;
            self.gathered.items.push(item);
            self.gathered.first_at.get_or_insert(now);
            self.gathered.last_at = Some(now);
            let length = self.gathered.items.len();
            self.gathered.is_due |= length >= batch.max;
            let old = if length < batch.max { length.saturating_sub(UNTICKED) } else { 0 };
            return self.gathered.items[..old].iter_mut().flat_map(|item| take(&mut item.deliveries)).collect();
        }
        let name = item.letter.service.clone();
        let lane = self.lanes.get_or_default(name.clone());
        lane.queue.push_back(item);
        if !lane.is_busy && lane.queue.len() == 1 {
            self.ready.push_back(name);
        }
        Vec::new()
    }

    /// When [`Self::advance`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        // An empty fold goes when its key comes again, or with the next that is due: it is nothing to wake up for.
        let folds = self.folds.values().chain(&self.rate).filter(|fold| fold.held.is_some()).map(|fold| fold.until);
        folds.chain(self.batch_at()).min()
    }

    fn batch_at(&self) -> Option<Instant> {
        let batch = self.shape.batch.as_ref()?;
        if self.gathered.is_due || self.running > 0 {
            return None;
        }
        let (first, last) = (self.gathered.first_at?, self.gathered.last_at?);
        Some((last + batch.wait).min(first + batch.max_wait))
    }

    /// Time has passed; returns what is ticked off.
    pub fn advance(&mut self, now: Instant) -> Vec<u64> {
        let mut gone = Vec::new();
        let over: Vec<String> = self.folds.iter().filter(|(_, fold)| fold.until <= now).map(|(key, _)| key.clone()).collect();
        for key in over {
            let held = self.folds.remove(&key).and_then(|fold| fold.held);
            if let (Some(item), Some(window)) = (held, self.shape.dedup) {
                // A storm that goes on is told once a window.
                self.folds.insert(key, Fold { until: now + window, held: None });
                gone.extend(self.pass(now, item));
            }
        }
        let held = self.rate.as_mut().filter(|rate| rate.until <= now).and_then(|rate| rate.held.take());
        if let Some(item) = held {
            gone.extend(self.pass(now, item));
        }
        if self.batch_at().is_some_and(|at| at <= now) {
            self.gathered.is_due = true;
        }
        gone
    }

    /// Everything that is held back goes now: the script ends.
    pub fn flush(&mut self, now: Instant) -> Vec<u64> {
        let mut gone = Vec::new();
        for item in take(&mut self.folds).into_values().chain(self.rate.take()).filter_map(|fold| fold.held) {
            gone.extend(self.queue(now, item));
        }
        self.gathered.is_due = !self.gathered.items.is_empty();
        gone
    }

    /// The next run, if one may begin.
    pub fn next(&mut self) -> Option<Work> {
        if let Some(batch) = &self.shape.batch {
            if self.running > 0 || !self.gathered.is_due || self.gathered.items.is_empty() {
                return None;
            }
            self.running = 1;
            let rest = self.gathered.items.split_off(batch.max.min(self.gathered.items.len()));
            let items = std::mem::replace(&mut self.gathered.items, rest);
            self.gathered.is_due = self.gathered.items.len() >= batch.max || self.gathered.items.iter().any(|item| item.flushes);
            self.gathered.first_at = if self.gathered.items.is_empty() { None } else { self.gathered.last_at };
            return Some(Work { lane: None, items });
        }
        if self.running >= self.shape.concurrency {
            return None;
        }
        let name = self.ready.pop_front()?;
        let lane = self.lanes.get_mut(&name)?;
        let item = lane.queue.pop_front()?;
        lane.is_busy = true;
        self.running += 1;
        Some(Work { lane: name, items: vec![item] })
    }

    /// A run is over: its lane is free.
    pub fn finished(&mut self, name: Option<String>) {
        self.running -= 1;
        let Some(lane) = self.lanes.get_mut(&name) else { return };
        lane.is_busy = false;
        if lane.queue.is_empty() {
            // Services come and go; a lane is made in no time.
            self.lanes.remove(&name);
        } else {
            self.ready.push_back(name);
        }
    }

    /// Whether nothing is held, queued or running.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running == 0
            && self.ready.is_empty()
            && self.gathered.items.is_empty()
            && self.folds.values().chain(&self.rate).all(|fold| fold.held.is_none())
    }
}

#[cfg(test)]
mod tests {
    use crate::value::json::Raw;

    use super::*;

    fn letter(service: Option<&str>) -> Rc<Letter> {
        let service = service.map(|name| format!(r#","service":"{name}""#)).unwrap_or_default();
        let text = format!(r#"{{"type":"crash","id":"b-1"{service},"data":{{"code":1}}}}"#);
        Rc::new(Letter::read(&Raw::parse(&text).unwrap()).unwrap())
    }

    fn item(delivery: u64, service: &str) -> Item {
        let mark = Postmark { count: 1, attempt: 1, lost: 0 };
        Item { deliveries: vec![delivery], letter: letter(Some(service)), mark, flushes: false }
    }

    fn plain() -> Shape {
        Shape { concurrency: 2, dedup: None, rate: None, batch: None }
    }

    fn numbers(work: Option<Work>) -> Vec<u64> {
        work.map(|work| work.items.into_iter().flat_map(|item| item.deliveries).collect()).unwrap_or_default()
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> Instant {
        crate::hooks::clock::now()
    }

    #[test]
    fn one_service_waits_for_itself_and_two_run_side_by_side() {
        let (mut intake, now) = (Intake::new(plain()), start());
        for (number, service) in [(1, "a"), (2, "a"), (3, "b"), (4, "c")] {
            assert!(intake.accept(now, item(number, service), None).is_empty());
        }
        assert_eq!(numbers(intake.next()), [1]);
        assert_eq!(numbers(intake.next()), [3]);
        // Concurrency 2.
        assert!(intake.next().is_none());
        intake.finished(Some("b".to_owned()));
        assert_eq!(numbers(intake.next()), [4]);
        intake.finished(Some("a".to_owned()));
        assert_eq!(numbers(intake.next()), [2]);
        intake.finished(Some("a".to_owned()));
        intake.finished(Some("c".to_owned()));
        assert!(intake.is_idle() && intake.lanes.is_empty());
    }

    #[test]
    fn the_same_again_is_folded_into_one_with_a_count() {
        let (mut intake, now) = (Intake::new(Shape { dedup: Some(SECOND), ..plain() }), start());
        let key = || Some("k".to_owned());
        assert!(intake.accept(now, item(1, "a"), key()).is_empty());
        assert_eq!(numbers(intake.next()), [1]);
        intake.finished(Some("a".to_owned()));
        assert!(intake.accept(now, item(2, "a"), key()).is_empty());
        assert_eq!(intake.accept(now, item(3, "a"), key()), [2]);
        assert_eq!(intake.accept(now, item(4, "a"), key()), [3]);
        assert!(intake.next().is_none() && !intake.is_idle());
        assert_eq!(intake.deadline(), Some(now + SECOND));
        assert!(intake.advance(now + SECOND).is_empty());
        let work = intake.next().unwrap();
        assert_eq!((work.items[0].deliveries.as_slice(), work.items[0].mark.count), ([4].as_slice(), 3));
        // The next window is open: the storm is told once in each.
        assert!(intake.accept(now + SECOND, item(5, "a"), key()).is_empty());
        assert!(intake.next().is_none());
    }

    #[test]
    fn other_keys_are_not_folded() {
        let (mut intake, now) = (Intake::new(Shape { dedup: Some(SECOND), ..plain() }), start());
        intake.accept(now, item(1, "a"), Some("k".to_owned()));
        intake.accept(now, item(2, "b"), Some("l".to_owned()));
        assert_eq!((numbers(intake.next()), numbers(intake.next())), (vec![1], vec![2]));
        for number in 0..2 * MAX_KEYS as u64 {
            intake.accept(now, item(number, "a"), Some(number.to_string()));
        }
        assert_eq!(intake.folds.len(), MAX_KEYS);
    }

    #[test]
    fn what_is_over_the_rate_is_told_as_one() {
        let (mut intake, now) = (Intake::new(Shape { rate: Some((2, SECOND)), ..plain() }), start());
        let gone: Vec<u64> = (1..=5).flat_map(|n| intake.accept(now, item(n, "a"), None)).collect();
        assert_eq!(gone, [3, 4]);
        for expected in [1, 2] {
            assert_eq!(numbers(intake.next()), [expected]);
            intake.finished(Some("a".to_owned()));
        }
        assert!(intake.next().is_none());
        intake.advance(now + SECOND);
        let work = intake.next().unwrap();
        assert_eq!((work.items[0].deliveries.as_slice(), work.items[0].mark.count), ([5].as_slice(), 3));
        intake.finished(work.lane);
        // One of the new window is used.
        intake.accept(now + SECOND, item(6, "a"), None);
        intake.accept(now + SECOND, item(7, "a"), None);
        assert_eq!(numbers(intake.next()), [6]);
        intake.finished(Some("a".to_owned()));
        assert!(intake.next().is_none());
    }

    fn batch() -> Shape {
        let batch = Batch { wait: SECOND, max_wait: 3 * SECOND, max: 100, flush_on: Vec::new() };
        Shape { batch: Some(batch), ..plain() }
    }

    #[test]
    fn a_batch_waits_for_quiet_and_no_longer_than_it_may() {
        let (mut intake, now) = (Intake::new(batch()), start());
        intake.accept(now, item(1, "a"), None);
        intake.accept(now + SECOND / 2, item(2, "b"), None);
        assert_eq!(intake.deadline(), Some(now + SECOND / 2 + SECOND));
        intake.advance(now + SECOND);
        assert!(intake.next().is_none());
        intake.advance(now + 2 * SECOND);
        assert_eq!(numbers(intake.next()), [1, 2]);
        intake.finished(None);
        for n in 0..8 {
            intake.accept(now + n * SECOND / 2, item(10 + u64::from(n), "a"), None);
        }
        assert_eq!(intake.deadline(), Some(now + 3 * SECOND));
    }

    #[test]
    fn a_batch_is_handed_over_early_when_it_is_full_or_something_grave_came() {
        let (mut intake, now) = (Intake::new(batch()), start());
        intake.accept(now, item(1, "a"), None);
        intake.accept(now, Item { flushes: true, ..item(2, "a") }, None);
        assert_eq!(numbers(intake.next()), [1, 2]);
        // One batch at a time.
        intake.accept(now, Item { flushes: true, ..item(3, "a") }, None);
        assert!(intake.next().is_none());
        intake.finished(None);
        assert_eq!(numbers(intake.next()), [3]);
        intake.finished(None);
        let gone: Vec<u64> = (1..=100).flat_map(|n| intake.accept(now, item(n, "a"), None)).collect();
        assert_eq!(gone, (1..=67).collect::<Vec<_>>());
        let work = intake.next().unwrap();
        assert_eq!(work.items.len(), 100);
        assert_eq!(numbers(Some(work)), (68..=100).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_batch_that_cannot_go_ticks_nothing_more_off() {
        let (mut intake, now) = (Intake::new(batch()), start());
        intake.accept(now, Item { flushes: true, ..item(0, "a") }, None);
        assert!(intake.next().is_some());
        let gone: Vec<u64> = (1..=300).flat_map(|n| intake.accept(now, item(n, "a"), None)).collect();
        assert_eq!(gone.len(), 99 - UNTICKED);
    }

    #[test]
    fn the_end_holds_nothing_back() {
        let (mut intake, now) = (Intake::new(Shape { dedup: Some(SECOND), ..batch() }), start());
        intake.accept(now, item(1, "a"), Some("k".to_owned()));
        intake.accept(now, item(2, "a"), Some("k".to_owned()));
        intake.flush(now);
        assert_eq!(numbers(intake.next()), [1, 2]);
        intake.finished(None);
        assert!(intake.is_idle());
    }
}
