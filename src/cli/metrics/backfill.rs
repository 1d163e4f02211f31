//! `mosso metrics backfill`: the series of stored traces, a step of time after the other.
//!
//! ```text
//! period: an hour ─▶ steps ─▶ traces of a step, each as a whole ─▶ generator::History ─▶ every target, or an error
//!    └─ counters begin at zero, so it gives the same samples whenever it is done again     └▶ progress file
//! ```

use std::fmt;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use generator::History;
use generator::remote_write::{DirectSender, NotSent};
use model::{TenantId, TimeRange};
use querier::request::SummaryRequest;
use querier::{Matches, Projection, Querier, SpanTable, Summarize, SummarizeError};
use serde::Serialize;
use storage::Telemetry;
use storage::block::{BlockCache, BlockSource};
use storage::source::Source;
use storage::view::TenantView;

use super::progress_file::ProgressFile;
use crate::cli::Common;
use crate::cli::progress::Progress;
use crate::cli::report::{self, count, time};
use crate::cli::stored::Stored;
use crate::config::{Config, Generated};

/// Counters begin at zero so often, and work that was interrupted is done again from there.
const PERIOD_NANOS: u64 = 3_600 * SECOND;
const SECOND: u64 = 1_000_000_000;

/// Tells these series from those that the generator makes meanwhile.
const INSTANCE: &str = "backfill";

#[derive(Args)]
pub struct Arguments {
    /// Start of the time range: unix seconds, unix nanoseconds or RFC 3339. Taken back to the start of its hour.
    #[arg(long, value_parser = api::parse_time)]
    from: u64,
    /// End of the time range: best the time at which the generator was switched on. Taken back to the start of its step.
    #[arg(long, value_parser = api::parse_time)]
    to: u64,
    /// Time between samples, which must divide an hour: as in `collection_interval`, or longer, for fewer samples.
    #[arg(long, value_parser = parse_step, default_value = "1m")]
    step: Duration,
    /// Begin anew, also where a backfill of this range was interrupted.
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    common: Common,
}

fn parse_step(text: &str) -> Result<Duration, String> {
    let nanos = traceql::parse_go_duration(text).map_err(|error| error.to_string())?;
    let nanos = u64::try_from(nanos).unwrap_or(0);
    if nanos.is_multiple_of(SECOND) && (SECOND..=PERIOD_NANOS).contains(&nanos) && PERIOD_NANOS.is_multiple_of(nanos) {
        return Ok(Duration::from_nanos(nanos));
    }
    Err(format!("{text} does not divide an hour into steps of a second or more: write for instance 15s, 1m or 5m"))
}

#[derive(Serialize)]
struct Report {
    tenants: Vec<TenantReport>,
}

#[derive(Serialize)]
struct TenantReport {
    tenant: String,
    from_nanos: u64,
    to_nanos: u64,
    /// Where an earlier backfill had come to.
    resumed_from_nanos: Option<u64>,
    steps: u64,
    /// Taken by targets, all together.
    samples: u64,
    /// Blocks that could not be read make series too small.
    partial_steps: u64,
}

pub(super) async fn run(arguments: &Arguments, config: &Config) -> Result<ExitCode> {
    let range = range(arguments)?;
    let generated = config.generator()?;
    ensure!(
        !generated.remote_write.targets.is_empty(),
        "metrics_generator.storage.remote_write names no target to write to"
    );
    let stored = Stored::open(config).await?;
    let tenants = stored.tenants(arguments.common.tenant.as_ref())?;
    let is_generated = |tenant: &TenantId| !generated.config.of(tenant).processors.is_empty();
    let tenants: Vec<TenantId> = tenants.into_iter().filter(is_generated).collect();
    ensure!(
        !tenants.is_empty(),
        "nothing is generated for any tenant with blocks: name processors in overrides.defaults.metrics_generator or in \
         those of a tenant"
    );
    let backfill =
        Backfill { arguments, config, sender: DirectSender::new(&generated.remote_write)?, generated, stored };
    let mut report = Report { tenants: Vec::new() };
    for tenant in &tenants {
        let done = backfill.tenant(tenant, &range).await;
        report.tenants.push(done.with_context(|| format!("backfill tenant {tenant}"))?);
    }
    report::print(&report, arguments.common.json)?;
    Ok(report::exit_code(report.tenants.iter().all(|tenant| tenant.partial_steps == 0)))
}

/// Whole steps, from the start of an hour.
fn range(arguments: &Arguments) -> Result<Range<u64>> {
    let step_nanos = nanos(arguments.step);
    let range = arguments.from / PERIOD_NANOS * PERIOD_NANOS..arguments.to / step_nanos * step_nanos;
    ensure!(arguments.from < arguments.to && !range.is_empty(), "--from must be before --to, by a step at least");
    Ok(range)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

struct Backfill<'a> {
    arguments: &'a Arguments,
    config: &'a Config,
    generated: Generated,
    sender: DirectSender,
    stored: Stored,
}

impl Backfill<'_> {
    async fn tenant(&self, tenant: &TenantId, range: &Range<u64>) -> Result<TenantReport> {
        let step_nanos = nanos(self.arguments.step);
        let name = format!("{tenant}-{}-{}-{}", range.start / SECOND, range.end / SECOND, step_nanos / SECOND);
        let file = ProgressFile::new(&self.config.data_dir.join("backfill"), &name);
        let done_until = if self.arguments.restart { None } else { file.read()? };
        let mut report = TenantReport {
            tenant: tenant.to_string(),
            from_nanos: range.start,
            to_nanos: range.end,
            resumed_from_nanos: done_until,
            steps: 0,
            samples: 0,
            partial_steps: 0,
        };
        let progress =
            Progress::of((range.end - range.start) / SECOND, |seconds| format!("{:.1} h", seconds as f64 / 3_600.0));
        let mut start = done_until.unwrap_or(range.start);
        progress.add((start - range.start) / SECOND);
        while start < range.end {
            let period = start..range.end.min(start + PERIOD_NANOS);
            self.period(tenant, &period, &progress, &mut report).await?;
            file.write(period.end)?;
            start = period.end;
        }
        file.remove()?;
        Ok(report)
    }

    /// Counts and sends the steps of a period, beginning at zero. Blocks are those of now: compaction goes on meanwhile.
    async fn period(
        &self,
        tenant: &TenantId,
        period: &Range<u64>,
        progress: &Progress,
        report: &mut TenantReport,
    ) -> Result<()> {
        let querier = self.querier(tenant).await?;
        let history = Arc::new(Mutex::new(History::new(tenant.clone(), self.generated.config.of(tenant))?));
        let mut start = period.start;
        while start < period.end {
            let step = start..start + nanos(self.arguments.step);
            let request = SummaryRequest {
                query: "{ }".to_owned(),
                range: TimeRange::new(step.start, step.end.saturating_sub(1)),
            };
            let counting = Arc::new(Counting { history: history.clone(), step: step.clone() });
            let answer = querier.summarize(tenant, request, counting).await.context("read stored traces")?;
            let requests = lock(&history).collect(&self.sender.forms(), INSTANCE, &step);
            report.samples += self.sender.send(&requests).await.map_err(|error| with_advice(error, &step))?;
            report.steps += 1;
            report.partial_steps += u64::from(answer.partial.is_some());
            progress.add(nanos(self.arguments.step) / SECOND);
            start = step.end;
        }
        Ok(())
    }

    async fn querier(&self, tenant: &TenantId) -> Result<Querier> {
        let telemetry = Telemetry::unregistered();
        let manifest = self.stored.manifests.refresh(tenant).await?;
        let cache = BlockCache::of(&self.config.storage.trace, &telemetry);
        let blocks = BlockSource::all(tenant, &manifest, &self.stored.objects, &self.stored.cpu, &cache);
        let sources = blocks.into_iter().map(|block| Arc::new(block) as Arc<dyn Source>).collect();
        // a step is one question whatever its size: nobody waits behind it, and it must not begin again
        let config =
            querier::Config { short_query_spans: u64::MAX, max_query_time: Duration::MAX, ..self.config.querier() };
        let views = Arc::new(TenantView::of(sources));
        Ok(Querier::new(config, views, self.stored.cpu.clone(), &telemetry, &mut Default::default()))
    }
}

/// What a refusal most often means here.
fn with_advice(error: NotSent, step: &Range<u64>) -> anyhow::Error {
    let advice = match &error {
        NotSent::Refused { .. } => {
            "; a Prometheus takes samples of the past only within storage.tsdb.out_of_order_time_window: set it to more \
             than the age of --from"
        }
        NotSent::Unreachable { .. } => "; run the command again, and it goes on with this hour",
    };
    anyhow::Error::msg(format!("send the series of {}: {error}{advice}", time(step.end)))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the querier show a history all traces of a step.
struct Counting {
    history: Arc<Mutex<History>>,
    step: Range<u64>,
}

impl Summarize for Counting {
    type Summary = ();

    fn columns(&self) -> Projection {
        Projection::all()
    }

    fn summarize(&self, table: &SpanTable, _matches: &Matches) -> Result<(), SummarizeError> {
        Ok(lock(&self.history).take(table, &self.step)?)
    }

    fn merge(&self, (): &mut (), (): ()) {}

    fn memory_bytes(&self, (): &()) -> usize {
        0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for tenant in &self.tenants {
            let TenantReport { tenant, from_nanos, to_nanos, resumed_from_nanos, steps, samples, partial_steps } =
                tenant;
            let (from, to) = (time(resumed_from_nanos.unwrap_or(*from_nanos)), time(*to_nanos));
            let steps = count(usize::try_from(*steps).unwrap_or(usize::MAX), "step");
            writeln!(f, "{tenant}: {samples} samples of {steps} sent, {from} to {to}")?;
            if let Some(resumed_from) = resumed_from_nanos {
                writeln!(f, "  went on where it was interrupted, at {}", time(*resumed_from))?;
            }
            if *partial_steps > 0 {
                writeln!(f, "  {partial_steps} of them lack what could not be read: see mosso blocks verify --all")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_divide_an_hour() {
        assert_eq!(parse_step("15s"), Ok(Duration::from_secs(15)));
        assert_eq!(parse_step("1h"), Ok(Duration::from_secs(3_600)));
        for wrong in ["7m", "500ms", "2h", "0s", "-1m"] {
            let error = parse_step(wrong).unwrap_err();
            assert!(error.starts_with(&format!("{wrong} does not divide an hour")), "{error}");
        }
    }
}
