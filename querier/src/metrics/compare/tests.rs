//! What `compare()` costs, and how it ends.

use std::num::NonZeroU64;

use model::TimeRange;
use opentelemetry_proto::tonic::trace::v1::Span;
use traceql::Static;

use super::*;
use crate::cancellation::Cancellation;
use crate::testing::{MS, START, attributes, int, service, span, table};

/// Two spans with so many attributes each, half of them of keys that the other has too.
fn with_keys(keys: i64) -> SpanTable {
    let of_span = |id: i64| {
        let names: Vec<String> = (0..keys).map(|key| format!("key.{}", key + id * keys / 2)).collect();
        let pairs: Vec<_> = names.iter().map(|name| (name.as_str(), int(id))).collect();
        Span { attributes: attributes(&pairs), ..span(1, id as u64 + 1, 0, "x", 1, 1) }
    };
    table(vec![service("s", vec![of_span(0), of_span(1)])])
}

fn measure(table: &SpanTable, spans: &SelectedSpans, cancellation: Cancellation) -> Result<PartialComparison, Error> {
    let selection = FieldExpr::Literal(Static::Bool(true));
    let aggregator = ComparisonAggregator::compile(&selection, 10, None, false).unwrap();
    let second = NonZeroU64::new(1000 * MS).unwrap();
    let intervals = Intervals::of_range(TimeRange::new(START, START + 1000 * MS), second);
    let limits =
        Limits { max_samples: usize::MAX, max_exemplars: 100, exemplar_labels: Default::default(), cancellation };
    aggregator.measure(&MeasuredRows::read(table, spans), &intervals, &limits)
}

#[test]
fn the_work_grows_with_the_number_of_keys_and_not_with_its_square() {
    let work = |keys: i64| {
        let cancellation = Cancellation::default();
        let partial = measure(&with_keys(keys), &SelectedSpans::All, cancellation.clone()).unwrap();
        let fields = partial.into_parts().0;
        let with_attribute = fields.iter().filter(|(field, _)| field.to_string().starts_with("span.key"));
        assert_eq!(with_attribute.count() as i64, keys + keys / 2);
        cancellation.work()
    };
    let (few, many) = (work(10_000), work(40_000));
    assert!(many < 5 * few && many < 10 * 2 * 40_000, "{few} values for 10,000 keys, {many} for 40,000");
}

#[test]
fn a_span_that_is_there_twice_counts_twice() {
    let partial = measure(&with_keys(2), &SelectedSpans::Rows(vec![0, 1, 1]), Cancellation::default()).unwrap();
    let totals = partial
        .into_parts()
        .0
        .into_iter()
        .map(|(field, of_field)| (field.to_string(), of_field.totals.total(Side::Selection)));
    let mut totals: Vec<_> = totals.filter(|(field, _)| field.starts_with("span.")).collect();
    totals.sort_by(|(field, _), (other, _)| field.cmp(other));
    assert_eq!(totals, [("span.key.0".into(), 1.0), ("span.key.1".into(), 3.0), ("span.key.2".into(), 2.0)]);
}

#[test]
fn it_ends_soon_after_nobody_waits_any_more() {
    let (cancellation, table) = (Cancellation::default(), with_keys(100));
    cancellation.cancel();
    let ended = measure(&table, &SelectedSpans::All, cancellation.clone());
    assert!(matches!(ended, Err(Error::Cancelled)));
    assert!(cancellation.work() < 10, "{} values were looked at", cancellation.work());
}

#[test]
fn an_exemplar_shows_the_same_attributes_each_time() {
    let table = with_keys(200);
    let promotion = spans::Promotion::plan(&table.spans, Scope::Span).unwrap();
    let table = SpanTable { spans: promotion.apply(&table.spans).unwrap(), ..table };
    let shown = || {
        let partial = measure(&table, &SelectedSpans::All, Cancellation::default()).unwrap();
        let candidates = partial.into_parts().1.into_series(Side::BOTH.len()).into_iter().flatten();
        candidates.map(|candidate| candidate.labels).collect::<Vec<_>>()
    };
    let first = shown();
    assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [128], "of one trace there is one");
    assert!(first[0].is_sorted_by(|(left, _), (right, _)| left < right), "{:?}", first[0]);
    for _ in 0..5 {
        assert_eq!(shown(), first);
    }
}

#[test]
fn counts_of_slots_are_put_together_whichever_come_first() {
    let counts = |slots: &[u32]| SlotCounts::ascending(slots.iter().map(|&slot| (slot, f64::from(slot))));
    let parts: [&[u32]; 4] = [&[4, 5], &[6], &[0, 1, 3], &[1, 2, 5]];
    for order in [[0, 1, 2, 3], [1, 0, 2, 3], [2, 3, 0, 1], [3, 1, 2, 0]] {
        let mut all = SlotCounts::default();
        order.into_iter().for_each(|part| all.merge(counts(parts[part])));
        assert_eq!(all.numbers(Side::Baseline, 4), [0.0, 2.0, 4.0, 6.0], "{order:?}");
        assert_eq!(all.numbers(Side::Selection, 4), [2.0, 3.0, 10.0, 0.0], "{order:?}");
    }
}
