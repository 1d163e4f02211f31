//! A range of time finds the same wherever the parts of traces lie: in blocks that list what they share with older ones, in
//! live rows, or all in one place.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::querier::Querier;
use crate::testing::listing_block;

/// One span: trace, start in ticks, source, and whether the query looks for it.
type Placed = (u8, u64, usize, bool);

const BLOCKS: usize = 2;
const SOURCES: usize = 4;
/// So long that no two spans start together: which of two is the root would depend on which came first.
const TICK_MILLIS: u64 = 40;

fn of_source(spans: &[Placed], is_wanted: impl Fn(usize) -> bool) -> Vec<Span> {
    let spans = spans.iter().enumerate().filter(|(_, placed)| is_wanted(placed.2));
    let name = |is_found| if is_found { "op" } else { "other" };
    spans
        .map(|(id, &(trace, start, _, is_found))| {
            span(trace, id as u64 + 1, 0, name(is_found), start * TICK_MILLIS + id as u64, 400)
        })
        .collect()
}

/// The first are blocks, each younger than the one before it; the others are live.
async fn sources(spans: &[Placed]) -> Vec<Arc<dyn Source>> {
    let (mut sources, mut older): (Vec<Arc<dyn Source>>, BTreeSet<TraceId>) = (Vec::new(), BTreeSet::new());
    for number in 0..SOURCES {
        let spans = of_source(spans, |of| of == number);
        if spans.is_empty() {
            continue;
        }
        let ids: BTreeSet<TraceId> =
            spans.iter().map(|span| TraceId(span.trace_id.as_slice().try_into().unwrap())).collect();
        if number < BLOCKS {
            let continued: Vec<TraceId> = ids.intersection(&older).copied().collect();
            sources.push(Arc::new(listing_block(&table(vec![service("s", spans)]), &continued).await));
        } else {
            sources.push(source(vec![service("s", spans)]));
        }
        older.extend(ids);
    }
    sources
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn a_range_finds_the_same_wherever_parts_lie(
        spans in prop::collection::vec((1..9_u8, 0..400_u64, 0..SOURCES, prop::bool::weighted(0.4)), 1..40),
        ranges in prop::collection::vec((0..400_u64, 0..400_u64, 1..9_usize), 4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let asked = querier(runtime.block_on(sources(&spans)));
        let whole = querier(vec![source(vec![service("s", of_source(&spans, |_| true))])]);
        for (from, to, limit) in ranges {
            let at = |tick: u64| START + tick * TICK_MILLIS * MS;
            let range = TimeRange::new(at(from.min(to)), at(from.max(to)));
            // the second time with what is remembered of the first
            for query in ["{ name = `op` }", "{ name = `op` }", "{ }"] {
                let request = || SearchRequest { range, limit, spans_per_span_set: 100, ..request(query) };
                let found = |of: &Querier| {
                    let mut traces = runtime.block_on(of.search(TenantId::single(), request(), None)).unwrap().traces;
                    // spans of one set are in no order
                    let sets = traces.iter_mut().flat_map(|trace| &mut trace.span_sets);
                    sets.for_each(|set| set.spans.sort_by_key(|span| span.span_id));
                    traces
                };
                prop_assert_eq!(found(&asked), found(&whole), "{} {:?}", query, range);
            }
        }
    }
}
