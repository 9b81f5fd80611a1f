//! All devices of a mapper and the wires they hang on.
//!
//! It resolves what the agent gave against its models, and tells each wire's task only what changed:
//! a new desired value is a command, a new visitor or cycle plans this one device anew, a new endpoint moves it. A
//! description that does not resolve leaves the one before in force.

mod catalogue;
mod lines;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use device_model::{
    Device, DeviceId, DeviceInstance, DeviceModel, DeviceState, Problem, Problems, QualityCode,
    Reading,
};
use dmi::convert::{Registered, Unreadable};
use dmi::frames::Frame;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::time;
use crate::driver::Driver;
use crate::endpoint::{Command, Limits};
use crate::member::{Member, address, sheltered};
use crate::metrics::Metrics;
use crate::report::{Batch, Health, Report};
use crate::schedule::Seat;
use crate::write::Origin;

use catalogue::Catalogue;
use lines::Lines;

/// What the agent wants of the fleet.
#[derive(Debug)]
pub(crate) enum Order {
    /// The mapper registered: these are its devices, and no others.
    Registered {
        answer: Registered,
        /// The agent is another process than before: it is told everything again.
        fresh: bool,
    },
    /// Add the device, or change it.
    Put(DeviceInstance, oneshot::Sender<Result<(), Refused>>),
    /// Take the device away. Answers whether it was there.
    Remove(DeviceId, oneshot::Sender<bool>),
    /// Add or change a model. If that changes devices, the mapper registers again to get them.
    PutModel(DeviceModel, oneshot::Sender<()>),
    /// Forget a model. Its devices stay as they are.
    RemoveModel(String, String),
    /// The device as it is now.
    Get(DeviceId, oneshot::Sender<Option<Arc<Device>>>),
    /// The frames on its wire that are about the device, from now on.
    Watch(DeviceId, oneshot::Sender<Result<mpsc::Receiver<Frame>, Unwatched>>),
}

/// Why the frames of a device are not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwatched {
    /// It is no device of this mapper.
    Unknown,
    /// It is on no wire.
    Unplaced,
    /// Too many watch its wire.
    Crowded,
}

/// Why a description was not taken. The one before stays in force.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Its model never came.
    NoModel(String),
    /// It is wrong.
    Invalid(Problems),
}

struct Entry<D: Driver> {
    seat: Seat,
    device: Arc<Device>,
    /// Its wire and its place there; none if the driver cannot make sense of its configuration.
    place: Option<(D::Endpoint, D::Unit)>,
    /// What is wrong with the description that came last; `None`: it is in force.
    problem: Option<Arc<str>>,
}

pub(crate) struct Fleet<D: Driver> {
    driver: Arc<D>,
    catalogue: Catalogue,
    entries: BTreeMap<DeviceId, Entry<D>>,
    lines: Lines<D>,
    reports: mpsc::Sender<Report>,
    /// Told when devices have to be fetched anew.
    wanting: Arc<Notify>,
    seats: u32,
}

impl<D: Driver> Fleet<D> {
    pub(crate) fn new(
        driver: Arc<D>,
        (reports, wanting): (mpsc::Sender<Report>, Arc<Notify>),
        limits: Limits,
        metrics: Arc<Metrics>,
        cancel: CancellationToken,
    ) -> Self {
        let lines = Lines::new(driver.clone(), reports.clone(), limits, metrics, cancel);
        let catalogue = Catalogue::default();
        Self { driver, catalogue, entries: BTreeMap::new(), lines, reports, wanting, seats: 0 }
    }

    /// Obeys until the mapper stops, then waits for the wires to come to rest.
    pub(crate) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        cancel: CancellationToken,
    ) {
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => break,
                },
                endpoint = self.lines.fallen() => self.raise(&endpoint).await,
            }
        }
        self.lines.stop().await;
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Registered { answer, fresh } => self.registered(answer, fresh).await,
            Order::Put(instance, answer) => {
                let result = self.put(&instance, Origin::Update).await;
                // Whoever asked may have given up waiting.
                let _ = answer.send(result);
            }
            Order::Remove(id, answer) => {
                let _ = answer.send(self.remove(&id).await);
            }
            Order::PutModel(model, answer) => {
                if self.catalogue.put_model(model) {
                    self.wanting.notify_one();
                }
                let _ = answer.send(());
            }
            Order::RemoveModel(namespace, name) => self.catalogue.remove_model(&namespace, &name),
            Order::Watch(id, answer) => {
                let _ = answer.send(self.watch(&id));
            }
            Order::Get(id, answer) => {
                let _ = answer.send(self.entries.get(&id).map(|entry| entry.device.clone()));
            }
        }
    }

    fn watch(&self, id: &DeviceId) -> Result<mpsc::Receiver<Frame>, Unwatched> {
        let entry = self.entries.get(id).ok_or(Unwatched::Unknown)?;
        let (endpoint, _) = entry.place.as_ref().ok_or(Unwatched::Unplaced)?;
        self.lines.watch(endpoint, entry.seat)
    }

    async fn registered(&mut self, answer: Registered, fresh: bool) {
        let (models, devices) = answer.into_parts();
        for model in models {
            match model {
                Ok(model) => {
                    self.catalogue.put_model(model);
                }
                Err(problem) => error!(%problem, "model not readable"),
            }
        }
        let mut stay = BTreeSet::new();
        let mut nameless = false;
        for device in devices {
            match device {
                Ok(instance) => {
                    stay.extend(instance.metadata.id());
                    self.take(&instance).await;
                }
                // It stays as it was.
                Err(Unreadable { id, problems }) => {
                    for problem in problems {
                        let device = id.as_ref().map(tracing::field::display);
                        error!(device, %problem, "device not readable");
                    }
                    nameless |= id.is_none();
                    stay.extend(id);
                }
            }
        }
        // One without a name may be any of them.
        stay.extend(self.entries.keys().filter(|_| nameless).cloned());
        let gone: Vec<_> = self.entries.keys().filter(|id| !stay.contains(id)).cloned().collect();
        for id in gone {
            self.remove(&id).await;
        }
        info!(devices = self.entries.len(), wires = self.lines.len(), "fleet");
        if fresh {
            self.lines.tell_all(|| Command::Refresh).await;
            for entry in self.entries.values().filter(|entry| entry.place.is_none()) {
                show_unhealthy(&self.reports, entry.seat, &entry.device, entry.problem.clone())
                    .await;
            }
        }
    }

    /// Takes a device of a registration.
    async fn take(&mut self, instance: &DeviceInstance) {
        let (namespace, name) = (&instance.metadata.namespace, &instance.metadata.name);
        if let Err(Refused::NoModel(model)) = self.put(instance, Origin::Registration).await {
            let problem = Problem::new(
                "spec.deviceModelRef.name",
                model,
                "the agent sent no such model, or none that can be read",
                "load the model at the agent",
            );
            let object = format!("Device {namespace}/{name}");
            let problems = Problems { object, problems: vec![problem] };
            self.show(instance, Some(problems.to_string().into())).await;
        }
    }

    /// Takes a description of a device. One that is refused is told to the agent as the device's problem; a device that
    /// never had a good one is shown as unhealthy.
    async fn put(&mut self, instance: &DeviceInstance, origin: Origin) -> Result<(), Refused> {
        let result = self.describe(instance, origin).await;
        match &result {
            Ok(()) => self.show(instance, None).await,
            Err(Refused::Invalid(problems)) => {
                self.show(instance, Some(problems.to_string().into())).await;
            }
            // Whoever brings the device brings the model, too.
            Err(Refused::NoModel(_)) => {}
        }
        result
    }

    /// Tells the agent what is wrong with the description of a device, or that nothing is any more.
    async fn show(&mut self, instance: &DeviceInstance, problem: Option<Arc<str>>) {
        let Ok(id) = instance.metadata.id() else { return };
        if problem.is_some() && !self.entries.contains_key(&id) {
            self.seat_unusable(&id, instance).await;
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.problem == problem {
            return;
        }
        entry.problem.clone_from(&problem);
        let (seat, device, usable) = (entry.seat, entry.device.clone(), entry.place.is_some());
        match &problem {
            Some(problem) => warn!(device = %id, usable, %problem, "description refused"),
            None => info!(device = %id, "description taken at last"),
        }
        self.send(Report::Problem(seat, problem.clone())).await;
        if !usable {
            show_unhealthy(&self.reports, seat, &device, problem).await;
        }
    }

    /// Puts a description of a device into force, if it is right.
    async fn describe(&mut self, instance: &DeviceInstance, origin: Origin) -> Result<(), Refused> {
        let device = self.catalogue.resolve(instance)?;
        let id = device.id.clone();
        let known = self.entries.get(&id);
        if let Some(entry) = known
            && entry.place.is_some()
            && same_but_desired(&entry.device, &device)
        {
            self.desire(&id, device).await;
            return Ok(());
        }
        let address = address(&*self.driver, &device);
        let known = self.entries.get(&id);
        let address = address
            .map_err(|problems| Problems { object: format!("Device {id}"), problems })
            .map_err(Refused::Invalid);
        let address = match (known, address) {
            (Some(Entry { place: Some(_), .. }), Err(refused)) => return Err(refused),
            (_, address) => address,
        };
        let before = self.entries.remove(&id);
        let mut stays = before.as_ref().map(|entry| entry.seat);
        let mut moved = false;
        if let (Some(Entry { seat, place: Some((from, _)), .. }), Ok((to, _))) = (&before, &address)
            && from != to
        {
            info!(device = %id, %from, %to, "device moves");
            self.lines.leave(from, *seat).await;
            self.left(&id, from);
            // Its old wire may be busy with it for a while. What that says then is of nobody.
            self.send(Report::Gone(*seat)).await;
            (stays, moved) = (None, true);
        }
        let seat = stays.unwrap_or_else(|| self.next_seat());
        self.send(Report::Device(seat, device.clone())).await;
        let (place, result) = match address {
            Ok(place) => (Some(place), Ok(())),
            Err(refused) => (None, Err(refused)),
        };
        let problem = before.as_ref().and_then(|entry| entry.problem.clone());
        if let Some((endpoint, unit)) = &place {
            let member = Member::new(&*self.driver, seat, device.clone(), unit.clone());
            let command = Command::Join { member: Box::new(member), origin, doubtful: moved };
            self.lines.join(endpoint, command, seat).await;
        }
        self.entries.insert(id, Entry { seat, device, place, problem });
        result
    }

    /// Takes a description that differs from the one before in what is desired, if in anything.
    async fn desire(&mut self, id: &DeviceId, device: Arc<Device>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if entry.device == device {
            return;
        }
        entry.device = device.clone();
        let (seat, place) = (entry.seat, entry.place.clone());
        self.send(Report::Device(seat, device.clone())).await;
        if let Some((endpoint, _)) = place {
            self.lines.tell(&endpoint, Command::Desire(seat, device)).await;
        }
    }

    async fn remove(&mut self, id: &DeviceId) -> bool {
        let Some(entry) = self.entries.remove(id) else { return false };
        if let Some((endpoint, _)) = &entry.place {
            self.lines.leave(endpoint, entry.seat).await;
            self.left(id, endpoint);
        }
        self.send(Report::Gone(entry.seat)).await;
        info!(device = %id, "device removed");
        true
    }

    /// Puts the devices of a wire whose task ended by itself on a new one.
    async fn raise(&mut self, endpoint: &D::Endpoint) {
        let mut fallen = Vec::new();
        for entry in self.entries.values() {
            if let Some((place, unit)) = &entry.place
                && place == endpoint
            {
                fallen.push((entry.seat, entry.device.clone(), unit.clone()));
            }
        }
        for (seat, device, unit) in fallen {
            let health = Health {
                state: DeviceState::Offline,
                reason: Some(
                    "a fault of the mapper ended the work on its wire; it starts again".into(),
                ),
            };
            show_bad(&self.reports, seat, &device, QualityCode::NoCommunication, health).await;
            let member = Box::new(Member::new(&*self.driver, seat, device, unit));
            let command = Command::Join { member, origin: Origin::Registration, doubtful: true };
            self.lines.join(endpoint, command, seat).await;
        }
    }

    const fn next_seat(&mut self) -> Seat {
        self.seats += 1;
        Seat(self.seats)
    }

    fn left(&self, device: &DeviceId, endpoint: &D::Endpoint) {
        if let Err(problem) = sheltered(device, || self.driver.left(device, endpoint)) {
            error!(%device, %problem, "device left");
        }
    }

    /// A device that cannot even be resolved, without properties.
    async fn seat_unusable(&mut self, id: &DeviceId, instance: &DeviceInstance) {
        let seat = self.next_seat();
        let device = Arc::new(catalogue::bare(id.clone(), &instance.spec.protocol.protocol_name));
        self.send(Report::Device(seat, device.clone())).await;
        self.entries.insert(id.clone(), Entry { seat, device, place: None, problem: None });
    }

    async fn send(&self, report: Report) {
        // The reporter outlives the fleet, unless the mapper is falling apart anyway.
        let _ = self.reports.send(report).await;
    }
}

async fn show_unhealthy(
    reports: &mpsc::Sender<Report>,
    seat: Seat,
    device: &Device,
    reason: Option<Arc<str>>,
) {
    let health = Health { state: DeviceState::Unhealthy, reason };
    show_bad(reports, seat, device, QualityCode::ConfigError, health).await;
}

async fn show_bad(
    reports: &mpsc::Sender<Report>,
    seat: Seat,
    device: &Device,
    code: QualityCode,
    health: Health,
) {
    let now = time();
    let reported = device.properties.iter().filter(|property| property.report);
    let readings =
        reported.map(|property| (property.name.clone(), Reading::bad(code, now))).collect();
    let batch = Batch { seat: Some(seat), readings, ..Batch::default() };
    for report in [Report::Batch(batch), Report::State(seat, health)] {
        // As above.
        let _ = reports.send(report).await;
    }
}

/// Whether the two differ at most in what is desired.
fn same_but_desired(a: &Device, b: &Device) -> bool {
    let mut b = b.clone();
    for (property, other) in b.properties.iter_mut().zip(&a.properties) {
        if property.desired != other.desired {
            Arc::make_mut(property).desired.clone_from(&other.desired);
        }
    }
    *a == b
}
