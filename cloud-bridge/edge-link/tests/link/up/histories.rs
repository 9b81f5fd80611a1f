//! Random histories of more twins, over a link and ends that fail in every way.

use proptest::prelude::*;
use proptest::sample::Index;

use super::world::{Budget, Up};
use crate::search::follow;

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
        follow(Up::new(None, 3, PLENTY), &choices)?;
    }
}
