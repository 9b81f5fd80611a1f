//! The simulated units together: who answers a request, and what a fault makes of the answer.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::bank::{Bank, split, unpack};
use crate::codec::{Exception, Request, exception_pdu};
use crate::counters::{Counters, Tally, UnitTally, Write};
use crate::fault::{Effects, Faults};
use crate::layout::{Layout, Place};
use crate::power::{Power, Reboots};
use crate::table::Table;

/// The kind of wire a request came on, where units answer differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// A gateway answers for units that it does not have.
    Tcp,
    /// Units that are not there are silent; unit 0 is a broadcast that nobody answers.
    Rtu,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is sent.
    Silent,
    /// The answer's PDU was appended; it meets these faults on its way.
    Answer(Effects),
}

/// All units of a simulation, shared by its connections and lines.
#[derive(Debug)]
pub(crate) struct Units {
    /// By unit number, 256 of them.
    units: Box<[Option<Box<Unit>>]>,
    /// The one unit of a simulation that has no other.
    only: Option<u8>,
    places: BTreeMap<(String, String), Place>,
    started: Instant,
    power: Power,
    pub(crate) faults: Faults,
    pub(crate) tally: Tally,
}

#[derive(Debug)]
struct Unit {
    bank: Mutex<Bank>,
    /// What the bank is made of, for a reboot.
    layout: Layout,
    seed: u64,
    tally: UnitTally,
}

impl Units {
    pub(crate) fn new(
        layouts: BTreeMap<u8, Layout>,
        places: BTreeMap<(String, String), Place>,
        seed: u64,
    ) -> Self {
        let only = (layouts.len() == 1).then(|| layouts.keys().next().copied()).flatten();
        let mut layouts = layouts;
        let unit = |(number, layout): (u8, Layout)| {
            let seed = seed ^ u64::from(number);
            let bank = Mutex::new(Bank::new(layout.clone(), seed));
            Unit { bank, layout, seed, tally: UnitTally::default() }
        };
        let units = (0..=u8::MAX)
            .map(|number| layouts.remove_entry(&number).map(unit).map(Box::new))
            .collect();
        Self {
            units,
            only,
            places,
            started: Instant::now(),
            power: Power::default(),
            faults: Faults::default(),
            tally: Tally::default(),
        }
    }

    /// Carries out the request in `pdu` and appends the PDU of the answer to `out`.
    pub(crate) fn answer(&self, link: Link, unit: u8, pdu: &[u8], out: &mut Vec<u8>) -> Verdict {
        let Some(&function) = pdu.first() else { return Verdict::Silent };
        if self.power.is_off() {
            return Verdict::Silent;
        }
        let request = Request::decode(pdu);
        let addresses = request.as_ref().map_or(0, Request::addresses);
        if link == Link::Rtu && unit == 0 {
            self.broadcast(request);
            return Verdict::Silent;
        }
        let number = self.resolve(link, unit);
        let Some(found) = self.unit(number) else {
            self.tally.strangers.fetch_add(1, Relaxed);
            if link == Link::Rtu {
                return Verdict::Silent;
            }
            out.extend(exception_pdu(function, Exception::GatewayTargetSilent));
            self.tally.answers.fetch_add(1, Relaxed);
            return Verdict::Answer(Effects::default());
        };
        found.tally.request(function, addresses);
        let effects = self.faults.effects(number, function);
        if !effects.is_none() {
            self.tally.faults.fetch_add(1, Relaxed);
        }
        if let Some(time) = effects.reboot {
            self.reboot(time);
        }
        if effects.silence || effects.reboot.is_some() {
            return Verdict::Silent;
        }
        let done = match (effects.exception, request) {
            (Some(code), _) => Err(Exception::Other(code)),
            (None, Err(exception)) => Err(exception),
            (None, Ok(request)) => {
                let done = found.lock().answer(&request, self.now(), out);
                if done.is_ok() {
                    self.log(number, &request);
                }
                done
            }
        };
        if let Err(exception) = done {
            found.tally.exception();
            out.extend(exception_pdu(function, exception));
        }
        self.tally.answers.fetch_add(1, Relaxed);
        Verdict::Answer(effects)
    }

    /// Starts anew: for `time` nobody answers, then the registers are as at the start.
    fn reboot(&self, time: Duration) {
        for unit in self.units.iter().flatten() {
            *unit.lock() = Bank::new(unit.layout.clone(), unit.seed);
        }
        self.power.cycle(time);
    }

    /// Tells of reboots from now on.
    pub(crate) fn reboots(&self) -> Reboots {
        self.power.reboots()
    }

    /// The registers of unit `number`.
    pub(crate) fn bank(&self, number: u8) -> Option<MutexGuard<'_, Bank>> {
        self.unit(number).map(Unit::lock)
    }

    /// Numbers of the units there are.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).zip(&self.units).filter_map(|(number, unit)| unit.is_some().then_some(number))
    }

    /// Where a property of a device stands.
    pub(crate) fn places(&self) -> &BTreeMap<(String, String), Place> {
        &self.places
    }

    /// Seconds since the start.
    pub(crate) fn now(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    pub(crate) fn counters(&self) -> Counters {
        let mut counters = self.tally.counters();
        counters.requests = counters.strangers;
        for number in self.numbers() {
            let Some(unit) = self.unit(number) else { continue };
            let unit = unit.tally.counters();
            counters.requests += unit.requests;
            counters.addresses += unit.addresses;
            counters.exceptions += unit.exceptions;
            counters.units.insert(number, unit);
        }
        counters
    }

    fn broadcast(&self, request: Result<Request<'_>, Exception>) {
        let Ok(request) = request else { return };
        if !request.is_write() {
            return;
        }
        for number in self.numbers() {
            let Some(unit) = self.unit(number) else { continue };
            unit.tally.request(request.function(), request.addresses());
            // Nobody answers a broadcast, so nobody hears of a unit that has no such register.
            if unit.lock().answer(&request, self.now(), &mut Vec::new()).is_ok() {
                self.log(number, &request);
            }
        }
    }

    /// On TCP, 0 and 255 mean the device at the other end (TCP implementation guide, section 4.4.2.6).
    fn resolve(&self, link: Link, unit: u8) -> u8 {
        match self.only {
            Some(only) if link == Link::Tcp && matches!(unit, 0 | 255) => only,
            _ => unit,
        }
    }

    fn unit(&self, number: u8) -> Option<&Unit> {
        self.units.get(usize::from(number))?.as_deref()
    }

    fn log(&self, unit: u8, request: &Request<'_>) {
        let write = |table, address, values| Write { unit, table, address, values };
        let write = match *request {
            Request::ReadBits { .. } | Request::ReadWords { .. } => return,
            Request::WriteCoil { address, on } => write(Table::Coils, address, vec![on.into()]),
            Request::WriteWord { address, word } => write(Table::Holding, address, vec![word]),
            Request::WriteCoils { start, count, bits } => {
                let bits = unpack(bits).map(u16::from).take(count.into());
                write(Table::Coils, start, bits.collect())
            }
            Request::WriteWords { start, words } => {
                write(Table::Holding, start, split(words).collect())
            }
            Request::MaskWord { address, .. } => {
                let now = self.now();
                let word = self
                    .bank(unit)
                    .and_then(|mut bank| bank.read(Table::Holding, address, 1, now).ok());
                write(Table::Holding, address, word.unwrap_or_default())
            }
            Request::ReadWriteWords { write_start, words, .. } => {
                write(Table::Holding, write_start, split(words).collect())
            }
        };
        self.tally.write(write);
    }
}

impl Unit {
    fn lock(&self) -> MutexGuard<'_, Bank> {
        self.bank.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
