//! `mosso config`: what a configuration of Tempo becomes here, and what the keys mean.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Subcommand;

use super::table::{Heading, Table};
use crate::config::{Config, Sources, not_applied, reference, tempo_keys};

#[derive(Subcommand)]
pub enum Command {
    /// Print a configuration of Tempo in our keys, and what became of each of its keys.
    Migrate { file: PathBuf },
    /// Print the defaults as a configuration file.
    Defaults,
    /// Say what a key means here and in Tempo: `server.log_level`, or a section.
    Explain { key: String },
    /// Print the reference of all keys as Markdown: `docs/configuration.md`.
    #[command(hide = true)]
    Reference,
}

pub(super) fn run(command: Command, sources: &Sources) -> Result<ExitCode> {
    match command {
        Command::Migrate { file } => print!("{}", migrated(&Sources { file: Some(file), ..sources.clone() })?),
        Command::Defaults => print!("{}", Config::default().to_yaml()),
        Command::Explain { key } => print!("{}", explanation(&key)?),
        Command::Reference => print!("{}", reference::markdown()),
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration in our keys, where it differs from the defaults, below a table in comments. Secrets stay out: the
/// file may be shown around.
fn migrated(sources: &Sources) -> Result<String> {
    let config = sources.config()?;
    let mut table = Table::new([Heading::Left("KEY OF TEMPO"), Heading::Left("HERE")]);
    for (tempo, ours) in config.moved() {
        table.row([tempo.clone(), format!("is {ours}")]);
    }
    for key in config.not_applicable() {
        table.row([key.clone(), format!("has no counterpart: {}", not_applied::reason(key))]);
    }
    let mut text = String::from("# Keys that are not in the table are taken as they are; secrets are masked.\n");
    let table = if table.is_empty() { String::new() } else { table.to_string() };
    for line in table.lines() {
        text.push_str(format!("# {line}").trim_end());
        text.push('\n');
    }
    text.push_str(&config.changes_to_yaml());
    Ok(text)
}

fn explanation(path: &str) -> Result<String> {
    let path = path.trim_start_matches('-').replace('-', "_");
    let in_section = |key: &str| key == path || key.strip_prefix(&*path).is_some_and(|rest| rest.starts_with('.'));
    let ours = reference::keys().iter().filter(|key| in_section(&key.path)).map(here);
    let theirs = tempo_keys::table().values();
    let theirs = theirs.iter().filter(|(key, _)| in_section(key) && reference::find(key).is_none());
    let all: Vec<String> = ours.chain(theirs.map(|(key, value)| elsewhere(key, value))).collect();
    if all.is_empty() {
        bail!("{path} is no key, neither here nor in Tempo; docs/configuration.md lists them");
    }
    Ok(all.join("\n"))
}

fn here(key: &reference::Key) -> String {
    let default = if key.default.is_empty() { "not set" } else { &key.default };
    let tempo = tempo_keys::table().find(&key.path).and_then(|known| known.value.as_ref());
    let tempo = tempo.map_or_else(|| "not in Tempo".to_owned(), of_tempo);
    format!("{}\n  {}\n  values: {}\n  default: {default}\n  {tempo}\n", key.path, key.meaning, key.values)
}

fn elsewhere(key: &str, value: &tempo_keys::Value) -> String {
    let what = crate::config::our_name(key).map_or_else(
        || format!("changes nothing here: {}", not_applied::reason(key)),
        |ours| format!("has the name {ours} here"),
    );
    format!("{key}\n  {what}\n  {}\n", of_tempo(value))
}

fn of_tempo(value: &tempo_keys::Value) -> String {
    let default = if value.default.is_empty() { "empty or not known" } else { value.default };
    format!("Tempo {}, default: {default}", value.releases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_explained_for_here_and_for_tempo() {
        let text = explanation("server.http-listen-port").unwrap();
        assert!(text.contains("default: 3200") && text.contains("Tempo 2.6-3.1"), "{text}");
        assert!(explanation("memberlist.join_members").unwrap().contains("changes nothing here: processes find"));
        assert!(explanation("live_store.max_block_bytes").unwrap().contains("has the name ingester.max_block_bytes"));
        assert!(explanation("data_dir").unwrap().contains("not in Tempo"));
        assert!(explanation("query_frontend").unwrap().lines().count() > 40);
        assert!(explanation("query_frontent").is_err());
    }

    #[test]
    fn a_configuration_of_tempo_is_printed_in_our_keys() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tempo.yaml");
        let yaml = "
backend_worker: {compaction: {block_retention: 48h}}
memberlist: {join_members: [tempo]}
overrides: {block_retention: 24h}
storage: {trace: {backend: s3, s3: {bucket: b, access_key: a, secret_key: hush}}}
";
        std::fs::write(&file, yaml).unwrap();
        let text = migrated(&Sources::file(&file)).unwrap();
        assert!(!text.contains("hush"), "{text}");
        for line in
            ["backend_worker.compaction.block_retention", "block_retention: 48h0m0s", "block_retention: 24h0m0s"]
        {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(text.contains("has no counterpart: processes find each other's blocks"), "{text}");
        assert!(!text.contains("http_listen_port"), "only what differs from the defaults: {text}");
        let again = Config::parse(&text).unwrap();
        assert_eq!(again.overrides, Sources::file(&file).config().unwrap().overrides);
    }
}
