//! An API server that keeps what it took, and a bridge that knows it by two watches that lag.

use std::rc::Rc;
use std::time::Duration;

use edge_link::content::{Confirmation, Hello, Point, Welcome};
use edge_link::down::{Acknowledged, Outgoing, Queue, QueueSettings, Window};
use edge_link::up::{Intake, Judged, Report, Write};
use edge_link::{MessageId, Version};

use super::{Broken, DEVICES, Dice, PROPERTIES};
use crate::down::names::{key, object_of, uid};

/// What is desired of a device.
pub type Wants = [Option<u32>; PROPERTIES];

/// What a report says of a property: its value, and which desired value the mapper has settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub value: Option<u32>,
    pub settled: Option<(u64, u32)>,
}

/// A Device at the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    pub life: u8,
    version: u64,
    pub generation: u64,
    pub wants: Wants,
}

/// A DeviceStatus there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    version: u64,
    pub owner: u8,
    pub point: Option<Point>,
    numbers: Numbers,
    pub shown: [Said; PROPERTIES],
}

/// Number and text of each desired value, as the bridge gives them (rule S6).
type Numbers = [Option<(u64, u32)>; PROPERTIES];

/// A device as the bridge knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub device: Device,
    pub numbers: Numbers,
}

/// The API server. What it took it keeps, whoever dies.
#[derive(Clone, Debug, Default)]
pub struct Api {
    pub is_up: bool,
    version: u64,
    lives: [u8; DEVICES],
    pub devices: [Option<Device>; DEVICES],
    pub statuses: [Option<Status>; DEVICES],
    /// What happened, for watches.
    devices_log: Vec<(usize, Result<Device, u8>)>,
    statuses_log: Vec<(usize, Option<Status>)>,
    /// The newest value that was ever shown of the present life.
    newest: [[Option<u32>; PROPERTIES]; DEVICES],
}

impl Api {
    /// Somebody changes what is desired, or makes the device.
    pub fn desire(&mut self, at: usize, property: usize, value: Option<u32>) {
        self.version += 1;
        let device = match self.devices[at] {
            Some(mut device) => {
                if device.wants[property] != value {
                    device.generation += 1;
                }
                device.wants[property] = value;
                Device { version: self.version, ..device }
            }
            None => {
                self.lives[at] += 1;
                self.newest[at] = Default::default();
                let mut wants = Wants::default();
                wants[property] = value;
                Device { life: self.lives[at], version: self.version, generation: 1, wants }
            }
        };
        self.devices[at] = Some(device);
        self.devices_log.push((at, Ok(device)));
    }

    pub fn delete(&mut self, at: usize) {
        if let Some(device) = self.devices[at].take() {
            self.devices_log.push((at, Err(device.life)));
        }
    }

    /// Collects the statuses whose devices are gone.
    pub fn collect(&mut self) {
        for at in 0..DEVICES {
            let life = self.devices[at].map(|device| device.life);
            if self.statuses[at].as_ref().is_some_and(|status| Some(status.owner) != life) {
                self.put(at, None);
            }
        }
    }

    fn put(&mut self, at: usize, status: Option<Status>) {
        self.statuses[at] = status.clone();
        self.statuses_log.push((at, status));
    }

    /// Takes the write that a bridge made of what it had read.
    fn write(&mut self, request: &Request) -> Result<(), Broken> {
        let Request { at, life, numbers, write, .. } = request;
        let former = self.statuses[*at].take().filter(|status| status.owner == *life);
        let mut shown = match (&former, write.whole) {
            (Some(status), false) => status.shown,
            _ => Default::default(),
        };
        for (property, said) in &write.changed {
            let shown = &mut shown[*property];
            shown.value = said.value.or(shown.value);
            shown.settled = said.settled.or(shown.settled);
        }
        if former.is_some_and(|status| status.point.is_some_and(|point| point >= write.point)) {
            return Err("the API server had something newer than what was written");
        }
        if self.devices[*at].is_some_and(|device| device.life == *life) {
            for (newest, shown) in self.newest[*at].iter_mut().zip(&shown) {
                if shown.value.is_some() && shown.value < *newest {
                    return Err("the cloud showed an older value than it had shown before");
                }
                *newest = shown.value.or(*newest);
            }
        }
        self.version += 1;
        let (version, point) = (self.version, Some(write.point.clone()));
        self.put(*at, Some(Status { version, owner: *life, point, numbers: *numbers, shown }));
        Ok(())
    }
}

/// A write on its way, made of what was read.
#[derive(Clone, Debug)]
pub struct Request {
    at: usize,
    /// The link whose report it is of.
    link: u64,
    life: u8,
    numbers: Numbers,
    write: Write<usize, Said>,
    /// How far the bridge believes the API server to have it.
    written: Option<Point>,
    /// The version that was read.
    read: Option<u64>,
}

/// One replica: it dies, and another begins with what it has watched.
#[derive(Clone, Debug)]
pub struct Bridge {
    pub entries: [Option<Rc<Entry>>; DEVICES],
    records: [Option<Status>; DEVICES],
    devices_seen: usize,
    statuses_seen: usize,
    /// It asked for what its watch has yet to tell.
    pub is_ahead: bool,
    pub link: Option<Link>,
}

/// The bridge's end of a link.
#[derive(Clone, Debug)]
pub struct Link {
    number: u64,
    pub queue: Queue<Rc<Entry>>,
    intakes: [Option<(u8, Intake<usize, Said>)>; DEVICES],
}

/// What came of a write.
#[derive(Debug)]
enum Outcome {
    Taken,
    /// The API server has another state of the twin.
    Elsewhere(Option<Point>),
    /// It took nothing, or its answer got lost.
    Failed,
}

/// Answers to reports.
pub type Answers = Vec<(MessageId, Confirmation)>;

const SETTINGS: QueueSettings = QueueSettings { resend_after: Duration::from_secs(5), sends: 2 };

pub fn version(device: &Device) -> Version {
    // Texts that tell nothing to those who compare them.
    Version::new(&(1_000_000 - device.version).to_string()).of_generation(device.generation)
}

impl Bridge {
    /// One that has listed everything, or one whose watches lag by so much.
    pub fn begin(api: &Api, lag: (usize, usize)) -> Self {
        let mut bridge = Self {
            entries: Default::default(),
            records: Default::default(),
            devices_seen: 0,
            statuses_seen: 0,
            is_ahead: false,
            link: None,
        };
        let until = |log: usize, lag: usize| log - lag.min(log);
        while bridge.statuses_seen < until(api.statuses_log.len(), lag.1) {
            bridge.watch_statuses(api);
        }
        while bridge.devices_seen < until(api.devices_log.len(), lag.0) {
            bridge.watch_devices(api);
        }
        bridge
    }

    pub fn watch_devices(&mut self, api: &Api) {
        let Some((at, change)) = api.devices_log.get(self.devices_seen) else { return };
        self.devices_seen += 1;
        match change {
            Ok(device) => self.take(*at, *device),
            Err(life) => {
                let of_it = |entry: &Rc<Entry>| entry.device.life == *life;
                if self.entries[*at].as_ref().is_some_and(of_it) {
                    self.entries[*at] = None;
                }
            }
        }
        self.refresh();
    }

    pub fn watch_statuses(&mut self, api: &Api) {
        let Some((at, status)) = api.statuses_log.get(self.statuses_seen) else { return };
        self.statuses_seen += 1;
        self.records[*at] = status.clone();
    }

    /// Whether it knows all that happened.
    pub fn is_current(&self, api: &Api) -> bool {
        self.devices_seen == api.devices_log.len() && self.statuses_seen == api.statuses_log.len()
    }

    /// Takes a Device, by the watch or because it was asked for.
    fn take(&mut self, at: usize, device: Device) {
        let known = self.entries[at].as_ref().filter(|known| known.device.life == device.life);
        if known.is_some_and(|known| device.generation < known.device.generation) {
            return;
        }
        let record = self.records[at].as_ref().filter(|status| status.owner == device.life);
        let known = known.map(|known| known.numbers).or(record.map(|record| record.numbers));
        let known = known.unwrap_or_default();
        let numbers = std::array::from_fn(|property| {
            let text = device.wants[property]?;
            let kept = known[property].filter(|(_, of)| *of == text);
            Some(kept.unwrap_or((device.generation, text)))
        });
        self.entries[at] = Some(Rc::new(Entry { device, numbers }));
    }

    /// The node's objects may have changed.
    fn refresh(&mut self) {
        let Some(link) = &mut self.link else { return };
        for at in 0..DEVICES {
            let wanted: Vec<_> = link.queue.wanted().map(|(_, uid)| uid.clone()).collect();
            for life in wanted.iter().filter(|life| object_of(life).0 == at) {
                if self.entries[at].is_none() {
                    link.queue.delete(&key(at), life);
                }
            }
            if let Some(entry) = &self.entries[at] {
                let Device { life, .. } = entry.device;
                link.queue.put(&key(at), uid(at, life), version(&entry.device), entry.clone());
            }
        }
    }

    /// A node is there and says what it has. Nothing begins while the API server does not say what there is of it.
    pub fn connect(&mut self, api: &Api, number: u64, hello: &Hello) -> Option<Welcome> {
        for holding in &hello.objects {
            let (at, life) = object_of(&holding.uid);
            if self.entries[at].as_ref().is_some_and(|known| known.device.life == life) {
                continue;
            }
            if !api.is_up {
                return None;
            }
            if let Some(device) = api.devices[at] {
                self.is_ahead |= self.devices_seen < api.devices_log.len();
                self.take(at, device);
            }
        }
        let queue = Queue::new(SETTINGS);
        self.link = Some(Link { number, queue, intakes: Default::default() });
        self.refresh();
        if let Some(link) = &mut self.link {
            link.queue.connect(Window::of(2), Some(hello.objects.clone()));
        }
        let life = |at: usize| self.entries[at].as_ref().map(|entry| uid(at, entry.device.life));
        let has =
            |at: usize| self.recorded(at).filter(|point| Some(&point.uid) == life(at).as_ref());
        let is_over = |of: &&edge_link::Uid| !(0..DEVICES).any(|at| life(at).as_ref() == Some(*of));
        Some(Welcome {
            has: (0..DEVICES).filter_map(has).collect(),
            gone: hello.twins.iter().map(|twin| &twin.uid).filter(is_over).cloned().collect(),
        })
    }

    fn recorded(&self, at: usize) -> Option<Point> {
        self.records[at].as_ref()?.point.clone()
    }

    pub fn next(&mut self, now: Duration, id: MessageId) -> Option<Outgoing<Rc<Entry>>> {
        self.link.as_mut()?.queue.next(now, id)
    }

    pub fn acknowledge(&mut self, id: &MessageId) -> Option<Acknowledged> {
        self.link.as_mut()?.queue.acknowledge(id)
    }

    /// Takes a report.
    pub fn take_report(&mut self, at: usize, report: Report<usize, Said>) -> Answers {
        let id = report.id.clone();
        let Some(entry) = &self.entries[at] else {
            return vec![(id, Confirmation::Gone(report.progress.uid))];
        };
        let life = entry.device.life;
        let written = self.recorded(at).filter(|point| point.uid == uid(at, life));
        let Some(link) = &mut self.link else { return Vec::new() };
        let intake = match &mut link.intakes[at] {
            Some((of, intake)) if *of == life => intake,
            other => &mut other.insert((life, Intake::new(uid(at, life), written.as_ref()))).1,
        };
        match intake.take(report) {
            Judged::Accepted => Vec::new(),
            Judged::Answer(answer) => vec![(id, answer)],
        }
    }

    /// It is a device's turn: it is read, and what is to be written is on its way.
    pub fn turn(&mut self, api: &mut Api, at: usize, requests: &mut Vec<Request>) -> Answers {
        let (Some(entry), Some(link)) = (&self.entries[at], &mut self.link) else {
            return Vec::new();
        };
        let life = entry.device.life;
        let Some((_, intake)) = link.intakes[at].as_mut().filter(|(of, _)| *of == life) else {
            return Vec::new();
        };
        let Some(write) = intake.write() else { return Vec::new() };
        let (written, numbers) = (intake.written(), entry.numbers);
        let request = Request { at, link: link.number, life, numbers, write, written, read: None };
        match request.read(api) {
            Ok(request) => {
                requests.push(request);
                Vec::new()
            }
            Err(outcome) => self.written(at, life, outcome),
        }
    }

    fn written(&mut self, at: usize, life: u8, outcome: Outcome) -> Answers {
        let known = self.entries[at].as_ref().is_some_and(|entry| entry.device.life == life);
        let Some(link) = self.link.as_mut().filter(|_| known) else { return Vec::new() };
        let intake = link.intakes[at].as_mut().filter(|(of, _)| *of == life);
        let Some((_, intake)) = intake else { return Vec::new() };
        match outcome {
            Outcome::Taken => intake.done(),
            Outcome::Elsewhere(recorded) => intake.refused(recorded.as_ref()),
            Outcome::Failed => {
                let written = intake.written();
                intake.refused(written.as_ref())
            }
        }
    }

    /// Whether something waits to be written.
    pub fn is_waiting(&self, at: usize) -> bool {
        let life = self.entries[at].as_ref().map(|entry| entry.device.life);
        let intake = self.link.as_ref().and_then(|link| link.intakes[at].as_ref());
        intake.is_some_and(|(of, intake)| Some(*of) == life && intake.is_waiting())
    }
}

impl Request {
    /// Reads what is there; or what came of the write without that it was made.
    fn read(mut self, api: &mut Api) -> Result<Self, Outcome> {
        if !api.is_up {
            return Err(Outcome::Failed);
        }
        let (found, former) = match api.statuses[self.at].clone() {
            Some(status) if status.owner != self.life => (None, true),
            found => (found, false),
        };
        let recorded = found.as_ref().and_then(|status| status.point.clone());
        if recorded != self.written {
            return Err(Outcome::Elsewhere(recorded));
        }
        if former {
            if api.devices[self.at].is_none_or(|device| device.life != self.life) {
                return Err(Outcome::Failed);
            }
            api.put(self.at, None);
        }
        self.read = found.map(|status| status.version);
        Ok(self)
    }

    /// The write arrives. The bridge may be another one by now, and the answer may get lost.
    pub fn arrive(
        self,
        api: &mut Api,
        bridge: &mut Option<Bridge>,
        requests: &mut Vec<Self>,
        dice: &mut Dice,
    ) -> Result<Answers, Broken> {
        let (at, life, link) = (self.at, self.life, self.link);
        let linked = bridge
            .as_mut()
            .filter(|bridge| bridge.link.as_ref().is_some_and(|present| present.number == link));
        let outcome = if !api.is_up {
            Outcome::Failed
        } else if api.statuses[at].as_ref().map(|status| status.version) == self.read {
            api.write(&self)?;
            if dice.one_in(8) { Outcome::Failed } else { Outcome::Taken }
        } else if linked.is_none() {
            // Somebody was faster, and nobody is there any more to look again.
            return Ok(Vec::new());
        } else {
            match self.read(api) {
                Ok(again) => {
                    requests.push(again);
                    return Ok(Vec::new());
                }
                Err(outcome) => outcome,
            }
        };
        Ok(linked.map(|bridge| bridge.written(at, life, outcome)).unwrap_or_default())
    }
}
