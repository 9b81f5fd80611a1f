use super::*;
use crate::fixture::device;
use crate::serial_line::Parity;

fn read(protocol: &str) -> Result<(Endpoint, Unit), Vec<Problem>> {
    address(&device(protocol, "INT", "ReadOnly", "{register: holding, offset: 0}"))
}

#[track_caller]
fn problem(protocol: &str) -> String {
    let problems = read(protocol).unwrap_err();
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join(" | ")
}

#[test]
fn kubeedges_keys_for_tcp() {
    let (endpoint, unit) =
        read("{communicateMode: TCP, slaveID: 3, ip: 192.0.2.10, port: \"1502\", timeout: 0}")
            .unwrap();
    assert_eq!(endpoint.to_string(), "tcp://192.0.2.10:1502");
    assert_eq!((unit.id, unit.timeout), (3, Duration::from_secs(1)));
    assert_eq!(endpoint.connect_timeout, Duration::from_secs(3));
}

#[test]
fn kubeedges_keys_for_rtu() {
    let (endpoint, unit) = read(
        "{communicateMode: RTU, slaveID: \"2\", serialName: /dev/ttyS0, baudRate: 19200, dataBits: 8, parity: even, stopBits: 1, rs485Enabled: true}",
    )
    .unwrap();
    assert_eq!(endpoint.to_string(), "rtu:/dev/ttyS0 19200 8E1");
    assert_eq!(unit.id, 2);
    let Wire::Rtu(line) = endpoint.wire else { panic!("a line") };
    assert!(line.rs485);
}

#[test]
fn keys_in_any_case_aliases_and_defaults() {
    let (endpoint, unit) = read("{HOST: gateway, UNITID: 17}").unwrap();
    assert_eq!((endpoint.to_string().as_str(), unit.id), ("tcp://gateway:502", 17));
    let (endpoint, _) = read("{SerialPort: /dev/ttyUSB0, deviceID: 1, Parity: O}").unwrap();
    assert_eq!(endpoint.to_string(), "rtu:/dev/ttyUSB0 9600 8O1");
    let (endpoint, unit) = read("{mode: rtu-over-tcp, ip: \"[2001:db8::1]\"}").unwrap();
    assert_eq!(endpoint.to_string(), "rtu-over-tcp://2001:db8::1:502");
    assert_eq!(unit.id, 1);
    for mode in ["RTU over TCP", "rtu_over_tcp", "RTUoverTCP", "modbus-rtu-over-tcp"] {
        let (endpoint, _) = read(&format!("{{mode: {mode}, ip: h}}")).unwrap();
        assert!(matches!(endpoint.wire, Wire::RtuOverTcp { .. }), "{mode}");
    }
}

#[test]
fn devices_share_a_wire_by_its_name_alone() {
    let endpoint = |protocol| read(protocol).unwrap().0;
    let (a, b) =
        (endpoint("{ip: h, slaveID: 1}"), endpoint("{ip: h, slaveID: 2, connectTimeout: 9s}"));
    assert_eq!(a, b);
    assert!(!a.has_settings_of(&b));
    assert_ne!(a, endpoint("{ip: h, port: 503}"));
    assert_ne!(a, endpoint("{ip: h, mode: rtu-over-tcp}"));
    let slow = endpoint("{serialPort: /dev/ttyS0, slaveID: 1, baudRate: 1200}");
    assert_eq!(slow, endpoint("{serialPort: /dev/ttyS0, slaveID: 2}"));
}

#[test]
fn limits_of_a_unit() {
    let (_, unit) = read(
        "{ip: h, maxWords: 60, maxBits: 8, maxFill: 4, addressBase: 1, forbidden: \"holding:101-110, coil:1\", requestTimeout: 250ms, quarantine: 5s}",
    )
    .unwrap();
    let hole = |table, start, end| Hole { table, start, end };
    assert_eq!(
        unit.limits,
        Limits {
            max_words: 60,
            max_bits: 8,
            max_fill: 4,
            forbidden: vec![hole(Table::HoldingRegisters, 100, 110), hole(Table::Coils, 0, 1)],
        }
    );
    assert_eq!(unit.timeout, Duration::from_millis(250));
    assert_eq!(unit.quarantine, Duration::from_secs(5));
}

#[test]
fn a_wrong_setting_is_named_with_its_value_and_what_to_write() {
    assert_eq!(
        problem("{mode: ascii, ip: h}"),
        "spec.protocol.configData.mode = \"ascii\": unknown mode; write TCP, RTU or RTU-over-TCP"
    );
    assert_eq!(
        problem("{mode: TCP}"),
        "spec.protocol.configData.ip: missing; write the device's address, such as 192.0.2.10"
    );
    assert!(problem("{mode: RTU, slaveID: 1}").contains("serialPort: missing"));
    assert!(problem("{serialPort: /dev/ttyS0}").contains("slaveID: missing"));
    assert!(problem("{serialPort: /dev/ttyS0, slaveID: 0}").contains("0 means all units"));
    // A line is behind it, on which 0 is a broadcast; on Modbus TCP it is the device itself.
    assert_eq!(
        problem("{mode: RTU-over-TCP, ip: h, unitId: 0}"),
        "spec.protocol.configData.unitId = \"0\": 0 means all units; write the unit's number on the line, 1 to 247"
    );
    assert_eq!(read("{ip: h, slaveID: 0}").unwrap().1.id, 0);
    assert!(problem("{ip: h, port: 99999}").contains("out of range"));
    assert!(problem("{ip: h, timeout: 5}").contains("bare number is milliseconds"));
    assert!(problem("{serialPort: /dev/ttyS0, slaveID: 1, parity: mark}").contains("even or odd"));
    assert!(problem("{ip: h, forbidden: 100-110}").contains("is no range"));
    // Everything at once, not one by one.
    let both = problem("{mode: TCP, slaveID: 300}");
    assert!(both.contains("ip: missing") && both.contains("slaveID = \"300\""), "{both}");
}

#[test]
fn times_on_the_line() {
    let (endpoint, _) = read("{serialPort: /dev/ttyS0, slaveID: 1, parity: even}").unwrap();
    let Wire::Rtu(line) = endpoint.wire else { panic!("a line") };
    assert_eq!(line.parity, Parity::Even);
    // Eleven bits at 9600 baud: 1.146 ms.
    assert_eq!(line.time_of(1).as_micros(), 1145);
    assert_eq!(line.silence().as_micros(), 4010);
    assert_eq!(SerialLine { baud_rate: 115_200, ..line }.silence().as_micros(), 1750);
}
