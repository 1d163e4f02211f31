//! Queries that are made to cost much: answered or refused in bounded time and memory.

use std::time::Instant;

use super::*;

/// Far above what these take, far below what they would take if they cost more than a walk per condition.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two hundred traces of twenty spans.
fn large() -> Vec<Arc<dyn Source>> {
    let spans = (0..4_000_u64).map(|number| {
        let attributes = attributes(&[("n", int(number as i64)), ("t", text(&format!("value {number}")))]);
        let of = span((number / 20) as u8 + 1, number + 1, 0, "op", number, 1);
        Span { attributes, ..of }
    });
    vec![source(vec![service("s", spans.collect())])]
}

#[tokio::test]
async fn thousands_of_alternatives_are_looked_for_in_time() {
    let alternatives = |each: &dyn Fn(usize) -> String, count: usize| {
        format!("{{ {} }}", (0..count).map(each).collect::<Vec<_>>().join("||"))
    };
    let sources = large();
    for (query, count) in [
        (alternatives(&|n| format!(".n=-1{n}"), 10_000), 0),
        (alternatives(&|n| format!(".t=`v{n}`"), 9_000), 0),
        (alternatives(&|n| format!(".a{n}=1"), 512), 0),
        (alternatives(&|n| format!(".t=~`.*{n}.*(a|b|c)+`"), 128), 0),
        (alternatives(&|n| format!(".n={n}"), 12_000), 200),
    ] {
        let started = Instant::now();
        let answer = ask(&sources, SearchRequest { limit: 1000, ..request(&query) }).await.unwrap();
        assert_eq!(answer.traces.len(), count);
        assert!(started.elapsed() < PATIENCE, "{:?} for {}", started.elapsed(), &query[..40]);
    }
}

#[tokio::test]
async fn the_largest_answer_that_may_be_asked_for_stays_within_the_memory_of_a_query() {
    let config = Config { max_memory_bytes_per_query: 1 << 18, ..Config::default() };
    let most = SearchRequest { limit: 262_144, spans_per_span_set: 100, ..request("{ .n >= 0 } | select(.n, .t)") };
    let error = querier_with(config, large()).search(TenantId::single(), most, None).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("more than the 262144 that a query may hold (querier.max_memory_bytes_per_query)"), "{text}");
    assert_eq!(error.kind(), model::ErrorKind::InvalidInput);
}
