//! Everything together, and what may happen to it.

use std::rc::Rc;
use std::time::Duration;

use device_model::Timestamp;
use device_twin::MemoryStore;
use edge_link::MessageId;
use edge_link::content::Confirmation;
use edge_link::down::Outgoing;
use edge_link::up::Report;

use super::cloud::{Answers, Api, Bridge, Entry, Request, Said};
use super::edge::{Dies, Edge, Heard};
use super::step::{Done, FAULTS, Step, WORK, pick};
use super::{Broken, DEVICES, Dice, PROPERTIES};
use crate::down::names::object_of;

/// All of it.
#[derive(Debug)]
pub struct World {
    dice: Dice,
    /// Seconds since the beginning.
    now: u64,
    /// The last value that anybody gave; values only rise, so that an older one can be told.
    value: u32,
    /// Counts messages and links.
    number: u64,
    pub(super) api: Api,
    pub(super) bridge: Option<Bridge>,
    pub(super) requests: Vec<Request>,
    pub(super) edge: Edge,
    /// What the devices themselves have.
    pub(super) field: [[u32; PROPERTIES]; DEVICES],
    copy: MemoryStore,
    pub(super) down: Vec<Outgoing<Rc<Entry>>>,
    pub(super) acks: Vec<MessageId>,
    pub(super) up: Vec<(usize, Report<usize, Said>)>,
    pub(super) confirmations: Vec<(MessageId, Confirmation)>,
    pub steps: Vec<Step>,
    pub done: Done,
}

impl World {
    pub fn of(seed: u64) -> Self {
        let mut api = Api::default();
        api.is_up = true;
        let bridge = Some(Bridge::begin(&api, (0, 0)));
        Self {
            dice: Dice::of(seed),
            now: 0,
            value: 0,
            number: 0,
            api,
            bridge,
            requests: Vec::new(),
            edge: Edge::default(),
            field: [[0; PROPERTIES]; DEVICES],
            copy: MemoryStore::new(),
            down: Vec::new(),
            acks: Vec::new(),
            up: Vec::new(),
            confirmations: Vec::new(),
            steps: Vec::new(),
            done: Done::default(),
        }
    }

    /// One history: `length` things happen, then nothing goes wrong any more.
    pub fn live(&mut self, length: usize) -> Result<(), Broken> {
        self.start()?;
        if !self.dice.one_in(4) {
            (0..DEVICES).for_each(|at| self.api.desire(at, 0, Some(1)));
            (0..DEVICES).for_each(|_| self.with_bridge(Bridge::watch_devices));
            self.connect()?;
            (0..DEVICES).for_each(|_| self.send());
            (0..DEVICES).try_for_each(|_| self.deliver(false))?;
        }
        for _ in 0..length {
            let of = if self.dice.one_in(10) { FAULTS } else { WORK };
            let mut step = pick(of, &mut self.dice);
            while self.is_idle(step) {
                step = pick(of, &mut self.dice);
            }
            self.steps.push(step);
            self.step(step)?;
        }
        let done = self.done;
        self.rest()?;
        self.done = done;
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), Broken> {
        let (at, property) = (self.dice.roll(DEVICES), self.dice.roll(PROPERTIES));
        match step {
            Step::CloudDesires if self.api.devices[at].is_some() && self.api.is_up => {
                // Few texts, so that some come again.
                let value = u32::try_from(self.dice.roll(4)).ok().filter(|value| *value > 0);
                self.api.desire(at, property, value);
            }
            Step::Makes if self.api.devices[at].is_none() && self.api.is_up => {
                self.api.desire(at, property, Some(1));
            }
            Step::Deletes if self.api.is_up => self.api.delete(at),
            Step::LocalDesires => {
                let (value, now) =
                    (100 + u32::try_from(self.dice.roll(3)).unwrap_or(0), self.wall());
                if let Some(agent) = &mut self.edge.agent {
                    agent.desire(at, property, value, now)?;
                }
            }
            Step::Reports => {
                self.value += 1;
                self.field[at][property] = self.value;
                let settles = self.dice.one_in(2);
                self.read(at, property, settles)?;
            }
            Step::Watches => self.with_bridge(Bridge::watch_devices),
            Step::Records => self.with_bridge(Bridge::watch_statuses),
            Step::Collects if self.api.is_up => self.api.collect(),
            Step::Connects => self.connect()?,
            Step::Sends => self.send(),
            Step::Delivers => self.deliver(true)?,
            Step::Acknowledges => self.acknowledge()?,
            Step::Uploads => self.upload(),
            Step::Arrives => self.arrive(),
            Step::TurnComes => self.turn(at),
            Step::Writes => self.write()?,
            Step::Confirms => self.confirm()?,
            Step::Keeps => self.edge.agent.iter_mut().for_each(super::edge::Agent::keep),
            Step::Loses => self.lose(),
            Step::Doubles => self.double(),
            Step::SecondsPass => self.pass(6)?,
            Step::HourPasses => self.pass(3600)?,
            Step::Cut => self.cut(),
            Step::KillsAgent => {
                let answered = self.edge.answered();
                self.kill();
                self.start()?;
                if self.edge.answered() != answered {
                    return Err("something was answered that the agent forgot");
                }
            }
            Step::KillsBridge if self.api.is_up => {
                self.cut();
                self.bridge = Some(Bridge::begin(&self.api, (0, 0)));
            }
            Step::AnotherReplica => {
                self.cut();
                let lag = (self.dice.roll(3), self.dice.roll(3));
                self.edge.is_misled |= lag.0 > 0;
                self.bridge = Some(Bridge::begin(&self.api, lag));
            }
            Step::KillsApi => self.api.is_up = false,
            Step::ApiComes => self.api.is_up = true,
            Step::CopiesStore => self.copy = self.edge.disk.copy(),
            Step::LosesStore => {
                self.kill();
                self.number += 1;
                let epoch = self.dice.one_in(2).then_some(self.number);
                self.edge.lose(epoch);
                self.start()?;
            }
            Step::RestoresStore => {
                self.kill();
                let now = self.wall();
                self.edge.restore(&self.copy, now);
                self.start()?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether nothing could come of it.
    fn is_idle(&self, step: Step) -> bool {
        let bridge = self.bridge.as_ref();
        match step {
            Step::CloudDesires | Step::Deletes => self.api.devices.iter().all(Option::is_none),
            Step::Makes => self.api.devices.iter().all(Option::is_some),
            Step::Watches | Step::Records => bridge.is_none_or(|one| one.is_current(&self.api)),
            Step::Connects => self.is_linked(),
            Step::Sends | Step::Uploads | Step::Cut => !self.is_linked(),
            Step::Delivers => self.down.is_empty(),
            Step::Acknowledges => self.acks.is_empty(),
            Step::Arrives => self.up.is_empty(),
            Step::TurnComes => !(0..DEVICES).any(|at| bridge.is_some_and(|one| one.is_waiting(at))),
            Step::Writes => self.requests.is_empty(),
            Step::Confirms => self.confirmations.is_empty(),
            Step::ApiComes => self.api.is_up,
            _ => false,
        }
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(
            1_800_000_000_000 + i64::try_from(self.now * 1000 + self.number).unwrap(),
        )
    }

    fn clock(&self) -> Duration {
        Duration::from_secs(self.now)
    }

    fn id(&mut self) -> MessageId {
        self.number += 1;
        MessageId::new(&self.number.to_string()).unwrap()
    }

    pub(super) fn with_bridge(&mut self, act: fn(&mut Bridge, &Api)) {
        if let Some(bridge) = self.bridge.as_mut().filter(|_| self.api.is_up) {
            act(bridge, &self.api);
        }
    }

    fn start(&mut self) -> Result<(), Broken> {
        self.now += 1;
        let now = self.wall();
        self.edge.start(now)
    }

    fn kill(&mut self) {
        self.edge.agent = None;
        self.cut();
    }

    /// The mapper says what the device has.
    pub(super) fn read(&mut self, at: usize, property: usize, settles: bool) -> Result<(), Broken> {
        self.number += 1;
        let (value, now) = (self.field[at][property], self.wall());
        match &mut self.edge.agent {
            Some(agent) => agent.report(at, property, value, settles, now),
            None => Ok(()),
        }
    }

    pub(super) fn pass(&mut self, seconds: u64) -> Result<(), Broken> {
        self.now += seconds;
        let now = self.wall();
        self.edge.agent.as_mut().map_or(Ok(()), |agent| agent.tick(now))
    }

    fn cut(&mut self) {
        if let Some(bridge) = &mut self.bridge {
            bridge.link = None;
        }
        if let Some(agent) = &mut self.edge.agent {
            agent.disconnect();
        }
        self.down.clear();
        self.acks.clear();
        self.up.clear();
        self.confirmations.clear();
    }

    fn is_linked(&self) -> bool {
        self.bridge.as_ref().is_some_and(|bridge| bridge.link.is_some())
    }

    pub(super) fn connect(&mut self) -> Result<(), Broken> {
        if self.is_linked() {
            return Ok(());
        }
        self.number += 1;
        let now = self.wall();
        let (Some(agent), Some(bridge)) = (&mut self.edge.agent, &mut self.bridge) else {
            return Ok(());
        };
        let Some(welcome) = bridge.connect(&self.api, self.number, &agent.hello()) else {
            return Ok(());
        };
        self.edge.is_misled |= bridge.is_ahead;
        if let Heard::Behind = agent.connect(&welcome, now)? {
            self.done.behind += 1;
            self.cut();
        }
        Ok(())
    }

    pub(super) fn send(&mut self) {
        let (now, id) = (self.clock(), self.id());
        let message = self.bridge.as_mut().and_then(|bridge| bridge.next(now, id));
        self.down.extend(message);
    }

    pub(super) fn deliver(&mut self, may_die: bool) -> Result<(), Broken> {
        if self.down.is_empty() {
            return Ok(());
        }
        let message = self.down.remove(self.dice.roll(self.down.len()));
        let dies = match self.dice.roll(48) {
            0 if may_die => Dies::Keeping,
            1 if may_die => Dies::Telling,
            2 if may_die => Dies::Acknowledging,
            _ => Dies::Not,
        };
        let now = self.wall();
        if self.edge.deliver(&message, dies, now)? {
            self.done.delivered += 1;
            self.acks.push(message.id);
        }
        if dies != Dies::Not {
            self.kill();
            self.start()?;
        }
        Ok(())
    }

    pub(super) fn acknowledge(&mut self) -> Result<(), Broken> {
        if self.acks.is_empty() {
            return Ok(());
        }
        let id = self.acks.remove(self.dice.roll(self.acks.len()));
        let done = self.bridge.as_mut().and_then(|bridge| bridge.acknowledge(&id));
        if let Some(done) = done {
            let (at, life) = object_of(&done.uid);
            let has = self.edge.on_disk(at);
            let kept = match (&done.version, has) {
                (None, has) => has.is_none_or(|(of, _)| of != life),
                (Some(told), Some((of, version))) => {
                    // Texts fall as states rise.
                    let number = |text: &str| text.parse::<u32>().unwrap();
                    of > life || (of == life && number(&version) <= number(&told.resource_version))
                }
                (Some(_), None) => true,
            };
            if !kept {
                return Err("something was acknowledged that is not on the disk");
            }
        }
        Ok(())
    }

    pub(super) fn upload(&mut self) {
        let (now, id) = (self.clock(), self.id());
        if self.is_linked() {
            self.up.extend(self.edge.agent.as_mut().and_then(|agent| agent.next(now, &id)));
        }
    }

    pub(super) fn arrive(&mut self) {
        if self.up.is_empty() {
            return;
        }
        let (at, report) = self.up.remove(self.dice.roll(self.up.len()));
        let answers = self.bridge.as_mut().map(|bridge| bridge.take_report(at, report));
        self.answer(answers.unwrap_or_default());
    }

    fn answer(&mut self, answers: Answers) {
        if self.is_linked() {
            self.confirmations.extend(answers);
        }
    }

    pub(super) fn turn(&mut self, at: usize) {
        let Some(bridge) = &mut self.bridge else { return };
        let answers = bridge.turn(&mut self.api, at, &mut self.requests);
        self.answer(answers);
    }

    pub(super) fn write(&mut self) -> Result<(), Broken> {
        if self.requests.is_empty() {
            return Ok(());
        }
        let request = self.requests.remove(self.dice.roll(self.requests.len()));
        let Self { api, bridge, requests, dice, .. } = self;
        let answers = request.arrive(api, bridge, requests, dice)?;
        self.done.written += u64::from(!answers.is_empty());
        self.answer(answers);
        Ok(())
    }

    pub(super) fn confirm(&mut self) -> Result<(), Broken> {
        if self.confirmations.is_empty() {
            return Ok(());
        }
        let (id, how) = self.confirmations.remove(self.dice.roll(self.confirmations.len()));
        let now = self.wall();
        let Some(agent) = &mut self.edge.agent else { return Ok(()) };
        match agent.confirm(&id, &how, now)? {
            Heard::Nothing => {}
            Heard::Behind => {
                self.done.behind += 1;
                self.cut();
            }
            Heard::Confirmed(at, point) => {
                self.done.confirmed += 1;
                let is_present = self.api.devices[at]
                    .is_some_and(|device| object_of(&point.uid) == (at, device.life));
                let shown = self.api.statuses[at].as_ref().and_then(|status| status.point.as_ref());
                if is_present && shown.is_none_or(|shown| *shown < point) {
                    return Err("something was confirmed that the cloud does not show");
                }
            }
        }
        Ok(())
    }

    fn lose(&mut self) {
        match self.dice.roll(4) {
            0 => drop(self.down.pop()),
            1 => drop(self.acks.pop()),
            2 => drop(self.up.pop()),
            _ => drop(self.confirmations.pop()),
        }
    }

    fn double(&mut self) {
        match self.dice.roll(4) {
            0 => self.down.extend(self.down.last().cloned()),
            1 => self.acks.extend(self.acks.last().cloned()),
            2 => self.up.extend(self.up.last().cloned()),
            _ => self.confirmations.extend(self.confirmations.last().cloned()),
        }
    }
}
