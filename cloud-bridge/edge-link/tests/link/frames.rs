//! Messages as octets.

use device_model::Timestamp;
use edge_link::frame::{self, FRAME_LIMIT, FrameError};
use edge_link::words::{group, operation, source};
use edge_link::{Header, Message, MessageId, Resource, Route};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::vectors::vector;

fn read(text: &str) -> Result<Message, FrameError> {
    frame::read(text.as_bytes(), FRAME_LIMIT)
}

fn id(text: &str) -> MessageId {
    MessageId::new(text).unwrap()
}

const NOW: Timestamp = Timestamp::from_millis(1_785_000_000_123);

#[test]
fn a_keepalive_is_that_of_edgecore_to_the_octet() {
    let keepalive = Message::keepalive(id("0b6c8d0e-7d5a-4a53-9c0b-0d4f6a1f2b01"), NOW);
    let frame = frame::write(&keepalive);
    assert_eq!(frame.len(), 196);
    assert_eq!(
        String::from_utf8(frame).unwrap(),
        "{\"header\":{\"msg_id\":\"0b6c8d0e-7d5a-4a53-9c0b-0d4f6a1f2b01\",\"timestamp\":1785000000123},\
         \"route\":{\"source\":\"websocket\",\"group\":\"resource\",\"operation\":\"keepalive\",\
         \"resource\":\"node\"},\"content\":\"ping\"}\n"
    );
}

#[test]
fn members_are_written_in_the_order_of_the_real_programs_and_empty_ones_not_at_all() {
    let message = Message {
        header: Header {
            id: Some(id("a")),
            parent: Some(id("b")),
            timestamp: Timestamp::from_millis(-1),
            resource_version: Some("rv".into()),
            sync: true,
            kind: Some("channel".into()),
            order: Some(u64::MAX),
        },
        route: Route {
            source: Some("s".into()),
            destination: Some("d".into()),
            group: Some("g".into()),
            operation: Some("o".into()),
            resource: Some("r".into()),
        },
        content: json!([1, null]),
    };
    let written = String::from_utf8(frame::write(&message)).unwrap();
    assert_eq!(
        written,
        "{\"header\":{\"msg_id\":\"a\",\"parent_msg_id\":\"b\",\"timestamp\":-1,\"resourceversion\":\"rv\",\
         \"sync\":true,\"type\":\"channel\",\"edgetwin_order\":18446744073709551615},\
         \"route\":{\"source\":\"s\",\"destination\":\"d\",\"group\":\"g\",\"operation\":\"o\",\
         \"resource\":\"r\"},\"content\":[1,null]}\n"
    );
    assert_eq!(read(&written), Ok(message));
    assert_eq!(
        frame::write(&Message::default()),
        b"{\"header\":{\"msg_id\":\"\",\"timestamp\":0},\"route\":{},\"content\":null}\n"
    );
}

#[test]
fn what_is_missing_null_empty_or_unknown_is_absent() {
    for text in [
        "{}",
        "{\"header\":null,\"route\":null,\"content\":null}\n",
        "{\"header\":{\"msg_id\":\"\",\"timestamp\":null,\"new\":[1]},\"route\":{\"source\":\"\"},\"more\":{}}",
        " \n {\"header\":{\"sync\":false,\"parent_msg_id\":null}}\n\n",
    ] {
        assert_eq!(read(text), Ok(Message::default()), "{text}");
    }
}

#[test]
fn the_last_word_of_edgecore_is_a_message_that_says_nothing() {
    let last =
        read("{\"header\":{\"msg_id\":\"\",\"timestamp\":0},\"route\":{},\"content\":null}\n");
    let last = last.unwrap();
    assert!(!last.wants_acknowledgement());
    assert_eq!(last.acknowledgement(id("x"), NOW), None);
    assert_eq!(last.confirmation(id("x"), NOW), None);
}

#[test]
fn a_wrong_frame_is_an_error_that_names_what_and_where() {
    for (text, wanted) in [
        ("this is no JSON", "no JSON at line 1, column 2: expected ident"),
        ("{\"header\":{}", "no JSON at line 1, column 12: EOF while parsing an object"),
        ("", "no JSON at line 1, column 0: EOF while parsing a value"),
        ("{}{}", "no JSON at line 1, column 3: trailing characters"),
        ("[]", "message = a list: not an object"),
        ("null", "message = null: not an object"),
        ("{\"header\":[]}", "header = a list: not an object"),
        ("{\"header\":{\"msg_id\":7}}", "header.msg_id = 7: not a text"),
        (
            "{\"header\":{\"timestamp\":\"now\"}}",
            "header.timestamp = \"now\": not whole milliseconds",
        ),
        ("{\"header\":{\"timestamp\":1.5}}", "header.timestamp = 1.5: not whole milliseconds"),
        ("{\"header\":{\"resourceversion\":12}}", "header.resourceversion = 12: not a text"),
        ("{\"header\":{\"sync\":\"no\"}}", "header.sync = \"no\": not true or false"),
        ("{\"header\":{\"edgetwin_order\":-1}}", "header.edgetwin_order = -1: not a whole number"),
        ("{\"route\":\"up\"}", "route = \"up\": not an object"),
        ("{\"route\":{\"resource\":{}}}", "route.resource = an object: not a text"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    let long = format!("{{\"route\":\"{}\"}}", "é".repeat(1000));
    assert!(read(&long).unwrap_err().to_string().len() < 200);
    let deep = "[".repeat(100_000);
    assert!(matches!(read(&deep), Err(FrameError::NotJson { .. })));
    assert!(matches!(frame::read(b"\"\xff\"", 9), Err(FrameError::NotJson { .. })));
}

#[test]
fn a_frame_over_the_limit_is_not_looked_at() {
    let error = frame::read(b"{}\n", 2).unwrap_err();
    assert_eq!(error, FrameError::TooLarge { octets: 3, limit: 2 });
    assert_eq!(
        error.to_string(),
        "the message has 3 octets, the limit is 2; send less, or raise the limit"
    );
    assert!(frame::read(b"{}", 2).is_ok());
}

#[test]
fn a_resource_version_is_any_text() {
    let message = read("{\"header\":{\"resourceversion\":\"not a number\"}}").unwrap();
    assert_eq!(message.header.resource_version.as_deref(), Some("not a number"));
}

#[test]
fn an_acknowledgement_names_its_message_and_bears_its_route() {
    let ack = vector("d4").acknowledgement(id("a"), NOW).unwrap();
    assert_eq!(ack.header.parent, Some(id("d4")));
    assert_eq!(ack.route.source.as_deref(), Some(source::DEVICECONTROLLER));
    assert_eq!(ack.route.operation.as_deref(), Some(operation::RESPONSE));
    assert_eq!(ack.resource(), vector("d4").resource());
    assert_eq!((ack.content, ack.header.resource_version), (json!("OK"), None));
}

#[test]
fn a_failure_is_an_error_of_the_store_and_no_acknowledgement() {
    let failure = vector("d4").failure(id("a"), NOW, "the disk is full").unwrap();
    assert!(failure.is(operation::ERROR));
    assert_eq!(failure.route.source.as_deref(), Some(source::METAMANAGER));
    assert_eq!(failure.header.parent, Some(id("d4")));
}

#[test]
fn a_confirmation_goes_to_the_twins_and_names_its_report() {
    let confirmation =
        vector("u9").confirmation(id("d7"), Timestamp::from_millis(1_785_000_000_505));
    assert_eq!(confirmation.unwrap(), vector("d7"));
}

#[test]
fn no_message_of_ours_bears_a_word_that_the_connection_swallows() {
    let spoken = [
        operation::INSERT,
        operation::UPDATE,
        operation::DELETE,
        operation::PATCH,
        operation::QUERY,
        operation::GET,
        operation::RESPONSE,
        operation::ERROR,
        operation::KEEPALIVE,
        operation::UPLOAD,
    ];
    assert!(!spoken.iter().any(|word| operation::SWALLOWED.contains(word)));
    let ours =
        [source::WEBSOCKET, source::EDGED, source::METAMANAGER, source::TWIN, source::EDGETWIN];
    assert!(!ours.iter().any(|word| source::OF_THE_CLOUD.contains(word)));
}

#[test]
fn a_text_is_its_own_octets_and_anything_else_its_json() {
    let octets = |content: Value| {
        let route = Route::new(source::TWIN, group::RESOURCE, operation::UPDATE, &Resource::Twin);
        Message::new(id("a"), NOW, route, content).octets().into_owned()
    };
    assert_eq!(octets(json!("{\"a\": 1}")), b"{\"a\": 1}");
    assert_eq!(octets(json!("")), b"");
    assert_eq!(octets(json!({"a": 1})), b"{\"a\":1}");
    assert_eq!(octets(Value::Null), b"null");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn any_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(".{1,12}")
}

prop_compose! {
    fn any_message()(
        ids in (any_text(), any_text()),
        timestamp in any::<i64>(),
        texts in (any_text(), any_text(), any_text(), any_text(), any_text(), any_text(), any_text()),
        sync in any::<bool>(),
        order in any::<Option<u64>>(),
        content in any_json(),
    ) -> Message {
        let id = |text: Option<String>| text.as_deref().and_then(MessageId::new);
        Message {
            header: Header {
                id: id(ids.0),
                parent: id(ids.1),
                timestamp: Timestamp::from_millis(timestamp),
                resource_version: texts.0,
                sync,
                kind: texts.1,
                order,
            },
            route: Route {
                source: texts.2,
                destination: texts.3,
                group: texts.4,
                operation: texts.5,
                resource: texts.6,
            },
            content,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_message_reads_back_from_one_line(message in any_message()) {
        let frame = frame::write(&message);
        prop_assert_eq!(frame.iter().filter(|octet| **octet == b'\n').count(), 1);
        prop_assert_eq!(frame.last(), Some(&b'\n'));
        prop_assert_eq!(frame::read(&frame, FRAME_LIMIT), Ok(message.clone()));
        prop_assert_eq!(frame::read(&frame[..frame.len() - 1], FRAME_LIMIT), Ok(message));
    }

    #[test]
    fn no_octets_end_in_a_panic_and_what_is_read_reads_the_same_when_written(
        octets in prop::collection::vec(prop::sample::select(&b"{}[]\":,0e-.\\ \nnulheadrms_g"[..]), 0..60),
    ) {
        if let Ok(message) = frame::read(&octets, FRAME_LIMIT) {
            prop_assert_eq!(frame::read(&frame::write(&message), FRAME_LIMIT), Ok(message));
        }
    }
}
