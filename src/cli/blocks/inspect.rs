//! `mosso blocks inspect`

use std::fmt;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use model::BlockId;
use serde::Serialize;
use storage::block::{self, Column, Inspection};
use storage::ids::TraceMapId;
use storage::index::Figures;

use crate::cli::Common;
use crate::cli::report::{self, count, size, time};
use crate::cli::stored::Stored;
use crate::cli::table::Heading::{Left, Right};
use crate::cli::table::Table;

#[derive(Args)]
pub struct Arguments {
    /// The block's id, as `mosso blocks list` shows it.
    id: BlockId,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Report {
    /// How often its spans were compacted.
    level: u8,
    /// The trace map that has the block.
    trace_map: Option<TraceMapId>,
    #[serde(flatten)]
    inspection: Inspection,
}

pub(super) async fn run(arguments: &Arguments, stored: &Stored) -> Result<ExitCode> {
    let (tenant, entry) = stored.block(arguments.id, arguments.common.tenant.as_ref()).await?;
    let inspection = block::inspect(&tenant, &entry, &stored.objects, &stored.cpu).await;
    let inspection = inspection.with_context(|| format!("inspect block {}, see `mosso blocks verify`", entry.id))?;
    let trace_map = stored.manifest(&tenant).await?.trace_map_of(&entry.id).map(|map| map.id);
    report::print(&Report { level: entry.level, trace_map, inspection }, arguments.common.json)?;
    Ok(ExitCode::SUCCESS)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meta = &self.inspection.meta;
        writeln!(f, "block   {} of tenant {}, level {}, format {}", meta.id, meta.tenant, self.level, meta.version)?;
        writeln!(f, "time    {} to {}", time(meta.start_nanos), time(meta.end_nanos))?;
        writeln!(
            f,
            "holds   {} spans of {} traces in {}",
            meta.span_count,
            meta.trace_count,
            size(meta.total_bytes())
        )?;
        match self.trace_map {
            Some(id) => writeln!(f, "map     {id}\n")?,
            None => writeln!(f, "map     none\n")?,
        }

        let mut files = Table::new([Left("FILE"), Right("SIZE"), Right("CRC-32")]);
        for file in &meta.files {
            files.row([file.name.clone(), size(file.bytes), format!("{:08x}", file.crc32)]);
        }
        writeln!(f, "{files}")?;

        let mut groups = Table::new([Right("ROW GROUP"), Right("ROWS"), Right("SIZE")]);
        for (number, group) in self.inspection.row_groups.iter().enumerate() {
            groups.row([number.to_string(), group.rows.to_string(), size(group.bytes)]);
        }
        writeln!(f, "{groups}")?;
        writeln!(f, "{}", columns(&self.inspection.columns))?;
        match &self.inspection.index {
            Some(figures) => index(f, figures),
            None => writeln!(f, "no index"),
        }
    }
}

/// Largest first: they are what a query pays for.
fn columns(columns: &[Column]) -> Table {
    let mut sorted: Vec<&Column> = columns.iter().collect();
    sorted.sort_by_key(|column| std::cmp::Reverse(column.bytes));
    let all: u64 = columns.iter().map(|column| column.bytes).sum();
    let mut table = Table::new([Left("COLUMN"), Right("SIZE"), Right("SHARE"), Right("UNCOMPRESSED"), Left("")]);
    for column in sorted {
        table.row([
            column.name.clone(),
            size(column.bytes),
            format!("{:.1} %", column.bytes as f64 * 100.0 / all.max(1) as f64),
            size(column.uncompressed_bytes),
            if column.is_attribute { "attribute".to_owned() } else { String::new() },
        ]);
    }
    table
}

fn index(f: &mut fmt::Formatter<'_>, figures: &Figures) -> fmt::Result {
    let Figures { pages, fingerprint_bytes, posting_bytes, term_bytes, directory_bytes, fields, .. } = figures;
    let part = |bytes: &usize| size(*bytes as u64);
    let parts = [("terms", term_bytes), ("postings", posting_bytes), ("fingerprints", fingerprint_bytes)];
    let parts = parts.map(|(name, bytes)| format!("{name} {}", part(bytes))).join(", ");
    let is_whole = if figures.is_complete { "" } else { ", some fields left out" };
    writeln!(
        f,
        "index   {} in {}, {parts}, directory {}{is_whole}\n",
        count(fields.len(), "field"),
        count(*pages, "page"),
        part(directory_bytes)
    )?;
    let mut table = Table::new([Left("INDEXED FIELD"), Right("ROWS"), Left("VALUES")]);
    for field in fields {
        let values = if field.lists_values { "listed" } else { "hashed or in ranges" };
        let rows = if field.rows == 0 { String::new() } else { field.rows.to_string() };
        table.row([field.name.clone(), rows, values.to_owned()]);
    }
    write!(f, "{table}")
}
