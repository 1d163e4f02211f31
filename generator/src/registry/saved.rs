//! Series in a checkpoint.

use super::{Family, Histogram, Kind, NativeHistogram, Registry, Series, SeriesValue, overflow};
use crate::memory::Account;
use crate::state::{FamilyState, NativeState, Numbered, Numbering, SeriesState};

impl Registry {
    pub(crate) fn save(&self, numbering: &mut Numbering) -> Vec<FamilyState> {
        self.families.iter().map(|family| family.save(numbering)).collect()
    }

    /// Takes series over, as far as there are families with their names and buckets. Their last change is later by
    /// `shift_millis`.
    pub(crate) fn restore(&mut self, saved: Vec<FamilyState>, numbered: &Numbered, shift_millis: i64) {
        for FamilyState { name, bounds, series } in saved {
            let family = self.families.iter_mut().find(|family| family.name == name && family.kind.bounds() == bounds);
            let Some(family) = family else { continue };
            for series in series {
                if !family.restore(series, numbered, shift_millis, &self.memory) {
                    self.refused.out_of_memory += 1;
                }
            }
        }
        self.active_series = self.families.iter().map(Family::active_series).sum();
        if self.limits.max_cardinality_per_label > 0 {
            self.values = self.values_of_series();
        }
    }
}

impl Kind {
    fn bounds(&self) -> &[f64] {
        match self {
            Self::Counter | Self::Gauge => &[],
            Self::Histogram(kind) => kind.bounds(),
        }
    }
}

impl Family {
    fn save(&self, numbering: &mut Numbering) -> FamilyState {
        let series = self.series().map(|series| {
            let (value, counts, native) = match &series.value {
                SeriesValue::Number(number) => (*number, Vec::new(), None),
                SeriesValue::Histogram(Histogram { counts, sum, native, .. }) => {
                    (*sum, counts.clone(), native.as_ref().map(save_native))
                }
            };
            let Series { start_millis, updated_millis, is_new, .. } = *series;
            let label_set = numbering.label_set(&series.labels);
            SeriesState { label_set, value, counts, start_millis, updated_millis, is_new, native }
        });
        FamilyState { name: self.name.clone(), bounds: self.kind.bounds().to_vec(), series: series.collect() }
    }

    /// False when there is no memory for it.
    fn restore(&mut self, saved: SeriesState, numbered: &Numbered, shift_millis: i64, memory: &Account) -> bool {
        let Some(labels) = numbered.label_set(saved.label_set) else { return true };
        if labels != overflow() && !memory.take(self.kind.bytes(&labels)) {
            return false;
        }
        let index = self.add(labels, saved.start_millis);
        let Some(series) = self.series.get_mut(index).and_then(Option::as_mut) else { return true };
        series.updated_millis = saved.updated_millis.saturating_add(shift_millis);
        series.is_new = saved.is_new;
        match &mut series.value {
            SeriesValue::Number(number) => *number = saved.value,
            SeriesValue::Histogram(histogram) if histogram.counts.len() == saved.counts.len() => {
                (histogram.counts, histogram.sum) = (saved.counts, saved.value);
                if let (Some(native), Some(saved)) = (&mut histogram.native, saved.native) {
                    let counts = saved.buckets.into_iter().zip(saved.counts).collect();
                    *native = NativeHistogram { schema: saved.schema, zero_count: saved.zero_count, counts };
                }
            }
            SeriesValue::Histogram(_) => {}
        }
        true
    }

    /// How many series there are, as `max_active_series` counts them.
    fn active_series(&self) -> usize {
        let overflow = overflow();
        self.series().filter(|series| series.labels != overflow).count() * self.kind.series_count()
    }
}

fn save_native(NativeHistogram { schema, zero_count, counts }: &NativeHistogram) -> NativeState {
    let (buckets, counts) = counts.iter().unzip();
    NativeState { schema: *schema, zero_count: *zero_count, buckets, counts }
}
