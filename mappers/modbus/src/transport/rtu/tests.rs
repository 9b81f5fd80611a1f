use proptest::prelude::*;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::*;
use crate::place::Place;
use crate::plan::Span;
use crate::table::Table;

const PATIENCE: Duration = Duration::from_millis(500);

fn read(address: u16) -> Ask<'static> {
    Ask::Read(Span { start: Place { table: Table::HoldingRegisters, address }, count: 1 })
}

fn line() -> (Rtu<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(4096);
    (Rtu::new(ours, Pace::of_stream(Duration::ZERO)), theirs)
}

/// The checksum as the specification's appendix computes it, bit by bit: not the code under test.
fn with_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    let mut crc = 0xFFFF_u16;
    for byte in &frame {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
        }
    }
    frame.extend(crc.to_le_bytes());
    frame
}

/// The answer of `unit` that its one register holds `word`.
fn answer(unit: u8, word: u16) -> Vec<u8> {
    let [high, low] = word.to_be_bytes();
    with_checksum(vec![unit, 3, 2, high, low])
}

async fn request(peer: &mut DuplexStream) -> (u8, u16) {
    let mut frame = [0; 8];
    peer.read_exact(&mut frame).await.unwrap();
    assert_eq!(with_checksum(frame[..6].to_vec()), frame, "a right request");
    (frame[0], u16::from_be_bytes([frame[2], frame[3]]))
}

async fn value(line: &mut Rtu<DuplexStream>, unit: u8, address: u16) -> Result<u16, NoAnswer> {
    match line.exchange(unit, PATIENCE, &read(address)).await? {
        Answer::Data(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_pieces_is_one_answer() {
    let (mut line, mut peer) = line();
    let device = async {
        assert_eq!(request(&mut peer).await, (7, 10));
        for byte in answer(7, 0xABCD) {
            peer.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(tokio::join!(value(&mut line, 7, 10), device).0, Ok(0xABCD));
    assert_eq!(line.discarded(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_dropped_and_the_next_one_is_right() {
    let (mut line, mut peer) = line();
    let silent = value(&mut line, 1, 10).await.unwrap_err();
    assert_eq!(silent, NoAnswer::Silent("unit 1 said nothing for 500ms".into()));
    let device = async {
        assert_eq!(request(&mut peer).await, (1, 10));
        sleep_until(Instant::now() + Duration::from_millis(50)).await;
        peer.write_all(&answer(1, 10)).await.unwrap();
        assert_eq!(request(&mut peer).await, (1, 20));
        peer.write_all(&answer(1, 20)).await.unwrap();
    };
    assert_eq!(tokio::join!(value(&mut line, 1, 20), device).0, Ok(20));
    assert_eq!(line.discarded(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_that_came_while_nobody_listened_is_dropped() {
    let (mut line, mut peer) = line();
    value(&mut line, 1, 10).await.unwrap_err();
    request(&mut peer).await;
    peer.write_all(&answer(1, 10)).await.unwrap();
    sleep_until(Instant::now() + Duration::from_secs(60)).await;
    let device = async {
        assert_eq!(request(&mut peer).await, (1, 20));
        peer.write_all(&answer(1, 20)).await.unwrap();
    };
    assert_eq!(tokio::join!(value(&mut line, 1, 20), device).0, Ok(20));
    assert_eq!(line.discarded(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_dropped_call_the_line_is_quiet_before_the_next_request() {
    let (mut line, mut peer) = line();
    let dropped = timeout(PATIENCE / 2, value(&mut line, 1, 10)).await;
    assert!(dropped.is_err(), "it was still waited for");
    request(&mut peer).await;
    let begin = Instant::now();
    let device = async {
        assert_eq!(request(&mut peer).await, (2, 20));
        let waited = begin.elapsed();
        peer.write_all(&answer(2, 20)).await.unwrap();
        waited
    };
    let (value, waited) = tokio::join!(value(&mut line, 2, 20), device);
    assert_eq!(value, Ok(20));
    assert!(waited >= SETTLE, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_unit_costs_its_neighbour_its_time_out_and_a_short_silence() {
    let (mut line, mut peer) = line();
    let begin = Instant::now();
    value(&mut line, 1, 10).await.unwrap_err();
    request(&mut peer).await;
    let device = async {
        assert_eq!(request(&mut peer).await, (2, 20));
        // The dead unit's answer comes right now.
        peer.write_all(&answer(1, 10)).await.unwrap();
        peer.write_all(&answer(2, 20)).await.unwrap();
    };
    assert_eq!(tokio::join!(value(&mut line, 2, 20), device).0, Ok(20));
    assert_eq!(line.discarded(), 1);
    assert!(
        begin.elapsed() <= PATIENCE + SETTLE + Duration::from_millis(2),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_damaged_or_cut_answer_is_garbled_and_owed_no_more() {
    let damaged = {
        let mut frame = answer(1, 5);
        frame[3] ^= 1;
        frame
    };
    let exception = {
        let mut frame = with_checksum(vec![1, 0x83, 2]);
        frame[2] ^= 1;
        frame
    };
    let cut = [&NOISE, &answer(1, 5)[..4]].concat();
    for answered in [damaged, exception, answer(1, 5)[..6].to_vec(), cut] {
        let (mut line, mut peer) = line();
        let device = async {
            request(&mut peer).await;
            peer.write_all(&answered).await.unwrap();
        };
        let fault = tokio::join!(value(&mut line, 1, 5), device).0.unwrap_err();
        assert!(matches!(fault, NoAnswer::Garbled(_)), "{fault:?}");
        let again = Instant::now();
        let device = async {
            request(&mut peer).await;
            peer.write_all(&answer(1, 6)).await.unwrap();
        };
        assert_eq!(tokio::join!(value(&mut line, 1, 6), device).0, Ok(6));
        assert!(again.elapsed() <= SETTLE + Duration::from_millis(2), "{:?}", again.elapsed());
    }
}

/// No beginning of a frame.
const NOISE: [u8; 5] = [0x00, 0xFF, 0x55, 0xAA, 0x0F];

#[tokio::test(start_paused = true)]
async fn noise_before_an_answer_is_passed_over() {
    let echo = with_checksum(vec![1, 3, 0, 10, 0, 1]);
    // A first byte that announces far more than comes.
    for noise in [NOISE.to_vec(), vec![1], vec![0x55, 3, 0xF0], [&NOISE[..], &echo].concat()] {
        for pause in [0, 30] {
            let (mut line, mut peer) = line();
            let device = async {
                request(&mut peer).await;
                peer.write_all(&noise).await.unwrap();
                sleep_until(Instant::now() + Duration::from_millis(pause)).await;
                peer.write_all(&answer(1, 7)).await.unwrap();
            };
            assert_eq!(tokio::join!(value(&mut line, 1, 10), device).0, Ok(7), "{noise:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn noise_does_not_pay_for_the_answer_of_a_slow_unit() {
    let (mut line, mut peer) = line();
    // Answers in turn what it was asked meanwhile; noise comes before its first answer.
    let device = async {
        for first in [true, false, false] {
            let (unit, address) = request(&mut peer).await;
            sleep_until(Instant::now() + Duration::from_millis(5)).await;
            if first {
                peer.write_all(&NOISE).await.unwrap();
            }
            sleep_until(Instant::now() + Duration::from_millis(300)).await;
            peer.write_all(&answer(unit, address)).await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    let reads = async {
        for address in [10, 20, 30] {
            let mut read = value(&mut line, 1, address).await;
            if let Err(NoAnswer::Garbled(_)) = read {
                read = value(&mut line, 1, address).await;
            }
            assert_eq!(read, Ok(address));
        }
    };
    tokio::select! {
        () = reads => {}
        () = device => {}
    }
}

/// A request is followed by what is not its answer; the answer that comes late is not taken for that to the next one.
async fn answered_late_after(said: &[u8]) -> NoAnswer {
    let (mut line, mut peer) = line();
    let device = async {
        request(&mut peer).await;
        peer.write_all(said).await.unwrap();
    };
    let fault = tokio::join!(value(&mut line, 1, 10), device).0.unwrap_err();
    let device = async {
        sleep_until(Instant::now() + PATIENCE).await;
        peer.write_all(&answer(1, 10)).await.unwrap();
        assert_eq!(request(&mut peer).await, (1, 20));
        peer.write_all(&answer(1, 20)).await.unwrap();
    };
    assert_eq!(tokio::join!(value(&mut line, 1, 20), device).0, Ok(20));
    fault
}

#[tokio::test(start_paused = true)]
async fn noise_alone_is_silence_and_its_answer_is_still_owed() {
    let silence = NoAnswer::Silent("unit 1 sent nothing but noise for 500ms".into());
    assert_eq!(answered_late_after(&NOISE).await, silence);
}

#[tokio::test(start_paused = true)]
async fn an_older_answer_does_not_pay_for_the_one_that_is_waited_for() {
    // To a request of two registers, long ago.
    let fault = answered_late_after(&with_checksum(vec![1, 3, 4, 0, 1, 0, 2])).await;
    assert!(matches!(fault, NoAnswer::Silent(_)), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn an_echo_of_the_request_is_no_answer() {
    let bits =
        |count| Ask::Read(Span { start: Place { table: Table::Coils, address: 0x0305 }, count });
    // The request for these coils looks like an answer of three bytes to itself.
    for (ask, data) in [(read(10), &[3, 2, 0, 7][..]), (bits(20), &[1, 3, 1, 2, 3])] {
        for pieces in [1, 3, 8] {
            let (mut line, mut peer) = line();
            let device = async {
                let mut request = vec![0; 8];
                peer.read_exact(&mut request).await.unwrap();
                for piece in request.chunks(pieces) {
                    peer.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                peer.write_all(&with_checksum([&[1], data].concat())).await.unwrap();
            };
            let (answer, ()) = tokio::join!(line.exchange(1, PATIENCE, &ask), device);
            assert_eq!(answer, Ok(Answer::Data(&data[2..])), "pieces of {pieces}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_echo_alone_is_silence() {
    let (mut line, mut peer) = line();
    let device = async {
        let mut request = [0; 8];
        peer.read_exact(&mut request).await.unwrap();
        peer.write_all(&request).await.unwrap();
    };
    let fault = tokio::join!(value(&mut line, 1, 10), device).0.unwrap_err();
    assert!(matches!(fault, NoAnswer::Silent(_)), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn the_echo_of_a_short_write_counts_and_its_answer_harms_nobody() {
    let (mut line, mut peer) = line();
    let place = Place { table: Table::HoldingRegisters, address: 10 };
    let device = async {
        let mut request = [0; 8];
        peer.read_exact(&mut request).await.unwrap();
        peer.write_all(&[request, request].concat()).await.unwrap();
        peer.read_exact(&mut request).await.unwrap();
        peer.write_all(&answer(1, 7)).await.unwrap();
    };
    let asks = async {
        let write = Ask::WriteOne { place, word: 7 };
        assert_eq!(line.exchange(1, PATIENCE, &write).await, Ok(Answer::Done));
        assert_eq!(value(&mut line, 1, 10).await, Ok(7));
    };
    tokio::join!(asks, device);
    assert_eq!(line.discarded(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_never_gets_quiet_is_lost() {
    let (mut line, mut peer) = line();
    value(&mut line, 1, 10).await.unwrap_err();
    let chatter = async {
        loop {
            if peer.write_all(&answer(9, 1)).await.is_err() {
                break;
            }
            sleep_until(Instant::now() + Duration::from_millis(50)).await;
        }
    };
    let fault = tokio::select! {
        fault = value(&mut line, 1, 20) => fault.unwrap_err(),
        () = chatter => panic!("the line was closed"),
    };
    assert!(matches!(fault, NoAnswer::Lost(_)), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_quiet_between_late_frames_is_kept() {
    let (mut line, mut peer) = line();
    let patience = Duration::from_secs(5);
    line.exchange(1, patience, &read(10)).await.unwrap_err();
    request(&mut peer).await;
    let device = async {
        for unit in [8, 9, 1] {
            sleep_until(Instant::now() + NEVER_QUIET).await;
            peer.write_all(&answer(unit, 10)).await.unwrap();
        }
        assert_eq!(request(&mut peer).await, (1, 20));
        peer.write_all(&answer(1, 20)).await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        read = value(&mut line, 1, 20) => assert_eq!(read, Ok(20)),
        () = device => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_stream_is_lost() {
    let (mut line, peer) = line();
    drop(peer);
    assert!(matches!(value(&mut line, 1, 10).await, Err(NoAnswer::Lost(_))));
}

#[tokio::test(start_paused = true)]
async fn requests_keep_the_gap() {
    let (ours, mut peer) = duplex(4096);
    let gap = Duration::from_millis(40);
    let mut line = Rtu::new(ours, Pace::of_stream(gap));
    let device = async {
        for _ in 0..3 {
            let (unit, address) = request(&mut peer).await;
            peer.write_all(&answer(unit, address)).await.unwrap();
        }
    };
    let begin = Instant::now();
    let reads = async {
        for address in 0..3 {
            assert_eq!(value(&mut line, 1, address).await, Ok(address));
        }
    };
    tokio::join!(reads, device);
    assert!(begin.elapsed() >= gap * 3);
}

proptest! {
    /// A unit answers each request in turn, some after up to three time-outs. What is read is always what was
    /// asked for: the register holds its own address.
    #[test]
    fn no_answer_is_ever_taken_for_another(delays in prop::collection::vec(0u64..1500, 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (mut line, mut peer) = line();
            let device = async {
                for delay in &delays {
                    let (unit, address) = request(&mut peer).await;
                    sleep_until(Instant::now() + Duration::from_millis(*delay)).await;
                    peer.write_all(&answer(unit, address)).await.unwrap();
                }
            };
            let reads = async {
                let mut late = 0;
                for (address, _) in (0..).zip(&delays) {
                    match value(&mut line, 1, address).await {
                        Ok(word) => assert_eq!(word, address),
                        Err(NoAnswer::Silent(_)) => late += 1,
                        Err(fault) => panic!("{fault:?}"),
                    }
                }
                (late, line.discarded())
            };
            let ((late, dropped), ()) = tokio::join!(reads, device);
            // The last one's answer may come after the end.
            assert!(dropped == late || dropped + 1 == late, "{dropped} of {late}");
        });
    }

    /// The same with noise at any time, from a unit that answers in turn, and a client that asks a damaged answer over.
    #[test]
    fn no_noise_makes_an_answer_another(
        steps in prop::collection::vec((0u64..700, 0u64..700, prop::collection::vec(any::<u8>(), 0..8)), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (mut line, mut peer) = line();
            let device = async {
                for (before, after, noise) in steps.iter().cycle() {
                    let (unit, address) = request(&mut peer).await;
                    sleep_until(Instant::now() + Duration::from_millis(*before)).await;
                    // With the function's number noise could be the beginning of an answer, which nobody can tell.
                    let noise: Vec<u8> = noise.iter().copied().filter(|byte| *byte != 3).collect();
                    peer.write_all(&noise).await.unwrap();
                    sleep_until(Instant::now() + Duration::from_millis(*after)).await;
                    peer.write_all(&answer(unit, address)).await.unwrap();
                }
            };
            let reads = async {
                for (address, _) in (0..).zip(&steps) {
                    let mut read = value(&mut line, 1, address).await;
                    if let Err(NoAnswer::Garbled(_)) = read {
                        read = value(&mut line, 1, address).await;
                    }
                    match read {
                        Ok(word) => assert_eq!(word, address),
                        Err(NoAnswer::Silent(_) | NoAnswer::Garbled(_)) => {}
                        Err(fault) => panic!("{fault:?}"),
                    }
                }
            };
            tokio::select! {
                () = reads => {}
                () = device => {}
            }
        });
    }
}
