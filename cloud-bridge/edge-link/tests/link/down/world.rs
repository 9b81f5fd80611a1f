//! An API server, a hub, a link that loses, doubles and reorders, and an edge with a store: as small as can be.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use edge_link::MessageId;
use edge_link::content::Holding;
use edge_link::down::{
    Delivery, Outgoing, Queue, QueueSettings, Receiver, Said, Task, Verdict, Window,
};

use super::names::{key, object_of, state_of, uid, version};
use crate::search::World;

/// One object at the API server, or at the edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// Counts its lives, from 1.
    pub life: u8,
    /// Counts the states of this life, from 1; 0: it is over.
    pub state: u8,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// Ours, as it is.
    Agent,
    /// Ours, but for one mistake.
    Broken(Mistake),
    /// KubeEdge's: it deletes by name, says nothing of what it has, and its messages come in order.
    EdgeCore,
}

/// What an edge could do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mistake {
    /// It deletes whatever has the name, whenever it is told.
    DeletesByName,
    /// It does not look at the order of messages.
    IgnoresOrder,
    /// It says after the loss of its store that it has what it had.
    SaysNothing,
}

/// How much may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Budget {
    pub changes: u8,
    pub losses: u8,
    pub doubles: u8,
    pub timeouts: u8,
    pub cuts: u8,
    pub restarts: u8,
    pub wipes: u8,
}

/// What can happen. Numbers are those of objects or of messages under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Write(usize),
    Delete(usize),
    /// The hub hears how an object is.
    Watch(usize),
    /// The hub sends one message, if it has one.
    Send,
    /// So long that every acknowledgement is late.
    Timeout,
    Deliver(usize),
    Lose(usize),
    Double(usize),
    Acknowledge(usize),
    LoseAcknowledgement(usize),
    Cut,
    Connect,
    RestartHub,
    RestartEdge,
    WipeEdge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Down {
    edge: Peer,
    window: Window,
    pub budget: Budget,
    now: u8,
    pub api: Vec<Object>,
    /// As the hub knows it.
    view: Vec<Object>,
    pub hub: Queue<()>,
    /// What the API server keeps for the hub of a KubeEdge edge: what it may have.
    syncs: BTreeMap<usize, Vec<Object>>,
    linked: bool,
    down: Vec<Outgoing<()>>,
    up: Vec<MessageId>,
    /// In the edge's store.
    pub store: Vec<Object>,
    receiver: Receiver,
    /// The newest that was ever in it.
    seen: Vec<Object>,
}

const OVER: u8 = u8::MAX;

static PROBE: LazyLock<MessageId> = LazyLock::new(|| MessageId::new("new").unwrap());

/// An id that no message keeps.
fn probe() -> MessageId {
    PROBE.clone()
}

fn holding(at: usize, object: Object) -> Holding {
    Holding { key: key(at), uid: uid(at, object.life), version: version(object.state) }
}

impl Down {
    pub fn new(edge: Peer, window: Window, objects: usize, budget: Budget) -> Self {
        let settings = QueueSettings { resend_after: Duration::from_secs(1), sends: 2 };
        let nothing = vec![Object::default(); objects];
        Self {
            edge,
            window,
            budget,
            now: 0,
            api: nothing.clone(),
            view: nothing.clone(),
            hub: Queue::new(settings),
            syncs: BTreeMap::new(),
            linked: false,
            down: Vec::new(),
            up: Vec::new(),
            store: nothing.clone(),
            receiver: Receiver::default(),
            seen: nothing,
        }
    }

    fn clock(&self) -> Duration {
        Duration::from_secs(self.now.into())
    }

    fn watch(&mut self, at: usize) {
        let (object, known) = (self.api[at], self.view[at]);
        if object.state > 0 {
            self.hub.put(&key(at), uid(at, object.life), version(object.state), ());
        } else if known.state > 0 {
            self.hub.delete(&key(at), &uid(at, known.life));
        }
        self.view[at] = object;
    }

    fn send(&mut self) {
        // The order alone tells messages of one link apart; a message that is sent again keeps its id.
        let id = probe();
        let mut tried = self.hub.clone();
        let Some(message) = tried.next(self.clock(), id.clone()) else { return };
        let id = if message.id == id { message.order.to_string() } else { return self.again() };
        let message = self.hub.next(self.clock(), MessageId::new(&id).unwrap()).unwrap();
        if let Task::Put { uid, .. } = &message.task {
            let (object, life) = object_of(uid);
            let lives = self.syncs.entry(object).or_default();
            if lives.iter().all(|known| known.life != life) {
                lives.push(Object { life, state: 0 });
            }
        }
        self.push(message);
    }

    fn again(&mut self) {
        let message = self.hub.next(self.clock(), probe()).unwrap();
        self.push(message);
    }

    fn push(&mut self, message: Outgoing<()>) {
        self.down.push(message);
        if self.edge != Peer::EdgeCore {
            self.down.sort();
        }
    }

    fn deliver(&mut self, message: Outgoing<()>) -> Result<(), &'static str> {
        let (said, uid) = match message.task {
            Task::Put { uid, version, .. } => (Said::Is(version), uid),
            Task::Delete { uid } => (Said::Over, uid),
        };
        let (at, life) = object_of(&uid);
        let mut delivery =
            Delivery { key: message.key, uid, said: said.clone(), order: Some(message.order) };
        match self.edge {
            Peer::EdgeCore => {
                self.keep(at, life, &said)?;
                self.up.push(message.id);
                return Ok(());
            }
            Peer::Broken(Mistake::IgnoresOrder) => delivery.order = None,
            Peer::Broken(Mistake::DeletesByName) if said == Said::Over => {
                let present = self.receiver.held().find(|held| held.key == delivery.key);
                delivery.uid = present.map_or(delivery.uid, |held| held.uid);
                delivery.order = None;
            }
            _ => {}
        }
        if let Verdict::Commit(_) = self.receiver.judge(&delivery) {
            self.keep(at, life, &said)?;
        }
        self.receiver.settle(delivery);
        self.up.push(message.id);
        self.up.sort();
        Ok(())
    }

    /// Commits.
    fn keep(&mut self, at: usize, life: u8, said: &Said) -> Result<(), &'static str> {
        let (store, seen) = (&mut self.store[at], &mut self.seen[at]);
        match said {
            Said::Is(version) => {
                let object = Object { life, state: state_of(version) };
                if object < *seen {
                    return Err(if object.life < seen.life || seen.state == OVER {
                        "a life that was over came back"
                    } else {
                        "an older state took the place of a newer one"
                    });
                }
                (*store, *seen) = (object, object);
            }
            Said::Over => {
                if store.state > 0 && life != store.life {
                    return Err("the end of a former life removed the present one");
                }
                *store = Object { life, state: 0 };
                *seen = (*seen).max(Object { life, state: OVER });
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, id: &MessageId) {
        if let Some(done) = self.hub.acknowledge(id) {
            let (at, life) = object_of(&done.uid);
            let lives = self.syncs.entry(at).or_default();
            lives.retain(|known| known.life != life);
            if let Some(version) = done.version {
                lives.push(Object { life, state: state_of(&version) });
            }
        }
    }

    fn cut(&mut self) {
        self.linked = false;
        self.hub.disconnect();
        self.down.clear();
        self.up.clear();
    }

    fn connect(&mut self) {
        self.linked = true;
        let held = match self.edge {
            Peer::EdgeCore => {
                let lives = |(at, lives): (&usize, &Vec<Object>)| {
                    let at = *at;
                    lives.clone().into_iter().map(move |life| holding(at, life)).collect::<Vec<_>>()
                };
                self.syncs.iter().flat_map(lives).collect()
            }
            _ => self.receiver.held().collect(),
        };
        self.receiver.connect();
        self.hub.connect(self.window, Some(held));
    }

    /// Lets everything come to rest without another fault; what is wrong then, if anything.
    pub fn rest(&self) -> Result<(), &'static str> {
        let mut world = self.clone();
        for _ in 0..200 {
            for at in 0..world.api.len() {
                world.watch(at);
            }
            if !world.linked {
                world.connect();
            }
            while world.hub.clone().next(world.clock(), probe()).is_some() {
                world.send();
            }
            if world.down.is_empty() && world.up.is_empty() && world.hub.in_flight() == 0 {
                let same = world
                    .store
                    .iter()
                    .zip(&world.api)
                    .all(|(edge, api)| edge == api || (edge.state == 0 && api.state == 0));
                return match (same, world.hub.is_settled()) {
                    (true, true) => Ok(()),
                    (false, _) => {
                        Err("when all was quiet the edge had something else than the cloud")
                    }
                    (_, false) => Err("when all was quiet the hub still had something to send"),
                };
            }
            for message in std::mem::take(&mut world.down) {
                world.deliver(message)?;
            }
            for id in std::mem::take(&mut world.up) {
                world.acknowledge(&id);
            }
            world.now += 1;
        }
        Err("it never came to rest")
    }
}

impl World for Down {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let budget = &self.budget;
        let in_order = self.edge == Peer::EdgeCore;
        for (at, object) in self.api.iter().enumerate() {
            if budget.changes > 0 {
                steps.push(Step::Write(at));
                if object.state > 0 {
                    steps.push(Step::Delete(at));
                }
            }
            if self.view[at] != *object {
                steps.push(Step::Watch(at));
            }
        }
        if self.linked {
            if self.hub.clone().next(self.clock(), probe()).is_some() {
                steps.push(Step::Send);
            }
            if budget.timeouts > 0 && self.hub.in_flight() > 0 {
                steps.push(Step::Timeout);
            }
            for at in 0..self.down.len() {
                if in_order && at > 0 {
                    break;
                }
                steps.push(Step::Deliver(at));
                if !in_order && budget.losses > 0 {
                    steps.push(Step::Lose(at));
                }
                if !in_order && budget.doubles > 0 {
                    steps.push(Step::Double(at));
                }
            }
            for at in 0..self.up.len() {
                if in_order && at > 0 {
                    break;
                }
                steps.push(Step::Acknowledge(at));
                if !in_order && budget.losses > 0 {
                    steps.push(Step::LoseAcknowledgement(at));
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
        if budget.wipes > 0 && self.edge != Peer::EdgeCore {
            steps.push(Step::WipeEdge);
        }
        steps
    }

    fn step(&mut self, step: Step) -> Result<(), &'static str> {
        match step {
            Step::Write(at) => {
                self.budget.changes -= 1;
                let object = &mut self.api[at];
                if object.state == 0 {
                    object.life += 1;
                }
                object.state += 1;
            }
            Step::Delete(at) => {
                self.budget.changes -= 1;
                self.api[at].state = 0;
            }
            Step::Watch(at) => self.watch(at),
            Step::Send => self.send(),
            Step::Timeout => {
                self.budget.timeouts -= 1;
                self.now += 1;
            }
            Step::Deliver(at) => {
                let message = self.down.remove(at);
                self.deliver(message)?;
            }
            Step::Lose(at) => {
                self.budget.losses -= 1;
                self.down.remove(at);
            }
            Step::Double(at) => {
                self.budget.doubles -= 1;
                self.down.push(self.down[at].clone());
                self.down.sort();
            }
            Step::Acknowledge(at) => {
                let id = self.up.remove(at);
                self.acknowledge(&id);
            }
            Step::LoseAcknowledgement(at) => {
                self.budget.losses -= 1;
                self.up.remove(at);
            }
            Step::Cut => {
                self.budget.cuts -= 1;
                self.cut();
            }
            Step::Connect => self.connect(),
            Step::RestartHub => {
                self.budget.restarts -= 1;
                self.cut();
                let settings = QueueSettings { resend_after: Duration::from_secs(1), sends: 2 };
                self.hub = Queue::new(settings);
                self.view = vec![Object::default(); self.api.len()];
                (0..self.api.len()).for_each(|at| self.watch(at));
            }
            Step::RestartEdge => {
                self.budget.restarts -= 1;
                self.cut();
                self.receiver = Receiver::new(self.receiver.held().collect::<Vec<_>>());
            }
            Step::WipeEdge => {
                self.budget.wipes -= 1;
                self.cut();
                let nothing = vec![Object::default(); self.api.len()];
                if self.edge != Peer::Broken(Mistake::SaysNothing) {
                    self.receiver = Receiver::default();
                }
                (self.store, self.seen) = (nothing.clone(), nothing);
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.linked {
            for Holding { key: of, uid, version } in self.hub.held() {
                let (at, life) = object_of(&uid);
                let held = self.store[at];
                // Something newer may have come, whose acknowledgement is still under way.
                let newer = held.life > life || (held.life == life && held.state == 0);
                let same = held.life == life && held.state >= state_of(&version);
                // State 0 of an ObjectSync: it was sent, and perhaps it came.
                let perhaps = state_of(&version) == 0;
                if of == key(at) && !(newer || same || perhaps) {
                    return Err("the hub believes in something that the edge has not committed");
                }
            }
        }
        if self.hub.in_flight() > self.window.messages() {
            return Err("more messages were in flight than may be");
        }
        self.rest()
    }
}
