//! RTU on a pseudo-terminal and over TCP: frames, silence, noise, pace.

#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

mod client;

use std::time::Duration;

use client::{exactly, rtu};
use sim_modbus::{Blueprint, Fault, Handle, LineOptions, Simulation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_serial::{SerialPortBuilderExt, SerialStream};

const UNITS: &str = "units: {1: {holding: {0-124: 7}, coils: {0: false}}, 2: {holding: {0-9: 8}}}";
const READ: [u8; 5] = [3, 0, 0, 0, 1];

/// A simulation on a pseudo-terminal, which is opened as a mapper opens it.
fn line(options: LineOptions) -> (Simulation, Handle, SerialStream) {
    let mut simulation = Simulation::new(Blueprint::parse(UNITS).unwrap());
    let path = simulation.serve_pty(options).unwrap();
    let port = tokio_serial::new(path.to_str().unwrap(), 9600).open_native_async().unwrap();
    let handle = simulation.handle();
    (simulation, handle, port)
}

#[tokio::test]
async fn a_request_on_a_pseudo_terminal_is_answered_with_a_crc() {
    let (_simulation, _, mut port) = line(LineOptions::default());
    // CRC from the serial line guide's example: unit 2, function 7 has 41 12.
    assert_eq!(rtu(2, &[7]), [0x02, 0x07, 0x41, 0x12]);
    port.write_all(&rtu(1, &READ)).await.unwrap();
    assert_eq!(exactly(&mut port, 7).await, rtu(1, &[3, 2, 0, 7]));
    port.write_all(&rtu(2, &[16, 0, 0, 0, 2, 4, 0, 1, 0, 2])).await.unwrap();
    assert_eq!(exactly(&mut port, 8).await, rtu(2, &[16, 0, 0, 0, 2]));
}

#[tokio::test]
async fn a_function_of_unknown_length_is_refused_after_silence() {
    let (_simulation, _, mut port) = line(LineOptions::default());
    port.write_all(&rtu(2, &[7])).await.unwrap();
    assert_eq!(exactly(&mut port, 5).await, rtu(2, &[0x87, 1]));
}

#[tokio::test]
async fn units_that_are_not_there_are_silent_and_broadcasts_reach_all() {
    let (_simulation, handle, mut port) = line(LineOptions::default());
    port.write_all(&rtu(9, &READ)).await.unwrap();
    handle.until(|counters| counters.strangers == 1).await;
    port.write_all(&rtu(0, &[6, 0, 5, 0, 42])).await.unwrap();
    handle.until(|counters| counters.write_requests == 2).await;
    assert_eq!((handle.holding(1, 5).unwrap(), handle.holding(2, 5).unwrap()), (42, 42));
    port.write_all(&rtu(2, &READ)).await.unwrap();
    assert_eq!(exactly(&mut port, 7).await, rtu(2, &[3, 2, 0, 8]), "the first answer of all");
}

#[tokio::test]
async fn noise_and_cut_requests_are_dropped_at_the_next_silence() {
    let (_simulation, handle, mut port) = line(LineOptions::default());
    let good = rtu(1, &READ);
    let mut wrong = good.clone();
    wrong[7] ^= 1;
    for (bad, count) in [(&b"\x01\xFFnoise"[..], 1), (&good[..5], 2), (&wrong, 3)] {
        port.write_all(bad).await.unwrap();
        let counters = handle.until(|counters| counters.bad_frames == count).await;
        assert_eq!(counters.requests, 0);
    }
    port.write_all(&good).await.unwrap();
    assert_eq!(exactly(&mut port, 7).await, rtu(1, &[3, 2, 0, 7]));
}

#[tokio::test]
async fn faults_damage_frames_on_a_line() {
    let (_simulation, handle, mut port) = line(LineOptions::default());
    let right = rtu(1, &[3, 2, 0, 7]);

    let wrong_crc = handle.inject("wrong-crc".parse().unwrap());
    port.write_all(&rtu(1, &READ)).await.unwrap();
    let answer = exactly(&mut port, 7).await;
    assert_eq!(answer[..5], right[..5]);
    assert_ne!(answer[5..], right[5..]);
    handle.clear(wrong_crc);

    let truncate = handle.inject("truncate".parse().unwrap());
    port.write_all(&rtu(1, &READ)).await.unwrap();
    assert_eq!(exactly(&mut port, 3).await, right[..3]);
    handle.clear(truncate);

    // A reset loses the answer, and the line goes on.
    handle.inject("reset:count=1".parse().unwrap());
    port.write_all(&rtu(1, &[6, 0, 0, 0, 9])).await.unwrap();
    handle.until(|counters| counters.write_requests == 1).await;
    port.write_all(&rtu(1, &READ)).await.unwrap();
    assert_eq!(exactly(&mut port, 7).await, rtu(1, &[3, 2, 0, 9]));
}

#[tokio::test]
async fn faults_put_other_bytes_around_frames_on_a_line() {
    let (_simulation, handle, mut port) = line(LineOptions::default());
    let right = rtu(1, &[3, 2, 0, 7]);
    for (text, length, expected) in [
        ("wrong-transaction:count=1", 7, rtu(0, &[3, 2, 0, 7])),
        ("echo:count=1", 15, [rtu(1, &READ), right.clone()].concat()),
        ("garbage:count=1", 12, [&[0x00, 0xFF, 0x55, 0xAA, 0x0F], &right[..]].concat()),
    ] {
        handle.inject(text.parse().unwrap());
        port.write_all(&rtu(1, &READ)).await.unwrap();
        assert_eq!(exactly(&mut port, length).await, expected, "{text}");
    }
    handle.inject("garbage:ms=100,count=1".parse().unwrap());
    let asked = Instant::now();
    port.write_all(&rtu(1, &READ)).await.unwrap();
    assert_eq!(exactly(&mut port, 5).await, [0x00, 0xFF, 0x55, 0xAA, 0x0F], "at once");
    assert_eq!(exactly(&mut port, 7).await, right, "and the answer later");
    assert!(asked.elapsed() >= Duration::from_millis(100));
    handle.inject("merge:ms=60000,count=1".parse().unwrap());
    port.write_all(&rtu(1, &READ)).await.unwrap();
    handle.until(|counters| counters.requests == 5).await;
    port.write_all(&rtu(2, &READ)).await.unwrap();
    assert_eq!(exactly(&mut port, 14).await, [right, rtu(2, &[3, 2, 0, 8])].concat());
}

#[tokio::test]
async fn a_reboot_keeps_the_whole_line_silent_and_resets_its_units() {
    let (_simulation, handle, mut port) = line(LineOptions::default());
    port.write_all(&rtu(2, &[6, 0, 0, 0, 9])).await.unwrap();
    assert_eq!(exactly(&mut port, 8).await, rtu(2, &[6, 0, 0, 0, 9]));
    handle.inject("reboot:unit=1,ms=100".parse().unwrap());
    let asked = Instant::now();
    port.write_all(&rtu(1, &READ)).await.unwrap();
    handle.until(|counters| counters.faults == 1).await;
    let answer = loop {
        port.write_all(&rtu(2, &READ)).await.unwrap();
        let answer = exactly(&mut port, 7);
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(20), answer).await {
            break answer;
        }
    };
    assert_eq!(answer, rtu(2, &[3, 2, 0, 8]), "as at the start");
    assert!(asked.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn a_late_answer_stands_where_the_next_one_is_expected() {
    let (_simulation, handle, mut port) = line(LineOptions::default());
    handle.inject("late:unit=1,ms=60,count=1".parse::<Fault>().unwrap());
    port.write_all(&rtu(1, &READ)).await.unwrap();
    handle.until(|counters| counters.requests == 1).await;
    port.write_all(&rtu(2, &READ)).await.unwrap();
    assert_eq!(exactly(&mut port, 7).await, rtu(2, &[3, 2, 0, 8]));
    assert_eq!(exactly(&mut port, 7).await, rtu(1, &[3, 2, 0, 7]));
}

#[tokio::test]
async fn a_paced_line_takes_eleven_bits_a_character() {
    let (_simulation, handle, mut port) = line(LineOptions::paced(9600));
    let asked = Instant::now();
    port.write_all(&rtu(1, &[3, 0, 0, 0, 50])).await.unwrap();
    exactly(&mut port, 1).await;
    let first = asked.elapsed();
    exactly(&mut port, 104).await;
    let whole = asked.elapsed();
    let characters = |count: f64| Duration::from_secs_f64(count * 11.0 / 9600.0);
    // Eight characters of request, 3.5 of silence; then 105 characters of answer.
    assert!(first >= characters(8.0 + 3.5 + 1.0), "{first:?}");
    assert!(whole >= characters(8.0 + 3.5 + 105.0), "{whole:?}");
    let counters = handle.counters();
    assert_eq!((counters.overlapping_frames, counters.smallest_gap), (0, None));
}

#[tokio::test]
async fn the_gap_before_a_request_is_measured() {
    let (_simulation, handle, mut port) = line(LineOptions::paced(115_200));
    port.write_all(&rtu(1, &READ)).await.unwrap();
    exactly(&mut port, 7).await;
    let quiet = tokio::time::timeout(Duration::from_millis(5), port.read(&mut [0])).await;
    assert!(quiet.is_err(), "nobody speaks unasked");
    port.write_all(&rtu(1, &READ)).await.unwrap();
    exactly(&mut port, 7).await;
    let gap = handle.counters().smallest_gap.unwrap();
    assert!(gap >= Duration::from_millis(5), "{gap:?}");

    // A busy machine may make a gap of any length, but not each time.
    let shorter = async {
        while handle.counters().smallest_gap.unwrap() >= gap {
            port.write_all(&rtu(1, &READ)).await.unwrap();
            exactly(&mut port, 7).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), shorter).await.expect("a shorter gap");
    assert_eq!(handle.counters().overlapping_frames, 0);
}

#[tokio::test]
async fn a_request_into_an_answer_overlaps() {
    let (_simulation, handle, mut port) = line(LineOptions::paced(9600));
    port.write_all(&rtu(1, &[3, 0, 0, 0, 50])).await.unwrap();
    exactly(&mut port, 10).await;
    port.write_all(&rtu(2, &READ)).await.unwrap();
    exactly(&mut port, 95).await;
    let counters = handle.until(|counters| counters.overlapping_frames > 0).await;
    assert_eq!(counters.overlapping_frames, 1);
}

#[tokio::test]
async fn two_requests_at_once_overlap() {
    let (_simulation, handle, mut port) = line(LineOptions::default());
    port.write_all(&[rtu(1, &READ), rtu(2, &READ)].concat()).await.unwrap();
    exactly(&mut port, 14).await;
    assert_eq!(handle.counters().overlapping_frames, 1);
}

#[tokio::test]
async fn rtu_frames_travel_over_tcp_too() {
    let mut simulation = Simulation::new(Blueprint::parse(UNITS).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = simulation.serve_rtu_over_tcp(listener).unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&rtu(2, &READ)).await.unwrap();
    assert_eq!(exactly(&mut stream, 7).await, rtu(2, &[3, 2, 0, 8]));

    simulation.handle().inject("reset".parse().unwrap());
    stream.write_all(&rtu(2, &READ)).await.unwrap();
    assert!(stream.read(&mut [0]).await.is_err(), "reset");
    let counters = simulation.handle().until(|counters| counters.connections.current == 0).await;
    assert_eq!((counters.requests, counters.connections.accepted), (2, 1));
}
