//! Everything that can happen to two objects on their way down. `SEARCH=full` goes further than a test has time for.

use edge_link::down::Window;

use super::world::{Budget, Down, Mistake, Peer};
use crate::search::{breaks, full, holds};

/// Nothing goes wrong; two objects change three times.
const CALM: Budget =
    Budget { changes: 3, losses: 0, doubles: 0, timeouts: 0, cuts: 0, restarts: 0, wipes: 0 };

/// What a link does.
fn faults() -> Budget {
    let small = Budget { losses: 1, doubles: 1, ..CALM };
    if full() { Budget { changes: 4, ..small } } else { small }
}

/// What happens to the ends.
fn deaths() -> Budget {
    let small = Budget { restarts: 1, wipes: 1, ..CALM };
    if full() { Budget { cuts: 1, losses: 1, ..small } } else { small }
}

fn agent(budget: Budget) -> Down {
    Down::new(Peer::Agent, Window::of(2), 2, budget)
}

fn broken(mistake: Mistake, budget: Budget) -> Down {
    Down::new(Peer::Broken(mistake), Window::of(2), 2, budget)
}

#[test]
fn no_loss_doubling_or_reordering_leads_an_edge_astray() {
    holds("down, agent, faults of the link", agent(faults()));
}

#[test]
fn no_restart_of_either_end_and_no_loss_of_a_store_leads_an_edge_astray() {
    holds("down, agent, restarts and a lost store", agent(deaths()));
}

#[test]
fn an_edge_that_deletes_by_name_loses_nothing_either() {
    let budget = Budget { timeouts: 1, cuts: 1, restarts: 1, ..CALM };
    let budget = if full() { Budget { changes: 4, ..budget } } else { budget };
    holds("down, EdgeCore", Down::new(Peer::EdgeCore, Window::EDGECORE, 2, budget));
}

#[test]
fn the_search_finds_what_an_edge_does_wrong() {
    let doubles = Budget { doubles: 1, ..CALM };
    assert_eq!(
        breaks("down, deletes by name", broken(Mistake::DeletesByName, doubles)),
        "the end of a former life removed the present one"
    );
    assert_eq!(
        breaks("down, ignores the order", broken(Mistake::IgnoresOrder, doubles)),
        "a life that was over came back"
    );
    let wiped = Budget { wipes: 1, ..CALM };
    assert_eq!(
        breaks("down, says nothing of its loss", broken(Mistake::SaysNothing, wiped)),
        "when all was quiet the edge had something else than the cloud"
    );
}
