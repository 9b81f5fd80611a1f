//! Clients of DMI services on Unix sockets.
//!
//! A channel connects at its first call, keeps the connection, and connects anew at the next call after it was
//! lost; calls share it. A socket that is not there fails a call at once with `UNAVAILABLE`: back-off is the
//! caller's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BufMut;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::{ProstCodec, ProstDecoder};

use crate::MESSAGE_LIMIT;
use crate::convert::{EncodedReport, Registered};
use crate::proto::{
    DeviceManagerServiceClient, DeviceMapperServiceClient, MapperRegisterRequest,
    ReportDeviceStatusResponse,
};

/// A channel to the server on the socket `path`. A call that takes longer than `timeout` ends with `CANCELLED`
/// or `DEADLINE_EXCEEDED`.
///
/// Nothing is connected yet; call it within a Tokio runtime.
pub fn channel(path: impl Into<PathBuf>, timeout: Duration) -> Channel {
    let path = path.into();
    // Go and Rust servers both take this authority; the socket's path they refuse (see `authority`).
    Endpoint::from_static("http://localhost")
        .timeout(timeout)
        .connect_timeout(timeout)
        .connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        }))
}

/// A mapper's client of the agent on the socket `path`; each call may take `timeout`.
pub fn manager(path: impl AsRef<Path>, timeout: Duration) -> DeviceManagerServiceClient<Channel> {
    DeviceManagerServiceClient::new(channel(path.as_ref(), timeout))
        .max_decoding_message_size(MESSAGE_LIMIT)
}

/// The agent's client of a mapper on the socket `path`; each call may take `timeout`.
pub fn mapper(path: impl AsRef<Path>, timeout: Duration) -> DeviceMapperServiceClient<Channel> {
    DeviceMapperServiceClient::new(channel(path.as_ref(), timeout))
        .max_decoding_message_size(MESSAGE_LIMIT)
}

/// Calls `MapperRegister` of the agent behind `channel`.
///
/// # Errors
/// The agent's refusal, or what befell the call.
pub async fn register(
    channel: Channel,
    request: Request<MapperRegisterRequest>,
) -> Result<Response<Registered>, Status> {
    const PATH: &str = "/v1beta1.DeviceManagerService/MapperRegister";
    let mut client = Grpc::new(channel).max_decoding_message_size(MESSAGE_LIMIT);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    client.unary(request, PathAndQuery::from_static(PATH), ProstCodec::default()).await
}

/// Calls `ReportDeviceStatus` of the agent behind `channel`.
///
/// # Errors
/// The agent's refusal, or what befell the call.
pub async fn report(
    channel: Channel,
    request: Request<EncodedReport>,
) -> Result<Response<ReportDeviceStatusResponse>, Status> {
    const PATH: &str = "/v1beta1.DeviceManagerService/ReportDeviceStatus";
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    client.unary(request, PathAndQuery::from_static(PATH), Encoded).await
}

/// Sends what is encoded already.
#[derive(Clone, Copy, Debug)]
struct Encoded;

impl Codec for Encoded {
    type Encode = EncodedReport;
    type Decode = ReportDeviceStatusResponse;
    type Encoder = Self;
    type Decoder = ProstDecoder<ReportDeviceStatusResponse>;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<(), _>::raw_decoder(BufferSettings::default())
    }
}

impl Encoder for Encoded {
    type Item = EncodedReport;
    type Error = Status;

    fn encode(&mut self, report: EncodedReport, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(report.as_bytes());
        Ok(())
    }
}
