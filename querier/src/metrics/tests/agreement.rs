//! The answers agree with those of the slow and obvious evaluator, wherever the spans lie.

use proptest::prelude::*;

use super::*;
use crate::engine::matcher::Matcher;
use crate::engine::spread::tests::{any_faults, spread};
use crate::slow::Trace;
use crate::slow::generate::{LONGEST_MILLIS, any_dealt, any_metrics, asks_for_children};
use crate::slow::pipeline::Refused;
use crate::slow::series::{self, Numbers, Window};

/// When a query begins and ends and the length of its intervals, in half seconds; `None` for one interval.
type Asked = (u64, u64, Option<u64>);

fn any_asked() -> impl Strategy<Value = Asked> {
    let longest = LONGEST_MILLIS / 500;
    let part = (0..longest, 1..=longest).prop_map(|(start, length)| (start, start + length));
    let range = prop_oneof![1 => Just((0, longest)), 1 => part];
    (range, prop::option::weighted(0.7, 1..30_u64)).prop_map(|((start, end), step)| (start, end, step))
}

fn window((start, end, step): Asked) -> (Intervals, Window) {
    const UNIT: u64 = 500 * MS;
    let (start, end) = (START + start * UNIT, START + end * UNIT);
    match step.and_then(|step| NonZeroU64::new(step * UNIT)) {
        Some(step) => (Intervals::of_range(TimeRange::new(start, end), step), Window::range(start, end, step.get())),
        None => (Intervals::whole(TimeRange::new(start, end)), Window::instant(start, end)),
    }
}

fn numbers(answer: &MetricsAnswer) -> Numbers {
    let numbers: Numbers =
        answer.series.iter().map(|series| (series::label_text(&series.labels), series.values.clone())).collect();
    assert_eq!(numbers.len(), answer.series.len(), "two series have the same labels");
    numbers
}

fn is_close(one: f64, other: f64) -> bool {
    one.is_nan() && other.is_nan() || (one - other).abs() <= 1e-9 * one.abs().max(1.0)
}

fn assert_same(found: &Numbers, expected: &Numbers, query: &str) {
    let labels = |of: &Numbers| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(labels(found), labels(expected), "{query}");
    for (labels, expected) in expected {
        let found = &found[labels];
        let is_same =
            found.len() == expected.len() && found.iter().zip(expected).all(|(one, other)| is_close(*one, *other));
        assert!(is_same, "{query} {labels}: {found:?}, not {expected:?}");
    }
}

/// A filter that is false and looks at no field has no series, not even one of zeros.
fn is_false_without_a_look(text: &str) -> bool {
    let matcher = Matcher::of(&traceql::parse(text).unwrap()).unwrap();
    matcher.is_never() && matcher.projection().is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn numbers_are_those_of_the_language(
        dealt in any_dealt(), queries in proptest::collection::vec((any_metrics(), any_asked()), 6), faults in any_faults(),
    ) {
        let traces = Trace::all_of(&dealt.spans);
        let has_cycles = traces.iter().any(|trace| trace.tree.has_cycles());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sources = runtime.block_on(dealt.sources());
        for ((text, query), asked) in queries {
            if has_cycles && asks_for_children(&text) {
                continue;
            }
            let (intervals, window) = window(asked);
            let expected = match series::series(&traces, &query, &window) {
                Ok(_) if is_false_without_a_look(&text) => Numbers::new(),
                Ok(expected) => expected,
                Err(refused) => {
                    prop_assert_eq!(refused, Refused::SeveralSpanSets, "{}", text);
                    continue;
                }
            };
            let answer = runtime.block_on(ask(&sources, MetricsRequest { intervals, ..request(&text, 1, 1) }));
            let answer = answer.unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_same(&numbers(&answer), &expected, &text);
            let (querier, _) = spread(&sources, faults.clone());
            let asked = MetricsRequest { intervals, ..request(&text, 1, 1) };
            let spread = runtime.block_on(querier.metrics(TenantId::single(), asked)).unwrap();
            // also the last digit, and NaN
            prop_assert_eq!(format!("{:?}", spread.series), format!("{:?}", answer.series), "several processes: {}", text);
        }
    }
}
