//! An edge with a store, a link that loses, doubles and reorders, a hub, and an API server: as small as can be.

use std::collections::BTreeMap;
use std::time::Duration;

use edge_link::content::{Confirmation, Point, Welcome};
use edge_link::up::{Intake, Judged, Outbox, OutboxSettings, Report, Told};
use edge_link::{MessageId, Uid};

use crate::search::World;

const PROPERTIES: usize = 2;

/// Values only rise, so that an older one can be told.
type Values = BTreeMap<usize, u8>;

/// What an edge or its hub could do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mistake {
    /// The hub writes whatever comes.
    TakesAnything,
    /// The hub confirms before the API server has it.
    ConfirmsFirst,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    pub changes: u8,
    pub losses: u8,
    pub doubles: u8,
    pub timeouts: u8,
    pub cuts: u8,
    pub restarts: u8,
    pub wipes: u8,
    pub rebirths: u8,
    /// The API server's record of a device is deleted.
    pub erasures: u8,
    /// The API server does not take what the hub writes.
    pub refusals: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Change(usize, usize),
    Rebirth(usize),
    Send,
    Timeout,
    Deliver(usize),
    Lose(usize),
    Double(usize),
    /// The API server takes what the hub has of a device.
    Write(usize),
    /// It does not take it, and says what it has.
    Refuse(usize),
    Confirm(usize),
    LoseConfirmation(usize),
    Cut,
    Connect,
    RestartHub,
    RestartEdge,
    WipeEdge,
    Erase(usize),
}

/// A twin in the edge's store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Twin {
    life: u8,
    rev: u64,
    /// Value, and the revision that made it.
    values: BTreeMap<usize, (u8, u64)>,
    confirmed: Option<Point>,
}

/// What the API server has of a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Status {
    point: Point,
    values: Values,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Up {
    mistake: Option<Mistake>,
    pub budget: Budget,
    now: u8,
    /// The last value that any device had.
    value: u8,
    epoch: u64,
    wiped: u64,
    twins: Vec<Twin>,
    outbox: Outbox<usize>,
    linked: bool,
    up: Vec<(usize, Report<usize, u8>)>,
    down: Vec<(MessageId, Confirmation)>,
    hub: Vec<Intake<usize, u8>>,
    api: Vec<Option<Status>>,
    /// The API server lost something that was confirmed.
    erased: bool,
    /// Counts messages.
    ids: u8,
}

const SETTINGS: OutboxSettings = OutboxSettings {
    in_flight: 2,
    resend_after: Duration::from_secs(1),
    resend_at_most: Duration::from_secs(1),
    backlog_every: 4,
};

fn uid(device: usize, life: u8) -> Uid {
    Uid::new(&format!("{device}-{life}")).unwrap()
}

impl Up {
    pub fn new(mistake: Option<Mistake>, devices: usize, budget: Budget) -> Self {
        let epoch = 10;
        let twin = Twin { life: 1, rev: 0, values: BTreeMap::new(), confirmed: None };
        let mut world = Self {
            mistake,
            budget,
            now: 0,
            value: 0,
            epoch,
            wiped: 0,
            twins: vec![twin; devices],
            outbox: Outbox::new(SETTINGS, epoch),
            linked: false,
            up: Vec::new(),
            down: Vec::new(),
            hub: (0..devices).map(|device| Intake::new(uid(device, 1), None)).collect(),
            api: vec![None; devices],
            erased: false,
            ids: 0,
        };
        world.restart_edge();
        world
    }

    fn clock(&self) -> Duration {
        Duration::from_secs(self.now.into())
    }

    fn change(&mut self, device: usize, properties: &[usize]) {
        self.value += 1;
        let twin = &mut self.twins[device];
        twin.rev += 1;
        for property in properties {
            twin.values.insert(*property, (self.value, twin.rev));
        }
        self.outbox.note(&device, &uid(device, twin.life), twin.rev);
    }

    fn id(&self) -> MessageId {
        MessageId::new(&self.ids.to_string()).unwrap()
    }

    fn send(&mut self) {
        let Some(upload) = self.outbox.next(self.clock(), self.id()) else { return };
        self.ids += 1;
        let values = &self.twins[upload.key].values;
        let newer = |(_, rev): &(u8, u64)| *rev > upload.progress.base_rev;
        let changed = values.iter().filter(|(_, value)| newer(value));
        let changed = changed.map(|(property, (value, _))| (*property, *value)).collect();
        self.up.push((upload.key, Report { id: upload.id, progress: upload.progress, changed }));
        self.up.sort();
    }

    fn deliver(&mut self, device: usize, report: Report<usize, u8>) -> Result<(), &'static str> {
        let id = report.id.clone();
        if self.mistake == Some(Mistake::TakesAnything) {
            // Forgets what it has, and so takes what is older.
            let uid = report.progress.uid.clone();
            self.hub[device] = Intake::new(uid, None);
            let mut report = report;
            report.progress.base_rev = 0;
            self.hub[device].take(report);
            return self.write(device);
        }
        match self.hub[device].take(report) {
            Judged::Accepted if self.mistake == Some(Mistake::ConfirmsFirst) => {
                self.down.push((id, Confirmation::Taken));
            }
            Judged::Accepted => {}
            Judged::Answer(answer) => self.answer(id, answer),
        }
        Ok(())
    }

    fn answer(&mut self, id: MessageId, answer: Confirmation) {
        if self.linked {
            self.down.push((id, answer));
            self.down.sort_by(|a, b| a.0.cmp(&b.0));
        }
    }

    fn write(&mut self, device: usize) -> Result<(), &'static str> {
        let Some(write) = self.hub[device].write() else { return Ok(()) };
        let before = self.api[device].take();
        let values = before.as_ref().map(|status| status.values.clone()).unwrap_or_default();
        let mut after = if write.whole { Values::new() } else { values.clone() };
        after.extend(write.changed.clone());
        if before.as_ref().is_some_and(|before| before.point >= write.point) {
            return Err("the API server had something newer than what was written");
        }
        if values.iter().any(|(property, value)| after.get(property).is_some_and(|new| new < value))
        {
            return Err("an older value took the place of a newer one");
        }
        self.api[device] = Some(Status { point: write.point, values: after });
        for (id, answer) in self.hub[device].done() {
            self.answer(id, answer);
        }
        Ok(())
    }

    fn confirm(&mut self, id: &MessageId, said: &Confirmation) -> Result<(), &'static str> {
        match self.outbox.confirm(id, said) {
            Told::Nothing => {}
            Told::Confirmed(device, point) => {
                let twin = &mut self.twins[device];
                if twin.confirmed.as_ref().is_some_and(|known| *known >= point) {
                    return Err("a confirmation went back");
                }
                twin.confirmed = Some(point);
            }
            Told::Behind(epoch) => {
                self.cut();
                self.epoch = epoch;
                self.restart_edge();
            }
        }
        Ok(())
    }

    fn cut(&mut self) {
        self.linked = false;
        self.outbox.disconnect();
        self.up.clear();
        self.down.clear();
    }

    fn connect(&mut self) {
        let has = self.api.iter().flatten().map(|status| status.point.clone()).collect();
        let welcome = Welcome { has, gone: Vec::new() };
        if let Told::Behind(epoch) = self.outbox.connect(Some(&welcome)) {
            self.epoch = epoch;
            self.restart_edge();
            assert_eq!(self.outbox.connect(Some(&welcome)), Told::Nothing);
        }
        self.linked = true;
    }

    fn restart_hub(&mut self) {
        for (device, hub) in self.hub.iter_mut().enumerate() {
            let point = self.api[device].as_ref().map(|status| &status.point);
            *hub = Intake::new(uid(device, self.twins[device].life), point);
        }
    }

    fn restart_edge(&mut self) {
        self.outbox = Outbox::new(SETTINGS, self.epoch);
        for (device, twin) in self.twins.iter().enumerate() {
            let uid = uid(device, twin.life);
            self.outbox.restore(&device, uid, twin.rev, twin.confirmed.as_ref());
        }
    }

    /// Lets everything come to rest without another fault; what is wrong then, if anything.
    fn rest(&self) -> Result<(), &'static str> {
        let mut world = self.clone();
        for _ in 0..100 {
            if !world.linked {
                world.connect();
            }
            while world.outbox.clone().next(world.clock(), world.id()).is_some() {
                world.send();
            }
            for (device, report) in std::mem::take(&mut world.up) {
                world.deliver(device, report)?;
            }
            for device in 0..world.hub.len() {
                world.write(device)?;
            }
            for (id, said) in std::mem::take(&mut world.down) {
                world.confirm(&id, &said)?;
            }
            if world.outbox.in_flight() == 0 && world.outbox.is_settled() {
                let same = world.twins.iter().zip(&world.api).all(|(twin, status)| {
                    let values: Values = twin
                        .values
                        .iter()
                        .map(|(property, (value, _))| (*property, *value))
                        .collect();
                    status.as_ref().is_some_and(|status| status.values == values)
                });
                return if same {
                    Ok(())
                } else {
                    Err("when all was quiet the cloud had something else than the edge")
                };
            }
            world.now += 1;
        }
        Err("it never came to rest")
    }
}

impl World for Up {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let budget = &self.budget;
        for device in 0..self.twins.len() {
            if budget.changes > 0 {
                steps.extend((0..PROPERTIES).map(|property| Step::Change(device, property)));
            }
            if budget.rebirths > 0 {
                steps.push(Step::Rebirth(device));
            }
            if self.hub[device].clone().write().is_some() {
                steps.push(Step::Write(device));
                if budget.refusals > 0 {
                    steps.push(Step::Refuse(device));
                }
            }
            if budget.erasures > 0 && self.api[device].is_some() && !self.linked {
                steps.push(Step::Erase(device));
            }
        }
        if self.linked {
            if self.outbox.clone().next(self.clock(), self.id()).is_some() {
                steps.push(Step::Send);
            }
            if budget.timeouts > 0 && self.outbox.in_flight() > 0 {
                steps.push(Step::Timeout);
            }
            for at in 0..self.up.len() {
                steps.push(Step::Deliver(at));
                if budget.losses > 0 {
                    steps.push(Step::Lose(at));
                }
                if budget.doubles > 0 {
                    steps.push(Step::Double(at));
                }
            }
            for at in 0..self.down.len() {
                steps.push(Step::Confirm(at));
                if budget.losses > 0 {
                    steps.push(Step::LoseConfirmation(at));
                }
            }
            if budget.cuts > 0 {
                steps.push(Step::Cut);
            }
        } else {
            steps.push(Step::Connect);
        }
        if budget.restarts > 0 {
            steps.extend([Step::RestartHub, Step::RestartEdge]);
        }
        if budget.wipes > 0 {
            steps.push(Step::WipeEdge);
        }
        steps
    }

    fn step(&mut self, step: Step) -> Result<(), &'static str> {
        match step {
            Step::Change(device, property) => {
                self.budget.changes -= 1;
                self.change(device, &[property]);
            }
            Step::Rebirth(device) => {
                // The Device is deleted and made again, with its DeviceStatus; both ends hear of it.
                self.budget.rebirths -= 1;
                let twin = &mut self.twins[device];
                let life = twin.life + 1;
                *twin = Twin { life, rev: 0, values: BTreeMap::new(), confirmed: None };
                self.api[device] = None;
                self.hub[device] = Intake::new(uid(device, life), None);
                self.change(device, &[0]);
            }
            Step::Send => self.send(),
            Step::Timeout => {
                self.budget.timeouts -= 1;
                self.now += 1;
            }
            Step::Deliver(at) => {
                let (device, report) = self.up.remove(at);
                self.deliver(device, report)?;
            }
            Step::Lose(at) => {
                self.budget.losses -= 1;
                self.up.remove(at);
            }
            Step::Double(at) => {
                self.budget.doubles -= 1;
                self.up.push(self.up[at].clone());
                self.up.sort();
            }
            Step::Write(device) => self.write(device)?,
            Step::Refuse(device) => {
                self.budget.refusals -= 1;
                self.hub[device].write();
                let point = self.api[device].as_ref().map(|status| &status.point);
                for (id, answer) in self.hub[device].refused(point) {
                    self.answer(id, answer);
                }
            }
            Step::Confirm(at) => {
                let (id, said) = self.down.remove(at);
                self.confirm(&id, &said)?;
            }
            Step::LoseConfirmation(at) => {
                self.budget.losses -= 1;
                self.down.remove(at);
            }
            Step::Cut => {
                self.budget.cuts -= 1;
                self.cut();
            }
            Step::Connect => self.connect(),
            Step::RestartHub => {
                self.budget.restarts -= 1;
                self.cut();
                self.restart_hub();
            }
            Step::RestartEdge => {
                self.budget.restarts -= 1;
                self.cut();
                self.restart_edge();
            }
            Step::WipeEdge => {
                self.budget.wipes -= 1;
                self.cut();
                // Its clock is not set, so the new epoch is lower than the old one.
                self.wiped += 1;
                self.epoch = self.wiped;
                for twin in &mut self.twins {
                    (twin.rev, twin.values) = (0, BTreeMap::new());
                    twin.confirmed = None;
                }
                self.restart_edge();
                // Every device is read again.
                for device in 0..self.twins.len() {
                    self.change(device, &[0, 1]);
                }
            }
            Step::Erase(device) => {
                self.budget.erasures -= 1;
                self.erased = true;
                self.api[device] = None;
                self.restart_hub();
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), &'static str> {
        for (twin, status) in self.twins.iter().zip(&self.api) {
            let Some(confirmed) = &twin.confirmed else { continue };
            let visible = status.as_ref().is_some_and(|status| status.point >= *confirmed);
            if !visible && !self.erased {
                return Err("something was confirmed that the cloud does not show");
            }
        }
        if self.outbox.in_flight() > SETTINGS.in_flight {
            return Err("more reports were in flight than may be");
        }
        self.rest()
    }
}
