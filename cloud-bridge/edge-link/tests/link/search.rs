//! All that can happen in a small world, step by step: a breadth-first search over pure functions.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};

use proptest::prop_assert;
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;

/// A world that can be searched.
pub trait World: Clone + Hash + Sized {
    type Step: Copy + Debug;

    /// All that can happen next.
    fn steps(&self) -> Vec<Self::Step>;

    /// Has it happen. A step that breaks what must hold says what.
    fn step(&mut self, step: Self::Step) -> Result<(), &'static str>;

    /// What must hold wherever the world may stand.
    fn check(&self) -> Result<(), &'static str>;
}

/// What a search found.
#[derive(Debug)]
pub struct Searched<S> {
    pub states: usize,
    pub depth: usize,
    /// What does not hold, and the shortest way there.
    pub broken: Option<(&'static str, Vec<S>)>,
}

/// Two hashes of 64 bits: a state is known by them, so that a search needs 16 octets for each.
fn fingerprint(world: &impl World) -> (u64, u64) {
    let hash = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        world.hash(&mut hasher);
        hasher.finish()
    };
    (hash(1), hash(2))
}

/// Goes through everything that can be reached from `start`.
pub fn search<W: World>(start: W) -> Searched<W::Step> {
    let mut known = HashSet::from([fingerprint(&start)]);
    let mut ways: Vec<(usize, Option<W::Step>)> = vec![(0, None)];
    let mut front = vec![(0, start)];
    let mut depth = 0;
    let way = |ways: &[(usize, Option<W::Step>)], mut at: usize| {
        let mut steps = Vec::new();
        while let (before, Some(step)) = &ways[at] {
            steps.push(*step);
            at = *before;
        }
        steps.reverse();
        steps
    };
    while !front.is_empty() {
        let mut next = Vec::new();
        for (at, world) in front {
            if let Err(what) = world.check() {
                let broken = Some((what, way(&ways, at)));
                return Searched { states: known.len(), depth, broken };
            }
            for step in world.steps() {
                let mut after = world.clone();
                match after.step(step) {
                    Ok(()) if known.insert(fingerprint(&after)) => {
                        ways.push((at, Some(step)));
                        next.push((ways.len() - 1, after));
                    }
                    Ok(()) => {}
                    Err(what) => {
                        let mut steps = way(&ways, at);
                        steps.push(step);
                        let broken = Some((what, steps));
                        return Searched { states: known.len(), depth, broken };
                    }
                }
            }
        }
        depth += usize::from(!next.is_empty());
        front = next;
    }
    Searched { states: known.len(), depth, broken: None }
}

/// Whether the searches go as far as `docs/channel.md` says, which takes minutes and a release build.
pub fn full() -> bool {
    std::env::var("SEARCH").is_ok_and(|size| size == "full")
}

/// Searches all of `world`: nothing is broken there.
pub fn holds(what: &str, world: impl World) {
    let searched = search(world);
    println!("{what}: {} states, depth {}", searched.states, searched.depth);
    assert!(searched.broken.is_none(), "{:?}", searched.broken);
}

/// Goes one way through `world`, by chance: nothing is broken on it.
pub fn follow(mut world: impl World, choices: &[Index]) -> Result<(), TestCaseError> {
    for choice in choices {
        let steps = world.steps();
        if steps.is_empty() {
            break;
        }
        let step = steps[choice.index(steps.len())];
        let done = world.step(step).and_then(|()| world.check());
        prop_assert!(done.is_ok(), "{:?}: {:?}", step, done);
    }
    Ok(())
}

/// Searches `world` until something is broken there, and says what.
pub fn breaks(what: &str, world: impl World) -> &'static str {
    let searched = search(world);
    let (broken, way) = searched.broken.unwrap();
    println!("{what}: {broken}, after {} of {} states: {way:?}", searched.depth, searched.states);
    broken
}
