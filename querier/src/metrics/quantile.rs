//! Quantiles from histograms whose buckets end at powers of two. Pure.

pub(crate) use storage::rollup::bucket;

/// The upper end of a bucket.
pub(crate) fn bucket_end(bucket: u8) -> f64 {
    f64::from(bucket).exp2()
}

/// The value below which the share `quantile` of all values lies, from counts by bucket, ascending; 0 without values.
///
/// Between the ends of a bucket it grows exponentially. A bucket begins where the one before it that has values ends.
pub(crate) fn quantile(counts: &[(u8, f64)], quantile: f64) -> f64 {
    let total: f64 = counts.iter().map(|(_, count)| count).sum();
    let needed = (quantile * total).ceil().max(1.0);
    let (mut below, mut previous) = (0.0, None);
    for &(bucket, count) in counts.iter().filter(|(_, count)| *count > 0.0) {
        if below + count >= needed {
            let end = f64::from(bucket);
            let start = previous.unwrap_or(end - 1.0);
            return (start + (end - start) * ((needed - below) / count)).exp2();
        }
        below += count;
        previous = Some(f64::from(bucket));
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_end_at_powers_of_two() {
        let values = [i64::MIN, -5, 0, 1, 2, 3, 4, 5, 1024, 1025, 1_000_000_000, i64::MAX];
        let ends = values.map(|value| bucket(value).map(bucket_end));
        let two_to = |power: i32| Some(2_f64.powi(power));
        assert_eq!(ends[..4], [None; 4]);
        assert_eq!(ends[4..8], [two_to(1), two_to(2), two_to(2), two_to(3)]);
        assert_eq!(ends[8..], [two_to(10), two_to(11), two_to(30), two_to(63)]);
    }

    #[test]
    fn quantiles_lie_between_the_ends_of_buckets() {
        let nanos = [3_000_000_000, 4_000_000_000, 100_000_000].map(|value| bucket(value).unwrap());
        let counts = [(nanos[2], 1.0), (nanos[0], 2.0)];
        assert_eq!(nanos[0], nanos[1]);
        let seconds = |share| quantile(&counts, share) / 1e9;
        assert!((seconds(0.5) - 0.759_250_124_994_012_6).abs() < 1e-15);
        assert_eq!(seconds(0.9), 4.294967296);
        assert_eq!(seconds(1.0), 4.294967296);
        assert_eq!(seconds(0.0), 0.134217728);
        assert_eq!(quantile(&[], 0.5), 0.0);
        assert_eq!(quantile(&[(3, 0.0)], 0.5), 0.0);
        assert_eq!(quantile(&[(3, 4.0)], 0.5), 2_f64.powf(2.5));
    }
}
