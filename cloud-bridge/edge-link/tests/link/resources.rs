//! Resource strings.

use device_model::DeviceId;
use edge_link::{Collection, Kind, NodeResource, ObjectKey, Resource, ResourceError};
use proptest::prelude::*;

fn resource(text: &str) -> Resource {
    text.parse().unwrap()
}

#[test]
fn a_namespace_of_null_is_none() {
    let node = resource("null/node/edge-7");
    let key = node.key().unwrap();
    assert_eq!((key.namespace(), key.kind(), key.name()), (None, &Kind::NODE, "edge-7"));
    assert_eq!(Resource::object(None, Kind::NODE, "edge-7"), Ok(node));
    assert!(ObjectKey::new(Some("null"), Kind::DEVICE, "pump").is_err());
}

#[test]
fn what_has_a_form_of_its_own_is_no_object() {
    let pump: DeviceId = "demo/pump".parse().unwrap();
    assert_eq!(resource("node"), Resource::Node);
    assert_eq!(resource("twin"), Resource::Twin);
    assert_eq!(resource("membership"), Resource::Membership);
    assert_eq!(resource("membership/detail"), Resource::MembershipDetail);
    assert_eq!(resource("k8s/ca.crt"), Resource::ClusterCa);
    assert_eq!(resource("device/demo/pump/twin/edge_updated"), Resource::TwinReport(pump.clone()));
    assert_eq!(resource("device/demo/pump/state/update"), Resource::StateReport(pump));
}

#[test]
fn words_count_where_they_stand_and_nowhere_else() {
    // CloudCore looks for them anywhere, and takes such pods and namespaces for something else.
    for (text, kind) in [
        ("default/pod/membership-x", Kind::POD),
        ("podlist/pod/web-0", Kind::POD),
        ("node/pod/web-0", Kind::POD),
        ("node/device/node", Kind::DEVICE),
        ("default/configmap/twin", Kind::CONFIG_MAP),
    ] {
        assert_eq!(resource(text).key().unwrap().kind(), &kind, "{text}");
    }
    let prefixed: NodeResource = "node/node/node/pod/node".parse().unwrap();
    assert_eq!(prefixed.node(), "node");
    assert_eq!(prefixed.into_resource(), resource("node/pod/node"));
}

#[test]
fn what_has_no_form_is_an_error_that_shows_it() {
    for text in ["", "alarms", "a/b/c/d", "device/demo/pump/twin/cloud_updated", "upgrade/t/node/n"]
    {
        let error = text.parse::<Resource>().unwrap_err();
        assert_eq!(error, ResourceError::Form(text.into()));
        assert!(error.to_string().contains(&format!("\"{text}\"")));
    }
    for (text, part) in
        [("/pod/web", "namespace"), ("a//web", "kind"), ("a/pod/", "name"), ("a/", "kind")]
    {
        let error = text.parse::<Resource>().unwrap_err().to_string();
        assert!(error.contains(&format!("{part} \"\" is empty")), "{error}");
    }
    let error = "device/demo/Pump/state/update".parse::<Resource>().unwrap_err().to_string();
    assert!(error.contains("device \"demo/Pump\" is no namespace and name"), "{error}");
}

#[test]
fn a_node_speaks_for_itself_alone() {
    for text in [
        "null/node/edge-8",
        "default/node/edge-8",
        "null/nodepatch/edge-8",
        "default/nodestatus/edge-8",
        "kube-node-lease/lease/edge-8",
        "node/edge-8/default/device/pump",
        "node/edge-8/default/node/edge-7",
        "node/edge-7/null/nodepatch/edge-8",
    ] {
        let error = Resource::from_node(text, "edge-7").unwrap_err();
        let ResourceError::Foreign { resource, owner, sender } = &error else { panic!("{error}") };
        assert_eq!(
            (resource.as_str(), owner.as_str(), sender.as_str()),
            (text, "edge-8", "edge-7")
        );
    }
    for text in [
        "null/node/edge-7",
        "kube-node-lease/lease/edge-7",
        "default/pod/edge-8",
        "device/demo/pump/twin/edge_updated",
        "node",
        "membership/detail",
    ] {
        assert_eq!(Resource::from_node(text, "edge-7"), Ok(resource(text)));
        let prefixed = format!("node/edge-7/{text}");
        if text.contains('/') {
            assert_eq!(Resource::from_node(&prefixed, "edge-7"), Ok(resource(text)));
        }
    }
    assert!(matches!(Resource::from_node("a/b/c/d", "edge-7"), Err(ResourceError::Form(_))));
}

#[test]
fn a_collection_is_not_mistaken_for_what_has_a_form_of_its_own() {
    let collection =
        |namespace, kind: &str| Collection::new(Some(namespace), Kind::new(kind).unwrap());
    assert!(collection("membership", "detail").is_err());
    assert!(collection("k8s", "ca.crt").is_err());
    let pods = collection("default", "podstatus").unwrap();
    assert_eq!(resource("default/podstatus"), Resource::Collection(pods));
}

fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9.-]{1,10}".prop_filter("none", |text| text != "null"),
        prop::sample::select(vec![
            "node",
            "device",
            "membership",
            "detail",
            "twin",
            "k8s",
            "ca.crt",
            "state"
        ])
        .prop_map(str::to_owned),
        "[^/]{1,8}".prop_filter("none", |text| text != "null"),
    ]
}

fn any_resource() -> impl Strategy<Value = Resource> {
    let device = || {
        ("[a-z0-9.-]{1,10}", "[a-z0-9.-]{1,10}")
            .prop_map(|(namespace, name)| DeviceId::new(&namespace, &name).unwrap())
    };
    prop_oneof![
        (prop::option::of(part()), part(), part()).prop_map(|(namespace, kind, name)| {
            Resource::object(namespace.as_deref(), Kind::new(&kind).unwrap(), &name).unwrap()
        }),
        (prop::option::of(part()), part()).prop_filter_map(
            "has its own form",
            |(namespace, kind)| {
                let kind = Kind::new(&kind).unwrap();
                Collection::new(namespace.as_deref(), kind).ok().map(Resource::Collection)
            }
        ),
        device().prop_map(Resource::TwinReport),
        device().prop_map(Resource::StateReport),
        prop::sample::select(vec![
            Resource::Node,
            Resource::Membership,
            Resource::MembershipDetail,
            Resource::Twin,
            Resource::ClusterCa,
            Resource::Hello,
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_resource_reads_back_from_its_text(one in any_resource(), node in part()) {
        prop_assert_eq!(one.to_string().parse::<Resource>(), Ok(one.clone()));
        let prefixed = NodeResource::new(&node, one).unwrap();
        prop_assert_eq!(prefixed.to_string().parse::<NodeResource>(), Ok(prefixed));
    }

    #[test]
    fn any_text_that_is_a_resource_is_written_as_it_was(text in "[a-d/]{0,8}|(node|null|device|twin)(/(node|null|twin|state|update|edge_updated|a)){0,5}") {
        if let Ok(resource) = text.parse::<Resource>() {
            prop_assert_eq!(resource.to_string(), text.clone());
        }
        if let Ok(resource) = text.parse::<NodeResource>() {
            prop_assert_eq!(resource.to_string(), text);
        }
    }
}
