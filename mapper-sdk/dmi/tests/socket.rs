//! Servers and clients on real sockets.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use dmi::proto::{
    DeviceManagerService, MapperInfo, MapperRegisterRequest, MapperRegisterResponse,
    ReportDeviceStatesRequest, ReportDeviceStatesResponse, ReportDeviceStatusRequest,
    ReportDeviceStatusResponse,
};
use dmi::serve::{BindError, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Code, Request, Response, Status};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Answers a registration with a model named after the user id of the caller.
struct Agent;

#[tonic::async_trait]
impl DeviceManagerService for Agent {
    async fn mapper_register(
        &self,
        request: Request<MapperRegisterRequest>,
    ) -> Result<Response<MapperRegisterResponse>, Status> {
        let peer = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
        let peer = peer.ok_or_else(|| Status::internal("nobody knows who called"))?;
        let model = dmi::proto::DeviceModel { name: peer.uid().to_string(), ..Default::default() };
        let answer = MapperRegisterResponse { model_list: vec![model], device_list: vec![] };
        Ok(Response::new(answer))
    }

    async fn report_device_status(
        &self,
        request: Request<ReportDeviceStatusRequest>,
    ) -> Result<Response<ReportDeviceStatusResponse>, Status> {
        match request.into_inner().device_name.as_str() {
            "mute" => std::future::pending().await,
            _ => Ok(Response::new(ReportDeviceStatusResponse {})),
        }
    }

    async fn report_device_states(
        &self,
        _: Request<ReportDeviceStatesRequest>,
    ) -> Result<Response<ReportDeviceStatesResponse>, Status> {
        Ok(Response::new(ReportDeviceStatesResponse {}))
    }
}

fn registration() -> MapperRegisterRequest {
    MapperRegisterRequest { with_data: true, mapper: Some(MapperInfo::default()) }
}

#[tokio::test]
async fn a_call_arrives_with_the_identity_of_its_caller() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/dmi.sock");
    let listener = Listener::bind(&path).unwrap();
    let file = std::fs::metadata(&path).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o660);
    let parent = std::fs::metadata(path.parent().unwrap()).unwrap();
    assert_eq!(parent.permissions().mode() & 0o007, 0, "strangers have no business there");
    let stop = CancellationToken::new();
    let call = async {
        let answer = dmi::connect::manager(&path, TIMEOUT).mapper_register(registration()).await;
        stop.cancel();
        answer.unwrap().into_inner().model_list[0].name.clone()
    };
    let (served, name) = tokio::join!(listener.serve_manager(Agent, stop.clone()), call);
    served.unwrap();
    assert_eq!(name, file.uid().to_string());
    assert!(!path.exists(), "the socket goes with its server");
}

#[tokio::test]
async fn a_client_finds_a_server_that_came_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dmi.sock");
    let mut client = dmi::connect::manager(&path, TIMEOUT);
    let absent = client.mapper_register(registration()).await.unwrap_err();
    assert_eq!(absent.code(), Code::Unavailable);
    for _ in 0..2 {
        let listener = Listener::bind(&path).unwrap();
        let stop = CancellationToken::new();
        let call = async {
            let answer = client.mapper_register(registration()).await;
            stop.cancel();
            answer
        };
        let (served, answer) = tokio::join!(listener.serve_manager(Agent, stop.clone()), call);
        served.unwrap();
        answer.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_is_never_answered_ends_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dmi.sock");
    let listener = Listener::bind(&path).unwrap();
    let stop = CancellationToken::new();
    let call = async {
        let mut client = dmi::connect::manager(&path, Duration::from_millis(50));
        let report = ReportDeviceStatusRequest { device_name: "mute".into(), ..Default::default() };
        let answer = client.report_device_status(report).await;
        stop.cancel();
        answer.unwrap_err().code()
    };
    let (served, code) = tokio::join!(listener.serve_manager(Agent, stop.clone()), call);
    served.unwrap();
    assert!(matches!(code, Code::Cancelled | Code::DeadlineExceeded), "{code:?}");
}

#[tokio::test]
async fn a_message_may_be_larger_than_grpc_allows_by_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dmi.sock");
    let listener = Listener::bind(&path).unwrap();
    let stop = CancellationToken::new();
    let call = async {
        let device_namespace = "n".repeat(10 << 20);
        let report = ReportDeviceStatusRequest { device_namespace, ..Default::default() };
        let answer = dmi::connect::manager(&path, TIMEOUT).report_device_status(report).await;
        stop.cancel();
        answer
    };
    let (served, answer) = tokio::join!(listener.serve_manager(Agent, stop.clone()), call);
    served.unwrap();
    answer.unwrap();
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dmi.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the file outlives its listener");
    let listener = Listener::bind(&path).unwrap();
    assert!(matches!(Listener::bind(&path), Err(BindError::InUse(_))));
    drop(listener);
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(Listener::bind(&path), Err(BindError::NotASocket(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left behind");
}

#[tokio::test]
async fn a_listener_leaves_the_socket_of_its_successor() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dmi.sock");
    let first = Listener::bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let second = Listener::bind(&path).unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_path_that_no_socket_can_have_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x".repeat(120));
    let error = Listener::bind(&path).unwrap_err().to_string();
    assert!(error.contains("xxx"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no draft is left behind");
}

#[tokio::test]
async fn a_peer_that_says_nothing_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dmi.sock");
    let listener = Listener::bind(&path).unwrap();
    let stop = CancellationToken::new();
    let silent = async {
        let stream = UnixStream::connect(&path).await.unwrap();
        stop.cancel();
        stream
    };
    let (served, _stream) = tokio::join!(listener.serve_manager(Agent, stop.clone()), silent);
    served.unwrap();
}

/// What old versions of grpc-go send, by hand: the path of the socket as authority.
#[tokio::test]
async fn a_request_with_a_path_as_authority_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dmi.sock");
    let listener = Listener::bind(&path).unwrap();
    let stop = CancellationToken::new();
    let frame = |kind, flags, stream, payload: &[u8]| {
        let mut frame =
            vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
        frame.extend_from_slice(payload);
        frame
    };
    let fields: [(&[u8], &[u8]); 6] = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/v1beta1.DeviceManagerService/MapperRegister"),
        (b":authority", b"%2Ftmp%2Fdmi.sock"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ];
    let call = async {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let mut encoder = loona_hpack::Encoder::new();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
        let mut answered = Vec::new();
        for id in [1, 3] {
            let block = encoder.encode(fields);
            stream.write_all(&frame(1, 0x4, id, &block)).await.unwrap();
            stream.write_all(&frame(0, 0x1, id, &[0; 5])).await.unwrap();
            loop {
                let mut head = [0; 9];
                stream.read_exact(&mut head).await.unwrap();
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; usize::try_from(length).unwrap()];
                stream.read_exact(&mut payload).await.unwrap();
                assert_ne!(head[3], 3, "RST_STREAM");
                if head[3] == 0 && head[8] == id {
                    answered.push(id);
                    break;
                }
            }
        }
        stop.cancel();
        answered
    };
    let (served, answered) = tokio::join!(listener.serve_manager(Agent, stop.clone()), call);
    served.unwrap();
    assert_eq!(answered, [1, 3]);
}
