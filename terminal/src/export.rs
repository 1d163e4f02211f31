//! `mosso export`: traces that match → OTLP JSON lines, or OTLP protobuf with lengths in front, as the collector's file
//! exporter writes them and `mosso import` reads them.
//!
//! Searches are asked page by page, newest first. mosso says where the next page begins; of a Tempo, a range whose answer
//! is full is halved, until all of it is seen.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use futures::StreamExt;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, TracesData};
use prost::Message;

use crate::args::{Range, Server, Times};
use crate::client::{Client, FoundTrace, Search};
use crate::error::Error;
use crate::figures;
use crate::otlp::json;
use crate::progress::Progress;

/// Traces of one page.
const PAGE: usize = 1_000;
/// Traces that are fetched at the same time.
const UNDER_WAY: usize = 8;
/// A range is not halved below this: search has whole seconds.
const SHORTEST_NANOS: u64 = 1_000_000_000;

#[derive(Debug, Args)]
pub struct Arguments {
    /// TraceQL that picks traces; each is written whole [default: all].
    #[arg(default_value = "{ }", hide_default_value = true)]
    query: String,
    #[command(flatten)]
    range: Range,
    /// Most traces, the newest [default: all].
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// The file that is written [default: standard output].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::OtlpJson)]
    format: Format,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A trace a line.
    OtlpJson,
    /// A trace a message, with its length in front.
    OtlpProto,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let client = Client::new(&arguments.server)?;
    let mut export = Export {
        client: &client,
        query: &arguments.query,
        left: arguments.limit.unwrap_or(usize::MAX),
        seen: HashSet::new(),
        out: Out::open(arguments)?,
        traces: 0,
        spans: 0,
        partial: 0,
        progress: Progress::new(),
    };
    export.all(arguments.range.times()?).await?;
    export.out.close()?;
    let (traces, spans) = (figures::count(export.traces), figures::count(export.spans));
    export.progress.say(&format!("{traces} traces of {spans} spans written"));
    if export.partial > 0 {
        export.progress.say(&format!("{} of them are not whole: the server could not give all", export.partial));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

struct Export<'a> {
    client: &'a Client,
    query: &'a str,
    /// Traces that may still be written.
    left: usize,
    seen: HashSet<String>,
    out: Out,
    traces: u64,
    spans: u64,
    partial: u64,
    progress: Progress,
}

impl Export<'_> {
    /// Ranges that are still to be asked, the newest last.
    async fn all(&mut self, times: Times) -> Result<(), Error> {
        let mut ranges = vec![times];
        while let Some(range) = ranges.pop() {
            if self.left == 0 {
                return Ok(());
            }
            let search = Search { query: self.query.to_owned(), limit: PAGE, spans_per_trace: Some(1), cursor: None };
            let page = self.client.search(&search, range).await?;
            let (is_full, mut next) = (page.answer.traces.len() >= PAGE, page.next_cursor);
            if let (true, None, Some((older, newer))) = (is_full, &next, halves(range)) {
                ranges.extend([older, newer]);
                continue;
            }
            if is_full && next.is_none() {
                let text = "the server gives no more than a part of one second's traces; ask with a narrower query";
                self.progress.say(text);
            }
            self.write(page.answer.traces).await?;
            while let Some(cursor) = next.take().filter(|_| self.left > 0) {
                let page = self.client.search(&Search { cursor: Some(cursor), ..search.clone() }, range).await?;
                next = page.next_cursor;
                self.write(page.answer.traces).await?;
            }
        }
        Ok(())
    }

    /// A trace that overlaps two ranges is found in both and written once.
    async fn write(&mut self, mut found: Vec<FoundTrace>) -> Result<(), Error> {
        found.retain(|trace| self.seen.insert(trace.trace_id.clone()));
        found.truncate(self.left);
        self.left -= found.len();
        let client = self.client;
        let fetched = futures::stream::iter(found)
            .map(async move |trace| client.trace(&trace.trace_id, None).await)
            .buffered(UNDER_WAY);
        let mut fetched = std::pin::pin!(fetched);
        while let Some(trace) = fetched.next().await {
            let trace = trace?;
            // one that has expired since it was found
            if trace.resource_spans.is_empty() {
                continue;
            }
            self.traces += 1;
            self.partial += u64::from(trace.partial.is_some());
            let scopes = trace.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
            self.spans += scopes.map(|scope| scope.spans.len() as u64).sum::<u64>();
            self.out.write(trace.resource_spans)?;
            let (traces, spans) = (self.traces, self.spans);
            self.progress.draw(|| format!("{} traces, {} spans", figures::count(traces), figures::count(spans)));
        }
        Ok(())
    }
}

fn halves(range: Times) -> Option<(Times, Times)> {
    let length = range.end_nanos - range.start_nanos;
    // at a whole second, where both answers end and begin
    let middle = (range.start_nanos + length / 2) / SHORTEST_NANOS * SHORTEST_NANOS;
    let is_between = middle > range.start_nanos && middle < range.end_nanos;
    (length > SHORTEST_NANOS && is_between)
        .then_some((Times { end_nanos: middle, ..range }, Times { start_nanos: middle, ..range }))
}

/// Where traces are written, in which form.
struct Out {
    writer: Box<dyn Write>,
    path: Option<PathBuf>,
    format: Format,
}

impl Out {
    fn open(arguments: &Arguments) -> Result<Self, Error> {
        let writer: Box<dyn Write> = match &arguments.output {
            None => Box::new(BufWriter::new(io::stdout())),
            Some(path) => {
                let file = File::create(path).map_err(|source| Error::File { path: path.clone(), source })?;
                Box::new(BufWriter::new(file))
            }
        };
        Ok(Self { writer, path: arguments.output.clone(), format: arguments.format })
    }

    fn write(&mut self, resource_spans: Vec<ResourceSpans>) -> Result<(), Error> {
        let record = match self.format {
            Format::OtlpJson => format!("{}\n", json::document(&resource_spans)).into_bytes(),
            Format::OtlpProto => framed(&TracesData { resource_spans }),
        };
        let written = self.writer.write_all(&record);
        written.map_err(|source| self.failed(source))
    }

    fn close(&mut self) -> Result<(), Error> {
        let flushed = self.writer.flush();
        flushed.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> Error {
        match &self.path {
            Some(path) => Error::File { path: path.clone(), source },
            None => Error::Output { source },
        }
    }
}

fn framed(message: &TracesData) -> Vec<u8> {
    let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    [length.to_be_bytes().to_vec(), message.encode_to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_halved_at_whole_seconds_down_to_one() {
        let halved = |start: u64, end: u64| {
            let range = Times { start_nanos: start * 1_000_000_000, end_nanos: end * 1_000_000_000 };
            halves(range).map(|(older, newer)| (older.end_nanos / 1_000_000_000, newer.start_nanos / 1_000_000_000))
        };
        assert_eq!(halved(10, 20), Some((15, 15)));
        assert_eq!(halved(10, 13), Some((11, 11)));
        assert_eq!(halved(10, 11), None);
    }
}
