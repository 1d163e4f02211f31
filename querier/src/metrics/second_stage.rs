//! What is done with the merged result: `topk(5)`, `bottomk(5)`, `> 2`. Pure.

use std::cmp::Ordering;

use traceql::{CompareOp, SecondStage};

use crate::answer::Series;

/// Applies the stages, left to right. Series must be in the order of the answer, which decides among equals.
pub(crate) fn apply(stages: &[SecondStage], mut series: Vec<Series>) -> Vec<Series> {
    for stage in stages {
        match stage {
            SecondStage::TopK(most) => keep_best(&mut series, *most, |left, right| right.total_cmp(&left), false),
            SecondStage::BottomK(most) => keep_best(&mut series, *most, |left, right| left.total_cmp(&right), true),
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

/// Keeps of each interval the values that rank first. Of equal values the one of the earlier series ranks first, or of
/// the later if `later_first`.
fn keep_best(series: &mut [Series], most: i64, order: fn(f64, f64) -> Ordering, later_first: bool) {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    if series.len() <= most {
        return;
    }
    let intervals = series.first().map_or(0, |series| series.values.len());
    for interval in 0..intervals {
        let value = |at: usize| series[at].values[interval];
        let mut ranked: Vec<usize> = (0..series.len()).filter(|&at| !value(at).is_nan()).collect();
        ranked.sort_by(|&left, &right| {
            let by_place = if later_first { right.cmp(&left) } else { left.cmp(&right) };
            order(value(left), value(right)).then(by_place)
        });
        for at in ranked.into_iter().skip(most) {
            series[at].values[interval] = f64::NAN;
        }
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
    use crate::answer::Value;

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
    fn stages_run_from_left_to_right() {
        let rows = [("a", [1.0, 5.0, 2.0]), ("b", [2.0, 4.0, 0.1])];
        assert_eq!(after("> 4", &rows), ["a [NaN, 5.0, NaN]"]);
        assert_eq!(after("!= 2 | topk(1)", &rows), ["a [1.0, 5.0, NaN]", "b [NaN, NaN, 0.1]"]);
        assert_eq!(after("<= 100ms", &rows), ["b [NaN, NaN, 0.1]"]);
        assert_eq!(after("> 5", &rows), [""; 0]);
    }
}
