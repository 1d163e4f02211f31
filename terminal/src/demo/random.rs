//! Numbers from a seed: SplitMix64, the same on every machine.

/// The middle half of durations lies within a factor of about 1.35 of the median.
const SPREAD: f64 = 0.45;

pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to 1.
    pub(super) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(super) fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    /// Nanoseconds around so many milliseconds, as durations lie: a few are much longer.
    pub(super) fn work(&mut self, milliseconds: f64) -> u64 {
        // never 0, of which there is no logarithm
        let radius = (-2.0 * (1.0 - self.fraction()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.fraction()).cos();
        (milliseconds * 1e6 * (SPREAD * normal).exp()) as u64
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.next());
        words.take(count.div_ceil(8)).flat_map(u64::to_be_bytes).take(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_everywhere() {
        let mut random = Random::new(1_234_567);
        // the first values of the reference implementation for this seed
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn work_lies_around_its_median() {
        let mut random = Random::new(7);
        let mut works: Vec<u64> = (0..1001).map(|_| random.work(10.0)).collect();
        works.sort_unstable();
        assert!((9_000_000..11_000_000).contains(&works[500]), "{}", works[500]);
        assert!(works[1000] > 20_000_000 && works[0] > 1_000_000);
    }
}
