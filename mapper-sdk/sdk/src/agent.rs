//! The agent, as a mapper calls it: headers, and what its answers mean.

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dmi::convert::{EncodedReport, Peer, Registered};
use dmi::headers;
use dmi::proto::{
    DeviceManagerServiceClient, MapperInfo, MapperRegisterRequest, ReportDeviceStatesRequest,
};
use dmi::trace::TraceId;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// A call that takes longer has failed. Long enough for an agent that commits to a slow card.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Whether the agent knows this mapper.
#[derive(Clone, Debug)]
pub(crate) enum Link {
    Away,
    Up(Registration),
}

/// What the agent answered to a registration.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    /// Counts registrations; an answer to a call of an older one says nothing about this one.
    pub(crate) number: u64,
    pub(crate) peer: Peer,
    pub(crate) lease: Option<MetadataValue<Ascii>>,
    pub(crate) ttl: Option<Duration>,
    /// The agent is another process than before, or may have forgotten what it was told.
    pub(crate) fresh: bool,
}

/// What to do about a call that the agent did not take.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It is busy, or cannot keep anything at present: tell it again later.
    Busy,
    /// It is away, or forgot this mapper: register again.
    Away(Status),
    /// It will never take this: drop it.
    Refused(Status),
}

impl Trouble {
    fn of(status: Status) -> Self {
        match status.code() {
            Code::ResourceExhausted => Self::Busy,
            // The agent's own word, not the connection's: it is there, and cannot take it now.
            Code::Unavailable if status.source().is_none() => Self::Busy,
            // EdgeCore's limiter has no code of its own.
            Code::Unknown if status.message().contains("too many request") => Self::Busy,
            Code::Unavailable
            | Code::FailedPrecondition
            | Code::Unauthenticated
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Aborted => Self::Away(status),
            // A broken connection comes as any code, with the transport's error behind it.
            _ if status.source().is_some() => Self::Away(status),
            _ => Self::Refused(status),
        }
    }
}

/// A client of the agent. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    channel: Channel,
    /// When the last call ended well: each one renews the lease.
    heard: Arc<std::sync::Mutex<Instant>>,
}

impl Agent {
    pub(crate) fn new(socket: &Path) -> Self {
        let heard = Arc::new(std::sync::Mutex::new(Instant::now()));
        Self { channel: dmi::connect::channel(socket, TIMEOUT), heard }
    }

    fn client(&self) -> DeviceManagerServiceClient<Channel> {
        DeviceManagerServiceClient::new(self.channel.clone())
    }

    /// Registers, and asks for all models and devices.
    pub(crate) async fn register(
        &self,
        info: MapperInfo,
    ) -> Result<(Registered, MetadataMap), Status> {
        let mut request =
            Request::new(MapperRegisterRequest { with_data: true, mapper: Some(info) });
        dress(request.metadata_mut(), None);
        let answer = dmi::connect::register(self.channel.clone(), request).await?;
        let (metadata, message, _) = answer.into_parts();
        self.renewed();
        Ok((message, metadata))
    }

    /// Renews the lease and does nothing else.
    pub(crate) async fn renew(
        &self,
        info: MapperInfo,
        registration: &Registration,
    ) -> Result<(), Trouble> {
        let mut request =
            Request::new(MapperRegisterRequest { with_data: false, mapper: Some(info) });
        dress(request.metadata_mut(), Some(registration));
        self.client().mapper_register(request).await.map_err(Trouble::of)?;
        self.renewed();
        Ok(())
    }

    /// Reports; the agent's log lines about it carry `trace`.
    pub(crate) async fn report(
        &self,
        report: EncodedReport,
        trace: Option<TraceId>,
        registration: &Registration,
    ) -> Result<(), Trouble> {
        let mut request = Request::new(report);
        dress(request.metadata_mut(), Some(registration));
        if let Some(Ok(word)) = trace.map(|trace| trace.traceparent().try_into()) {
            request.metadata_mut().insert(headers::TRACEPARENT, word);
        }
        dmi::connect::report(self.channel.clone(), request).await.map_err(Trouble::of)?;
        self.renewed();
        Ok(())
    }

    pub(crate) async fn state(
        &self,
        state: ReportDeviceStatesRequest,
        registration: &Registration,
    ) -> Result<(), Trouble> {
        let mut request = Request::new(state);
        dress(request.metadata_mut(), Some(registration));
        self.client().report_device_states(request).await.map_err(Trouble::of)?;
        self.renewed();
        Ok(())
    }

    /// When the agent last took a call.
    pub(crate) fn heard(&self) -> Instant {
        *self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn renewed(&self) {
        *self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
    }
}

fn dress(metadata: &mut MetadataMap, registration: Option<&Registration>) {
    let ours = MetadataValue::from_static(headers::OUR_CAPABILITIES);
    metadata.insert(headers::CAPABILITIES, ours);
    if let Some(lease) = registration.and_then(|registration| registration.lease.clone()) {
        metadata.insert(headers::LEASE, lease);
    }
}

impl Registration {
    pub(crate) fn read(number: u64, metadata: &MetadataMap, new_process: bool) -> Self {
        let word = |key| metadata.get(key).and_then(|value| value.to_str().ok());
        let peer = Peer::from_capabilities(word(headers::CAPABILITIES));
        Self {
            number,
            peer,
            // Our agent is registered with anew when it forgot the lease, or when a model changed. The first it does not
            // say, so it is told everything in either case.
            fresh: new_process || peer == Peer::Edgetwin,
            lease: metadata.get(headers::LEASE).cloned(),
            ttl: word(headers::LEASE_TTL_MS)
                .and_then(|text| text.parse().ok())
                .map(Duration::from_millis),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let trouble = |code, text: &str| Trouble::of(Status::new(code, text));
        assert!(matches!(trouble(Code::ResourceExhausted, ""), Trouble::Busy));
        let edgecore = "fail to report device status because of too many request: mapper";
        assert!(matches!(trouble(Code::Unknown, edgecore), Trouble::Busy));
        assert!(matches!(trouble(Code::Unknown, "no such device"), Trouble::Refused(_)));
        assert!(matches!(trouble(Code::Unavailable, "the disk is full"), Trouble::Busy));
        assert!(matches!(trouble(Code::FailedPrecondition, "lease"), Trouble::Away(_)));
        assert!(matches!(trouble(Code::InvalidArgument, "twins[2]"), Trouble::Refused(_)));
    }
}
