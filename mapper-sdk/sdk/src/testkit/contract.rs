//! What every driver has to do, as a suite that it runs against its simulator.
//!
//! A driver's crate implements [`Rig`] for its simulator and calls [`keeps_the_contract`], or the parts of it one
//! by one, each in a test of its own. All of them use the driver as the SDK does, and panic with a sentence where
//! it does something else.

#[cfg(test)]
mod tests;

use std::future::Future;
use std::time::Duration;

use device_model::{Access, Device, Property, Value};

use crate::driver::{Driver, PropertyFault, ReadResult, Session, SessionFault};

/// A simulator and what stands behind it. Everything holds from the call's end on.
pub trait Rig: Send {
    /// The driver under test.
    type Driver: Driver;

    /// The driver, configured to wait for an answer for a second at most.
    fn driver(&self) -> &Self::Driver;

    /// A device of the simulator: one property of each type that the protocol has, at least one of them writable,
    /// and no property that is refused.
    fn device(&self) -> Device;

    /// A property that the device has not, such as an address beyond its end: `device`, with that one property.
    fn refused(&self) -> Device;

    /// A neighbour of `device` on the same endpoint that answers when `device` is silent; none where the protocol has
    /// one device per endpoint.
    fn neighbour(&self) -> Option<Device> {
        None
    }

    /// What `property` of `device` is in the simulator.
    fn value(&self, property: &Property) -> impl Future<Output = Value> + Send;

    /// Changes what `property` of `device` is in the simulator.
    fn change(&mut self, property: &Property, value: &Value) -> impl Future<Output = ()> + Send;

    /// The unit of `device` hears and says nothing, until told otherwise.
    fn silence(&mut self, silent: bool) -> impl Future<Output = ()> + Send;

    /// Every connection is cut; new ones are taken.
    fn cut(&mut self) -> impl Future<Output = ()> + Send;

    /// The next answer comes after the driver's time-out, the following ones in time.
    fn delay_one(&mut self) -> impl Future<Output = ()> + Send;
}

type Opened<R> = (
    <<R as Rig>::Driver as Driver>::Session,
    <<R as Rig>::Driver as Driver>::Unit,
    Vec<<<R as Rig>::Driver as Driver>::Visitor>,
    Device,
);

/// Longest time a call may take, whatever goes wrong.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs every part of the suite.
pub async fn keeps_the_contract<R: Rig>(rig: &mut R) {
    plans_each_property_once(rig);
    reads_each_type(rig).await;
    writes_and_reads_back(rig).await;
    a_refused_address_keeps_the_session(rig).await;
    a_mute_unit_is_silent_and_its_neighbour_is_heard(rig).await;
    a_cut_wire_is_lost_and_can_be_opened_again(rig).await;
    a_late_answer_is_never_taken_for_the_next(rig).await;
    a_dropped_call_does_not_confuse_the_next(rig).await;
}

/// The plan holds each index once.
pub fn plans_each_property_once<R: Rig>(rig: &R) {
    let device = rig.device();
    let (_, unit, visitors) = parts(rig, &device);
    let visitors: Vec<_> = visitors.iter().collect();
    let mut indices: Vec<_> = rig.driver().plan(&unit, &visitors).into_iter().flatten().collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..visitors.len()).collect::<Vec<_>>(), "a plan holds each index once");
}

/// Every property reads as what the simulator holds.
pub async fn reads_each_type<R: Rig>(rig: &mut R) {
    let (mut session, unit, visitors, device) = open(rig).await;
    expect_all(rig, &mut session, &unit, &visitors, &device).await;
    session.close();
}

/// A written value is in the simulator, and reads back.
pub async fn writes_and_reads_back<R: Rig>(rig: &mut R) {
    let (mut session, unit, visitors, device) = open(rig).await;
    let mut written = 0;
    for (property, visitor) in device.properties.iter().zip(&visitors) {
        if property.access == Access::ReadOnly {
            continue;
        }
        let value = another(&rig.value(property).await, property);
        let outcome = within(session.write(&unit, visitor, &value)).await;
        assert_eq!(outcome, Ok(Ok(())), "{}: a write of {value}", property.name);
        expect(property, &value, &rig.value(property).await, "in the simulator after a write");
        let seen = within(session.read_back(&unit, visitor)).await;
        let seen = seen.unwrap_or_else(|fault| panic!("{}: read back: {fault}", property.name));
        expect_read(property, &value, &seen);
        written += 1;
    }
    assert!(written > 0, "the rig's device has no writable property");
    session.close();
}

/// What the device has not is refused, and the session goes on.
pub async fn a_refused_address_keeps_the_session<R: Rig>(rig: &mut R) {
    let (mut session, unit, visitors, device) = open(rig).await;
    let stranger = rig.refused();
    let (_, _, refused) = parts(rig, &stranger);
    for visitor in &refused {
        let read = within(session.read(&unit, &[visitor])).await;
        match read.as_deref() {
            Ok([Err(PropertyFault::Refused { .. })]) => {}
            other => panic!("a read of what the device has not gave {other:?}, not one refusal"),
        }
    }
    expect_all(rig, &mut session, &unit, &visitors, &device).await;
    session.close();
}

/// A unit that does not answer is [`SessionFault::Silent`], and the wire still works for others.
pub async fn a_mute_unit_is_silent_and_its_neighbour_is_heard<R: Rig>(rig: &mut R) {
    let (mut session, unit, visitors, device) = open(rig).await;
    rig.silence(true).await;
    let visitors_of: Vec<_> = group(rig, &unit, &visitors);
    let read = within(session.read(&unit, &visitors_of)).await;
    assert!(matches!(read, Err(SessionFault::Silent(_))), "a mute unit gave {read:?}, not Silent");
    if let Some(neighbour) = rig.neighbour() {
        let (_, other, others) = parts(rig, &neighbour);
        let others = group(rig, &other, &others);
        let read = within(session.read(&other, &others)).await;
        let heard = matches!(&read, Ok(results) if results.iter().all(Result::is_ok));
        assert!(heard, "the neighbour of a mute unit gave {read:?}");
    }
    rig.silence(false).await;
    expect_all(rig, &mut session, &unit, &visitors, &device).await;
    session.close();
}

/// A cut wire is [`SessionFault::Lost`], at the latest at the second call, and can be opened again.
pub async fn a_cut_wire_is_lost_and_can_be_opened_again<R: Rig>(rig: &mut R) {
    let (mut session, unit, visitors, device) = open(rig).await;
    rig.cut().await;
    let mut lost = false;
    for _ in 0..2 {
        let group = group(rig, &unit, &visitors);
        lost = matches!(within(session.read(&unit, &group)).await, Err(SessionFault::Lost(_)));
        if lost {
            break;
        }
    }
    assert!(lost, "a cut wire is not Lost");
    session.close();
    let (mut session, unit, visitors, _) = open(rig).await;
    expect_all(rig, &mut session, &unit, &visitors, &device).await;
    session.close();
}

/// After a time-out, an answer that comes late is thrown away: each later read gives what it asked for.
pub async fn a_late_answer_is_never_taken_for_the_next<R: Rig>(rig: &mut R) {
    let (mut session, unit, visitors, device) = open(rig).await;
    rig.delay_one().await;
    let first = group(rig, &unit, &visitors);
    let read = within(session.read(&unit, &first)).await;
    assert!(read.is_err(), "the rig's delay is shorter than the driver's time-out");
    for property in &device.properties {
        let value = another(&rig.value(property).await, property);
        rig.change(property, &value).await;
    }
    expect_all_or_reopen(rig, session, read, &device).await;
}

/// A call that is dropped half-way leaves a session that answers rightly, or says that it is lost.
pub async fn a_dropped_call_does_not_confuse_the_next<R: Rig>(rig: &mut R) {
    let (mut session, unit, visitors, device) = open(rig).await;
    {
        let group = group(rig, &unit, &visitors);
        let call = session.read(&unit, &group);
        tokio::pin!(call);
        // Long enough to be sent, too short for most to be answered.
        let _ = tokio::time::timeout(Duration::from_micros(200), &mut call).await;
    }
    for property in &device.properties {
        let value = another(&rig.value(property).await, property);
        rig.change(property, &value).await;
    }
    let group = group(rig, &unit, &visitors);
    let read = within(session.read(&unit, &group)).await;
    if let Ok(results) = &read {
        let indices = first_group(rig, &unit, &visitors);
        for (index, result) in indices.into_iter().zip(results) {
            let property = &device.properties[index];
            expect_read(property, &rig.value(property).await, result);
        }
    }
    expect_all_or_reopen(rig, session, read, &device).await;
}

async fn expect_all_or_reopen<R: Rig>(
    rig: &mut R,
    mut session: <R::Driver as Driver>::Session,
    read: Result<Vec<ReadResult>, SessionFault>,
    device: &Device,
) {
    if matches!(read, Err(SessionFault::Lost(_))) {
        session.close();
        session = open(rig).await.0;
    }
    let (_, unit, visitors) = parts(rig, device);
    for _ in 0..3 {
        expect_all(rig, &mut session, &unit, &visitors, device).await;
    }
    session.close();
}

async fn open<R: Rig>(rig: &R) -> Opened<R> {
    let device = rig.device();
    let (endpoint, unit, visitors) = parts(rig, &device);
    let session = within(rig.driver().connect(&endpoint)).await;
    let session = session.unwrap_or_else(|fault| panic!("connect to {endpoint}: {fault}"));
    (session, unit, visitors, device)
}

#[expect(clippy::type_complexity, reason = "three associated types of one driver")]
fn parts<R: Rig>(
    rig: &R,
    device: &Device,
) -> (
    <R::Driver as Driver>::Endpoint,
    <R::Driver as Driver>::Unit,
    Vec<<R::Driver as Driver>::Visitor>,
) {
    let driver = rig.driver();
    let (endpoint, unit) =
        driver.address(device).unwrap_or_else(|problems| panic!("address: {problems:?}"));
    let visitor = |property: &Property| {
        driver.visitor(device, property).unwrap_or_else(|problem| panic!("visitor: {problem}"))
    };
    (endpoint, unit, device.properties.iter().map(|property| visitor(property)).collect())
}

fn first_group<R: Rig>(
    rig: &R,
    unit: &<R::Driver as Driver>::Unit,
    visitors: &[<R::Driver as Driver>::Visitor],
) -> Vec<usize> {
    let all: Vec<_> = visitors.iter().collect();
    let plan = rig.driver().plan(unit, &all);
    plan.into_iter().next().unwrap_or_else(|| panic!("the plan is empty"))
}

fn group<'v, R: Rig>(
    rig: &R,
    unit: &<R::Driver as Driver>::Unit,
    visitors: &'v [<R::Driver as Driver>::Visitor],
) -> Vec<&'v <R::Driver as Driver>::Visitor> {
    first_group(rig, unit, visitors).into_iter().map(|index| &visitors[index]).collect()
}

async fn expect_all<R: Rig>(
    rig: &R,
    session: &mut <R::Driver as Driver>::Session,
    unit: &<R::Driver as Driver>::Unit,
    visitors: &[<R::Driver as Driver>::Visitor],
    device: &Device,
) {
    let all: Vec<_> = visitors.iter().collect();
    for group in rig.driver().plan(unit, &all) {
        let members: Vec<_> = group.iter().map(|index| all[*index]).collect();
        let results = within(session.read(unit, &members)).await;
        let results = results.unwrap_or_else(|fault| panic!("read: {fault}"));
        assert_eq!(results.len(), members.len(), "one result per visitor");
        for (index, result) in group.iter().zip(&results) {
            let property = &device.properties[*index];
            expect_read(property, &rig.value(property).await, result);
        }
    }
}

fn expect_read(property: &Property, wanted: &Value, result: &ReadResult) {
    match result {
        Ok(sample) => expect(property, wanted, &sample.value, "read"),
        Err(fault) => panic!("{}: {fault}", property.name),
    }
}

fn expect(property: &Property, wanted: &Value, found: &Value, place: &str) {
    let same = found.within(wanted, property.options.tolerance);
    assert!(same, "{}: {found} {place}, where {wanted} was expected", property.name);
}

/// Another value of the same type, near the old one and within the property's limits.
fn another(value: &Value, property: &Property) -> Value {
    let stepped = |up: bool| match value {
        Value::Int(number) => Value::Int(if up { number + 1 } else { number - 1 }),
        Value::Float(number) => Value::Float(if up { number + 1.0 } else { number - 1.0 }),
        Value::Double(number) => Value::Double(if up { number + 1.0 } else { number - 1.0 }),
        Value::Boolean(truth) => Value::Boolean(!truth),
        Value::String(text) => Value::String(text.chars().rev().collect()),
        Value::Bytes(octets) => Value::Bytes(octets.iter().map(|octet| octet ^ 1).collect()),
    };
    let up = stepped(true);
    if property.out_of_range(&up).is_none() { up } else { stepped(false) }
}

async fn within<T>(call: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(result) => result,
        Err(_) => panic!("the driver did not come back within {PATIENCE:?}"),
    }
}
