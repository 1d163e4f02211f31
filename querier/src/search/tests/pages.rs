//! Pages of an answer, one after another, are the whole answer.

use proptest::prelude::*;

use super::*;

/// One span: trace, start in milliseconds, source, and whether the query looks for it.
type Placed = (u8, u64, usize, bool);

fn sources(spans: &[Placed], count: usize) -> Vec<Arc<dyn Source>> {
    let in_source = |number: usize| {
        let spans = spans.iter().enumerate().filter(|(_, placed)| placed.2 == number);
        let span = |(id, &(trace, start, _, is_wanted)): (usize, &Placed)| {
            span(trace, id as u64 + 1, 0, if is_wanted { "op" } else { "other" }, start, 1)
        };
        spans.map(span).collect::<Vec<_>>()
    };
    (0..count).map(in_source).filter(|spans| !spans.is_empty()).map(|of| source(vec![service("s", of)])).collect()
}

async fn pages(sources: &[Arc<dyn Source>], query: &str, limit: usize) -> Vec<FoundTrace> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = ask(sources, SearchRequest { limit, after, ..request(query) }).await.unwrap().traces;
        assert!(page.len() <= limit);
        after = page.last().map(FoundTrace::cursor);
        let is_last = page.len() < limit;
        all.extend(page);
        if is_last {
            return all;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn pages_are_the_whole_answer(
        spans in prop::collection::vec((1..30_u8, 0..40_u64, 0..4_usize, prop::bool::weighted(0.7)), 1..80),
        limit in 1..9_usize,
    ) {
        let sources = sources(&spans, 4);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for query in ["{ }", "{ name = `op` }", "{ name = `op` } | count() > 1", "{ rootName = `op` }"] {
            let paged = runtime.block_on(pages(&sources, query, limit));
            let whole = SearchRequest { limit: 1000, ..request(query) };
            let whole = runtime.block_on(ask(&sources, whole)).unwrap().traces;
            prop_assert_eq!(paged, whole, "{}", query);
        }
    }
}

#[tokio::test]
async fn a_trace_that_stands_on_both_sides_of_a_cursor_is_on_the_later_page() {
    // the part of trace 2 that matches is newer than trace 1, its beginning is older
    let spans = [(1, 20, 0, true), (2, 30, 1, true), (2, 10, 0, false)];
    let found = pages(&sources(&spans, 2), "{ name = `op` }", 1).await;
    assert_eq!(found.iter().map(|trace| trace.trace_id.0[0]).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn what_arrives_meanwhile_neither_shifts_nor_repeats_what_follows() {
    let mut spans: Vec<Placed> = (1..=6).map(|trace| (trace, u64::from(trace) * 10, 0, true)).collect();
    let page = async |spans: &[Placed], after| {
        let request = SearchRequest { limit: 2, after, ..request("{ name = `op` }") };
        ask(&sources(spans, 2), request).await.unwrap().traces
    };
    let ids = |page: &[FoundTrace]| page.iter().map(|trace| trace.trace_id.0[0]).collect::<Vec<_>>();
    let first = page(&spans, None).await;
    assert_eq!(ids(&first), [6, 5]);
    spans.extend([(7, 70, 1, true), (8, 35, 1, true)]);
    let second = page(&spans, first.last().map(FoundTrace::cursor)).await;
    assert_eq!(ids(&second), [4, 8]);
}
