//! What a node has, and what a message of the cloud changes of it. The edge's end.

use std::collections::BTreeMap;

use crate::content::Holding;
use crate::message::Message;
use crate::object::{Look, Uid, Version};
use crate::resource::{ObjectKey, Resource, ResourceError};
use crate::words::operation;

/// A message that puts or deletes an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Delivery {
    /// Which object; its kind is that of the resource, since CloudCore sends some without.
    pub key: ObjectKey,
    /// Which life of it.
    pub uid: Uid,
    /// What is said of it.
    pub said: Said,
    /// The message's place on this link, from a hub of ours.
    pub order: Option<u64>,
}

/// What a [`Delivery`] says of a life of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Said {
    /// This is its state. Whether the message calls it an insert or an update says nothing.
    Is(Version),
    /// It is over.
    Over,
}

/// A message puts or deletes no object that can be kept. There is nothing to commit, and no later try would do better: it
/// is acknowledged all the same, or a KubeEdge cloud would send nothing else for 25 s at a time; and it is counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// It is about no object.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// It is about something that is no object.
    #[error("resource \"{0}\" is no object; name a namespace, a kind and a name")]
    NoObject(String),
    /// It wants something else done.
    #[error("operation \"{0}\" does nothing to an object; send insert, update or delete")]
    Operation(String),
    /// It cannot be told which life of the object is meant.
    #[error("{key}: metadata.uid is missing; send the object as the API server has it")]
    NoUid {
        /// Which object.
        key: ObjectKey,
    },
    /// It cannot be told which state of the object it is.
    #[error("{key}: metadata.resourceVersion is missing; send the object as the API server has it")]
    NoVersion {
        /// Which object.
        key: ObjectKey,
    },
}

impl Delivery {
    /// What `message` says of an object.
    ///
    /// # Errors
    /// It says nothing of an object that could be kept.
    pub fn read(message: &Message) -> Result<Self, DeliveryError> {
        let key = match message.resource()? {
            Resource::Object(key) => key,
            other => return Err(DeliveryError::NoObject(other.to_string())),
        };
        let parsed;
        let object = match message.content.as_str().map(serde_json::from_str) {
            Some(Ok(object)) => {
                parsed = object;
                &parsed
            }
            _ => &message.content,
        };
        let look = Look::at(object);
        let Some(uid) = look.uid else { return Err(DeliveryError::NoUid { key }) };
        let said = match message.route.operation.as_deref() {
            Some(operation::DELETE) => Said::Over,
            Some(operation::INSERT | operation::UPDATE) => {
                let of_header = || message.header.resource_version.as_deref().map(Version::new);
                match look.version.or_else(of_header) {
                    Some(version) => Said::Is(version),
                    None => return Err(DeliveryError::NoVersion { key }),
                }
            }
            other => return Err(DeliveryError::Operation(other.unwrap_or_default().into())),
        };
        Ok(Self { key, uid, said, order: message.header.order })
    }
}

/// What is to be done with a [`Delivery`]. In either case it is acknowledged afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Commit this, synced; then [`Receiver::settle`]. If it cannot be committed, neither settle nor acknowledge: it will be
    /// sent again.
    Commit(Change),
    /// Commit nothing, and settle.
    Known(Known),
}

/// What a [`Delivery`] changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An object of which nothing was known, or another life of one that was.
    Begins {
        /// The life that ends with it.
        former: Option<Uid>,
    },
    /// Another state of a known life.
    Changes {
        /// Whether only metadata or status can differ: no device and no pod has to do anything.
        same_spec: bool,
    },
    /// The known life is over.
    Ends,
}

/// Why a [`Delivery`] changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It was committed before, or something that was sent after it.
    Repeated,
    /// A newer state of this life is there.
    Older,
    /// It tells the end of a life that is not here, whatever else is here under that name.
    NotHere,
}

/// The objects of a node, as the node itself knows them: an index of what its store has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Receiver {
    held: BTreeMap<ObjectKey, (Uid, Version)>,
    /// The highest order on this link of what was settled, per object.
    orders: BTreeMap<ObjectKey, u64>,
}

impl Receiver {
    /// A node whose store has `held`.
    pub fn new(held: impl IntoIterator<Item = Holding>) -> Self {
        let held = held.into_iter().map(|one| (one.key, (one.uid, one.version))).collect();
        Self { held, ..Self::default() }
    }

    /// A link begins.
    pub fn connect(&mut self) {
        self.orders.clear();
    }

    /// What `delivery` changes. Several may be judged before the first is settled if they are about different objects.
    pub fn judge(&self, delivery: &Delivery) -> Verdict {
        let Delivery { key, uid, said, order } = delivery;
        if order.is_some_and(|order| self.orders.get(key).is_some_and(|last| order <= *last)) {
            return Verdict::Known(Known::Repeated);
        }
        let held = self.held.get(key);
        match (said, held) {
            (Said::Over, Some((life, _))) if life == uid => Verdict::Commit(Change::Ends),
            (Said::Over, _) => Verdict::Known(Known::NotHere),
            (Said::Is(version), Some((life, known))) if life == uid => {
                if version == known {
                    Verdict::Known(Known::Repeated)
                } else if version.is_older_than(known) {
                    Verdict::Known(Known::Older)
                } else {
                    Verdict::Commit(Change::Changes { same_spec: version.has_spec_of(known) })
                }
            }
            (Said::Is(_), former) => {
                let former = former.map(|(life, _)| life.clone());
                Verdict::Commit(Change::Begins { former })
            }
        }
    }

    /// Takes note that what was judged of `delivery` is committed.
    pub fn settle(&mut self, delivery: Delivery) {
        let verdict = self.judge(&delivery);
        let Delivery { key, uid, said, order } = delivery;
        if let Some(order) = order {
            let last = self.orders.entry(key.clone()).or_insert(order);
            *last = order.max(*last);
        }
        match (verdict, said) {
            (Verdict::Commit(_), Said::Is(version)) => drop(self.held.insert(key, (uid, version))),
            (Verdict::Commit(_), Said::Over) => drop(self.held.remove(&key)),
            (Verdict::Known(_), _) => {}
        }
    }

    /// What the node has.
    pub fn held(&self) -> impl Iterator<Item = Holding> + '_ {
        self.held.iter().map(|(key, (uid, version))| Holding {
            key: key.clone(),
            uid: uid.clone(),
            version: version.clone(),
        })
    }
}
