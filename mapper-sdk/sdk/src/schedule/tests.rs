use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const REST: Pace = Pace { min: SECOND, max: Duration::from_secs(60) };
/// How long a line must be quiet after a silence.
const SETTLE: Duration = Duration::from_millis(100);

fn seat(n: usize) -> Seat {
    Seat(u32::try_from(n).unwrap())
}

/// Runs the wire for `span`; `cost` says how long a job takes, and whether it was answered. Says when it ended.
fn run(
    schedule: &mut Schedule,
    start: Instant,
    span: Duration,
    mut cost: impl FnMut(Job) -> (Duration, bool),
) -> Instant {
    let mut now = start;
    while now < start + span {
        let Some(job) = schedule.take(now) else {
            match schedule.wake() {
                Some(wake) => now = wake.max(now),
                None => return now,
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
            now += SETTLE;
        }
    }
    now
}

/// A wire whose units that answer leave some of its time free.
#[derive(Clone, Debug)]
struct Plant {
    /// Of each unit: its cycle, and whether it is dead.
    units: Vec<(Duration, bool)>,
    time_out: Duration,
    read: Duration,
}

impl Plant {
    fn dead(&self) -> u32 {
        u32::try_from(self.units.iter().filter(|(_, dead)| *dead).count()).unwrap()
    }

    fn job(&self, job: Job) -> (usize, Duration, bool) {
        let Job::Read { seat, .. } = job else { unreachable!("nobody wrote") };
        let n = usize::try_from(seat.0).unwrap();
        let dead = self.units[n].1;
        (n, if dead { self.time_out } else { self.read }, !dead)
    }
}

fn plants() -> impl Strategy<Value = Plant> {
    let cycle = prop_oneof![200u64..2_000, 1_000u64..10_000, Just(1_000)];
    let units = prop::collection::vec((cycle, any::<bool>()), 2..17);
    (units, 50u64..3_000, 0.02f64..0.7).prop_map(|(mut units, time_out, load)| {
        units[0].1 = false;
        let units: Vec<_> =
            units.into_iter().map(|(cycle, dead)| (Duration::from_millis(cycle), dead)).collect();
        let answering = units.iter().filter(|(_, dead)| !dead);
        let reads_a_second: f64 = answering.map(|(cycle, _)| cycle.as_secs_f64().recip()).sum();
        Plant {
            units,
            time_out: Duration::from_millis(time_out),
            read: Duration::from_secs_f64((load / reads_a_second).min(0.1)),
        }
    })
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
    fn where_a_wire_has_room_dead_units_leave_the_others_95_percent_of_their_readings(
        plant in plants(),
        phase in 0.0..1.0f64,
    ) {
        let start = Instant::now();
        let mut schedule = Schedule::new(REST, phase);
        for (n, (cycle, _)) in plant.units.iter().enumerate() {
            schedule.join(seat(n), &[*cycle], start);
        }
        // Each dead unit costs two time-outs before anybody knows.
        let found = 3 * plant.dead() * (plant.time_out + SETTLE) + 20 * SECOND;
        let now = run(&mut schedule, start, found, |job| {
            let (_, took, answered) = plant.job(job);
            (took, answered)
        });
        let span = Duration::from_secs(1_200);
        let mut reads = vec![0u32; plant.units.len()];
        let mut lost = Duration::ZERO;
        run(&mut schedule, now, span, |job| {
            let (n, took, answered) = plant.job(job);
            reads[n] += 1;
            lost += if answered { Duration::ZERO } else { took + SETTLE };
            (took, answered)
        });
        prop_assert!(lost <= span / 25 + plant.time_out + SETTLE, "{lost:?} of {span:?} lost");
        for (n, (cycle, dead)) in plant.units.iter().enumerate() {
            let wanted = span.div_duration_f64(*cycle);
            let read = f64::from(reads[n]);
            prop_assert!(*dead || read + 1.0 >= 0.95 * wanted, "unit {n}: {read} of {wanted}");
        }
    }

    #[test]
    fn a_unit_that_comes_back_is_found_within_its_rest_and_one_round_of_probes(
        mut plant in plants(),
        away in 1u64..600,
        which in any::<prop::sample::Index>(),
    ) {
        let start = Instant::now();
        let mut schedule = Schedule::new(REST, 0.5);
        for (n, (cycle, _)) in plant.units.iter().enumerate() {
            schedule.join(seat(n), &[*cycle], start);
        }
        let dead: Vec<_> = (0..plant.units.len()).filter(|n| plant.units[*n].1).collect();
        prop_assume!(!dead.is_empty());
        let returning = dead[which.index(dead.len())];
        let now = run(&mut schedule, start, Duration::from_secs(away), |job| {
            let (_, took, answered) = plant.job(job);
            (took, answered)
        });
        let round = (plant.time_out + SETTLE) * 25 + YIELDS;
        let within = REST.max + round * plant.dead() + SECOND;
        plant.units[returning].1 = false;
        let mut found = false;
        run(&mut schedule, now, within, |job| {
            let (n, took, answered) = plant.job(job);
            found |= n == returning;
            (took, answered)
        });
        prop_assert!(found, "unit {returning} was not asked for {within:?}");
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
fn where_nobody_answers_probes_keep_to_their_rests() {
    let start = Instant::now();
    let mut schedule = Schedule::new(REST, 0.0);
    let mut asked = Vec::new();
    for n in 0..2 {
        schedule.join(seat(n), &[SECOND], start);
    }
    let mut clock = start;
    while asked.len() < 10 {
        clock = clock.max(schedule.wake().unwrap());
        let Some(Job::Read { seat, .. }) = schedule.take(clock) else { unreachable!("it was due") };
        asked.push((clock - start).as_secs());
        schedule.silent(seat, clock);
    }
    assert_eq!(asked, [0, 0, 1, 1, 3, 3, 7, 7, 15, 15], "rests of 1, 2, 4, 8 s");
}

#[test]
fn the_allowance_holds_for_all_silent_units_together_and_for_writes_to_them() {
    let start = Instant::now();
    let mut schedule = Schedule::new(REST, 0.0);
    schedule.join(seat(0), &[SECOND], start);
    schedule.join(seat(1), &[SECOND], start);
    // Written only.
    schedule.join(seat(2), &[], start);
    let mut failed = [0u32; 3];
    let mut now = start;
    while now < start + 1_000 * SECOND {
        schedule.write(seat(2), 0, now);
        now = now.max(schedule.wake().unwrap());
        let Some(Job::Read { seat, .. } | Job::Write { seat, .. }) = schedule.take(now) else {
            unreachable!("it was due")
        };
        if seat.0 == 0 {
            schedule.answered(seat);
        } else {
            now += SECOND;
            failed[usize::try_from(seat.0).unwrap()] += 1;
            schedule.silent(seat, now);
        }
    }
    // Two each before they are limited, and then one in 27.5 s, or in the longest rest of a minute.
    assert!(failed[1] + failed[2] <= 4 + 37, "{failed:?}");
    assert!(failed[1] >= 15 && failed[2] >= 15, "{failed:?}");
}

#[test]
fn an_answer_that_got_lost_costs_a_unit_one_short_rest_beside_whoever_is_dead() {
    let start = Instant::now();
    let mut schedule = Schedule::new(REST, 0.0);
    for n in 0..10 {
        schedule.join(seat(n), &[SECOND], start);
    }
    let (mut asked, mut answered) = ([0u32; 10], [0u32; 10]);
    run(&mut schedule, start, SECOND * 1_000, |job| {
        let Job::Read { seat, .. } = job else { unreachable!("nobody wrote") };
        let n = usize::try_from(seat.0).unwrap();
        asked[n] += 1;
        // Eight are dead; of the other two each loses one answer in fifty.
        let answers = n < 2 && asked[n] % 50 != 0;
        answered[n] += u32::from(answers);
        (Duration::from_millis(if answers { 10 } else { 500 }), answers)
    });
    let lossy = &answered[..2];
    assert!(lossy.iter().all(|answered| *answered >= 930), "{lossy:?} of 1000");
    // Nobody is given up: the rounds of eight take 15 s each.
    let dead = &asked[2..];
    assert!(dead.iter().all(|asked| *asked >= 1_000 / (8 * 15)), "{dead:?}");
}

#[test]
fn a_probe_lets_due_reads_go_first_but_not_for_ever() {
    let start = Instant::now();
    let mut schedule = Schedule::new(REST, 0.0);
    schedule.join(seat(0), &[Duration::from_millis(1)], start);
    schedule.join(seat(1), &[SECOND], start);
    let silent = Job::Read { seat: seat(1), group: 0 };
    let mut now = start;
    // The first two are no probes, or a free one.
    for _ in 0..3 {
        while schedule.take(now) != Some(silent) {
            schedule.answered(seat(0));
            now += Duration::from_millis(10);
        }
        schedule.silent(seat(1), now);
    }
    let due = now + SECOND * 4;
    while schedule.take(now) != Some(silent) {
        schedule.answered(seat(0));
        now += Duration::from_millis(10);
    }
    assert!(now >= due + YIELDS && now <= due + YIELDS + SECOND / 10, "{:?}", now - due);
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
    assert_eq!(at.len(), 4);
    assert!(at.values().all(|burst| *burst == 25));
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
