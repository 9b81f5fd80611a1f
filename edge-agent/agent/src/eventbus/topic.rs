//! Topic names, by position: no level can be mistaken for another.

use device_model::DeviceId;

/// Levels above a device's.
const DEVICE: &str = "$hw/events/device";
const NODE: &str = "$hw/events/node";

/// What a topic asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// The topic of this device that ends with `leaf`.
    pub(crate) fn topic(&self, leaf: &str) -> String {
        format!("{DEVICE}/{}/{}/{leaf}", self.namespace, self.name)
    }
}

/// Takes a topic name apart; `None` if it asks nothing of us.
pub(crate) fn parse(topic: &str) -> Option<Topic<'_>> {
    let mut levels = topic.split('/');
    let (hw, events, kind) = (levels.next()?, levels.next()?, levels.next()?);
    if (hw, events) != ("$hw", "events") {
        return None;
    }
    match kind {
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
            assert_eq!(address.topic("twin/update"), topic);
        }
    }

    #[test]
    fn only_whole_topics_count() {
        for topic in [
            "$hw/events/device/pump/twin/update",
            "$hw/events/device/demo/pump/twin/update/result",
            "$hw/events/device/demo/pump/twin/updated",
            "$hw/events/device/demo/pump/state/get",
            "hw/events/device/demo/pump/twin/get",
            "$hw/events/node/n/membership/get/result",
        ] {
            assert_eq!(parse(topic), None, "{topic}");
        }
        assert_eq!(parse("$hw/events/node//membership/get"), Some(Topic::MembershipGet));
    }

    proptest! {
        #[test]
        fn no_text_panics(topic in ".*") {
            let _ = parse(&topic);
        }

        #[test]
        fn no_path_panics(levels in prop::collection::vec("(\\$hw|events|device|node|twin|update|get|state|membership|x|)", 0..9)) {
            let topic = levels.join("/");
            if let Some(Topic::TwinUpdate(address)) = parse(&topic) {
                prop_assert_eq!(address.topic("twin/update"), topic);
            }
        }
    }
}
