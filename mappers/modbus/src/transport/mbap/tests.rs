use proptest::prelude::*;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::*;
use crate::place::Place;
use crate::plan::Span;
use crate::table::Table;

const PATIENCE: Duration = Duration::from_millis(500);

fn wire() -> (Mbap<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(4096);
    (Mbap::new(ours, Duration::ZERO), theirs)
}

struct Request {
    transaction: u16,
    unit: u8,
    address: u16,
}

async fn request(peer: &mut DuplexStream) -> Request {
    let mut frame = [0; 12];
    peer.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[2..6], [0, 0, 0, 6]);
    Request {
        transaction: u16::from_be_bytes([frame[0], frame[1]]),
        unit: frame[6],
        address: u16::from_be_bytes([frame[8], frame[9]]),
    }
}

fn answer(transaction: u16, unit: u8, word: u16) -> Vec<u8> {
    let ([a, b], [high, low]) = (transaction.to_be_bytes(), word.to_be_bytes());
    vec![a, b, 0, 0, 0, 5, unit, 3, 2, high, low]
}

async fn value(wire: &mut Mbap<DuplexStream>, unit: u8, address: u16) -> Result<u16, NoAnswer> {
    let start = Place { table: Table::HoldingRegisters, address };
    match wire.exchange(unit, PATIENCE, &Ask::Read(Span { start, count: 1 })).await? {
        Answer::Data(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_dropped_by_its_id_and_the_connection_stays() {
    let (mut wire, mut peer) = wire();
    let silent = value(&mut wire, 1, 10).await.unwrap_err();
    assert_eq!(silent, NoAnswer::Silent("unit 1 said nothing for 500ms".into()));
    let device = async {
        for _ in 0..2 {
            let Request { transaction, unit, address } = request(&mut peer).await;
            peer.write_all(&answer(transaction, unit, address)).await.unwrap();
        }
    };
    assert_eq!(tokio::join!(value(&mut wire, 1, 20), device).0, Ok(20));
    assert_eq!(wire.discarded(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_another_unit_is_dropped() {
    let (mut wire, mut peer) = wire();
    let device = async {
        let Request { transaction, unit, address } = request(&mut peer).await;
        peer.write_all(&answer(transaction, unit + 1, 9)).await.unwrap();
        peer.write_all(&answer(transaction, unit, address)).await.unwrap();
    };
    assert_eq!(tokio::join!(value(&mut wire, 1, 20), device).0, Ok(20));
    assert_eq!(wire.discarded(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_pieces_is_one_answer() {
    let (mut wire, mut peer) = wire();
    let device = async {
        let Request { transaction, unit, address } = request(&mut peer).await;
        for byte in answer(transaction, unit, address) {
            peer.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(tokio::join!(value(&mut wire, 1, 20), device).0, Ok(20));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_length_is_malformed_and_the_connection_stays() {
    let (mut wire, mut peer) = wire();
    let device = async {
        let Request { transaction, unit, .. } = request(&mut peer).await;
        let [a, b] = transaction.to_be_bytes();
        peer.write_all(&[a, b, 0, 0, 0, 7, unit, 3, 4, 1, 2, 3, 4]).await.unwrap();
        let Request { transaction, unit, address } = request(&mut peer).await;
        peer.write_all(&answer(transaction, unit, address)).await.unwrap();
    };
    let reads = async {
        let start = Place { table: Table::HoldingRegisters, address: 0 };
        let ask = Ask::Read(Span { start, count: 1 });
        assert_eq!(wire.exchange(1, PATIENCE, &ask).await, Ok(Answer::Malformed));
        value(&mut wire, 1, 20).await
    };
    assert_eq!(tokio::join!(reads, device).0, Ok(20));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_frame_lose_the_connection() {
    let (mut wire, mut peer) = wire();
    peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    assert!(matches!(value(&mut wire, 1, 20).await, Err(NoAnswer::Lost(_))));
    let (mut wire, peer) = self::wire();
    drop(peer);
    assert!(matches!(value(&mut wire, 1, 20).await, Err(NoAnswer::Lost(_))));
}

#[tokio::test(start_paused = true)]
async fn the_id_of_an_unanswered_request_is_not_used_again() {
    let (mut wire, mut peer) = wire();
    value(&mut wire, 1, 10).await.unwrap_err();
    assert_eq!(request(&mut peer).await.transaction, 1);
    wire.transaction = u16::MAX - 1;
    for expected in [u16::MAX, 0, 2] {
        let device = async {
            let Request { transaction, unit, address } = request(&mut peer).await;
            assert_eq!(transaction, expected);
            peer.write_all(&answer(transaction, unit, address)).await.unwrap();
        };
        assert_eq!(tokio::join!(value(&mut wire, 1, 20), device).0, Ok(20));
    }
}

proptest! {
    /// A device answers each request in turn after any time; what is read is always what was asked for.
    #[test]
    fn no_answer_is_ever_taken_for_another(delays in prop::collection::vec(0u64..3000, 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (mut wire, mut peer) = wire();
            let device = async {
                for delay in &delays {
                    let Request { transaction, unit, address } = request(&mut peer).await;
                    sleep_until(Instant::now() + Duration::from_millis(*delay)).await;
                    peer.write_all(&answer(transaction, unit, address)).await.unwrap();
                }
            };
            let reads = async {
                for (address, _) in (0..).zip(&delays) {
                    match value(&mut wire, 1, address).await {
                        Ok(word) => assert_eq!(word, address),
                        Err(NoAnswer::Silent(_)) => {}
                        Err(fault) => panic!("{fault:?}"),
                    }
                }
            };
            tokio::join!(reads, device);
        });
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (mut wire, mut peer) = wire();
            peer.write_all(&bytes).await.unwrap();
            let start = Place { table: Table::HoldingRegisters, address: 0 };
            for _ in 0..3 {
                let _ = wire.exchange(1, PATIENCE, &Ask::Read(Span { start, count: 1 })).await;
            }
        });
    }
}
