//! What a manifest can say beyond KubeEdge: flat keys in `visitors.configData` (for one property) or in
//! `protocol.configData` (for all properties of the device; the property's own key wins).

use std::time::Duration;

use crate::{Config, DataType, Problem, Value};

/// Every option key. A driver never sees them: [`crate::Property::driver_config`] leaves them out.
pub const OPTION_KEYS: [&str; 14] = [
    "reportStrategy",
    "deadband",
    "deadbandPercent",
    "minInterval",
    "heartbeat",
    "tolerance",
    "verify",
    "atMostOnce",
    "enforce",
    "reapply",
    "safeValue",
    "staleAfter",
    "localOverride",
    "clockSkew",
];

/// When a reading is passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportStrategy {
    /// Each one.
    #[default]
    Always,
    /// When it left the deadband around the value that was last reported, or its quality changed.
    OnChange,
}

/// What becomes of a local write while the cloud owns desired values (rule R11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalOverride {
    /// Accepted with an expiry; a newer value from the cloud ends it.
    #[default]
    CloudWins,
    /// Accepted with an expiry; a newer value from the cloud waits for its end.
    UntilExpiry,
    /// Refused.
    Deny,
}

/// The options of one property.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertyOptions {
    /// `reportStrategy`: `always` (default) or `onChange`. Giving a deadband or a heartbeat implies `onChange`.
    pub report_strategy: ReportStrategy,
    /// `deadband`: smallest difference that counts as a change, in the property's unit.
    pub deadband: Option<f64>,
    /// `deadbandPercent`: the same, in percent of the value that was last reported.
    pub deadband_percent: Option<f64>,
    /// `minInterval`: least time between two reports.
    pub min_interval: Option<Duration>,
    /// `heartbeat`: longest time without a report, though nothing changed.
    pub heartbeat: Option<Duration>,
    /// `tolerance`: how far a read-back may be from the desired value and still verify it.
    pub tolerance: Option<f64>,
    /// `verify`: whether a write is read back at once; default true.
    pub verify: bool,
    /// `atMostOnce`: never try a write again whose answer was lost; default false. For pulses and counters.
    pub at_most_once: bool,
    /// `enforce`: write again when the device drifts from a verified value; default false.
    pub enforce: bool,
    /// `reapply`: write again when the device comes back; default false. For outputs without memory.
    pub reapply: bool,
    /// `safeValue`: written when the mapper stops.
    pub safe_value: Option<Value>,
    /// `staleAfter`: age at which a value counts as stale; default three report periods, at least 10 s.
    pub stale_after: Option<Duration>,
    /// `localOverride`: `allow` (= `cloudWins`, default), `untilExpiry` or `deny`.
    pub local_override: LocalOverride,
    /// `clockSkew`: how far the device's clock may be ahead of the gateway's; default 5 minutes.
    pub clock_skew: Duration,
}

/// What a battery-backed clock gains in half a year, and no time zone.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

impl Default for PropertyOptions {
    fn default() -> Self {
        Self {
            report_strategy: ReportStrategy::Always,
            deadband: None,
            deadband_percent: None,
            min_interval: None,
            heartbeat: None,
            tolerance: None,
            verify: true,
            at_most_once: false,
            enforce: false,
            reapply: false,
            safe_value: None,
            stale_after: None,
            local_override: LocalOverride::CloudWins,
            clock_skew: CLOCK_SKEW,
        }
    }
}

pub(crate) fn is_option(key: &str) -> bool {
    OPTION_KEYS.iter().any(|option| option.eq_ignore_ascii_case(key))
}

impl PropertyOptions {
    /// Reads the options of one property from its visitor's keys, then from its device's.
    pub(crate) fn read(
        property: &Config,
        device: &Config,
        data_type: DataType,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut read = Reader { property, device, problems };
        let deadband = read.positive("deadband");
        let deadband_percent = read.positive("deadbandPercent");
        let heartbeat = read.duration("heartbeat");
        let implied = deadband.is_some() || deadband_percent.is_some() || heartbeat.is_some();
        let report_strategy = read.word(
            "reportStrategy",
            &[("always", ReportStrategy::Always), ("onChange", ReportStrategy::OnChange)],
            if implied { ReportStrategy::OnChange } else { ReportStrategy::Always },
        );
        let local_override = read.word(
            "localOverride",
            &[
                ("allow", LocalOverride::CloudWins),
                ("cloudWins", LocalOverride::CloudWins),
                ("untilExpiry", LocalOverride::UntilExpiry),
                ("deny", LocalOverride::Deny),
            ],
            LocalOverride::CloudWins,
        );
        Self {
            report_strategy,
            deadband,
            deadband_percent,
            min_interval: read.duration("minInterval"),
            heartbeat,
            tolerance: read.positive("tolerance"),
            verify: read.truth("verify", true),
            at_most_once: read.truth("atMostOnce", false),
            enforce: read.truth("enforce", false),
            reapply: read.truth("reapply", false),
            safe_value: read.value("safeValue", data_type),
            stale_after: read.duration("staleAfter"),
            local_override,
            clock_skew: read.duration("clockSkew").unwrap_or(CLOCK_SKEW),
        }
    }
}

struct Reader<'a> {
    property: &'a Config,
    device: &'a Config,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    /// The map that says something about `key`, the property's first.
    fn place(&self, key: &str) -> &Config {
        if self.property.get(key).is_some() { self.property } else { self.device }
    }

    fn keep<T>(&mut self, result: Result<Option<T>, Problem>) -> Option<T> {
        result.unwrap_or_else(|problem| {
            self.problems.push(problem);
            None
        })
    }

    fn positive(&mut self, key: &str) -> Option<f64> {
        let place = self.place(key);
        let number = place.number(key).and_then(|number| match number {
            Some(n) if n < 0.0 => Err(place.problem(key, "negative", "write 0 or more")),
            number => Ok(number),
        });
        self.keep(number)
    }

    fn duration(&mut self, key: &str) -> Option<Duration> {
        let span = self.place(key).duration(key);
        self.keep(span)
    }

    fn truth(&mut self, key: &str, default: bool) -> bool {
        let truth = self.place(key).truth(key);
        self.keep(truth).unwrap_or(default)
    }

    fn value(&mut self, key: &str, data_type: DataType) -> Option<Value> {
        let place = self.place(key);
        let value = match place.get(key) {
            None => Ok(None),
            Some(text) => Value::parse(data_type, &text.to_string()).map(Some).map_err(|error| {
                place.problem(key, error.to_string(), "write a value of the property's type")
            }),
        };
        self.keep(value)
    }

    fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)], default: T) -> T {
        let place = self.place(key);
        let Some(text) = place.text(key) else { return default };
        match words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text)) {
            Some((_, meaning)) => *meaning,
            None => {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                let problem = place.problem(
                    key,
                    "unknown word",
                    format!("write one of {}", words.join(", ")),
                );
                self.problems.push(problem);
                default
            }
        }
    }
}
