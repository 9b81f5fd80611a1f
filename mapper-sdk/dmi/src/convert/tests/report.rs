//! Reports: as our mapper encodes them, as an old mapper sends them, and what is refused of them.
use device_model::{
    Ack, AckCode, Device, DeviceId, Generation, PropertyName, Quality, QualityCode, Reading,
    Timestamp, Value,
};
use proptest::prelude::*;
use prost::Message;

use super::super::*;
use super::{any_bool, pump, resolved};
use crate::proto;

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        proptest::arbitrary::any::<i64>().prop_map(Value::Int),
        proptest::arbitrary::any::<f32>().prop_map(Value::Float),
        proptest::arbitrary::any::<f64>().prop_map(Value::Double),
        ".{0,12}".prop_map(Value::String),
        any_bool().prop_map(Value::Boolean),
        prop::collection::vec(proptest::arbitrary::any::<u8>(), 0..20).prop_map(Value::Bytes),
    ]
}

fn ack() -> impl Strategy<Value = Option<Ack>> {
    let code = prop::sample::select(AckCode::ALL.to_vec());
    prop::option::of((proptest::arbitrary::any::<u64>(), code, ".{0,12}").prop_map(
        |(generation, code, detail)| Ack { generation: Generation(generation), code, detail },
    ))
}

fn reading() -> impl Strategy<Value = Reading> {
    let code = prop::sample::select(QualityCode::ALL.to_vec());
    let time = || proptest::arbitrary::any::<i64>().prop_map(Timestamp::from_millis);
    (value(), 0..3usize, code, prop::option::of(time()), time()).prop_map(
        |(value, quality, code, source_time, sample_time)| {
            let quality = [Quality::Good, Quality::Uncertain, Quality::Bad][quality];
            // A bad reading always has a reason.
            let bad = quality == Quality::Bad;
            let code = if bad && code == QualityCode::Ok { QualityCode::NoData } else { code };
            Reading { value: (!bad).then_some(value), quality, code, source_time, sample_time }
        },
    )
}

/// The pump with a property `x` of the type of `reading`.
fn device_with(reading: Option<&Reading>) -> Device {
    let (mut model, mut instance) = pump();
    let value = reading.and_then(|reading| reading.value.as_ref());
    let data_type = value.map_or(device_model::DataType::Int, Value::data_type);
    model.spec.properties[1].name = "x".into();
    model.spec.properties[1].data_type = data_type.to_string();
    instance.spec.properties[1].name = "x".into();
    Device::resolve(&model, &instance).unwrap()
}

proptest! {
    #[test]
    fn a_report_comes_back(
        reading in prop::option::of(reading()), ack in ack(), observed in prop::option::of(".{1,12}"),
        ours: bool,
    ) {
        let peer = if ours { Peer::Edgetwin } else { Peer::KubeEdge };
        let device = device_with(reading.as_ref());
        let property = PropertyName::new("x").unwrap();
        let twin = TwinReport { property, reading, ack, observed };
        let mut report = EncodedReport::new(peer);
        prop_assert!(report.push(&device.id, [TwinRef::from(&twin)]));
        let message = proto::ReportDeviceStatusRequest::decode(report.as_bytes()).unwrap();
        prop_assert_eq!(&report_device(&message).unwrap(), &device.id);
        let report = report_from_proto(message, &device, Timestamp::default());
        prop_assert_eq!(&report.refused, &vec![]);
        let [back] = report.twins.as_slice() else { panic!("{report:?}") };
        let same = match (&back.reading, &twin.reading) {
            (Some(a), Some(b)) => {
                a.same_as(b) && a.source_time == b.source_time && a.sample_time == b.sample_time
            }
            (a, b) => a.is_none() && b.is_none(),
        };
        prop_assert!(same, "{:?} is not {:?}", back.reading, twin.reading);
        prop_assert_eq!(&back.ack, &twin.ack);
        prop_assert_eq!(&back.observed, &twin.observed);
    }

    #[test]
    fn several_devices_come_back_from_one_report(
        devices in prop::collection::vec(prop::collection::vec("\\PC{0,200}", 0..4), 1..5),
    ) {
        let name = PropertyName::new("x").unwrap();
        let id = |number: usize| DeviceId::new("demo", &format!("d{number}")).unwrap();
        let at = Timestamp::from_millis(1_700_000_000_000);
        let mut report = EncodedReport::new(Peer::Edgetwin);
        for (number, values) in devices.iter().enumerate() {
            let values = values.iter().map(|text| Reading::good(Value::String(text.clone()), at));
            let readings: Vec<_> = values.collect();
            let twin = |reading| TwinRef {
                property: &name, reading: Some(reading), ack: None, observed: None,
            };
            let pushed = report.push(&id(number), readings.iter().map(twin));
            prop_assert_eq!(pushed, !readings.is_empty());
        }
        let mut outer = proto::ReportDeviceStatusRequest::decode(report.as_bytes()).unwrap();
        let more = std::mem::take(&mut outer.more);
        let mut reports = std::iter::once(outer).chain(more);
        for (number, values) in devices.iter().enumerate().filter(|(_, values)| !values.is_empty()) {
            let report = reports.next().unwrap();
            prop_assert_eq!(report_device(&report).unwrap(), id(number));
            let twins = report.reported_device.unwrap().twins;
            let texts: Vec<_> =
                twins.into_iter().map(|twin| twin.reported.unwrap().value).collect();
            prop_assert_eq!(&texts, values);
        }
    }
}

fn report(twins: Vec<proto::Twin>) -> proto::ReportDeviceStatusRequest {
    proto::ReportDeviceStatusRequest {
        device_name: "pump-1".into(),
        device_namespace: "demo".into(),
        reported_device: Some(proto::DeviceStatus { twins, ..Default::default() }),
        more: Vec::new(),
    }
}

fn twin(property: &str, value: &str, metadata: &[(&str, &str)]) -> proto::Twin {
    let metadata = metadata.iter().map(|(key, word)| ((*key).into(), (*word).into())).collect();
    proto::Twin {
        property_name: property.into(),
        observed_desired: Some(proto::TwinProperty::default()),
        reported: Some(proto::TwinProperty { value: value.into(), metadata, timestamp: 0 }),
    }
}

const NOW: Timestamp = Timestamp::from_millis(1_000);

#[test]
fn a_value_of_an_old_mapper_is_a_good_reading_of_now() {
    let (_, device) = resolved();
    // KubeEdge's framework leaves the time empty and copies the type from the manifest.
    let old = twin("speed", "1450", &[("timestamp", ""), ("type", "")]);
    let report = report_from_proto(report(vec![old]), &device, NOW);
    assert_eq!(report.refused, vec![]);
    assert_eq!(report.twins[0].reading, Some(Reading::good(Value::Int(1450), NOW)));
}

#[test]
fn no_value_of_an_old_mapper_is_a_bad_reading() {
    let (_, device) = resolved();
    let twins = vec![twin("speed", "", &[]), twin("label", "", &[])];
    let report = report_from_proto(report(twins), &device, NOW);
    assert_eq!(report.twins[0].reading, Some(Reading::bad(QualityCode::NoData, NOW)));
    let empty = Value::String(String::new());
    assert_eq!(report.twins[1].reading, Some(Reading::good(empty, NOW)));
}

#[test]
fn a_bad_twin_is_refused_by_its_path_and_its_neighbours_are_taken() {
    let (_, device) = resolved();
    let twins = vec![
        twin("speed", "1450", &[]),
        twin("speed", "fast", &[]),
        twin("spede", "1", &[]),
        proto::Twin { property_name: "flow".into(), observed_desired: None, reported: None },
        twin("flow", "1.5", &[("quality", "fine")]),
        twin("flow", "1.5", &[("ackCode", "200")]),
        twin("flow", "", &[("quality", "good")]),
        twin("flow", "2.5", &[]),
    ];
    let report = report_from_proto(report(twins), &device, NOW);
    let taken: Vec<_> = report.twins.iter().map(|twin| twin.property.as_str()).collect();
    assert_eq!(taken, ["speed", "flow"]);
    let refused: Vec<_> = report.refused.iter().map(ToString::to_string).collect();
    assert_eq!(
        refused,
        [
            "reportedDevice.twins[1].reported.value = \"fast\": not of type INT; send a whole number from -2^63 to 2^63-1",
            "reportedDevice.twins[2].propertyName = \"spede\": not a property of demo/pump-1; report one of speed, flow, label, blob",
            "reportedDevice.twins[3].reported: missing; send it, with an empty value where there is none",
            "reportedDevice.twins[4].reported.metadata.quality = \"fine\": unknown; send good, uncertain or bad",
            "reportedDevice.twins[5].reported.metadata.ackVersion: missing; send ackCode and ackVersion together",
            "reportedDevice.twins[6].reported.value: not of type FLOAT; send a number that fits 32 bits, such as 21.5",
        ]
    );
}

#[test]
fn a_refusal_names_every_problem_that_a_header_carries() {
    let (_, device) = resolved();
    let refusal = |twins| report_from_proto(report(twins), &device, NOW).refusal();
    assert!(refusal(vec![twin("speed", "1", &[])]).is_none());
    let two = refusal(vec![twin("speed", "a", &[]), twin("speed", "b", &[])]).unwrap();
    assert_eq!(two.code(), tonic::Code::InvalidArgument);
    let lines: Vec<_> = two.message().lines().map(|line| &line[..24]).collect();
    assert_eq!(lines, ["reportedDevice.twins[0].", "reportedDevice.twins[1]."]);
    let many = refusal(vec![twin("speed", "x", &[]); 500]).unwrap();
    assert!(many.message().len() < 5_000 && many.message().ends_with("more"), "{many}");
}

#[test]
fn a_report_of_nothing_is_refused() {
    let (_, device) = resolved();
    let mut empty = report(vec![]);
    assert_eq!(report_from_proto(empty.clone(), &device, NOW).refused.len(), 1);
    empty.reported_device = None;
    assert_eq!(report_from_proto(empty, &device, NOW).refused[0].field, "reportedDevice.twins");
}
