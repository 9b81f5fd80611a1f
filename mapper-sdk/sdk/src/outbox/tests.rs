use std::collections::BTreeMap;

use device_model::{AckCode, DeviceState, Generation, Timestamp, Value};
use proptest::prelude::*;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::*;
use crate::fake::{device, manifests};

const WINDOW: Duration = Duration::from_secs(60);
const ONLINE: Health = Health { state: DeviceState::Online, reason: None };

fn outbox(devices: u32) -> Outbox {
    let mut outbox = Outbox::new(WINDOW);
    for n in 0..devices {
        let points = [("a", "", ""), ("b", "", ""), ("c", "", "")];
        let device = device(&manifests(&format!("device{n}"), "line", 1, &points));
        outbox.device(Seat(n), Arc::new(device));
    }
    outbox
}

fn name(text: &str) -> PropertyName {
    PropertyName::new(text).unwrap()
}

fn reading(number: i64) -> Reading {
    Reading::good(Value::Int(number), Timestamp::from_millis(number))
}

fn batch(seat: u32, readings: &[(&str, i64)]) -> Batch {
    let readings = readings.iter().map(|(point, number)| (name(point), reading(*number)));
    Batch { seat: Some(Seat(seat)), readings: readings.collect(), ..Batch::default() }
}

fn ack(seat: u32, generation: u64, code: AckCode) -> Batch {
    let ack = Ack { generation: Generation(generation), code, detail: String::new() };
    Batch { seat: Some(Seat(seat)), acks: vec![(name("a"), ack)], ..Batch::default() }
}

#[test]
fn the_newest_reading_of_a_property_wins_and_the_oldest_device_is_next() {
    let mut outbox = outbox(2);
    outbox.put(batch(0, &[("a", 1), ("b", 1)]), Instant::now());
    outbox.put(batch(1, &[("a", 5)]), Instant::now());
    outbox.put(batch(0, &[("b", 2)]), Instant::now());
    let parcel = outbox.take().unwrap();
    assert_eq!(parcel.seat, Seat(0));
    assert_eq!(parcel.readings, [(name("a"), reading(1)), (name("b"), reading(2))]);
    assert_eq!(outbox.take().unwrap().seat, Seat(1));
    assert!(outbox.take().is_none());
}

#[test]
fn one_call_per_device_is_under_way() {
    let mut outbox = outbox(1);
    outbox.put(batch(0, &[("a", 1)]), Instant::now());
    let parcel = outbox.take().unwrap();
    outbox.put(batch(0, &[("a", 2)]), Instant::now());
    assert!(outbox.take().is_none(), "the first has not landed");
    outbox.landed(parcel.seat);
    assert_eq!(outbox.take().unwrap().readings, [(name("a"), reading(2))]);
}

#[test]
fn what_was_put_off_comes_back_unless_something_newer_came() {
    let mut outbox = outbox(1);
    outbox.put(batch(0, &[("a", 1), ("b", 1)]), Instant::now());
    outbox.put(ack(0, 1, AckCode::Received), Instant::now());
    let parcel = outbox.take().unwrap();
    outbox.put(batch(0, &[("b", 2), ("c", 2)]), Instant::now());
    outbox.put(ack(0, 1, AckCode::Applying), Instant::now());
    outbox.put_off(parcel);
    let parcel = outbox.take().unwrap();
    let wanted = [("a", 1), ("b", 2), ("c", 2)].map(|(point, n)| (name(point), reading(n)));
    assert_eq!(parcel.readings, wanted);
    let codes: Vec<_> = parcel.acks.iter().map(|(_, ack)| ack.code).collect();
    assert_eq!(codes, [AckCode::Received, AckCode::Applying]);
}

#[test]
fn a_device_that_left_is_told_of_no_more() {
    let mut outbox = outbox(1);
    outbox.put(batch(0, &[("a", 1)]), Instant::now());
    let now = Instant::now();
    outbox.state(Seat(0), ONLINE, now);
    let parcel = outbox.take().unwrap();
    outbox.gone(Seat(0));
    outbox.put_off(parcel);
    outbox.put(batch(0, &[("a", 2)]), Instant::now());
    assert!(outbox.take().is_none() && outbox.take_state(now).is_none() && outbox.is_empty());
}

#[test]
fn what_waits_longest_is_known_until_the_agent_took_it() {
    let mut outbox = outbox(2);
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    outbox.put(batch(0, &[("a", 1)]), at(0));
    outbox.put(batch(1, &[("a", 1)]), at(1));
    outbox.put(batch(0, &[("a", 2), ("b", 2)]), at(2));
    assert_eq!((outbox.oldest(), outbox.untaken()), (Some(at(0)), 3));
    let parcel = outbox.take().unwrap();
    outbox.put(batch(0, &[("a", 3)]), at(3));
    assert_eq!((outbox.oldest(), outbox.untaken()), (Some(at(0)), 4), "it is under way");
    outbox.put_off(parcel);
    assert_eq!((outbox.oldest(), outbox.untaken()), (Some(at(0)), 3), "it was not taken");
    outbox.take().unwrap();
    outbox.landed(Seat(0));
    assert_eq!((outbox.oldest(), outbox.untaken()), (Some(at(1)), 1));
    outbox.gone(Seat(1));
    assert_eq!((outbox.oldest(), outbox.untaken()), (None, 0));
}

#[test]
fn what_is_described_no_more_does_not_wait() {
    let mut outbox = outbox(1);
    outbox.put(batch(0, &[("a", 1)]), Instant::now());
    outbox.take().unwrap();
    outbox.put(batch(0, &[("a", 2)]), Instant::now());
    let without = device(&manifests("device0", "line", 1, &[("b", "", "")]));
    outbox.device(Seat(0), Arc::new(without));
    outbox.landed(Seat(0));
    assert_eq!((outbox.oldest(), outbox.untaken()), (None, 0));
}

#[test]
fn states_are_told_when_they_change_and_to_a_new_agent() {
    let mut outbox = outbox(2);
    let now = Instant::now();
    outbox.state(Seat(1), ONLINE, now);
    let told = |outbox: &mut Outbox| outbox.take_state(now).map(|told| (told.seat, told.health));
    assert_eq!(told(&mut outbox), Some((Seat(1), ONLINE)));
    assert_eq!(told(&mut outbox), None);
    outbox.refresh(now);
    assert_eq!(told(&mut outbox), Some((Seat(1), ONLINE)));
    outbox.untold(Seat(1), now);
    assert_eq!(outbox.state_wake(), Some(now));
}

#[test]
fn a_problem_is_told_with_the_state_and_with_each_one_after_it() {
    let mut outbox = outbox(1);
    let now = Instant::now();
    let wrong = || Some(Arc::from("port: too large"));
    outbox.problem(Seat(0), wrong(), now);
    assert_eq!(outbox.state_wake(), None, "the state is not known yet");
    outbox.state(Seat(0), ONLINE, now);
    let told = |outbox: &mut Outbox| outbox.take_state(now).map(|told| (told.health, told.problem));
    assert_eq!(told(&mut outbox), Some((ONLINE, wrong())));
    outbox.problem(Seat(0), wrong(), now);
    assert_eq!(told(&mut outbox), None, "it is the same");
    outbox.problem(Seat(0), None, now);
    assert_eq!(told(&mut outbox), Some((ONLINE, None)));
    outbox.problem(Seat(0), wrong(), now);
    outbox.take_state(now).unwrap();
    outbox.untold(Seat(0), now);
    assert_eq!(told(&mut outbox), Some((ONLINE, wrong())), "it did not arrive");
}

proptest! {
    /// Events: a batch, a call taken, put off, landed; at the end everything is delivered.
    #[test]
    fn whatever_the_agent_does_the_newest_arrives_acks_arrive_in_order_and_memory_is_bounded(
        events in prop::collection::vec((0u8..4, 0u32..3, 0usize..3), 1..200),
    ) {
        let mut outbox = outbox(3);
        let mut newest = BTreeMap::new();
        let mut arrived = BTreeMap::new();
        let (mut sent_acks, mut seen_acks) = (Vec::new(), Vec::new());
        let mut flying: Vec<Parcel> = Vec::new();
        let mut land = |outbox: &mut Outbox, parcel: Parcel, seen: &mut Vec<u64>| {
            for (name, reading) in &parcel.readings {
                arrived.insert((parcel.seat, name.clone()), reading.clone());
            }
            seen.extend(parcel.acks.iter().map(|(_, ack)| ack.generation.0));
            outbox.landed(parcel.seat);
        };
        for (number, (event, seat, point)) in (1..).zip(events) {
            match event {
                0 => {
                    let point = ["a", "b", "c"][point];
                    outbox.put(batch(seat, &[(point, number)]), Instant::now());
                    newest.insert((Seat(seat), name(point)), reading(number));
                }
                1 => {
                    // Of one device, so that their order can be told.
                    let generation = u64::try_from(number).unwrap();
                    outbox.put(ack(0, generation, AckCode::Received), Instant::now());
                    sent_acks.push(generation);
                }
                2 => flying.extend(outbox.take()),
                _ if flying.is_empty() => {}
                _ if number % 2 == 0 => outbox.put_off(flying.remove(0)),
                _ => land(&mut outbox, flying.remove(0), &mut seen_acks),
            }
            prop_assert!(outbox.len() <= 9 + sent_acks.len());
            let under_way = flying.iter().map(|parcel| parcel.readings.len() + parcel.acks.len());
            prop_assert_eq!(outbox.untaken(), outbox.len() + under_way.sum::<usize>());
            prop_assert_eq!(outbox.oldest().is_some(), outbox.untaken() > 0);
        }
        for parcel in flying {
            outbox.put_off(parcel);
        }
        while let Some(parcel) = outbox.take() {
            land(&mut outbox, parcel, &mut seen_acks);
        }
        prop_assert!(outbox.is_empty() && outbox.untaken() == 0 && outbox.oldest().is_none());
        prop_assert_eq!(arrived, newest);
        prop_assert_eq!(seen_acks, sent_acks);
    }
}

#[test]
fn a_receipt_is_dropped_when_what_came_with_it_landed() {
    let mut outbox = outbox(2);
    let (receipt, mut taken) = oneshot::channel();
    outbox.put(Batch { receipts: vec![receipt], ..ack(1, 1, AckCode::Applying) }, Instant::now());
    let parcel = outbox.take().unwrap();
    outbox.put_off(parcel);
    assert_eq!(taken.try_recv(), Err(TryRecvError::Empty), "it waits");
    let parcel = outbox.take().unwrap();
    assert_eq!(taken.try_recv(), Err(TryRecvError::Empty), "it is under way");
    outbox.landed(parcel.seat);
    drop(parcel);
    assert_eq!(taken.try_recv(), Err(TryRecvError::Closed));
}
