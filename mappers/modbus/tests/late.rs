//! Row 6 of the demands: a late answer is never taken for the next one.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod rig;

use std::time::Duration;

use device_model::Value;
use mapper_sdk::{Session, SessionFault};
use rig::{Link, Point, Rig, Wire};
use sim_modbus::{Blueprint, Fault, FaultKind};

/// Each register holds its own address.
const REGISTERS: &str =
    "units: {1: {holding: {10: 10, 20: 20, 30: 30}}, 2: {holding: {10: 11, 20: 21}}}";
const POINTS: &[Point<'_>] = &[
    ("ten", "INT", "ReadOnly", "register: holding, offset: 10"),
    ("twenty", "INT", "ReadOnly", "register: holding, offset: 20"),
];

async fn slow(wire: Wire, fault: FaultKind) -> (Rig, Link) {
    let rig = Rig::start(wire, Blueprint::from_register_file(REGISTERS).unwrap()).await;
    let link = rig.connect("slaveID: 1, timeout: 60ms", POINTS).await;
    rig.handle.inject(Fault::new(fault).every(5));
    (rig, link)
}

/// Reads many times, every fifth answer being late; whatever is read must be right.
async fn reads_stay_right(wire: Wire, fault: FaultKind) {
    let (rig, mut link) = slow(wire, fault).await;
    let mut silent = 0;
    for round in 0..50 {
        let (name, value) = if round % 2 == 0 { ("ten", 10) } else { ("twenty", 20) };
        match link.read(name).await {
            Ok(result) => assert_eq!(result.unwrap().value, Value::Int(value), "{wire:?} {round}"),
            Err(SessionFault::Silent(_)) => silent += 1,
            Err(lost) => panic!("{wire:?} {round}: {lost}"),
        }
    }
    assert!(silent >= 8, "{silent}");
    let discarded = link.session.discarded();
    assert!(discarded + 1 >= silent, "{discarded} late answers counted of {silent} on {wire:?}");
    assert!(rig.handle.counters().connections.accepted <= 1, "the connection is kept");
}

#[tokio::test]
async fn on_tcp_while_other_requests_are_answered() {
    reads_stay_right(Wire::Tcp, FaultKind::Late(Duration::from_millis(110))).await;
}

#[tokio::test]
async fn on_tcp_from_a_device_that_answers_in_turn() {
    reads_stay_right(Wire::Tcp, FaultKind::Delay(Duration::from_millis(110))).await;
}

#[tokio::test]
async fn on_rtu_over_tcp() {
    reads_stay_right(Wire::RtuOverTcp, FaultKind::Late(Duration::from_millis(110))).await;
}

#[tokio::test]
async fn on_a_line() {
    reads_stay_right(Wire::Pty, FaultKind::Late(Duration::from_millis(110))).await;
}

#[tokio::test]
async fn on_a_line_with_a_device_that_answers_in_turn() {
    reads_stay_right(Wire::Pty, FaultKind::Delay(Duration::from_millis(110))).await;
}

#[tokio::test]
async fn damaged_and_cut_answers_are_no_values() {
    for wire in [Wire::RtuOverTcp, Wire::Pty] {
        for fault in [FaultKind::WrongCrc, FaultKind::Truncate] {
            let (_rig, mut link) = slow(wire, fault).await;
            for round in 0..20 {
                match link.read("ten").await {
                    Ok(result) => assert_eq!(result.unwrap().value, Value::Int(10)),
                    Err(SessionFault::Silent(_)) => {}
                    Err(lost) => panic!("{fault:?} on {wire:?} in {round}: {lost}"),
                }
            }
        }
    }
}

/// Reads two registers by turns while every fifth answer is faulty; whatever is read must be right. A wire that is
/// lost is opened again. Says how often there was silence, a loss and a refused answer.
async fn whatever_is_read_is_right(wire: Wire, fault: FaultKind) -> (u32, u32, u32) {
    let (rig, mut link) = slow(wire, fault).await;
    let (mut silent, mut lost, mut refused) = (0, 0, 0);
    for round in 0..20 {
        let (name, value) = if round % 2 == 0 { ("ten", 10) } else { ("twenty", 20) };
        match link.read(name).await {
            Ok(Ok(sample)) => assert_eq!(sample.value, Value::Int(value), "{wire:?} {round}"),
            Ok(Err(_)) => refused += 1,
            Err(SessionFault::Silent(_)) => silent += 1,
            Err(SessionFault::Lost(_)) => {
                lost += 1;
                drop(link);
                link = rig.connect("slaveID: 1, timeout: 60ms", POINTS).await;
            }
        }
    }
    (silent, lost, refused)
}

#[tokio::test]
async fn an_answer_with_another_address_is_silence() {
    for wire in Wire::ALL {
        let (silent, lost, refused) =
            whatever_is_read_is_right(wire, FaultKind::WrongTransaction).await;
        assert!(silent >= 3 && (lost, refused) == (0, 0), "{wire:?}: {silent} {lost} {refused}");
    }
}

#[tokio::test]
async fn noise_before_an_answer_is_passed_over_on_a_line_and_loses_a_tcp_connection() {
    for wire in [Wire::RtuOverTcp, Wire::Pty] {
        assert_eq!(
            whatever_is_read_is_right(wire, FaultKind::Garbage(Duration::ZERO)).await,
            (0, 0, 0)
        );
    }
    let (silent, lost, refused) =
        whatever_is_read_is_right(Wire::Tcp, FaultKind::Garbage(Duration::ZERO)).await;
    assert!(lost >= 3 && (silent, refused) == (0, 0), "{silent} {lost} {refused}");
}

/// Slower than the silence that follows noise, and a unit that answers in turn what it was asked meanwhile.
#[tokio::test]
async fn noise_long_before_an_answer_does_not_make_it_anothers() {
    for wire in [Wire::RtuOverTcp, Wire::Pty] {
        let noise = FaultKind::Garbage(Duration::from_millis(150));
        let (silent, lost, refused) = whatever_is_read_is_right(wire, noise).await;
        assert!(silent >= 3 && (lost, refused) == (0, 0), "{wire:?}: {silent} {lost} {refused}");
        let rig = Rig::start(wire, Blueprint::from_register_file(REGISTERS).unwrap()).await;
        let mut link = rig.connect("slaveID: 1, timeout: 5s", POINTS).await;
        rig.handle.inject(Fault::new(noise).count(1));
        assert_eq!(link.value("ten").await, Value::Int(10), "{wire:?}");
        assert_eq!(link.value("twenty").await, Value::Int(20), "{wire:?}");
        assert_eq!(rig.handle.counters().requests, 2, "asked once each");
    }
}

#[tokio::test]
async fn an_echo_is_dropped_on_a_line_and_is_no_value_on_tcp() {
    for wire in [Wire::RtuOverTcp, Wire::Pty] {
        assert_eq!(whatever_is_read_is_right(wire, FaultKind::Echo).await, (0, 0, 0));
    }
    let (silent, lost, refused) = whatever_is_read_is_right(Wire::Tcp, FaultKind::Echo).await;
    assert!(refused >= 3 && (silent, lost) == (0, 0), "{silent} {lost} {refused}");
}

#[tokio::test]
async fn two_answers_in_one_piece_are_told_apart() {
    for wire in Wire::ALL {
        let (rig, mut link) = slow(wire, FaultKind::Silence).await;
        rig.handle.clear_faults();
        let merge = FaultKind::Merge(Duration::from_secs(60));
        rig.handle.inject(Fault::new(merge).unit(1).count(1));
        let fault = link.read("ten").await.unwrap_err();
        assert!(matches!(fault, SessionFault::Silent(_)), "{fault}");
        link.unit.id = 2;
        assert_eq!(link.value("ten").await, Value::Int(11), "{wire:?}");
        assert_eq!(link.session.discarded(), 1);
        let (silent, lost, refused) =
            whatever_is_read_is_right(wire, FaultKind::Merge(Duration::from_millis(110))).await;
        assert!(silent >= 3 && (lost, refused) == (0, 0), "{wire:?}: {silent} {lost} {refused}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_frame_lose_a_tcp_connection() {
    let rig = Rig::start(Wire::Tcp, Blueprint::from_register_file(REGISTERS).unwrap()).await;
    let mut link = rig.connect("slaveID: 1, timeout: 500ms", POINTS).await;
    rig.handle.inject(Fault::new(FaultKind::WrongCrc).count(1));
    let fault = link.read("ten").await.unwrap_err();
    assert!(matches!(fault, SessionFault::Lost(_)), "{fault}");
}

#[tokio::test]
async fn a_reset_connection_is_lost() {
    for wire in [Wire::Tcp, Wire::RtuOverTcp] {
        let rig = Rig::start(wire, Blueprint::from_register_file(REGISTERS).unwrap()).await;
        let mut link = rig.connect("slaveID: 1", POINTS).await;
        rig.handle.inject(Fault::new(FaultKind::Reset).count(1));
        let fault = link.read("ten").await.unwrap_err();
        assert!(matches!(fault, SessionFault::Lost(_)), "{fault}");
    }
}

#[tokio::test]
async fn a_dead_unit_leaves_the_wire_to_its_neighbour() {
    for wire in Wire::ALL {
        let rig = Rig::start(wire, Blueprint::from_register_file(REGISTERS).unwrap()).await;
        let mut link = rig.connect("slaveID: 1, timeout: 60ms", POINTS).await;
        rig.handle.inject(Fault::new(FaultKind::Silence).unit(1));
        let fault = link.read("ten").await.unwrap_err();
        assert!(matches!(fault, SessionFault::Silent(_)), "{fault}");
        link.unit.id = 2;
        assert_eq!(link.value("ten").await, Value::Int(11), "{wire:?}");
        assert_eq!(link.value("twenty").await, Value::Int(21), "{wire:?}");
    }
}

#[tokio::test]
async fn a_port_that_is_in_use_is_named() {
    let rig = Rig::start(Wire::Pty, Blueprint::from_register_file(REGISTERS).unwrap()).await;
    let first = rig.connect("slaveID: 1", POINTS).await;
    let text = rig::manifests("device", &format!("{}, slaveID: 1", rig.wire), POINTS);
    let device = rig::devices(&text).remove(0);
    let Err(fault) = Link::open(device.clone()).await else { panic!("two masters on one line") };
    assert!(fault.to_string().contains("in use by another program"), "{fault}");
    drop(first);
    Link::open(device).await.unwrap();
}
