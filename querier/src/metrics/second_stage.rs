//! What is done with the merged result: `topk(5)`, `bottomk(5)`, `> 2`. Pure.

use std::cmp::Ordering;

use traceql::{CompareOp, SecondStage};

use crate::answer::{Series, Value};
use crate::cancellation::is_waited_for;

/// Applies the stages, left to right.
pub(crate) fn apply(stages: &[SecondStage], mut series: Vec<Series>) -> Vec<Series> {
    for stage in stages {
        match stage {
            SecondStage::TopK(most) => keep_best(&mut series, *most, |left, right| right.total_cmp(&left), precedence),
            SecondStage::BottomK(most) => {
                keep_best(
                    &mut series,
                    *most,
                    |left, right| left.total_cmp(&right),
                    |left, right| precedence(right, left),
                );
            }
            SecondStage::Compare { op, threshold } => {
                let threshold = threshold.in_seconds().unwrap_or(f64::NAN);
                let values = series.iter_mut().flat_map(|series| &mut series.values);
                values.filter(|value| !holds(*op, **value, threshold)).for_each(|value| *value = f64::NAN);
            }
        }
        series.retain(|series| series.values.iter().any(|value| !value.is_nan()));
    }
    series
}

/// Keeps of each interval the values that rank first; `among_equals` decides which series goes before.
fn keep_best(
    series: &mut [Series],
    most: i64,
    order: fn(f64, f64) -> Ordering,
    among_equals: fn(&Series, &Series) -> Ordering,
) {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    if series.len() <= most {
        return;
    }
    let intervals = series.first().map_or(0, |series| series.values.len());
    for interval in (0..intervals).take_while(|_| is_waited_for()) {
        let value = |at: usize| series[at].values[interval];
        let mut ranked: Vec<usize> = (0..series.len()).filter(|&at| !value(at).is_nan()).collect();
        if ranked.len() <= most {
            continue;
        }
        ranked.select_nth_unstable_by(most, |&left, &right| {
            let by_value = order(value(left), value(right));
            by_value.then_with(|| among_equals(&series[left], &series[right])).then(left.cmp(&right))
        });
        for at in ranked.into_iter().skip(most) {
            series[at].values[interval] = f64::NAN;
        }
    }
}

/// Which of two series with equal values `topk` prefers: texts that come first in the alphabet, and larger numbers. That
/// is Tempo's choice; `bottomk` makes the opposite one.
fn precedence(left: &Series, right: &Series) -> Ordering {
    let pairs = left.labels.iter().zip(&right.labels);
    let of_pair = |((left_name, left), (right_name, right)): (&(String, Value), &(String, Value))| {
        let by_text = text(left).cmp(text(right)).then_with(|| left_name.cmp(right_name));
        by_text.then_with(|| number(right).total_cmp(&number(left)))
    };
    pairs.map(of_pair).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn text(value: &Value) -> &str {
    match value {
        Value::String(text) => text,
        _ => "",
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Int(number) => *number as f64,
        Value::Double(number) => *number,
        Value::Bool(value) => f64::from(*value),
        Value::String(_) | Value::Array(_) => 0.0,
    }
}

fn holds(op: CompareOp, value: f64, threshold: f64) -> bool {
    match op {
        CompareOp::Eq => value == threshold,
        CompareOp::Ne => value != threshold && !value.is_nan(),
        CompareOp::Lt => value < threshold,
        CompareOp::Le => value <= threshold,
        CompareOp::Gt => value > threshold,
        CompareOp::Ge => value >= threshold,
        CompareOp::Match | CompareOp::NotMatch => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f64 = f64::NAN;

    fn after(query: &str, rows: &[(&str, [f64; 3])]) -> Vec<String> {
        let query = traceql::parse(&format!("{{ }} | rate() by (name) {query}")).unwrap();
        let series = rows.iter().map(|(name, values)| Series {
            labels: vec![("name".to_owned(), Value::String((*name).to_owned()))],
            values: values.to_vec(),
            exemplars: Vec::new(),
        });
        let left = apply(&query.metrics.unwrap().second_stages, series.collect()).into_iter();
        left.map(|series| match &series.labels[0].1 {
            Value::String(name) => format!("{name} {:?}", series.values),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    #[test]
    fn each_interval_has_its_own_best() {
        let rows = [("a", [1.0, 5.0, 0.0]), ("b", [2.0, 4.0, NONE]), ("c", [3.0, 5.0, 0.0])];
        assert_eq!(after("| topk(1)", &rows), ["a [NaN, 5.0, 0.0]", "c [3.0, NaN, NaN]"]);
        assert_eq!(after("| bottomk(1)", &rows), ["a [1.0, NaN, NaN]", "b [NaN, 4.0, NaN]", "c [NaN, NaN, 0.0]"]);
        assert_eq!(after("| topk(3)", &rows).len(), 3);
    }

    #[test]
    fn among_equals_the_first_text_and_the_larger_number_are_at_the_top() {
        let one = |value| Series { labels: vec![("x".to_owned(), value)], values: vec![1.0], exemplars: Vec::new() };
        let text = |text: &str| Value::String(text.to_owned());
        let kept = |stage: fn(i64) -> SecondStage, values: [Value; 3]| {
            apply(&[stage(1)], values.map(one).into()).remove(0).labels.remove(0).1
        };
        let numbers = || [Value::Int(9), Value::Int(10), Value::Int(2)];
        assert_eq!(kept(SecondStage::TopK, numbers()), Value::Int(10));
        assert_eq!(kept(SecondStage::BottomK, numbers()), Value::Int(2));
        let texts = || [text("b"), text("a"), text("c")];
        assert_eq!(kept(SecondStage::TopK, texts()), text("a"));
        assert_eq!(kept(SecondStage::BottomK, texts()), text("c"));
    }

    #[test]
    fn stages_run_from_left_to_right() {
        let rows = [("a", [1.0, 5.0, 2.0]), ("b", [2.0, 4.0, 0.1])];
        assert_eq!(after("> 4", &rows), ["a [NaN, 5.0, NaN]"]);
        assert_eq!(after("!= 2 | topk(1)", &rows), ["a [1.0, 5.0, NaN]", "b [NaN, NaN, 0.1]"]);
        assert_eq!(after("<= 100ms", &rows), ["b [NaN, NaN, 0.1]"]);
        assert_eq!(after("> 5", &rows), [""; 0]);
    }
}
