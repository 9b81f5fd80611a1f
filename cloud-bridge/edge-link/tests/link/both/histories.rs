//! Half a million histories, each from a seed. `SEED=7 cargo test -p edge-link both` goes through one of them again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Broken;
use super::step::Done;
use super::world::World;

const HISTORIES: u64 = 500_000;
const LENGTH: usize = 60;

fn live(seed: u64) -> Result<Done, Box<(Broken, World)>> {
    let mut world = World::of(seed);
    match world.live(LENGTH) {
        Ok(()) => Ok(world.done),
        Err(broken) => Err(Box::new((broken, world))),
    }
}

#[test]
fn cloud_and_edge_come_to_agree_through_half_a_million_histories() {
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().unwrap();
        if let Err(broken) = live(seed) {
            let (broken, world) = *broken;
            panic!("{broken}: {world:#?}");
        }
        return;
    }
    let first = 1;
    let (next, broken) = (AtomicU64::new(first), Mutex::new(None));
    let all = Mutex::new(Done::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + HISTORIES || broken.lock().unwrap().is_some() {
                        return;
                    }
                    match live(seed) {
                        Ok(one) => all.lock().unwrap().add(one),
                        Err(found) => {
                            let (what, world) = *found;
                            *broken.lock().unwrap() = Some((seed, what, world.steps));
                        }
                    }
                }
            });
        }
    });
    println!("{:?}", all.into_inner().unwrap());
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_none(), "SEED, what is broken, and the steps: {broken:?}");
}
