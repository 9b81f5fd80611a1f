//! What mappers may say, and what becomes of them.

mod world;

use device_model::DeviceState;
use dmi::proto::{MapperRegisterRequest, ReportDeviceStatusRequest, Twin, TwinProperty};
use futures::future::join_all;
use tonic::Code;
use world::mapper::FakeMapper;
use world::{World, within};

fn reported(device: &edge_agent::api::view::DeviceView, property: &str) -> Option<String> {
    device.property(property)?.reported.as_ref()?.value.clone()
}

#[tokio::test]
async fn a_wrong_value_is_named_and_harms_neither_its_neighbours_nor_other_devices() {
    let world = World::with(&[("pump", ""), ("fan", "")]).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    mapper.report("fan", &[("speed", "7", &[])]).await.unwrap();
    let refused = mapper
        .report(
            "pump",
            &[("speed", "fast", &[]), ("temperature", "20.5", &[]), ("colour", "red", &[])],
        )
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let said = refused.message();
    assert!(said.contains("reportedDevice.twins[0].reported.value = \"fast\""), "{said}");
    assert!(said.contains("reportedDevice.twins[2].propertyName = \"colour\""), "{said}");
    let pump = world.device("pump").await.unwrap();
    assert_eq!(reported(&pump, "temperature").as_deref(), Some("20.5"));
    assert_eq!(reported(&pump, "speed"), None);
    let fan = world.device("fan").await.unwrap();
    assert_eq!((fan.rev, reported(&fan, "speed").as_deref()), (2, Some("7")));
}

#[tokio::test]
async fn several_devices_in_one_call_are_applied_in_order_and_refused_one_by_one() {
    let world = World::with(&[("pump", ""), ("fan", "")]).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    let report = |device: &str, values: &[(&str, &str)]| ReportDeviceStatusRequest {
        device_name: device.into(),
        device_namespace: "demo".into(),
        reported_device: Some(dmi::proto::DeviceStatus {
            twins: values
                .iter()
                .map(|(property, value)| Twin {
                    property_name: (*property).into(),
                    observed_desired: None,
                    reported: Some(TwinProperty {
                        value: (*value).into(),
                        ..TwinProperty::default()
                    }),
                })
                .collect(),
            ..dmi::proto::DeviceStatus::default()
        }),
        ..ReportDeviceStatusRequest::default()
    };
    let mut call = report("pump", &[("speed", "1")]);
    call.more = vec![report("fan", &[("speed", "7")]), report("pump", &[("speed", "2")])];
    let request = mapper.request(call.clone());
    mapper.client.report_device_status(request).await.unwrap();
    let pump = world.device("pump").await.unwrap();
    assert_eq!((pump.rev, reported(&pump, "speed").as_deref()), (3, Some("2")));

    call.more = vec![
        report("lost", &[("speed", "1")]),
        report("fan", &[("speed", "fast"), ("temperature", "20.5")]),
        report("pump", &[("speed", "3")]),
    ];
    let nested = call.clone();
    let request = mapper.request(call.clone());
    let refused = mapper.client.report_device_status(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let lines: Vec<&str> = refused.message().lines().collect();
    let [lost, fan] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(lost.starts_with("demo/lost: deviceName: "), "{lost}");
    assert!(
        fan.starts_with("demo/fan: reportedDevice.twins[0].reported.value = \"fast\""),
        "{fan}"
    );
    let pump = world.device("pump").await.unwrap();
    assert_eq!(reported(&pump, "speed").as_deref(), Some("3"));
    let fan = world.device("fan").await.unwrap();
    assert_eq!(reported(&fan, "speed").as_deref(), Some("7"));
    assert_eq!(reported(&fan, "temperature").as_deref(), Some("20.5"));

    call.more = vec![nested];
    let request = mapper.request(call.clone());
    let refused = mapper.client.report_device_status(request).await.unwrap_err();
    assert!(refused.message().contains("more: "), "{}", refused.message());

    mapper.token = Some("gone".into());
    let request = mapper.request(report("pump", &[("speed", "4")]));
    let refused = mapper.client.report_device_status(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    call.more = vec![report("fan", &[("speed", "8")])];
    let request = mapper.request(call);
    let refused = mapper.client.report_device_status(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "the lease is that of all");
}

/// A wrong type, an unknown device and a nil member, each alone in its call and beside other devices.
#[tokio::test]
async fn one_bad_report_names_its_field_and_touches_nothing_else() {
    let world = World::with(&[("pump", ""), ("fan", ""), ("idle", "")]).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    let twin = |property: &str, value: Option<&str>| Twin {
        property_name: property.into(),
        observed_desired: None,
        reported: value
            .map(|value| TwinProperty { value: value.into(), ..TwinProperty::default() }),
    };
    let report = |device: &str, twins: Option<Vec<Twin>>| ReportDeviceStatusRequest {
        device_name: device.into(),
        device_namespace: "demo".into(),
        reported_device: twins
            .map(|twins| dmi::proto::DeviceStatus { twins, ..dmi::proto::DeviceStatus::default() }),
        ..ReportDeviceStatusRequest::default()
    };
    for device in ["pump", "fan", "idle"] {
        mapper.report(device, &[("speed", "1", &[]), ("note", "old", &[])]).await.unwrap();
    }
    let idle = world.device("idle").await.unwrap();
    let mut number = 0;
    for (device, speed, code, field) in [
        (
            "pump",
            Some(Some("fast")),
            Code::InvalidArgument,
            "reportedDevice.twins[1].reported.value = \"fast\"",
        ),
        ("pump", Some(None), Code::InvalidArgument, "reportedDevice.twins[1].reported"),
        ("pump", None, Code::InvalidArgument, "reportedDevice"),
        ("lost", Some(Some("2")), Code::NotFound, "deviceName"),
    ] {
        for several in [false, true] {
            number += 1;
            let note = format!("n{number}");
            let twins = speed.map(|speed| {
                vec![
                    twin("note", Some(&note)),
                    twin("speed", speed),
                    twin("temperature", Some("7.5")),
                ]
            });
            let bad = report(device, twins);
            let request = if several {
                let good = |speed: &str| report("fan", Some(vec![twin("speed", Some(speed))]));
                let mut first = good("1000");
                first.more = vec![bad, good(&number.to_string())];
                first
            } else {
                bad
            };
            let request = mapper.request(request);
            let refused = mapper.client.report_device_status(request).await.unwrap_err();
            let said = refused.message();
            let (code, start) = match several {
                true => (Code::InvalidArgument, format!("demo/{device}: {field}")),
                false => (code, field.to_owned()),
            };
            assert_eq!(refused.code(), code, "{said}");
            assert!(said.starts_with(&start), "{start} is wanted: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");

            let pump = world.device("pump").await.unwrap();
            assert_eq!(reported(&pump, "speed").as_deref(), Some("1"), "{said}");
            if device == "pump" && speed.is_some() {
                assert_eq!(
                    reported(&pump, "note"),
                    Some(note),
                    "what stands beside it counts: {said}"
                );
                assert_eq!(reported(&pump, "temperature").as_deref(), Some("7.5"));
            } else {
                assert_ne!(reported(&pump, "note"), Some(note), "{said}");
            }
            let fan = world.device("fan").await.unwrap();
            let expected = if several { number } else { (number - 1).max(1) };
            assert_eq!(reported(&fan, "speed"), Some(expected.to_string()), "{said}");
            assert_eq!(world.device("idle").await.unwrap(), idle, "{said}");
        }
    }
}

#[tokio::test]
async fn nil_members_and_unknown_devices_are_answered_with_the_field() {
    let world = World::with(&[("pump", "")]).await;
    let mut mapper = FakeMapper::old(&world.addresses.dmi, "mapper").await;
    let nobody = MapperRegisterRequest { with_data: true, mapper: None };
    let refused = mapper.client.mapper_register(nobody).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("mapper: missing"), "{}", refused.message());

    let request = ReportDeviceStatusRequest {
        device_name: "pump".into(),
        device_namespace: "demo".into(),
        ..ReportDeviceStatusRequest::default()
    };
    let refused = mapper.client.report_device_status(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("reportedDevice.twins"), "{}", refused.message());

    let bare = Twin { property_name: "speed".into(), observed_desired: None, reported: None };
    let refused = mapper.report_twins("pump", vec![bare]).await.unwrap_err();
    assert!(refused.message().contains("twins[0].reported"), "{}", refused.message());

    let lone = Twin {
        property_name: "speed".into(),
        observed_desired: None,
        reported: Some(TwinProperty { value: "9".into(), ..TwinProperty::default() }),
    };
    mapper.report_twins("pump", vec![lone]).await.unwrap();
    assert_eq!(reported(&world.device("pump").await.unwrap(), "speed").as_deref(), Some("9"));

    let refused = mapper.report("lost", &[("speed", "1", &[])]).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("demo/lost"), "{}", refused.message());
    let refused = mapper.state("pump", "sleepy").await.unwrap_err();
    assert!(refused.message().starts_with("state = \"sleepy\""), "{}", refused.message());
}

#[tokio::test]
async fn a_state_keeps_its_time_and_reason_and_both_survive_a_restart() {
    let mut world = World::with(&[("pump", ""), ("fan", "")]).await;
    let begin = world.device("pump").await.unwrap();
    let untold = Some("nothing was heard of it yet");
    assert_eq!((begin.state, begin.state_reason.as_deref()), (DeviceState::Unknown, untold));
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    let (_stream, mut events) = world.events("").await;
    mapper.state_because("pump", "offline", "connection\n refused").await.unwrap();
    let event = within("the event", events.recv()).await.unwrap();
    assert_eq!(
        (event.state, event.reason.as_deref()),
        (DeviceState::Offline, Some("connection refused"))
    );
    let first = world.device("pump").await.unwrap();
    assert_eq!(first.state_reason.as_deref(), Some("connection refused"));
    assert_eq!(first.state_since, event.time);
    mapper.state("pump", "offline").await.unwrap();
    assert_eq!(world.device("pump").await.unwrap(), first, "the same again is no change");
    mapper.state_because("pump", "offline", "no answer").await.unwrap();
    let second = world.device("pump").await.unwrap();
    assert_eq!(second.state_since, first.state_since);
    assert_eq!((second.state_reason.as_deref(), second.rev), (Some("no answer"), first.rev + 1));

    mapper.kill().await;
    world.restart().await;
    let pump = world.device("pump").await.unwrap();
    let restarted = Some("nothing was heard of it since the agent started");
    assert_eq!((pump.state, pump.state_reason.as_deref()), (DeviceState::Unknown, restarted));
    assert!(pump.state_since > second.state_since);
    let fan = world.device("fan").await.unwrap();
    assert_eq!((fan.state_since, fan.state_reason.as_deref()), (begin.state_since, untold));
}

/// The kernel takes the connection for a process that has no time: that one is alive.
#[tokio::test]
async fn a_full_queue_is_said_and_nothing_accepted_is_lost() {
    let world = World::start(&[("pump", "")], |config| config.devices.queue = 1).await;
    let mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    let calls = (0..400).map(|number: u32| {
        let mut client = mapper.client.clone();
        let twin = Twin {
            property_name: "note".into(),
            observed_desired: None,
            reported: Some(TwinProperty { value: number.to_string(), ..TwinProperty::default() }),
        };
        let request = mapper.request(ReportDeviceStatusRequest {
            device_name: "pump".into(),
            device_namespace: "demo".into(),
            reported_device: Some(dmi::proto::DeviceStatus {
                twins: vec![twin],
                ..dmi::proto::DeviceStatus::default()
            }),
            ..ReportDeviceStatusRequest::default()
        });
        async move { client.report_device_status(request).await }
    });
    let answers = within("400 calls", join_all(calls)).await;
    let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    }
    assert!(accepted > 0 && accepted < 400, "{accepted} accepted");
    let device = world.device("pump").await.unwrap();
    assert_eq!(device.rev, u64::try_from(accepted).unwrap() + 1, "each accepted one is a revision");
}

#[tokio::test]
async fn all_that_is_refused_of_a_report_is_named_by_its_place() {
    let world = World::with(&[("pump", "")]).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    let long = "x".repeat(100_000);
    let refused = mapper
        .report(
            "pump",
            &[("speed", "fast", &[]), ("note", &long, &[]), ("temperature", "20.5", &[])],
        )
        .await
        .unwrap_err();
    let lines: Vec<_> = refused.message().lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("reportedDevice.twins[0].reported.value = \"fast\""), "{lines:?}");
    assert!(lines[1].starts_with("reportedDevice.twins[1].reported.value: "), "{lines:?}");
    let pump = world.device("pump").await.unwrap();
    assert_eq!(reported(&pump, "temperature").as_deref(), Some("20.5"));
}
