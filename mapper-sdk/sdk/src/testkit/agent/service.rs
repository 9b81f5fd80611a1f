//! What the agent of the tests answers to a mapper.

use std::sync::Arc;
use std::time::SystemTime;

use device_model::{DeviceState, Timestamp};
use dmi::convert::{Peer, report_device, report_from_proto};
use dmi::headers;
use dmi::proto::{
    DeviceManagerService, MapperRegisterRequest, MapperRegisterResponse, ReportDeviceStatesRequest,
    ReportDeviceStatesResponse, ReportDeviceStatusRequest, ReportDeviceStatusResponse,
};
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use super::{Heard, Shared};

pub(super) struct Service(pub(super) Arc<Shared>);

impl Service {
    /// Refuses as scripted, and calls with a lease that is not the present one.
    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let scripted = self.0.state().refusals.pop_front();
        match scripted {
            None => self.admit_lease(request),
            Some(status) => {
                self.note(Heard::Refused(status.code()));
                Err(status)
            }
        }
    }

    fn admit_lease<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let present = format!("lease-{}", self.0.state().lease);
        if lease(request).is_none_or(|given| given == present) {
            return Ok(());
        }
        let status = Status::failed_precondition("lease unknown");
        self.note(Heard::Refused(status.code()));
        Err(status)
    }

    /// One device's report.
    fn take(&self, report: ReportDeviceStatusRequest, lease: Option<&str>) -> Result<(), Status> {
        let id = report_device(&report).map_err(|p| Status::invalid_argument(p.to_string()))?;
        let device = self.0.state().devices.get(&id).cloned();
        let device = device.ok_or_else(|| Status::not_found(format!("no device {id}")))?;
        let now: Timestamp = SystemTime::now().into();
        let report = report_from_proto(report, &device, now);
        let lease = lease.map(str::to_owned);
        self.note(Heard::Report { device: id, twins: report.twins, lease });
        match report.refused.first() {
            None => Ok(()),
            Some(problem) => Err(Status::invalid_argument(problem.to_string())),
        }
    }

    fn note(&self, heard: Heard) {
        self.0.state().heard.push(heard);
        self.0.news.notify_waiters();
    }
}

fn lease<T>(request: &Request<T>) -> Option<String> {
    let token = request.metadata().get(headers::LEASE)?;
    token.to_str().ok().map(str::to_owned)
}

#[tonic::async_trait]
impl DeviceManagerService for Service {
    async fn mapper_register(
        &self,
        request: Request<MapperRegisterRequest>,
    ) -> Result<Response<MapperRegisterResponse>, Status> {
        let lease = lease(&request);
        let fresh = request.get_ref().with_data;
        if !fresh {
            self.admit_lease(&request)?;
        }
        let request = request.into_inner();
        let mut response = Response::new(MapperRegisterResponse::default());
        {
            let mut state = self.0.state();
            if fresh {
                state.lease += 1;
                let info = request.mapper.unwrap_or_default();
                state.mapper = Some(String::from_utf8_lossy(&info.address).into_owned().into());
                for device in state.devices.values() {
                    let (model, device) = state.described(device);
                    response.get_mut().model_list.push(model);
                    response.get_mut().device_list.push(device);
                }
                if state.peer == Peer::Edgetwin {
                    let token = format!("lease-{}", state.lease);
                    let ttl = state.ttl.as_millis().to_string();
                    let words = [
                        (headers::CAPABILITIES, headers::OUR_CAPABILITIES.to_owned()),
                        (headers::LEASE, token),
                        (headers::LEASE_TTL_MS, ttl),
                    ];
                    for (key, word) in words {
                        if let Ok(word) = MetadataValue::try_from(word) {
                            response.metadata_mut().insert(key, word);
                        }
                    }
                }
            }
        }
        self.note(Heard::Register { with_data: fresh, lease });
        Ok(response)
    }

    async fn report_device_status(
        &self,
        request: Request<ReportDeviceStatusRequest>,
    ) -> Result<Response<ReportDeviceStatusResponse>, Status> {
        self.admit(&request)?;
        let lease = lease(&request);
        let mut request = request.into_inner();
        let more = std::mem::take(&mut request.more);
        let peer = {
            let mut state = self.0.state();
            state.reports += 1;
            state.peer
        };
        if peer == Peer::KubeEdge && !more.is_empty() {
            return Err(Status::internal("EdgeCore does not know the member `more`"));
        }
        let mut result = self.take(request, lease.as_deref());
        for request in more {
            result = result.and(self.take(request, lease.as_deref()));
        }
        result.map(|()| Response::new(ReportDeviceStatusResponse {}))
    }

    async fn report_device_states(
        &self,
        request: Request<ReportDeviceStatesRequest>,
    ) -> Result<Response<ReportDeviceStatesResponse>, Status> {
        self.admit(&request)?;
        let request = request.into_inner();
        let device = dmi::convert::device_id(&request.device_namespace, &request.device_name)
            .map_err(|problem| Status::invalid_argument(problem.to_string()))?;
        let state = DeviceState::from_name(&request.state)
            .ok_or_else(|| Status::invalid_argument("state: unknown word"))?;
        let (reason, problem) = (request.reason, request.problem);
        if self.0.state().peer == Peer::KubeEdge && (!reason.is_empty() || problem.is_some()) {
            return Err(Status::internal("EdgeCore knows neither `reason` nor `problem`"));
        }
        self.note(Heard::State { device, state, reason, problem });
        Ok(Response::new(ReportDeviceStatesResponse {}))
    }
}
