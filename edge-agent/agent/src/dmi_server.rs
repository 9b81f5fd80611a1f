//! DMI for mappers: registration and reports.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use device_model::{Device, DeviceId, DeviceState, Problem};
use device_twin::{AckSource, Command, PropertyReport, Report};
use dmi::convert::{self, Peer, TwinReport, model_to_proto};
use dmi::proto::{
    DeviceManagerService, MapperRegisterRequest, MapperRegisterResponse, ReportDeviceStatesRequest,
    ReportDeviceStatesResponse, ReportDeviceStatusRequest, ReportDeviceStatusResponse,
};
use dmi::trace::TraceId;
use dmi::{headers, refusal};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status};
use tracing::{Instrument, Span, debug, debug_span, warn};

use crate::catalogue::Catalogue;
use crate::clock::now;
use crate::feed::{Origin, Touched};
use crate::leases::Denied;
use crate::mappers::{MapperInfo, Mappers, NotRegistered, Told, ToldDevice, message};
use crate::metrics::Metrics;
use crate::refuse;
use crate::twins::{Twins, Unavailable};

/// The service that mappers call.
#[derive(Debug)]
pub(crate) struct DmiServer {
    pub(crate) twins: Twins,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) mappers: Arc<Mappers>,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether there is an event bus that wants to know what was said.
    pub(crate) bus: bool,
}

/// One report that may be applied, as far as it is good.
struct Judged {
    command: Command,
    origin: Origin,
    parts: Parts,
}

/// The twins of a report.
struct Parts {
    /// Where in the report those stand that may be applied.
    places: Vec<usize>,
    /// Why the others may not.
    unread: Vec<Problem>,
}

#[tonic::async_trait]
impl DeviceManagerService for DmiServer {
    async fn mapper_register(
        &self,
        request: Request<MapperRegisterRequest>,
    ) -> Result<Response<MapperRegisterResponse>, Status> {
        self.count(self.register(request).await)
    }

    async fn report_device_status(
        &self,
        request: Request<ReportDeviceStatusRequest>,
    ) -> Result<Response<ReportDeviceStatusResponse>, Status> {
        let trace = trace(request.metadata());
        let span = trace.map_or_else(Span::none, |trace| debug_span!("report", %trace));
        let reported = async {
            let result = self.report(request, trace).await;
            match &result {
                Ok(_) if trace.is_some() => debug!("taken"),
                Err(status) if trace.is_some() => {
                    debug!(code = ?status.code(), reason = status.message(), "refused");
                }
                _ => {}
            }
            result
        };
        self.count(reported.instrument(span).await)
    }

    async fn report_device_states(
        &self,
        request: Request<ReportDeviceStatesRequest>,
    ) -> Result<Response<ReportDeviceStatesResponse>, Status> {
        self.count(self.states(request).await)
    }
}

impl DmiServer {
    async fn register(
        &self,
        request: Request<MapperRegisterRequest>,
    ) -> Result<Response<MapperRegisterResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        if let (Some(token), false) = (word(&metadata, headers::LEASE), request.with_data) {
            self.mappers.renew(token).map_err(denied)?;
            return Ok(Response::new(MapperRegisterResponse::default()));
        }
        let capabilities = word(&metadata, headers::CAPABILITIES);
        let info = mapper_info(request.mapper, capabilities)?;
        let (peer, leased) = (info.peer, info.leased);
        let pending = self.mappers.register(info).await.map_err(|error| not_registered(&error))?;
        let mut told = Told::default();
        let mut answer = MapperRegisterResponse::default();
        if request.with_data {
            let twins = self.twins.twins().await.map_err(|error| unavailable(&error))?;
            let mine = twins
                .iter()
                .filter(|twin| pending.devices.binary_search(&twin.device().id).is_ok());
            for twin in mine {
                let device = twin.device();
                match message(twin, peer, &self.mappers.traces) {
                    Ok(message) => answer.device_list.push(message),
                    Err(problem) => {
                        warn!(device = %device.id, %problem, "device cannot be given to its mapper");
                        continue;
                    }
                }
                // Of one that was refused the answer to a call of its own says what has become of it.
                if twin.condition().problem.is_none() {
                    told.devices.insert(device.id.clone(), ToldDevice::of(twin));
                } else {
                    told.doubtful.push(device.id.clone());
                }
                let model_id = (device.id.namespace().to_owned(), device.model.clone());
                if let Some(model) = self.catalogue.model_of(device)
                    && told.models.insert(model_id, model.clone()).is_none()
                {
                    answer.model_list.push(model_to_proto(&model));
                }
            }
        }
        let token = pending.token.clone();
        self.mappers.begin(pending, told).await.map_err(|error| unavailable(&error))?;
        let mut response = Response::new(answer);
        let words = response.metadata_mut();
        words.insert(headers::CAPABILITIES, MetadataValue::from_static(headers::OUR_CAPABILITIES));
        if leased && let Ok(token) = MetadataValue::try_from(token.as_ref()) {
            words.insert(headers::LEASE, token);
            let ttl = u64::try_from(self.mappers.ttl().as_millis()).unwrap_or(u64::MAX);
            words.insert(headers::LEASE_TTL_MS, MetadataValue::from(ttl));
        }
        Ok(response)
    }

    async fn report(
        &self,
        request: Request<ReportDeviceStatusRequest>,
        trace: Option<TraceId>,
    ) -> Result<Response<ReportDeviceStatusResponse>, Status> {
        let (metadata, _, mut request) = request.into_parts();
        let more = std::mem::take(&mut request.more);
        if more.is_empty() {
            let Judged { command, origin, parts } = self.judge(&metadata, trace, request)?;
            let answer = self.apply(command, origin).await?;
            self.settle(&parts, &answer)?;
        } else {
            self.report_several(&metadata, trace, std::iter::once(request).chain(more)).await?;
        }
        Ok(Response::new(ReportDeviceStatusResponse {}))
    }

    /// Applies each report, in order, as if it had come alone. What is refused is told in one status, a line for
    /// each device.
    async fn report_several(
        &self,
        metadata: &MetadataMap,
        trace: Option<TraceId>,
        requests: impl Iterator<Item = ReportDeviceStatusRequest>,
    ) -> Result<(), Status> {
        let (mut commands, mut ends, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
        for request in requests {
            let device = format!("{}/{}", request.device_namespace, request.device_name);
            match self.judge(metadata, trace, request) {
                Ok(Judged { command, origin, parts }) => {
                    commands.push((command, origin));
                    ends.push((device, parts));
                }
                // The lease is that of all.
                Err(status) if status.code() == Code::FailedPrecondition => return Err(status),
                Err(status) => refusals.push((device, status)),
            }
        }
        let answers =
            self.twins.try_apply_each(commands).await.map_err(|e| self.unavailable(&e))?;
        for ((device, parts), answer) in ends.into_iter().zip(answers) {
            let end = match answer {
                Ok(answer) => self.settle(&parts, &answer),
                Err(rejected) => Err(refuse::status(&rejected)),
            };
            refusals.extend(end.err().map(|status| (device, status)));
        }
        if refusals.is_empty() { Ok(()) } else { Err(refuse::several(&refusals)) }
    }

    /// Reads one report, and says whether its sender may make it.
    fn judge(
        &self,
        metadata: &MetadataMap,
        trace: Option<TraceId>,
        request: ReportDeviceStatusRequest,
    ) -> Result<Judged, Status> {
        if !request.more.is_empty() {
            return Err(Status::invalid_argument(
                "more: a report within a report holds further ones; put them all into the outer one",
            ));
        }
        let id = convert::report_device(&request).map_err(|problem| invalid(&problem))?;
        self.admit(metadata, &id)?;
        let device = self.device(&id)?;
        let report = convert::report_from_proto(request, &device, now());
        if report.twins.is_empty() {
            let nothing = || Status::invalid_argument("nothing is reported");
            return Err(report.refusal().unwrap_or_else(nothing));
        }
        let convert::Report { twins, places, refused: unread } = report;
        let acknowledges = word(metadata, headers::CAPABILITIES)
            .is_some_and(|words| headers::lists(words, headers::ACK));
        let acks = if acknowledges { AckSource::Mapper } else { AckSource::Derived };
        let origin = self.origin(&device, &twins, trace);
        let properties = twins.into_iter().map(property_report).collect();
        let command = Command::Report(Report { acks, properties, ..Report::of(id) });
        Ok(Judged { command, origin, parts: Parts { places, unread } })
    }

    /// Counts what was taken of a report, and tells what was refused.
    fn settle(&self, parts: &Parts, answer: &device_twin::Answer) -> Result<(), Status> {
        let Parts { places, unread } = parts;
        let taken = places.len().saturating_sub(answer.refused.len());
        let taken = u64::try_from(taken).unwrap_or(u64::MAX);
        self.metrics.dmi_values.fetch_add(taken, Ordering::Relaxed);
        if unread.is_empty() && answer.refused.is_empty() {
            return Ok(());
        }
        Err(refuse::parts(unread, &answer.refused, places))
    }

    async fn states(
        &self,
        request: Request<ReportDeviceStatesRequest>,
    ) -> Result<Response<ReportDeviceStatesResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let ReportDeviceStatesRequest {
            device_name,
            device_namespace,
            state: word,
            reason,
            problem,
        } = request;
        let id = convert::device_id(&device_namespace, &device_name)
            .map_err(|problem| invalid(&problem))?;
        self.admit(&metadata, &id)?;
        self.device(&id)?;
        let state = DeviceState::from_name(&word).ok_or_else(|| {
            Status::invalid_argument(format!(
                "state = \"{word}\": unknown; send online, offline, unhealthy or unknown"
            ))
        })?;
        let origin = if self.bus { Origin::State { word } } else { Origin::Unasked };
        let mut report = Report::of(id.clone()).with_state(state);
        report.reason = refuse::in_short(&reason);
        let mut commands = vec![(Command::Report(report), origin)];
        if let Some(problem) = problem {
            let problem = refuse::in_short(&problem);
            commands.push((Command::Judge { device: id, problem }, Origin::Unasked));
        }
        let answers =
            self.twins.try_apply_each(commands).await.map_err(|e| self.unavailable(&e))?;
        for answer in answers {
            answer.map_err(|rejected| refuse::status(&rejected))?;
        }
        Ok(Response::new(ReportDeviceStatesResponse {}))
    }

    async fn apply(&self, command: Command, origin: Origin) -> Result<device_twin::Answer, Status> {
        let result = self.twins.try_apply(command, origin).await;
        result.map_err(|e| self.unavailable(&e))?.map_err(|rejected| refuse::status(&rejected))
    }

    fn unavailable(&self, error: &Unavailable) -> Status {
        if *error == Unavailable::Full {
            self.metrics.dmi_exhausted.fetch_add(1, Ordering::Relaxed);
        }
        unavailable(error)
    }

    fn device(&self, id: &DeviceId) -> Result<Arc<Device>, Status> {
        self.catalogue.device(id).ok_or_else(|| {
            Status::not_found(format!(
                "deviceName: device {id} is not known here; add its manifest, or report another"
            ))
        })
    }

    /// Peers without a token are served.
    fn admit(&self, metadata: &MetadataMap, device: &DeviceId) -> Result<(), Status> {
        match word(metadata, headers::LEASE) {
            Some(token) => self.mappers.admit(token, device).map_err(denied),
            None => Ok(()),
        }
    }

    /// What the event bus wants to know of a report.
    fn origin(&self, device: &Device, twins: &[TwinReport], trace: Option<TraceId>) -> Origin {
        if !self.bus {
            return trace.map_or(Origin::Unasked, |trace| Origin::Report { trace });
        }
        let touched = |twin: &TwinReport| {
            let reading = twin.reading.as_ref()?;
            Some(Touched {
                name: twin.property.to_string(),
                data_type: device.property(twin.property.as_str())?.data_type,
                reported: true,
                actual: reading.value.as_ref().map(ToString::to_string),
                expected: None,
                removed: false,
            })
        };
        let touched = twins.iter().filter_map(touched).collect();
        Origin::Update { event_id: String::new(), touched, trace }
    }

    fn count<T>(&self, result: Result<T, Status>) -> Result<T, Status> {
        self.metrics.dmi_calls.fetch_add(1, Ordering::Relaxed);
        result.map_err(|status| {
            if status.code() != tonic::Code::ResourceExhausted {
                self.metrics.dmi_refused.fetch_add(1, Ordering::Relaxed);
            }
            refusal::fitting(status)
        })
    }
}

fn mapper_info(
    mapper: Option<dmi::proto::MapperInfo>,
    capabilities: Option<&str>,
) -> Result<MapperInfo, Status> {
    let missing = |field: &str, what: &str| {
        Status::invalid_argument(format!("{field}: missing; send {what}"))
    };
    let mapper =
        mapper.ok_or_else(|| missing("mapper", "name, protocol and address of the mapper"))?;
    if mapper.name.is_empty() {
        return Err(missing("mapper.name", "a name that no other mapper of this node has"));
    }
    if mapper.protocol.is_empty() {
        return Err(missing("mapper.protocol", "the protocolName of the devices that it serves"));
    }
    let address = String::from_utf8(mapper.address).map_err(|_| {
        Status::invalid_argument("mapper.address: not UTF-8; send the path of the mapper's socket")
    })?;
    // Some peers send a URL where the contract has a path.
    let path = address.strip_prefix("unix://").or_else(|| address.strip_prefix("unix:"));
    let address = path.unwrap_or(&address);
    if address.is_empty() {
        return Err(missing("mapper.address", "the path of the mapper's socket"));
    }
    Ok(MapperInfo {
        name: mapper.name.into(),
        protocol: mapper.protocol,
        address: address.into(),
        peer: Peer::from_capabilities(capabilities),
        leased: capabilities.is_some_and(|words| headers::lists(words, headers::CAPABILITY_LEASE)),
    })
}

fn property_report(twin: TwinReport) -> PropertyReport {
    PropertyReport {
        property: twin.property.to_string(),
        reading: twin.reading.map(Into::into),
        ack: twin.ack,
        echo: twin.observed,
    }
}

fn word<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
    metadata.get(key).and_then(|value| value.to_str().ok())
}

/// The trace that a report belongs to.
fn trace(metadata: &MetadataMap) -> Option<TraceId> {
    word(metadata, headers::TRACEPARENT).and_then(TraceId::from_traceparent)
}

fn invalid(problem: &Problem) -> Status {
    Status::invalid_argument(problem.to_string())
}

fn denied(denied: Denied) -> Status {
    match denied {
        Denied::Token => Status::failed_precondition(
            "the lease ended or is unknown; register again, with withData",
        ),
        Denied::Owner(owner) => Status::permission_denied(format!(
            "the device belongs to mapper {owner}; report only devices that you were given"
        )),
    }
}

fn not_registered(error: &NotRegistered) -> Status {
    match error {
        NotRegistered::NameTaken { .. } => Status::already_exists(error.to_string()),
        NotRegistered::Unavailable(error) => unavailable(error),
    }
}

fn unavailable(error: &Unavailable) -> Status {
    match error {
        Unavailable::Full => Status::resource_exhausted(error.to_string()),
        // It stays registered, and tries again.
        Unavailable::Stopped | Unavailable::Store(_) => Status::unavailable(error.to_string()),
    }
}
