//! One cycle of reading, without an agent.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use device_model::{Device, DeviceId, Problem, PropertyName, QualityCode, Reading};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::clock::time;
use crate::driver::{Driver, Session, SessionFault};
use crate::member::{Member, address};
use crate::metrics::Metrics;
use crate::schedule::Seat;
use crate::wire::{bounded, close};
use crate::write::Turn;

/// What one property of a device gave.
#[derive(Clone, Debug, PartialEq)]
pub struct OnceReading {
    /// Which device.
    pub device: DeviceId,
    /// Which property.
    pub property: PropertyName,
    /// What was read; Bad where nothing was.
    pub reading: Reading,
    /// Why it is Bad, for a person.
    pub problem: Option<String>,
}

/// Reads once what is reported of every device (`reportToCloud`): devices on one wire one after the other, wires side
/// by side. Nothing is written, and what does not answer is not asked twice.
pub async fn once<D: Driver>(driver: &D, devices: Vec<Device>) -> Vec<OnceReading> {
    let mut wires: HashMap<D::Endpoint, Vec<Member<D>>> = HashMap::new();
    let mut readings = Vec::new();
    for (device, number) in devices.into_iter().zip(0..) {
        let device = Arc::new(device);
        match address(driver, &device) {
            Ok((endpoint, unit)) => {
                let member = Member::new(driver, Seat(number), device, unit);
                wires.entry(endpoint).or_default().push(member);
            }
            Err(problems) => {
                let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
                bad(&device, QualityCode::ConfigError, &lines.join("; "), &mut readings);
            }
        }
    }
    let wires: FuturesUnordered<_> =
        wires.into_iter().map(|(endpoint, members)| wire(driver, endpoint, members)).collect();
    readings.extend(wires.collect::<Vec<_>>().await.into_iter().flatten());
    readings.sort_by(|a, b| a.device.cmp(&b.device));
    readings
}

async fn wire<D: Driver>(
    driver: &D,
    endpoint: D::Endpoint,
    members: Vec<Member<D>>,
) -> Vec<OnceReading> {
    let metrics = Metrics::default();
    let limit = driver.deadline(&endpoint);
    let mut readings = Vec::new();
    let mut session = bounded(limit, &metrics, driver.connect(&endpoint)).await;
    for mut member in members {
        for (property, problem) in &member.misfits {
            readings.push(OnceReading {
                device: member.device.id.clone(),
                property: property.clone(),
                reading: Reading::bad(QualityCode::ConfigError, time()),
                problem: Some(problem.to_string()),
            });
        }
        let groups = member.groups.clone();
        let mut silent: Option<String> = None;
        for group in groups {
            let visitors: Vec<_> =
                group.points.iter().map(|point| &member.points[*point].visitor).collect();
            let result = match (&mut session, &silent) {
                (Err(fault), _) => Err(fault.to_string()),
                (_, Some(cause)) => Err(cause.clone()),
                (Ok(open), None) => {
                    match bounded(limit, &metrics, open.read(&member.unit, &visitors)).await {
                        Ok(results) => Ok(results),
                        Err(fault @ SessionFault::Silent(_)) => {
                            silent = Some(fault.to_string());
                            Err(fault.to_string())
                        }
                        Err(fault) => {
                            let text = fault.to_string();
                            session = Err(fault);
                            Err(text)
                        }
                    }
                }
            };
            let now = std::time::Instant::now();
            match result {
                Ok(results) => {
                    for (point, result) in group.points.iter().zip(results) {
                        let problem = result.as_ref().err().map(ToString::to_string);
                        let property = member.property(*point).name.clone();
                        let (reading, _): (_, Turn) = member.judge(*point, result, now, time());
                        readings.extend(reading.map(|reading| OnceReading {
                            device: member.device.id.clone(),
                            property,
                            reading,
                            problem,
                        }));
                    }
                }
                Err(cause) => {
                    for point in &group.points {
                        readings.push(OnceReading {
                            device: member.device.id.clone(),
                            property: member.property(*point).name.clone(),
                            reading: Reading::bad(QualityCode::NoCommunication, time()),
                            problem: Some(cause.clone()),
                        });
                    }
                }
            }
        }
    }
    if let Ok(session) = session {
        close(session, &metrics);
    }
    readings
}

fn bad(device: &Device, code: QualityCode, problem: &str, readings: &mut Vec<OnceReading>) {
    let reported = device.properties.iter().filter(|property| property.report);
    readings.extend(reported.map(|property| OnceReading {
        device: device.id.clone(),
        property: property.name.clone(),
        reading: Reading::bad(code, time()),
        problem: Some(problem.to_owned()),
    }));
}
