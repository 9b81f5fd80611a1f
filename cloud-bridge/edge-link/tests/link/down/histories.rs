//! Random histories of more objects, over a link and ends that fail in every way.

use edge_link::down::Window;
use proptest::prelude::*;
use proptest::sample::Index;

use super::world::{Budget, Down, Peer};
use crate::search::follow;

const PLENTY: Budget = Budget {
    changes: 30,
    losses: 100,
    doubles: 100,
    timeouts: 40,
    cuts: 10,
    restarts: 10,
    wipes: 3,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn objects_come_to_agree_through_any_history(
        choices in prop::collection::vec(any::<Index>(), 1..200),
        window in 1..3_usize,
    ) {
        follow(Down::new(Peer::Agent, Window::of(window), 3, PLENTY), &choices)?;
    }

    #[test]
    fn objects_come_to_agree_with_edgecore_too(choices in prop::collection::vec(any::<Index>(), 1..200)) {
        follow(Down::new(Peer::EdgeCore, Window::EDGECORE, 3, PLENTY), &choices)?;
    }
}
