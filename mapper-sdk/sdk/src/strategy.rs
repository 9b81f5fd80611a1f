//! When a reading of one property is passed on (rule R21).

use std::time::Instant;

use device_model::{PropertyOptions, Quality, Reading, ReportStrategy, Value};

/// What was last passed on for one property, and what waits for the least interval to end. Most properties have
/// neither, and there are many of them.
#[derive(Debug, Default)]
pub(crate) struct Strategy {
    last: Option<Box<(Reading, Instant)>>,
    held: Option<Box<Reading>>,
    /// The next reading is passed on whatever it is.
    afresh: bool,
}

impl Strategy {
    /// Says whether `reading` is to be passed on now. A change of quality always is; a value is compared with the
    /// one that was last passed on, so that a slow drift is not missed.
    pub(crate) fn offer(
        &mut self,
        reading: Reading,
        options: &PropertyOptions,
        now: Instant,
    ) -> Option<Reading> {
        if options.report_strategy == ReportStrategy::Always && options.min_interval.is_none() {
            // Nothing to compare with, so nothing to remember.
            return Some(reading);
        }
        let Some((last, at)) = self.last.as_deref() else { return Some(self.pass(reading, now)) };
        if self.afresh || reading.quality != last.quality || reading.code != last.code {
            return Some(self.pass(reading, now));
        }
        let wanted = options.report_strategy == ReportStrategy::Always
            || changed(last, &reading, options)
            || options.heartbeat.is_some_and(|heartbeat| now.duration_since(*at) >= heartbeat);
        let too_soon = options.min_interval.is_some_and(|least| now.duration_since(*at) < least);
        match (wanted, too_soon) {
            (true, false) => Some(self.pass(reading, now)),
            (true, true) => {
                self.held = Some(Box::new(reading));
                None
            }
            // It came back into the deadband: what was held is history.
            (false, _) => {
                self.held = None;
                None
            }
        }
    }

    /// For a property that the device pushes: when to call [`Strategy::tick`], since no reading may come by then.
    pub(crate) fn wake(&self, options: &PropertyOptions) -> Option<Instant> {
        let (_, at) = self.last.as_deref()?;
        if self.afresh {
            return Some(*at);
        }
        let held = self.held.as_ref().and(options.min_interval).map(|least| *at + least);
        let beat = options.heartbeat.map(|heartbeat| *at + heartbeat);
        match (held, beat) {
            (Some(held), Some(beat)) => Some(held.min(beat)),
            (held, beat) => held.or(beat),
        }
    }

    /// What is to be passed on although no reading came: what the least interval held back, or, as heartbeat, the
    /// last reading with the times that it had.
    pub(crate) fn tick(&mut self, options: &PropertyOptions, now: Instant) -> Option<Reading> {
        if self.wake(options)? > now {
            return None;
        }
        let reading =
            self.held.take().map(|held| *held).or_else(|| Some(self.last.as_deref()?.0.clone()))?;
        Some(self.pass(reading, now))
    }

    /// Whoever takes the readings forgot the last one.
    pub(crate) fn refresh(&mut self) {
        self.afresh = true;
    }

    /// `reading` was passed on past the strategy, because the device was lost.
    pub(crate) fn forced(&mut self, reading: &Reading, now: Instant) {
        self.pass(reading.clone(), now);
    }

    fn pass(&mut self, reading: Reading, now: Instant) -> Reading {
        self.held = None;
        self.afresh = false;
        self.last = Some(Box::new((reading.clone(), now)));
        reading
    }
}

/// Whether the value left the deadband. With both deadbands the wider one counts, so that a percentage near zero
/// can have a floor.
fn changed(last: &Reading, reading: &Reading, options: &PropertyOptions) -> bool {
    if reading.quality == Quality::Bad || last.same_as(reading) {
        return false;
    }
    let numbers = (
        last.value.as_ref().and_then(Value::as_f64),
        reading.value.as_ref().and_then(Value::as_f64),
    );
    let (Some(last), Some(now)) = numbers else { return true };
    let difference = (now - last).abs();
    let percent = options.deadband_percent.map_or(0.0, |percent| last.abs() * percent / 100.0);
    let band = options.deadband.unwrap_or(0.0).max(percent);
    // Also a step to or from NaN, which compares with nothing.
    difference.is_nan() || difference >= band
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use device_model::{QualityCode, Timestamp};
    use proptest::prelude::*;

    use super::Strategy;
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn good(number: f64, millis: i64) -> Reading {
        Reading::good(Value::Double(number), at(millis))
    }

    fn on_change() -> PropertyOptions {
        PropertyOptions { report_strategy: ReportStrategy::OnChange, ..PropertyOptions::default() }
    }

    #[test]
    fn a_slow_drift_is_reported_once_it_left_the_deadband_of_the_last_report() {
        let options = PropertyOptions { deadband: Some(1.0), ..on_change() };
        let mut strategy = Strategy::default();
        let now = Instant::now();
        let mut passed = Vec::new();
        for step in 0..30 {
            let value = f64::from(step) * 0.125;
            passed.extend(strategy.offer(good(value, i64::from(step)), &options, now));
        }
        let values: Vec<_> = passed.iter().map(|reading| reading.value.clone().unwrap()).collect();
        assert_eq!(values, [0.0, 1.0, 2.0, 3.0].map(Value::Double));
    }

    #[test]
    fn a_sine_with_one_percent_deadband_is_thinned_to_the_bound() {
        let options = PropertyOptions { deadband_percent: Some(1.0), ..on_change() };
        let mut strategy = Strategy::default();
        let now = Instant::now();
        let mut passed = 0;
        for step in 0..10_000u32 {
            let value = 100.0 + 10.0 * (f64::from(step) * std::f64::consts::TAU / 10_000.0).sin();
            passed += u32::from(strategy.offer(good(value, 0), &options, now).is_some());
        }
        // 40 units of way, each report at least 0.9 after the one before, and the first.
        assert!((30..=46).contains(&passed), "{passed}");
    }

    #[test]
    fn a_heartbeat_keeps_the_original_source_time() {
        let options = PropertyOptions { heartbeat: Some(Duration::from_secs(10)), ..on_change() };
        let mut strategy = Strategy::default();
        let start = Instant::now();
        let mut first = good(5.0, 1_000);
        first.source_time = Some(at(900));
        assert!(strategy.offer(first.clone(), &options, start).is_some());
        assert_eq!(strategy.tick(&options, start + Duration::from_secs(9)), None);
        let beat = strategy.tick(&options, start + Duration::from_secs(10)).unwrap();
        assert_eq!(beat, first);
        let polled = Reading { sample_time: at(20_000), ..first };
        let beat = strategy.offer(polled, &options, start + Duration::from_secs(20)).unwrap();
        assert_eq!(beat.source_time, Some(at(900)));
    }

    #[test]
    fn a_change_of_quality_is_always_reported_at_once() {
        let options = PropertyOptions {
            deadband: Some(1e9),
            min_interval: Some(Duration::from_secs(60)),
            ..on_change()
        };
        let mut strategy = Strategy::default();
        let now = Instant::now();
        let bad = || Reading::bad(QualityCode::Timeout, at(2));
        assert!(strategy.offer(good(5.0, 1), &options, now).is_some());
        assert!(strategy.offer(bad(), &options, now).is_some());
        assert!(strategy.offer(bad(), &options, now).is_none(), "the same again");
        assert!(strategy.offer(good(5.0, 3), &options, now).is_some());
    }

    #[test]
    fn a_change_within_the_least_interval_is_held_and_the_newest_is_sent() {
        let options = PropertyOptions { min_interval: Some(Duration::from_secs(1)), ..on_change() };
        let mut strategy = Strategy::default();
        let start = Instant::now();
        assert!(strategy.offer(good(1.0, 1), &options, start).is_some());
        assert!(strategy.offer(good(2.0, 2), &options, start).is_none());
        assert!(strategy.offer(good(3.0, 3), &options, start).is_none());
        let due = strategy.wake(&options).unwrap();
        assert_eq!(due, start + Duration::from_secs(1));
        assert_eq!(strategy.tick(&options, due), Some(good(3.0, 3)));
        assert_eq!(strategy.wake(&options), None);
    }

    proptest! {
        #[test]
        fn the_last_report_is_never_further_than_the_deadband_from_the_last_reading(
            values in prop::collection::vec(-100.0..100.0f64, 1..200),
            band in 0.0..20.0f64,
        ) {
            let options = PropertyOptions { deadband: Some(band), ..on_change() };
            let mut strategy = Strategy::default();
            let now = Instant::now();
            let mut shown = None;
            for value in values {
                if let Some(reading) = strategy.offer(good(value, 0), &options, now) {
                    shown = reading.value.and_then(|value| value.as_f64());
                }
                prop_assert!((shown.unwrap() - value).abs() <= band);
            }
        }
    }
}
