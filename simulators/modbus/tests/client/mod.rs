//! A Modbus client that sends and shows exact bytes.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what goes wrong here fails the test")]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use sim_modbus::{Blueprint, Simulation};

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A simulation on Modbus TCP and a connection to it.
pub(crate) async fn simulate(blueprint: &str) -> (Simulation, SocketAddr, Client) {
    let mut simulation = Simulation::new(Blueprint::parse(blueprint).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = simulation.serve_tcp(listener).unwrap();
    let client = Client::connect(address).await;
    (simulation, address, client)
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    transaction: u16,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        Self { stream, transaction: 0 }
    }

    /// Sends a request to `unit`; answers with its transaction.
    pub(crate) async fn send(&mut self, unit: u8, pdu: &[u8]) -> u16 {
        self.transaction += 1;
        let length = u16::try_from(pdu.len() + 1).unwrap();
        let mut frame = self.transaction.to_be_bytes().to_vec();
        frame.extend([0, 0]);
        frame.extend(length.to_be_bytes());
        frame.push(unit);
        frame.extend(pdu);
        self.stream.write_all(&frame).await.unwrap();
        self.transaction
    }

    /// The next frame: transaction, unit, PDU.
    pub(crate) async fn receive(&mut self) -> (u16, u8, Vec<u8>) {
        let header = exactly(&mut self.stream, 7).await;
        assert_eq!(header[2..4], [0, 0], "protocol identifier");
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let pdu = exactly(&mut self.stream, length - 1).await;
        (u16::from_be_bytes([header[0], header[1]]), header[6], pdu)
    }

    /// Asks `unit` and takes the answer's PDU.
    pub(crate) async fn ask(&mut self, unit: u8, pdu: &[u8]) -> Vec<u8> {
        let transaction = self.send(unit, pdu).await;
        let (answered, by, pdu) = self.receive().await;
        assert_eq!((answered, by), (transaction, unit));
        pdu
    }
}

/// The next `count` bytes.
pub(crate) async fn exactly(stream: &mut (impl AsyncRead + Unpin), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut bytes)).await;
    read.expect("an answer in time").unwrap();
    bytes
}

/// `unit`, `pdu` and a CRC that is computed bit by bit, as the specification's appendix B does.
pub(crate) fn rtu(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = vec![unit];
    frame.extend(pdu);
    let mut crc = 0xFFFFu16;
    for byte in &frame {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 };
        }
    }
    frame.extend(crc.to_le_bytes());
    frame
}
