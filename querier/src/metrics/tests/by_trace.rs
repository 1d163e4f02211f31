//! Blocks answer as live spans do, though of blocks not every span is read.

use super::*;

/// Forty traces of four services, one of them without a name; every fourth lies over a border of intervals.
fn spans() -> Vec<ResourceSpans> {
    let of_service = |service: u64| {
        let spans = (1..=40_u8).flat_map(|trace| {
            let start_ms = u64::from(trace) * 250;
            let is_long = trace % 4 == 0;
            (0..u64::from(trace) % 3 + service).map(move |number| {
                let id = service * 10 + number + 1;
                let parent = if id == 1 { 0 } else { 1 };
                let at_ms = start_ms + number * if is_long { 900 } else { 3 };
                let is_error = (u64::from(trace) + number + service).is_multiple_of(5);
                Span {
                    status: status(if is_error { 2 } else { (number % 2) as i32 }, ""),
                    kind: (number % 3) as i32,
                    ..with(
                        span(trace, id, parent, ["get", "put"][(number % 2) as usize], at_ms, 1 + number),
                        &[("lane", text(["a", "b", "c"][usize::from(trace) % 3]))],
                    )
                }
            })
        });
        numbered_service(service, spans.collect())
    };
    (0..4).map(of_service).collect()
}

const COUNTED: [&str; 10] = [
    "{ } | rate()",
    "{ } | count_over_time() by (resource.service.name)",
    "{ status = error } | rate() by (resource.service.name)",
    "{ status != error && resource.service.name =~ `.*t.*` } | count_over_time()",
    "{ !(status = error) || resource.service.name != `back` } | rate()",
    "{ resource.service.name = `front` || status = error } | rate() by (rootName, resource.service.name)",
    "{ rootServiceName = `front` } | count_over_time() by (rootServiceName)",
    "{ traceDuration > 10ms } | rate()",
    "{ status = error } | select(span.lane) | count_over_time()",
    "{ status = error } | select(name, kind, statusMessage, span:parentID, event:name) | rate()",
];

const READ: [&str; 7] = [
    "{ } | count_over_time() by (status)",
    "{ status = ok } | rate() by (resource.service.name)",
    "{ kind = server } | rate() by (span.lane)",
    "{ } | histogram_over_time(duration)",
    "{ name = `get` } | quantile_over_time(duration, .5, .9) by (resource.service.name)",
    "{ .lane = `a` } | max_over_time(duration)",
    "{ name = `put` && resource.service.name != `back` } | avg_over_time(duration) by (name)",
];

async fn both(spans: Vec<ResourceSpans>, query: &str, step_seconds: u64) -> [MetricsAnswer; 2] {
    let table = table(spans);
    let block: Arc<dyn Source> = Arc::new(indexed_block(&table, Limits::default()).await);
    let live: Arc<dyn Source> = Arc::new(MemorySource::new(BlockId::generate(), table).unwrap());
    let mut answers = Vec::new();
    for source in [block, live] {
        let answer = ask(&[source], request(query, 20, step_seconds)).await;
        answers.push(answer.unwrap_or_else(|error| panic!("{query}: {error}")));
    }
    answers.try_into().unwrap()
}

fn assert_same(block: &MetricsAnswer, live: &MetricsAnswer, query: &str) {
    assert!(!live.series.is_empty(), "{query}");
    let texts = |answer: &MetricsAnswer| answer.series.iter().map(|series| format!("{series:?}")).collect::<Vec<_>>();
    assert_eq!(texts(block), texts(live), "{query}");
}

#[tokio::test]
async fn what_is_only_counted_is_read_of_traces_over_a_border_alone() {
    for (step, query) in [1, 20].into_iter().flat_map(|step| COUNTED.map(|query| (step, query))) {
        let [block, live] = both(spans(), query, step).await;
        assert_same(&block, &live, query);
        let (read, of_live) = (block.metrics.inspected_spans, live.metrics.inspected_spans);
        if step == 20 {
            assert_eq!(read, 0, "{query}");
        } else {
            assert!(read < of_live / 2, "{query}: {read} of {of_live} spans are read");
        }
    }
}

#[tokio::test]
async fn what_is_measured_is_the_same_when_starts_are_read_of_few() {
    for (step, query) in [1, 7, 20].into_iter().flat_map(|step| READ.map(|query| (step, query))) {
        let [block, live] = both(spans(), query, step).await;
        assert_same(&block, &live, query);
    }
}

#[tokio::test]
async fn names_of_services_that_are_no_text_are_read() {
    let mut spans = spans();
    spans.push(resource(&[("service.name", int(7))], "", vec![span(50, 1, 0, "number", 100, 1)]));
    let [block, live] = both(spans, "{ } | count_over_time() by (resource.service.name)", 20).await;
    assert_same(&block, &live, "a number");
    assert!(block.metrics.inspected_spans > 0);
}

#[tokio::test]
async fn exemplars_that_were_read_are_remembered() {
    let block: Arc<dyn Source> = Arc::new(indexed_block(&table(spans()), Limits::default()).await);
    let querier = querier(vec![block]);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let asked = request("{ status = error } | rate() by (resource.service.name)", 20, 20);
        answers.push(querier.metrics(TenantId::single(), asked).await.unwrap());
    }
    assert_same(&answers[1], &answers[0], "asked again");
    assert!(answers[0].series.iter().any(|series| series.exemplars.len() > 1));
    let reads: Vec<u64> = answers.iter().map(|answer| answer.metrics.backend_reads).collect();
    assert!(reads[0] > 0 && reads[1] == 0, "{reads:?} reads");
}
