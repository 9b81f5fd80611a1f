//! Whatever a client sends: the codec takes nothing for a request that it could not have encoded itself, and a line that
//! hears it answers in whole frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sim_modbus::codec::rtu::{self, Scan};
use sim_modbus::codec::{MAX_PDU, Request, mbap};
use sim_modbus::{Blueprint, Fault, FaultKind, LineOptions, Simulation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

const UNITS: &str = "units: {1: {holding: {0-20: 7}, input: {0-9: 1}, coils: {0-40: true}}, 2: {discrete: {0-9: false}}}";

thread_local! {
    static RUNTIME: (Runtime, Blueprint) = (
        Builder::new_current_thread().enable_all().build().expect("a runtime"),
        Blueprint::parse(UNITS).expect("right units"),
    );
}

fuzz_target!(|input: &[u8]| {
    let mut again = Vec::new();
    if let Ok(Some(frame)) = mbap::decode(input) {
        assert!((1..=MAX_PDU).contains(&frame.pdu.len()));
        mbap::encode(frame.transaction, frame.unit, frame.pdu, &mut again);
        assert_eq!(again, input[..frame.size]);
        let _ = Request::decode(frame.pdu);
    }
    again.clear();
    if let Scan::Frame { unit, pdu, size } = rtu::scan(input) {
        rtu::encode(unit, pdu, &mut again);
        assert_eq!(again, input[..size]);
    }
    if let Ok(request) = Request::decode(input) {
        assert_eq!(request.function(), input[0]);
    }
    // A checksum is rarely guessed: the input is also sent as what a right frame carries.
    let mut sent = input.to_vec();
    rtu::encode(1, &input[..input.len().min(MAX_PDU)], &mut sent);
    RUNTIME.with(|(runtime, units)| runtime.block_on(converse(units.clone(), &sent)));
});

/// Says `bytes` to a line and hangs up; everything that it answers is a frame.
async fn converse(units: Blueprint, bytes: &[u8]) {
    let mut simulation = Simulation::new(units);
    let (port, mut client) = tokio::io::duplex(bytes.len().max(1));
    simulation.serve_rtu(port, LineOptions::default());
    simulation.handle().inject(Fault::new(FaultKind::Exception(4)).every(7));
    client.write_all(bytes).await.expect("room");
    client.shutdown().await.expect("an end");
    let mut answers = Vec::new();
    client.read_to_end(&mut answers).await.expect("answers");
    let mut rest = answers.as_slice();
    while !rest.is_empty() {
        let lengths = 5..=rest.len().min(rtu::MAX_FRAME);
        let whole = lengths.into_iter().find(|length| rtu::check(&rest[..*length]).is_some());
        rest = &rest[whole.expect("an answer with a right checksum")..];
    }
    simulation.stop().await;
}
