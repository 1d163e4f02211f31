//! What row groups say of their spans gives the same series as the spans, which are not read.

use storage::source::SourceWrapper;

use super::*;

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

/// Series are the same; of the exemplars there may be fewer, of those that live spans have. One goes to the quantile that it is
/// next to, so some quantiles have none.
fn assert_as_live(rolled_up: &MetricsAnswer, live: &MetricsAnswer, query: &str) {
    let texts = |answer: &MetricsAnswer| answer.series.iter().map(series_text).collect::<Vec<_>>();
    assert_eq!(texts(rolled_up), texts(live), "{query}");
    let is_of_quantiles = query.contains("quantile");
    let any_exemplar = rolled_up.series.iter().any(|series| !series.exemplars.is_empty());
    for (found, of_live) in rolled_up.series.iter().zip(&live.series) {
        let all: Vec<String> =
            live.series.iter().flat_map(|series| &series.exemplars).map(|of| format!("{of:?}")).collect();
        let is_without = found.exemplars.is_empty() && !of_live.exemplars.is_empty();
        assert!(!is_without || (is_of_quantiles && any_exemplar), "{query}");
        for exemplar in &found.exemplars {
            assert!(all.contains(&format!("{exemplar:?}")), "{query}: {exemplar:?} is not among {all:#?}");
        }
    }
}

async fn block() -> Arc<dyn Source> {
    Arc::new(indexed_block(&table(spans_of_few_kinds()), Limits::default()).await)
}

#[tokio::test]
async fn what_a_row_group_says_of_its_spans_is_what_they_are() {
    let (block, live) = (block().await, source(spans_of_few_kinds()));
    for step_seconds in [20, 10, 3, 1] {
        for query in COUNTED {
            let found = answer(&block, query, step_seconds).await;
            assert_as_live(&found, &answer(&live, query, step_seconds).await, query);
            assert_eq!(found.metrics.inspected_spans, 0, "{query}");
        }
    }
}

#[tokio::test]
async fn seconds_out_of_the_range_do_not_count() {
    let (block, live) = (block().await, source(spans_of_few_kinds()));
    let [of_block, of_live] = [&block, &live].map(std::slice::from_ref);
    let request = |query| MetricsRequest { max_exemplars: 10_000, ..request(query, 7, 2) };
    for query in COUNTED {
        let (found, expected) = (ask(of_block, request(query)).await, ask(of_live, request(query)).await);
        assert_as_live(&found.unwrap(), &expected.unwrap(), query);
    }
}

#[tokio::test]
async fn what_row_groups_do_not_tell_is_read() {
    let (block, live) = (block().await, source(spans_of_few_kinds()));
    for query in READ {
        let (found, expected) = (answer(&block, query, 20).await, answer(&live, query, 20).await);
        assert_as_live(&found, &expected, query);
        assert!(found.metrics.inspected_spans > 0, "{query}");
    }
}

#[tokio::test]
async fn intervals_that_end_within_a_second_are_read() {
    let (block, live) = (block().await, source(spans_of_few_kinds()));
    let step = NonZeroU64::new(1_500 * MS).unwrap();
    let intervals = Intervals::of_range(TimeRange::new(START, START + 20 * SECOND * MS), step);
    let [of_block, of_live] = [&block, &live].map(std::slice::from_ref);
    let request = |query| MetricsRequest { intervals, max_exemplars: 10_000, ..request(query, 20, 1) };
    for query in COUNTED {
        let (found, expected) = (ask(of_block, request(query)).await, ask(of_live, request(query)).await);
        assert_as_live(&found.unwrap(), &expected.unwrap(), query);
    }
}

#[tokio::test]
async fn row_groups_with_traces_that_go_on_elsewhere_are_read() {
    let more = || vec![service("late", vec![span(7, 900, 1, "get", 19_000, 1), span(70, 1, 0, "get", 19_000, 1)])];
    let newer: Arc<dyn Source> = Arc::new(listing_block(&table(more()), &[trace_id(7)]).await);
    let all = source(spans_of_few_kinds().into_iter().chain(more()).collect());
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
    let mut left = spans_of_few_kinds();
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
        let mut spans = spans_of_few_kinds();
        spans.push(resource(&[("service.name", int(7))], "", vec![span(50, 1, 0, "number", 100, 1)]));
        spans
    };
    let block: Arc<dyn Source> = Arc::new(indexed_block(&table(with_number()), Limits::default()).await);
    let query = "{ kind = server } | count_over_time() by (resource.service.name)";
    let found = answer(&block, query, 20).await;
    assert_as_live(&found, &answer(&source(with_number()), query, 20).await, query);
    assert!(found.metrics.inspected_spans > 0);
}
