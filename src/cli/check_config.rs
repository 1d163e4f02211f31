//! `mosso check-config`: whether a configuration file can be used.

use std::process::ExitCode;

use anyhow::Result;

use crate::config::Sources;

pub(super) fn run(sources: &Sources) -> Result<ExitCode> {
    let config = sources.config()?;
    let name = sources.file.as_ref().map_or_else(|| "defaults".to_owned(), |file| file.display().to_string());
    for warning in config.warnings() {
        println!("{name}: {warning}");
    }
    println!("{name}: ok");
    Ok(ExitCode::SUCCESS)
}
