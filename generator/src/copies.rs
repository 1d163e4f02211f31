//! Which spans were counted lately: a client that heard no answer sends them again.
//!
//! Identities are kept as hashes of 64 bits, for some time and up to a number. Two of ten million spans that have the same
//! hash by chance are one in 370,000 cases.

use hashbrown::HashSet;

/// Places of the largest table: 2^20 take 9 MiB. There are two tables.
const MOST_PLACES: usize = 1 << 20;
/// What a place of a table may take, with the hash waiting to be written to a file.
const PLACE_BYTES: usize = 17;
/// Files of a generation; with more, all its hashes are written to one.
const MOST_PARTS: usize = 64;

/// The spans of the last one to two periods, of all tenants.
pub(crate) struct RecentSpans {
    current: Generation,
    previous: Generation,
    period_millis: i64,
    since_millis: i64,
    /// Hashes that one generation may hold.
    most: usize,
    /// Hashes that were forgotten before their time.
    forgotten: u64,
}

#[derive(Default)]
struct Generation {
    hashes: HashSet<u64>,
    /// Files that have some of the hashes, by number.
    parts: Vec<u64>,
    /// Those that no file has.
    unsaved: Vec<u64>,
}

/// Hashes by the files that they were read from.
#[derive(Default)]
pub(crate) struct Generations {
    pub previous: Vec<(u64, Vec<u64>)>,
    pub current: Vec<(u64, Vec<u64>)>,
}

impl RecentSpans {
    /// Remembers spans for one to two periods, or as long as two tables of so many bytes last.
    pub(crate) fn new(period_millis: i64, now_millis: i64, memory_bytes: usize) -> Self {
        let places = (memory_bytes / 2 / PLACE_BYTES).clamp(16, MOST_PLACES);
        let places = if places.is_power_of_two() { places } else { places.next_power_of_two() / 2 };
        Self {
            current: Generation::default(),
            previous: Generation::default(),
            period_millis,
            since_millis: now_millis,
            most: places / 8 * 7,
            forgotten: 0,
        }
    }

    /// Remembers a span; false when it is known. `tenant` is a hash of whose it is.
    pub(crate) fn is_new(
        &mut self,
        tenant: u64,
        trace_id: &[u8; 16],
        span_id: u64,
        kind: i32,
        start_nanos: u64,
    ) -> bool {
        let hash = hash(tenant, trace_id, span_id, kind, start_nanos);
        if self.previous.hashes.contains(&hash) {
            return false;
        }
        if self.current.hashes.len() >= self.most {
            if self.current.hashes.contains(&hash) {
                return false;
            }
            self.forgotten += self.previous.hashes.len() as u64;
            self.turn();
        }
        let is_new = self.current.hashes.insert(hash);
        if is_new {
            self.current.unsaved.push(hash);
        }
        is_new
    }

    /// Forgets what is older than two periods.
    pub(crate) fn tick(&mut self, now_millis: i64) {
        if now_millis - self.since_millis >= self.period_millis {
            self.since_millis = now_millis;
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.previous = std::mem::take(&mut self.current);
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let of = |generation: &Generation| (generation.hashes.capacity() + generation.unsaved.capacity()) * 9;
        of(&self.current) + of(&self.previous)
    }

    /// Hashes that were forgotten before their time, since it was last asked.
    pub(crate) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    /// When the current generation began.
    pub(crate) fn since_millis(&self) -> i64 {
        self.since_millis
    }

    /// Has hashes written that no file has; returns the numbers of the files of both generations, the older one first.
    ///
    /// # Errors
    /// That of `write`; what could not be written is given to it again the next time.
    pub(crate) fn save<E>(&mut self, mut write: impl FnMut(&[u64]) -> Result<u64, E>) -> Result<[Vec<u64>; 2], E> {
        for generation in [&mut self.previous, &mut self.current] {
            generation.save(&mut write)?;
        }
        Ok([self.previous.parts.clone(), self.current.parts.clone()])
    }

    /// Takes over what an earlier process remembered.
    pub(crate) fn restore(&mut self, Generations { previous, current }: Generations, since_millis: i64) {
        self.since_millis = since_millis;
        (self.previous, self.current) = (Generation::of(previous), Generation::of(current));
    }
}

impl Generation {
    fn of(parts: Vec<(u64, Vec<u64>)>) -> Self {
        let numbers = parts.iter().map(|(number, _)| *number).collect();
        let hashes = parts.into_iter().flat_map(|(_, hashes)| hashes).collect();
        Self { hashes, parts: numbers, unsaved: Vec::new() }
    }

    fn save<E>(&mut self, write: &mut impl FnMut(&[u64]) -> Result<u64, E>) -> Result<(), E> {
        if self.unsaved.is_empty() {
            return Ok(());
        }
        if self.parts.len() >= MOST_PARTS {
            let all: Vec<u64> = self.hashes.iter().copied().collect();
            self.parts = vec![write(&all)?];
        } else {
            self.parts.push(write(&self.unsaved)?);
        }
        self.unsaved = Vec::new();
        Ok(())
    }
}

/// Ids are random already; start and kind tell apart what has the same ids.
fn hash(tenant: u64, trace_id: &[u8; 16], span_id: u64, kind: i32, start_nanos: u64) -> u64 {
    let trace_id = u128::from_be_bytes(*trace_id);
    let mix = |state: u64, word: u64| {
        let product = u128::from(state ^ word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        (product >> 64) as u64 ^ product as u64
    };
    [trace_id as u64, (trace_id >> 64) as u64, span_id, start_nanos, kind as u64]
        .into_iter()
        .fold(tenant ^ 0x517c_c1b7_2722_0a95, mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 32 << 20;

    #[test]
    fn less_memory_is_less_time() {
        let most = |bytes| RecentSpans::new(100, 0, bytes).most;
        assert_eq!([1 << 10, 1 << 20, 36 << 20, 1 << 30].map(most), [14, 14_336, 917_504, 917_504]);
    }

    #[test]
    fn a_span_is_new_once_until_two_periods_have_passed() {
        let mut recent = RecentSpans::new(100, 0, BYTES);
        let is_new = |recent: &mut RecentSpans| recent.is_new(7, &[1; 16], 2, 3, 4);
        assert_eq!((is_new(&mut recent), is_new(&mut recent)), (true, false));
        recent.tick(100);
        assert!(!is_new(&mut recent));
        recent.tick(150);
        assert!(!is_new(&mut recent));
        recent.tick(200);
        assert!(is_new(&mut recent));
    }

    #[test]
    fn tenant_kind_and_start_tell_spans_with_the_same_ids_apart() {
        let mut recent = RecentSpans::new(100, 0, BYTES);
        assert!(recent.is_new(8, &[1; 16], 2, 2, 10));
        for (kind, start) in [(2, 10), (3, 10), (2, 11)] {
            assert!(recent.is_new(7, &[1; 16], 2, kind, start));
        }
    }

    #[test]
    fn no_more_than_two_generations_are_kept() {
        let mut recent = RecentSpans { most: 10, ..RecentSpans::new(i64::MAX, 0, BYTES) };
        for span in 0..100 {
            assert!(recent.is_new(7, &[1; 16], span, 2, 0));
            assert!(recent.current.hashes.len() + recent.previous.hashes.len() <= 20);
        }
        assert!(!recent.is_new(7, &[1; 16], 99, 2, 0));
        assert_eq!((recent.take_forgotten(), recent.take_forgotten()), (80, 0));
    }

    #[test]
    fn what_was_written_to_files_is_known_when_they_are_read_back() {
        let (mut recent, mut files) = (RecentSpans::new(100, 0, BYTES), Vec::<Vec<u64>>::new());
        let mut parts = [Vec::new(), Vec::new()];
        for span in 0..200 {
            recent.is_new(7, &[1; 16], span, 2, 0);
            if span == 100 {
                recent.tick(100);
            }
            let write = |hashes: &[u64]| {
                files.push(hashes.to_vec());
                Ok::<_, ()>(files.len() as u64 - 1)
            };
            parts = recent.save(write).unwrap();
        }
        assert!(parts.iter().all(|parts| (1..=MOST_PARTS).contains(&parts.len())), "{parts:?}");
        let [previous, current] =
            parts.map(|parts| parts.into_iter().map(|part| (part, files[part as usize].clone())).collect());
        let mut restored = RecentSpans::new(100, 1_000, BYTES);
        restored.restore(Generations { previous, current }, 1_050);
        let is_known = |recent: &mut RecentSpans, span| !recent.is_new(7, &[1; 16], span, 2, 0);
        assert!((0..200).all(|span| is_known(&mut restored, span)));
        restored.tick(1_150);
        assert_eq!((is_known(&mut restored, 50), is_known(&mut restored, 150)), (false, true));
    }
}
