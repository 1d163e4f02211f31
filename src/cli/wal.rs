//! `mosso wal`: what lies in the write-ahead log.

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;
use storage::wal::{SegmentSurvey, Survey};

use super::Common;
use super::progress::Progress;
use super::report::{self, count, size};
use super::table::Heading::{Left, Right};
use super::table::Table;
use crate::config::Config;

#[derive(Subcommand)]
pub enum Command {
    /// Show the segments, whose requests they hold, and where they are damaged. Exit code 1 when they are.
    Inspect(Arguments),
}

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Report {
    /// Oldest first.
    segments: Vec<SegmentSurvey>,
}

pub(super) fn run(command: Command, config: &Config) -> Result<ExitCode> {
    let Command::Inspect(Arguments { common }) = command;
    let dir = config.storage.trace.data_dir(&config.data_dir);
    let survey = Survey::open(dir.wal_dir())?;
    let progress = Progress::new(survey.bytes());
    let mut segments = survey.segments(|bytes| progress.add(bytes))?;
    drop(progress);
    if let Some(wanted) = &common.tenant {
        segments.iter_mut().for_each(|segment| segment.tenants.retain(|tenant, _| tenant == wanted.as_str()));
    }
    let is_whole = segments.iter().all(|segment| segment.damages.is_empty());
    report::print(&Report { segments }, common.json)?;
    Ok(report::exit_code(is_whole))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new([
            Right("SEGMENT"),
            Right("SIZE"),
            Left("TENANT"),
            Right("REQUESTS"),
            Right("SPANS"),
            Right("PAYLOAD"),
        ]);
        let (mut bytes, mut spans) = (0, 0);
        for segment in &self.segments {
            bytes += segment.bytes;
            let of_segment = || [segment.sequence.to_string(), size(segment.bytes)];
            if segment.tenants.is_empty() {
                table.row(of_segment().into_iter().chain(std::array::from_fn::<_, 4, _>(|_| String::new())));
            }
            for (tenant, requests) in &segment.tenants {
                spans += requests.spans;
                let figures = [requests.requests.to_string(), requests.spans.to_string(), size(requests.bytes)];
                table.row(of_segment().into_iter().chain([tenant.clone()]).chain(figures));
            }
        }
        if !table.is_empty() {
            writeln!(f, "{table}")?;
        }
        for segment in &self.segments {
            for damage in &segment.damages {
                let place = damage.offset.map_or(String::new(), |offset| format!(" at byte {offset}"));
                writeln!(f, "damaged: segment {}{place}: {}", segment.sequence, damage.reason)?;
            }
            if let Some(offset) = segment.torn_at {
                writeln!(
                    f,
                    "torn: segment {} ends at byte {offset} in an append that was never acknowledged, or is under way",
                    segment.sequence
                )?;
            }
        }
        let damages: usize = self.segments.iter().map(|segment| segment.damages.len()).sum();
        write!(f, "{}, {}, {spans} spans", count(self.segments.len(), "segment"), size(bytes))?;
        match damages {
            0 => writeln!(f),
            _ => writeln!(
                f,
                ", {} damaged: a start reads over them, and what was in them is lost",
                count(damages, "place")
            ),
        }
    }
}
