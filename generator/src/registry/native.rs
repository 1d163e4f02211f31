//! Histograms whose buckets grow by a factor, as Prometheus's native ones: exact about which values fall together, without
//! bounds that have to be chosen.
//!
//! At schema `s` bucket `i` holds values above `2^((i - 1) / 2^s)` and up to `2^(i / 2^s)`. With more buckets than may be,
//! the schema gets smaller by one: two buckets become one. Nothing is ever reset for that.

use std::collections::BTreeMap;

/// Prometheus's finest and coarsest.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;
/// Values up to this are zero, as in Prometheus: 2^-128.
pub(crate) const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

/// How fine a histogram is at first, and how many buckets it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeBuckets {
    schema: i32,
    most: usize,
}

impl NativeBuckets {
    /// Buckets that are at most `factor` wide, as many as may be; zero is no limit.
    pub fn new(factor: f64, most: usize) -> Self {
        let schema = -factor.log2().log2().floor();
        let schema = if schema.is_nan() { *SCHEMAS.end() } else { schema.clamp(-4.0, 8.0) as i32 };
        Self { schema, most: if most == 0 { usize::MAX } else { most } }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NativeHistogram {
    pub schema: i32,
    pub zero_count: f64,
    pub counts: BTreeMap<i32, f64>,
}

impl NativeHistogram {
    pub(crate) fn new(buckets: NativeBuckets) -> Self {
        Self { schema: buckets.schema, zero_count: 0.0, counts: BTreeMap::new() }
    }

    pub(crate) fn observe(&mut self, value: f64, weight: f64, buckets: NativeBuckets) {
        if value <= ZERO_THRESHOLD || !value.is_finite() {
            self.zero_count += weight;
            return;
        }
        *self.counts.entry(bucket(value, self.schema)).or_default() += weight;
        while self.counts.len() > buckets.most && self.schema > *SCHEMAS.start() {
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.schema -= 1;
        let mut counts = BTreeMap::new();
        for (bucket, count) in std::mem::take(&mut self.counts) {
            *counts.entry((bucket + 1) >> 1).or_default() += count;
        }
        self.counts = counts;
    }

    pub(crate) fn count(&self) -> f64 {
        self.zero_count + self.counts.values().sum::<f64>()
    }

    /// Runs of buckets that follow each other: how far from the end of the one before, and how many.
    pub(crate) fn spans(&self) -> Vec<(i32, u32)> {
        let mut spans: Vec<(i32, u32)> = Vec::new();
        let mut next = 0;
        for &bucket in self.counts.keys() {
            match spans.last_mut() {
                Some((_, length)) if bucket == next => *length += 1,
                _ => spans.push((bucket - next, 1)),
            }
            next = bucket + 1;
        }
        spans
    }
}

/// The bucket of a positive number.
fn bucket(value: f64, schema: i32) -> i32 {
    let exponent = value.log2();
    let guess = (exponent * f64::from(schema).exp2()).ceil() as i32;
    // the logarithm may be off by a little where a bound is met exactly
    let bound = |bucket: i32| (f64::from(bucket) / f64::from(schema).exp2()).exp2();
    if value > bound(guess) {
        guess + 1
    } else if value <= bound(guess - 1) {
        guess - 1
    } else {
        guess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_those_of_prometheus() {
        let schema = |factor| NativeBuckets::new(factor, 100).schema;
        assert_eq!([1.1, 1.05, 2.0, 4.0, 1.000_1, 1e9, 1.0].map(schema), [3, 4, 0, -1, 8, -4, 8]);
    }

    #[test]
    fn a_value_is_in_the_bucket_whose_bounds_it_lies_between() {
        assert_eq!([0.5, 1.0, 1.01, 2.0, 4.0].map(|value| bucket(value, 0)), [-1, 0, 1, 1, 2]);
        assert_eq!([1.0, 1.09, 1.0905, 1.1, 2.0].map(|value| bucket(value, 3)), [0, 1, 1, 2, 8]);
        assert_eq!([1.0, 4.0, 5.0, 16.0].map(|value| bucket(value, -1)), [0, 1, 2, 2]);
        for schema in SCHEMAS {
            for step in 1..2_000 {
                let value = f64::from(step) * 0.003;
                let (bound, width) =
                    (|bucket: i32| f64::from(bucket) / f64::from(schema).exp2(), bucket(value, schema));
                assert!(value <= bound(width).exp2() && value > bound(width - 1).exp2(), "{value} at {schema}");
            }
        }
    }

    #[test]
    fn two_buckets_become_one_where_there_would_be_too_many_and_no_count_is_lost() {
        let buckets = NativeBuckets::new(1.1, 20);
        let mut histogram = NativeHistogram::new(buckets);
        for step in 0..1_000 {
            histogram.observe(f64::from(step) * 0.01, 1.0, buckets);
            assert!(histogram.counts.len() <= 20);
        }
        assert_eq!((histogram.count(), histogram.zero_count), (1_000.0, 1.0));
        assert!(histogram.schema >= 0, "{}", histogram.schema);
        let wanted = (1..1_000).filter(|step| (101..=200).contains(step)).count();
        let counted: f64 = (1..=1 << histogram.schema).filter_map(|bucket| histogram.counts.get(&bucket)).sum();
        assert_eq!(counted, wanted as f64);
    }

    #[test]
    fn runs_of_buckets_are_told_by_their_distance() {
        let mut histogram = NativeHistogram::new(NativeBuckets::new(2.0, 100));
        for value in [0.25, 0.5, 4.0, 8.0, 64.0] {
            histogram.observe(value, 1.0, NativeBuckets::new(2.0, 100));
        }
        assert_eq!(histogram.spans(), [(-2, 2), (2, 2), (2, 1)]);
    }
}
