//! Values of every type, against a simulator that shares no code with the mapper.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod rig;

use device_model::{AckCode, QualityCode, Value};
use mapper_sdk::PropertyFault;
use rig::{Point, Rig, Wire};
use sim_modbus::{Blueprint, Fault, FaultKind, Table};

const REGISTERS: &str = "
units:
  1:
    coils: {0: true, 1: false, 2-9: false}
    discrete: {0: false, 1: true}
    input:
      0: {rawType: f32, order: CDAB, simValue: 21.5}
      2: {rawType: i16, scale: 0.1, simValue: -12.3}
    holding:
      0: {rawType: u16, simValue: 555}
      1: {rawType: i16, simValue: -40}
      2: {rawType: u32, order: CDAB, simValue: 305419896}
      4: {rawType: i32, order: BADC, simValue: -2}
      6: {rawType: f32, order: ABCD, simValue: 230.5}
      8: {rawType: f64, order: DCBA, simValue: -0.125}
      12: {rawType: i64, simValue: -5000000000}
      16: [0x5032, 0x3030, 0x0000]
      19: 0xFFFE
      20: 0
";

const POINTS: &[Point<'_>] = &[
    ("enable", "BOOLEAN", "ReadWrite", "register: CoilRegister, offset: 0"),
    ("spare", "INT", "ReadWrite", "register: coil, offset: 1"),
    ("row", "INT", "ReadWrite", "register: coil, offset: 2, limit: 8"),
    ("alarm", "BOOLEAN", "ReadOnly", "register: DiscreteInputRegister, offset: 1"),
    (
        "flow",
        "FLOAT",
        "ReadOnly",
        "register: InputRegister, offset: 0, limit: 2, isRegisterSwap: true",
    ),
    ("outside", "DOUBLE", "ReadOnly", "register: input, offset: 2, rawType: i16, scale: 0.1"),
    ("speed", "INT", "ReadWrite", "register: HoldingRegister, offset: 0, limit: 1"),
    ("frost", "INT", "ReadWrite", "register: holding, offset: 1, rawType: i16"),
    ("count", "INT", "ReadWrite", "register: holding, offset: 2, limit: 2, order: CDAB"),
    ("delta", "INT", "ReadWrite", "register: holding, offset: 4, rawType: i32, order: BADC"),
    ("volts", "FLOAT", "ReadWrite", "register: holding, offset: 6, rawType: f32"),
    ("ratio", "DOUBLE", "ReadWrite", "register: holding, offset: 8, rawType: f64, order: DCBA"),
    ("energy", "INT", "ReadWrite", "register: holding, offset: 12, rawType: i64"),
    ("name", "STRING", "ReadWrite", "register: holding, offset: 16, limit: 3"),
    ("low", "INT", "ReadWrite", "register: holding, offset: 19, rawType: i8l"),
    ("bit", "BOOLEAN", "ReadWrite", "register: holding, offset: 19, bit: 0"),
];

async fn rig(wire: Wire) -> Rig {
    Rig::start(wire, Blueprint::from_register_file(REGISTERS).unwrap()).await
}

#[tokio::test]
async fn every_type_is_read_on_every_wire() {
    for wire in Wire::ALL {
        let rig = rig(wire).await;
        let mut link = rig.connect("slaveID: 1", POINTS).await;
        let read = link.read_all().await.unwrap();
        for (name, value) in [
            ("enable", Value::Boolean(true)),
            ("spare", Value::Int(0)),
            ("row", Value::Int(0)),
            ("alarm", Value::Boolean(true)),
            ("flow", Value::Float(21.5)),
            ("outside", Value::Double(-12.3)),
            ("speed", Value::Int(555)),
            ("frost", Value::Int(-40)),
            ("count", Value::Int(305_419_896)),
            ("delta", Value::Int(-2)),
            ("volts", Value::Float(230.5)),
            ("ratio", Value::Double(-0.125)),
            ("energy", Value::Int(-5_000_000_000)),
            ("name", Value::String("P200".into())),
            ("low", Value::Int(-2)),
            ("bit", Value::Boolean(false)),
        ] {
            assert_eq!(read[name].as_ref().unwrap().value, value, "{name} on {wire:?}");
        }
        // One request for each table: everything is adjacent, but for the discrete input 0 that nobody asked for.
        assert_eq!(rig.handle.counters().requests, 4, "{wire:?}");
    }
}

#[tokio::test]
async fn every_type_is_written_on_every_wire_and_reads_back() {
    for wire in Wire::ALL {
        let rig = rig(wire).await;
        let mut link = rig.connect("slaveID: 1", POINTS).await;
        for (name, value, function) in [
            ("enable", Value::Boolean(false), 5),
            ("spare", Value::Int(1), 5),
            ("row", Value::Int(0b1010_0110), 15),
            ("speed", Value::Int(65_535), 6),
            ("frost", Value::Int(-32_768), 6),
            ("count", Value::Int(4_000_000_000), 16),
            ("delta", Value::Int(-70_000), 16),
            ("volts", Value::Float(0.1), 16),
            ("ratio", Value::Double(1e-9), 16),
            ("energy", Value::Int(i64::MIN), 16),
            ("name", Value::String("PUMP".into()), 16),
            ("low", Value::Int(5), 6),
            ("bit", Value::Boolean(false), 6),
        ] {
            let before = rig.handle.counters().unit(1).functions.get(&function).copied();
            assert_eq!(link.write(name, value.clone()).await, Ok(Ok(())), "{name} on {wire:?}");
            let after = rig.handle.counters().unit(1).functions.get(&function).copied();
            assert_eq!(after, Some(before.unwrap_or(0) + 1), "{name} with function {function}");
            assert_eq!(link.value(name).await, value, "{name} on {wire:?}");
        }
        // The simulator's own view of some of them.
        assert_eq!(rig.handle.read(1, Table::Holding, 2, 2).unwrap(), [0x2800, 0xEE6B]);
        assert_eq!(rig.handle.read(1, Table::Coils, 2, 8).unwrap(), [0, 1, 1, 0, 0, 1, 0, 1]);
        // 5 in the low byte, then bit 0 cleared; the high byte never changed.
        assert_eq!(rig.handle.holding(1, 19).unwrap(), 0xFF04);
    }
}

#[tokio::test]
async fn one_register_is_written_with_function_16_where_the_device_wants_it() {
    let rig = rig(Wire::Tcp).await;
    let points = &[
        ("speed", "INT", "ReadWrite", "register: holding, offset: 0, forceFc16: true"),
        ("enable", "BOOLEAN", "ReadWrite", "register: coil, offset: 0, forceFc15: true"),
    ];
    let mut link = rig.connect("slaveID: 1", points).await;
    link.write("speed", Value::Int(7)).await.unwrap().unwrap();
    link.write("enable", Value::Boolean(false)).await.unwrap().unwrap();
    let functions = rig.handle.counters().unit(1).functions;
    assert_eq!(functions.into_iter().collect::<Vec<_>>(), [(15, 1), (16, 1)]);
    assert_eq!(rig.handle.holding(1, 0), Ok(7));
}

/// Row 8 of the demands: the address that verifies may differ from the one that is written.
#[tokio::test]
async fn a_setpoint_is_written_at_one_address_and_read_at_another() {
    let rig = rig(Wire::Tcp).await;
    let point = ("setpoint", "INT", "ReadWrite", "register: holding, offset: 0, writeOffset: 20");
    let mut link = rig.connect("slaveID: 1", &[point]).await;
    link.write("setpoint", Value::Int(9)).await.unwrap().unwrap();
    assert_eq!(rig.handle.holding(1, 20), Ok(9));
    assert_eq!(link.value("setpoint").await, Value::Int(555));
}

#[tokio::test]
async fn a_value_that_does_not_fit_never_reaches_the_wire() {
    let rig = rig(Wire::Tcp).await;
    let mut link = rig.connect("slaveID: 1", POINTS).await;
    let fault = link.write("speed", Value::Int(65_536)).await.unwrap().unwrap_err();
    assert_eq!(fault.ack_code(), AckCode::Invalid);
    let fault = link.write("alarm", Value::Boolean(true)).await.unwrap().unwrap_err();
    assert_eq!(fault.ack_code(), AckCode::Forbidden);
    assert_eq!(rig.handle.counters().requests, 0);
}

#[tokio::test]
async fn each_exception_has_its_acknowledgement_and_keeps_the_session() {
    for wire in Wire::ALL {
        let rig = rig(wire).await;
        let mut link = rig.connect("slaveID: 1", POINTS).await;
        for (code, ack) in [
            (1, AckCode::Forbidden),
            (2, AckCode::NotFound),
            (3, AckCode::Invalid),
            (4, AckCode::DeviceError),
        ] {
            rig.handle.inject(Fault::new(FaultKind::Exception(code)).count(1));
            let fault = link.write("speed", Value::Int(1)).await.unwrap().unwrap_err();
            assert_eq!(fault.ack_code(), ack, "exception {code} on {wire:?}");
        }
        rig.handle.inject(Fault::new(FaultKind::Exception(2)).count(1));
        let fault = link.read("speed").await.unwrap().unwrap_err();
        assert_eq!(fault.quality_code(), QualityCode::NotFound);
        assert_eq!(link.value("speed").await, Value::Int(555));
        assert!(rig.handle.counters().connections.accepted <= 1, "{wire:?}");
    }
}

#[tokio::test]
async fn a_busy_device_is_asked_again_and_a_gateways_exception_is_silence() {
    let rig = rig(Wire::Tcp).await;
    let mut link = rig.connect("slaveID: 1", POINTS).await;
    rig.handle.inject(Fault::new(FaultKind::Exception(6)).count(2));
    assert_eq!(link.value("speed").await, Value::Int(555));
    assert_eq!(rig.handle.counters().requests, 3);
    rig.handle.inject(Fault::new(FaultKind::Exception(11)).count(1));
    let silent = link.read("speed").await.unwrap_err();
    assert!(matches!(silent, mapper_sdk::SessionFault::Silent(_)), "{silent}");
    assert_eq!(link.value("speed").await, Value::Int(555));
}

#[tokio::test]
async fn a_register_that_is_not_there_does_not_spoil_its_neighbours() {
    let registers = "units: {1: {holding: {0-3: 7, 5-9: 7}}}";
    let rig = Rig::start(Wire::Tcp, Blueprint::from_register_file(registers).unwrap()).await;
    let names: Vec<String> = (0..10).map(|offset| format!("r{offset}")).collect();
    let visitors: Vec<String> =
        (0..10).map(|offset| format!("register: holding, offset: {offset}")).collect();
    let points: Vec<Point<'_>> = names
        .iter()
        .zip(&visitors)
        .map(|(name, visitor)| (name.as_str(), "INT", "ReadOnly", visitor.as_str()))
        .collect();
    let mut link = rig.connect("slaveID: 1, quarantine: 1h", &points).await;
    for round in 0..3 {
        let before = rig.handle.counters().requests;
        for (name, result) in link.read_all().await.unwrap() {
            match (name.as_str(), result) {
                ("r4", Err(fault)) => {
                    assert!(matches!(fault, PropertyFault::Refused { .. }));
                    assert_eq!(fault.quality_code(), QualityCode::NotFound);
                    assert!(fault.to_string().contains("holding:4"), "{fault}");
                }
                (_, Ok(sample)) => assert_eq!(sample.value, Value::Int(7), "{name}"),
                (_, Err(fault)) => panic!("{name}: {fault}"),
            }
        }
        let requests = rig.handle.counters().requests - before;
        // Found once by halving; from then on two requests around it.
        assert!(if round == 0 { requests <= 9 } else { requests == 2 }, "{requests} in {round}");
    }
    // Asked for alone, it is asked again, and forgiven.
    assert!(link.read("r4").await.unwrap().is_err());
}
