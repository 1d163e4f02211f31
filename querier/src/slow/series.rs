//! Metrics over traces: numbers by series and interval.

use std::collections::BTreeMap;

use model::{Intrinsic, Scope};
use traceql::{CompareOp, Field, FieldExpr, MetricsFunction, Query, SecondStage, Static};

use super::Trace;
use super::pipeline::{self, Refused};
use super::rows::{self, Value};
use crate::answer;

/// The intervals `(end - step, end]` of a query, by their ends.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    ends: Vec<u64>,
    step: u64,
}

/// Numbers by interval, NaN where there is none, under the labels of their series.
pub(crate) type Numbers = BTreeMap<String, Vec<f64>>;

impl Window {
    /// Ends are the multiples of the step from the last before the start to the first after the end.
    pub fn range(start: u64, end: u64, step: u64) -> Self {
        Self { ends: (start / step..=end.div_ceil(step)).map(|number| number * step).collect(), step }
    }

    pub fn instant(start: u64, end: u64) -> Self {
        Self { ends: vec![end], step: end - start }
    }

    fn interval(&self, nanos: u64) -> Option<usize> {
        self.ends.iter().position(|&end| end - self.step < nanos && nanos <= end)
    }

    fn of_each(&self, values: &[(usize, f64)], join: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        let of = |interval| -> Vec<f64> {
            values.iter().filter(|(at, _)| *at == interval).map(|(_, value)| *value).collect()
        };
        (0..self.ends.len()).map(|interval| join(&of(interval))).collect()
    }
}

/// What two series never have in common; `None` where there is no value.
type Group = Vec<Option<Static>>;

/// The series of a metrics query, by the text of [`label_text`].
pub(crate) fn series(traces: &[Trace], query: &Query, window: &Window) -> Result<Numbers, Refused> {
    let metrics = query.metrics.as_ref().unwrap();
    let measured = measured_field(&metrics.function);
    let mut groups: Vec<(Group, Vec<(usize, Value)>)> = Vec::new();
    for trace in traces {
        for set in pipeline::evaluate(trace, &query.pipeline)? {
            for span in set.spans {
                let Some(interval) = window.interval(trace.spans[span].start_nanos()) else { continue };
                let value = |field: &Field| rows::value(trace, span, &FieldExpr::Field(field.clone()));
                let group: Result<Group, _> =
                    metrics.by.iter().map(|by| Ok::<_, Refused>(label(by, value(by)?))).collect();
                let (group, value) = (group?, measured.map(value).transpose()?.unwrap_or(Value::Missing));
                match groups.iter_mut().find(|(known, _)| *known == group) {
                    Some((_, values)) => values.push((interval, value)),
                    None => groups.push((group, vec![(interval, value)])),
                }
            }
        }
    }
    let is_count = matches!(metrics.function, MetricsFunction::Rate | MetricsFunction::CountOverTime);
    if is_count && metrics.by.is_empty() && groups.is_empty() {
        groups.push((Vec::new(), Vec::new()));
    }
    let mut all = Numbers::new();
    for (group, values) in groups {
        for (more, numbers) in of_group(&metrics.function, &values, window) {
            let labels = labels(&metrics.by, &group, more);
            assert!(all.insert(label_text(&labels), numbers).is_none(), "two series of {labels:?}");
        }
    }
    metrics.second_stages.iter().for_each(|stage| second_stage(stage, &mut all));
    Ok(all)
}

/// Tells labels apart whose values only look alike.
pub(crate) fn label_text(labels: &[(String, answer::Value)]) -> String {
    format!("{labels:?}")
}

fn measured_field(function: &MetricsFunction) -> Option<&Field> {
    match function {
        MetricsFunction::Rate | MetricsFunction::CountOverTime | MetricsFunction::Compare { .. } => None,
        MetricsFunction::MinOverTime(field)
        | MetricsFunction::MaxOverTime(field)
        | MetricsFunction::AvgOverTime(field)
        | MetricsFunction::SumOverTime(field)
        | MetricsFunction::HistogramOverTime(field)
        | MetricsFunction::QuantileOverTime { field, .. } => Some(field),
    }
}

/// Arrays and what cannot be compared have no label; a resource always has a service name, if only the empty one.
fn label(by: &Field, value: Value) -> Option<Static> {
    match value {
        Value::One(value) => Some(value),
        Value::Missing if *by == Field::attribute(Scope::Resource, "service.name") => {
            Some(Static::String(String::new()))
        }
        Value::Missing | Value::Opaque | Value::Many(_) => None,
    }
}

/// A missing value has no label; a series that had none at all has the first field with the text `nil`.
fn labels(by: &[Field], group: &Group, more: Option<(&str, answer::Value)>) -> Vec<(String, answer::Value)> {
    let of_value = |(by, value): (&Field, &Option<Static>)| Some((by.to_string(), value.clone()?.into()));
    let more = more.filter(|(name, _)| *name != "__name__" || by.is_empty());
    let more = more.map(|(name, value)| (name.to_owned(), value));
    let mut labels: Vec<_> = by.iter().zip(group).filter_map(of_value).chain(more).collect();
    if let (true, Some(first)) = (labels.is_empty(), by.first()) {
        labels.push((first.to_string(), answer::Value::String("nil".to_owned())));
    }
    labels
}

type OfGroup<'a> = Vec<(Option<(&'a str, answer::Value)>, Vec<f64>)>;

/// The series that a function makes of a group, with the label that each has besides.
fn of_group<'a>(function: &MetricsFunction, values: &[(usize, Value)], window: &Window) -> OfGroup<'a> {
    let named = |name: &str, numbers| vec![(Some(("__name__", answer::Value::String(name.to_owned()))), numbers)];
    let counted: Vec<(usize, f64)> = values.iter().map(|(interval, _)| (*interval, 1.0)).collect();
    let measured = |name: &str, field: &Field, join: fn(&[f64]) -> f64| {
        let number = |(interval, value): &(usize, Value)| Some((*interval, number(field, value)?));
        let numbers: Vec<_> = values.iter().filter_map(number).collect();
        let join = |values: &[f64]| if values.is_empty() { f64::NAN } else { join(values) };
        if numbers.is_empty() { Vec::new() } else { named(name, window.of_each(&numbers, join)) }
    };
    let sum = |values: &[f64]| values.iter().sum::<f64>();
    match function {
        MetricsFunction::Rate => {
            let seconds = window.step as f64 / 1e9;
            named("rate", window.of_each(&counted, |values| sum(values) / seconds))
        }
        MetricsFunction::CountOverTime => named("count_over_time", window.of_each(&counted, sum)),
        MetricsFunction::MinOverTime(field) => {
            measured("min_over_time", field, |values| values.iter().copied().fold(f64::INFINITY, f64::min))
        }
        MetricsFunction::MaxOverTime(field) => {
            measured("max_over_time", field, |values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        }
        MetricsFunction::AvgOverTime(field) => {
            measured("avg_over_time", field, |values| values.iter().sum::<f64>() / values.len() as f64)
        }
        MetricsFunction::SumOverTime(field) => measured("sum_over_time", field, |values| values.iter().sum()),
        MetricsFunction::HistogramOverTime(field) => {
            let buckets = histogram(values, window).into_iter();
            let end = |end: u64| ("__bucket", answer::Value::Double(in_unit(field, end as f64)));
            buckets.map(|(bucket, counts)| (Some(end(bucket)), counts)).collect()
        }
        MetricsFunction::QuantileOverTime { field, quantiles } => {
            let buckets = histogram(values, window);
            if buckets.is_empty() {
                return Vec::new();
            }
            let of_interval = |interval: usize, share: f64| {
                let counts: Vec<(u64, f64)> = buckets
                    .iter()
                    .map(|(end, counts)| (*end, counts[interval]))
                    .filter(|(_, count)| *count > 0.0)
                    .collect();
                in_unit(field, quantile(&counts, share))
            };
            let of_share = |share: f64| (0..window.ends.len()).map(|interval| of_interval(interval, share)).collect();
            quantiles.iter().map(|&share| (Some(("p", answer::Value::Double(share))), of_share(share))).collect()
        }
        MetricsFunction::Compare { .. } => panic!("not generated"),
    }
}

/// The duration of a span counts in seconds, other durations in nanoseconds.
fn number(field: &Field, value: &Value) -> Option<f64> {
    match value {
        Value::One(Static::Duration(nanos)) if *field == Field::Intrinsic(Intrinsic::Duration) => {
            Some(*nanos as f64 / 1e9)
        }
        Value::One(value) => value.as_f64(),
        Value::Missing | Value::Opaque | Value::Many(_) => None,
    }
}

/// Ends of buckets are nanoseconds for durations, and shown in seconds.
fn in_unit(field: &Field, end: f64) -> f64 {
    use Intrinsic::{Duration, EventTimeSinceStart, TraceDuration};
    match field {
        Field::Intrinsic(Duration | EventTimeSinceStart | TraceDuration) => end / 1e9,
        _ => end,
    }
}

/// Counts by bucket and interval. A bucket ends at the least power of two that is not below the value; values below two,
/// and what is neither an int nor a duration, have none.
fn histogram(values: &[(usize, Value)], window: &Window) -> BTreeMap<u64, Vec<f64>> {
    let mut buckets: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (interval, value) in values {
        if let Value::One(Static::Int(number) | Static::Duration(number)) = value
            && *number >= 2
        {
            let end = (*number as u64).next_power_of_two();
            buckets.entry(end).or_insert_with(|| vec![0.0; window.ends.len()])[*interval] += 1.0;
        }
    }
    buckets
}

/// From the counts of the buckets that have any, ascending.
fn quantile(counts: &[(u64, f64)], share: f64) -> f64 {
    let total: f64 = counts.iter().map(|(_, count)| count).sum();
    let need = f64::max(1.0, (share * total).ceil());
    let mut cumulated = 0.0;
    for (at, &(end, count)) in counts.iter().enumerate() {
        if cumulated + count == need {
            return end as f64;
        }
        if cumulated + count > need {
            let high = (end as f64).log2();
            let low = if at > 0 { (counts[at - 1].0 as f64).log2() } else { high - 1.0 };
            return 2_f64.powf(low + (high - low) * (need - cumulated) / count);
        }
        cumulated += count;
    }
    0.0
}

/// Samples for which the comparison is false are dropped, and series that have none left.
fn second_stage(stage: &SecondStage, series: &mut Numbers) {
    let SecondStage::Compare { op, threshold } = stage else { panic!("not generated") };
    let threshold = Static::Float(threshold.in_seconds().unwrap());
    let holds = |value: f64, op: CompareOp| Static::Float(value).compare(op, &threshold);
    for values in series.values_mut() {
        values.iter_mut().filter(|value| !holds(**value, *op)).for_each(|value| *value = f64::NAN);
    }
    series.retain(|_, values| values.iter().any(|value| !value.is_nan()));
}
