//! What happens to a device, at random.

use device_model::{AckCode, DeviceState};
use proptest::prelude::*;

pub(super) const NAMES: [&str; 3] = ["speed", "locked", "patient"];
/// `speed` accepts 0 to 3000.
pub(super) const TOO_MUCH: i64 = 5000;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The manifest is read, with or without a desired speed.
    Load(Option<i64>),
    Remove,
    Read {
        property: usize,
        value: Option<i64>,
        late: bool,
    },
    Ack {
        property: usize,
        back: u64,
        code: AckCode,
        with_reading: Option<i64>,
    },
    Echo {
        property: usize,
        value: i64,
    },
    Desire {
        property: usize,
        value: Option<i64>,
        life: Option<i64>,
    },
    DesireTwo {
        value: i64,
        other: i64,
    },
    State(DeviceState, Option<&'static str>),
    Lose,
    Judge(Option<&'static str>),
    Wait(i64),
    Restart,
}

/// Why a device is in its state.
const REASONS: [&str; 2] = ["connection refused", "no answer"];
/// What is wrong with a description.
const PROBLEMS: [&str; 2] = ["port: missing", "port: too large"];
pub(super) const LOST: Option<&str> = Some("its mapper is gone");

pub(super) fn step() -> impl Strategy<Value = Step> {
    let property = 0..NAMES.len();
    let value = || prop_oneof![8 => 0..4_i64, 1 => Just(TOO_MUCH)];
    let state = prop_oneof![Just(DeviceState::Online), Just(DeviceState::Offline)];
    prop_oneof![
        2 => prop::option::of(0..4_i64).prop_map(Step::Load),
        1 => Just(Step::Remove),
        6 => (property.clone(), prop::option::weighted(0.8, value()), prop::bool::weighted(0.1))
            .prop_map(|(property, value, late)| Step::Read { property, value, late }),
        5 => (property.clone(), 0..2_u64, prop::sample::select(&AckCode::ALL[..]), prop::option::of(0..4_i64))
            .prop_map(|(property, back, code, with_reading)| Step::Ack { property, back, code, with_reading }),
        2 => (property.clone(), 0..4_i64).prop_map(|(property, value)| Step::Echo { property, value }),
        5 => (property, prop::option::weighted(0.8, value()), prop::option::weighted(0.3, 1..8_i64))
            .prop_map(|(property, value, life)| Step::Desire { property, value, life }),
        1 => (value(), value()).prop_map(|(value, other)| Step::DesireTwo { value, other }),
        2 => (state, prop::option::of(prop::sample::select(&REASONS[..])))
            .prop_map(|(state, reason)| Step::State(state, reason)),
        1 => Just(Step::Lose),
        1 => prop::option::of(prop::sample::select(&PROBLEMS[..])).prop_map(Step::Judge),
        3 => (0..12_i64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}
