//! The columnar evaluator agrees with a slow and obvious one, span by span, on generated spans and filters.

use model::Scope;
use proptest::prelude::*;
use spans::{Promotion, SpanTable, Traces};
use storage::index::Limits;
use storage::source::Source;
use traceql::FieldExpr;

use crate::eval::Filter;
use crate::slow::generate::{any_expr, any_spans, asks_for_children};
use crate::slow::rows::{self, DivisionByZero};
use crate::slow::{Sent, Trace};
use crate::testing::{SMALL_PAGES, indexed_block, table};

/// The ids of the spans that the filter keeps, in order.
fn slowly(spans: &[Sent], expr: &FieldExpr) -> Result<Vec<u8>, DivisionByZero> {
    let mut kept = Vec::new();
    for trace in Trace::all_of(spans) {
        for (number, sent) in trace.spans.iter().enumerate() {
            if rows::keeps(&trace, number, expr)? {
                kept.push(sent.span.span_id[7]);
            }
        }
    }
    kept.sort_unstable();
    Ok(kept)
}

fn table_of(spans: &[Sent]) -> SpanTable {
    table(spans.iter().map(Sent::otlp).collect())
}

/// The table as a block holds it: attributes in columns of their own.
fn promoted(table: &SpanTable) -> SpanTable {
    let promote = |batch, scope| Promotion::plan(batch, scope).unwrap().apply(batch).unwrap();
    SpanTable {
        spans: promote(&table.spans, Scope::Span),
        resources: promote(&table.resources, Scope::Resource),
        ..table.clone()
    }
}

fn quickly(table: &SpanTable, filter: &Filter) -> Result<Vec<u8>, DivisionByZero> {
    let masks = filter.on_dimensions(table).map_err(|_| DivisionByZero)?;
    let selected = filter.select(table, &masks).map_err(|_| DivisionByZero)?.spans;
    let ids = arrow::array::AsArray::as_fixed_size_binary(spans::column(&table.spans, "span_id").unwrap());
    let mut kept: Vec<u8> = selected.set_indices().map(|row| ids.value(row)[7]).collect();
    assert!(!masks.is_never || kept.is_empty());
    if let Some(traces) = &masks.traces {
        let of_span = spans::column(&table.spans, "trace").unwrap();
        let of_span = arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt32Type>(of_span);
        assert!(selected.set_indices().all(|row| traces.value(of_span.value(row) as usize)));
    }
    if filter.decides_whole_traces() && !masks.is_never {
        let (traces, passes) = (Traces::of(&table.traces).unwrap(), &masks.traces);
        let passing = (0..traces.len()).filter(|&trace| passes.as_ref().is_none_or(|mask| mask.value(trace)));
        assert_eq!(passing.map(|trace| traces.span_rows(trace).len()).sum::<usize>(), kept.len());
    }
    kept.sort_unstable();
    Ok(kept)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn columns_agree_with_rows(spans in any_spans(), expr in any_expr()) {
        let has_cycles = Trace::all_of(&spans).iter().any(|trace| trace.tree.has_cycles());
        prop_assume!(!(has_cycles && asks_for_children(&expr.to_string())));
        let expected = slowly(&spans, &expr);
        let filter = Filter::compile(&expr).unwrap();
        let table = table_of(&spans);
        prop_assert_eq!(&quickly(&table, &filter), &expected, "{}", expr);
        prop_assert_eq!(&quickly(&promoted(&table), &filter), &expected, "promoted: {}", expr);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn an_index_leaves_out_no_trace_of_a_kept_span(spans in any_spans(), expr in any_expr(), kind in 0..3) {
        let filter = Filter::compile(&expr).unwrap();
        let table = table_of(&spans);
        let Ok(kept) = kept_traces(&table, &filter) else { return Ok(()) };
        let limits = match kind {
            0 => Limits::default(),
            1 => SMALL_PAGES,
            _ => Limits { most_hashes: 3, ..SMALL_PAGES },
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let possible = runtime.block_on(async {
            indexed_block(&table, limits).await.may_match(&[filter.conditions().clone()]).await.unwrap()
        });
        if let Some(ranges) = &possible[0] {
            for trace in kept {
                prop_assert!(ranges.iter().any(|range| range.contains(&trace)), "{}: {} not in {:?}", expr, trace, ranges);
            }
        }
    }
}

/// The rows of `traces` of which the filter keeps a span.
fn kept_traces(table: &SpanTable, filter: &Filter) -> Result<Vec<usize>, ()> {
    let masks = filter.on_dimensions(table).map_err(|_| ())?;
    let selected = filter.select(table, &masks).map_err(|_| ())?.spans;
    let of_span = spans::column(&table.spans, "trace").unwrap();
    let of_span = arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt32Type>(of_span);
    Ok(selected.set_indices().map(|row| of_span.value(row) as usize).collect())
}
