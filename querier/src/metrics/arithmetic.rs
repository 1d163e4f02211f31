//! Arithmetic over the results of metrics queries. Each different query is answered once, over the same sources; what
//! follows is computed from their series.
//!
//! Series meet by their labels, of which the name of the function is none. A series without labels meets every series of
//! the other side. What has no value (a missing sample, a division by zero) is NaN, and a series of nothing else is left
//! out.

use std::sync::Arc;

use hashbrown::HashMap;
use storage::source::Source;
use traceql::{ArithmeticOp, MetricsExpr};

use super::{PartialCache, in_order, limit, of_query, second_stage};
use crate::answer::{Exemplar, MetricsAnswer, QueryMetrics, Series, Value};
use crate::cancellation::is_waited_for;
use crate::engine::Engine;
use crate::engine::budget::Budget;
use crate::error::Error;
use crate::request::MetricsRequest;

/// The label that names the function.
const NAME: &str = "__name__";

/// Answers an expression of several queries, or of one that is computed with.
pub(super) async fn answer(
    engine: &Engine,
    partials: &PartialCache,
    budget: Arc<Budget>,
    sources: Vec<Arc<dyn Source>>,
    request: &MetricsRequest,
) -> Result<MetricsAnswer, Error> {
    // what is too much is known when all is computed
    let of_one = MetricsRequest { max_series: None, ..request.clone() };
    let (mut results, mut partial, mut held) = (Results::new(), None, budget.hold(0)?);
    let mut spent = QueryMetrics::default();
    for query in request.query.queries() {
        let text = query.to_string();
        if results.contains_key(&text) {
            continue;
        }
        let answer = of_query(engine, partials, budget.clone(), sources.clone(), query, &of_one).await?;
        partial = partial.or(answer.partial);
        spent = spent.and(&answer.metrics);
        results.insert(text, answer.series);
        // what is computed takes as much as what it is computed from
        held.resize(2 * results.values().flatten().map(memory_bytes).sum::<usize>())?;
    }
    let (expr, cancellation) = (request.query.clone(), budget.cancellation.clone());
    let compute = move || cancellation.during(move || in_order(with_values(computed(&expr, &results))));
    let mut series = engine.cpu.run(compute).await?;
    // each query counted from its beginning
    budget.plan(spent);
    let too_many = limit(&mut series, request.max_series, request.max_exemplars);
    Ok(MetricsAnswer { intervals: request.intervals, series, metrics: budget.spent(), partial: too_many.or(partial) })
}

/// The series of each query, by its text.
type Results = HashMap<String, Vec<Series>>;

fn memory_bytes(series: &Series) -> usize {
    let labels: usize = series.labels.iter().map(|(name, value)| name.len() + value.memory_bytes()).sum();
    size_of_val(series) + labels + size_of_val(series.values.as_slice()) + size_of_val(series.exemplars.as_slice())
}

fn computed(expr: &MetricsExpr, results: &Results) -> Vec<Series> {
    if !is_waited_for() {
        return Vec::new();
    }
    match expr {
        MetricsExpr::Query(query) => results.get(&query.to_string()).cloned().unwrap_or_default(),
        MetricsExpr::Series { op, left, right } => joined(*op, computed(left, results), computed(right, results)),
        MetricsExpr::Scalar { op, series, scalar, is_left } => {
            let compute = |value| if *is_left { apply(*op, *scalar, value) } else { apply(*op, value, *scalar) };
            computed(series, results).into_iter().map(|series| mapped(series, compute)).collect()
        }
        MetricsExpr::Staged { series, stages } => second_stage::apply(stages, with_values(computed(series, results))),
    }
}

fn with_values(mut series: Vec<Series>) -> Vec<Series> {
    series.retain(|series| series.values.iter().any(|value| !value.is_nan()));
    series
}

fn mapped(mut series: Series, compute: impl Fn(f64) -> f64) -> Series {
    series.values.iter_mut().for_each(|value| *value = compute(*value));
    series.exemplars.iter_mut().for_each(|exemplar| exemplar.value = compute(exemplar.value));
    series
}

fn apply(op: ArithmeticOp, left: f64, right: f64) -> f64 {
    match op {
        ArithmeticOp::Add => left + right,
        ArithmeticOp::Sub => left - right,
        ArithmeticOp::Mul => left * right,
        ArithmeticOp::Div if right != 0.0 => left / right,
        // a series meets numbers in no other operation
        ArithmeticOp::Div | ArithmeticOp::Mod | ArithmeticOp::Pow => f64::NAN,
    }
}

/// Labels that two series meet by, whatever their order.
#[derive(PartialEq, Eq, Hash)]
struct Meeting(Vec<(String, String)>);

impl Meeting {
    /// Of series without labels.
    const ALL: Self = Self(Vec::new());

    fn of(series: &Series) -> Self {
        let labels = series.labels.iter().filter(|(name, _)| name != NAME);
        let mut labels: Vec<_> = labels.map(|(name, value)| (name.clone(), format!("{value:?}"))).collect();
        labels.sort_unstable();
        Self(labels)
    }
}

fn joined(op: ArithmeticOp, left: Vec<Series>, right: Vec<Series>) -> Vec<Series> {
    let by_labels = |side: Vec<Series>| -> HashMap<Meeting, Series> {
        side.into_iter().map(|series| (Meeting::of(&series), series)).collect()
    };
    let (left, right) = (by_labels(left), by_labels(right));
    let target = if right.contains_key(&Meeting::ALL) { &left } else { &right };
    let pair = |meeting: &Meeting| {
        let left = left.get(meeting).or_else(|| left.get(&Meeting::ALL))?;
        let right = right.get(meeting).or_else(|| right.get(&Meeting::ALL))?;
        Some(both(op, left, right))
    };
    target.keys().filter_map(pair).collect()
}

fn both(op: ArithmeticOp, left: &Series, right: &Series) -> Series {
    let values = left.values.iter().zip(&right.values).map(|(left, right)| apply(op, *left, *right)).collect();
    Series { labels: labels(op, left, right), values, exemplars: exemplars(left, right) }
}

/// The labels of both; the name is kept where both have one.
fn labels(op: ArithmeticOp, left: &Series, right: &Series) -> Vec<(String, Value)> {
    let labels = if left.labels.iter().any(|(label, _)| label != NAME) { &left.labels } else { &right.labels };
    match (name(left), name(right)) {
        (Some(left), Some(right)) => {
            vec![(NAME.to_owned(), Value::String(format!("({left} {op} {right})")))]
        }
        _ => labels.iter().filter(|(label, _)| label != NAME).cloned().collect(),
    }
}

fn name(series: &Series) -> Option<&str> {
    series.labels.iter().find_map(|(label, value)| match value {
        Value::String(name) if label == NAME => Some(name.as_str()),
        _ => None,
    })
}

/// Those of both where both have labels or neither has, else those of the one that has.
fn exemplars(left: &Series, right: &Series) -> Vec<Exemplar> {
    let [left_all, right_all] = [left, right].map(|series| Meeting::of(series) == Meeting::ALL);
    match (left_all, right_all) {
        (true, false) => right.exemplars.clone(),
        (false, true) => left.exemplars.clone(),
        _ => left.exemplars.iter().chain(&right.exemplars).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f64 = f64::NAN;

    fn series(labels: &[(&str, &str)], values: &[f64]) -> Series {
        let label = |(name, value): &(&str, &str)| ((*name).to_owned(), Value::String((*value).to_owned()));
        Series { labels: labels.iter().map(label).collect(), values: values.to_vec(), exemplars: Vec::new() }
    }

    fn printed(mut series: Vec<Series>) -> Vec<String> {
        series = in_order(with_values(series));
        series.iter().map(|series| format!("{:?} {:?}", series.labels, series.values)).collect()
    }

    fn divided(left: Vec<Series>, right: Vec<Series>) -> Vec<String> {
        printed(joined(ArithmeticOp::Div, left, right))
    }

    #[test]
    fn series_meet_by_their_labels_and_unlabelled_ones_meet_all() {
        let of = |lane: &str, values: &[f64]| series(&[("lane", lane)], values);
        let all = |values: &[f64]| series(&[(NAME, "rate")], values);
        let one = |labels: &[(&str, &str)], values: &[f64]| printed(vec![series(labels, values)]);
        assert_eq!(
            divided(vec![of("a", &[1.0, 4.0]), of("b", &[1.0, 1.0])], vec![of("a", &[2.0, 0.0]), of("c", &[1.0, 1.0])]),
            one(&[("lane", "a")], &[0.5, NONE])
        );
        assert_eq!(divided(vec![of("a", &[4.0])], vec![all(&[8.0])]), one(&[("lane", "a")], &[0.5]));
        assert_eq!(divided(vec![all(&[8.0])], vec![of("a", &[4.0])]), one(&[("lane", "a")], &[2.0]));
        assert_eq!(divided(vec![all(&[8.0])], vec![all(&[2.0])]), one(&[(NAME, "(rate / rate)")], &[4.0]));
        assert_eq!(divided(vec![of("a", &[4.0])], vec![series(&[("up", "a")], &[1.0])]), [""; 0]);
        assert_eq!(divided(vec![of("a", &[4.0])], vec![of("a", &[0.0])]), [""; 0]);
        let (left, right) = ([("a", "1"), ("b", "2")], [("b", "2"), ("a", "1")]);
        assert_eq!(divided(vec![series(&left, &[1.0])], vec![series(&right, &[2.0])]), one(&left, &[0.5]));
    }

    #[test]
    fn expressions_are_computed_from_the_series_of_their_queries() {
        let compute = |text: &str| {
            let expr = traceql::parse_metrics(text).unwrap();
            let texts = expr.queries().into_iter().map(ToString::to_string);
            let results = texts.map(|text| (text, vec![series(&[(NAME, "rate")], &[2.0, 6.0])])).collect();
            printed(computed(&expr, &results))
        };
        let one = |name: &str, values: &[f64]| printed(vec![series(&[(NAME, name)], values)]);
        assert_eq!(compute("10 - ({ } | rate()) * 2"), one("rate", &[6.0, -2.0]));
        assert_eq!(compute("({ } | rate()) * 2 > 5"), one("rate", &[NONE, 12.0]));
        assert_eq!(compute("({ } | rate()) / 0"), [""; 0]);
        let nested = "({ } | rate()) + ({ .a = 1 } | rate()) * ({ } | rate())";
        assert_eq!(compute(nested), one("(rate + (rate * rate))", &[6.0, 42.0]));
    }
}
