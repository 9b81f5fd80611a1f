//! One open wire, used for all units on it.

use std::sync::Arc;
use std::time::Duration;

use device_model::{AckCode, QualityCode, Value};
use mapper_sdk::{FrameTap, PropertyFault, ReadResult, Session, SessionFault};
use tokio::time::sleep;

use crate::codec::{self, Encoded};
use crate::endpoint::Unit;
use crate::exception::{Exception, Meaning};
use crate::frame::{Ask, unpack};
use crate::learned::Learned;
use crate::place::Place;
use crate::plan::{Span, plan};
use crate::transport::{Answer, NoAnswer, Transport};
use crate::visitor::Visitor;
use crate::wires::Settings;

/// A device that says "busy" is asked this often, with this pause.
const BUSY_TRIES: u32 = 3;
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// Most requests that one transaction spends on finding out which register a device refuses; the next
/// transaction goes on from there.
const SEARCH: u32 = 40;

/// A Modbus connection.
pub struct ModbusSession {
    transport: Transport,
    settings: Arc<Settings>,
    learned: Learned,
    /// Registers or bits of the last read, one word each.
    words: Vec<u16>,
}

impl ModbusSession {
    pub(crate) fn new(transport: Transport, settings: Arc<Settings>) -> Self {
        let words = Vec::with_capacity(128);
        Self { transport, settings, learned: Learned::default(), words }
    }

    /// The session was opened with settings that are no longer the wire's.
    fn check_settings(&self) -> Result<(), SessionFault> {
        if self.settings.are_current() {
            Ok(())
        } else {
            Err(SessionFault::lost("the settings of the wire were changed"))
        }
    }

    /// Asks until the unit is not busy; the registers or bits of a read are then in `self.words`.
    async fn ask(
        &mut self,
        unit: &Unit,
        ask: &Ask<'_>,
    ) -> Result<Result<(), Refusal>, SessionFault> {
        let mut tries = 0;
        loop {
            tries += 1;
            let answer = match self.transport.exchange(unit, ask).await {
                // Damaged on its way: nothing happened that must not happen twice.
                Err(NoAnswer::Garbled(_)) if ask.is_read() && tries == 1 => continue,
                answer => answer?,
            };
            let exception = match answer {
                Answer::Data(data) => {
                    if let Ask::Read(span) = ask {
                        unpack(span, data, &mut self.words);
                    }
                    return Ok(Ok(()));
                }
                Answer::Done => return Ok(Ok(())),
                Answer::Malformed => return Ok(Err(Refusal::Malformed)),
                Answer::Exception(code) => Exception(code),
            };
            match exception.meaning() {
                // The device took the write and works on it.
                Meaning::Busy if exception.0 == 5 && !ask.is_read() => return Ok(Ok(())),
                Meaning::Busy if tries < BUSY_TRIES => sleep(BUSY_PAUSE).await,
                Meaning::Absent => {
                    let text = format!("unit {}: {}", unit.id, exception.text());
                    return Err(SessionFault::silent(text));
                }
                _ => return Ok(Err(Refusal::Exception(exception))),
            }
        }
    }

    /// Reads `members` (indices into `visitors`, by address) with one request, or with as many as it takes to find
    /// out which of them the device refuses.
    async fn read_members(
        &mut self,
        unit: &Unit,
        visitors: &[&Visitor],
        members: Vec<usize>,
        results: &mut [Option<ReadResult>],
    ) -> Result<(), SessionFault> {
        let mut parts = vec![members];
        let mut refused = Vec::new();
        let mut requests = 0;
        while let Some(mut part) = parts.pop() {
            let Some(span) = Span::over(part.iter().map(|index| visitors[*index])) else {
                continue;
            };
            requests += 1;
            match self.ask(unit, &Ask::Read(span)).await? {
                Ok(()) => self.decode(&span, visitors, &part, results),
                Err(Refusal::Exception(exception))
                    if exception.meaning() == Meaning::TooMuch
                        && part.len() > 1
                        && requests < SEARCH =>
                {
                    let right = part.split_off(part.len() / 2);
                    refused.push((span, u32::from(visitors[right[0]].read.address), exception));
                    parts.push(right);
                    parts.push(part);
                }
                Err(refusal) => {
                    for index in part.iter().copied() {
                        results[index] = Some(Err(refusal.fault(&span, visitors[index])));
                    }
                    if let ([only], Refusal::Exception(exception)) = (part.as_slice(), refusal)
                        && !refused.is_empty()
                    {
                        let visitor = visitors[*only];
                        self.learned.refuse(unit.id, visitor, exception, unit.quarantine);
                    }
                }
            }
        }
        // Inner spans first: a border found there explains the outer ones, too.
        for (span, border, exception) in refused.iter().rev() {
            self.learned.divide(unit.id, span, *border, *exception, unit.quarantine);
        }
        Ok(())
    }

    fn decode(
        &mut self,
        span: &Span,
        visitors: &[&Visitor],
        members: &[usize],
        results: &mut [Option<ReadResult>],
    ) {
        for index in members {
            let visitor = visitors[*index];
            let from = usize::from(visitor.read.address - span.start.address);
            let words = self.words.get(from..from + usize::from(visitor.width));
            results[*index] = Some(codec::decode(visitor, words.unwrap_or_default()));
        }
    }

    /// The one request that reads the whole group, if one may.
    fn single_request(&self, unit: &Unit, group: &[&Visitor]) -> bool {
        let fits = |span: Span| {
            let (table, start) = (span.start.table, u32::from(span.start.address));
            span.count <= unit.limits.cap(table)
                && !unit.limits.forbidden.iter().any(|hole| hole.hurts(table, start, span.end()))
        };
        group.len() == 1
            || (self.learned.nothing_about(unit.id)
                && Span::over(group.iter().copied()).is_some_and(fits))
    }
}

/// Why a request was not served, though the wire is fine.
#[derive(Clone, Copy)]
enum Refusal {
    Exception(Exception),
    Malformed,
}

impl Refusal {
    /// The fault of `visitor`, which was read as part of `span`.
    fn fault(self, span: &Span, visitor: &Visitor) -> PropertyFault {
        match self {
            Self::Exception(exception) if span.count == visitor.width => {
                exception.fault(visitor.read)
            }
            Self::Exception(exception) => exception.fault(format_args!(
                "{}, read as one of {} from {}",
                visitor.read, span.count, span.start
            )),
            Self::Malformed => malformed(visitor.read),
        }
    }
}

fn malformed(place: Place) -> PropertyFault {
    PropertyFault::undecodable(format!("the answer at {place} is not one to the request"))
}

impl Session for ModbusSession {
    type Unit = Unit;
    type Visitor = Visitor;

    async fn read(
        &mut self,
        unit: &Unit,
        group: &[&Visitor],
    ) -> Result<Vec<ReadResult>, SessionFault> {
        self.check_settings()?;
        let mut results: Vec<Option<ReadResult>> = vec![None; group.len()];
        self.learned.forget_old();
        if self.single_request(unit, group) {
            let mut members: Vec<usize> = (0..group.len()).collect();
            members.sort_by_key(|index| group[*index].read.address);
            self.read_members(unit, group, members, &mut results).await?;
            if let ([only], [Some(Ok(_))]) = (group, results.as_slice()) {
                self.learned.absolve(unit.id, only);
            }
        } else {
            let holes = self.learned.holes(unit.id);
            for request in plan(&unit.limits, &holes, group) {
                if let [only] = request.members.as_slice()
                    && let Some(exception) = self.learned.refusal(unit.id, group[*only])
                {
                    results[*only] = Some(Err(exception.fault(group[*only].read)));
                    continue;
                }
                self.read_members(unit, group, request.members, &mut results).await?;
            }
        }
        let unread = || Err(PropertyFault::undecodable("the register was not read"));
        Ok(results.into_iter().map(|result| result.unwrap_or_else(unread)).collect())
    }

    async fn write(
        &mut self,
        unit: &Unit,
        visitor: &Visitor,
        value: &Value,
    ) -> Result<Result<(), PropertyFault>, SessionFault> {
        self.check_settings()?;
        let Some(place) = visitor.write else {
            return Ok(Err(PropertyFault::Refused {
                code: QualityCode::NotWritable,
                ack: AckCode::Forbidden,
                detail: format!("{} is only read", visitor.read),
            }));
        };
        let encoded = match codec::encode(visitor, value) {
            Ok(encoded) => encoded,
            Err(fault) => return Ok(Err(fault)),
        };
        let mut before = 0;
        if let Encoded::Field { .. } = encoded {
            // The other bits of the register stay as they are.
            let span = Span { start: place, count: 1 };
            if let Err(refusal) = self.ask(unit, &Ask::Read(span)).await? {
                return Ok(Err(refusal.fault(&span, visitor)));
            }
            before = self.words.first().copied().unwrap_or(0);
        }
        let words = encoded.over(before);
        let ask = match words.as_slice() {
            [word] if !visitor.multiple => Ask::WriteOne { place, word: *word },
            words => Ask::WriteMany { place, words },
        };
        Ok(match self.ask(unit, &ask).await? {
            Ok(()) => Ok(()),
            Err(Refusal::Exception(exception)) => Err(exception.fault(place)),
            Err(Refusal::Malformed) => Err(malformed(place)),
        })
    }

    fn show(&mut self, frames: FrameTap) {
        self.transport.show(frames);
    }

    fn discarded(&self) -> u64 {
        self.transport.discarded()
    }
}
