//! How long requests took, in buckets whose width grows with the time.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Buckets per doubling of the time: a value is known to within 1/16.
const STEPS: u64 = 16;
const STEP_BITS: u32 = 4;
/// Longest time that is told apart, in microseconds: over an hour.
const LONGEST: u64 = (1 << 32) - 1;
/// Number of buckets for times up to [`LONGEST`].
const BUCKETS: usize = ((32 - STEP_BITS as usize) + 1) * STEPS as usize;

/// Counts of times from a microsecond to an hour, exact to 1/16 of the value.
///
/// In JSON it is a list of pairs: the bucket and the count in it. Bucket `b` below 16 is `b`
/// microseconds; from there on every 16 buckets double the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
        }
    }
}

impl Histogram {
    /// Counts one time.
    pub fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST);
        self.add_to(bucket_of(micros), 1);
    }

    fn add_to(&mut self, bucket: usize, count: u64) {
        if let Some(slot) = self.counts.get_mut(bucket) {
            *slot += count;
            self.total += count;
        }
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        for (slot, count) in self.counts.iter_mut().zip(&other.counts) {
            *slot += count;
        }
        self.total += other.total;
    }

    /// How many times were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The time within which this share (0 to 1) of the requests were done; `None` without any.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        if self.total == 0 {
            return None;
        }
        let rank = ((share.clamp(0.0, 1.0) * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_micros(middle_of(bucket)))
    }

    fn filled(&self) -> impl Iterator<Item = (usize, u64)> {
        let counts = self.counts.iter().copied().enumerate();
        counts.filter(|(_, count)| *count > 0)
    }
}

fn bucket_of(micros: u64) -> usize {
    let micros = micros.min(LONGEST);
    if micros < STEPS {
        return micros as usize;
    }
    let doublings = micros.ilog2() - STEP_BITS;
    let step = (micros >> doublings) - STEPS;
    ((u64::from(doublings) + 1) * STEPS + step) as usize
}

fn middle_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let doublings = bucket / STEPS - 1;
    let from = (STEPS + bucket % STEPS) << doublings;
    from + (1 << doublings) / 2
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.filled())
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut histogram = Self::default();
        for (bucket, count) in Vec::<(usize, u64)>::deserialize(from)? {
            histogram.add_to(bucket, count);
        }
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_known_to_a_sixteenth() {
        for micros in (0..60).map(|power| 3_u64.pow(power / 3) + u64::from(power)) {
            let micros = micros.min(LONGEST);
            let found = middle_of(bucket_of(micros));
            assert!(
                found.abs_diff(micros) * STEPS <= micros.max(STEPS),
                "{micros} became {found}"
            );
        }
        assert!(bucket_of(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_are_those_of_the_times_added() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for millis in 1..=100 {
            histogram.add(Duration::from_millis(millis));
        }
        for (share, expected) in [(0.0, 1.0), (0.5, 50.0), (0.95, 95.0), (1.0, 100.0)] {
            let found = histogram.quantile(share).unwrap().as_secs_f64() * 1000.0;
            assert!(
                (found - expected).abs() <= expected / 16.0,
                "{share}: {found}"
            );
        }
    }

    #[test]
    fn a_histogram_survives_json() {
        let mut histogram = Histogram::default();
        histogram.add(Duration::from_micros(3));
        histogram.add(Duration::from_secs(7000));
        let text = serde_json::to_string(&histogram).unwrap();
        assert_eq!(text, "[[3,1],[463,1]]");
        let mut read: Histogram = serde_json::from_str(&text).unwrap();
        assert_eq!(read, histogram);
        read.merge(&histogram);
        assert_eq!(read.total(), 4);
    }
}
