//! The objects that the cloud gave this node: kept in the store, resolved into devices, told to the twins.
//!
//! The order is: on the disk, then in the twins, then acknowledged. A process that dies in between is sent the object
//! again and does the rest again, which changes nothing that was done.

mod definitions;

use std::collections::BTreeSet;
use std::sync::Arc;

use device_model::DeviceId;
use device_twin::store::{Confirmed, Object, ObjectKey as StoreKey};
use device_twin::{Command, Rejected, Uid as Life};
use edge_link::content::Holding;
use edge_link::down::{Change, Delivery, Receiver, Said, Verdict};
use edge_link::{Kind, Look, Message, ObjectKey, Uid, Version};
use serde_json::Value as Json;
use tracing::{debug, info, warn};

use crate::catalogue::Catalogue;
use crate::feed::Origin;
use crate::manifests::Faults;
use crate::twins::{Twins, Unavailable};
use definitions::{Definitions, Step};

/// Kinds that are kept. Others are acknowledged, since a cloud waits for it, and left.
pub(crate) const KINDS: [Kind; 2] = [Kind::DEVICE_MODEL, Kind::DEVICE];
/// Devices that are told to the twins in one transaction at the start.
const CHUNK: usize = 64;

/// All of them.
pub(crate) struct Objects {
    twins: Twins,
    catalogue: Arc<Catalogue>,
    faults: Arc<Faults>,
    receiver: Receiver,
    definitions: Definitions,
    /// Devices of which the twins were not told so far, since the store did not take it.
    owed: BTreeSet<DeviceId>,
}

/// A message whose object is to be committed.
struct Judged {
    /// Its place among the messages.
    at: usize,
    delivery: Delivery,
    change: Change,
}

impl Objects {
    /// Those that `stored` holds.
    pub(crate) fn new(
        stored: &[Object],
        twins: Twins,
        catalogue: Arc<Catalogue>,
        faults: Arc<Faults>,
    ) -> Self {
        let mut definitions = Definitions::default();
        let (mut held, mut owed) = (Vec::new(), BTreeSet::new());
        for object in stored {
            let StoreKey { kind, namespace, name } = &object.key;
            match from_store(object) {
                Ok((holding, mut body)) => {
                    owed.extend(definitions.put(&holding.key, &mut body));
                    held.push(holding);
                }
                Err(reason) => {
                    warn!(%kind, %namespace, %name, reason, "a stored object cannot be read; the cloud sends it again");
                }
            }
        }
        Self { twins, catalogue, faults, receiver: Receiver::new(held), definitions, owed }
    }

    /// Tells the twins of the devices as the last run kept them. What the store does not take is tried again by
    /// [`Objects::pay`].
    ///
    /// # Errors
    /// The agent stops.
    pub(crate) async fn begin(&mut self) -> Result<(), Unavailable> {
        let devices = self.owed.len();
        self.pay(true).await?;
        info!(devices, "the cloud's devices, as they were known last");
        Ok(())
    }

    /// Whether the twins were not told of all devices.
    pub(crate) fn is_owing(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Tells the twins what they were not told; `anew`: nobody has heard of the devices in this run.
    ///
    /// # Errors
    /// The agent stops.
    pub(crate) async fn pay(&mut self, anew: bool) -> Result<(), Unavailable> {
        let owed: Vec<_> = self.owed.iter().cloned().collect();
        for chunk in owed.chunks(CHUNK) {
            let mut steps = self.definitions.steps(chunk.iter().cloned(), &BTreeSet::new());
            if anew {
                // What the store knows of states is of an earlier run.
                let reason = "nothing was heard of it since the agent started".into();
                steps.push(Step::all(Command::Lose { devices: chunk.to_vec(), reason }));
            }
            match self.apply(steps).await {
                Ok(_) => self.owed.retain(|id| !chunk.contains(id)),
                Err(Unavailable::Store(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What this node holds.
    pub(crate) fn held(&self) -> impl Iterator<Item = Holding> + '_ {
        self.receiver.held()
    }

    /// A link begins.
    pub(crate) fn connect(&mut self) {
        self.receiver.connect();
    }

    /// Takes `messages`, no two of them about the same object; which of them are to be acknowledged.
    ///
    /// # Errors
    /// The agent stops.
    pub(crate) async fn take(&mut self, messages: &[Message]) -> Result<Vec<bool>, Unavailable> {
        let mut acknowledged = vec![true; messages.len()];
        let mut judged = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            match Delivery::read(message) {
                Err(error) => warn!(%error, "an object of the cloud cannot be kept"),
                Ok(delivery) if !KINDS.contains(delivery.key.kind()) => {
                    debug!(object = %delivery.key, "nothing here needs objects of this kind");
                }
                Ok(delivery) => match self.receiver.judge(&delivery) {
                    Verdict::Known(known) => {
                        debug!(object = %delivery.key, ?known, "nothing new");
                        self.receiver.settle(delivery);
                    }
                    Verdict::Commit(change) => judged.push(Judged { at, delivery, change }),
                },
            }
        }
        match self.commit(messages, &judged).await {
            Ok(()) => judged.into_iter().for_each(|one| self.receiver.settle(one.delivery)),
            Err(Unavailable::Store(error)) => {
                warn!(%error, "objects of the cloud are not kept yet; it sends them again");
                judged.iter().for_each(|one| acknowledged[one.at] = false);
            }
            Err(error) => return Err(error),
        }
        Ok(acknowledged)
    }

    async fn commit(&mut self, messages: &[Message], judged: &[Judged]) -> Result<(), Unavailable> {
        if judged.is_empty() {
            return Ok(());
        }
        let (mut kept, mut ended) = (Vec::new(), Vec::new());
        let (mut touched, mut adopted) = (BTreeSet::new(), BTreeSet::new());
        for Judged { at, delivery, change } in judged {
            let Delivery { key, uid, said, .. } = delivery;
            match said {
                Said::Is(version) => {
                    let mut body = content(&messages[*at]);
                    touched.extend(self.definitions.put(key, &mut body));
                    kept.push(to_store(key, uid, version, &body));
                }
                Said::Over => {
                    touched.extend(self.definitions.remove(key));
                    ended.push((key, uid));
                }
            }
            if *change == (Change::Begins { former: None }) {
                adopted.extend(key.device());
            }
        }
        self.owed.extend(touched.iter().cloned());
        if !kept.is_empty() {
            self.twins.keep_all(kept).await?;
        }
        let mut steps = self.ends(&ended).await?;
        steps.extend(self.definitions.steps(touched.iter().cloned(), &adopted));
        self.apply(steps).await?;
        for (key, _) in ended {
            self.twins.forget(store_key(key)).await?;
        }
        self.owed.retain(|id| !touched.contains(id));
        Ok(())
    }

    /// The twins of the lives that are over. Another life of that name, this node's own perhaps, is none of the cloud's.
    async fn ends(&self, ended: &[(&ObjectKey, &Uid)]) -> Result<Vec<Step>, Unavailable> {
        let devices: Vec<_> =
            ended.iter().filter_map(|(key, uid)| Some((key.device()?, *uid))).collect();
        let lives = self.twins.lives(devices.iter().map(|(id, _)| id.clone()).collect()).await?;
        let is_it =
            |life: Option<Life>, uid: &Uid| life.is_some_and(|life| life.as_str() == uid.as_str());
        let mine =
            devices.into_iter().zip(lives).filter(|((_, uid), life)| is_it(life.clone(), uid));
        Ok(mine.map(|((id, uid), _)| Step::end(id, uid)).collect())
    }

    /// Tells the twins. The catalogue goes first: whoever hears of a change looks there.
    async fn apply(&mut self, steps: Vec<Step>) -> Result<(), Unavailable> {
        self.catalogue.replace(self.definitions.in_force().clone());
        let epoch = self.twins.epoch();
        let commands = steps.iter().map(|step| step.command.clone()).collect();
        let results = self.twins.apply(commands, Origin::Unasked).await?;
        let mut deletions = Vec::new();
        for (step, result) in steps.into_iter().zip(results) {
            let Step { device: Some(device), command, over } = step else { continue };
            match (&command, result) {
                (Command::Remove(_), Ok(answer)) => {
                    // The cloud knows that it is gone: it said so.
                    let confirmed = |uid| Confirmed { uid, epoch, rev: answer.rev };
                    deletions.extend(over.map(|uid| (device, confirmed(uid))));
                }
                (Command::Load(_) | Command::Adopt(_), Ok(_)) => self.definitions.told(&device),
                (_, Ok(_)) => {}
                (Command::Desire(_), Err(Rejected::Stale { what })) => {
                    debug!(%device, what, "the cloud said something newer before");
                }
                (_, Err(reason)) => {
                    warn!(%device, %reason, "the cloud's device cannot be as it says");
                    self.definitions.refuse(&device, reason.to_string());
                }
            }
        }
        self.faults.replace(self.definitions.faults());
        if !deletions.is_empty() {
            self.twins.confirm(deletions).await?;
        }
        Ok(())
    }
}

/// The object in `message`: JSON, or a text that holds it.
fn content(message: &Message) -> Json {
    match &message.content {
        Json::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    }
}

fn store_key(key: &ObjectKey) -> StoreKey {
    StoreKey {
        kind: key.kind().as_str().into(),
        namespace: key.namespace().unwrap_or_default().into(),
        name: key.name().into(),
    }
}

fn to_store(key: &ObjectKey, uid: &Uid, version: &Version, body: &Json) -> Object {
    Object {
        key: store_key(key),
        uid: uid.as_str().to_owned(),
        resource_version: version.resource_version.to_string(),
        body: body.to_string().into_bytes(),
    }
}

fn from_store(object: &Object) -> Result<(Holding, Json), String> {
    let StoreKey { kind, namespace, name } = &object.key;
    let namespace = (!namespace.is_empty()).then_some(&**namespace);
    let kind = Kind::new(kind).map_err(|error| error.to_string())?;
    let key = ObjectKey::new(namespace, kind, name).map_err(|error| error.to_string())?;
    let uid = Uid::new(&object.uid).ok_or("it has no uid")?;
    let body: Json = serde_json::from_slice(&object.body).map_err(|error| error.to_string())?;
    let generation = Look::at(&body).version.and_then(|version| version.generation);
    let version = Version { generation, ..Version::new(&object.resource_version) };
    Ok((Holding { key, uid, version }, body))
}

#[cfg(test)]
mod tests;
