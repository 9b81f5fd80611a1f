//! What is in messages.

use std::collections::BTreeMap;

use device_model::{PropertyName, Timestamp};
use edge_link::content::{
    self, Answer, Confirmation, DetailRequest, Hello, Holding, Member, Membership,
    MembershipDetail, Point, Progress, Refusal, Side, StateReport, StateSaid, TwinProperty,
    TwinReport, TwinVersion, Welcome, answer,
};
use edge_link::{Look, Uid, Version};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::vectors::vector;

fn uid(text: &str) -> Uid {
    Uid::new(text).unwrap()
}

#[test]
fn a_content_may_be_json_or_a_text_that_holds_it() {
    let state: StateReport = content::read(&vector("u11").content).unwrap();
    assert_eq!(state.device.state, "online");
    let as_json: Value = serde_json::from_slice(&vector("u11").octets()).unwrap();
    assert_eq!(content::read::<StateReport>(&as_json), Ok(state.clone()));
    // Written as EdgeCore does, to the octet.
    assert_eq!(content::text(&state), vector("u11").content);
    let request: DetailRequest = content::read(&vector("u2").content).unwrap();
    assert_eq!(request.group_id, "edge-7");
    assert_eq!(content::text(&request), vector("u2").content);
    let twin: TwinReport = content::read(&vector("u9").content).unwrap();
    assert_eq!(content::json(&twin), vector("u9").content);
}

#[test]
fn a_report_may_lack_its_expected_side_and_any_other_member() {
    let first: TwinReport = content::read(&vector("u9").content).unwrap();
    let speed = &first.twin["speed"];
    assert_eq!(speed.expected, None);
    assert_eq!(speed.actual.as_ref().unwrap().value.as_deref(), Some("1450"));
    assert_eq!(speed.actual_version, Some(TwinVersion { cloud: 0, edge: 1 }));
    let later: TwinReport = content::read(&vector("u10").content).unwrap();
    assert_eq!(later.twin["speed"].expected.as_ref().unwrap().value.as_deref(), Some(""));
    let bare: TwinReport = content::read(&json!({"twin": {"speed": {}}})).unwrap();
    assert_eq!(bare.twin["speed"], TwinProperty::default());
}

#[test]
fn a_report_with_a_null_or_a_number_is_an_error_that_names_it() {
    for (content, wanted) in [
        (json!({"twin": {"speed": null}}), "content.twin.speed: invalid type: null"),
        (json!({"twin": {"speed": 7}}), "content.twin.speed: invalid type: integer `7`"),
        (json!({"twin": {"speed": {"actual": {"value": 7}}}}), "content.twin.speed.actual.value: "),
        (json!({"twin": {"two words": {}}}), "content.twin"),
        (json!({"twin": null}), "content.twin: invalid type: null"),
        (json!({}), "content: missing field `twin`"),
        (json!(null), "content: invalid type: null"),
        (json!("{\"twin\": {\"speed\": null}}"), "content.twin.speed: invalid type: null"),
        (json!("{\"twin\": {}} x"), "content: trailing characters"),
        (json!("speed=7"), "content: expected value"),
        (
            json!({"twin": {}, "edgetwin": {"uid": "", "epoch": 1, "rev": 1, "baseRev": 0}}),
            "a uid is not empty",
        ),
    ] {
        let error = content::read::<TwinReport>(&content).unwrap_err().to_string();
        assert!(error.contains(wanted), "{content}: {error}");
    }
}

#[test]
fn the_time_of_a_sample_is_a_number_or_the_text_of_one() {
    let side = |timestamp: Value| {
        let metadata = BTreeMap::from([("timestamp".to_owned(), timestamp)]);
        Side { value: None, metadata: Some(metadata) }.sampled_at()
    };
    let time = Timestamp::from_millis(1_785_000_000_498);
    assert_eq!(side(json!(1_785_000_000_498_i64)), Some(time));
    assert_eq!(side(json!("1785000000498")), Some(time));
    assert_eq!(side(json!("yesterday")), None);
    assert_eq!(Side::default().sampled_at(), None);
}

#[test]
fn membership_is_read_and_written_as_the_cloud_does() {
    let membership: Membership = content::read(&vector("d32").content).unwrap();
    assert_eq!(membership.removed_devices, None);
    let added = membership.added_devices.as_ref().unwrap();
    assert_eq!(added[0].description.as_deref(), Some("boiler room"));
    assert_eq!(content::json(&membership), vector("d32").content);
    let all = MembershipDetail {
        event_id: "e".into(),
        timestamp: Timestamp::from_millis(5),
        devices: vec![Member::new("demo/pump".parse().unwrap())],
    };
    let written = json!({
        "event_id": "e", "timestamp": 5, "devices": [{"id": "demo/pump", "name": "pump"}],
    });
    assert_eq!(content::json(&all), written);
    assert_eq!(content::read::<MembershipDetail>(&written), Ok(all));
}

#[test]
fn an_answer_is_an_object_a_word_or_a_refusal() {
    let registered = answer(&vector("d1")).unwrap();
    let Answer::Object(node) = registered else { panic!("{registered:?}") };
    assert_eq!(Look::at(&node).uid, Some(uid("u-node")));
    assert!(matches!(answer(&vector("d8")), Ok(Answer::Object(_))));
    assert_eq!(answer(&vector("d10")), Ok(Answer::Done));
    assert_eq!(answer(&vector("d11")), Ok(Answer::Text(String::new())));
    let lease = answer(&vector("d31")).unwrap_err();
    assert!(lease.is_not_found());
    assert_eq!(lease.code, 404);
}

#[test]
fn a_config_map_that_does_not_exist_is_not_taken_for_an_empty_one() {
    assert!(answer(&vector("d9")).unwrap_err().is_not_found());
}

#[test]
fn an_error_beside_an_object_is_an_error() {
    // CloudCore's answer to a second registration holds the labels of the request.
    let mut message = vector("d1");
    message.content = json!({
        "Object": {"metadata": {"labels": {"a": "b"}}},
        "Err": {"ErrStatus": {"status": "Failure", "reason": "AlreadyExists", "code": 409, "message": "nodes"}},
    });
    let refusal = answer(&message).unwrap_err();
    assert!(refusal.is_already_there());
    assert_eq!(refusal.to_string(), "AlreadyExists (409): nodes");
}

#[test]
fn an_answer_whose_error_got_lost_on_the_way_is_no_object() {
    let refused = |content: Value| {
        let mut message = vector("d1");
        message.content = content;
        answer(&message).unwrap_err()
    };
    for content in [
        json!({"Object": null, "Err": {}}),
        json!({"Object": {"metadata": {}}, "Err": null}),
        json!({"Object": null, "Err": null}),
        json!({"Op": "Get", "URL": "https://api", "Err": {}}),
        json!({}),
        json!(null),
        json!([1]),
    ] {
        assert_eq!(
            (refused(content.clone()).reason.as_str(), refused(content).code),
            ("InternalError", 500)
        );
    }
    let mut offline = vector("d1");
    offline.route.operation = Some("error".into());
    offline.content = json!("the connection is lost");
    assert_eq!(answer(&offline).unwrap_err().message, "the connection is lost");
}

#[test]
fn what_a_cloud_answers_reads_back() {
    let object = json!({"metadata": {"uid": "u"}});
    let mut message = vector("d1");
    message.content = Answer::to_content(&Ok(object.clone()));
    assert_eq!(message.content, json!({"Object": {"metadata": {"uid": "u"}}, "Err": null}));
    assert_eq!(answer(&message), Ok(Answer::Object(object)));
    let refusal = Refusal::new("NotFound", 404, "no such lease");
    message.content = Answer::to_content(&Err(refusal.clone()));
    assert_eq!(answer(&message), Err(refusal.clone()));
    message.content = refusal.to_content();
    assert_eq!(answer(&message), Err(refusal));
}

#[test]
fn a_look_at_an_object_needs_neither_kind_nor_any_other_member() {
    let message = vector("d5");
    let again = Look::at(&message.content);
    assert_eq!((again.kind, again.namespace, again.name), (None, Some("demo"), Some("pump")));
    assert_eq!(again.uid, Some(uid("u-pump")));
    assert_eq!(again.version, Some(Version::new("1234").of_generation(1)));
    assert!(!again.ending);
    for nothing in [
        json!(null),
        json!("x"),
        json!([]),
        json!({"metadata": 7}),
        json!({"metadata": {"uid": 7}}),
    ] {
        assert_eq!(Look::at(&nothing), Look::default(), "{nothing}");
    }
    let ending = json!({"metadata": {"deletionTimestamp": "2026-07-25T17:20:00Z"}});
    assert!(Look::at(&ending).ending);
}

#[test]
fn versions_are_equal_by_text_and_ordered_by_generation_alone() {
    let (two, ten) = (Version::new("2"), Version::new("10"));
    assert!(!two.is_older_than(&ten) && !ten.is_older_than(&two));
    let (older, newer) = (Version::new("x").of_generation(2), Version::new("a").of_generation(3));
    assert!(older.is_older_than(&newer) && !newer.is_older_than(&older));
    assert!(!older.is_older_than(&older));
    assert!(older.has_spec_of(&Version::new("y").of_generation(2)));
    assert!(!two.has_spec_of(&ten));
}

#[test]
fn what_the_ends_say_of_what_they_hold_reads_back() {
    let key = "demo/device/pump".parse().unwrap();
    let point = Point { uid: uid("u"), epoch: 2, rev: 9 };
    let hello = Hello {
        epoch: 2,
        objects: vec![Holding { key, uid: uid("u"), version: Version::new("77").of_generation(3) }],
        twins: vec![point.clone()],
    };
    let written = json!({
        "epoch": 2,
        "objects": [{"resource": "demo/device/pump", "uid": "u", "resourceVersion": "77", "generation": 3}],
        "twins": [{"uid": "u", "epoch": 2, "rev": 9}],
    });
    assert_eq!(content::json(&hello), written);
    assert_eq!(content::read::<Hello>(&written), Ok(hello));
    let welcome = Welcome { has: vec![point.clone()], gone: vec![uid("old")] };
    assert_eq!(content::read::<Welcome>(&content::json(&welcome)), Ok(welcome));
    for (confirmation, written) in [
        (Confirmation::Taken, json!("OK")),
        (Confirmation::Has(point), json!({"has": {"uid": "u", "epoch": 2, "rev": 9}})),
        (Confirmation::Nothing(uid("u")), json!({"nothing": "u"})),
        (Confirmation::Gone(uid("u")), json!({"gone": "u"})),
    ] {
        assert_eq!(content::json(&confirmation), written);
        assert_eq!(Confirmation::read(&written), Ok(confirmation));
    }
    assert!(Confirmation::read(&json!("no")).is_err());
}

fn side() -> impl Strategy<Value = Option<Side>> {
    prop::option::of((prop::option::of(".{0,9}"), prop::option::of(any::<i64>())).prop_map(
        |(value, time)| Side {
            value,
            metadata: time.map(|time| BTreeMap::from([("timestamp".to_owned(), time.into())])),
        },
    ))
}

prop_compose! {
    fn report()(
        sides in prop::collection::btree_map("[a-zA-Z0-9_.,:/@#-]{1,9}", (side(), side(), any::<Option<bool>>()), 0..4),
        timestamp in any::<i64>(),
        progress in prop::option::of((any::<u64>(), any::<u64>(), any::<u64>())),
    ) -> TwinReport {
        TwinReport {
            event_id: String::new(),
            timestamp: Timestamp::from_millis(timestamp),
            twin: sides.into_iter().map(|(name, (expected, actual, optional))| {
                let property = TwinProperty { expected, actual, optional, ..TwinProperty::default() };
                (PropertyName::new(&name).unwrap(), property)
            }).collect(),
            edgetwin: progress.map(|(epoch, rev, base_rev)| Progress { uid: uid("u"), epoch, rev, base_rev }),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_report_reads_back_from_json_and_from_text(report in report(), state in ".{0,9}") {
        prop_assert_eq!(content::read::<TwinReport>(&content::json(&report)), Ok(report.clone()));
        prop_assert_eq!(content::read::<TwinReport>(&content::text(&report)), Ok(report.clone()));
        let state = StateReport {
            event_id: String::new(),
            timestamp: report.timestamp,
            device: StateSaid { state, ..StateSaid::default() },
            edgetwin: report.edgetwin,
        };
        prop_assert_eq!(content::read::<StateReport>(&content::text(&state)), Ok(state));
    }
}
