//! `mosso check-config`: whether a configuration file can be used.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::config::Config;

pub(super) fn run(file: &Path) -> Result<ExitCode> {
    let config = Config::read(file)?;
    for key in config.not_applicable() {
        println!("{}: {key} does not apply here and is ignored", file.display());
    }
    println!("{}: ok", file.display());
    Ok(ExitCode::SUCCESS)
}
