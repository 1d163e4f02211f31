//! Other processes as queriers of this one, which are slow, fail and vanish.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use model::{BlockId, TenantId, TimeRange, TraceId};
use proptest::prelude::*;
use prost::Message;
use storage::ids::NodeId;
use storage::index::Limits;
use storage::source::Source;

use super::*;
use crate::jobs::JobError;
use crate::jobs::message::{self, Job, JobAnswer};
use crate::request::{MetricsRequest, SearchFilter, SearchRequest, TagNamesRequest, TagScope};
use crate::testing::{
    MS, START, attributes, float, indexed_block, int, querier, querier_with, service, span, status, table,
};
use crate::{Config, Intervals, Querier};

/// What a node does with its next job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It cannot be reached.
    Gone,
    /// It does the job, and its answer is lost.
    AnswerLost,
    /// It answers when it is late.
    Silent,
    /// It gives bytes that are no answer to this job.
    Garbled,
}

/// Nodes in this process.
pub(crate) struct InProcess {
    pub nodes: Vec<(NodeId, Querier)>,
    pub sources: HashMap<BlockId, Arc<dyn Source>>,
    /// Taken from the end; none when there are no more.
    pub faults: Mutex<Vec<Fault>>,
    pub done: AtomicUsize,
}

impl InProcess {
    pub fn new(nodes: Vec<Querier>, sources: &[Arc<dyn Source>], faults: Vec<Fault>) -> Arc<Self> {
        let nodes = nodes.into_iter().enumerate().map(|(number, querier)| (node(number + 1), querier));
        let sources = sources.iter().map(|source| (source.block_id(), source.clone()));
        Arc::new(Self {
            nodes: nodes.collect(),
            sources: sources.collect(),
            faults: Mutex::new(faults),
            done: AtomicUsize::new(0),
        })
    }
}

fn node(number: usize) -> NodeId {
    NodeId(uuid::Uuid::from_u128(number as u128))
}

#[async_trait]
impl Workers for InProcess {
    fn own(&self) -> NodeId {
        node(0)
    }

    async fn nodes(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|(id, _)| *id).collect()
    }

    async fn run(&self, node: NodeId, job: &Job, within: Duration) -> Result<JobAnswer, JobError> {
        let fault = self.faults.lock().unwrap().pop().unwrap_or(Fault::None);
        match fault {
            Fault::Gone => return Err(JobError::Node("gone".to_owned())),
            Fault::Silent => {
                tokio::time::sleep(within).await;
                return Err(JobError::Node("late".to_owned()));
            }
            _ => {}
        }
        let job = Job::decode(job.encode_to_vec().as_slice()).unwrap();
        let entries = job.blocks.iter().map(|block| storage::manifest::BlockEntry::decode(&block.entry).unwrap());
        let sources = entries.map(|entry| self.sources[&entry.id].clone()).collect();
        let (_, querier) = self.nodes.iter().find(|(id, _)| *id == node).unwrap();
        let answer = querier.do_job(&job, sources).await.map_err(|error| JobError::Job(error.to_string()))?;
        let mut answer = JobAnswer::decode(answer.encode_to_vec().as_slice()).unwrap();
        match fault {
            Fault::AnswerLost => return Err(JobError::Node("lost".to_owned())),
            Fault::Garbled => {
                answer.found.push(message::Found::default());
                answer.measured.push(message::Measured::default());
            }
            _ => {
                self.done.fetch_add(1, Ordering::SeqCst);
            }
        }
        Ok(answer)
    }
}

/// Any but those that take long.
pub(crate) fn any_faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::Gone),
        1 => Just(Fault::AnswerLost),
        1 => Just(Fault::Garbled),
    ];
    proptest::collection::vec(fault, 0..12)
}

/// A querier that deals everything out to two others.
pub(crate) fn spread(sources: &[Arc<dyn Source>], faults: Vec<Fault>) -> (Querier, Arc<InProcess>) {
    let asker = querier(sources.to_vec());
    let others = InProcess::new(vec![querier(Vec::new()), querier(Vec::new())], sources, faults);
    asker.spread_over(others.clone(), SpreadPolicy { least_bytes: 0, newest_here: 0 });
    (asker, others)
}

const BLOCKS: u64 = 16;

/// Blocks of four traces each, and a live one; every tenth trace goes on in the next block.
async fn many_blocks() -> Vec<Arc<dyn Source>> {
    let mut sources: Vec<Arc<dyn Source>> = Vec::new();
    for block in 0..=BLOCKS {
        let mut services = Vec::new();
        for trace in 0..4 {
            let number = block * 4 + trace;
            let goes_on = |number: u64| number.is_multiple_of(10);
            let of_trace = |number: u64, first: u64| {
                let start_ms = number * 250 + first * 100;
                let span = |id: u64| {
                    let mut span =
                        span(0, first + id, if first + id == 1 { 0 } else { 1 }, "op", start_ms + id, 10 + number % 7);
                    span.trace_id = u128::from(number + 1).to_be_bytes().to_vec();
                    span.name = ["get", "put", "list"][(number + id) as usize % 3].to_owned();
                    span.status = status((number % 3) as i32, "");
                    span.attributes = attributes(&[
                        ("weight", float(0.1 * (number % 13) as f64)),
                        ("lane", int((number % 5) as i64)),
                    ]);
                    span
                };
                let name = ["cart", "shop"][(number + first) as usize % 2];
                service(name, (1..4).map(span).collect())
            };
            services.push(of_trace(number, 0));
            if goes_on(number + 4 - 1) && block > 0 {
                services.push(of_trace(number - 1, 10));
            }
        }
        let table = table(services);
        sources.push(match block {
            BLOCKS => Arc::new(storage::MemorySource::new(BlockId::generate(), table).unwrap()),
            _ => Arc::new(indexed_block(&table, Limits::default()).await),
        });
    }
    sources
}

const SEARCHES: [&str; 14] = [
    "{ }",
    "{ name = \"put\" }",
    "{ resource.service.name = \"cart\" && status = error }",
    "{ span.lane = 3 } | select(span.weight, resource.service.name)",
    "{ span.weight > 1.15 } | count() > 2",
    "{ } | by(resource.service.name) | avg(span.weight) > 0.4",
    "{ name = \"get\" } && { resource.service.name = \"shop\" }",
    "{ name = \"get\" } >> { name = \"put\" }",
    "{ trace:duration > 500ms }",
    "{ rootServiceName = \"cart\" }",
    "{ span:childCount > 3 }",
    "{ duration > 15ms && name =~ \"l.*\" }",
    "{ span.nothing = 1 }",
    "{ false }",
];

const METRICS: [&str; 14] = [
    "{ } | rate()",
    "{ } | count_over_time() by (name, resource.service.name)",
    "{ status = error } | min_over_time(duration) by (span.lane)",
    "{ } | max_over_time(span.weight)",
    "{ } | sum_over_time(span.weight) by (name)",
    "{ name = \"put\" } | avg_over_time(span.weight) by (span.lane)",
    "{ } | histogram_over_time(duration)",
    "{ } | quantile_over_time(duration, 0.5, 0.99) by (resource.service.name)",
    "{ } | rate() by (kind, status)",
    "{ trace:duration > 500ms } | count_over_time()",
    "{ } | compare({ status = error })",
    "{ } | rate() by (span.weight) | topk(3)",
    "({ status = error } | rate()) / ({ } | rate())",
    "{ span.nothing = 1 } | rate()",
];

fn search(query: &str, limit: usize) -> SearchRequest {
    SearchRequest {
        filter: SearchFilter::TraceQl(query.to_owned()),
        range: TimeRange::ALL,
        limit,
        spans_per_span_set: 3,
        after: None,
    }
}

fn metrics(query: &str) -> MetricsRequest {
    let range = TimeRange::new(START, START + 110_000 * MS);
    MetricsRequest {
        query: traceql::parse_metrics(query).unwrap(),
        intervals: Intervals::of_range(range, std::num::NonZeroU64::new(7_000 * MS).unwrap()),
        max_exemplars: 20,
        max_series: None,
    }
}

/// Every answer of a querier, as text.
async fn answers(querier: &Querier) -> Vec<(String, String)> {
    let (tenant, mut all) = (TenantId::single(), Vec::new());
    for query in SEARCHES {
        for limit in [1, 1000] {
            let answer = querier.search(&tenant, search(query, limit), None).await.unwrap();
            all.push((format!("{query} limit {limit}"), format!("{:?}", answer.traces)));
        }
        let pages = async {
            let (mut after, mut pages) = (None, Vec::new());
            for _ in 0..2 {
                let request = SearchRequest { after, ..search(query, 15) };
                let page = querier.search(&tenant, request, None).await.unwrap().traces;
                after = page.last().map(crate::answer::FoundTrace::cursor).or(after);
                pages.push(page);
            }
            pages
        };
        all.push((format!("pages of {query}"), format!("{:?}", pages.await)));
        let range = TimeRange::new(START + 8_000 * MS, START + 14_000 * MS);
        let answer = querier.search(&tenant, SearchRequest { range, ..search(query, 500) }, None).await.unwrap();
        all.push((format!("{query} in a range"), format!("{:?}", answer.traces)));
    }
    let tags = vec![("service.name".to_owned(), "cart".to_owned()), ("lane".to_owned(), "2".to_owned())];
    let filter = SearchFilter::Tags { tags, min_duration: Some(Duration::from_millis(5)), max_duration: None };
    let answer = querier.search(&tenant, SearchRequest { filter, ..search("", 50) }, None).await.unwrap();
    all.push(("tags".to_owned(), format!("{:?}", answer.traces)));
    for query in METRICS {
        let answer = querier.metrics(&tenant, metrics(query)).await.unwrap();
        all.push((query.to_owned(), format!("{:?} {:?}", answer.series, answer.partial)));
    }
    let names = TagNamesRequest { scope: TagScope::All, range: TimeRange::ALL, query: None, limit: None };
    all.push(("names".to_owned(), format!("{:?}", querier.tag_names(&tenant, names).await.unwrap().scopes)));
    let trace = querier.trace_by_id(&tenant, TraceId(u128::from(60_u64).to_be_bytes()), None).await.unwrap();
    all.push(("by id".to_owned(), format!("{:?}", trace.resource_spans)));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_answer_as_one_whatever_becomes_of_them() {
    use Fault::{AnswerLost, Garbled, Gone, None};
    let sources = many_blocks().await;
    let expected = answers(&querier(sources.clone())).await;
    let faulty = |number: usize| [None, Gone, AnswerLost, None, Garbled, Gone, Gone][number * 5 % 7];
    for faults in [vec![], (0..2000).map(faulty).collect(), vec![Gone; 2000]] {
        let (querier, others) = spread(&sources, faults.clone());
        for ((question, expected), (_, found)) in expected.iter().zip(answers(&querier).await) {
            assert_eq!(&found, expected, "{question}");
        }
        let done = others.done.load(Ordering::SeqCst);
        assert_eq!(done == 0, faults.iter().all(|fault| *fault == Gone) && !faults.is_empty(), "{done} jobs done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_query_costs_is_counted_wherever_it_was_spent() {
    let sources = many_blocks().await;
    let spent = async |querier: Querier| {
        let answer = querier.metrics(TenantId::single(), metrics("{ } | rate()")).await.unwrap();
        let spent = answer.metrics;
        (spent.inspected_spans, spent.inspected_traces, spent.completed_jobs, spent.total_jobs, spent.total_blocks)
    };
    let alone = spent(querier(sources.clone())).await;
    assert_eq!(spent(spread(&sources, Vec::new()).0).await, alone);
    // of blocks that nothing is known of
    let sources = many_blocks().await;
    let config = Config { max_bytes_per_query: 500, ..Config::default() };
    let asker = querier_with(config, sources.clone());
    let others = InProcess::new(vec![querier(Vec::new())], &sources, Vec::new());
    asker.spread_over(others, SpreadPolicy { least_bytes: 0, newest_here: 0 });
    let error =
        asker.metrics(TenantId::single(), metrics("{ } | avg_over_time(duration) by (name)")).await.unwrap_err();
    assert!(error.to_string().contains("more than the 500 that a query may read"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_query_and_one_of_a_process_that_is_alone_ask_nobody() {
    let sources = many_blocks().await;
    let asker = querier(sources.clone());
    let others = InProcess::new(vec![querier(Vec::new())], &sources, Vec::new());
    asker.spread_over(others.clone(), SpreadPolicy::default());
    asker.metrics(TenantId::single(), metrics("{ } | rate()")).await.unwrap();
    assert_eq!(others.done.load(Ordering::SeqCst), 0, "what is small is looked at here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_says_nothing_is_waited_for_so_long_and_no_longer() {
    let sources = many_blocks().await;
    let expected = querier(sources.clone()).metrics(TenantId::single(), metrics("{ } | rate()")).await.unwrap();
    let (asker, others) = spread(&sources, vec![Fault::Silent]);
    let started = std::time::Instant::now();
    let found = asker.metrics(TenantId::single(), metrics("{ } | rate()")).await.unwrap();
    assert_eq!(format!("{:?}", found.series), format!("{:?}", expected.series));
    assert!(others.done.load(Ordering::SeqCst) > 0 && started.elapsed() < Duration::from_secs(20));
}
