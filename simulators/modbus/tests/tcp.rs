//! Modbus TCP over a raw socket: the specification's own examples, byte for byte, and what must be refused.

mod client;

use client::{Client, exactly, simulate};
use sim_modbus::{Handle, Table};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const UNITS: &str = "
units:
  1:
    coils: {0-99: false}
    discrete: {196-217: [0,0,1,1,0,1,0,1, 1,1,0,1,1,0,1,1, 1,0,1,0,1,1]}
    holding: {0-9: 0, 107: [555, 0, 100]}
    input: {8: 10}
  2:
    holding: {0-124: 7}
";

/// FC 1: MODBUS Application Protocol 1.1b3, section 6.1.
#[tokio::test]
async fn coils_are_read_as_the_specification_shows() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    let bits = [1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1];
    simulation.handle().write(1, Table::Coils, 19, &bits).unwrap();
    let answer = client.ask(1, &[0x01, 0x00, 0x13, 0x00, 0x13]).await;
    assert_eq!(answer, [0x01, 0x03, 0xCD, 0x6B, 0x05]);
}

/// FC 2: section 6.2.
#[tokio::test]
async fn discrete_inputs_are_read_as_the_specification_shows() {
    let (_simulation, _, mut client) = simulate(UNITS).await;
    let answer = client.ask(1, &[0x02, 0x00, 0xC4, 0x00, 0x16]).await;
    assert_eq!(answer, [0x02, 0x03, 0xAC, 0xDB, 0x35]);
}

/// FC 3 and 4: sections 6.3 and 6.4.
#[tokio::test]
async fn registers_are_read_as_the_specification_shows() {
    let (_simulation, _, mut client) = simulate(UNITS).await;
    let answer = client.ask(1, &[0x03, 0x00, 0x6B, 0x00, 0x03]).await;
    assert_eq!(answer, [0x03, 0x06, 0x02, 0x2B, 0x00, 0x00, 0x00, 0x64]);
    let answer = client.ask(1, &[0x04, 0x00, 0x08, 0x00, 0x01]).await;
    assert_eq!(answer, [0x04, 0x02, 0x00, 0x0A]);
}

/// FC 5, 6, 15 and 16: sections 6.5, 6.6, 6.11 and 6.12.
#[tokio::test]
async fn writes_are_echoed_and_stand() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    let handle = simulation.handle();

    let answer = client.ask(1, &[0x05, 0x00, 0x0A, 0xFF, 0x00]).await;
    assert_eq!(answer, [0x05, 0x00, 0x0A, 0xFF, 0x00]);
    assert!(handle.coil(1, 10).unwrap());

    let answer = client.ask(1, &[0x06, 0x00, 0x01, 0x00, 0x03]).await;
    assert_eq!(answer, [0x06, 0x00, 0x01, 0x00, 0x03]);
    assert_eq!(handle.holding(1, 1).unwrap(), 3);

    let answer = client.ask(1, &[0x0F, 0x00, 0x13, 0x00, 0x0A, 0x02, 0xCD, 0x01]).await;
    assert_eq!(answer, [0x0F, 0x00, 0x13, 0x00, 0x0A]);
    let bits = handle.read(1, Table::Coils, 19, 11).unwrap();
    assert_eq!(bits, [1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0]);

    let pdu = [0x10, 0x00, 0x01, 0x00, 0x02, 0x04, 0x00, 0x0A, 0x01, 0x02];
    assert_eq!(client.ask(1, &pdu).await, [0x10, 0x00, 0x01, 0x00, 0x02]);
    assert_eq!(handle.read(1, Table::Holding, 0, 4).unwrap(), [0, 10, 258, 0]);

    let writes = simulation.stop().await.writes;
    let log: Vec<_> =
        writes.iter().map(|write| (write.table, write.address, write.values.as_slice())).collect();
    assert_eq!(
        log,
        [
            (Table::Coils, 10, [1].as_slice()),
            (Table::Holding, 1, &[3]),
            (Table::Coils, 19, &[1, 0, 1, 1, 0, 0, 1, 1, 1, 0]),
            (Table::Holding, 1, &[10, 258]),
        ]
    );
}

/// FC 22 and 23: sections 6.16 and 6.17.
#[tokio::test]
async fn mask_write_and_write_then_read_work_as_the_specification_shows() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    let handle = simulation.handle();
    handle.write(1, Table::Holding, 4, &[0x12]).unwrap();
    let pdu = [0x16, 0x00, 0x04, 0x00, 0xF2, 0x00, 0x25];
    assert_eq!(client.ask(1, &pdu).await, pdu);
    assert_eq!(handle.holding(1, 4).unwrap(), 0x17);

    let pdu = [0x17, 0x00, 0x03, 0x00, 0x03, 0x00, 0x05, 0x00, 0x01, 0x02, 0x00, 0xFF];
    let answer = client.ask(1, &pdu).await;
    assert_eq!(answer, [0x17, 0x06, 0x00, 0x00, 0x00, 0x17, 0x00, 0xFF]);
}

#[tokio::test]
async fn requests_that_a_unit_cannot_do_meet_the_right_exception() {
    let (_simulation, _, mut client) = simulate(UNITS).await;
    for (unit, request, refusal) in [
        // A function that is not offered.
        (1, [0x2B, 0x0E, 0x01, 0x00, 0x00].as_slice(), [0xAB, 0x01]),
        // Addresses that do not exist, one of them behind the end of the table.
        (1, &[0x03, 0x00, 0x09, 0x00, 0x02], [0x83, 0x02]),
        (1, &[0x06, 0x01, 0x00, 0x00, 0x02], [0x86, 0x02]),
        (2, &[0x03, 0xFF, 0xFF, 0x00, 0x02], [0x83, 0x02]),
        // Quantities of 0 and beyond the limits.
        (2, &[0x03, 0x00, 0x00, 0x00, 0x00], [0x83, 0x03]),
        (2, &[0x03, 0x00, 0x00, 0x00, 0x7E], [0x83, 0x03]),
        (1, &[0x01, 0x00, 0x00, 0x07, 0xD1], [0x81, 0x03]),
        // A coil that is neither on nor off, a byte count that does not fit, a body cut short.
        (1, &[0x05, 0x00, 0x00, 0x12, 0x34], [0x85, 0x03]),
        (1, &[0x10, 0x00, 0x00, 0x00, 0x02, 0x02, 0x00, 0x01], [0x90, 0x03]),
        (1, &[0x03, 0x00], [0x83, 0x03]),
        // A unit that is not behind this gateway.
        (9, &[0x03, 0x00, 0x00, 0x00, 0x01], [0x83, 0x0B]),
    ] {
        assert_eq!(client.ask(unit, request).await, refusal, "{request:02X?} for unit {unit}");
    }
    assert_eq!(client.ask(2, &[0x03, 0, 0, 0, 125]).await.len(), 252, "the most that one may ask");
}

#[tokio::test]
async fn a_refused_write_changes_nothing() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    let pdu = [0x10, 0x00, 0x09, 0x00, 0x02, 0x04, 0x00, 0x0A, 0x01, 0x02];
    assert_eq!(client.ask(1, &pdu).await, [0x90, 0x02]);
    assert_eq!(simulation.handle().holding(1, 9).unwrap(), 0);
    assert_eq!(simulation.stop().await.write_requests, 0);
}

#[tokio::test]
async fn pipelined_and_split_requests_are_answered_in_order() {
    let (_simulation, _, mut client) = simulate(UNITS).await;
    let mut frames = Vec::new();
    for transaction in 1..=20u8 {
        frames.extend([0, transaction, 0, 0, 0, 6, 2, 3, 0, transaction, 0, 1]);
    }
    let (first, second) = frames.split_at(101);
    client.stream.write_all(first).await.unwrap();
    let head = exactly(&mut client.stream, 8 * 11).await;
    client.stream.write_all(second).await.unwrap();
    let tail = exactly(&mut client.stream, 12 * 11).await;
    for (transaction, answer) in (1..).zip(head.chunks(11).chain(tail.chunks(11))) {
        assert_eq!(answer, [0, transaction, 0, 0, 0, 5, 2, 3, 2, 0, 7]);
    }
}

#[tokio::test]
async fn what_is_not_modbus_ends_the_connection_and_nothing_else() {
    let (simulation, address, mut client) = simulate(UNITS).await;
    let mut other = Client::connect(address).await;
    client.stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    // What was not read yet makes the close a reset.
    let _ = client.stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{rest:02X?}");
    assert_eq!(other.ask(2, &[3, 0, 0, 0, 1]).await, [3, 2, 0, 7]);
    let counters = simulation.handle().until(|counters| counters.connections.current == 1).await;
    assert_eq!((counters.bad_frames, counters.connections.accepted), (1, 2));
}

#[tokio::test]
async fn requests_are_counted_by_unit_and_function() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    let handle: Handle = simulation.handle();
    for _ in 0..3 {
        client.ask(2, &[3, 0, 0, 0, 100]).await;
    }
    client.ask(1, &[1, 0, 0, 0, 8]).await;
    client.ask(1, &[6, 1, 0, 0, 8]).await;
    client.ask(7, &[3, 0, 0, 0, 1]).await;
    let counters = handle.until(|counters| counters.requests == 6).await;
    assert_eq!(counters.unit(2).functions, [(3, 3)].into());
    assert_eq!(counters.unit(2).addresses, 300);
    assert_eq!(counters.unit(1).functions, [(1, 1), (6, 1)].into());
    assert_eq!((counters.unit(1).exceptions, counters.exceptions), (1, 1));
    assert_eq!((counters.strangers, counters.answers), (1, 6));
}

#[tokio::test]
async fn the_one_unit_of_a_device_also_answers_as_the_device_itself() {
    let (_simulation, _, mut client) = simulate("units: {5: {holding: {0: 9}}}").await;
    for unit in [0, 255, 5] {
        assert_eq!(client.ask(unit, &[3, 0, 0, 0, 1]).await, [3, 2, 0, 9]);
    }
    assert_eq!(client.ask(1, &[3, 0, 0, 0, 1]).await, [0x83, 0x0B]);
}

#[tokio::test]
async fn stop_ends_open_connections() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    client.ask(2, &[3, 0, 0, 0, 1]).await;
    let counters = simulation.stop().await;
    assert_eq!((counters.connections.current, counters.connections.max), (0, 1));
    assert_eq!(client.stream.read(&mut [0; 8]).await.unwrap(), 0);
}
