//! Any octets as a message of a peer: they end in a message or in an error that says what and where, never in a panic; and
//! what was read reads the same when it is written again, all the way to what an end would do with it.
#![no_main]

use edge_link::content::{
    self, Confirmation, DetailRequest, Hello, Membership, MembershipDetail, StateReport, TwinReport,
    Welcome,
};
use edge_link::down::{Delivery, Receiver};
use edge_link::frame::{self, FrameError};
use edge_link::{Message, NodeResource, Resource};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 4096;

fn named(error: &FrameError) {
    match error {
        FrameError::TooLarge { octets, limit } => assert!(octets > limit),
        FrameError::NotJson { line, reason, .. } => assert!(*line > 0 && !reason.is_empty()),
        FrameError::Shape { field, wanted, .. } => assert!(!field.is_empty() && !wanted.is_empty()),
    }
    assert!(error.to_string().len() < 1000);
}

fn resource(message: &Message) {
    if let Ok(resource) = message.resource() {
        assert_eq!(Some(resource.to_string()), message.route.resource);
        assert_eq!(resource.to_string().parse::<Resource>(), Ok(resource));
    }
    let text = message.route.resource.as_deref().unwrap_or_default();
    if let Ok(resource) = text.parse::<NodeResource>() {
        assert_eq!(resource.to_string(), text);
    }
    if let Ok(own) = Resource::from_node(text, "edge-7") {
        assert!(own.node().is_none_or(|node| node == "edge-7"));
    }
}

/// Reads `$of`; what is read reads the same from JSON and from text.
macro_rules! reads {
    ($of:expr, $($kind:ty),*) => {$(
        if let Ok(content) = content::read::<$kind>($of) {
            assert_eq!(content::read::<$kind>(&content::json(&content)).as_ref(), Ok(&content));
            assert_eq!(content::read::<$kind>(&content::text(&content)).as_ref(), Ok(&content));
        }
    )*};
}

fn deliver(message: &Message) {
    let Ok(delivery) = Delivery::read(message) else { return };
    let mut receiver = Receiver::default();
    receiver.settle(delivery.clone());
    let settled = receiver.clone();
    receiver.settle(delivery);
    assert_eq!(receiver, settled, "the same again changes nothing");
}

fuzz_target!(|octets: &[u8]| {
    let message = match frame::read(octets, LIMIT) {
        Ok(message) => message,
        Err(error) => return named(&error),
    };
    let written = frame::write(&message);
    assert_eq!(frame::read(&written, written.len()).as_ref(), Ok(&message));
    resource(&message);
    let content = &message.content;
    reads!(content, TwinReport, StateReport, Membership, MembershipDetail, DetailRequest, Hello, Welcome);
    if let Ok(confirmation) = Confirmation::read(content) {
        assert_eq!(Confirmation::read(&content::json(&confirmation)), Ok(confirmation));
    }
    let _ = content::answer(&message);
    let _ = message.wants_acknowledgement();
    deliver(&message);
});
