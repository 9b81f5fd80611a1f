//! One device as its wire's task holds it: every property that can be read, with what was said about it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use device_model::{
    Ack, AckCode, Device, DeviceState, Problem, Property, PropertyName, Quality, QualityCode,
    Reading, Timestamp, Value,
};
use tracing::warn;

use crate::driver::{Driver, ReadResult, Tag};
use crate::report::Health;
use crate::schedule::Seat;
use crate::strategy::Strategy;
use crate::write::{Known, Origin, Turn, Wanted, Writer};

/// Properties that are named when several are ill.
const NAMED: usize = 3;

/// One property of a [`Member`].
#[derive(Debug)]
pub(crate) struct Point<V> {
    /// Place in the device's list of properties.
    pub(crate) index: usize,
    pub(crate) visitor: V,
    pub(crate) writer: Writer,
    pub(crate) tag: Option<Tag>,
    strategy: Strategy,
    /// Why the last reading had no value, if it had none.
    bad: Option<QualityCode>,
}

/// Points that one transaction reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) points: Vec<usize>,
    pub(crate) every: Duration,
}

/// Whether the device answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Nothing was heard yet.
    Unknown,
    Up,
    Down,
}

/// One device on a wire.
#[derive(Debug)]
pub(crate) struct Member<D: Driver> {
    pub(crate) seat: Seat,
    pub(crate) device: Arc<Device>,
    pub(crate) unit: D::Unit,
    pub(crate) points: Vec<Point<D::Visitor>>,
    pub(crate) groups: Vec<Group>,
    pub(crate) link: Link,
    /// Properties whose configuration the driver refused.
    pub(crate) misfits: Vec<(PropertyName, Problem)>,
    /// Why the device does not answer; the last known cause.
    pub(crate) cause: Option<Arc<str>>,
    /// What was last told of it as a whole.
    pub(crate) told: Option<Health>,
}

impl<D: Driver> Member<D> {
    /// Asks the driver how each property is reached. Those that it refuses are left out, and named.
    pub(crate) fn new(driver: &D, seat: Seat, device: Arc<Device>, unit: D::Unit) -> Self {
        let mut points = Vec::with_capacity(device.properties.len());
        let mut misfits = Vec::new();
        for (index, property) in device.properties.iter().enumerate() {
            let visitor = sheltered(&property.name, || driver.visitor(&device, property));
            match visitor.unwrap_or_else(Err) {
                Ok(visitor) => points.push(Point {
                    index,
                    visitor,
                    writer: Writer::default(),
                    tag: None,
                    strategy: Strategy::default(),
                    bad: None,
                }),
                Err(problem) => misfits.push((property.name.clone(), problem)),
            }
        }
        let mut member = Self {
            seat,
            device,
            unit,
            points,
            groups: Vec::new(),
            link: Link::Unknown,
            misfits,
            cause: None,
            told: None,
        };
        member.plan(driver);
        member
    }

    /// Groups the points that are to be polled: those with the same cycle, as the driver says.
    pub(crate) fn plan(&mut self, driver: &D) {
        let polled: Vec<usize> = (0..self.points.len())
            .filter(|point| {
                let point = &self.points[*point];
                point.tag.is_none() && self.device.properties[point.index].report
            })
            .collect();
        let cycle = |point: &usize| self.device.properties[self.points[*point].index].collect_cycle;
        let mut cycles: Vec<Duration> = polled.iter().map(cycle).collect();
        cycles.sort_unstable();
        cycles.dedup();
        let mut groups = Vec::new();
        for every in cycles {
            let alike: Vec<usize> =
                polled.iter().copied().filter(|point| cycle(point) == every).collect();
            let visitors: Vec<_> = alike.iter().map(|point| &self.points[*point].visitor).collect();
            let plan = catch_unwind(AssertUnwindSafe(|| driver.plan(&self.unit, &visitors)));
            let plan = checked(plan.unwrap_or_default(), alike.len()).unwrap_or_else(|| {
                warn!(device = %self.device.id, "the driver's plan is no partition of the properties; each is read alone");
                (0..alike.len()).map(|index| vec![index]).collect()
            });
            groups.extend(plan.into_iter().map(|group| Group {
                points: group.into_iter().map(|index| alike[index]).collect(),
                every,
            }));
        }
        self.groups = groups;
    }

    /// The point of a property, if it has one.
    pub(crate) fn point_of(&self, name: &PropertyName) -> Option<usize> {
        self.points.iter().position(|point| self.device.properties[point.index].name == *name)
    }

    /// Takes over what `before`, the same device as it was, knew of properties that are still there.
    pub(crate) fn inherit(&mut self, mut before: Self) {
        self.link = before.link;
        self.told = before.told;
        self.cause = before.cause;
        for point in &mut self.points {
            let name = &self.device.properties[point.index].name;
            let old = before
                .points
                .iter_mut()
                .find(|old| before.device.properties[old.index].name == *name);
            if let Some(old) = old {
                point.writer = std::mem::take(&mut old.writer);
                point.strategy = std::mem::take(&mut old.strategy);
                point.bad = old.bad;
            }
        }
    }

    pub(crate) fn property(&self, point: usize) -> &Property {
        &self.device.properties[self.points[point].index]
    }

    /// Splits a point from its property, to change the one by the options of the other.
    pub(crate) fn pair(&mut self, point: usize) -> (&mut Point<D::Visitor>, &Property) {
        let point = &mut self.points[point];
        let property = &self.device.properties[point.index];
        (point, property)
    }

    /// Tells a property's writer what the device's description desires now.
    pub(crate) fn want(
        &mut self,
        point: usize,
        origin: Origin,
        doubtful: bool,
        acks: &mut Vec<Ack>,
    ) -> Turn {
        let (id, point) = (&self.device.id, &mut self.points[point]);
        let property = &self.device.properties[point.index];
        if property.access == device_model::Access::ReadOnly {
            // It may have been writable until now.
            return point.writer.want(None, &property.options, acks);
        }
        let wanted = property.desired.as_ref().map(|desire| {
            let mut wanted = Wanted::read(desire, point.writer.wanted(), origin);
            let first = point.writer.wanted().is_none();
            wanted.known = match wanted.known {
                // What the agent knew is older than what a task that is gone may have done.
                Known::New if doubtful => Known::Untold,
                Known::Acked(code) if doubtful && !code.is_final() => {
                    Known::Acked(AckCode::Applying)
                }
                // An earlier process may have written it. A pulse it would have announced.
                Known::New
                    if first
                        && origin == Origin::Registration
                        && !property.options.at_most_once =>
                {
                    Known::Untold
                }
                known => known,
            };
            wanted
        });
        if let Some(wanted) = &wanted
            && point.writer.passes_over(wanted)
        {
            warn!(
                device = %id, property = %property.name, version = %wanted.generation,
                "the agent desires an older value than it did before; passed over, set it again if it is meant"
            );
        }
        point.writer.want(wanted, &property.options, acks)
    }

    /// Judges what a read gave for a point, and says what is to be reported of it and whether a write is due.
    pub(crate) fn judge(
        &mut self,
        point: usize,
        result: ReadResult,
        now: Instant,
        time: Timestamp,
    ) -> (Option<Reading>, Turn) {
        let (point, property) = self.pair(point);
        let reading = to_reading(result, property, time);
        let turn = match &reading.value {
            Some(value) => point.writer.seen(value, &property.options),
            None => Turn::None,
        };
        point.bad = (reading.quality == Quality::Bad).then_some(reading.code);
        if !property.report {
            return (None, turn);
        }
        let passed = point.strategy.offer(reading, &property.options, now);
        if let (Some(reading), Some(_)) = (&passed, point.tag) {
            // The device may not push it again for long, but a new agent asks for it.
            point.strategy.forced(reading, now);
        }
        (passed, turn)
    }

    /// Whoever takes the reports forgot what was told: the next reading of each property is passed on, whatever
    /// it is. Gives what no reading will tell.
    pub(crate) fn refresh(
        &mut self,
        now: Instant,
        time: Timestamp,
    ) -> Vec<(PropertyName, Reading)> {
        self.told = None;
        for point in &mut self.points {
            point.strategy.refresh();
        }
        let mut readings = self.misfit_readings(time);
        if self.link == Link::Down {
            readings.extend(self.all_bad(QualityCode::NoCommunication, now, time));
        }
        readings
    }

    /// Readings that are due though the device pushed nothing, and when to ask again.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        mut pass: impl FnMut(PropertyName, Reading),
    ) -> Option<Instant> {
        let mut wake: Option<Instant> = None;
        for point in self.points.iter_mut().filter(|point| point.tag.is_some()) {
            let property = &self.device.properties[point.index];
            if let Some(reading) = point.strategy.tick(&property.options, now) {
                pass(property.name.clone(), reading);
            }
            let next = point.strategy.wake(&property.options);
            wake = wake.into_iter().chain(next).min();
        }
        wake
    }

    /// All properties are Bad, at once (rule R23).
    pub(crate) fn all_bad(
        &mut self,
        code: QualityCode,
        now: Instant,
        time: Timestamp,
    ) -> Vec<(PropertyName, Reading)> {
        let mut readings = Vec::with_capacity(self.points.len());
        for point in &mut self.points {
            let property = &self.device.properties[point.index];
            if property.report {
                let reading = Reading::bad(code, time);
                point.bad = Some(code);
                point.strategy.forced(&reading, now);
                readings.push((property.name.clone(), reading));
            }
        }
        readings
    }

    /// The device answers again. What its properties are like will be read.
    pub(crate) fn up(&mut self) {
        self.link = Link::Up;
        for point in &mut self.points {
            point.bad = None;
        }
    }

    /// Readings of the properties that the driver refused.
    pub(crate) fn misfit_readings(&self, time: Timestamp) -> Vec<(PropertyName, Reading)> {
        let bad = || Reading::bad(QualityCode::ConfigError, time);
        self.misfits.iter().map(|(name, _)| (name.clone(), bad())).collect()
    }

    /// What is to be told of the device as a whole, if that is new.
    pub(crate) fn new_health(&mut self) -> Option<Health> {
        let health = match self.link {
            // Nothing of it can be read, so nothing will be heard.
            Link::Unknown if self.points.is_empty() => {
                Health { state: DeviceState::Unhealthy, reason: Some(self.illness()?.into()) }
            }
            Link::Unknown => return None,
            Link::Down => Health { state: DeviceState::Offline, reason: self.cause.clone() },
            Link::Up => match self.illness() {
                Some(illness) => {
                    Health { state: DeviceState::Unhealthy, reason: Some(illness.into()) }
                }
                None => Health { state: DeviceState::Online, reason: None },
            },
        };
        if self.told.as_ref() == Some(&health) {
            return None;
        }
        self.told = Some(health.clone());
        Some(health)
    }

    /// What is wrong with single properties, of the first few; `None`: nothing.
    fn illness(&self) -> Option<String> {
        let misfits = self.misfits.iter().map(|(_, problem)| problem.to_string());
        let bad = self.points.iter().filter_map(|point| {
            let property = &self.device.properties[point.index];
            let code = point.bad.filter(|_| property.report)?;
            Some(format!("{}: {}", property.name, code.meaning()))
        });
        let mut all = misfits.chain(bad);
        let mut text = all.next()?;
        for one in all.by_ref().take(NAMED - 1) {
            text.push_str("; ");
            text.push_str(&one);
        }
        match all.count() {
            0 => {}
            more => text.push_str(&format!("; and {more} more")),
        }
        Some(text)
    }
}

/// The device's wire and its place there. What is wrong with them is never nothing.
pub(crate) fn address<D: Driver>(
    driver: &D,
    device: &Device,
) -> Result<(D::Endpoint, D::Unit), Vec<Problem>> {
    let address = sheltered(&device.id, || driver.address(device));
    address.unwrap_or_else(|panic| Err(vec![panic])).map_err(|mut problems| {
        if problems.is_empty() {
            let field = "spec.protocol.configData";
            problems.push(Problem::new(field, "", "refused by the driver", "check it"));
        }
        problems
    })
}

/// Runs a driver's code that must not take the mapper down. The error is its panic.
pub(crate) fn sheltered<T>(
    what: &impl std::fmt::Display,
    call: impl FnOnce() -> T,
) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| {
        Problem::new(
            what.to_string(),
            "",
            "the driver panicked over it",
            "report this to the driver's author, with the device's manifest",
        )
    })
}

/// A plan that holds each index below `count` once.
fn checked(plan: Vec<Vec<usize>>, count: usize) -> Option<Vec<Vec<usize>>> {
    let mut seen = vec![false; count];
    for index in plan.iter().flatten() {
        if std::mem::replace(seen.get_mut(*index)?, true) {
            return None;
        }
    }
    seen.into_iter().all(|seen| seen).then(|| plan.into_iter().filter(|g| !g.is_empty()).collect())
}

/// Before this, a device's clock was not set: many start in 1970 or 2000.
const FIRST_CREDIBLE: Timestamp = Timestamp::from_millis(978_307_200_000);

fn to_reading(result: ReadResult, property: &Property, time: Timestamp) -> Reading {
    let sample = match result {
        Ok(sample) if sample.value.data_type() == property.data_type => sample,
        Ok(_) => return Reading::bad(QualityCode::ConfigError, time),
        Err(fault) => return Reading::bad(fault.quality_code(), time),
    };
    let mut reading = Reading {
        quality: sample.quality,
        code: sample.code,
        source_time: sample.source_time,
        sample_time: time,
        value: Some(sample.value),
    };
    let limits = (&property.minimum, &property.maximum);
    if reading.quality == Quality::Good
        && reading.value.as_ref().is_some_and(|value| !within_limits(value, limits))
    {
        (reading.quality, reading.code) = (Quality::Uncertain, QualityCode::OutOfRange);
    }
    let latest = time.plus(property.options.clock_skew);
    if reading.source_time.is_some_and(|at| at > latest || at < FIRST_CREDIBLE) {
        // The time is no use to anybody; the gateway's stands.
        reading.source_time = None;
        if reading.quality == Quality::Good {
            (reading.quality, reading.code) = (Quality::Uncertain, QualityCode::ClockSkew);
        }
    }
    reading
}

/// Compares in the property's own type: 0.1 as a 32-bit float is not above 0.1.
fn within_limits(value: &Value, (low, high): (&Option<Value>, &Option<Value>)) -> bool {
    fn at_most(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Int(a), Value::Int(b)) => a <= b,
            (Value::Float(a), Value::Float(b)) => a <= b,
            (Value::Double(a), Value::Double(b)) => a <= b,
            _ => true,
        }
    }
    low.as_ref().is_none_or(|low| at_most(low, value))
        && high.as_ref().is_none_or(|high| at_most(value, high))
}
