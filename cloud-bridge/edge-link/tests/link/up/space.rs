//! Everything that can happen to two twins on their way up. `SEARCH=full` goes further than a test has time for.

use super::world::{Budget, Mistake, Up};
use crate::search::{breaks, full, holds};

/// Nothing goes wrong; two changes.
const CALM: Budget = Budget {
    changes: 2,
    losses: 0,
    doubles: 0,
    timeouts: 0,
    cuts: 0,
    restarts: 0,
    wipes: 0,
    rebirths: 0,
    erasures: 0,
    refusals: 0,
};

fn world(budget: Budget) -> Up {
    Up::new(None, 2, budget)
}

#[test]
fn no_loss_doubling_or_reordering_brings_an_old_value_back() {
    let small = Budget { losses: 1, doubles: 1, ..CALM };
    let budget = if full() { Budget { timeouts: 1, ..small } } else { small };
    holds("up, faults of the link", world(budget));
}

#[test]
fn no_restart_loss_of_a_store_or_new_life_brings_an_old_value_back() {
    let small = Budget { changes: 1, restarts: 1, wipes: 1, rebirths: 1, erasures: 1, ..CALM };
    let budget = if full() { Budget { changes: 2, refusals: 1, ..small } } else { small };
    holds("up, restarts, lost stores and new lives", Up::new(None, 1, budget));
}

#[test]
fn the_search_finds_what_a_hub_does_wrong() {
    let faults = Budget { doubles: 1, timeouts: 1, ..CALM };
    let wrong = |mistake, budget| Up::new(Some(mistake), 1, budget);
    assert_eq!(
        breaks("up, takes anything", wrong(Mistake::TakesAnything, faults)),
        "the API server had something newer than what was written"
    );
    assert_eq!(
        breaks("up, confirms first", wrong(Mistake::ConfirmsFirst, CALM)),
        "something was confirmed that the cloud does not show"
    );
}
