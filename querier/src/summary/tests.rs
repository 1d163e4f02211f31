use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use model::{ErrorKind, TenantId, TimeRange};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use spans::schema::column;

use super::*;
use crate::Config;
use crate::testing::{
    Damaged, Gated, HalfDamaged, MS, START, indexed_block, listing_block, querier, querier_with, service, source, span,
    table, trace_id,
};

/// Lists the names of the spans of each trace of which one matches, those that do with a star.
struct Names;

impl Summarize for Names {
    type Summary = Vec<String>;

    fn columns(&self) -> Projection {
        Projection { columns: [column::NAME].into(), ..Projection::default() }
    }

    fn summarize(&self, table: &SpanTable, matches: &BooleanBuffer) -> Result<Vec<String>, SummarizeError> {
        let names = spans::column(&table.spans, column::NAME)?.as_dictionary::<Int32Type>();
        let texts = names.values().as_string::<i32>();
        let name = |row: usize| {
            let star = if matches.value(row) { "*" } else { "" };
            format!("{}{star}", texts.value(names.keys().value(row) as usize))
        };
        let traces = table.traces()?;
        let of_trace = |trace| traces.span_rows(trace).map(name).collect::<Vec<_>>().join(" ");
        Ok((0..traces.len()).map(of_trace).filter(|names| names.contains('*')).collect())
    }

    fn merge(&self, summary: &mut Vec<String>, other: Vec<String>) {
        summary.extend(other);
        summary.sort();
    }

    fn memory_bytes(&self, summary: &Vec<String>) -> usize {
        summary.iter().map(String::len).sum()
    }
}

fn request(query: &str) -> SummaryRequest {
    SummaryRequest { query: query.to_owned(), range: TimeRange::new(START, START + 1_000 * MS) }
}

async fn ask(sources: Vec<Arc<dyn Source>>, query: &str) -> Result<SummaryAnswer<Vec<String>>, Error> {
    querier(sources).summarize(&TenantId::single(), request(query), Arc::new(Names)).await
}

async fn names(sources: Vec<Arc<dyn Source>>, query: &str) -> Vec<String> {
    ask(sources, query).await.unwrap_or_else(|error| panic!("{query}: {error}")).summary
}

fn shop() -> Vec<ResourceSpans> {
    vec![
        service("shop", vec![span(1, 1, 0, "root", 0, 10), span(2, 4, 0, "other", 20, 10)]),
        service("cart", vec![span(1, 2, 1, "cart", 2, 5), span(1, 3, 2, "cart db", 3, 1)]),
    ]
}

#[tokio::test]
async fn traces_are_whole_and_know_which_of_their_spans_match() {
    let blocks: [Arc<dyn Source>; 2] =
        [source(shop()), Arc::new(indexed_block(&table(shop()), crate::testing::SMALL_PAGES).await)];
    for block in blocks {
        let names = async |query| names(vec![block.clone()], query).await;
        assert_eq!(names("{ }").await, ["other*", "root* cart* cart db*"]);
        assert_eq!(names("{ resource.service.name = \"cart\" }").await, ["root cart* cart db*"]);
        assert_eq!(names("{ name = \"root\" } > { name = \"cart\" }").await, ["root cart* cart db"]);
        assert_eq!(names("{ } | count() > 1").await, ["root* cart* cart db*"]);
        assert_eq!(names("{ name = \"nobody\" }").await, [""; 0]);
        assert_eq!(names("{ false }").await, [""; 0]);
    }
}

#[tokio::test]
async fn parts_in_several_sources_are_one_trace_and_copies_count_once() {
    let root = span(1, 1, 0, "root", 0, 10);
    let old = table(vec![service("shop", vec![root.clone(), span(3, 9, 0, "alone", 5, 1)])]);
    let newer = table(vec![service("cart", vec![span(1, 2, 1, "cart", 2, 5), root])]);
    let sources: Vec<Arc<dyn Source>> = vec![
        Arc::new(listing_block(&old, &[]).await),
        Arc::new(listing_block(&newer, &[trace_id(1)]).await),
        source(vec![service("mail", vec![span(1, 3, 2, "mail", 4, 1)])]),
    ];
    assert_eq!(names(sources.clone(), "{ }").await, ["alone*", "root* cart* mail*"]);
    assert_eq!(names(sources, "{ name = \"mail\" }").await, ["root cart mail*"]);
}

#[tokio::test]
async fn only_traces_of_the_range_are_read() {
    let late = vec![service("shop", vec![span(5, 1, 0, "late", 5_000, 10)])];
    assert_eq!(names(vec![source(shop()), source(late)], "{ }").await, ["other*", "root* cart* cart db*"]);
}

#[tokio::test]
async fn what_cannot_be_read_is_said() {
    let half: Arc<dyn Source> = Arc::new(HalfDamaged::of(&table(shop())));
    let answer = ask(vec![half, Arc::new(Damaged)], "{ }").await.unwrap();
    assert_eq!(answer.partial.as_deref(), Some("2 blocks could not be read, a partial response is returned"));
    assert_eq!(answer.summary.len(), 1);
    assert_eq!(ask(vec![source(shop())], "{ }").await.unwrap().partial, None);
}

#[tokio::test]
async fn a_query_that_is_wrong_is_refused() {
    let error = ask(vec![source(shop())], "{ nope }").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.as_query_error().is_some());
}

#[tokio::test]
async fn summaries_are_held_within_the_budget() {
    let config = Config { max_memory_bytes_per_query: 8, ..Config::default() };
    let querier = querier_with(config, vec![source(shop())]);
    let error = querier.summarize(&TenantId::single(), request("{ }"), Arc::new(Names)).await.unwrap_err();
    assert!(matches!(error, Error::TooMuchMemory { .. }), "{error}");
}

#[tokio::test]
async fn what_looks_at_many_spans_waits_in_line() {
    let gated = Gated::closed(source(shop()));
    let config = Config { short_query_spans: 0, max_concurrent_scans: 1, ..Config::default() };
    let second = source(vec![service("shop", vec![span(7, 1, 0, "second", 0, 1)])]);
    let querier = querier_with(config, vec![gated.clone(), second]);
    let ask = || {
        let querier = querier.clone();
        tokio::spawn(async move { querier.summarize(&TenantId::single(), request("{ }"), Arc::new(Names)).await })
    };
    let (one, other) = (ask(), ask());
    gated.open();
    for answer in [one, other] {
        assert_eq!(answer.await.unwrap().unwrap().summary, ["other*", "root* cart* cart db*", "second*"]);
    }
}

#[tokio::test]
async fn work_ends_when_nobody_waits() {
    let gated = Gated::closed(source(shop()));
    let querier = querier(vec![gated.clone() as Arc<dyn Source>]);
    let tenant = TenantId::single();
    let question = querier.summarize(&tenant, request("{ }"), Arc::new(Names));
    tokio::select! {
        biased;
        _ = question => panic!("answered behind a closed gate"),
        () = tokio::task::yield_now() => {}
    }
    gated.open();
    // all that the question had is free again: the next one is answered
    assert_eq!(querier.summarize(&tenant, request("{ }"), Arc::new(Names)).await.unwrap().summary.len(), 2);
}
