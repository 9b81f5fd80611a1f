//! Values that move by themselves: pure functions of time and seed.

use std::f64::consts::TAU;
use std::str::FromStr;

/// The shape of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wave {
    /// Stays where it was put.
    Constant,
    /// Swings between minimum and maximum, from the middle upwards.
    Sine,
    /// Climbs from minimum to maximum, then starts again.
    Ramp,
    /// Half a period at the minimum, half at the maximum.
    Square,
    /// A new value between minimum and maximum each period.
    Random,
    /// One step more each period; starts again where a maximum is given and passed.
    Counter,
}

/// The text names no waveform.
#[derive(Debug, thiserror::Error)]
#[error("write constant, sine, ramp, square, random or counter")]
pub struct UnknownWave;

impl FromStr for Wave {
    type Err = UnknownWave;

    fn from_str(text: &str) -> Result<Self, UnknownWave> {
        match text.to_ascii_lowercase().as_str() {
            "constant" => Ok(Self::Constant),
            "sine" => Ok(Self::Sine),
            "ramp" => Ok(Self::Ramp),
            "square" => Ok(Self::Square),
            "random" => Ok(Self::Random),
            "counter" => Ok(Self::Counter),
            _ => Err(UnknownWave),
        }
    }
}

/// A waveform with its numbers, in the property's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signal {
    /// Its shape.
    pub wave: Wave,
    /// Lowest value; where a counter starts.
    pub minimum: f64,
    /// Highest value; infinite for a counter without end.
    pub maximum: f64,
    /// Seconds; more than 0.
    pub period: f64,
    /// What a counter adds each period.
    pub step: f64,
}

impl Signal {
    /// The value `seconds` after the start. `seed` makes [`Wave::Random`] differ between registers and
    /// equal between runs.
    pub fn at(&self, seconds: f64, seed: u64) -> f64 {
        let turns = seconds / self.period;
        let phase = turns.fract();
        let span = self.maximum - self.minimum;
        match self.wave {
            Wave::Constant => self.minimum,
            Wave::Sine => self.minimum + span * (0.5 + 0.5 * (phase * TAU).sin()),
            Wave::Ramp => self.minimum + span * phase,
            Wave::Square if phase < 0.5 => self.minimum,
            Wave::Square => self.maximum,
            Wave::Random => self.minimum + span * unit_interval(scramble(seed, turns.floor())),
            Wave::Counter => {
                let climbed = self.step * turns.floor();
                let whole = span + self.step;
                self.minimum + if whole.is_finite() { climbed.rem_euclid(whole) } else { climbed }
            }
        }
    }
}

/// Where a first-order lag with `time_constant` seconds stands after `elapsed` seconds on its way from `value` to `goal`.
pub(crate) fn lag(value: f64, goal: f64, elapsed: f64, time_constant: f64) -> f64 {
    if time_constant <= 0.0 {
        return goal;
    }
    goal + (value - goal) * (-elapsed / time_constant).exp()
}

/// SplitMix64 over the seed and the number of the period: <https://prng.di.unimi.it/splitmix64.c>.
fn scramble(seed: u64, period: f64) -> u64 {
    let mut z = (seed ^ period.to_bits()).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn unit_interval(bits: u64) -> f64 {
    let top = u32::try_from(bits >> 32).unwrap_or(u32::MAX);
    f64::from(top) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(wave: Wave) -> Signal {
        Signal { wave, minimum: 10.0, maximum: 20.0, period: 4.0, step: 3.0 }
    }

    #[test]
    fn each_wave_is_where_its_shape_says() {
        let at = |wave, seconds| signal(wave).at(seconds, 7);
        assert!((at(Wave::Sine, 0.0) - 15.0).abs() < 1e-9);
        assert!((at(Wave::Sine, 1.0) - 20.0).abs() < 1e-9);
        assert!((at(Wave::Sine, 3.0) - 10.0).abs() < 1e-9);
        assert!((at(Wave::Ramp, 5.0) - 12.5).abs() < 1e-9);
        assert_eq!((at(Wave::Square, 1.9), at(Wave::Square, 2.0)), (10.0, 20.0));
        assert_eq!((at(Wave::Counter, 3.9), at(Wave::Counter, 8.0)), (10.0, 16.0));
        assert_eq!(at(Wave::Counter, 20.0), 12.0, "15 steps up, 13 of them once around");
        assert_eq!(at(Wave::Constant, 99.0), 10.0);
    }

    #[test]
    fn random_holds_for_a_period_and_depends_on_the_seed_alone() {
        let signal = signal(Wave::Random);
        assert_eq!(signal.at(0.1, 7), signal.at(3.9, 7));
        assert_ne!(signal.at(0.1, 7), signal.at(4.1, 7));
        assert_ne!(signal.at(0.1, 7), signal.at(0.1, 8));
        for period in 0..1000 {
            assert!((10.0..=20.0).contains(&signal.at(f64::from(period) * 4.0, 7)));
        }
    }

    #[test]
    fn a_lag_covers_two_thirds_of_the_way_in_one_time_constant() {
        assert!((lag(0.0, 100.0, 2.0, 2.0) - 63.212).abs() < 0.001);
        assert_eq!(lag(0.0, 100.0, 1.0, 0.0), 100.0);
    }
}
