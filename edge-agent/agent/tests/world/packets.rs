//! MQTT packets octet by octet, as sections 2 and 3 of the specifications have them, and what bad clients make of them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What a client writes on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    pub(crate) octets: Vec<u8>,
    /// Whether it reads to the end, or goes at once.
    pub(crate) stays: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    V3 = 4,
    V5 = 5,
}

/// One thing that is wrong with a packet.
#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Cut(Index),
    Repeat(Index, usize),
    Insert(Index, Vec<u8>),
    /// The octets that say how long the rest is.
    Length(Vec<u8>),
    Random(Vec<u8>),
}

/// Connections of which most begin as they should.
pub(crate) fn talk() -> impl Strategy<Value = Talk> {
    let version = prop_oneof![Just(Version::V3), Just(Version::V5)];
    version.prop_flat_map(|version| {
        let greeting = prop_oneof![4 => connect(version), 1 => damaged(connect(version))];
        (greeting, vec(damaged(packet(version)), 0..6), any::<bool>()).prop_map(
            |(greeting, packets, stays)| {
                let octets = [&[greeting][..], &packets].concat().concat();
                Talk { octets, stays }
            },
        )
    })
}

fn damaged(packet: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let some = || vec(any::<u8>(), 1..40);
    let damage = prop_oneof![
        4 => (any::<Index>(), 1_u8..).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        2 => any::<Index>().prop_map(Damage::Cut),
        1 => (any::<Index>(), 1_usize..200).prop_map(|(from, times)| Damage::Repeat(from, times)),
        1 => (any::<Index>(), some()).prop_map(|(at, octets)| Damage::Insert(at, octets)),
        2 => vec(any::<u8>(), 1..6).prop_map(Damage::Length),
        1 => some().prop_map(Damage::Random),
    ];
    (packet, vec(damage, 0..3)).prop_map(|(packet, damages)| damages.iter().fold(packet, harm))
}

fn harm(mut packet: Vec<u8>, damage: &Damage) -> Vec<u8> {
    let length = packet.len();
    if length == 0 {
        return packet;
    }
    match damage {
        Damage::Flip(at, bits) => packet[at.index(length)] ^= bits,
        Damage::Cut(at) => packet.truncate(at.index(length)),
        Damage::Repeat(from, times) => {
            let tail = packet[from.index(length)..].repeat(*times);
            packet.extend(tail);
        }
        Damage::Insert(at, octets) => {
            let at = at.index(length);
            packet.splice(at..at, octets.iter().copied());
        }
        Damage::Length(octets) => {
            let old = packet[1..].iter().take_while(|octet| **octet > 127).count() + 2;
            let end = old.min(packet.len());
            packet.splice(1..end, octets.iter().copied());
        }
        Damage::Random(octets) => packet.clone_from(octets),
    }
    packet
}

/// Any packet of a client but the first one.
fn packet(version: Version) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => subscribe(version),
        6 => publish(version),
        3 => unsubscribe(version),
        1 => connect(version),
        // PUBACK, PUBREC, PUBREL and PUBCOMP of something, PINGREQ, DISCONNECT and AUTH.
        2 => select(&[[0x40, 2, 0, 1], [0x50, 2, 0, 1], [0x62, 2, 0, 1], [0x70, 2, 0, 1]][..])
            .prop_map(Vec::from),
        1 => select(&[[0xC0, 0], [0xE0, 0], [0xF0, 0]][..]).prop_map(Vec::from),
    ]
}

fn connect(version: Version) -> impl Strategy<Value = Vec<u8>> {
    let will = proptest::option::of((topic(), payload(), 0_u8..3, any::<bool>()));
    // Session expiry, receive maximum, topic alias maximum.
    let some = vec![0x11, 0, 0, 0, 9, 0x21, 0, 5, 0x22, 0, 5];
    let properties = prop_oneof![Just(Vec::new()), Just(some)];
    (select(&["m0", "m1", "m2", "m3", ""][..]), any::<bool>(), properties, will).prop_map(
        move |(id, clean, properties, will)| {
            let clean = if clean || id.is_empty() { 2 } else { 0 };
            let flags = will
                .as_ref()
                .map_or(0, |(_, _, qos, retain)| 4 | qos << 3 | u8::from(*retain) << 5);
            let mut body = text("MQTT");
            body.extend([version as u8, clean | flags, 0, 60]);
            body.extend(with(version, &properties));
            body.extend(text(id));
            if let Some((topic, payload, ..)) = will {
                body.extend(with(version, &[]));
                body.extend(text(topic));
                body.extend(text(payload));
            }
            frame(0x10, &body)
        },
    )
}

fn subscribe(version: Version) -> impl Strategy<Value = Vec<u8>> {
    let identifier = prop_oneof![Just(Vec::new()), Just(vec![0x0B, 7])];
    (any::<u16>(), identifier, vec((filter(), 0_u8..3), 1..4)).prop_map(
        move |(number, identifier, filters)| {
            let mut body = number.to_be_bytes().to_vec();
            body.extend(with(version, &identifier));
            for (filter, qos) in filters {
                body.extend(text(filter));
                body.push(qos);
            }
            frame(0x82, &body)
        },
    )
}

fn unsubscribe(version: Version) -> impl Strategy<Value = Vec<u8>> {
    (any::<u16>(), vec(filter(), 1..4)).prop_map(move |(number, filters)| {
        let mut body = number.to_be_bytes().to_vec();
        body.extend(with(version, &[]));
        filters.into_iter().for_each(|filter| body.extend(text(filter)));
        frame(0xA2, &body)
    })
}

fn publish(version: Version) -> impl Strategy<Value = Vec<u8>> {
    // Payload format and expiry; a topic alias; a user property.
    let some = [vec![], vec![1, 1, 2, 0, 0, 0, 9], vec![0x23, 0, 1], vec![0x26, 0, 1, b'a', 0, 0]];
    (topic(), any::<u16>(), 0_u8..3, any::<[bool; 2]>(), select(Vec::from(some)), payload())
        .prop_map(move |(topic, number, qos, [retain, again], properties, payload)| {
            let mut body = text(topic);
            if qos > 0 {
                body.extend(number.to_be_bytes());
            }
            body.extend(with(version, &properties));
            body.extend(payload.as_bytes());
            frame(0x30 | u8::from(again) << 3 | qos << 1 | u8::from(retain), &body)
        })
}

fn topic() -> impl Strategy<Value = &'static str> {
    const TOPICS: [&str; 6] = [
        "a",
        "a/b",
        "$hw/events/device/demo/d1/twin/update",
        "$hw/events/node/x/membership/get",
        "$SYS/a",
        "",
    ];
    select(&TOPICS[..])
}

fn filter() -> impl Strategy<Value = &'static str> {
    select(&["a", "a/+", "#", "$hw/events/#", "$share/g/a", "a/#/b", ""][..])
}

fn payload() -> impl Strategy<Value = &'static str> {
    select(&["", "{}", r#"{"event_id":"m","twin":{"note":{"actual":{"value":"x"}}}}"#][..])
}

/// A text after its length.
fn text(text: &str) -> Vec<u8> {
    let mut octets = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    octets.extend(text.as_bytes());
    octets
}

/// Properties after their length; 3.1.1 has none. They are less than 128 octets here.
fn with(version: Version, properties: &[u8]) -> Vec<u8> {
    match version {
        Version::V3 => Vec::new(),
        Version::V5 => [&[u8::try_from(properties.len()).unwrap()][..], properties].concat(),
    }
}

fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut octets = vec![first];
    let mut rest = body.len();
    while rest > 127 {
        octets.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    octets.push(u8::try_from(rest).unwrap());
    octets.extend(body);
    octets
}
