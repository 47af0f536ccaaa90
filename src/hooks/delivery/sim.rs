//! Seeded histories: events, a host that takes them, finishes them in any order, dies; a ring that overtakes. Whatever
//! happens, no event is told twice but as a second attempt, the order of a service holds, and everything is accounted for.

use std::collections::{BTreeMap, BTreeSet};

use super::tests::{Kept, at, done, handed, subscription};
use super::*;

/// xorshift64*, as the simulator of `supervision` has it.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }
}

const SERVICES: [&str; 4] = ["a", "b", "c", "d"];

/// A host that begins with the events of one service one after the other.
#[derive(Default)]
struct Host {
    lanes: BTreeMap<String, VecDeque<(u64, u64)>>,
    begun: BTreeMap<String, (u64, u64)>,
}

struct History {
    dice: Dice,
    past: Kept,
    deliveries: Deliveries,
    host: Host,
    told: u64,
    /// What was done with each event.
    finished: BTreeSet<u64>,
    /// Runs that began, by event.
    runs: BTreeMap<u64, u8>,
    last_begun: BTreeMap<String, u64>,
    lost_told: u64,
    unbegun_lost: BTreeMap<u64, u64>,
}

impl History {
    fn new(seed: u64) -> Self {
        let past = Kept::new(40);
        let mut deliveries = Deliveries::default();
        deliveries.subscribe("s", &[subscription("h", &["stuck"], None)], 1, &past);
        Self {
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            past,
            deliveries,
            host: Host::default(),
            told: 0,
            finished: BTreeSet::new(),
            runs: BTreeMap::new(),
            last_begun: BTreeMap::new(),
            lost_told: 0,
            unbegun_lost: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        match self.dice.below(20) {
            0..8 => {
                for _ in 0..self.dice.below(6) {
                    let service = SERVICES[self.dice.below(4) as usize];
                    let event = self.past.push(Some(service), Kind::Stuck { for_ms: 1 });
                    self.deliveries.told(&event, self.past.first());
                    self.told += 1;
                }
            }
            8..13 => self.hand_over(),
            13..18 => self.work(),
            18 => {
                let again = subscription("h", &["stuck"], None);
                self.deliveries.subscribe("s", &[again], 1, &self.past);
            }
            _ => self.die(),
        }
    }

    fn hand_over(&mut self) {
        let room = self.dice.below(12) as usize;
        for one in handed(&mut self.deliveries, &self.past, room, at(0)) {
            let seq = one.event.seq;
            let service = one.event.service.as_ref().expect("a service").as_str().to_owned();
            assert!(!self.finished.contains(&seq), "event {seq} is told again after it was done");
            assert_eq!(one.attempt, 1 + self.runs.get(&seq).copied().unwrap_or_default().min(1), "event {seq}");
            self.unbegun_lost.insert(one.delivery, one.lost);
            let lane = self.host.lanes.entry(service).or_default();
            assert!(lane.back().is_none_or(|(_, before)| *before < seq), "order within a lane");
            lane.push_back((one.delivery, seq));
        }
        let in_hand: usize = self.host.lanes.values().map(VecDeque::len).sum::<usize>() + self.host.begun.len();
        assert!(in_hand <= MAX_IN_FLIGHT);
    }

    /// A handler begins with an event of a service, or is done with it.
    fn work(&mut self) {
        let service = SERVICES[self.dice.below(4) as usize].to_owned();
        if let Some((delivery, seq)) = self.host.begun.remove(&service) {
            assert_eq!(self.deliveries.done(&done(&[delivery], None), at(0)), None);
            assert!(self.finished.insert(seq));
        } else if let Some((delivery, seq)) = self.host.lanes.get_mut(&service).and_then(VecDeque::pop_front) {
            self.deliveries.began(&[delivery]);
            self.lost_told += self.unbegun_lost.remove(&delivery).unwrap_or_default();
            *self.runs.entry(seq).or_default() += 1;
            let last = self.last_begun.insert(service.clone(), seq).unwrap_or_default();
            let is_repeated = self.runs.get(&seq).is_some_and(|runs| *runs > 1);
            assert!(seq > last || (seq == last && is_repeated), "order of one service: {seq} after {last}");
            assert!(self.runs[&seq] <= 2, "event {seq} is tried a third time");
            self.host.begun.insert(service, (delivery, seq));
        }
    }

    fn die(&mut self) {
        let begun: BTreeSet<u64> = self.host.begun.values().map(|(_, seq)| *seq).collect();
        // What was told with events that had begun is told again: nobody knows whether it was taken in.
        let died = self.deliveries.host_died(None);
        for (_, _, seq) in &died.dropped {
            assert!(begun.contains(seq) && self.runs[seq] == 2);
            self.finished.insert(*seq);
        }
        self.unbegun_lost.clear();
        self.host = Host::default();
    }

    fn settle(mut self) {
        // The end: everything that can still be had is taken and done.
        loop {
            let all = handed(&mut self.deliveries, &self.past, usize::MAX, at(0));
            for one in &all {
                let service = one.event.service.as_ref().expect("a service").as_str().to_owned();
                self.unbegun_lost.insert(one.delivery, one.lost);
                self.host.lanes.entry(service).or_default().push_back((one.delivery, one.event.seq));
            }
            let is_empty = self.host.lanes.values().all(VecDeque::is_empty) && self.host.begun.is_empty();
            if all.is_empty() && is_empty {
                break;
            }
            for _ in 0..200 {
                self.work();
            }
        }
        let standings = self.deliveries.standings("s", &self.past, 0);
        let standing = &standings[0];
        let Counters { delivered, dropped, lost, .. } = *standing.counters;
        assert_eq!(standing.lag, 0);
        assert_eq!(delivered + dropped + lost, self.told, "every event is accounted for");
        assert_eq!(delivered + dropped, self.finished.len() as u64);
        assert!(self.lost_told >= lost.saturating_sub(self.unannounced()), "a hole was not announced");
    }

    fn unannounced(&self) -> u64 {
        self.deliveries.scripts["s"]["h"].unannounced
    }
}

#[test]
fn every_event_is_told_once_in_order_or_accounted_for() {
    for seed in 0..400 {
        let mut history = History::new(seed);
        for _ in 0..400 {
            history.step();
        }
        history.settle();
    }
}
