//! Topic names, by position: no level can be mistaken for another.

use device_model::DeviceId;

/// Levels above a device's.
const DEVICE: &str = "$hw/events/device";
const NODE: &str = "$hw/events/node";

/// What a topic asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic<'a> {
    /// `…/twin/update`
    TwinUpdate(Address<'a>),
    /// `…/twin/get`
    TwinGet(Address<'a>),
    /// `…/twin/cloud_updated`, which only the cloud may say.
    CloudUpdated(Address<'a>),
    /// `…/state/update`
    StateUpdate(Address<'a>),
    /// `$hw/events/node/<any>/membership/get`
    MembershipGet,
    /// What only an agent says.
    Answer,
    /// A way to the cloud.
    Upload,
}

/// A device as a topic names it; perhaps none that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Address<'_> {
    /// As an identity, if it can be one.
    pub(crate) fn id(&self) -> Option<DeviceId> {
        DeviceId::new(self.namespace, self.name).ok()
    }
}

/// Takes a topic name apart; `None` if it asks nothing of us.
pub(crate) fn parse(topic: &str) -> Option<Topic<'_>> {
    let Some(below) = topic.strip_prefix("$hw/events/") else {
        return upload(topic).then_some(Topic::Upload);
    };
    if below.starts_with("upload/") {
        return Some(Topic::Upload);
    }
    request(below).or_else(|| answer(below).then_some(Topic::Answer))
}

/// KubeEdge sends these to the cloud: `SYS/dis/upload_records` and `+/user/#`.
fn upload(topic: &str) -> bool {
    topic == "SYS/dis/upload_records"
        || !topic.starts_with('$') && topic.split('/').nth(1) == Some("user")
}

/// Whether it ends as answers do, for whichever device or node: also for the empty name that KubeEdge answers on.
fn answer(below: &str) -> bool {
    let of_agent = below.starts_with("device/") || below.starts_with("node/");
    let last = below.rsplit('/').next();
    of_agent && matches!(last, Some("result" | "document" | "delta" | "updated" | "detail"))
}

fn request(below: &str) -> Option<Topic<'_>> {
    let mut levels = below.split('/');
    match levels.next()? {
        "device" => {
            let address = Address { namespace: levels.next()?, name: levels.next()? };
            let (part, verb) = (levels.next()?, levels.next()?);
            match (part, verb, levels.next()) {
                ("twin", "update", None) => Some(Topic::TwinUpdate(address)),
                ("twin", "get", None) => Some(Topic::TwinGet(address)),
                ("twin", "cloud_updated", None) => Some(Topic::CloudUpdated(address)),
                ("state", "update", None) => Some(Topic::StateUpdate(address)),
                _ => None,
            }
        }
        "node" => {
            let _any = levels.next()?;
            match (levels.next()?, levels.next()?, levels.next()) {
                ("membership", "get", None) => Some(Topic::MembershipGet),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The topic of `device` that ends with `leaf`.
pub(crate) fn of(device: &DeviceId, leaf: &str) -> String {
    format!("{DEVICE}/{device}/{leaf}")
}

/// The topic of this node that ends with `leaf`.
pub(crate) fn of_node(node: &str, leaf: &str) -> String {
    format!("{NODE}/{node}/{leaf}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn namespaces_that_confuse_kubeedge_are_fine() {
        for namespace in ["dev", "events", "hw", "e", "twin"] {
            let topic = format!("$hw/events/device/{namespace}/pump/twin/update");
            let Some(Topic::TwinUpdate(address)) = parse(&topic) else { panic!("{topic}") };
            assert_eq!((address.namespace, address.name), (namespace, "pump"));
        }
    }

    #[test]
    fn only_whole_topics_count() {
        for topic in [
            "$hw/events/device/pump/twin/update",
            "$hw/events/device/demo/pump/state/get",
            "hw/events/device/demo/pump/twin/get",
            "$hw/events/device/demo/pump/twin/update/more",
            "user/abc",
            "$hw/user/abc",
        ] {
            assert_eq!(parse(topic), None, "{topic}");
        }
        assert_eq!(parse("$hw/events/node//membership/get"), Some(Topic::MembershipGet));
    }

    #[test]
    fn what_only_an_agent_says_is_known_for_any_device_and_none() {
        for topic in [
            "$hw/events/device/demo/pump/twin/update/result",
            "$hw/events/device/demo/pump/twin/update/document",
            "$hw/events/device/demo/pump/twin/update/delta",
            "$hw/events/device/demo/pump/twin/get/result",
            "$hw/events/device/demo/pump/state/update/result",
            "$hw/events/device/demo/pump/updated",
            "$hw/events/device//twin/update/result",
            "$hw/events/node/n/membership/get/result",
            "$hw/events/node/n/membership/updated",
        ] {
            assert_eq!(parse(topic), Some(Topic::Answer), "{topic}");
        }
        for topic in ["$hw/events/upload/x/result", "SYS/dis/upload_records", "default/user/a/b"] {
            assert_eq!(parse(topic), Some(Topic::Upload), "{topic}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(topic in ".*") {
            let _ = parse(&topic);
        }

        #[test]
        fn no_path_panics(levels in prop::collection::vec("(\\$hw|events|device|node|twin|update|get|state|membership|x|)", 0..9)) {
            let topic = levels.join("/");
            if let Some(Topic::TwinUpdate(Address { namespace, name })) = parse(&topic) {
                prop_assert_eq!(format!("{DEVICE}/{namespace}/{name}/twin/update"), topic);
            }
        }
    }
}
