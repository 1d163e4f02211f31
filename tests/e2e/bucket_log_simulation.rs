//! Several nodes whose logs are on the bucket, in one process: stores answer wrongly, puts arrive late, nodes are killed,
//! suspended in the middle of a put and go on, their logs are sealed, adopted and deleted meanwhile; in other runs most nodes
//! acknowledge on a disk, and ship what they have afterwards. Any node that is asked
//! finds every acknowledged span once, or says that it may lack some; what was found once is found from then on.
//!
//! What a rule is for is shown by breaking it: each [`Plant`] is caught within so many seeds.
//!
//! ```sh
//! MOSSO_BUCKET_LOG_SEEDS=200 cargo test --test e2e bucket_log_simulation
//! ```

mod nodes;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fuzz::variable;
use querier::request::MetricsRequest;
use querier::{Intervals, Querier};
use rand::RngExt;

use self::nodes::World;
use crate::cluster_simulation::{TRACES, answered, around, counted, each_once, pass, search_everything, trace_id};

const SEEDS: &str = "MOSSO_BUCKET_LOG_SEEDS";
const DEFAULT_SEEDS: u64 = 6;
/// Every plant is caught by one of so many seeds.
const SEEDS_OF_A_PLANT: u64 = 60;
const STEPS: usize = 40;

/// A rule that is broken. That an adoption commits only where the watermark was shows in no answer, because copies count once:
/// `ingester/src/adopt/tests.rs` looks at the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    AckBeforeThePut,
    NoSeal,
    SealWithoutReplay,
    SealBelievedWithoutASecondListing,
    NewestObjectCollected,
    AlreadyExistsBelieved,
    /// What is on a disk alone is not missed.
    UnshippedNotSaid,
}

const PLANTS: [Plant; 7] = [
    Plant::AckBeforeThePut,
    Plant::NoSeal,
    Plant::SealWithoutReplay,
    Plant::SealBelievedWithoutASecondListing,
    Plant::NewestObjectCollected,
    Plant::AlreadyExistsBelieved,
    Plant::UnshippedNotSaid,
];

/// What senders know, and what was seen.
#[derive(Default)]
struct Model {
    next_span: u64,
    /// The trace of each span that was acknowledged, or found.
    certain: BTreeMap<u64, u64>,
    /// The trace of each span of which nothing was heard, or that was refused: it may be there once.
    uncertain: BTreeMap<u64, u64>,
}

impl Model {
    /// Numbers of new spans of a trace.
    fn new_spans(&mut self, count: u64) -> Vec<u64> {
        let first = self.next_span + 1;
        self.next_span += count;
        (first..=self.next_span).collect()
    }

    fn pushed(&mut self, trace: u64, spans: Vec<u64>, is_acknowledged: bool) {
        let known = if is_acknowledged { &mut self.certain } else { &mut self.uncertain };
        known.extend(spans.into_iter().map(|span| (span, trace)));
    }

    /// Judges an answer about the spans of some traces; what a whole answer has, it must have from then on.
    fn judge(
        &mut self,
        asked: &str,
        found: &BTreeMap<u64, usize>,
        lacks: bool,
        is_asked: impl Fn(u64) -> bool,
    ) -> Result<()> {
        each_once(&self.certain, asked, found, lacks, is_asked)?;
        let seen: BTreeSet<u64> = found.keys().copied().filter(|span| self.uncertain.contains_key(span)).collect();
        for span in seen {
            ensure!(found[&span] == 1, "{asked}: span {span} was found {} times", found[&span]);
            let trace = self.uncertain.remove(&span).context("it was there")?;
            self.certain.insert(span, trace);
        }
        Ok(())
    }

    /// Asks one node for everything; whether it said that its answers are whole, and of how many.
    async fn check(&mut self, querier: &Querier, world: &World) -> Result<(usize, usize)> {
        let (tenant, now) = (&world.tenant, world.now_nanos);
        let range = around(now);
        let (mut whole, mut answers) = (0, 0);
        let mut count = |is_whole: bool| {
            answers += 1;
            whole += usize::from(is_whole);
        };
        let (spans, lacks) = search_everything(querier, tenant, range).await?;
        self.judge("search", &spans, lacks, |_| true)?;
        count(!lacks);

        let query = traceql::parse_metrics("{ } | count_over_time()").context("the query is TraceQL")?;
        let request = MetricsRequest { query, intervals: Intervals::whole(range), max_exemplars: 0, max_series: None };
        if let Some(answer) = answered(querier.metrics(tenant, request).await)? {
            let values = answer.series.iter().flat_map(|series| &series.values);
            let spans = values.filter(|value| !value.is_nan()).sum::<f64>() as usize;
            let (least, most) = (self.certain.len(), self.certain.len() + self.uncertain.len());
            let is_right = spans <= most && (spans >= least || answer.partial.is_some());
            ensure!(is_right, "metrics count {spans} spans of {least} to {most}");
            count(answer.partial.is_none());
        }
        for trace in 1..=TRACES {
            let Some(answer) = answered(querier.trace_by_id(tenant, trace_id(trace), None).await)? else { continue };
            let scopes = answer.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
            let ids = scopes.flat_map(|scope| &scope.spans).map(|span| span.span_id.as_slice().try_into());
            let spans = counted(ids.map(|id| u64::from_be_bytes(id.unwrap_or_default())));
            self.judge("by id", &spans, answer.lack.is_some(), |of| of == trace)?;
            count(answer.lack.is_none());
        }
        Ok((whole, answers))
    }
}

/// One run from a seed.
struct Run {
    world: World,
    model: Model,
    whole: usize,
    answers: usize,
    history: Vec<String>,
}

impl Run {
    async fn steps(&mut self) -> Result<()> {
        for _ in 0..2 {
            self.world.start().await?;
        }
        for step in 0..STEPS {
            let operation = self.step().await.with_context(|| format!("step {step}"));
            self.history.push(format!("step {step}: {}", operation?));
            self.check().await?;
        }
        self.end().await
    }

    async fn step(&mut self) -> Result<String> {
        let world = &mut self.world;
        let node = world.any_node();
        if world.is_about_adoption() && world.random.random_bool(0.3) {
            return Ok(format!("node {node}: {}", world.adopt_asleep(node, &mut self.model).await?));
        }
        Ok(match world.random.random_range(0..100) {
            0..40 => format!("node {node}: push, {}", world.push(node, &mut self.model).await?),
            40..46 => {
                format!("node {node}: push with a fault, {}", world.push_with_fault(node, &mut self.model).await?)
            }
            46..54 => format!("node {node}: flush, {}", world.flush(node).await),
            54..58 => {
                format!("node {node}: flush, and dies with its commit under way, {}", world.die_in_flush(node).await)
            }
            58..63 => format!("node {node}: {}", world.kill(node).await),
            63..70 => format!("node {node}: {}", world.suspend(node, &mut self.model).await?),
            70..76 => format!("node {node}: {}", world.resume(node, &mut self.model).await?),
            76..82 => format!("start, {}", world.start().await?),
            82..88 => format!("adopt after a time, {}", world.adopt_after_silence().await?),
            88..92 => format!("node {node}: {}", world.adopt_asleep(node, &mut self.model).await?),
            92..95 => format!("collect: {}", world.collect(node).await?),
            95..98 => format!("node {node}: {}", world.stop(node).await?),
            _ => format!("late puts arrive: {}", world.deliver_late().await),
        })
    }

    async fn check(&mut self) -> Result<()> {
        let Some((node, querier)) = self.world.any_querier() else { return Ok(()) };
        let checked = self.model.check(&querier, &self.world).await.with_context(|| format!("asked node {node}"));
        let (whole, answers) = checked?;
        (self.whole, self.answers) = (self.whole + whole, self.answers + answers);
        Ok(())
    }

    /// Everything is heard again or adopted: then nothing is missing anywhere, and nobody says that it may be.
    async fn end(&mut self) -> Result<()> {
        self.world.is_faulty = false;
        self.world.deliver_late().await;
        for node in 0..self.world.nodes.len() {
            self.world.resume(node, &mut self.model).await?;
        }
        self.world.start().await?;
        for _ in 0..3 {
            self.world.adopt_after_silence().await?;
        }
        self.world.start().await?;
        if let Some((node, _)) = self.world.any_querier() {
            self.world.publish_left(node).await?;
        }
        for (node, querier) in self.world.queriers() {
            let (whole, answers) = self
                .model
                .check(&querier, &self.world)
                .await
                .with_context(|| format!("asked node {node} at the end"))?;
            ensure!(whole == answers, "node {node} lacks something though all is well");
        }
        Ok(())
    }
}

/// How many answers were whole, and how many there were; or what is wrong in a run, behind all that was done before.
fn run(seed: u64, plant: Option<Plant>, is_shipping: bool) -> Result<(usize, usize)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let world = World::new(seed, plant, is_shipping);
        let mut run = Run { world, model: Model::default(), whole: 0, answers: 0, history: Vec::new() };
        let outcome = run.steps().await;
        run.world.close().await;
        let outcome = outcome.map(|()| (run.whole, run.answers));
        outcome.with_context(|| run.history.join("\n")).with_context(|| format!("seed {seed}"))
    })
}

/// How many answers were whole over all seeds, and how many there were.
fn run_all(is_shipping: bool) -> (usize, usize) {
    let seeds = variable(SEEDS).unwrap_or(DEFAULT_SEEDS);
    let (mut whole, mut all, mut failed) = (0, 0, Vec::new());
    for seed in 0..seeds {
        match run(seed, None, is_shipping) {
            Ok(answers) => (whole, all) = (whole + answers.0, all + answers.1),
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    println!("{whole} of {all} answers were whole, the others said that they were not");
    (whole, all)
}

#[test]
fn any_node_finds_every_span_once_whoever_dies() {
    let (whole, all) = run_all(false);
    assert!(whole > all * 9 / 10, "{whole} of {all} answers were whole, although every log can be read");
}

#[test]
fn any_node_finds_every_span_that_is_on_a_disk_once_or_misses_it() {
    let (whole, all) = run_all(true);
    assert!(whole > all / 3, "{whole} of {all} answers were whole");
}

#[test]
fn a_rule_of_the_log_that_is_broken_is_noticed() {
    let is_noticed = |error: anyhow::Error| {
        let what = error.root_cause().to_string();
        what.contains("was found") || what.contains("metrics count")
    };
    let caught_by = |plant| {
        (0..SEEDS_OF_A_PLANT)
            .find(|seed| run(*seed, Some(plant), plant == Plant::UnshippedNotSaid).is_err_and(is_noticed))
    };
    let caught: Vec<(Plant, Option<u64>)> = PLANTS.into_iter().map(|plant| (plant, caught_by(plant))).collect();
    println!("{caught:?}");
    assert!(caught.iter().all(|(_, seed)| seed.is_some()), "{caught:?}");
}

/// Lets so much time pass that a writer which is not heard is believed to be gone.
async fn silence() {
    pass(mosso::adoption::SILENCE + Duration::from_secs(1)).await;
}
