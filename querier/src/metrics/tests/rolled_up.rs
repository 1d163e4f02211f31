//! What row groups say of their spans gives the same series as the spans, which are not read.

use storage::source::SourceWrapper;

use super::*;

/// Sixty traces of four services, one of them without a name, some of whose spans start in the second ten seconds.
fn spans() -> Vec<ResourceSpans> {
    let of_service = |service: u64| {
        let spans = (1..=60_u8).flat_map(|trace| {
            (0..20).map(move |number| {
                let id = service * 20 + number + 1;
                let start_ms = u64::from(trace) * 300 + number;
                let duration_ms = [0, 1, 3, 90][(number % 4) as usize] * if trace == 9 { 40 } else { 1 };
                Span {
                    status: status((number % 3) as i32, ""),
                    kind: (number % 2) as i32 + 2,
                    ..with(
                        span(
                            trace,
                            id,
                            u64::from(id != 1),
                            ["get", "put"][(number % 2) as usize],
                            start_ms,
                            duration_ms,
                        ),
                        &[("lane", text(["a", "b", "c"][usize::from(trace) % 3]))],
                    )
                }
            })
        });
        numbered_service(service, spans.collect())
    };
    (0..4).map(of_service).collect()
}

const COUNTED: [&str; 14] = [
    "{ } | rate()",
    "{ } | count_over_time() by (resource.service.name)",
    "{ } | count_over_time() by (name, kind, status)",
    "{ status = error && kind = server } | rate() by (resource.service.name)",
    "{ resource.service.name != nil && name =~ `g.*` } | rate() by (name)",
    "{ resource.service.name != `back` || name = `put` } | count_over_time()",
    "{ nestedSetParent < 0 && true } | rate()",
    "{ nestedSetParent < 0 && status = unset } | rate() by (resource.service.name)",
    "{ nestedSetParent >= 0 } | count_over_time() by (resource.service.name)",
    "{ nestedSetParent = -1 } | histogram_over_time(duration)",
    "{ } | histogram_over_time(duration) by (name)",
    "{ kind = server } | quantile_over_time(duration, .5, .9, .99) by (resource.service.name)",
    "{ nestedSetParent > -1 && name != `get` } | quantile_over_time(duration, .9)",
    "{ name = `nobody` } | rate() by (name)",
];

/// What looks at more than that.
const READ: [&str; 6] = [
    "{ nestedSetParent = 1 } | rate()",
    "{ span.lane = `a` } | rate()",
    "{ } | count_over_time() by (span.lane)",
    "{ duration > 2ms } | count_over_time()",
    "{ } | max_over_time(duration) by (name)",
    "{ } | quantile_over_time(duration, .9) by (resource.service.name, span.lane)",
];

async fn answer(source: &Arc<dyn Source>, query: &str, step_seconds: u64) -> MetricsAnswer {
    answer_of(std::slice::from_ref(source), query, step_seconds).await
}

/// With all exemplars.
async fn answer_of(sources: &[Arc<dyn Source>], query: &str, step_seconds: u64) -> MetricsAnswer {
    let request = MetricsRequest { max_exemplars: 10_000, ..request(query, 20, step_seconds) };
    ask(sources, request).await.unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// Series are the same; of the exemplars there may be fewer, of those that live spans have.
fn assert_as_live(rolled_up: &MetricsAnswer, live: &MetricsAnswer, query: &str) {
    let texts = |answer: &MetricsAnswer| answer.series.iter().map(series_text).collect::<Vec<_>>();
    assert_eq!(texts(rolled_up), texts(live), "{query}");
    for (found, of_live) in rolled_up.series.iter().zip(&live.series) {
        let all: Vec<String> =
            live.series.iter().flat_map(|series| &series.exemplars).map(|of| format!("{of:?}")).collect();
        assert!(of_live.exemplars.is_empty() || !found.exemplars.is_empty(), "{query}");
        for exemplar in &found.exemplars {
            assert!(all.contains(&format!("{exemplar:?}")), "{query}: {exemplar:?} is not among {all:#?}");
        }
    }
}

async fn block() -> Arc<dyn Source> {
    Arc::new(indexed_block(&table(spans()), Limits::default()).await)
}

#[tokio::test]
async fn what_a_row_group_says_of_its_spans_is_what_they_are() {
    let (block, live) = (block().await, source(spans()));
    for query in COUNTED {
        let (found, expected) = (answer(&block, query, 20).await, answer(&live, query, 20).await);
        assert_as_live(&found, &expected, query);
        assert_eq!(found.metrics.inspected_spans, 0, "{query}");
    }
}

#[tokio::test]
async fn what_row_groups_do_not_tell_is_read() {
    let (block, live) = (block().await, source(spans()));
    for (query, step) in READ.map(|query| (query, 20)).into_iter().chain(COUNTED.map(|query| (query, 10))) {
        let (found, expected) = (answer(&block, query, step).await, answer(&live, query, step).await);
        assert_as_live(&found, &expected, query);
        assert!(found.metrics.inspected_spans > 0 || step == 10, "{query}");
    }
}

#[tokio::test]
async fn row_groups_with_traces_that_go_on_elsewhere_are_read() {
    let more = || vec![service("late", vec![span(7, 900, 1, "get", 19_000, 1), span(70, 1, 0, "get", 19_000, 1)])];
    let newer: Arc<dyn Source> = Arc::new(listing_block(&table(more()), &[trace_id(7)]).await);
    let all = source(spans().into_iter().chain(more()).collect());
    for query in COUNTED {
        let found = answer_of(&[block().await, newer.clone()], query, 20).await;
        assert_as_live(&found, &answer(&all, query, 20).await, query);
    }
}

/// A block of whose traces one was deleted.
struct WithDeleted {
    block: Arc<dyn Source>,
    deleted: Arc<std::collections::HashSet<TraceId>>,
}

impl SourceWrapper for WithDeleted {
    fn inner(&self) -> &dyn Source {
        self.block.as_ref()
    }

    fn deleted_traces(&self) -> Option<&Arc<std::collections::HashSet<TraceId>>> {
        Some(&self.deleted)
    }
}

#[tokio::test]
async fn deleted_traces_are_not_counted() {
    let deleted = Arc::new([trace_id(3)].into());
    let found: Arc<dyn Source> = Arc::new(WithDeleted { block: block().await, deleted });
    let mut left = spans();
    let spans_left = left.iter_mut().flat_map(|of| &mut of.scope_spans);
    spans_left.for_each(|of| of.spans.retain(|span| span.trace_id != trace_id(3).0));
    for query in COUNTED {
        let (found, left) = (answer(&found, query, 20).await, answer(&source(left.clone()), query, 20).await);
        assert_as_live(&found, &left, query);
    }
}

#[tokio::test]
async fn service_names_that_are_no_text_are_read() {
    let with_number = || {
        let mut spans = spans();
        spans.push(resource(&[("service.name", int(7))], "", vec![span(50, 1, 0, "number", 100, 1)]));
        spans
    };
    let block: Arc<dyn Source> = Arc::new(indexed_block(&table(with_number()), Limits::default()).await);
    let query = "{ kind = server } | count_over_time() by (resource.service.name)";
    let found = answer(&block, query, 20).await;
    assert_as_live(&found, &answer(&source(with_number()), query, 20).await, query);
    assert!(found.metrics.inspected_spans > 0);
}
