//! Chance that can be repeated.

use std::time::Duration;

/// xorshift64*: small, and good enough to pick histories; see Vigna, "An experimental exploration of Marsaglia's xorshift
/// generators, scrambled".
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        // Spreads small seeds apart; zero is the one state that xorshift never leaves.
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// 0 to `sides` - 1.
    pub fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    pub fn ms_below(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most.max(1)))
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len() as u64) as usize) }
    }

    pub fn seconds_of<const N: usize>(&mut self, tenths: [u64; N]) -> Duration {
        Duration::from_millis(tenths[self.below(N as u64) as usize] * 100)
    }
}
