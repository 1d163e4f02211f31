//! How queries that run at the same time share memory and turns.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use futures::FutureExt;
use model::{BlockId, ErrorKind};
use opentelemetry_proto::tonic::trace::v1::Span;
use storage::memory::MemorySource;
use storage::view::{Reach, TenantView};

use std::sync::Mutex;

use super::*;
use crate::intervals::Intervals;
use crate::lock::locked;
use crate::request::{SearchFilter, Tag, TagScope};
use crate::testing::{
    Gated, MS, SMALL_PAGES, START, attributes, indexed_block, int, querier_with, service, source, span, table, text,
    trace_id,
};

fn rate() -> MetricsRequest {
    let range = TimeRange::new(START, START + 1_000 * MS);
    MetricsRequest {
        query: traceql::parse_metrics("{ name = `op` } | rate()").unwrap(),
        intervals: Intervals::of_range(range, NonZeroU64::new(1_000 * MS).unwrap()),
        max_exemplars: 0,
        max_series: None,
    }
}

fn one_span() -> Arc<dyn Source> {
    one_trace(1)
}

fn one_trace(trace: u8) -> Arc<dyn Source> {
    source(vec![service("s", vec![span(trace, 1, 0, "op", 0, 1)])])
}

#[tokio::test]
async fn a_query_waits_for_memory_that_others_give_back_and_at_its_deadline_says_so() {
    let (tenant, config) = (TenantId::single(), Config { max_memory_bytes: 64 << 20, ..Config::default() });
    let config = Config { max_memory_bytes_per_query: 32 << 20, ..config };
    let hold_all = |querier: &Querier| {
        let others = [(); 2].map(|()| querier.inner.engine.shares.memory.open());
        others.iter().for_each(|other| other.grow(32 << 20).unwrap());
        others
    };

    let querier = querier_with(config.clone(), vec![one_span()]);
    let others = hold_all(&querier);
    let mut waiting = querier.metrics(&tenant, rate()).boxed();
    assert!((&mut waiting).now_or_never().is_none());
    drop(others);
    assert_eq!(waiting.await.unwrap().series.len(), 1);

    let querier = querier_with(Config { max_query_time: Duration::from_millis(5), ..config }, vec![one_span()]);
    let _others = hold_all(&querier);
    let error = querier.metrics(&tenant, rate()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(
        error.to_string().contains("hold 67108864 of the 67108864 bytes that they may (memory.budget_bytes)"),
        "{error}"
    );
}

/// Views whose rows can be exchanged.
struct Changing(Mutex<Vec<Arc<dyn Source>>>);

#[async_trait::async_trait]
impl Views for Changing {
    async fn view(&self, _tenant: &TenantId, _reach: Reach) -> Result<TenantView, storage::Error> {
        Ok(TenantView::of(locked(&self.0).clone()))
    }
}

#[tokio::test]
async fn a_scan_waits_without_holding_rows_and_answers_from_those_that_are_there_when_its_turn_comes() {
    let tenant = TenantId::single();
    let config = Config { short_query_spans: 0, max_concurrent_scans: 1, ..Config::default() };
    // more than are looked at together: when the last one's turn is asked for, the query has looked at spans, and one of them
    // is a block, which is read on the pool
    let block = indexed_block(&table(vec![service("s", vec![span(40, 1, 0, "op", 0, 1)])]), SMALL_PAGES).await;
    let sources = (1..=39).map(one_trace).chain([Arc::new(block) as Arc<dyn Source>]).collect();
    let views = Arc::new(Changing(Mutex::new(sources)));
    let changing = |config| {
        let telemetry = storage::Telemetry::unregistered();
        Querier::new(config, views.clone(), CpuPool::new(1), &telemetry, &mut Registry::default())
    };
    let querier = changing(config.clone());
    let running = querier.inner.engine.shares.scan_place(&tenant);
    assert!(running.take_free());
    let mut scan = querier.metrics(&tenant, rate()).boxed();
    let of_view = Arc::downgrade(&locked(&views.0)[0]);
    assert!((&mut scan).now_or_never().is_none() && of_view.strong_count() > 1);
    while of_view.strong_count() > 1 {
        assert!((&mut scan).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    *locked(&views.0) = vec![one_trace(41), one_trace(42)];
    assert!((&mut scan).now_or_never().is_none() && of_view.strong_count() == 0);
    drop(running);
    let values = scan.await.unwrap().series.remove(0).values;
    assert_eq!(values, [2.0, 0.0]);

    // time enough to come to the end of what a short query may look at
    let querier = changing(Config { max_query_time: Duration::from_secs(1), ..config });
    let running = querier.inner.engine.shares.scan_place(&tenant);
    assert!(running.take_free());
    *locked(&views.0) = (1..=40).map(one_trace).collect();
    let error = querier.metrics(&tenant, rate()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(error.to_string().contains("(querier.max_concurrent_scans run at a time)"), "{error}");
}

#[tokio::test]
async fn row_groups_of_all_queries_take_turns() {
    let (tenant, gated) = (TenantId::single(), Gated::closed(one_span()));
    let querier = querier_with(Config { max_row_groups: 1, ..Config::default() }, vec![gated.clone()]);
    let ask = || querier.metrics(&tenant, rate()).boxed();
    let mut queries: Vec<_> = (0..3).map(|_| ask()).collect();
    assert!(queries.iter_mut().all(|query| query.now_or_never().is_none()));
    // one that is given up makes way for the others
    drop(queries.remove(0));
    gated.open();
    for answer in futures::future::join_all(queries).await {
        assert_eq!(answer.unwrap().series.len(), 1);
    }
}

#[tokio::test]
async fn every_answer_tells_how_many_bytes_were_inspected_wherever_they_lie() {
    let spans = (1..=9).map(|trace| span(trace, 1, 0, "op", u64::from(trace), 1)).collect();
    let table = table(vec![service("s", spans)]);
    let live: Arc<dyn Source> = Arc::new(MemorySource::new(BlockId::generate(), table.clone()).unwrap());
    let block: Arc<dyn Source> = Arc::new(indexed_block(&table, SMALL_PAGES).await);
    let tenant = TenantId::single();
    let inspected = async |source: Arc<dyn Source>| {
        let querier = querier_with(Config::default(), vec![source]);
        let search = SearchRequest {
            filter: SearchFilter::TraceQl("{ name = `op` }".to_owned()),
            range: TimeRange::ALL,
            limit: 20,
            spans_per_span_set: 3,
            after: None,
        };
        let names = |query: Option<&str>| TagNamesRequest {
            scope: TagScope::All,
            range: TimeRange::ALL,
            query: query.map(str::to_owned),
            limit: None,
        };
        let tag = |name: &str| TagValuesRequest {
            tag: Tag::Field(traceql::parse_field(name).unwrap()),
            range: TimeRange::ALL,
            query: None,
            limit: None,
            max_stale_sources: None,
        };
        [
            querier.search(&tenant, search, None).await.unwrap().metrics,
            querier.metrics(&tenant, rate()).await.unwrap().metrics,
            querier.trace_by_id(&tenant, trace_id(1), None).await.unwrap().metrics,
            querier.tag_names(&tenant, names(None)).await.unwrap().metrics,
            querier.tag_names(&tenant, names(Some("{ name = `op` }"))).await.unwrap().metrics,
            querier.tag_values(&tenant, tag("resource.service.name")).await.unwrap().metrics,
            querier.tag_values(&tenant, tag("name")).await.unwrap().metrics,
        ]
        .map(|metrics| metrics.inspected_bytes)
    };
    let (of_live, of_block) = (inspected(live).await, inspected(block).await);
    assert!(of_live.iter().chain(&of_block).all(|bytes| *bytes > 0), "{of_live:?} {of_block:?}");
    // nine names of four bytes are looked at, however small the block is
    assert!(of_live[..3].iter().chain(&of_block[..3]).all(|bytes| *bytes >= 36), "{of_live:?} {of_block:?}");
}

#[tokio::test]
async fn tenants_that_do_not_exist_make_no_series() {
    let mut registry = Registry::default();
    let telemetry = storage::Telemetry::unregistered();
    let views = Arc::new(storage::view::TenantView::default());
    let querier = Querier::new(Config::default(), views, CpuPool::new(1), &telemetry, &mut registry);
    for number in 0..1_000 {
        querier.metrics(TenantId::parse(&format!("t{number}")).unwrap(), rate()).await.unwrap();
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let queries: Vec<&str> =
        text.lines().filter(|line| line.starts_with("tempo_query_frontend_queries_total{")).collect();
    let expected =
        r#"tempo_query_frontend_queries_total{op="metrics",result="completed",tenant="unknown tenant"} 1000"#;
    assert_eq!(queries, [expected]);
}

/// Traces of a span, each with a number and a text of its own: as many as a debug build goes through in some seconds.
fn large() -> Arc<dyn Source> {
    let spans = (0..20_000_u64).map(|number| {
        let pairs = attributes(&[("n", int(number as i64)), ("t", text(&format!("value {number}")))]);
        let trace_id = u128::from(number + 1).to_be_bytes().to_vec();
        Span { trace_id, attributes: pairs, ..span(1, number + 1, 0, "op", number % 1_000, 1) }
    });
    source(vec![service("s", spans.collect())])
}

/// Every third span of one trace.
fn third_of_a_large_trace(third: u64) -> Arc<dyn Source> {
    let spans = (0..30_000_u64).filter(|number| number % 3 == third).map(|number| {
        let pairs = attributes(&[("n", int(number as i64)), ("t", text(&format!("value {number}")))]);
        Span { attributes: pairs, ..span(1, number + 1, number / 4, "op", number % 1_000, 1) }
    });
    source(vec![service("s", spans.collect())])
}

/// How long an evaluation may go on after its client left.
const AFTERLIFE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn no_evaluation_goes_on_for_long_after_its_client_left() {
    let cpu = CpuPool::new(1);
    let telemetry = storage::Telemetry::unregistered();
    let over = |sources| {
        let views = Arc::new(storage::view::TenantView::of(sources));
        Querier::new(Config::default(), views, cpu.clone(), &telemetry, &mut Registry::default())
    };
    let (of_one, of_parts) = (over(vec![large()]), over((0..3).map(third_of_a_large_trace).collect()));
    let tenant = TenantId::single();
    let alternatives = (0..5_000).map(|number| format!(".n = -{}", number + 1)).collect::<Vec<_>>().join(" || ");
    for (querier, text) in [
        (&of_one, format!("{{ {alternatives} }}")),
        (&of_one, format!("{{ {alternatives} }} >> {{ }}")),
        (&of_one, "{ } | by(span.t) | count() > 5".to_owned()),
        (&of_one, "{ } | avg(span.n) > 1e9".to_owned()),
        (&of_one, "{ } | rate() by (span.t)".to_owned()),
        (&of_one, "{ } | compare({ span.n > 7 })".to_owned()),
        (&of_parts, "{ } | count() > 100000".to_owned()),
        (&of_parts, "{ span.n = 7 } | rate()".to_owned()),
    ] {
        let query = traceql::parse_metrics(&text).unwrap();
        for left_after in [1, 10, 50, 250].map(Duration::from_millis) {
            let mut least = Duration::MAX;
            // what else runs on the machine may take the processor away, but not every time
            for _ in 0..8 {
                let question = async {
                    if query.require_metrics().is_ok() {
                        let request = MetricsRequest { query: query.clone(), max_exemplars: 100, ..rate() };
                        querier.metrics(&tenant, request).await.map(drop)
                    } else {
                        let filter = SearchFilter::TraceQl(text.clone());
                        let (range, limit, spans_per_span_set, after) = (TimeRange::ALL, 20, 3, None);
                        let request = SearchRequest { filter, range, limit, spans_per_span_set, after };
                        querier.search(&tenant, request, None).await.map(drop)
                    }
                };
                _ = tokio::time::timeout(left_after, question).await;
                let left = Instant::now();
                cpu.run(|| ()).await.unwrap();
                least = least.min(left.elapsed());
                if least < AFTERLIFE {
                    break;
                }
            }
            assert!(least < AFTERLIFE, "{least:?} after {left_after:?} of {}", &text[..text.len().min(60)]);
        }
    }
}

/// Views of rows that are gone before they are read, unless they are held.
struct Fleeting {
    asked: Mutex<Vec<Reach>>,
    can_be_held: bool,
    held_bytes: usize,
}

#[async_trait::async_trait]
impl Views for Fleeting {
    async fn view(&self, _tenant: &TenantId, reach: Reach) -> Result<TenantView, storage::Error> {
        locked(&self.asked).push(reach);
        match reach == Reach::Held && self.can_be_held {
            true => {
                Ok(TenantView { held_bytes: self.held_bytes, missing: vec!["x".to_owned()], sources: vec![one_span()] })
            }
            false => Err(storage::Error::ViewOutOfDate { reason: "they are in blocks now".to_owned() }),
        }
    }
}

#[tokio::test]
async fn a_query_whose_rows_are_gone_begins_again_and_holds_them_within_its_memory() {
    let tenant = TenantId::single();
    let config = Config { max_memory_bytes_per_query: 1 << 20, ..Config::default() };
    let asked = |can_be_held, held_bytes| {
        let views = Arc::new(Fleeting { asked: Mutex::default(), can_be_held, held_bytes });
        let telemetry = storage::Telemetry::unregistered();
        let querier =
            Querier::new(config.clone(), views.clone(), CpuPool::new(1), &telemetry, &mut Registry::default());
        (views, querier)
    };
    let (views, querier) = asked(true, 1_000);
    let answer = querier.metrics(&tenant, rate()).await.unwrap();
    assert_eq!((answer.series.len(), answer.metrics.total_jobs, answer.metrics.completed_jobs), (1, 2, 1));
    assert_eq!(answer.partial.as_deref(), Some("spans that are not yet in blocks may be missing: x"));
    assert_eq!(*locked(&views.asked), [Reach::Everything, Reach::Held]);

    let (_views, querier) = asked(true, 2 << 20);
    assert!(matches!(querier.metrics(&tenant, rate()).await.unwrap_err(), Error::TooMuchMemory { .. }));
    let (views, querier) = asked(false, 0);
    let error = querier.metrics(&tenant, rate()).await.unwrap_err();
    assert_eq!((error.kind(), locked(&views.asked).len()), (ErrorKind::Unavailable, MOST_VIEWS));
}
