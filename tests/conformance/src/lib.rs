//! The conformance suite: a fixed dataset, the requests of `cases/`, and the answers that Grafana Tempo 3.0.3 gave to them.
//!
//! ```text
//! dataset/ ── Dataset ──► ingest ──► wait_visible ─┐
//! cases/   ── Case ─────────────────────────────── run: ask ──► canonical ──► judge ──► Report
//! golden/  ── Golden ──────────────────────────────────────────────────────────┘
//! ```
//!
//! The server under test is whatever listens at a [`Target`]; nothing here knows how it is made. README.md tells what the
//! fields of a case mean and how answers are compared.
//!
//! ```no_run
//! # async fn check() -> anyhow::Result<()> {
//! use conformance::{Dataset, Target, base_for_now, cases_of, ingest, run, wait_visible};
//! let target = Target::new("http://127.0.0.1:3200", "http://127.0.0.1:4318");
//! let dataset = Dataset::load(base_for_now())?;
//! ingest(&target, &dataset).await?;
//! wait_visible(&target, &dataset, std::time::Duration::from_secs(90)).await?;
//! let report = run(&target, &dataset, &cases_of(&["search_legacy"])?).await?;
//! assert_eq!(report.failed(), 0, "{report}");
//! # Ok(())
//! # }
//! ```

mod ask;
mod canonical;
mod case;
mod dataset;
mod grpc;
mod http;
mod json;
mod judge;
mod otlp;
mod placeholder;
mod proto;
mod record;
mod report;
mod run;
mod target;

pub use case::{Case, Golden, Reference, load_cases, load_golden};
pub use dataset::{Dataset, Request, base_for_now};
pub use http::Response;
pub use record::record;
pub use report::{Report, Verdict};
pub use run::{cases_of, ingest, ingest_requests, post, run, wait_visible};
pub use target::Target;
