//! A clock that begins in 1970 and is set while the program runs.

use std::time::Duration;

use device_model::{AckCode, DeviceId, Quality, QualityCode, Timestamp, Value};
use device_twin::{Command, Desire, MemoryStore, Now, Settings, Store, Twins, Writer};

use crate::fixture::{at, pump, pump_id};
use crate::spy::SpyStore;

/// So many seconds after a start without a clock.
fn unset(seconds: i64) -> Now {
    Timestamp::from_millis(seconds * 1000).into()
}

/// The same, with the clock set to `at(0)` after ten minutes.
fn set(seconds: i64) -> Now {
    Now { wall: at(seconds - 600), ..unset(seconds) }
}

fn opened() -> Twins<MemoryStore> {
    opened_over(MemoryStore::new())
}

fn opened_over<S: Store>(store: S) -> Twins<S> {
    let mut twins = Twins::open(store, Settings::default(), unset(0)).unwrap();
    twins.apply([Command::Load(pump())], unset(0)).unwrap();
    twins
}

/// Takes a value of `speed`, sampled now.
fn read<S: Store>(twins: &mut Twins<S>, speed: i64, now: Now) {
    let reading = device_model::Reading::good(Value::Int(speed), now.wall);
    let report = device_twin::Report::of(pump_id())
        .with(device_twin::PropertyReport::reading("speed", reading));
    let outcome = twins.apply([Command::Report(report)], now).unwrap().remove(0);
    assert_eq!(outcome.result.unwrap().refused, []);
}

fn tick(twins: &mut Twins<MemoryStore>, now: Now) -> usize {
    twins.apply([Command::Tick], now).unwrap().remove(0).changes.len()
}

fn quality(twins: &Twins<MemoryStore>) -> (Quality, QualityCode) {
    let (_, state) = twins.get(&pump_id()).unwrap().property("speed").unwrap();
    state.reported.as_ref().map(|one| (one.quality, one.code)).unwrap()
}

fn desire<S: Store>(twins: &mut Twins<S>, expires_at: Timestamp, now: Now) {
    let mut desire = Desire::of(pump_id(), Writer::local("test")).with("speed", "7");
    desire.expires_at = Some(expires_at);
    twins.apply([Command::Desire(desire)], now).unwrap().remove(0).result.unwrap();
}

fn expired<S: Store>(twins: &Twins<S>) -> bool {
    let (_, state) = twins.get(&pump_id()).unwrap().property("speed").unwrap();
    state.ack.as_ref().is_some_and(|ack| ack.code == AckCode::Expired)
}

const GOOD: (Quality, QualityCode) = (Quality::Good, QualityCode::Ok);
const STALE: (Quality, QualityCode) = (Quality::Uncertain, QualityCode::Stale);

#[test]
fn r24_a_clock_that_is_set_makes_nothing_stale_and_keeps_the_order() {
    let mut twins = opened();
    read(&mut twins, 1, unset(599));
    let rev = twins.get(&pump_id()).unwrap().rev();
    assert_eq!(tick(&mut twins, set(600)), 0, "fifty-seven years in a second");
    assert_eq!((quality(&twins), twins.get(&pump_id()).unwrap().rev()), (GOOD, rev));
    read(&mut twins, 2, set(601));
    let (_, state) = twins.get(&pump_id()).unwrap().property("speed").unwrap();
    assert_eq!(state.reported.as_ref().unwrap().value, Some(Value::Int(2)));
    // Ten seconds later it is, and not before.
    assert_eq!(tick(&mut twins, set(610)), 0);
    assert_eq!(tick(&mut twins, set(611)), 1);
    assert_eq!(quality(&twins), STALE);
}

#[test]
fn r24_a_clock_that_is_set_back_delays_no_staleness() {
    let mut twins = Twins::open(MemoryStore::new(), Settings::default(), at(0)).unwrap();
    twins.apply([Command::Load(pump())], at(0)).unwrap();
    read(&mut twins, 1, at(1).into());
    let back = |seconds| Now { wall: unset(seconds).wall, steady: at(seconds) };
    assert_eq!(tick(&mut twins, back(10)), 0);
    assert_eq!(tick(&mut twins, back(11)), 1);
    assert_eq!(quality(&twins), STALE);
}

#[test]
fn r24_what_an_earlier_run_heard_is_stale_in_time_without_a_clock_too() {
    let mut store = MemoryStore::new();
    let mut earlier = Twins::open(store.clone(), Settings::default(), at(0)).unwrap();
    earlier.apply([Command::Load(pump())], at(0)).unwrap();
    read(&mut earlier, 1, at(1).into());
    store.clone_from(&earlier.into_store());
    let mut twins = Twins::open(store, Settings::default(), unset(0)).unwrap();
    twins.apply([Command::Load(pump())], unset(0)).unwrap();
    assert_eq!(tick(&mut twins, unset(9)), 0);
    assert_eq!(tick(&mut twins, unset(10)), 1);
    assert_eq!(quality(&twins), STALE);
    // What is read now counts, though the clock says that it is older.
    read(&mut twins, 2, unset(11));
    assert_eq!(quality(&twins), GOOD);
}

#[test]
fn r14_a_clock_that_is_set_ends_no_wish_before_its_time() {
    let mut twins = opened();
    let hour = unset(0).wall.plus(Duration::from_secs(3600));
    desire(&mut twins, hour, unset(0));
    assert_eq!(tick(&mut twins, set(600)), 0);
    assert_eq!(tick(&mut twins, set(3599)), 0);
    assert!(!expired(&twins));
    assert_eq!(tick(&mut twins, set(3600)), 1);
    assert!(expired(&twins));
}

#[test]
fn r14_a_wish_with_a_true_end_ends_then_once_the_clock_is_set() {
    let mut twins = opened();
    desire(&mut twins, at(5), unset(0));
    assert_eq!(tick(&mut twins, unset(599)), 0, "nobody knows what time it is");
    assert_eq!(tick(&mut twins, set(604)), 0);
    assert_eq!(tick(&mut twins, set(605)), 1);
    assert!(expired(&twins));
    // And at once if that was long ago when the clock is set.
    let mut twins = opened();
    desire(&mut twins, at(-5), unset(0));
    assert_eq!(tick(&mut twins, set(600)), 1);
    assert!(expired(&twins));
}

#[test]
fn r25_a_clock_that_is_set_forgets_no_deletion() {
    let mut twins = opened();
    desire(&mut twins, at(9999), unset(0));
    let id: DeviceId = pump_id();
    twins.apply([Command::Remove(id)], unset(1)).unwrap();
    let buried = |twins: &mut Twins<MemoryStore>| {
        use device_twin::Store;
        !twins.store().load().unwrap().tombstones.is_empty()
    };
    tick(&mut twins, set(600));
    assert!(buried(&mut twins));
    let month = 30 * 24 * 3600;
    tick(&mut twins, set(month));
    assert!(buried(&mut twins));
    tick(&mut twins, set(month + 1));
    assert!(!buried(&mut twins));
}

#[test]
fn r14_a_wish_that_ended_when_the_clock_was_set_ends_once_the_store_takes_it() {
    let (store, spy) = SpyStore::new();
    let mut twins = opened_over(store);
    desire(&mut twins, at(-1), unset(1));
    spy.fail(true);
    twins.apply([Command::Tick], set(601)).unwrap_err();
    assert!(!expired(&twins));
    spy.fail(false);
    twins.apply([Command::Tick], set(602)).unwrap();
    assert!(expired(&twins));
}

#[test]
fn r03_a_refresh_is_written_in_time_although_the_clock_was_set_back() {
    let (store, spy) = SpyStore::new();
    let mut twins = opened_over(store);
    // A year ahead, until somebody sets it.
    let ahead = |seconds| Now { wall: at(seconds + 366 * 86_400), ..unset(seconds) };
    read(&mut twins, 7, ahead(1));
    spy.commits();
    read(&mut twins, 7, set(602));
    assert_eq!(spy.commits().len(), 1, "its time is one that anybody knows now");
    read(&mut twins, 7, set(603));
    assert_eq!(spy.commits(), []);
}
