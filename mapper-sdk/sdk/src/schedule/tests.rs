use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const REST: Pace = Pace { min: SECOND, max: Duration::from_secs(60) };

fn seat(n: usize) -> Seat {
    Seat(u32::try_from(n).unwrap())
}

/// Runs the wire for `span`; `cost` says how long a job takes, and whether it was answered.
fn run(
    schedule: &mut Schedule,
    start: Instant,
    span: Duration,
    mut cost: impl FnMut(Job) -> (Duration, bool),
) {
    let mut now = start;
    while now < start + span {
        let Some(job) = schedule.take(now) else {
            match schedule.wake() {
                Some(wake) => now = wake.max(now),
                None => return,
            }
            continue;
        };
        let (took, answered) = cost(job);
        now += took;
        let (Job::Read { seat, .. } | Job::Write { seat, .. }) = job;
        if answered {
            schedule.answered(seat);
        } else {
            schedule.silent(seat, now);
        }
    }
}

proptest! {
    #[test]
    fn healthy_units_keep_95_percent_of_their_readings_whoever_is_dead(
        silent in prop::collection::vec(any::<bool>(), 1..8),
        cost in 1u64..50,
        phase in 0.0..1.0f64,
    ) {
        let start = Instant::now();
        let mut schedule = Schedule::new(REST, phase);
        for n in 0..silent.len() {
            schedule.join(seat(n), &[SECOND], start);
        }
        let span = Duration::from_secs(600);
        let mut reads = vec![0u32; silent.len()];
        // The first minute is when the dead are found to be dead.
        let mut clock = Duration::ZERO;
        run(&mut schedule, start, span, |job| {
            let Job::Read { seat, .. } = job else { unreachable!("nobody wrote") };
            let n = usize::try_from(seat.0).unwrap();
            let took = Duration::from_millis(if silent[n] { 500 } else { cost });
            clock += took;
            reads[n] += 1;
            (took, !silent[n])
        });
        for (n, silent) in silent.iter().enumerate() {
            if *silent {
                prop_assert!(reads[n] <= 17, "rests 1, 2, 4 … 60: {}", reads[n]);
            } else {
                prop_assert!(reads[n] >= 570, "unit {n} was read {} of 600 times", reads[n]);
            }
        }
    }

    #[test]
    fn writes_go_first_and_in_order_and_the_queue_stays_bounded(
        units in 1usize..6,
        writes in prop::collection::vec((0usize..6, 0usize..4), 1..60),
    ) {
        let now = Instant::now();
        let mut schedule = Schedule::new(REST, 0.0);
        for n in 0..units {
            schedule.join(seat(n), &[SECOND, SECOND], now);
            schedule.answered(seat(n));
        }
        let mut wanted = Vec::new();
        for (unit, point) in writes {
            let key = (seat(unit % units), point);
            schedule.write(key.0, key.1, now);
            if !wanted.contains(&key) {
                wanted.push(key);
            }
        }
        // One pending write for a point, however often it was desired.
        prop_assert!(schedule.pending() <= units * 2 + units * 4);
        let mut seen = Vec::new();
        let mut reads_since = 0;
        while seen.len() < wanted.len() {
            match schedule.take(now + SECOND).unwrap() {
                Job::Write { seat, point } => { seen.push((seat, point)); }
                Job::Read { .. } => { reads_since += 1; }
            }
        }
        prop_assert_eq!(&seen, &wanted);
        prop_assert!(reads_since <= wanted.len() / 8, "a read has its turn after eight writes, not before");
    }

    #[test]
    fn an_overloaded_wire_still_gives_each_unit_its_share(
        units in 2usize..10,
        cycles in prop::collection::vec(10u64..2_000, 10),
        cost in 20u64..80,
    ) {
        let start = Instant::now();
        let mut schedule = Schedule::new(REST, 0.3);
        for (n, cycle) in cycles.iter().enumerate().take(units) {
            schedule.join(seat(n), &[Duration::from_millis(*cycle)], start);
        }
        let mut reads = vec![0u64; units];
        run(&mut schedule, start, Duration::from_secs(120), |job| {
            let Job::Read { seat, .. } = job else { unreachable!("nobody wrote") };
            reads[usize::try_from(seat.0).unwrap()] += 1;
            (Duration::from_millis(cost), true)
        });
        let longest_round = cost * u64::try_from(units).unwrap();
        for (n, reads) in reads.iter().enumerate() {
            // Once per round of all units, or once per cycle where that is longer.
            let fair = 120_000 / (cycles[n] + longest_round);
            prop_assert!(*reads + 2 >= fair, "unit {n}: {reads} of {fair}");
        }
        prop_assert!(schedule.pending() == units);
    }
}

#[test]
fn a_missed_cycle_is_counted_and_not_queued() {
    let start = Instant::now();
    let mut schedule = Schedule::new(REST, 0.0);
    schedule.join(seat(0), &[SECOND], start);
    assert!(schedule.take(start).is_some());
    let late = start + Duration::from_millis(5_300);
    assert!(schedule.take(late).is_some());
    assert_eq!(schedule.take(late), None);
    assert!(schedule.overruns() >= 4, "{}", schedule.overruns());
    assert_eq!(schedule.wake(), Some(start + Duration::from_secs(6)), "back on the grid");
}

#[test]
fn a_write_waits_for_the_probe_of_a_silent_unit() {
    let start = Instant::now();
    let mut schedule = Schedule::new(REST, 0.0);
    schedule.join(seat(0), &[SECOND], start);
    schedule.take(start);
    schedule.silent(seat(0), start);
    schedule.write(seat(0), 0, start);
    assert_eq!(schedule.take(start), None, "it rests");
    assert_eq!(schedule.take(start + SECOND), Some(Job::Read { seat: seat(0), group: 0 }));
    assert_eq!(schedule.take(start + SECOND), None, "not before the answer");
    assert!(schedule.answered(seat(0)));
    assert_eq!(schedule.take(start + SECOND), Some(Job::Write { seat: seat(0), point: 0 }));
}

#[test]
fn a_write_to_a_unit_that_never_answered_brings_its_first_read_forward() {
    let start = Instant::now();
    let mut schedule = Schedule::new(REST, 0.9);
    schedule.join(seat(0), &[SECOND * 60], start);
    assert_eq!(schedule.take(start), None);
    schedule.write(seat(0), 3, start);
    assert_eq!(schedule.take(start), Some(Job::Read { seat: seat(0), group: 0 }));
    assert_eq!(schedule.take(start), None);
    schedule.answered(seat(0));
    assert_eq!(schedule.take(start), Some(Job::Write { seat: seat(0), point: 3 }));
}

#[test]
fn first_reads_are_spread_and_come_soon() {
    let start = Instant::now();
    let mut schedule = Schedule::new(REST, 0.5);
    for n in 0..100 {
        schedule.join(seat(n), &[SECOND], start);
    }
    let mut at = BTreeMap::<Duration, u32>::new();
    for (due, ..) in &schedule.reads {
        *at.entry(due.duration_since(start)).or_default() += 1;
    }
    assert_eq!(at.len(), 10);
    assert!(at.values().all(|burst| *burst == 10));
    assert!(at.keys().all(|due| *due < FIRST_WITHIN));
}

#[test]
fn a_new_plan_for_one_unit_leaves_the_others_alone() {
    let start = Instant::now();
    let mut schedule = Schedule::new(REST, 0.0);
    schedule.join(seat(0), &[SECOND], start);
    schedule.join(seat(1), &[SECOND], start);
    let before: Vec<_> = schedule.reads.iter().filter(|(_, s, _)| *s == seat(0)).copied().collect();
    schedule.join(seat(1), &[SECOND * 2, SECOND], start + SECOND / 2);
    let after: Vec<_> = schedule.reads.iter().filter(|(_, s, _)| *s == seat(0)).copied().collect();
    assert_eq!(before, after);
    assert_eq!(schedule.reads.len(), 3);
    schedule.leave(seat(1));
    assert_eq!(schedule.reads.len(), 1);
}
