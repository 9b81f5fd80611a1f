//! What a client of Kubernetes reads here.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use hyper::Method;
use serde_json::{Value as Json, json};
use world::World;
use world::mapper::FakeMapper;

const API: &str = "/apis/devices.kubeedge.io/v1beta1";

async fn read(world: &World, path: &str) -> (u16, Json) {
    let (status, body) = world.request(Method::GET, path, "").await;
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_client_of_kubernetes_finds_and_reads_models_devices_and_statuses() {
    let world = World::with(&[("pump", "5"), ("motor", "")]).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    mapper.report("pump", &[("speed", "4", &[("timestamp", "1000")])]).await.unwrap();

    // The way that a client takes before it asks for anything.
    assert_eq!(read(&world, "/version").await.0, 200);
    assert_eq!(read(&world, "/api").await.1["kind"], "APIVersions");
    let (_, groups) = read(&world, "/apis").await;
    let group = &groups["groups"][0]["preferredVersion"]["groupVersion"];
    assert_eq!(group, "devices.kubeedge.io/v1beta1");
    let (_, resources) = read(&world, API).await;
    let names: Vec<_> =
        resources["resources"].as_array().unwrap().iter().map(|r| &r["name"]).collect();
    assert_eq!(names, ["devices", "devicemodels", "devicestatuses"]);

    let (status, list) = read(&world, &format!("{API}/devices?limit=500")).await;
    assert_eq!((status, &list["kind"]), (200, &json!("DeviceList")), "{list}");
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let (_, other) = read(&world, &format!("{API}/namespaces/other/devices")).await;
    assert_eq!(other["items"], json!([]), "an empty list, and not null");

    let (status, pump) = read(&world, &format!("{API}/namespaces/demo/devices/pump")).await;
    assert_eq!((status, &pump["kind"]), (200, &json!("Device")), "{pump}");
    assert_eq!(pump["spec"]["deviceModelRef"]["name"], "pump");
    assert_eq!(
        pump["spec"]["protocol"],
        json!({"protocolName": "test", "configData": {"port": 1}})
    );
    assert_eq!(pump["spec"]["properties"][0]["desired"]["value"], "5");
    // What is read is a manifest.
    let manifests = device_model::parse_manifests(&pump.to_string()).unwrap();
    assert_eq!(manifests.len(), 1, "{pump}");
    let (_, model) = read(&world, &format!("{API}/namespaces/demo/devicemodels/pump")).await;
    assert_eq!(model["spec"]["properties"][0]["maximum"], "3000", "{model}");

    let (_, status) = read(&world, &format!("{API}/namespaces/demo/devicestatuses/pump")).await;
    let speed = &status["status"]["twins"][0];
    assert_eq!(
        (&speed["observedDesired"]["value"], &speed["reported"]["value"]),
        (&json!("5"), &json!("4"))
    );
    assert_eq!(speed["reported"]["metadata"], json!({"timestamp": "1000", "type": "int"}));
}

#[tokio::test]
async fn a_client_of_kubernetes_is_refused_in_its_own_words() {
    let world = World::with(&[("pump", "")]).await;
    for (path, code, reason) in [
        ("/namespaces/demo/devices/lost", 404, "NotFound"),
        ("/namespaces/demo/pods", 404, "NotFound"),
        ("/devices?watch=true", 405, "MethodNotAllowed"),
        ("/devices?labelSelector=a%3Db", 400, "BadRequest"),
    ] {
        let (status, said) = read(&world, &format!("{API}{path}")).await;
        assert_eq!((status, &said["code"], &said["reason"]), (code, &json!(code), &json!(reason)));
        assert_eq!(
            (&said["kind"], &said["status"]),
            (&json!("Status"), &json!("Failure")),
            "{said}"
        );
        assert!(!said["message"].as_str().unwrap().is_empty());
    }
}
