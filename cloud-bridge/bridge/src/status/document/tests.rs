use edge_link::Uid;
use edge_link::content::TwinReport;
use kube::api::DynamicObject;

use super::*;
use crate::objects::Numbers;

fn device(properties: &[&str]) -> DeviceEntry {
    let properties: Vec<_> =
        properties.iter().map(|name| json!({"name": name, "desired": {"value": "5"}})).collect();
    let object = json!({
        "metadata": {
            "namespace": "plant", "name": "a", "uid": "u", "resourceVersion": "7", "generation": 4,
        },
        "spec": {"nodeName": "edge-1", "properties": properties},
    });
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    DeviceEntry::read(object, &Numbers::default()).unwrap()
}

fn change(rev: Option<u64>, whole: bool, twin: &Value) -> Change {
    let report: TwinReport =
        serde_json::from_value(json!({"timestamp": 1000, "twin": twin})).unwrap();
    let said = report
        .twin
        .into_iter()
        .map(|(name, twin)| (Part::Property(name), Said::Property(Box::new(twin))));
    let uid = Uid::new("u").unwrap();
    let point = rev.map(|rev| Point { uid, epoch: 1, rev });
    Change { point, whole, said: said.collect() }
}

fn now() -> Timestamp {
    Timestamp::from_millis(5000)
}

#[test]
fn the_first_report_of_a_property_is_in_the_status_with_its_value_and_metadata_as_texts() {
    let twin = json!({"speed": {
        "actual": {"value": "21.5", "metadata": {"timestamp": 900, "quality": "good", "version": 3}},
        "metadata": {"type": "float"},
    }});
    let status = changed(&Value::Null, &device(&["speed"]), &change(Some(3), true, &twin), now());
    assert_eq!(
        status["twins"],
        json!([{"propertyName": "speed", "reported": {"value": "21.5", "metadata": {
            "timestamp": "900", "quality": "good", "version": "3", "type": "float"}}}])
    );
    assert_eq!(point(&status), Some(Point { uid: Uid::new("u").unwrap(), epoch: 1, rev: 3 }));
}

#[test]
fn properties_stand_in_the_order_of_the_spec_and_those_that_it_does_not_name_go() {
    let before = json!({"twins": [
        {"propertyName": "gone", "reported": {"value": "1"}},
        {"propertyName": "b", "reported": {"value": "2"}},
    ], "extensions": {"somebody": {"else": 1}}});
    let twin = json!({"a": {"actual": {"value": "9"}}, "stranger": {"actual": {"value": "0"}}});
    let status = changed(&before, &device(&["a", "b"]), &change(Some(2), false, &twin), now());
    let names: Vec<_> =
        status["twins"].as_array().unwrap().iter().map(|twin| &twin["propertyName"]).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(status["twins"][1]["reported"]["value"], "2");
    assert_eq!(status["extensions"]["somebody"], json!({"else": 1}));
}

#[test]
fn a_whole_twin_takes_the_place_of_everything() {
    let before = json!({"twins": [{"propertyName": "b", "reported": {"value": "2"}}]});
    let twin = json!({"a": {"actual": {"value": "9"}}});
    let status = changed(&before, &device(&["a", "b"]), &change(Some(2), true, &twin), now());
    assert_eq!(status["twins"].as_array().unwrap().len(), 1);
}

#[test]
fn what_is_desired_is_shown_once_the_mapper_said_something_of_it() {
    let device = device(&["speed"]);
    let known = json!({"speed": {"expected": {"value": "5", "metadata": {"version": 4}}}});
    let status = changed(&Value::Null, &device, &change(Some(1), true, &known), now());
    assert_eq!(status["twins"][0].get("observedDesired"), None);
    let settled = |status: &Value| {
        let conditions = &status["extensions"]["edgetwin"]["conditions"];
        let conditions = conditions.as_array().unwrap().clone();
        conditions.into_iter().find(|one| one["type"] == "Settled").unwrap()
    };
    assert_eq!(settled(&status)["status"], "False");
    let done =
        json!({"speed": {"expected": {"value": "5", "metadata": {"version": 4, "ackCode": 209}}}});
    let status = changed(&status, &device, &change(Some(2), false, &done), now());
    assert_eq!(status["twins"][0]["observedDesired"]["value"], "5");
    assert_eq!(settled(&status)["status"], "True");
}

#[test]
fn a_condition_keeps_the_time_of_its_last_transition() {
    let state = |word: &str, rev| Change {
        point: Some(Point { uid: Uid::new("u").unwrap(), epoch: 1, rev }),
        whole: false,
        said: BTreeMap::from([(
            Part::State,
            Said::State(StateSaid { state: word.into(), ..StateSaid::default() }, None),
        )]),
    };
    let ready = |status: &Value| status["extensions"]["edgetwin"]["conditions"][0].clone();
    let device = device(&[]);
    let first = changed(&Value::Null, &device, &state("online", 1), Timestamp::from_millis(1000));
    let second = changed(&first, &device, &state("ok", 2), Timestamp::from_millis(9000));
    assert_eq!(ready(&first), ready(&second));
    let third = changed(&second, &device, &state("offline", 3), Timestamp::from_millis(9000));
    assert_eq!(ready(&third)["status"], "False");
    assert_ne!(ready(&third)["lastTransitionTime"], ready(&first)["lastTransitionTime"]);
}

#[test]
fn a_late_report_of_an_edgecore_changes_nothing() {
    let device = device(&["speed"]);
    let report = |value: &str, version: u64, at: i64| {
        change(
            None,
            false,
            &json!({"speed": {
                "actual": {"value": value, "metadata": {"timestamp": at}},
                "actual_version": {"cloud": 0, "edge": version},
            }}),
        )
    };
    let first = changed(&Value::Null, &device, &report("10", 7, 900), now());
    let late = changed(&first, &device, &report("9", 6, 800), now());
    assert_eq!(late, first);
    // A twin that was made anew counts from the beginning; a clock that was set back goes on.
    let anew = changed(&first, &device, &report("11", 1, 1000), now());
    assert_eq!(anew["twins"][0]["reported"]["value"], "11");
    let set_back = changed(&first, &device, &report("12", 8, 100), now());
    assert_eq!(set_back["twins"][0]["reported"]["value"], "12");
    assert_eq!(first.get("extensions"), None);
}
