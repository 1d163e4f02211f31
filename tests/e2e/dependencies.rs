//! What is linked into the binary: licences, sources and duplicates are those that `deny.toml` allows. `cargo deny` checks
//! the same and advisories besides, but is not at hand everywhere; this needs nothing but cargo, and no network.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const RULES: &str = include_str!("../../deny.toml");
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The texts in quotes between the line that begins so and the next line that is a closing bracket.
fn list<'r>(start: &str) -> impl Iterator<Item = &'r str> {
    let lines = RULES.lines().skip_while(move |line| *line != start).skip(1).take_while(|line| *line != "]");
    lines.filter_map(|line| line.split('"').nth(1))
}

/// The packages that this machine's builds resolve to.
fn packages() -> Result<Vec<Value>> {
    let version = Command::new("rustc").arg("-vV").output()?;
    let version = String::from_utf8(version.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("a host")?;
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    ensure!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout)?;
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let resolved: BTreeSet<String> = array(&metadata["resolve"]["nodes"]).iter().map(|n| n["id"].to_string()).collect();
    Ok(array(&metadata["packages"]).into_iter().filter(|one| resolved.contains(&one["id"].to_string())).collect())
}

/// Whether a licence expression can be met with allowed licences: any side of OR, all sides of AND.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let expression = expression.trim().replace('/', " OR ");
    let sides = |operator: &str| {
        let (mut sides, mut depth) = (vec![String::new()], 0);
        for word in expression.replace('(', " ( ").replace(')', " ) ").split_whitespace() {
            match word {
                _ if word == operator && depth == 0 => sides.push(String::new()),
                _ => {
                    depth += i32::from(word == "(") - i32::from(word == ")");
                    let side = sides.last_mut().expect("there is always one");
                    side.push_str(if side.is_empty() { "" } else { " " });
                    side.push_str(word);
                }
            }
        }
        sides
    };
    let (alternatives, parts) = (sides("OR"), sides("AND"));
    if alternatives.len() > 1 {
        return alternatives.iter().any(|side| is_allowed(side, allowed));
    }
    if parts.len() > 1 {
        return parts.iter().all(|side| is_allowed(side, allowed));
    }
    match parts[0].strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => is_allowed(inner, allowed),
        None => allowed.contains(parts[0].as_str()),
    }
}

#[test]
fn every_dependency_has_an_allowed_licence_and_comes_from_where_it_may() -> Result<()> {
    let allowed: BTreeSet<&str> = list("allow = [").collect();
    ensure!(allowed.contains("MIT") && !is_allowed("(GPL-3.0 OR AGPL-3.0) AND MIT", &allowed));
    let packages = packages()?;
    ensure!(packages.len() > 100, "{} packages", packages.len());
    let is_fine = |package: &&Value| {
        package["license"].as_str().is_some_and(|licence| is_allowed(licence, &allowed))
            && package["source"].as_str().is_none_or(|source| source == CRATES_IO)
    };
    let others: Vec<_> = packages.iter().filter(|package| !is_fine(package)).collect();
    let named = others.iter().map(|one| format!("{} ({}, {})", one["name"], one["license"], one["source"]));
    assert_eq!(named.collect::<Vec<_>>(), Vec::<String>::new());
    Ok(())
}

#[test]
fn a_dependency_is_there_once_but_for_those_that_are_named() -> Result<()> {
    let skipped: BTreeSet<&str> = list("skip = [").collect();
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages()? {
        let text = |field: &str| package[field].as_str().unwrap_or_default().to_owned();
        versions.entry(text("name")).or_default().insert(text("version"));
    }
    let mut twice = Vec::new();
    for (name, versions) in &versions {
        let counted = versions.iter().filter(|version| !skipped.contains(format!("{name}@{version}").as_str()));
        if counted.count() > 1 {
            twice.push(format!("{name} {versions:?}"));
        }
    }
    assert_eq!(twice, Vec::<String>::new());
    let is_there = |skipped: &&&str| {
        let named = skipped.split_once('@').and_then(|(name, version)| Some((versions.get(name)?, version)));
        named.is_some_and(|(versions, version)| versions.contains(version))
    };
    let gone: Vec<_> = skipped.iter().filter(|skipped| !is_there(skipped)).collect();
    assert_eq!(gone, Vec::<&&str>::new(), "deny.toml names what is gone");
    Ok(())
}
