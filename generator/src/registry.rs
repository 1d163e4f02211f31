//! The series of one tenant: what each counts, and how many there may be.
//!
//! Owns limits and staleness. What a series means, and how it is written, is not known here.

mod native;
mod saved;

use hashbrown::{HashMap, HashSet};

use crate::buckets::Buckets;
use crate::labels::{LabelSet, overflow};
use crate::limits::Limits;
use crate::memory::Account;

pub use native::NativeBuckets;
pub(crate) use native::{NativeHistogram, ZERO_THRESHOLD};

const OVERFLOW_VALUE: &str = "__cardinality_overflow__";

/// The series of one metric name.
pub struct Family {
    pub name: String,
    pub help: &'static str,
    pub kind: Kind,
    /// Whether labels of the process (instance, external labels) are added.
    pub has_external_labels: bool,
    by_labels: HashMap<LabelSet, usize>,
    series: Vec<Option<Series>>,
    free: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram(HistogramKind),
}

/// The buckets of a histogram: chosen ones, those that grow by a factor, or both.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramKind {
    pub classic: Option<Buckets>,
    pub native: Option<NativeBuckets>,
}

impl HistogramKind {
    pub fn bounds(&self) -> &[f64] {
        self.classic.as_ref().map_or(&[], Buckets::bounds)
    }
}

impl Kind {
    /// How many series a set of labels stands for.
    fn series_count(&self) -> usize {
        match self {
            Self::Counter | Self::Gauge => 1,
            Self::Histogram(HistogramKind { classic, native }) => {
                let of_classic = classic.as_ref().map_or(0, |buckets| buckets.bounds().len() + 3);
                of_classic + usize::from(native.is_some())
            }
        }
    }
}

/// What a series takes beside its labels and buckets: its own size, and its places in tables.
const SERIES_BYTES: usize = 160;
/// What a label takes beside its texts.
const LABEL_BYTES: usize = 64;
/// What native buckets of a histogram mostly take.
const NATIVE_BYTES: usize = 1_024;

impl Kind {
    /// What a series takes, about. Labels that several series share count for each.
    fn bytes(&self, labels: &LabelSet) -> usize {
        let of_labels: usize = labels.iter().map(|(name, value)| LABEL_BYTES + name.len() + value.len()).sum();
        let of_value = match self {
            Self::Counter | Self::Gauge => 0,
            Self::Histogram(kind) => {
                let of_bucket = size_of::<f64>() + size_of::<Option<Exemplar>>();
                (kind.bounds().len() + 1) * of_bucket + kind.native.map_or(0, |_| NATIVE_BYTES)
            }
        };
        SERIES_BYTES + of_labels + of_value
    }
}

/// What one set of labels has counted.
pub struct Series {
    pub labels: LabelSet,
    pub value: SeriesValue,
    /// When counting began, unix milliseconds.
    pub start_millis: i64,
    updated_millis: i64,
    /// Nobody has been told of it so far.
    pub is_new: bool,
}

impl Series {
    /// When counting began, as targets are told: a new series was zero at `zero_millis`.
    pub(crate) fn start_told(&self, zero_millis: i64) -> i64 {
        if self.is_new { self.start_millis.min(zero_millis) } else { self.start_millis }
    }
}

pub enum SeriesValue {
    Number(f64),
    Histogram(Histogram),
}

/// Counts by chosen bucket, not summed up; the last is above all bounds.
pub struct Histogram {
    pub counts: Vec<f64>,
    pub sum: f64,
    pub(crate) native: Option<NativeHistogram>,
    /// The latest span of each bucket since the last collection.
    pub exemplars: Vec<Option<Exemplar>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    pub trace_id: [u8; 16],
    pub value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FamilyId(usize);

/// Valid until stale series are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesId {
    family: FamilyId,
    index: usize,
}

/// What was refused since it was last asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Sets of labels beyond `max_active_series`.
    pub series: u64,
    /// Sets of labels for which there was no memory.
    pub out_of_memory: u64,
    /// Values beyond `max_cardinality_per_label`, by label.
    pub values: HashMap<String, u64>,
}

pub struct Registry {
    limits: Limits,
    families: Vec<Family>,
    active_series: usize,
    /// Distinct values by label, while they are limited.
    values: HashMap<String, HashSet<String>>,
    refused: Refused,
    /// How often series were removed: numbers of series are good until then.
    removals: u64,
    memory: Account,
}

/// What the series took is there for others.
impl Drop for Registry {
    fn drop(&mut self) {
        for family in &mut self.families {
            family.remove_before(i64::MAX, &self.memory);
        }
    }
}

impl Registry {
    pub(crate) fn new(limits: Limits, memory: Account) -> Self {
        let (families, values, refused) = Default::default();
        Self { limits, families, active_series: 0, values, refused, removals: 0, memory }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn family(&mut self, name: &str, help: &'static str, kind: Kind) -> FamilyId {
        self.add_family(name, help, kind, true)
    }

    /// A family whose labels say all there is to know of a thing outside.
    pub fn info_family(&mut self, name: &str, help: &'static str) -> FamilyId {
        self.add_family(name, help, Kind::Gauge, false)
    }

    fn add_family(&mut self, name: &str, help: &'static str, kind: Kind, has_external_labels: bool) -> FamilyId {
        let (by_labels, series, free) = Default::default();
        self.families.push(Family { name: name.to_owned(), help, kind, has_external_labels, by_labels, series, free });
        FamilyId(self.families.len() - 1)
    }

    /// Replaces values beyond the limit of their label.
    pub(crate) fn limit_values(&mut self, labels: LabelSet) -> LabelSet {
        let most = self.limits.max_cardinality_per_label;
        if most == 0 {
            return labels;
        }
        let limited = labels.iter().map(|(name, value)| {
            let seen = self.values.entry_ref(&**name).or_default();
            if seen.contains(&**value) || seen.len() < most && seen.insert((**value).to_owned()) {
                return (name.clone(), value.clone());
            }
            *self.refused.values.entry_ref(&**name).or_default() += 1;
            (name.clone(), OVERFLOW_VALUE.into())
        });
        limited.collect()
    }

    /// The series of these labels; beyond the limit, the one that stands for all others.
    pub fn series(&mut self, family: FamilyId, labels: &LabelSet, now_millis: i64) -> SeriesId {
        let FamilyId(at) = family;
        if let Some(&index) = self.families[at].by_labels.get(labels) {
            return SeriesId { family, index };
        }
        let (most, more) = (self.limits.max_active_series, self.families[at].kind.series_count());
        let is_within_limit = most == 0 || self.active_series + more <= most;
        if is_within_limit && self.memory.take(self.families[at].kind.bytes(labels)) {
            self.active_series += more;
            return SeriesId { family, index: self.families[at].add(labels.clone(), now_millis) };
        }
        let refused = if is_within_limit { &mut self.refused.out_of_memory } else { &mut self.refused.series };
        *refused += 1;
        let overflow = overflow();
        let known = self.families[at].by_labels.get(&overflow).copied();
        let index = known.unwrap_or_else(|| self.families[at].add(overflow, now_millis));
        SeriesId { family, index }
    }

    /// Whether it is the series that stands for all beyond the limit.
    pub(crate) fn is_overflow(&self, SeriesId { family: FamilyId(family), index }: SeriesId) -> bool {
        let series = self.families.get(family).and_then(|family| family.series.get(index)?.as_ref());
        series.is_some_and(|series| series.labels == overflow())
    }

    /// Changes when numbers of series may mean others.
    pub(crate) fn removals(&self) -> u64 {
        self.removals
    }

    pub fn add(&mut self, id: SeriesId, amount: f64, now_millis: i64) {
        if let Some(SeriesValue::Number(number)) = self.value(id, now_millis) {
            *number += amount;
        }
    }

    pub fn set(&mut self, id: SeriesId, value: f64, now_millis: i64) {
        if let Some(SeriesValue::Number(number)) = self.value(id, now_millis) {
            *number = value;
        }
    }

    /// Counts `value` as often as `weight` says.
    pub fn observe(&mut self, id: SeriesId, value: f64, weight: f64, trace_id: [u8; 16], now_millis: i64) {
        self.observe_native(id, value, weight);
        let Some((histogram, kind)) = self.histogram(id, now_millis) else { return };
        let bucket = kind.bounds().partition_point(|bound| *bound < value);
        histogram.counts[bucket] += weight;
        histogram.sum += value * weight;
        histogram.exemplars[bucket] = Some(Exemplar { trace_id, value });
    }

    /// Adds many values that were counted by chosen bucket, and the latest of each.
    pub(crate) fn observe_all(
        &mut self,
        id: SeriesId,
        counts: &[f64],
        sum: f64,
        latest: impl Iterator<Item = Option<Exemplar>>,
        now_millis: i64,
    ) {
        let Some((histogram, _)) = self.histogram(id, now_millis) else { return };
        let Histogram { counts: all, exemplars, .. } = histogram;
        for (((all, exemplar), count), latest) in all.iter_mut().zip(exemplars).zip(counts).zip(latest) {
            *all += count;
            *exemplar = latest.or(*exemplar);
        }
        histogram.sum += sum;
    }

    /// Counts a value in native buckets alone, if there are any.
    pub(crate) fn observe_native(&mut self, id: SeriesId, value: f64, weight: f64) {
        let Some((histogram, kind)) = self.histogram(id, i64::MIN) else { return };
        if let (Some(native), Some(buckets)) = (&mut histogram.native, kind.native) {
            native.observe(value, weight, buckets);
        }
    }

    /// A histogram that changes now.
    fn histogram(&mut self, id: SeriesId, now_millis: i64) -> Option<(&mut Histogram, &HistogramKind)> {
        let SeriesId { family: FamilyId(family), index } = id;
        let Family { kind: Kind::Histogram(kind), series, .. } = self.families.get_mut(family)? else { return None };
        let series = series.get_mut(index)?.as_mut()?;
        series.updated_millis = series.updated_millis.max(now_millis);
        match &mut series.value {
            SeriesValue::Histogram(histogram) => Some((histogram, &*kind)),
            SeriesValue::Number(_) => None,
        }
    }

    fn value(&mut self, id: SeriesId, now_millis: i64) -> Option<&mut SeriesValue> {
        let SeriesId { family: FamilyId(family), index } = id;
        let series = self.families.get_mut(family)?.series.get_mut(index)?.as_mut()?;
        series.updated_millis = now_millis;
        Some(&mut series.value)
    }

    /// Forgets what has not changed for long; returns whether there was anything.
    pub fn remove_stale(&mut self, now_millis: i64) -> bool {
        let stale_millis = i64::try_from(self.limits.stale_duration.as_millis()).unwrap_or(i64::MAX);
        let oldest = now_millis.saturating_sub(stale_millis);
        let memory = &self.memory;
        let removed: usize = self.families.iter_mut().map(|family| family.remove_before(oldest, memory)).sum();
        self.active_series -= removed.min(self.active_series);
        self.removals += u64::from(removed > 0);
        if removed > 0 && self.limits.max_cardinality_per_label > 0 {
            self.values = self.values_of_series();
        }
        removed > 0
    }

    fn values_of_series(&self) -> HashMap<String, HashSet<String>> {
        let mut values: HashMap<String, HashSet<String>> = HashMap::new();
        let all = self.families.iter().flat_map(Family::series).flat_map(|series| series.labels.iter());
        for (name, value) in all.filter(|(_, value)| &**value != OVERFLOW_VALUE) {
            values.entry_ref(&**name).or_default().insert((**value).to_owned());
        }
        values
    }

    /// Series of all names, as `max_active_series` counts them.
    pub fn active_series(&self) -> usize {
        self.active_series
    }

    pub fn take_refused(&mut self) -> Refused {
        std::mem::take(&mut self.refused)
    }

    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// All series are known from now on, with the start that was told, and their exemplars.
    pub fn mark_collected(&mut self, zero_millis: i64) {
        for series in self.families.iter_mut().flat_map(|family| family.series.iter_mut().flatten()) {
            series.start_millis = series.start_told(zero_millis);
            series.is_new = false;
            if let SeriesValue::Histogram(histogram) = &mut series.value {
                histogram.exemplars.fill(None);
            }
        }
    }
}

impl Family {
    pub fn series(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().flatten()
    }

    fn add(&mut self, labels: LabelSet, now_millis: i64) -> usize {
        let value = match &self.kind {
            Kind::Counter | Kind::Gauge => SeriesValue::Number(0.0),
            Kind::Histogram(kind) => {
                let count = kind.bounds().len() + 1;
                let native = kind.native.map(NativeHistogram::new);
                let (counts, exemplars) = (vec![0.0; count], vec![None; count]);
                SeriesValue::Histogram(Histogram { counts, sum: 0.0, native, exemplars })
            }
        };
        let series = Series {
            labels: labels.clone(),
            value,
            start_millis: now_millis,
            updated_millis: now_millis,
            is_new: true,
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.series[index] = Some(series);
                index
            }
            None => {
                self.series.push(Some(series));
                self.series.len() - 1
            }
        };
        self.by_labels.insert(labels, index);
        index
    }

    /// Returns how many series went, as `max_active_series` counts them; overflow was never counted.
    fn remove_before(&mut self, oldest_millis: i64, memory: &Account) -> usize {
        let (overflow, mut removed) = (overflow(), 0);
        for (index, slot) in self.series.iter_mut().enumerate() {
            if let Some(series) = slot.take_if(|series| series.updated_millis < oldest_millis) {
                self.by_labels.remove(&series.labels);
                self.free.push(index);
                if series.labels != overflow {
                    memory.give_back(self.kind.bytes(&series.labels));
                    removed += 1;
                }
            }
        }
        removed * self.kind.series_count()
    }
}
