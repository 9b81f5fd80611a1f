//! What a report costs on its way through a socket, and what the authority shim adds to it.
//!
//! `cargo bench -p dmi`. Client and server share one thread, so calls/s is what one core does for both.

#![expect(clippy::unwrap_used, reason = "what cannot be measured ends the bench")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use device_model::{DeviceId, PropertyName, Reading, Timestamp, Value};
use dmi::authority::Rewriter;
use dmi::convert::{EncodedReport, Peer, TwinRef, TwinReport};
use dmi::proto::{
    DeviceManagerService, DeviceManagerServiceServer, MapperRegisterRequest,
    MapperRegisterResponse, ReportDeviceStatesRequest, ReportDeviceStatesResponse,
    ReportDeviceStatusRequest, ReportDeviceStatusResponse,
};
use dmi::serve::Listener;
use futures::stream::{self, StreamExt};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

const CALLS: u32 = 256;
const IN_FLIGHT: usize = 32;

struct Agent;

#[tonic::async_trait]
impl DeviceManagerService for Agent {
    async fn mapper_register(
        &self,
        _: Request<MapperRegisterRequest>,
    ) -> Result<Response<MapperRegisterResponse>, Status> {
        Ok(Response::new(MapperRegisterResponse::default()))
    }

    async fn report_device_status(
        &self,
        request: Request<ReportDeviceStatusRequest>,
    ) -> Result<Response<ReportDeviceStatusResponse>, Status> {
        black_box(request.into_inner());
        Ok(Response::new(ReportDeviceStatusResponse {}))
    }

    async fn report_device_states(
        &self,
        _: Request<ReportDeviceStatesRequest>,
    ) -> Result<Response<ReportDeviceStatesResponse>, Status> {
        Ok(Response::new(ReportDeviceStatesResponse {}))
    }
}

fn report(twins: u32) -> EncodedReport {
    let twin = |number: u32| TwinReport {
        property: PropertyName::new(&format!("property-{number}")).unwrap(),
        reading: Some(Reading::good(Value::Float(20.5), Timestamp::from_millis(1_700_000_000_000))),
        ack: None,
        observed: None,
    };
    let twins: Vec<_> = (0..twins).map(twin).collect();
    let mut report = EncodedReport::new(Peer::Edgetwin);
    report.push(&DeviceId::new("demo", "pump").unwrap(), twins.iter().map(TwinRef::from));
    report
}

/// Servers with and without the shim, both alive as long as the set.
fn servers(runtime: &Runtime, dir: &Path) -> (JoinSet<()>, [(&'static str, PathBuf); 2]) {
    let _context = runtime.enter();
    let mut servers = JoinSet::new();
    let (with, without) = (dir.join("with.sock"), dir.join("without.sock"));
    let listener = Listener::bind(&with).unwrap();
    servers.spawn(async {
        listener.serve_manager(Agent, CancellationToken::new()).await.unwrap();
    });
    let incoming = UnixListenerStream::new(UnixListener::bind(&without).unwrap());
    servers.spawn(async {
        let service = DeviceManagerServiceServer::new(Agent);
        let server = tonic::transport::Server::builder().add_service(service);
        server.serve_with_incoming(incoming).await.unwrap();
    });
    (servers, [("with shim", with), ("without shim", without)])
}

fn calls(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (_servers, sockets) = servers(&runtime, dir.path());
    for twins in [1, 20] {
        let mut group = c.benchmark_group(format!("ReportDeviceStatus, {twins} twins"));
        group.throughput(Throughput::Elements(CALLS.into()));
        let report = report(twins);
        for (name, socket) in &sockets {
            let channel =
                runtime.block_on(async { dmi::connect::channel(socket, Duration::from_secs(10)) });
            group.bench_function(*name, |bencher| {
                bencher.iter(|| {
                    let all = stream::iter(0..CALLS).map(|_| {
                        let (channel, report) = (channel.clone(), Request::new(report.clone()));
                        async move { dmi::connect::report(channel, report).await.unwrap() }
                    });
                    runtime.block_on(all.buffer_unordered(IN_FLIGHT).for_each(async |_| ()));
                });
            });
        }
        group.finish();
    }
}

/// A first request as grpc-go sent it, and a later one: all but its deadline comes from the table.
fn requests(authority: &str) -> [Vec<u8>; 2] {
    // The first octet of the file tells the fuzz target how to cut.
    let recorded = &include_bytes!("../fuzz/corpus/dmi_authority/grpc-go")[1..];
    let first = match authority {
        "localhost" => {
            let good = [0x41, 9].into_iter().chain(*b"localhost").collect::<Vec<u8>>();
            let block = [&[0x83, 0x86, 0x84], good.as_slice()].concat();
            [&recorded[..33], &frame(1, &block)].concat()
        }
        _ => recorded.to_vec(),
    };
    // The deadline is the newest entry of the table; its new value is Huffman-coded.
    let later = [0x83, 0x86, 0x7e, 0x86, 0x7d, 0xf7, 0xdf, 0x7d, 0xc6, 0x6d];
    [first, [frame(1, &later), frame(0, &[0; 120])].concat()]
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, 0x4, 0, 0, 0, 1], payload].concat()
}

fn rewriter(c: &mut Criterion) {
    let mut group = c.benchmark_group("rewriter, one request");
    for (name, authority) in [("passes", "localhost"), ("is rewritten", "a path")] {
        let [first, later] = requests(authority);
        group.bench_function(format!("first {name}"), |bencher| {
            bencher.iter(|| {
                let (mut rewriter, mut out) = (Rewriter::new(), Vec::new());
                rewriter.feed(&first, &mut out).unwrap();
                out
            });
        });
        group.bench_function(format!("later {name}"), |bencher| {
            let (mut rewriter, mut out) = (Rewriter::new(), Vec::new());
            rewriter.feed(&first, &mut out).unwrap();
            bencher.iter(|| {
                out.clear();
                let passed = rewriter.pass(&later);
                rewriter.feed(&later[passed..], &mut out).unwrap();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, rewriter, calls);
criterion_main!(benches);
