//! From numbers by series to the series of the answer: units, quantiles, labels, exemplars.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::exemplars::{Candidate, TraceInBlock};
use super::partial_series::PartialSeries;
use super::quantile::{bucket_end, quantile};
use crate::answer::{Series, Value};
use crate::cancellation::is_waited_for;
use crate::eval::Key;
use crate::intervals::Intervals;
use crate::series::SeriesKey;

/// How numbers become the series of the answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Finish {
    /// Divided by the seconds of an interval.
    Rate,
    /// As they are; ungrouped series have the function's name as their label.
    Named(&'static str),
    /// Counts by bucket.
    Histogram,
    /// From counts by bucket.
    Quantiles(Vec<f64>),
}

/// What series are labelled with.
pub(super) struct Labels<'a> {
    /// Fields of `by()`.
    pub by: &'a [&'a str],
    /// What the end of a bucket is divided by.
    pub bucket_unit: f64,
}

type LabelValues = Vec<Option<Key>>;

/// The first span of a series in a trace: an exemplar that is not read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UnreadSpan {
    pub trace: TraceInBlock,
    pub key: SeriesKey,
}

/// Counts of a group by bucket, ascending, and the spans that stand for others.
#[derive(Default)]
struct Histogram {
    by_bucket: BTreeMap<u8, Vec<f64>>,
    /// Each with its bucket.
    candidates: Vec<(Option<u8>, Candidate)>,
}

impl Labels<'_> {
    /// Without any span a count that is not grouped is a series of zeros, and everything else no series. Exemplars number
    /// what they have in `unread`.
    pub fn series(
        &self,
        mut partial: PartialSeries,
        finish: &Finish,
        is_count: bool,
        intervals: &Intervals,
        unread: &mut Vec<UnreadSpan>,
    ) -> Vec<Series> {
        if is_count && self.by.is_empty() && partial.set.len() == 0 {
            // there is always room for the first series of a query that was answered at all
            _ = partial.set.series(Default::default());
        }
        let exemplars = partial.exemplars.into_series(partial.set.len());
        // of a query that was given up nobody sees the series
        let numbered = partial.set.into_series().zip(exemplars).take_while(|_| is_waited_for());
        if let Finish::Quantiles(quantiles) = finish {
            return self.quantiles(quantiles, numbered, unread);
        }
        let series = numbered.map(|((key, mut values), candidates)| {
            match finish {
                Finish::Rate => values.iter_mut().for_each(|value| *value /= intervals.step_seconds()),
                Finish::Named(_) | Finish::Histogram | Finish::Quantiles(_) => {}
            }
            let labels = match (finish, key.bucket) {
                (_, Some(bucket)) => self.of_group_and(&key.labels, "__bucket", self.bucket_end(bucket)),
                (Finish::Rate, _) if self.by.is_empty() => vec![name("rate")],
                (Finish::Named(function), _) if self.by.is_empty() => vec![name(function)],
                _ => self.of_group(&key.labels),
            };
            let exemplars = candidates.into_iter().map(|found| {
                found.into_exemplar(|trace| {
                    unread.push(UnreadSpan { trace, key: key.clone() });
                    unread.len() - 1
                })
            });
            let exemplars = exemplars.collect();
            Series { labels, values, exemplars }
        });
        series.collect()
    }

    /// One series for each quantile and group. An exemplar goes to the least quantile that is not below it.
    fn quantiles(
        &self,
        quantiles: &[f64],
        histograms: impl Iterator<Item = ((SeriesKey, Vec<f64>), Vec<Candidate>)>,
        unread: &mut Vec<UnreadSpan>,
    ) -> Vec<Series> {
        let mut groups: HashMap<LabelValues, Histogram> = HashMap::new();
        for ((SeriesKey { labels, bucket }, counts), candidates) in histograms {
            let histogram = groups.entry(labels).or_default();
            histogram.by_bucket.insert(bucket.unwrap_or_default(), counts);
            histogram.candidates.extend(candidates.into_iter().map(|found| (bucket, found)));
        }
        let mut all = Vec::new();
        for (group, Histogram { by_bucket, mut candidates }) in groups {
            if !is_waited_for() {
                break;
            }
            let intervals = by_bucket.values().next().map_or(0, Vec::len);
            let at = |share: f64, interval: usize| {
                // of spans that stand for others only whole ones count, as in Tempo
                let counts: Vec<(u8, f64)> =
                    by_bucket.iter().map(|(bucket, counts)| (*bucket, counts[interval].floor())).collect();
                quantile(&counts, share) / self.bucket_unit
            };
            let mut series: Vec<Series> = quantiles
                .iter()
                .map(|&share| {
                    let labels = self.of_group_and(&group, "p", Value::Double(share));
                    let values = (0..intervals).map(|interval| at(share, interval)).collect();
                    Series { labels, values, exemplars: Vec::new() }
                })
                .collect();
            candidates.sort_by_key(|(_, found)| (found.start_nanos, found.trace_id));
            for (bucket, found) in candidates {
                let is_above = |series: &Series| series.values[found.interval as usize] >= found.value;
                let place = series.iter().position(is_above).unwrap_or(series.len().saturating_sub(1));
                if let Some(series) = series.get_mut(place) {
                    series.exemplars.push(found.into_exemplar(|trace| {
                        unread.push(UnreadSpan { trace, key: SeriesKey { labels: group.clone(), bucket } });
                        unread.len() - 1
                    }));
                }
            }
            all.extend(series);
        }
        all
    }

    /// A missing value has no label; a series that had none at all has the first field with the text `nil`.
    fn of_group(&self, values: &[Option<Key>]) -> Vec<(String, Value)> {
        let labels: Vec<(String, Value)> = self.present(values).collect();
        match self.by.first() {
            Some(first) if labels.is_empty() => vec![((*first).to_owned(), Value::String("nil".to_owned()))],
            _ => labels,
        }
    }

    /// The labels of a group, and one that each of its series has.
    fn of_group_and(&self, values: &[Option<Key>], label: &str, value: Value) -> Vec<(String, Value)> {
        self.present(values).chain([(label.to_owned(), value)]).collect()
    }

    fn present(&self, values: &[Option<Key>]) -> impl Iterator<Item = (String, Value)> {
        let labels = self.by.iter().zip(values);
        labels.filter_map(|(label, value)| Some(((*label).to_owned(), value.as_ref()?.value().into())))
    }

    fn bucket_end(&self, bucket: u8) -> Value {
        Value::Double(bucket_end(bucket) / self.bucket_unit)
    }
}

fn name(function: &str) -> (String, Value) {
    ("__name__".to_owned(), Value::String(function.to_owned()))
}
