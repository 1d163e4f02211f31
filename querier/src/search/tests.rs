//! Searches over several sources.

mod agreement;
mod hostile;
mod pages;
mod pieces;
mod ranges;

use std::sync::Arc;
use std::time::Duration;

use model::{BlockId, TenantId, TimeRange, TraceId};
use opentelemetry_proto::tonic::trace::v1::Span;
use storage::source::Source;
use tokio::sync::watch;

use super::FIRST_PORTION_SPANS;
use crate::answer::{FoundTrace, SearchAnswer, SpanSet, Value};
use crate::config::Config;
use crate::error::Error;
use crate::request::{SearchFilter, SearchRequest, Tag, TagValuesRequest};
use crate::testing::{
    Damaged, Gated, HalfDamaged, MS, SMALL_PAGES, START, WithoutSpans, array, attributes, bool, event, indexed_block,
    int, listing_block, querier, querier_with, resource, service, source, span, span_id, status, table, text, trace_id,
};

fn request(query: &str) -> SearchRequest {
    SearchRequest {
        filter: SearchFilter::TraceQl(query.to_owned()),
        range: TimeRange::ALL,
        limit: 20,
        spans_per_span_set: 3,
        after: None,
    }
}

async fn ask(sources: &[Arc<dyn Source>], request: SearchRequest) -> Result<SearchAnswer, Error> {
    querier(sources.to_vec()).search(TenantId::single(), request, None).await
}

async fn search(sources: &[Arc<dyn Source>], query: &str) -> Vec<FoundTrace> {
    ask(sources, request(query)).await.unwrap().traces
}

/// The traces found, as the byte that their ids repeat, with the number of spans that match.
async fn found(sources: &[Arc<dyn Source>], query: &str) -> Vec<(u8, u32)> {
    let traces = search(sources, query).await;
    traces.iter().map(|trace| (trace.trace_id.0[0], trace.span_sets[0].matched)).collect()
}

/// Traces 1 to `count`, one span each, starting one second apart; odd ones in one source, even ones in another.
fn many(count: u8) -> Vec<Arc<dyn Source>> {
    let of = |rest: u8| {
        let spans = (1..=count).filter(|trace| trace % 2 == rest);
        source(vec![service("s", spans.map(|trace| span(trace, 1, 0, "op", u64::from(trace) * 1000, 10)).collect())])
    };
    vec![of(0), of(1)]
}

#[tokio::test]
async fn the_newest_traces_are_found_newest_first() {
    let sources = many(60);
    for query in ["{ }", "{ name = `op` }", "{ rootName = `op` }"] {
        let answer = ask(&sources, SearchRequest { limit: 3, ..request(query) }).await.unwrap();
        assert_eq!(answer.traces.iter().map(|trace| trace.trace_id.0[0]).collect::<Vec<_>>(), [60, 59, 58], "{query}");
    }
    assert_eq!(found(&sources, "{ name = `other` }").await, []);
}

#[tokio::test]
async fn a_filter_that_is_always_false_finds_nothing_however_it_says_so() {
    for query in [
        "{ false }",
        "{ !(name = `op` || true) }",
        "{ !(name = `op` || true) || (name = `op` && false) = true }",
        "{ (name = `op` && false) != false }",
    ] {
        assert_eq!(found(&many(3), query).await, [], "{query}");
    }
}

#[tokio::test]
async fn a_source_too_old_for_the_answer_is_not_read() {
    let answer = ask(&many(60), SearchRequest { limit: 2, ..request("{ name = `op` }") }).await.unwrap();
    assert_eq!((answer.metrics.total_jobs, answer.metrics.total_blocks), (2, 0));
    let old = source(vec![service("s", vec![span(99, 1, 0, "op", 0, 1)])]);
    let new: Vec<_> = (1..=40).map(|trace| span(trace, 1, 0, "op", 10_000 + u64::from(trace), 1)).collect();
    let new = source(vec![service("s", new)]);
    let answer = ask(&[old, new], SearchRequest { limit: 1, ..request("{ name = `op` }") }).await.unwrap();
    assert_eq!(answer.traces[0].trace_id, trace_id(40));
}

#[tokio::test]
async fn traces_that_touch_the_range_are_searched_with_all_their_spans() {
    let spans = vec![span(1, 1, 0, "long", 0, 10_000), span(1, 2, 1, "late", 9_000, 10)];
    let sources = [source(vec![service("s", spans)])];
    let at = |millis: u64| START + millis * MS;
    for (range, expected) in [
        (TimeRange::new(at(3_000), at(4_000)), vec![(1, 1)]),
        (TimeRange::new(at(10_000), at(11_000)), vec![(1, 1)]),
        (TimeRange::new(at(10_000) + 1, at(11_000)), vec![]),
        (TimeRange::new(0, at(0)), vec![(1, 1)]),
        (TimeRange::new(0, at(0) - 1), vec![]),
    ] {
        let answer = ask(&sources, SearchRequest { range, ..request("{ name = `late` }") }).await.unwrap();
        let found: Vec<_> =
            answer.traces.iter().map(|trace| (trace.trace_id.0[0], trace.span_sets[0].matched)).collect();
        assert_eq!(found, expected, "{range:?}");
    }
}

/// Trace 7 in three sources: the root, a child, and a child together with a copy of the root.
fn split() -> Vec<Arc<dyn Source>> {
    let root = Span { kind: 2, ..span(7, 1, 0, "root", 0, 100) };
    let one = span(7, 2, 1, "one", 10, 500);
    let two = Span { status: status(2, ""), ..span(7, 3, 2, "two", 20, 30) };
    vec![
        source(vec![service("front", vec![root.clone()]), service("other", vec![span(8, 1, 0, "root", 5, 10)])]),
        source(vec![service("back", vec![one])]),
        source(vec![service("front", vec![root]), service("back", vec![two])]),
    ]
}

#[tokio::test]
async fn a_trace_in_several_sources_is_one_answer() {
    let traces = search(&split(), "{ name != `nothing` }").await;
    let trace = traces.iter().find(|trace| trace.trace_id == trace_id(7)).unwrap();
    assert_eq!(trace.span_sets[0].matched, 3);
    assert_eq!((trace.start_nanos, trace.duration_nanos), (START, 510 * MS));
    assert_eq!((trace.root_service.as_deref(), trace.root_name.as_deref()), (Some("front"), Some("root")));
    let services: Vec<_> =
        trace.services.iter().map(|(name, stats)| (name.as_str(), stats.span_count, stats.error_count)).collect();
    assert_eq!(services, [("back", 2, 1), ("front", 1, 0)]);
    assert_eq!(found(&split(), "{ name = `two` }").await, [(7, 1)]);
}

#[tokio::test]
async fn filters_on_the_trace_see_all_of_it_wherever_it_lies() {
    let sources = split();
    for (query, expected) in [
        ("{ traceDuration = 510ms && name = `two` }", vec![(7, 1)]),
        ("{ rootName = `root` && name = `one` }", vec![(7, 1)]),
        ("{ rootName = `` }", vec![]),
        ("{ nestedSetParent = 2 }", vec![(7, 1)]),
        ("{ nestedSetLeft = 1 }", vec![(8, 1), (7, 1)]),
        ("{ span:childCount = 1 }", vec![(7, 2)]),
        ("{ rootServiceName = `front` }", vec![(7, 3)]),
    ] {
        assert_eq!(found(&sources, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn pipelines_see_all_of_a_trace_wherever_it_lies() {
    let sources = split();
    for (query, expected) in [
        ("{ name = `root` } >> { name = `two` }", vec![(7, 1)]),
        ("{ name = `two` } << { }", vec![(7, 2)]),
        ("{ name = `root` } && { name = `one` }", vec![(7, 2)]),
        ("{ name = `root` } !> { status != error }", vec![(8, 1), (7, 1)]),
        ("{ } | count() = 3", vec![(7, 3)]),
        ("{ name = `root` } | count() = 1", vec![(8, 1), (7, 1)]),
        ("{ } | max(duration) = 500ms | { status = error }", vec![(7, 1)]),
        ("{ name = `one` } || { name = `two` }", vec![(7, 2)]),
        ("({ status = error } | count() = 1) < ({ } | count() = 3)", vec![(7, 1)]),
    ] {
        assert_eq!(found(&sources, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn groups_are_span_sets_of_their_own() {
    let sets = async |sources: &[Arc<dyn Source>], query: &str| {
        let traces = search(sources, query).await;
        let trace = traces.iter().find(|trace| trace.trace_id == trace_id(7)).unwrap();
        let text = |set: &SpanSet| {
            let attributes = set.attributes.iter().map(|(key, value)| format!("{key}={} ", print(value)));
            let names = set.spans.iter().map(|span| span.name.clone().unwrap_or_default()).collect::<Vec<_>>();
            format!("{}{} {}", attributes.collect::<String>(), set.matched, names.join(" "))
        };
        let mut sets: Vec<String> = trace.span_sets.iter().map(text).collect();
        sets.sort();
        sets
    };
    let one_source = [source(vec![
        service("front", vec![Span { kind: 2, ..span(7, 1, 0, "root", 0, 100) }]),
        service(
            "back",
            vec![span(7, 2, 1, "one", 10, 500), span(7, 3, 2, "two", 20, 30), span(7, 4, 2, "two", 30, 30)],
        ),
    ])];
    let expected = [
        "by(resource.service.name)=back max(duration)=500ms 3 one two two",
        "by(resource.service.name)=front max(duration)=100ms 1 root",
    ];
    let query = "{ } | by(resource.service.name) | max(duration) > 1ms | select(name)";
    assert_eq!(sets(&one_source, query).await, expected);
    assert_eq!(sets(&one_source, "{ duration < 100ms } | by(span.none) | count() > 1").await, ["count()=2 2  "]);
    // spans without a value: nil among texts, nothing among numbers, which clients cannot mix with texts
    let with_value = |value| Span { attributes: attributes(&[("x", value)]), ..span(7, 1, 0, "op", 0, 1) };
    for (value, expected) in
        [(text("a"), ["by(span.x)=a 1 ", "by(span.x)=nil 1 "]), (int(3), ["1 ", "by(span.x)=3 1 "])]
    {
        let spans = vec![with_value(value), span(7, 2, 0, "op", 0, 1)];
        assert_eq!(sets(&[source(vec![service("s", spans)])], "{ } | by(span.x)").await, expected);
    }
    // the language knows no nil for a service name: spans without one are together with those whose name is empty
    let unnamed = [source(vec![
        resource(&[], "", vec![span(7, 1, 0, "bare", 0, 100)]),
        service("", vec![span(7, 2, 1, "empty", 10, 50)]),
        service("back", vec![span(7, 3, 1, "child", 10, 50)]),
    ])];
    assert_eq!(
        sets(&unnamed, "{ } | by(resource.service.name) | select(name)").await,
        ["by(resource.service.name)= 2 bare empty", "by(resource.service.name)=back 1 child"]
    );
    let expected =
        ["by(resource.service.name)=back count()=2 2 one two", "by(resource.service.name)=front count()=1 1 root"];
    assert_eq!(sets(&split(), "{ name != `none` } | by(resource.service.name) | count() > 0").await, expected);
    // without `count()` parts are evaluated one by one, and shown as a whole
    assert_eq!(sets(&split(), "{ name != `none` } | by(resource.service.name)").await.len(), 2);
}

#[tokio::test]
async fn names_are_shown_where_the_query_is_about_them() {
    let names = async |query: &str| {
        let traces = search(&split(), query).await;
        let trace = traces.into_iter().find(|trace| trace.trace_id == trace_id(7)).unwrap();
        let mut names: Vec<_> =
            trace.span_sets[0].spans.iter().map(|span| span.name.clone().unwrap_or_default()).collect();
        names.sort();
        names
    };
    assert_eq!(names("{ name = `root` } >> { }").await, ["", ""]);
    assert_eq!(names("{ name = `root` } &> { }").await, ["", "root"]);
    assert_eq!(names("{ } | by(rootName) | select(name)").await, ["one", "root", "two"]);
}

#[tokio::test]
async fn an_earlier_part_moves_a_trace_down_the_answer() {
    // the newest parts of traces 1 to 30 are newer than traces 31 to 60, their oldest parts are older
    let old: Vec<_> = (1..=30).map(|trace| span(trace, 1, 0, "op", u64::from(trace), 1)).collect();
    let middle: Vec<_> = (31..=60).map(|trace| span(trace, 1, 0, "op", 100 + u64::from(trace), 1)).collect();
    let new: Vec<_> = (1..=30).map(|trace| span(trace, 2, 1, "op", 1000 + u64::from(trace), 1)).collect();
    let sources = [old, middle, new].map(|spans| source(vec![service("s", spans)]));
    let answer = ask(&sources, SearchRequest { limit: 2, ..request("{ name = `op` }") }).await.unwrap();
    assert_eq!(answer.traces.iter().map(|trace| trace.trace_id.0[0]).collect::<Vec<_>>(), [60, 59]);
}

#[tokio::test]
async fn entries_are_told_once_they_are_certain_and_do_not_change() {
    // trace 9 begins in the source that is still closed, so its place is open although a part of it was found
    let new: Vec<_> = [(7, 700), (8, 800), (9, 900)].map(|(trace, at)| span(trace, 2, 1, "op", at, 1)).into();
    let old: Vec<_> = [(1, 100), (9, 200)].map(|(trace, at)| span(trace, 1, 0, "op", at, 1)).into();
    let old = Gated::closed(source(vec![service("s", old)]));
    let sources = vec![source(vec![service("s", new)]), old.clone() as Arc<dyn Source>];
    let (sender, mut certain) = watch::channel(SearchAnswer::default());
    let searching = tokio::spawn(async move {
        querier(sources).search(TenantId::single(), request("{ name = `op` }"), Some(&sender)).await
    });
    certain.changed().await.unwrap();
    let told = certain.borrow_and_update().clone();
    let ids = |answer: &SearchAnswer| answer.traces.iter().map(|trace| trace.trace_id.0[0]).collect::<Vec<_>>();
    assert_eq!(ids(&told), [8, 7]);
    assert_eq!((told.metrics.completed_jobs, told.metrics.total_jobs), (1, 2));
    assert!(!searching.is_finished());

    old.open();
    let answer = searching.await.unwrap().unwrap();
    assert_eq!(ids(&answer), [8, 7, 9, 1]);
    assert_eq!(answer.traces[..2], told.traces);
    assert_eq!(answer.metrics.completed_jobs, 2);
}

#[tokio::test]
async fn the_newest_traces_of_a_large_source_make_its_others_needless() {
    let count = 3 * FIRST_PORTION_SPANS as u64;
    let one = |number: u64| Span {
        trace_id: u128::from(number % 7 * count + number + 1).to_be_bytes().to_vec(),
        ..span(1, 1, 0, if number == 5 { "rare" } else { "op" }, number * 1000, 10)
    };
    let sources = [source(vec![service("s", (0..count).map(one).collect())])];
    let limited = |query: &str| SearchRequest { limit: 3, ..request(query) };
    let answer = ask(&sources, limited("{ name = `op` }")).await.unwrap();
    let starts = |answer: &SearchAnswer| answer.traces.iter().map(|trace| trace.start_nanos).collect::<Vec<_>>();
    assert_eq!(starts(&answer), [1, 2, 3].map(|age| START + (count - age) * 1000 * MS));
    assert!(answer.metrics.inspected_spans < 2 * FIRST_PORTION_SPANS as u64, "{:?}", answer.metrics);
    let answer = ask(&sources, limited("{ name = `rare` }")).await.unwrap();
    assert_eq!((starts(&answer), answer.metrics.inspected_spans), (vec![START + 5000 * MS], count));
}

#[tokio::test]
async fn a_part_outside_the_range_may_be_what_matches() {
    let part = |trace: u8, id: u64, name: &str, second: u64| span(trace, id, id - 1, name, second * 1000, 500);
    // trace 1 begins in the range and goes on after it, trace 2 begins before it; each matches outside only
    let in_range = vec![part(1, 1, "root", 100), part(2, 2, "child", 101), part(3, 1, "op", 102)];
    let (before, after) = (vec![part(2, 1, "op", 50)], vec![part(1, 2, "op", 150), part(4, 1, "op", 151)]);
    let sources = [before, in_range, after].map(|spans| source(vec![service("s", spans)]));
    let at = |second: u64| START + second * 1000 * MS;
    let limited =
        |limit: usize| SearchRequest { range: TimeRange::new(at(90), at(110)), limit, ..request("{ name = `op` }") };
    let ids = |answer: &SearchAnswer| answer.traces.iter().map(|trace| trace.trace_id.0[0]).collect::<Vec<_>>();
    for (limit, expected) in [(20, vec![3, 1, 2]), (2, vec![3, 1]), (1, vec![3])] {
        let answer = ask(&sources, limited(limit)).await.unwrap();
        assert_eq!(ids(&answer), expected);
        assert!(answer.traces.iter().all(|trace| trace.span_sets[0].matched == 1));
    }
    // page by page, each trace once
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let answer = ask(&sources, SearchRequest { after, ..limited(1) }).await.unwrap();
        let Some(last) = answer.traces.last() else { break };
        after = Some(last.cursor());
        pages.extend(ids(&answer));
    }
    assert_eq!(pages, [3, 1, 2]);
}

#[tokio::test]
async fn a_damaged_source_is_left_out() {
    let mut sources = many(4);
    sources.push(Arc::new(Damaged));
    for query in ["{ name = `op` }", "{ rootName = `op` }"] {
        let answer = ask(&sources, request(query)).await.unwrap();
        assert_eq!(answer.traces.len(), 4);
        assert_eq!((answer.metrics.completed_jobs, answer.metrics.total_jobs), (2, 3));
    }
}

#[tokio::test]
async fn a_damaged_row_group_leaves_the_others() {
    let spans = (1..=4).map(|trace| span(trace, 1, 0, "op", u64::from(trace) * 1000, 10)).collect();
    let half: Arc<dyn Source> = Arc::new(HalfDamaged::of(&table(vec![service("s", spans)])));
    let ids = |answer: &SearchAnswer| answer.traces.iter().map(|trace| trace.trace_id.0[0]).collect::<Vec<_>>();
    // the last finds all on the small tables, and meets the damage when it reads what is shown
    for query in ["{ name = `op` }", "{ name = `op` } | count() > 0", "{ rootName = `op` } | select(name)"] {
        let answer = ask(std::slice::from_ref(&half), request(query)).await.unwrap();
        assert_eq!((ids(&answer), answer.metrics.completed_jobs), (vec![4, 3], 0), "{query}");
    }
    // of trace 2 another part can be read
    let part = source(vec![service("s", vec![span(2, 2, 1, "op", 4000, 10)])]);
    let answer = ask(&[half, part], request("{ traceDuration > 1ms }")).await.unwrap();
    assert_eq!((ids(&answer), answer.metrics.completed_jobs), (vec![2, 4, 3], 1));
}

#[tokio::test]
async fn a_part_near_the_start_of_a_trace_is_found_where_it_is_not_near_the_range() {
    let reach = Config::default().trace_reach_seconds * 1_000;
    let (first, second, third) = (reach, 3 * reach / 2, 2 * reach + 1_000);
    let part = async |id, at_ms, continued: &[TraceId]| {
        let spans = vec![span(1, id, 0, "op", at_ms, 10)];
        Arc::new(listing_block(&table(vec![service("s", spans)]), continued).await) as Arc<dyn Source>
    };
    let listed = [trace_id(1)];
    let sources = [part(1, first, &[]).await, part(2, second, &listed).await, part(3, third, &listed).await];
    let range = TimeRange::new(START + third * MS, START + (third + 10) * MS);
    for query in ["{ name = `op` }", "{ name = `op` } | count() > 0"] {
        let answer = ask(&sources, SearchRequest { range, ..request(query) }).await.unwrap();
        assert_eq!(answer.traces[0].start_nanos, START + first * MS, "{query}");
    }
}

#[tokio::test]
async fn a_trace_of_which_no_part_can_be_read_leaves_the_others() {
    let part = |id| -> Arc<dyn Source> {
        Arc::new(WithoutSpans(source(vec![service("s", vec![span(9, id, 0, "op", 9000 + id, 10)])])))
    };
    let mut sources = many(1);
    sources.extend([part(1), part(2)]);
    for query in ["{ name = `op` }", "{ name = `op` } | count() > 0", "{ rootName = `op` }", "{ }"] {
        let answer = ask(&sources, request(query)).await.unwrap();
        let ids: Vec<u8> = answer.traces.iter().map(|trace| trace.trace_id.0[0]).collect();
        assert_eq!((ids, answer.metrics.completed_jobs, answer.metrics.total_jobs), (vec![1], 2, 4), "{query}");
    }
}

#[tokio::test]
async fn queries_that_cannot_be_answered_say_why() {
    let text = async |query: &str| ask(&many(1), request(query)).await.unwrap_err();
    let error = text("{ name = }").await;
    assert!(error.as_query_error().is_some_and(traceql::Error::is_parse_error), "{error}");
    let several = ask(&split(), request("({ } | by(name)) > ({ })")).await.unwrap_err();
    assert!(several.to_string().contains("consider using coalesce()"), "{several}");
    let division = text("{ 1 / (duration - duration) = 1 || name = `op` && 1 / 0 = 1 }").await;
    assert_eq!((division.kind(), division.to_string().as_str()), (model::ErrorKind::InvalidInput, "division by zero"));
    assert_eq!(found(&many(1), "{ name = `op` } | rate() with (most_recent=true)").await, [(1, 1)]);
    assert_eq!(found(&many(1), "{ false } > { }").await, []);
}

#[tokio::test]
async fn trace_ids_are_shown_and_matched_without_their_leading_zeros() {
    let id = |bytes: [u8; 2]| [vec![0; 14], bytes.to_vec()].concat();
    let spans = [[0x0a, 0xbc], [0xab, 0xc0]].map(|bytes| Span { trace_id: id(bytes), ..span(1, 1, 0, "op", 0, 1) });
    let sources = [source(vec![service("s", spans.into())])];
    let ids = async |query: &str| {
        let traces = search(&sources, query).await;
        let mut ids: Vec<String> = traces
            .iter()
            .map(|trace| trace.span_sets[0].attributes.iter().map(|(_, id)| print(id)).collect())
            .collect();
        ids.sort();
        ids.join(" ")
    };
    for (filter, expected) in [
        ("true", "abc abc0"),
        ("trace:id = `abc`", "abc"),
        ("trace:id = `00000000000000000000000000000abc`", "abc"),
        ("trace:id != `0abc`", "abc0"),
        ("trace:id =~ `abc.*`", "abc abc0"),
        ("trace:id =~ `0{29}abc`", "abc"),
        ("trace:id !~ `0*abc`", "abc0"),
    ] {
        assert_eq!(ids(&format!("{{ {filter} }} | by(trace:id)")).await, expected, "{filter}");
    }
}

#[tokio::test]
async fn spans_show_what_made_them_match() {
    let mut spans: Vec<_> = (1..=5).map(|id| span(1, id, 0, "op", id, 1)).collect();
    spans[0].attributes = attributes(&[
        ("n", int(3)),
        ("tags", array([text("a"), text("b"), text("c")])),
        ("other", text("shown")),
        ("parity", text("odd")),
    ]);
    spans[0].events = vec![
        event("e1", START, &[("k", text("1"))]),
        event("e2", START + 5 * MS, &[("k", text("2")), ("l", text("3"))]),
    ];
    let sources = [source(vec![service("s", spans)])];
    let shown = async |query: &str| {
        let traces = search(&sources, query).await;
        let span = traces[0].span_sets[0].spans[0].clone();
        assert_eq!(span.span_id, span_id(1), "{query}");
        let mut attributes = span.attributes;
        attributes.sort_by(|(left, _), (right, _)| left.cmp(right));
        let attributes = attributes.into_iter().map(|(key, value)| format!("{key}={}", print(&value)));
        (span.name, attributes.collect::<Vec<_>>().join(" "))
    };
    for (query, expected) in [
        ("{ span.n = 3 }", "n=3"),
        ("{ span.n = 3 || span.parity = `even` }", "n=3"),
        ("{ span.n > 1 && span.parity = `odd` }", "n=3 parity=odd"),
        ("{ span.tags = `b` }", "tags=b"),
        ("{ span.tags = `b` || span.tags = `c` }", "tags=[b c]"),
        ("{ span.n + 1 = 4 }", "n=3"),
        (
            "{ span.n = 3 } | select(span.other, span.none, kind, resource.service.name)",
            "kind=unspecified n=3 other=shown service.name=s",
        ),
        ("{ span.n = 3 && span.none = nil }", "n=3 none=nil"),
        ("{ !(span.n = 1 || span.parity = `even`) && span.other = `shown` }", "other=shown"),
        ("{ !(span.n = 3 && span.none = 1) && span.other = `shown` }", "n=3 other=shown"),
        ("{ !!(span.n > 2) }", "n=3"),
        ("{ span.other = `shown` } | by(span.n > 10)", "other=shown"),
        ("{ span.other = `shown` } | by(span.n > 2)", "n=3 other=shown"),
        ("{ span.other = `shown` } | by(span.n + 1)", "n=3 other=shown"),
        ("{ span.other = `shown` } | by((span.n = 1) = (span.parity = `odd`))", "other=shown parity=odd"),
        ("{ (span.n = 1) = (span.parity = `even`) && span.other = `shown` }", "other=shown"),
        ("{ event:name =~ `e.` }", "event:name=e2"),
        ("{ event.k = `1` }", "k=1"),
        ("{ event.l = nil && span.n = 3 }", "l=nil n=3"),
        ("{ event.k = nil || span.n = 3 }", "n=3"),
        ("{ event:timeSinceStart > 1ms }", "event:timeSinceStart=4ms"),
        ("{ status = unset && duration = 1ms && rootName = `op` && span.n != nil }", "n=3 status=unset"),
        ("{ nestedSetParent = -1 && span.n = 3 }", "n=3 nestedSetParent=-1"),
    ] {
        assert_eq!(shown(query).await, (None, expected.to_owned()), "{query}");
    }
    assert_eq!(shown("{ name = `op` }").await, (Some("op".to_owned()), String::new()));
    let traces = search(&sources, "{ }").await;
    assert_eq!((traces[0].span_sets[0].matched, traces[0].span_sets[0].spans.len()), (5, 3));
}

#[tokio::test]
async fn every_value_of_a_key_that_a_span_has_twice_is_found() {
    let with = |id, pairs: &[_]| Span { attributes: attributes(pairs), ..span(1, id, 0, "op", id, 1) };
    let mut spans = vec![
        with(1, &[("k", text("one")), ("k", text("two")), ("k", int(7)), ("flag", bool(false)), ("flag", bool(true))]),
        with(2, &[("k", text("one"))]),
        with(3, &[("k", int(8)), ("k", text("two"))]),
        with(4, &[]),
    ];
    spans[3].events = vec![event("e", START, &[("k", text("in")), ("k", text("out"))])];
    let resources = [("service.name", text("s")), ("r", int(1)), ("k", text("res")), ("r", int(2)), ("k", text("too"))];
    let table = table(vec![resource(&resources, "", spans)]);
    let live: Arc<dyn Source> =
        Arc::new(storage::memory::MemorySource::new(BlockId::generate(), table.clone()).unwrap());
    let block: Arc<dyn Source> = Arc::new(indexed_block(&table, SMALL_PAGES).await);
    for source in [live, block] {
        let ids = async |query: &str| {
            let asked = SearchRequest { spans_per_span_set: 9, ..request(query) };
            let traces = ask(std::slice::from_ref(&source), asked).await.unwrap().traces;
            let spans = traces.into_iter().flat_map(|trace| trace.span_sets.into_iter().flat_map(|set| set.spans));
            spans.map(|span| u64::from_be_bytes(span.span_id.0)).collect::<Vec<_>>()
        };
        for (query, expected) in [
            ("{ span.k = `one` }", vec![1, 2]),
            ("{ span.k = `two` }", vec![1, 3]),
            ("{ span.k = 7 }", vec![1]),
            ("{ span.k > 6 }", vec![1, 3]),
            ("{ span.k =~ `tw.` }", vec![1, 3]),
            ("{ span.k != `two` }", vec![2]),
            ("{ span.k !~ `tw.` }", vec![2]),
            ("{ span.k != 7 }", vec![3]),
            ("{ span.flag }", vec![1]),
            ("{ span.k = nil }", vec![4]),
            ("{ .k = `two` }", vec![1, 3]),
            ("{ .k = `too` }", vec![4]),
            ("{ resource.r = 2 }", vec![1, 2, 3, 4]),
            ("{ resource.r != 2 }", vec![]),
            ("{ event.k = `out` }", vec![4]),
            ("{ span.k = `two` && resource.k = `too` }", vec![1, 3]),
        ] {
            assert_eq!(ids(query).await, expected, "{query}");
        }
        let traces = search(std::slice::from_ref(&source), "{ span.k = `two` && span.k > 7 }").await;
        let shown = traces[0].span_sets[0].spans[0].attributes.iter().map(|(_, value)| print(value));
        assert_eq!(shown.collect::<Vec<_>>(), ["8"]);
        let values = async |name: &str| {
            let tag = Tag::Field(traceql::parse_field(name).unwrap());
            let request =
                TagValuesRequest { tag, range: TimeRange::ALL, query: None, limit: None, max_stale_sources: None };
            let found = querier(vec![source.clone()]).tag_values(TenantId::single(), request).await.unwrap();
            found.values.into_iter().map(|value| value.text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(values("span.k").await, "one two 7 8");
        assert_eq!((values("resource.r").await, values("event.k").await), ("1 2".into(), "in out".into()));
    }
}

fn print(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Array(values) => format!("[{}]", values.iter().map(print).collect::<Vec<_>>().join(" ")),
    }
}

#[tokio::test]
async fn a_search_by_tags_finds_traces_without_spans() {
    let sources = many(6);
    let tags = |pairs: &[(&str, &str)], min: Option<u64>| SearchFilter::Tags {
        tags: pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        min_duration: min.map(Duration::from_millis),
        max_duration: None,
    };
    let count = async |filter| {
        let answer = ask(&sources, SearchRequest { filter, ..request("") }).await.unwrap();
        assert!(answer.traces.iter().all(|trace| trace.span_sets.is_empty() && trace.services.is_empty()));
        answer.traces.len()
    };
    assert_eq!(count(tags(&[], None)).await, 6);
    assert_eq!(count(tags(&[("service.name", "s"), ("name", "op")], Some(10))).await, 6);
    assert_eq!(count(tags(&[("service.name", "s"), ("name", "o")], None)).await, 0);
    assert_eq!(count(tags(&[("root.name", "op")], Some(11))).await, 0);
    let many = tags(&vec![("a", "b"); 257], None);
    let error = ask(&sources, SearchRequest { filter: many, ..request("") }).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().contains("more than 256 tags")),
        (model::ErrorKind::InvalidInput, true)
    );
}

#[tokio::test]
async fn tags_are_met_by_different_spans_of_a_trace() {
    let tagged = |trace, id, name: &str, pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (*key, text(value))).collect();
        Span { attributes: attributes(&pairs), ..span(trace, id, 0, name, 0, 10) }
    };
    let front = vec![
        tagged(1, 1, "root", &[("card", "visa"), ("http.method", "GET")]),
        tagged(1, 2, "paid", &[("loyal", "yes")]),
    ];
    let cache = vec![tagged(1, 3, "cached", &[("db.system", "redis"), ("region", "eu")])];
    let other = vec![tagged(2, 1, "root", &[("card", "visa"), ("region", "eu")])];
    let resources = || [("front", front.clone()), ("cache", cache.clone()), ("front", other.clone())];
    let together = vec![source(resources().map(|(name, spans)| service(name, spans)).into())];
    let apart: Vec<_> = resources().map(|(name, spans)| source(vec![service(name, spans)])).into();
    for sources in [together, apart] {
        for (pairs, expected) in [
            // a name with a column of its own is met anywhere in the trace
            (&[("service.name", "front"), ("db.system", "redis")][..], vec![1]),
            (&[("service.name", "cache"), ("http.method", "GET"), ("name", "paid")], vec![1]),
            (&[("service.name", "front"), ("service.name", "cache")], vec![1]),
            // the others within one resource's spans, though not in one span
            (&[("card", "visa"), ("loyal", "yes")], vec![1]),
            (&[("card", "visa"), ("db.system", "redis")], vec![]),
            (&[("card", "visa"), ("region", "eu")], vec![2]),
            (&[("card", "visa"), ("region", "eu"), ("name", "paid")], vec![]),
            (&[("card", "visa"), ("root.name", "root"), ("http.method", "GET")], vec![1]),
        ] {
            let tags = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
            let filter = SearchFilter::Tags { tags, min_duration: Some(Duration::from_millis(5)), max_duration: None };
            let found = ask(&sources, SearchRequest { filter, ..request("") }).await.unwrap().traces;
            let ids: Vec<u8> = found.iter().map(|trace| trace.trace_id.0[0]).collect();
            assert_eq!(ids, expected, "{pairs:?}");
        }
    }
}

#[tokio::test]
async fn a_spent_budget_ends_a_search_with_its_name() {
    let ended = async |config: Config, request: SearchRequest| {
        let sources = many(60).into_iter().chain(split()).collect();
        let error = querier_with(config, sources).search(TenantId::single(), request, None).await.unwrap_err();
        assert_eq!(error.kind(), model::ErrorKind::InvalidInput);
        error.to_string()
    };
    let all = SearchRequest { limit: 262_144, spans_per_span_set: 100, ..request("{ name != `none` }") };
    let few_bytes = Config { max_memory_bytes_per_query: 4000, ..Config::default() };
    for query in [all.clone(), SearchRequest { spans_per_span_set: usize::MAX, ..all.clone() }] {
        let error = ended(few_bytes.clone(), query).await;
        assert!(error.contains("(querier.max_memory_bytes_per_query)"), "{error}");
    }
    // one result fits where all do not
    let one = SearchRequest { limit: 1, ..all };
    let answer = querier_with(few_bytes, many(60)).search(TenantId::single(), one, None).await.unwrap();
    assert_eq!(answer.traces.len(), 1);
}

#[tokio::test]
async fn a_search_that_takes_too_long_is_ended() {
    let gated = Gated::closed(source(vec![service("s", vec![span(1, 1, 0, "op", 0, 1)])]));
    let config = Config { max_query_time: Duration::from_millis(5), ..Config::default() };
    let querier = querier_with(config, vec![gated]);
    let error = querier.search(TenantId::single(), request("{ name = `op` }"), None).await.unwrap_err();
    assert_eq!(error.kind(), model::ErrorKind::Timeout);
    let text = error.to_string();
    assert!(text.contains("longer than the 5ms ") && text.contains("(querier.search.query_timeout)"), "{text}");
}
