//! Both directions at once: an API server that lags and fails, a bridge, a link, and an agent with the real twins over a
//! store that is lost and restored.

mod body;
mod cloud;
mod disk;
mod edge;
mod histories;
mod quiet;
mod step;
mod world;

/// How many devices there are, and how many properties each has.
pub const DEVICES: usize = 2;
pub const PROPERTIES: usize = 2;

/// What a history says that must not be.
pub type Broken = &'static str;

/// Numbers that look random and are those of their seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// One of the numbers below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64, by Sebastiano Vigna.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = mixed ^ (mixed >> 31);
        usize::try_from(mixed % u64::try_from(sides).unwrap()).unwrap()
    }

    /// Whether one of `sides` came.
    pub fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }
}
