//! Each fault over a raw socket, and how faults are set, narrowed and cleared.

#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

mod client;

use std::io::ErrorKind;
use std::time::Duration;

use client::{Client, PATIENCE, exactly, simulate};
use sim_modbus::Fault;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

const UNITS: &str = "units: {1: {holding: {0-9: 7}}, 2: {holding: {0-9: 8}}, 3: {holding: {0: 9}}}";
const READ: [u8; 5] = [3, 0, 0, 0, 1];
const SEVEN: [u8; 4] = [3, 2, 0, 7];
const EIGHT: [u8; 4] = [3, 2, 0, 8];

fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_silent_unit_does_and_answers_nothing_while_others_do() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    let handle = simulation.handle();
    let silence = handle.inject(fault("silence:unit=1"));
    client.send(1, &[6, 0, 0, 0, 1]).await;
    assert_eq!(client.ask(2, &READ).await, EIGHT, "the first answer is unit 2's");
    assert_eq!(handle.holding(1, 0).unwrap(), 7, "nothing was written");
    handle.clear(silence);
    assert_eq!(client.ask(1, &READ).await, SEVEN);
}

#[tokio::test]
async fn a_delayed_answer_holds_up_the_next() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    simulation.handle().inject(fault("delay:unit=1,ms=100"));
    let asked = Instant::now();
    let slow = client.send(1, &READ).await;
    let fast = client.send(2, &READ).await;
    assert_eq!(client.receive().await, (slow, 1, SEVEN.to_vec()));
    assert!(asked.elapsed() >= Duration::from_millis(100));
    assert_eq!(client.receive().await, (fast, 2, EIGHT.to_vec()));
}

#[tokio::test]
async fn a_late_answer_comes_after_younger_ones_with_its_own_transaction() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    simulation.handle().inject(fault("late:unit=1,ms=100,count=1"));
    let asked = Instant::now();
    let late = client.send(1, &READ).await;
    let young = client.send(2, &READ).await;
    assert_eq!(client.receive().await, (young, 2, EIGHT.to_vec()));
    assert_eq!(client.receive().await, (late, 1, SEVEN.to_vec()));
    assert!(asked.elapsed() >= Duration::from_millis(100));
    assert_eq!(client.ask(1, &READ).await, SEVEN, "only one was late");
}

#[tokio::test]
async fn an_exception_refuses_without_doing() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    let handle = simulation.handle();
    handle.inject(fault("exception:unit=1,function=6,code=6"));
    assert_eq!(client.ask(1, &[6, 0, 0, 0, 1]).await, [0x86, 6]);
    assert_eq!(client.ask(1, &READ).await, SEVEN);
    assert_eq!(client.ask(2, &[6, 0, 0, 0, 8]).await, [6, 0, 0, 0, 8]);
    let counters = handle.until(|counters| counters.requests == 3).await;
    assert_eq!((counters.exceptions, counters.faults), (1, 1));
}

#[tokio::test]
async fn a_damaged_answer_has_a_wrong_protocol_on_tcp() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    simulation.handle().inject(fault("wrong-crc:count=1"));
    client.send(1, &READ).await;
    let answer = exactly(&mut client.stream, 11).await;
    assert_eq!(answer, [0, 1, 0xFF, 0, 0, 5, 1, 3, 2, 0, 7]);
    assert_eq!(client.ask(1, &READ).await, SEVEN);
}

#[tokio::test]
async fn a_truncated_answer_is_its_first_half() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    simulation.handle().inject(fault("truncate:unit=1"));
    client.send(1, &READ).await;
    client.send(2, &READ).await;
    let answers = exactly(&mut client.stream, 5 + 11).await;
    assert_eq!(answers, [0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 5, 2, 3, 2, 0, 8]);
}

#[tokio::test]
async fn a_reset_comes_in_place_of_the_answer_to_what_was_done() {
    let (simulation, address, mut client) = simulate(UNITS).await;
    let handle = simulation.handle();
    handle.inject(fault("reset:every=2"));
    assert_eq!(client.ask(1, &READ).await, SEVEN);
    client.send(1, &[6, 0, 0, 0, 1]).await;
    let mut byte = [0];
    let ended = tokio::time::timeout(PATIENCE, client.stream.read(&mut byte)).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(handle.holding(1, 0).unwrap(), 1);
    let mut again = Client::connect(address).await;
    assert_eq!(again.ask(2, &READ).await, EIGHT, "the third request is answered");
}

#[tokio::test]
async fn a_misaddressed_answer_has_another_transaction() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    simulation.handle().inject(fault("wrong-transaction:count=1"));
    let transaction = client.send(1, &READ).await;
    assert_eq!(client.receive().await, (transaction + 1000, 1, SEVEN.to_vec()));
    assert_eq!(client.ask(1, &READ).await, SEVEN);
}

#[tokio::test]
async fn garbage_and_echo_come_before_the_answer() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    let garbage = simulation.handle().inject(fault("garbage"));
    client.send(1, &READ).await;
    let answer = exactly(&mut client.stream, 5 + 11).await;
    assert_eq!(answer[5..], [0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 7]);
    assert_ne!(answer[2..4], [0, 0], "no Modbus header");
    simulation.handle().clear(garbage);
    simulation.handle().inject(fault("garbage:ms=100,count=1"));
    let asked = Instant::now();
    client.send(1, &READ).await;
    exactly(&mut client.stream, 5 + 11).await;
    assert!(asked.elapsed() >= Duration::from_millis(100));
    simulation.handle().inject(fault("echo"));
    let transaction = client.send(1, &READ).await;
    assert_eq!(client.receive().await, (transaction, 1, READ.to_vec()));
    assert_eq!(client.receive().await, (transaction, 1, SEVEN.to_vec()));
}

#[tokio::test]
async fn a_merged_answer_comes_in_one_piece_with_the_next_or_alone() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    let handle = simulation.handle();
    handle.inject(fault("merge:ms=60000,count=1"));
    client.send(1, &READ).await;
    handle.until(|counters| counters.requests == 1).await;
    client.send(2, &READ).await;
    client.stream.readable().await.unwrap();
    let mut piece = [0; 64];
    let length = client.stream.read(&mut piece).await.unwrap();
    let first = [0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 7];
    let second = [0, 2, 0, 0, 0, 5, 2, 3, 2, 0, 8];
    assert_eq!(piece[..length], [first, second].concat());

    handle.inject(fault("merge:ms=50"));
    let asked = Instant::now();
    assert_eq!(client.ask(1, &READ).await, SEVEN);
    assert!(asked.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn a_reboot_closes_everything_for_a_time_and_resets_the_registers() {
    let (simulation, address, mut client) = simulate(UNITS).await;
    let handle = simulation.handle();
    client.ask(1, &[6, 0, 0, 0, 1]).await;
    let mut other = Client::connect(address).await;
    assert_eq!(other.ask(2, &READ).await, EIGHT);
    handle.inject(fault("reboot:ms=200,count=1"));
    let asked = Instant::now();
    client.send(1, &[6, 0, 0, 0, 2]).await;
    for client in [&mut client, &mut other] {
        let ended = tokio::time::timeout(PATIENCE, client.stream.read(&mut [0])).await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    handle.until(|counters| counters.connections.current == 0).await;
    let mut refused = 0;
    let mut client = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break Client::over(stream),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
        }
        refused += 1;
        tokio::task::yield_now().await;
    };
    assert!(refused > 0 && asked.elapsed() >= Duration::from_millis(200));
    assert_eq!(client.ask(1, &READ).await, SEVEN, "as at the start");
    let counters = simulation.stop().await;
    assert_eq!(counters.requests, 4, "counters go on");
}

#[tokio::test]
async fn only_one_connection_is_served_at_a_time() {
    let (simulation, address, mut first) = simulate(UNITS).await;
    let handle = simulation.handle();
    assert_eq!(first.ask(1, &READ).await, SEVEN);
    let fault = handle.inject(fault("one-connection"));
    let mut second = Client::connect(address).await;
    let ended = tokio::time::timeout(PATIENCE, second.stream.read(&mut [0])).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(first.ask(1, &READ).await, SEVEN);

    drop(first);
    handle.until(|counters| counters.connections.current == 0).await;
    let mut third = Client::connect(address).await;
    assert_eq!(third.ask(1, &READ).await, SEVEN);
    handle.clear(fault);
    let mut fourth = Client::connect(address).await;
    assert_eq!(fourth.ask(1, &READ).await, SEVEN);
    let connections = simulation.stop().await.connections;
    assert_eq!((connections.accepted, connections.refused, connections.max), (3, 1, 2));
}

#[tokio::test]
async fn count_and_every_choose_the_requests() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    let handle = simulation.handle();
    handle.inject(fault("exception:unit=1,code=5,every=3,count=2"));
    let mut refused = Vec::new();
    for request in 1..=12 {
        // Requests to other units do not count.
        client.ask(2, &READ).await;
        if client.ask(1, &READ).await == [0x83, 5] {
            refused.push(request);
        }
    }
    assert_eq!(refused, [3, 6]);
}

#[tokio::test]
async fn faults_add_up_and_are_cleared_together() {
    let (simulation, _, mut client) = simulate(UNITS).await;
    let handle = simulation.handle();
    handle.inject(fault("delay:ms=50"));
    handle.inject(fault("exception:code=4"));
    let asked = Instant::now();
    assert_eq!(client.ask(1, &READ).await, [0x83, 4]);
    assert!(asked.elapsed() >= Duration::from_millis(50));
    handle.clear_faults();
    assert_eq!(client.ask(1, &READ).await, SEVEN);
}
