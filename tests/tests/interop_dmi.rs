//! grpc-go and grpcio against our server and our client: the stacks of other people's mappers.
#![cfg(feature = "peers")]
#![expect(clippy::expect_used, reason = "what is arranged here and fails, fails the test")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use device_model::{
    Device, Generation, Manifest, Property, Reading, Timestamp, Value, parse_manifests,
};
use dmi::convert::{DesiredTwin, Peer, device_to_proto, model_to_proto, report_from_proto};
use dmi::proto::{self, DeviceManagerService, DeviceManagerServiceServer};
use dmi::serve::Listener;
use e2e::foreign_mapper::{ForeignMapper, Stack, report, twin};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

const PUMP: &str = r#"
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: pump, namespace: demo}
spec:
  properties:
  - {name: speed, type: INT, accessMode: ReadWrite}
  - {name: flow, type: FLOAT, accessMode: ReadOnly}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: pump, namespace: demo}
spec:
  deviceModelRef: {name: pump}
  protocol: {protocolName: modbus, configData: {host: 127.0.0.1, port: 502, factor: 0.1, keep: true}}
  properties:
  - {name: speed, visitors: {protocolName: modbus, configData: {offset: 7}}}
  - {name: flow, visitors: {protocolName: modbus, configData: {offset: 8}}}
"#;

struct Pump {
    model: proto::DeviceModel,
    device: Device,
}

impl Pump {
    fn new() -> Self {
        let manifests = parse_manifests(PUMP).expect("the manifests are valid");
        let [Manifest::Model(model), Manifest::Device(instance)] = manifests.as_slice() else {
            panic!("{manifests:?}")
        };
        let device = Device::resolve(model, instance).expect("the device is valid");
        Self { model: model_to_proto(model), device }
    }

    fn message(&self) -> proto::Device {
        let desired = |property: &Property| {
            (property.name.as_str() == "speed").then_some(DesiredTwin {
                value: Value::Int(1450),
                generation: Generation(7),
                set_at: NOW,
                ack: None,
                trace: None,
            })
        };
        device_to_proto(&self.device, desired, Peer::KubeEdge).expect("there is no push method")
    }
}

/// An agent with one pump. What it is asked goes to `asked`.
struct Agent {
    pump: Pump,
    asked: mpsc::Sender<proto::ReportDeviceStatusRequest>,
}

#[tonic::async_trait]
impl DeviceManagerService for Agent {
    async fn mapper_register(
        &self,
        request: Request<proto::MapperRegisterRequest>,
    ) -> Result<Response<proto::MapperRegisterResponse>, Status> {
        let request = request.into_inner();
        let mapper = request.mapper.ok_or_else(|| Status::invalid_argument("mapper: missing"))?;
        if !request.with_data || mapper.protocol != "modbus" {
            return Ok(Response::new(Default::default()));
        }
        let mut response = Response::new(proto::MapperRegisterResponse {
            model_list: vec![self.pump.model.clone()],
            device_list: vec![self.pump.message()],
        });
        let lease = "lease-1".parse().map_err(|_| Status::internal("lease"))?;
        response.metadata_mut().insert(dmi::headers::LEASE, lease);
        Ok(response)
    }

    async fn report_device_status(
        &self,
        request: Request<proto::ReportDeviceStatusRequest>,
    ) -> Result<Response<proto::ReportDeviceStatusResponse>, Status> {
        let request = request.into_inner();
        let report = report_from_proto(request.clone(), &self.pump.device, NOW);
        if let Some(problem) = report.refused.first() {
            return Err(Status::invalid_argument(problem.to_string()));
        }
        // Only the test that looks at reports reads them.
        let _ = self.asked.try_send(request);
        Ok(Response::new(Default::default()))
    }

    async fn report_device_states(
        &self,
        request: Request<proto::ReportDeviceStatesRequest>,
    ) -> Result<Response<proto::ReportDeviceStatesResponse>, Status> {
        match request.into_inner().state.as_str() {
            "online" => Ok(Response::new(Default::default())),
            other => Err(Status::invalid_argument(format!("state = \"{other}\""))),
        }
    }
}

struct World {
    mapper: ForeignMapper,
    own: PathBuf,
    asked: mpsc::Receiver<proto::ReportDeviceStatusRequest>,
}

/// Runs `test` beside an agent and a foreign mapper that has registered.
async fn with<T>(stack: Stack, test: impl AsyncFnOnce(World) -> anyhow::Result<T>) -> T {
    let dir = tempfile::tempdir().expect("a directory for sockets");
    let (agent, own) = (dir.path().join("dmi.sock"), dir.path().join("mapper.sock"));
    let listener = Listener::bind(&agent).expect("the socket is free");
    let (sender, asked) = mpsc::channel(16);
    let stop = CancellationToken::new();
    let service = Agent { pump: Pump::new(), asked: sender };
    let serving = listener.serve_manager(service, stop.clone());
    let testing = async {
        let mapper = ForeignMapper::start(stack, &agent, &own).await?;
        let end = test(World { mapper, own, asked }).await;
        stop.cancel();
        end
    };
    let (served, end) = tokio::join!(serving, testing);
    served.expect("the server stops when told to");
    end.expect("the foreign mapper does as it is told")
}

async fn registers_and_reports(stack: Stack) {
    with(stack, async |mut world: World| {
        let mapper = &mut world.mapper;
        let answer = mapper.event("answer").await?;
        assert_eq!(answer["code"], "OK", "{answer}");
        assert!(answer["headers"][dmi::headers::LEASE].to_string().contains("lease-1"), "{answer}");

        let device = mapper.event("device").await?["device"].clone();
        assert_eq!(device["namespace"], "demo");
        let config = &device["spec"]["protocol"]["configData"]["data"];
        let wrapper = |name| format!("type.googleapis.com/google.protobuf.{name}");
        assert_eq!(config["port"], json!({ "@type": wrapper("Int64Value"), "value": "502" }));
        assert_eq!(config["factor"]["@type"], wrapper("FloatValue"));
        assert_eq!(
            config["host"],
            json!({ "@type": wrapper("StringValue"), "value": "127.0.0.1" })
        );
        assert_eq!(config["keep"], json!({ "@type": wrapper("BoolValue"), "value": true }));
        let desired = &device["spec"]["properties"][0]["desired"];
        assert_eq!(desired["value"], "1450");
        assert_eq!(desired["metadata"]["version"], "7");
        let model = mapper.event("model").await?["model"].clone();
        assert_eq!(model["spec"]["properties"][1]["type"], "FLOAT");

        let sent = report("demo", "pump", &[twin("speed", "1450"), twin("flow", "1.5")]);
        let answer = mapper.call("ReportDeviceStatus", &sent, 1).await?;
        assert_eq!(answer["code"], "OK", "{answer}");
        let pump = Pump::new();
        let request = world.asked.recv().await.expect("the agent was asked");
        let taken = report_from_proto(request, &pump.device, NOW);
        assert_eq!(taken.twins[0].reading, Some(Reading::good(Value::Int(1450), NOW)));
        assert_eq!(taken.twins[1].reading, Some(Reading::good(Value::Float(1.5), NOW)));

        let sent = report("demo", "pump", &[twin("speed", "fast")]);
        let answer = mapper.call("ReportDeviceStatus", &sent, 1).await?;
        assert_eq!(answer["code"], "INVALIDARGUMENT", "{answer}");
        assert!(answer["message"].to_string().contains("twins[0].reported.value"), "{answer}");
        let nil = report("demo", "pump", &[json!({ "propertyName": "speed" })]);
        let answer = mapper.call("ReportDeviceStatus", &nil, 1).await?;
        assert_eq!(answer["code"], "INVALIDARGUMENT", "{answer}");

        let state = json!({ "deviceName": "pump", "deviceNamespace": "demo", "state": "online" });
        assert_eq!(mapper.call("ReportDeviceStates", &state, 1).await?["code"], "OK");

        // Many calls over one connection: header compression has to stay in step.
        let answer = mapper
            .call("ReportDeviceStatus", &report("demo", "pump", &[twin("speed", "0")]), 200)
            .await?;
        assert_eq!((&answer["ok"], &answer["failed"]), (&json!(200), &json!(0)), "{answer}");
        Ok(())
    })
    .await;
}

async fn is_called(stack: Stack) {
    with(stack, async |mut world: World| {
        world.mapper.event("listening").await?;
        let mut client = dmi::connect::mapper(&world.own, Duration::from_secs(10));
        let pump = Pump::new();
        let (device, model) = (Some(pump.message()), Some(pump.model.clone()));

        let answer = client.register_device(proto::RegisterDeviceRequest { device }).await?;
        assert_eq!(answer.into_inner().device_name, "pump");
        let device = Some(pump.message());
        client.update_device(proto::UpdateDeviceRequest { device }).await?;
        client
            .create_device_model(proto::CreateDeviceModelRequest { model: model.clone() })
            .await?;
        client.update_device_model(proto::UpdateDeviceModelRequest { model }).await?;
        let gone = proto::RemoveDeviceRequest {
            device_name: "pump".into(),
            device_namespace: "demo".into(),
        };
        client.remove_device(gone).await?;

        let mut calls = Vec::new();
        for _ in 0..5 {
            calls.push(world.mapper.event("called").await?);
        }
        let names: Vec<_> = calls.iter().filter_map(|call| call["call"].as_str()).collect();
        assert_eq!(
            names,
            [
                "RegisterDevice",
                "UpdateDevice",
                "CreateDeviceModel",
                "UpdateDeviceModel",
                "RemoveDevice"
            ]
        );
        let desired = &calls[1]["request"]["device"]["spec"]["properties"][0]["desired"];
        assert_eq!(desired["value"], "1450");
        assert_eq!(calls[4]["request"], json!({ "deviceName": "pump", "deviceNamespace": "demo" }));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_go_mapper_that_dials_a_path_registers_and_reports() {
    registers_and_reports(Stack::GoPath).await;
}

#[tokio::test]
async fn a_go_mapper_that_dials_anew_for_each_call_registers_and_reports() {
    registers_and_reports(Stack::GoFresh).await;
}

#[tokio::test]
async fn a_go_mapper_that_dials_a_url_registers_and_reports() {
    registers_and_reports(Stack::GoUrl).await;
}

#[tokio::test]
async fn a_python_mapper_registers_and_reports() {
    registers_and_reports(Stack::Python).await;
}

#[tokio::test]
async fn a_go_mapper_is_called() {
    is_called(Stack::GoPath).await;
}

#[tokio::test]
async fn a_python_mapper_is_called() {
    is_called(Stack::Python).await;
}

/// When this fails, h2 takes such authorities and the shim can go.
#[tokio::test]
async fn without_the_shim_mappers_that_make_an_authority_of_the_path_get_no_answer() {
    let dir = tempfile::tempdir().expect("a directory for sockets");
    let (agent, own) = (dir.path().join("dmi.sock"), dir.path().join("mapper.sock"));
    let code = |stack, agent: &Path, own: &Path| {
        let (agent, own) = (agent.to_owned(), own.to_owned());
        async move {
            let mut mapper = ForeignMapper::start(stack, &agent, &own).await?;
            anyhow::Ok(mapper.event("answer").await?["code"].clone())
        }
    };
    let listener = tokio::net::UnixListener::bind(&agent).expect("the socket is free");
    let (asked, _keep) = mpsc::channel(1);
    let service = DeviceManagerServiceServer::new(Agent { pump: Pump::new(), asked });
    let stop = CancellationToken::new();
    let serving =
        tonic::transport::Server::builder().add_service(service).serve_with_incoming_shutdown(
            tokio_stream::wrappers::UnixListenerStream::new(listener),
            stop.clone().cancelled_owned(),
        );
    let testing = async {
        let codes = (
            code(Stack::GoPath, &agent, &own).await.expect("it answers"),
            code(Stack::Python, &agent, &own).await.expect("it answers"),
            code(Stack::GoUrl, &agent, &own).await.expect("it answers"),
        );
        stop.cancel();
        codes
    };
    let (served, (path, python, url)) = tokio::join!(serving, testing);
    served.expect("the server stops when told to");
    assert_ne!(path, "OK");
    assert_ne!(python, "OK");
    assert_eq!(url, "OK");
}
