//! An agent: the real twins, receiver and outbox over a disk that outlives them, put together as the agent does it.

use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use device_model::{
    Ack, AckCode, Device, DeviceId, Manifest, Property, QualityCode, Reading, Timestamp, Value,
    parse_manifests,
};
use device_twin::store::{Confirmed, Content, Object, ObjectKey, Stored};
use device_twin::{
    ChangeKind, Command, Desire, MemoryStore, Owner, PropertyReport, Rejected, Report as Word,
    Settings, Store, Twin, TwinProperty, Twins, Uid as Life, Writer,
};
use edge_link::content::{Confirmation, Hello, Holding, Point, Welcome};
use edge_link::down::{Change, Delivery, Outgoing, Receiver, Said as Says, Task, Verdict};
use edge_link::up::{Outbox, OutboxSettings, Report, Told};
use edge_link::{MessageId, Version};

use super::body::Body;
use super::cloud::{Entry, Said};
use super::disk::Disk;
use super::{Broken, DEVICES, PROPERTIES};
use crate::down::names::{LIVES, key, object_of, uid};

const KIND: &str = "Device";
pub const NAMES: [&str; PROPERTIES] = ["p", "q"];

const OUTBOX: OutboxSettings = OutboxSettings {
    in_flight: 2,
    resend_after: Duration::from_secs(10),
    resend_at_most: Duration::from_secs(20),
    backlog_every: 4,
};

/// The devices, each with its lives.
pub static DEFINED: LazyLock<[(DeviceId, Vec<Arc<Device>>); DEVICES]> = LazyLock::new(|| {
    let property = |name: &str| format!("{{name: {name}, type: INT, accessMode: ReadWrite}}");
    let visitor =
        |name: &str| format!("{{name: {name}, visitors: {{protocolName: x, configData: {{}}}}}}");
    let of = |line: &dyn Fn(&str) -> String| NAMES.map(line).join(", ");
    ["a", "b"].map(|name| {
        let text = format!(
            "apiVersion: devices.kubeedge.io/v1beta1\nkind: DeviceModel\nmetadata: {{name: m, namespace: demo}}\n\
             spec: {{protocol: x, properties: [{}]}}\n---\n\
             apiVersion: devices.kubeedge.io/v1beta1\nkind: Device\nmetadata: {{name: {name}, namespace: demo}}\n\
             spec: {{deviceModelRef: {{name: m}}, protocol: {{protocolName: x, configData: {{}}}}, properties: [{}]}}\n",
            of(&property), of(&visitor),
        );
        let (mut model, mut device) = (None, None);
        for manifest in parse_manifests(&text).unwrap() {
            match manifest {
                Manifest::Model(one) => model = Some(one),
                Manifest::Device(one) => device = Some(one),
                #[allow(unreachable_patterns, reason = "there may be more kinds")]
                _ => {}
            }
        }
        let device = Device::resolve(&model.unwrap(), &device.unwrap()).unwrap();
        let at = usize::from(name != "a");
        let life = |life| {
            let uid = Some(uid(at, life).as_str().to_owned());
            Arc::new(Device { uid, ..device.clone() })
        };
        (device.id.clone(), (0..LIVES).map(life).collect())
    })
});

/// How far an agent gets with an object before it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dies {
    Keeping,
    Telling,
    Acknowledging,
    Not,
}

/// What is left when the agent is dead, and the agent while it lives.
#[derive(Debug, Default)]
pub struct Edge {
    pub disk: Disk,
    pub agent: Option<Agent>,
    /// The newest life of each object that this disk knew, and whether it was over.
    seen: [(u8, bool); DEVICES],
    /// A bridge that lags behind another one may have told what is over already.
    pub is_misled: bool,
}

#[derive(Debug)]
pub struct Agent {
    pub twins: Twins<Disk>,
    receiver: Receiver,
    bodies: [Option<Body>; DEVICES],
    pub outbox: Outbox<usize>,
    unkept: Vec<(DeviceId, Confirmed)>,
}

/// What the cloud's word came to.
#[derive(Debug)]
pub enum Heard {
    Nothing,
    Confirmed(usize, Point),
    /// The cloud knows more than the store; the link ends.
    Behind,
}

/// All that was answered to mappers and applications.
pub type Answered = Vec<(DeviceId, Life, Vec<(Option<Value>, Option<Value>, Option<Value>)>)>;

impl Edge {
    /// The agent starts.
    pub fn start(&mut self, now: Timestamp) -> Result<(), Broken> {
        let settings = Settings { owner: Owner::Cloud, ..Settings::default() };
        let twins = Twins::open(self.disk.clone(), settings, now).unwrap();
        let (mut held, mut bodies) = (Vec::new(), [const { None }; DEVICES]);
        for object in self.disk.objects(KIND).unwrap() {
            let body = Body::from_store(&object.body);
            let at = usize::from(*object.key.name != *"a");
            let version = Version::new(&object.resource_version).of_generation(body.generation);
            held.push(Holding { key: key(at), uid: uid(at, body.life), version });
            bodies[at] = Some(body);
        }
        let outbox = Outbox::new(OUTBOX, twins.epoch());
        let receiver = Receiver::new(held);
        let mut agent = Agent { twins, receiver, bodies, outbox, unkept: Vec::new() };
        for at in 0..DEVICES {
            let Some(body) = &agent.bodies[at] else { continue };
            let mut commands = body.commands(at, None, false);
            let reason = "nothing was heard of it".into();
            commands.push(Command::Lose { devices: vec![DEFINED[at].0.clone()], reason });
            agent.apply(&commands, now)?;
        }
        agent.rebuild();
        self.agent = Some(agent);
        Ok(())
    }

    /// What the present store has, as an agent that starts with it would tell it.
    fn look_anew(&mut self) {
        self.seen = Default::default();
        for object in self.disk.objects(KIND).unwrap() {
            let body = Body::from_store(&object.body);
            self.seen[usize::from(*object.key.name != *"a")] = (body.life, false);
        }
    }

    /// The store becomes what `copy` is by the agent's own rules for backups.
    pub fn restore(&mut self, copy: &MemoryStore, now: Timestamp) {
        let mut present = self.disk.clone();
        let replaced = Content { epoch: present.epoch().unwrap(), ..Content::default() };
        let mut copy = copy.clone();
        let Stored { epoch, twins, tombstones } = copy.load().unwrap();
        let ids = DEFINED.iter().map(|(id, _)| id);
        let confirmed = |id: &DeviceId| Some((id.clone(), copy.confirmed(id).unwrap()?));
        let confirmations = ids.filter_map(confirmed).collect();
        let objects = copy.objects(KIND).unwrap();
        let content = Content { epoch, twins, tombstones, confirmations, objects };
        let mut store = MemoryStore::new();
        content.restored(Some(&replaced), now).put_into(&mut store).unwrap();
        self.disk.replace(store);
        self.look_anew();
    }

    /// It is lost. On a machine whose clock is not set the new one begins below the old one.
    pub fn lose(&mut self, epoch: Option<u64>) {
        let mut store = MemoryStore::new();
        epoch.into_iter().for_each(|epoch| store.set_epoch(epoch).unwrap());
        self.disk.replace(store);
        self.look_anew();
    }

    /// Everything that was answered, by device.
    pub fn answered(&self) -> Answered {
        let Some(agent) = &self.agent else { return Vec::new() };
        let value =
            |of: &Option<Arc<device_twin::Desired>>| of.as_ref().map(|one| one.value.clone());
        let property = |(_, one): (&Property, &TwinProperty)| {
            let reported = one.reported.as_ref().and_then(|reported| reported.value.clone());
            (reported, value(&one.desired), value(&one.beneath))
        };
        let twin = |twin: &Twin| {
            let properties = twin.properties().map(property).collect();
            (twin.device().id.clone(), twin.uid().clone(), properties)
        };
        let mut all: Answered = agent.twins.iter().map(twin).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Which life and state of an object are on the disk.
    pub fn on_disk(&mut self, at: usize) -> Option<(u8, String)> {
        let object = self.disk.object(&store_key(at)).unwrap()?;
        Some((Body::from_store(&object.body).life, object.resource_version))
    }

    /// Takes an object; whether it is to be acknowledged.
    pub fn deliver(
        &mut self,
        message: &Outgoing<Rc<Entry>>,
        dies: Dies,
        now: Timestamp,
    ) -> Result<bool, Broken> {
        let Some(agent) = &mut self.agent else { return Ok(false) };
        let (uid, said, entry) = match &message.task {
            Task::Put { uid, version, body, .. } => (uid, Says::Is(version.clone()), Some(body)),
            Task::Delete { uid } => (uid, Says::Over, None),
        };
        let (at, life) = object_of(uid);
        let (of, order) = (message.key.clone(), Some(message.order));
        let delivery = Delivery { key: of, uid: uid.clone(), said, order };
        let Verdict::Commit(change) = agent.receiver.judge(&delivery) else {
            agent.receiver.settle(delivery);
            return Ok(dies == Dies::Not);
        };
        let (seen, over) = self.seen[at];
        let commands = match entry {
            Some(entry) => {
                if !self.is_misled && (life < seen || (life == seen && over)) {
                    return Err("a life that was over came back");
                }
                self.seen[at] = (life, false);
                let body = Body::read(entry, agent.bodies[at].as_ref());
                let Says::Is(version) = &delivery.said else { return Ok(false) };
                let object = Object {
                    key: store_key(at),
                    uid: uid.as_str().to_owned(),
                    resource_version: version.resource_version.to_string(),
                    body: body.to_store(),
                };
                agent.twins.store().put_object(&object).unwrap();
                let adopted = change == Change::Begins { former: None };
                let commands = body.commands(at, agent.bodies[at].as_ref(), adopted);
                agent.bodies[at] = Some(body);
                commands
            }
            None => {
                if life != seen {
                    return Err("the end of another life removed the present one");
                }
                self.seen[at] = (life, true);
                agent.bodies[at] = None;
                let of = &DEFINED[at].0;
                let is_it = agent.twins.life(of).is_some_and(|it| it.as_str() == uid.as_str());
                is_it.then(|| Command::Remove(of.clone())).into_iter().collect()
            }
        };
        if dies == Dies::Keeping {
            return Ok(false);
        }
        agent.apply(&commands, now)?;
        if dies == Dies::Telling {
            return Ok(false);
        }
        if entry.is_none() {
            agent.twins.store().delete_object(&store_key(at)).unwrap();
        }
        agent.receiver.settle(delivery);
        Ok(dies == Dies::Not)
    }
}

impl Agent {
    fn apply(&mut self, commands: &[Command], now: Timestamp) -> Result<(), Broken> {
        for (command, outcome) in commands.iter().zip(self.twins.apply(commands, now).unwrap()) {
            match (command, outcome.result) {
                (_, Ok(_)) | (Command::Desire(_), Err(Rejected::Stale { .. })) => {}
                _ => return Err("the twins refused what they were told"),
            }
            for change in outcome.changes {
                let at = usize::from(change.device.id != DEFINED[0].0);
                let life = edge_link::Uid::new(change.uid.as_str()).unwrap();
                match change.kind {
                    ChangeKind::Removed => self.outbox.forget(&at),
                    _ => self.outbox.note(&at, &life, change.rev),
                }
            }
        }
        Ok(())
    }

    fn rebuild(&mut self) {
        self.outbox = Outbox::new(OUTBOX, self.twins.epoch());
        for at in 0..DEVICES {
            let id = &DEFINED[at].0;
            let confirmed = self.twins.store().confirmed(id).unwrap();
            let Some(twin) = self.twins.get(id) else { continue };
            let life = edge_link::Uid::new(twin.uid().as_str()).unwrap();
            let point = confirmed.filter(|one| one.uid == *twin.uid()).map(|one| Point {
                uid: life.clone(),
                epoch: one.epoch,
                rev: one.rev,
            });
            self.outbox.restore(&at, life, twin.rev(), point.as_ref());
        }
    }

    pub fn twin(&self, at: usize) -> Option<&Twin> {
        self.twins.get(&DEFINED[at].0)
    }

    /// Time passes.
    pub fn tick(&mut self, now: Timestamp) -> Result<(), Broken> {
        self.apply(&[Command::Tick], now)
    }

    /// A mapper says a value, and that it has settled what is desired, if it says so.
    pub fn report(
        &mut self,
        at: usize,
        property: usize,
        value: u32,
        settles: bool,
        now: Timestamp,
    ) -> Result<(), Broken> {
        let Some(twin) = self.twin(at) else { return Ok(()) };
        let desired = twin.property(NAMES[property]).and_then(|(_, one)| one.desired.clone());
        let reading = Reading::good(Value::Int(value.into()), now);
        let mut said = PropertyReport::reading(NAMES[property], reading);
        said.ack = desired.filter(|_| settles).map(|desired| Ack {
            generation: desired.generation,
            code: AckCode::Verified,
            detail: String::new(),
        });
        let word = Word::of(DEFINED[at].0.clone()).with(said);
        self.apply(&[Command::Report(word)], now)
    }

    /// Somebody on the gateway wants something else than the cloud.
    pub fn desire(
        &mut self,
        at: usize,
        property: usize,
        value: u32,
        now: Timestamp,
    ) -> Result<(), Broken> {
        if self.twin(at).is_none() {
            return Ok(());
        }
        let desire = Desire::of(DEFINED[at].0.clone(), Writer::local("api"));
        let desire = desire.with(NAMES[property], Value::Int(value.into()));
        self.apply(&[Command::Desire(desire)], now)
    }

    pub fn hello(&self) -> Hello {
        Hello {
            epoch: self.twins.epoch(),
            objects: self.receiver.held().collect(),
            twins: self.outbox.points().collect(),
        }
    }

    /// The cloud answers.
    pub fn connect(&mut self, welcome: &Welcome, now: Timestamp) -> Result<Heard, Broken> {
        self.receiver.connect();
        let told = self.outbox.connect(Some(welcome));
        self.heed(told, now)
    }

    pub fn confirm(
        &mut self,
        id: &MessageId,
        said: &Confirmation,
        now: Timestamp,
    ) -> Result<Heard, Broken> {
        let told = self.outbox.confirm(id, said);
        self.heed(told, now)
    }

    fn heed(&mut self, told: Told<usize>, now: Timestamp) -> Result<Heard, Broken> {
        match told {
            Told::Nothing => Ok(Heard::Nothing),
            Told::Confirmed(at, point) => {
                let uid = Life::new(point.uid.as_str());
                let confirmed = Confirmed { uid, epoch: point.epoch, rev: point.rev };
                self.unkept.push((DEFINED[at].0.clone(), confirmed));
                Ok(Heard::Confirmed(at, point))
            }
            Told::Behind(epoch) => {
                self.apply(&[Command::Doubt], now)?;
                // By a span of its own, as the agent does it.
                let span = now.as_millis().unsigned_abs() % 65_536;
                self.twins.begin_epoch(epoch + span).unwrap();
                self.rebuild();
                Ok(Heard::Behind)
            }
        }
    }

    /// Writes down what was confirmed.
    pub fn keep(&mut self) {
        let unkept = std::mem::take(&mut self.unkept);
        self.twins.confirm(&unkept).unwrap();
    }

    pub fn disconnect(&mut self) {
        self.outbox.disconnect();
    }

    /// The next report, as the agent makes it.
    pub fn next(&mut self, now: Duration, id: &MessageId) -> Option<(usize, Report<usize, Said>)> {
        while let Some(upload) = self.outbox.next(now, id.clone()) {
            let at = upload.key;
            let is_it = |twin: &&Twin| twin.uid().as_str() == upload.progress.uid.as_str();
            let Some(twin) = self.twin(at).filter(is_it) else {
                self.outbox.forget(&at);
                continue;
            };
            let news = |(_, (_, one)): &(usize, (_, &TwinProperty))| {
                one.newest() > upload.progress.base_rev
            };
            let said = |(property, (_, one)): (usize, (_, &TwinProperty))| (property, said(one));
            let changed = twin.properties().enumerate().filter(news).map(said).collect();
            return Some((at, Report { id: upload.id, progress: upload.progress, changed }));
        }
        None
    }
}

/// What is told of a property.
pub fn said(one: &TwinProperty) -> Said {
    let number = |value: &Value| match value {
        Value::Int(value) => u32::try_from(*value).unwrap(),
        _ => u32::MAX,
    };
    let settled = one.desired.as_ref().zip(one.ack.as_ref()).map(|(desired, _)| {
        (desired.cloud_version.unwrap_or(desired.generation.0), number(&desired.value))
    });
    let current = one.reported.as_ref().filter(|one| one.code != QualityCode::Restored);
    let value = current.and_then(|reported| reported.value.as_ref()).map(number);
    Said { value, settled }
}

/// What of the twin the cloud wants: what stands, or what waits beneath an override.
pub fn wanted(one: &TwinProperty) -> Option<u32> {
    let is_local =
        |desired: &&Arc<device_twin::Desired>| matches!(desired.writer, Writer::Local(_));
    let desired = match one.desired.as_ref().filter(is_local) {
        Some(_) => one.beneath.as_ref(),
        None => one.desired.as_ref(),
    };
    match &desired?.value {
        Value::Int(value) => u32::try_from(*value).ok(),
        _ => None,
    }
}

fn store_key(at: usize) -> ObjectKey {
    let id = &DEFINED[at].0;
    ObjectKey { kind: KIND.into(), namespace: id.namespace().into(), name: id.name().into() }
}
