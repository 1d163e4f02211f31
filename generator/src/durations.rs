//! Durations added up so that quantiles can be told: counts in buckets that grow by a thirty-second of a power of two.

use std::collections::BTreeMap;

/// Buckets for each doubling; the middle of one is no further than 1.1 % from what is in it.
const BUCKETS_PER_DOUBLING: f64 = 32.0;

/// Of what takes no time.
const ZERO_BUCKET: i16 = i16::MIN;

/// Numbers of seconds. Adding in any order gives the same buckets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Durations {
    counts: BTreeMap<i16, f64>,
    sum_seconds: f64,
}

impl Durations {
    /// Adds a duration that counts as often as `weight` says.
    pub fn add(&mut self, seconds: f64, weight: f64) {
        *self.counts.entry(bucket(seconds)).or_default() += weight;
        self.sum_seconds += seconds * weight;
    }

    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            *self.counts.entry(*bucket).or_default() += count;
        }
        self.sum_seconds += other.sum_seconds;
    }

    pub fn count(&self) -> f64 {
        self.counts.values().sum()
    }

    pub fn sum_seconds(&self) -> f64 {
        self.sum_seconds
    }

    /// The duration that the share `quantile` of all does not exceed, to 1.1 %; `None` without any.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let needed = quantile * self.count();
        let mut below = 0.0;
        let reaches = |(_, count): &(&i16, &f64)| {
            below += **count;
            below >= needed && **count > 0.0
        };
        self.counts.iter().find(reaches).or_else(|| self.counts.last_key_value()).map(|(bucket, _)| middle(*bucket))
    }

    /// About how much memory it takes beside itself.
    pub fn memory_bytes(&self) -> usize {
        // nodes of a tree are about two thirds full
        self.counts.len() * size_of::<(i16, f64)>() * 3 / 2
    }
}

/// The bucket of a duration: those of one are above the end of the bucket before, up to its own.
fn bucket(seconds: f64) -> i16 {
    // the cast saturates, and a duration of 64 bits of nanoseconds is far from its ends
    if seconds > 0.0 { (seconds.log2() * BUCKETS_PER_DOUBLING).ceil() as i16 } else { ZERO_BUCKET }
}

fn middle(bucket: i16) -> f64 {
    if bucket == ZERO_BUCKET { 0.0 } else { ((f64::from(bucket) - 0.5) / BUCKETS_PER_DOUBLING).exp2() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_one_percent_whatever_the_size() {
        for scale in [1e-9, 1e-3, 1.0, 1e6] {
            let mut durations = Durations::default();
            (1..=1_000).for_each(|number| durations.add(f64::from(number) * scale, 1.0));
            for (quantile, exact) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1_000.0)] {
                let found = durations.quantile(quantile).unwrap() / scale;
                assert!((found / exact - 1.0).abs() < 0.011, "{quantile} of {scale}: {found}");
            }
            assert!((durations.sum_seconds() / scale - 500_500.0).abs() < 1e-3);
        }
    }

    #[test]
    fn nothing_has_no_quantile_and_no_time_is_zero() {
        let mut durations = Durations::default();
        assert_eq!(durations.quantile(0.5), None);
        durations.add(0.0, 3.0);
        durations.add(1.0, 1.0);
        assert_eq!((durations.quantile(0.0), durations.quantile(0.75), durations.count()), (Some(0.0), Some(0.0), 4.0));
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let of = |numbers: std::ops::Range<i32>| {
            let mut durations = Durations::default();
            numbers.for_each(|number| durations.add(f64::from(number) / 8.0, 2.0));
            durations
        };
        let mut parts = of(0..100);
        parts.merge(&of(100..300));
        assert_eq!(parts, of(0..300));
    }
}
