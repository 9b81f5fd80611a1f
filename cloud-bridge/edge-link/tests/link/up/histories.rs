//! Random histories of more twins, over a link and ends that fail in every way.

use proptest::prelude::*;
use proptest::sample::Index;

use super::world::{Budget, Up};
use crate::search::World;

const PLENTY: Budget = Budget {
    changes: 60,
    losses: 100,
    doubles: 100,
    timeouts: 40,
    cuts: 10,
    restarts: 10,
    wipes: 3,
    rebirths: 5,
    erasures: 3,
    refusals: 20,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn twins_come_to_agree_through_any_history(choices in prop::collection::vec(any::<Index>(), 1..200)) {
        let mut world = Up::new(None, 3, PLENTY);
        for choice in choices {
            let steps = world.steps();
            if steps.is_empty() {
                break;
            }
            let step = steps[choice.index(steps.len())];
            let done = world.step(step);
            prop_assert!(done.is_ok(), "{:?}: {:?}", step, done);
            let quiet = world.check();
            prop_assert!(quiet.is_ok(), "{:?}: {:?}", step, quiet);
        }
    }
}
