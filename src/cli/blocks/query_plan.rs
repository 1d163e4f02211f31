//! `mosso blocks query-plan`

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use model::{TenantId, TimeRange};
use querier::explain::{Explanation, Outcome, Read, SourcePlan, explain};
use serde::Serialize;
use storage::Telemetry;
use storage::block::{BlockCache, BlockSource};
use storage::source::Source;

use crate::cli::Common;
use crate::cli::report::{self, count, size, time};
use crate::cli::stored::Stored;
use crate::cli::table::Heading::{Left, Right};
use crate::cli::table::Table;

/// Each block is looked at once, so little is worth keeping.
const CACHE_BYTES: u64 = 16 << 20;

#[derive(Args)]
pub struct Arguments {
    /// A search or a metrics query, such as '{ span.http.status_code >= 500 }'.
    #[arg(value_name = "TRACEQL")]
    query: String,
    /// Start of the time range: unix seconds, unix nanoseconds or RFC 3339, as in the API [default: no limit].
    #[arg(long, value_parser = api::parse_time)]
    start: Option<u64>,
    /// End of the time range [default: no limit].
    #[arg(long, value_parser = api::parse_time)]
    end: Option<u64>,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Report {
    tenant: String,
    #[serde(flatten)]
    explanation: Explanation,
}

pub(super) async fn run(arguments: &Arguments, stored: &Stored) -> Result<ExitCode> {
    let tenant = stored.one_tenant(arguments.common.tenant.as_ref())?;
    let whole = TimeRange::ALL;
    let range = TimeRange::new(arguments.start.unwrap_or(whole.start_nanos), arguments.end.unwrap_or(whole.end_nanos));
    let sources = sources(&tenant, stored).await?;
    let explanation = explain(sources, &arguments.query, range, &stored.cpu).await.context("plan the query")?;
    report::print(&Report { tenant: tenant.to_string(), explanation }, arguments.common.json)?;
    Ok(ExitCode::SUCCESS)
}

async fn sources(tenant: &TenantId, stored: &Stored) -> Result<Vec<Arc<dyn Source>>> {
    let cache = BlockCache::new(CACHE_BYTES, Telemetry::unregistered());
    let manifest = stored.manifest(tenant).await?;
    let blocks = BlockSource::all(tenant, &manifest, &stored.objects, &stored.cpu, &cache);
    Ok(blocks.into_iter().map(|block| Arc::new(block) as Arc<dyn Source>).collect())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation { query, conditions, needs_whole_traces, steps, sources } = &self.explanation;
        writeln!(f, "query   {query}")?;
        for (number, filter) in conditions.iter().enumerate() {
            let asked = if filter.is_empty() { "nothing".to_owned() } else { filter.join(", ") };
            let label = if number == 0 { "index" } else { "" };
            writeln!(f, "{label:<7} asked for {asked}")?;
        }
        for (number, step) in steps.iter().enumerate() {
            let label = if number == 0 { "reads" } else { "then" };
            writeln!(f, "{label:<7} to {}: {}", step.purpose, step.columns.join(", "))?;
        }
        if *needs_whole_traces {
            writeln!(f, "whole   traces that lie in several blocks are put together first")?;
        }
        writeln!(f)?;
        if !sources.is_empty() {
            writeln!(f, "{}", blocks(sources))?;
        }
        writeln!(f, "{}", summary(sources))?;
        writeln!(f, "Spans that are not in a block yet are in memory, and not planned here.")
    }
}

fn blocks(sources: &[SourcePlan]) -> Table {
    let mut table = Table::new([
        Left("BLOCK"),
        Left("START"),
        Left("END"),
        Right("SPANS"),
        Right("SIZE"),
        Right("TRACES"),
        Right("BY INDEX"),
        Right("LEFT"),
        Right("SPANS LEFT"),
        Right("ROW GROUPS"),
        Left(""),
    ]);
    for source in sources {
        let mut figures: [String; 5] = Default::default();
        let mut note = "";
        match &source.outcome {
            Outcome::OutsideRange => note = "outside the range",
            Outcome::NothingByIndex => note = "nothing, by its index",
            Outcome::Unreadable { reason } => note = reason,
            Outcome::Read(Read { traces, by_index, left, left_spans, row_groups, left_row_groups }) => {
                let groups = format!("{left_row_groups} of {row_groups}");
                let [traces, by_index, left, left_spans] = [traces, by_index, left, left_spans].map(usize::to_string);
                figures = [traces, by_index, left, left_spans, groups];
            }
        }
        let (start, end) = (time(source.start_nanos), time(source.end_nanos));
        let of_block = [source.block_id.to_string(), start, end, source.spans.to_string(), size(source.bytes)];
        table.row(of_block.into_iter().chain(figures).chain([note.to_owned()]));
    }
    table
}

fn summary(sources: &[SourcePlan]) -> String {
    let number_of = |is_so: fn(&Outcome) -> bool| sources.iter().filter(|source| is_so(&source.outcome)).count();
    let (mut opened, mut left, mut spans) = (0, 0, 0);
    for source in sources {
        if let Outcome::Read(Read { left: left_here, left_spans, .. }) = source.outcome {
            (opened, left, spans) = (opened + 1, left + left_here, spans + left_spans);
        }
    }
    format!(
        "{} of {} opened, {} of {} left to read; {} outside the range, {} without a match by index, {} unreadable",
        opened,
        count(sources.len(), "block"),
        count(left, "trace"),
        count(spans, "span"),
        number_of(|outcome| *outcome == Outcome::OutsideRange),
        number_of(|outcome| *outcome == Outcome::NothingByIndex),
        number_of(|outcome| matches!(outcome, Outcome::Unreadable { .. })),
    )
}
