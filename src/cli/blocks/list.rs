//! `mosso blocks list`

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use storage::manifest::Manifest;

use crate::cli::Common;
use crate::cli::report::{self, count, size, time};
use crate::cli::stored::Stored;
use crate::cli::table::Heading::{Left, Right};
use crate::cli::table::Table;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Listing {
    tenants: Vec<Tenant>,
}

#[derive(Serialize)]
struct Tenant {
    tenant: String,
    manifest: Option<Manifest>,
    /// Why there is no manifest to show.
    error: Option<String>,
}

pub(super) async fn run(arguments: &Arguments, stored: &Stored) -> Result<ExitCode> {
    let mut tenants = Vec::new();
    for tenant in stored.tenants(arguments.common.tenant.as_ref())? {
        let (manifest, error) = match stored.manifest(&tenant).await {
            Ok(manifest) => (Some(Manifest::clone(&manifest)), None),
            Err(error) => (None, Some(error.to_string())),
        };
        tenants.push(Tenant { tenant: tenant.to_string(), manifest, error });
    }
    let listing = Listing { tenants };
    report::print(&listing, arguments.common.json)?;
    let is_whole = listing.tenants.iter().all(|tenant| tenant.error.is_none());
    Ok(report::exit_code(is_whole))
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new([
            Left("TENANT"),
            Left("BLOCK"),
            Right("LEVEL"),
            Left("START"),
            Left("END"),
            Right("TRACES"),
            Right("SPANS"),
            Right("SIZE"),
            Right("INDEX"),
        ]);
        let blocks = self.tenants.iter().filter_map(|tenant| Some((&tenant.tenant, tenant.manifest.as_ref()?)));
        let (mut block_count, mut bytes) = (0, 0);
        for (tenant, entry) in
            blocks.flat_map(|(tenant, manifest)| manifest.blocks.iter().map(move |entry| (tenant, entry)))
        {
            table.row([
                tenant.clone(),
                entry.id.to_string(),
                entry.level.to_string(),
                time(entry.start_nanos),
                time(entry.end_nanos),
                entry.traces.to_string(),
                entry.spans.to_string(),
                size(entry.bytes()),
                size(entry.files.index_bytes),
            ]);
            block_count += 1;
            bytes += entry.bytes();
        }
        if !table.is_empty() {
            writeln!(f, "{table}")?;
        }
        for (tenant, error) in self.tenants.iter().filter_map(|tenant| Some((&tenant.tenant, tenant.error.as_ref()?))) {
            writeln!(f, "tenant {tenant} cannot be listed: {error}")?;
        }
        writeln!(f, "{} of {}, {}", count(block_count, "block"), count(self.tenants.len(), "tenant"), size(bytes))
    }
}
