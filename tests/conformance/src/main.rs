//! Checks a server against the recorded answers, from the command line. The last line is always `N passed, N failed`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Parser, Subcommand};
use conformance::{Case, Dataset, Reference, Target, base_for_now, cases_of, ingest, post, record, run, wait_visible};

/// Sends a fixed dataset to a server and compares its answers with those of Grafana Tempo 3.0.3.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    mode: Mode,
    /// Root of the query API.
    #[arg(long, global = true, default_value = "http://127.0.0.1:3200")]
    api: String,
    /// Root of OTLP over HTTP.
    #[arg(long, global = true, default_value = "http://127.0.0.1:4318")]
    otlp: String,
    /// host:port of OTLP over gRPC; without it the cases that need it are left out.
    #[arg(long, global = true)]
    grpc: Option<String>,
    /// host:port of the streaming service, when it is not that of --api.
    #[arg(long, global = true)]
    stream: Option<String>,
    /// Leave the gRPC streaming cases out.
    #[arg(long, global = true)]
    no_stream: bool,
    /// Only this area (may be repeated).
    #[arg(long, global = true)]
    area: Vec<String>,
    /// Only this case (may be repeated).
    #[arg(long, global = true)]
    case: Vec<String>,
    /// Not this case (may be repeated).
    #[arg(long, global = true)]
    except: Vec<String>,
    /// Let the server flush before the cases run.
    #[arg(long, global = true)]
    after_flush: bool,
    /// POST here to make the server flush.
    #[arg(long, global = true)]
    flush_url: Option<String>,
    /// Seconds to let a flush take.
    #[arg(long, global = true, default_value_t = 45)]
    flush_wait: u64,
    /// Base time of the dataset, unix seconds, a multiple of 60.
    #[arg(long, global = true)]
    base: Option<u64>,
    /// The dataset is already there; needs --base.
    #[arg(long, global = true)]
    no_ingest: bool,
    /// Seconds to wait until everything can be searched.
    #[arg(long, global = true, default_value_t = 90)]
    visible_wait: u64,
    /// Seconds for one request.
    #[arg(long, global = true, default_value_t = 60)]
    timeout: u64,
    /// NAME=VALUE, sent with every request.
    #[arg(long, global = true)]
    header: Vec<String>,
    /// The server is the reference: leave out the cases that it cannot pass.
    #[arg(long, global = true)]
    reference: bool,
}

#[derive(Subcommand)]
enum Mode {
    /// Ask the cases and compare.
    Check,
    /// Write the answers down; only against the reference.
    Record {
        /// Where to write them.
        #[arg(long)]
        golden: PathBuf,
    },
    /// Only send the dataset.
    Ingest,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match check(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            println!("nothing could be asked: {e:#}\n0 passed, 0 failed");
            ExitCode::FAILURE
        }
    }
}

/// Whether every case passed.
async fn check(args: &Args) -> Result<bool> {
    ensure!(args.base.is_some() || !args.no_ingest, "--no-ingest needs --base");
    let (target, cases) = (target(args)?, selected(args)?);
    let dataset = Dataset::load(args.base.unwrap_or_else(base_for_now))?;
    println!("base {}: {} traces, {} spans, {} cases", dataset.base, dataset.traces(), dataset.spans, cases.len());
    if !args.no_ingest {
        ingest(&target, &dataset).await?;
    }
    await_all(args, &target, &dataset).await?;
    if args.after_flush {
        if let Some(url) = &args.flush_url {
            post(&target, url).await?;
        }
        tokio::time::sleep(Duration::from_secs(args.flush_wait)).await;
        await_all(args, &target, &dataset).await?;
    }
    match &args.mode {
        Mode::Ingest => Ok(true),
        Mode::Record { golden } => {
            println!("recorded {} answers", record(&target, &dataset, &cases, golden).await?);
            Ok(true)
        }
        Mode::Check => {
            let report = run(&target, &dataset, &cases).await?;
            println!("{report}");
            Ok(report.failed() == 0)
        }
    }
}

fn target(args: &Args) -> Result<Target> {
    let mut target = Target::new(&args.api, &args.otlp);
    target.grpc.clone_from(&args.grpc);
    target.stream.clone_from(&args.stream);
    target.timeout = Duration::from_secs(args.timeout);
    for header in &args.header {
        let Some((name, value)) = header.split_once('=') else { bail!("--header {header} is not NAME=VALUE") };
        target.headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(target)
}

fn selected(args: &Args) -> Result<Vec<Case>> {
    let areas: Vec<_> = args.area.iter().map(String::as_str).collect();
    let mut cases = cases_of(&areas)?;
    cases.retain(|c| args.case.is_empty() || args.case.contains(&c.id));
    cases.retain(|c| !args.except.contains(&c.id));
    cases.retain(|c| !args.reference || c.reference != Some(Reference::Skip));
    cases.retain(|c| !args.no_stream || c.grpc.is_none());
    cases.retain(|c| args.grpc.is_some() || !c.needs_otlp_grpc());
    Ok(cases)
}

async fn await_all(args: &Args, target: &Target, dataset: &Dataset) -> Result<()> {
    if !wait_visible(target, dataset, Duration::from_secs(args.visible_wait)).await? {
        println!("not all traces became visible in {} s; going on", args.visible_wait);
    }
    Ok(())
}
