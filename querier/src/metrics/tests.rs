//! What metrics queries answer.

use std::num::NonZeroU64;
use std::sync::Arc;

use model::{BlockId, TenantId, TimeRange, TraceId};
use opentelemetry_proto::tonic::trace::v1::{Span, span};
use storage::index::Limits;
use storage::memory::MemorySource;
use storage::source::Source;

use crate::intervals::Intervals;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use crate::Config;
use crate::answer::{MetricsAnswer, Series, Value};
use crate::error::Error;
use crate::request::MetricsRequest;
use crate::testing::{
    Damaged, HalfDamaged, MS, START, array, attributes, bool, event, float, indexed_block, int, listing_block,
    numbered_service, querier, querier_with, resource, service, source, span, spans_of_few_kinds, status, table, text,
    trace_id, with,
};

mod agreement;
mod by_trace;
mod compared;
mod rolled_up;

const SECOND: u64 = 1000;

fn request(query: &str, seconds: u64, step_seconds: u64) -> MetricsRequest {
    let range = TimeRange::new(START, START + seconds * SECOND * MS);
    let step = NonZeroU64::new(step_seconds * SECOND * MS).unwrap();
    MetricsRequest {
        query: traceql::parse_metrics(query).unwrap_or_else(|error| panic!("{query}: {error}")),
        intervals: Intervals::of_range(range, step),
        max_exemplars: 100,
        max_series: None,
    }
}

async fn ask(sources: &[Arc<dyn Source>], request: MetricsRequest) -> Result<MetricsAnswer, Error> {
    querier(sources.to_vec()).metrics(TenantId::single(), request).await
}

fn labels_text(labels: &[(String, Value)]) -> String {
    labels.iter().map(|(name, value)| format!("{name}={}", value_text(value))).collect::<Vec<_>>().join(",")
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => super::text(other),
    }
}

/// Labels, then the value of each interval, `-` for none.
fn series_text(series: &Series) -> String {
    let number = |value: &f64| if value.is_nan() { "-".to_owned() } else { value.to_string() };
    let values: Vec<String> = series.values.iter().map(number).collect();
    format!("{}: {}", labels_text(&series.labels), values.join(" "))
}

/// The series of a query over 20 seconds in steps of 10.
async fn series(sources: &[Arc<dyn Source>], query: &str) -> Vec<String> {
    let answer = ask(sources, request(query, 20, 10)).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    answer.series.iter().map(series_text).collect()
}

/// Six spans of two traces: in the first interval one, in the second three, in the third two.
fn example() -> Vec<Arc<dyn Source>> {
    vec![source(example_spans())]
}

fn example_spans() -> Vec<ResourceSpans> {
    let one = with(span(1, 1, 0, "root", 0, 4000), &[("n", int(-5)), ("lane", text("a"))]);
    let two = with(span(1, 2, 1, "child", SECOND, 3000), &[("n", int(-7)), ("lane", text("b"))]);
    let three = with(span(1, 3, 1, "child", 10 * SECOND, 100), &[("n", int(2)), ("x", float(1.5))]);
    let four = with(span(2, 4, 0, "root", 5 * SECOND, 1), &[("n", text("7")), ("tags", array([text("a"), text("b")]))]);
    let five = with(span(2, 5, 4, "child", 11 * SECOND, 50), &[("n", int(9)), ("lane", text("a"))]);
    let six = Span { status: status(2, "boom"), ..span(2, 6, 4, "child", 20 * SECOND, 60) };
    vec![service("front", vec![one, two, three]), service("back", vec![four, five, six])]
}

#[tokio::test]
async fn numbers_count_among_the_memory_of_a_query() {
    let sources = || vec![source(vec![service("s", vec![span(1, 1, 0, "op", 0, 1)])])];
    let config = Config { max_memory_bytes_per_query: 50, ..Config::default() };
    for query in ["{} | rate() by (name)", "{} | compare({ name = `op` })"] {
        let querier = querier_with(config.clone(), sources());
        let error = querier.metrics(TenantId::single(), request(query, 20, 10)).await.unwrap_err();
        assert!(error.to_string().contains("(querier.max_memory_bytes_per_query)"), "{error}");
        assert!(
            querier_with(Config::default(), sources())
                .metrics(TenantId::single(), request(query, 20, 10))
                .await
                .is_ok()
        );
    }
}

#[tokio::test]
async fn spans_count_in_the_interval_that_they_start_in() {
    let sources = example();
    for (query, expected) in [
        ("{ } | count_over_time()", vec!["__name__=count_over_time: 1 3 2"]),
        ("{ } | rate()", vec!["__name__=rate: 0.1 0.3 0.2"]),
        ("{ name = `child` } | count_over_time()", vec!["__name__=count_over_time: 0 2 2"]),
        ("{ name = `none` } | rate()", vec!["__name__=rate: 0 0 0"]),
        ("{ name = `none` } | rate() by (name)", vec![]),
        ("{ false } | rate()", vec![]),
        ("{ false && name = `root` } | rate()", vec!["__name__=rate: 0 0 0"]),
        ("{ false && resource.x = `y` } | rate()", vec!["__name__=rate: 0 0 0"]),
        ("{ } | count_over_time() by (name)", vec!["name=child: 0 2 2", "name=root: 1 1 0"]),
        ("{ status = error } | count_over_time() by (status)", vec!["status=error: 0 0 1"]),
        ("{ name = `root` } >> { } | count_over_time()", vec!["__name__=count_over_time: 0 2 2"]),
        ("{ } | count() > 2 | by(name) | count() > 1 | count_over_time()", vec!["__name__=count_over_time: 0 2 2"]),
    ] {
        assert_eq!(series(&sources, query).await, expected, "{query}");
    }
}

/// Sampled spans: one in two, one in four, one of which nothing is said, and one of a share that is no whole number.
fn sampled() -> Vec<Arc<dyn Source>> {
    let of = |id, trace_state: &str, millis, lane: &str, n| {
        let span = Span { trace_state: trace_state.to_owned(), ..span(id, u64::from(id), 0, "op", SECOND, millis) };
        with(span, &[("lane", text(lane)), ("n", int(n))])
    };
    vec![
        source(vec![service("s", vec![of(1, "ot=th:8", 1000, "a", 10), of(2, "x=y, ot=th:c", 4000, "b", 4)])]),
        source(vec![service("s", vec![of(3, "", 1000, "a", 1), of(4, "ot=th:4", 2000, "b", 3)])]),
    ]
}

#[tokio::test]
async fn spans_count_for_those_that_were_not_sampled_if_that_is_asked_for() {
    let sources = sampled();
    for (query, expected) in [
        ("{ } | count_over_time()", vec!["__name__=count_over_time: 0 8.333333333333332 0"]),
        ("{ span.lane = `a` } | rate()", vec!["__name__=rate: 0 0.3 0"]),
        ("{ } | count_over_time() by (span.lane)", vec!["span.lane=a: 0 3 0", "span.lane=b: 0 5.333333333333333 0"]),
        (
            "{ status != error } | count_over_time() by (resource.service.name)",
            vec!["resource.service.name=s: 0 8.333333333333332 0"],
        ),
        ("{ } | sum_over_time(span.n)", vec!["__name__=sum_over_time: - 41 -"]),
        ("{ span.lane = `a` } | avg_over_time(span.n)", vec!["__name__=avg_over_time: - 7 -"]),
        ("{ } | max_over_time(span.n)", vec!["__name__=max_over_time: - 10 -"]),
        ("{ } | min_over_time(span.n)", vec!["__name__=min_over_time: - 1 -"]),
        (
            "{ } | histogram_over_time(duration)",
            vec![
                "__bucket=1.073741824: 0 3 0",
                "__bucket=2.147483648: 0 1.3333333333333333 0",
                "__bucket=4.294967296: 0 4 0",
            ],
        ),
        ("{ span.lane = `a` } | quantile_over_time(duration, 1)", vec!["p=1: 0 1.073741824 0"]),
        // one and a third count as one
        ("{ span.n = 3 } | quantile_over_time(duration, 1)", vec!["p=1: 0 2.147483648 0"]),
        ("({ span.lane = `a` } | count_over_time()) * 3", vec!["__name__=count_over_time: 0 9 0"]),
    ] {
        let query = format!("{query} with (extrapolate=true)");
        assert_eq!(series(&sources, &query).await, expected, "{query}");
    }
    for hints in ["", " with (extrapolate=false)", " with (extrapolate=1)", " with (extrapolate=`true`)"] {
        let query = format!("{{ }} | count_over_time(){hints}");
        assert_eq!(series(&sources, &query).await, ["__name__=count_over_time: 0 4 0"], "{query}");
    }
    let compared = series(&sources, "{ } | compare({ span.lane = `a` }) with (extrapolate=true)").await;
    assert!(compared.contains(&"__meta_type=selection,name=op: 0 3 0".to_owned()), "{compared:?}");
    assert!(compared.contains(&"__meta_type=baseline,name=op: 0 5.333333333333333 0".to_owned()), "{compared:?}");
}

#[tokio::test]
async fn groups_are_named_by_what_their_spans_have() {
    let sources = example();
    for (query, expected) in [
        (
            "{ } | count_over_time() by (span.lane)",
            vec!["span.lane=a: 1 0 1", "span.lane=b: 0 1 0", "span.lane=nil: 0 2 1"],
        ),
        (
            "{ } | count_over_time() by (span.none, span.lane)",
            vec!["span.lane=a: 1 0 1", "span.lane=b: 0 1 0", "span.none=nil: 0 2 1"],
        ),
        (
            "{ name = `root` } | count_over_time() by (span.n)",
            // a text and a number are not the same
            vec!["span.n=-5: 1 0 0", "span.n=7: 0 1 0"],
        ),
        ("{ } | count_over_time() by (span.tags)", vec!["span.tags=nil: 1 3 2"]),
        (
            "{ } | count_over_time() by (resource.service.name, name)",
            vec![
                "resource.service.name=back,name=child: 0 0 2",
                "resource.service.name=back,name=root: 0 1 0",
                "resource.service.name=front,name=child: 0 2 0",
                "resource.service.name=front,name=root: 1 0 0",
            ],
        ),
    ] {
        assert_eq!(series(&sources, query).await, expected, "{query}");
    }
    let nameless = [source(vec![resource(&[], "", vec![span(1, 1, 0, "x", 0, 1)])])];
    let by_service = series(&nameless, "{ } | count_over_time() by (resource.service.name)").await;
    assert_eq!(by_service, ["resource.service.name=: 1 0 0"]);
}

#[tokio::test]
async fn values_are_measured_where_they_are_numbers() {
    let sources = example();
    for (query, expected) in [
        ("{ } | min_over_time(span.n)", vec!["__name__=min_over_time: -5 -7 9"]),
        ("{ } | sum_over_time(span.n)", vec!["__name__=sum_over_time: -5 -5 9"]),
        ("{ } | avg_over_time(span.n)", vec!["__name__=avg_over_time: -5 -2.5 9"]),
        ("{ } | max_over_time(duration)", vec!["__name__=max_over_time: 4 3 0.06"]),
        ("{ } | max_over_time(span.x)", vec!["__name__=max_over_time: - 1.5 -"]),
        ("{ } | max_over_time(span.lane)", vec![]),
        (
            "{ } | max_over_time(traceDuration) by (rootServiceName)",
            vec!["rootServiceName=back: - 15060000000 15060000000", "rootServiceName=front: 10100000000 10100000000 -"],
        ),
        ("{ } | histogram_over_time(span.n)", vec!["__bucket=16: 0 0 1", "__bucket=2: 0 1 0"]),
        (
            "{ name = `root` } | histogram_over_time(duration)",
            vec!["__bucket=0.001048576: 0 1 0", "__bucket=4.294967296: 1 0 0"],
        ),
        (
            "{ } | quantile_over_time(duration, .5, 1) by (name)",
            vec![
                "name=child,p=0.5: 0 0.134217728 0.04745313281212578",
                "name=child,p=1: 0 4.294967296 0.067108864",
                "name=root,p=0.5: 4.294967296 0.001048576 0",
                "name=root,p=1: 4.294967296 0.001048576 0",
            ],
        ),
        (
            "{ name = `root` } | histogram_over_time(duration) by (span.none)",
            vec!["__bucket=0.001048576: 0 1 0", "__bucket=4.294967296: 1 0 0"],
        ),
        ("{ name = `root` } | quantile_over_time(duration, 1) by (span.none)", vec!["p=1: 4.294967296 0.001048576 0"]),
        ("{ } | max_over_time(duration) > 100ms", vec!["__name__=max_over_time: 4 3 -"]),
        ("{ } | count_over_time() by (name) | topk(1)", vec!["name=child: - 2 2", "name=root: 1 - -"]),
    ] {
        assert_eq!(series(&sources, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn fields_of_events_and_of_links_stand_side_by_side() {
    let link = span::Link { attributes: attributes(&[("l", text("b"))]), ..Default::default() };
    let spans = vec![
        Span { events: vec![event("a", START, &[("n", int(7))])], links: vec![link], ..span(1, 1, 0, "both", 0, 1) },
        span(1, 2, 1, "neither", 1, 1),
    ];
    let sources = [source(vec![service("s", spans)])];
    for (query, expected) in [
        (
            "{ } | count_over_time() by (event:name, link.l)",
            vec!["event:name=nil: 0 1 0", "event:name=a,link.l=b: 1 0 0"],
        ),
        ("{ } | max_over_time(event.n) by (link.l, name)", vec!["link.l=b,name=both: 7 - -"]),
    ] {
        assert_eq!(series(&sources, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn an_instant_query_has_one_number() {
    let range = TimeRange::new(START, START + 20 * SECOND * MS);
    let instant = MetricsRequest { intervals: Intervals::whole(range), ..request("{ } | rate()", 1, 1) };
    let answer = ask(&example(), instant).await.unwrap();
    // the span at the very start is not in it
    assert_eq!(answer.series.iter().map(series_text).collect::<Vec<_>>(), ["__name__=rate: 0.25"]);
}

#[tokio::test]
async fn exemplars_show_a_span_of_each_trace() {
    let exemplars = async |query: &str| {
        let answer = ask(&example(), request(query, 20, 10)).await.unwrap();
        let texts = answer.series.iter().flat_map(|series| &series.exemplars).map(|exemplar| {
            let at = (exemplar.start_nanos - START) / MS / SECOND;
            format!("{} at {at}: {} {}", exemplar.trace_id.0[0], exemplar.value, labels_text(&exemplar.labels))
        });
        texts.collect::<Vec<_>>()
    };
    assert_eq!(exemplars("{ } | count_over_time()").await, ["1 at 0: 1 ", "2 at 5: 3 "]);
    assert_eq!(
        exemplars("{ name = `child` } | max_over_time(duration) by (name)").await,
        ["1 at 1: 3 name=child,duration=3s", "2 at 11: 0.05 name=child,duration=50ms"]
    );
    assert_eq!(
        exemplars("{ name = `root` } | quantile_over_time(duration, .5)").await,
        ["1 at 0: 4 name=root,duration=4s", "2 at 5: 0.001 name=root,duration=1ms"]
    );
    assert_eq!(exemplars("{ } | count_over_time() with (exemplars=1)").await.len(), 1);
    assert_eq!(exemplars("{ } | count_over_time() with (exemplars=false)").await, [""; 0]);
    assert_eq!(exemplars("{ } | count_over_time() > 2").await, ["2 at 5: 3 "]);
    // what the filter asked for is in them, an unscoped attribute under the scope where it was found
    assert_eq!(
        exemplars("{ resource.service.name = `back` && (span.lane = `a` || status = ok) } | rate() by (.lane)").await,
        ["2 at 11: 0.1 resource.service.name=back,span.lane=a"]
    );
    assert_eq!(
        exemplars("{ name = `root` && nestedSetParent = -1 } | rate() by (.service.name)").await,
        ["2 at 5: 0.1 name=root,resource.service.name=back", "1 at 0: 0.1 name=root,resource.service.name=front"]
    );
}

#[tokio::test]
async fn long_steps_have_as_many_exemplars_as_are_asked_for() {
    let spans: Vec<Span> = (1..=200).map(|trace| span(trace, 1, 0, "op", u64::from(trace) * 100, 10)).collect();
    // one interval has a single trace, another nearly all
    let sources =
        [source(vec![service("s", spans)]), source(vec![service("s", vec![span(201, 1, 0, "op", 35_000, 1)])])];
    let asked = MetricsRequest { max_exemplars: 50, ..request("{ } | rate()", 40, 20) };
    let answer = ask(&sources, asked).await.unwrap();
    let exemplars = &answer.series[0].exemplars;
    assert_eq!((exemplars.len(), exemplars[49].trace_id.0[0]), (50, 201));
}

#[tokio::test]
async fn values_of_a_selection_are_compared_with_those_of_the_others() {
    let lines = series(&example(), "{ name = `child` } | compare({ status = error })").await;
    let of = |meta: &str, field: &str| {
        let start = format!("__meta_type={meta},{field}=");
        lines.iter().filter_map(|line| line.strip_prefix(&start)).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(of("baseline", "span.lane"), "a: 0 0 1; b: 0 1 0");
    assert_eq!(of("baseline_total", "span.lane"), "nil: 0 1 1");
    assert_eq!(of("selection", "span.lane") + &of("selection_total", "span.lane"), "");
    assert_eq!(of("selection", "resource.service.name"), "back: 0 0 1");
    assert_eq!(of("baseline", "resource.service.name"), "back: 0 0 1; front: 0 2 0");
    assert_eq!(
        (of("selection", "status"), of("selection", "statusMessage")),
        ("error: 0 0 1".into(), "boom: 0 0 1".into())
    );
    assert_eq!(of("baseline", "rootName"), "root: 0 2 1");
    let answer = ask(&example(), request("{ name = `child` } | compare({ status = error })", 20, 10)).await.unwrap();
    let of_series = |meta: &str, field: &str| {
        let of = |series: &&Series| labels_text(&series.labels) == format!("__meta_type={meta},{field}=nil");
        let series = answer.series.iter().find(of).unwrap();
        let text = |exemplar: &crate::answer::Exemplar| {
            let labels = labels_text(&exemplar.labels);
            format!("{}: {} {}", exemplar.trace_id.0[0], exemplar.value, labels.contains("span.lane=b"))
        };
        series.exemplars.iter().map(text).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(of_series("selection_total", "statusMessage"), "2: 1 false");
    assert_eq!(of_series("baseline_total", "span.lane"), "1: 1 true; 2: 1 false");
    let top = series(&example(), "{ } | compare({ status = error }, 1)").await;
    assert_eq!(top.iter().filter(|line| line.starts_with("__meta_type=baseline,span.lane=")).count(), 1);
    let start = START + 10 * SECOND * MS;
    let window = format!("{{ name = `child` }} | compare({{ true }}, 5, {start}, {})", start + 5 * SECOND * MS);
    let selected = series(&example(), &window).await;
    assert!(selected.contains(&"__meta_type=selection_total,name=nil: 0 0 1".to_owned()), "{selected:?}");
}

#[tokio::test]
async fn a_trace_in_several_sources_is_measured_as_a_whole() {
    let root = service("front", vec![span(1, 1, 0, "root", 0, 1000)]);
    let child = |id, at: u64| service("back", vec![span(1, id, 1, "child", at * SECOND, 100)]);
    let sources = [source(vec![root]), source(vec![child(2, 1)]), source(vec![child(3, 11)])];
    for (query, expected) in [
        ("{ } | count_over_time() by (rootServiceName)", "rootServiceName=front: 1 1 1"),
        ("{ name = `root` } > { } | count_over_time()", "__name__=count_over_time: 0 1 1"),
        ("{ } | count() > 2 | rate()", "__name__=rate: 0.1 0.1 0.1"),
        ("{ traceDuration > 11s } | count_over_time()", "__name__=count_over_time: 1 1 1"),
        ("{ name = `child` } | count_over_time()", "__name__=count_over_time: 0 1 1"),
    ] {
        assert_eq!(series(&sources, query).await, [expected], "{query}");
    }
}

/// Live tables that become one block have its id, all of them; each shares other traces with others.
#[tokio::test]
async fn a_trace_in_several_live_tables_counts_once() {
    let block_id = BlockId::generate();
    let live = |spans: &[(u8, u64)]| -> Arc<dyn Source> {
        let spans = spans.iter().map(|(trace, id)| span(*trace, *id, 0, "op", SECOND, 100)).collect();
        Arc::new(MemorySource::new(block_id, table(vec![service("front", spans)])).unwrap())
    };
    let sources = [live(&[(1, 1), (2, 2)]), live(&[(1, 3)]), live(&[(2, 4)])];
    assert_eq!(series(&sources, "{ } | count_over_time()").await, ["__name__=count_over_time: 0 4 0"]);
}

#[tokio::test]
async fn an_answer_that_is_not_whole_says_so() {
    let mut sources = example();
    let request = |max_series| MetricsRequest { max_series, ..request("{ } | rate() by (name)", 20, 10) };
    assert_eq!(ask(&sources, request(Some(2))).await.unwrap().partial, None);
    let cut = ask(&sources, request(Some(1))).await.unwrap();
    assert_eq!(cut.series.len(), 1);
    assert!(cut.partial.unwrap().starts_with("Response exceeds maximum series limit of 1,"));
    sources.push(Arc::new(Damaged));
    let damaged = ask(&sources, request(None)).await.unwrap();
    assert_eq!(damaged.series.len(), 2);
    assert_eq!(damaged.partial.as_deref(), Some("1 blocks could not be read, a partial response is returned"));
    assert_eq!((damaged.metrics.completed_jobs, damaged.metrics.total_jobs), (1, 2));
}

#[tokio::test]
async fn a_damaged_row_group_leaves_the_others() {
    let half: Arc<dyn Source> = Arc::new(HalfDamaged::of(&table(example_spans())));
    let answer = ask(&[half], request("{ } | count_over_time() by (trace:id)", 20, 10)).await.unwrap();
    assert_eq!(answer.series.len(), 1, "of two traces");
    assert_eq!(answer.partial.as_deref(), Some("1 blocks could not be read, a partial response is returned"));
}

#[tokio::test]
async fn tens_of_thousands_of_groups_are_bounded() {
    const GROUPS: u64 = 10_000;
    let spans = (0..GROUPS).map(|id| with(span(1, id + 1, 0, "op", id, 1), &[("id", int(id as i64))]));
    let sources = [source(vec![service("s", spans.collect())])];
    let query = "{ } | count_over_time() by (span.id)";
    let answer = ask(&sources, request(query, 10, 1)).await.unwrap();
    assert_eq!(answer.series.len(), GROUPS as usize);
    let exemplars: usize = answer.series.iter().map(|series| series.exemplars.len()).sum();
    assert!(exemplars <= 100, "{exemplars} exemplars");
    let error = ask(&sources, request(query, 600, 1)).await.unwrap_err();
    assert_eq!(error.kind(), model::ErrorKind::InvalidInput);
    assert!(error.to_string().starts_with("the query makes more than 5000000 samples"), "{error}");
}

#[tokio::test]
async fn a_query_without_a_metrics_part_is_refused() {
    let error = ask(&example(), request("{ }", 20, 10)).await.unwrap_err();
    assert_eq!(error.to_string(), "not a metrics query");
}

#[tokio::test]
async fn what_a_block_gave_is_remembered_if_all_of_it_was_counted() {
    let names = ["a", "b", "c"];
    let one = |second: u8| span(second, 1, 0, names[usize::from(second % 3)], u64::from(second) * SECOND + 1, 7);
    let table = table(vec![service("s", (5..35).map(one).collect())]);
    let block: Arc<dyn Source> = Arc::new(indexed_block(&table, Limits::default()).await);
    let over = |query: &str, from: u64, to: u64| MetricsRequest {
        intervals: Intervals::of_range(
            TimeRange::new(START + from * SECOND * MS, START + to * SECOND * MS),
            NonZeroU64::new(10 * SECOND * MS).unwrap(),
        ),
        ..request(query, 1, 1)
    };
    for query in [
        "{ } | rate() by (name)",
        "{ name != `a` } | quantile_over_time(duration, .5)",
        "{ } | avg_over_time(duration)",
        "{ name = `none` } | rate()",
    ] {
        let querier = querier(vec![block.clone()]);
        for (from, to, is_known) in [(0, 40, false), (0, 60, true), (0, 40, true), (20, 60, false), (20, 60, false)] {
            let answer = querier.metrics(TenantId::single(), over(query, from, to)).await.unwrap();
            let expected = ask(std::slice::from_ref(&block), over(query, from, to)).await.unwrap();
            // NaN is not equal to itself
            let [answered, fresh] = [&answer, &expected].map(|answer| format!("{:?}", answer.series));
            assert_eq!(answered, fresh, "{query} from {from} to {to}");
            assert_eq!(answer.metrics.completed_jobs, 1);
            let is_nowhere = query.contains("none");
            assert_eq!(answer.metrics.inspected_spans == 0, is_known || is_nowhere, "{query} from {from} to {to}");
        }
    }
    // half of it may be back the next time
    let querier = querier(vec![Arc::new(HalfDamaged::of(&table))]);
    for _ in 0..2 {
        let answer = querier.metrics(TenantId::single(), over("{ } | rate() by (name)", 0, 60)).await.unwrap();
        assert!(answer.metrics.inspected_spans > 0 && answer.partial.is_some());
    }
}

#[tokio::test]
async fn what_blocks_gave_of_traces_that_they_share_is_remembered() {
    let part = |second: u8, id: u64, parent: u64| span(second, id, parent, "op", u64::from(second) * SECOND + id, 7);
    let older = table(vec![service("s", (5..20).map(|second| part(second, 1, 0)).collect())]);
    let newer = table(vec![service("t", (12..30).map(|second| part(second, 2, 1)).collect())]);
    let shared: Vec<TraceId> = (12..20).map(trace_id).collect();
    let blocks: Vec<Arc<dyn Source>> =
        vec![Arc::new(listing_block(&older, &[]).await), Arc::new(listing_block(&newer, &shared).await)];
    let live = source(vec![service("u", vec![part(13, 3, 2)])]);
    for query in ["{ } | rate() by (resource.service.name)", "{ } >> { } | count_over_time()"] {
        let remembering = querier(blocks.clone());
        for (is_known, length_seconds) in [(false, 40), (true, 40), (true, 60)] {
            let asked = request(query, length_seconds, 10);
            let answer = remembering.metrics(TenantId::single(), asked.clone()).await.unwrap();
            let fresh = ask(&blocks, asked).await.unwrap();
            assert_eq!(format!("{:?}", answer.series), format!("{:?}", fresh.series), "{query}");
            assert_eq!(answer.metrics.inspected_spans == 0, is_known, "{query}");
        }
        // a trace of which a part is live, too, is measured with it
        let sources: Vec<Arc<dyn Source>> = blocks.iter().cloned().chain([live.clone()]).collect();
        let answer = ask(&sources, request(query, 40, 10)).await.unwrap();
        let total: f64 = answer.series.iter().flat_map(|series| &series.values).filter(|value| !value.is_nan()).sum();
        let expected = if query.contains(">>") { 8.0 + 1.0 } else { (15.0 + 18.0 + 1.0) / 10.0 };
        assert!((total - expected).abs() < 1e-9, "{query}: {total}");
    }
}

#[tokio::test]
async fn queries_are_computed_with_each_other_and_each_is_answered_once() {
    let sources = example();
    let all = "({ } | count_over_time())";
    let ask_text = |text: String| {
        let sources = &sources;
        async move { ask(sources, request(&text, 20, 10)).await.unwrap() }
    };
    let one = ask_text("{ } | count_over_time()".to_owned()).await;
    let answer = ask_text(format!("{all} / {all} * 10")).await;
    assert_eq!(answer.series.iter().map(series_text).collect::<Vec<_>>().len(), 1);
    assert_eq!(labels_text(&answer.series[0].labels), "__name__=(count_over_time / count_over_time)");
    let has_spans = |series: &Series| series.values.iter().map(|value| *value > 0.0).collect::<Vec<_>>();
    let expected: Vec<bool> = answer.series[0].values.iter().map(|value| *value == 10.0).collect();
    assert_eq!(has_spans(&one.series[0]), expected);
    assert_eq!(answer.metrics, one.metrics, "the same query twice costs once");
    let two = ask_text(format!("{all} - ({{ name = `root` }} | count_over_time())")).await;
    assert_eq!(two.metrics.total_jobs, 2 * one.metrics.total_jobs);
    assert!(two.metrics.inspected_spans > one.metrics.inspected_spans);
    let counted = |answer: &MetricsAnswer| answer.series[0].values.iter().sum::<f64>();
    assert_eq!((counted(&one), counted(&two)), (6.0, 4.0));
}
