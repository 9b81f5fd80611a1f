//! How often an address may show wrong tokens. Nobody guesses one; but guesses cost an API server work, and a log its room.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures at once that cost nothing: a line of machines behind one address may all have the same old token.
const BURST: u32 = 20;
/// After that, one in each such span.
const SPAN: Duration = Duration::from_secs(6);
/// Addresses that are remembered; beyond that all of them are forgotten.
const ADDRESSES: usize = 10_000;

/// Failures by address.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<IpAddr, Bucket>>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    count: u32,
    since: Instant,
}

impl Bucket {
    /// As it is at `now`: it empties by one in each span.
    fn at(self, now: Instant) -> Self {
        let spans = now.saturating_duration_since(self.since).as_secs() / SPAN.as_secs();
        let spans = u32::try_from(spans).unwrap_or(u32::MAX).min(self.count);
        Self { count: self.count - spans, since: self.since + SPAN * spans }
    }
}

impl Failures {
    /// Whether `address` must wait at `now`.
    pub(super) fn exceeded(&self, address: IpAddr, now: Instant) -> bool {
        let buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.get(&whole(address)).is_some_and(|bucket| bucket.at(now).count >= BURST)
    }

    /// Notes a wrong token from `address`.
    pub(super) fn note(&self, address: IpAddr, now: Instant) {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= ADDRESSES {
            buckets.retain(|_, bucket| bucket.at(now).count > 0);
        }
        if buckets.len() >= ADDRESSES {
            buckets.clear();
        }
        let bucket = buckets.entry(whole(address)).or_insert(Bucket { count: 0, since: now });
        *bucket = bucket.at(now);
        if bucket.count == 0 {
            bucket.since = now;
        }
        bucket.count += 1;
    }
}

/// Of IPv6 the network: one machine has 2^64 addresses.
fn whole(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from(u128::from(six) & !u128::from(u64::MAX))),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_tokens_without_end_have_to_wait_and_others_do_not() {
        let (failures, begin) = (Failures::default(), Instant::now());
        let bad: IpAddr = "2001:db8::1".parse().unwrap();
        for _ in 0..BURST {
            assert!(!failures.exceeded(bad, begin));
            failures.note(bad, begin);
        }
        assert!(failures.exceeded(bad, begin));
        assert!(failures.exceeded("2001:db8::2".parse().unwrap(), begin), "the same network");
        assert!(!failures.exceeded("2001:db8:0:1::1".parse().unwrap(), begin));
        assert!(!failures.exceeded("192.0.2.1".parse().unwrap(), begin));
        let later = begin + SPAN;
        assert!(!failures.exceeded(bad, later));
        failures.note(bad, later);
        assert!(failures.exceeded(bad, later));
        assert!(!failures.exceeded(bad, later + SPAN * (BURST + 5)));
    }

    #[test]
    fn many_addresses_need_little_memory() {
        let (failures, now) = (Failures::default(), Instant::now());
        for number in 0..3 * u32::try_from(ADDRESSES).unwrap() {
            failures.note(std::net::Ipv4Addr::from(number).into(), now);
        }
        assert!(failures.0.lock().unwrap().len() <= ADDRESSES);
    }
}
