//! Writes down what the reference answers. Only for new cases and a new reference: a golden answer is never made by our own server.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::ask::{Purpose, ask};
use crate::case::{Case, Golden, Reference};
use crate::dataset::Dataset;
use crate::json::{dump, dump_string};
use crate::target::Target;

/// Longest text that is kept of an answer which is only searched for a pattern.
const MAX_TEXT: usize = 2000;

/// Records the answers to `cases` into the files of `folder`, one for each area. Other answers in these files stay as they are.
pub async fn record(target: &Target, dataset: &Dataset, cases: &[Case], folder: &Path) -> Result<usize> {
    let mut by_area: BTreeMap<&str, Golden> = BTreeMap::new();
    for case in cases.iter().filter(|c| c.reference != Some(Reference::Skip)) {
        let mut answer = Value::Object(ask(target, dataset, case, Purpose::Record).await?);
        let text = answer["text"].as_str().unwrap_or_default();
        if case.pattern.is_some() && text.len() > MAX_TEXT {
            let start: String = text.chars().take(200).collect();
            answer["text"] = json!(format!("{start}..."));
        }
        by_area.entry(&case.area).or_default().insert(case.id.clone(), answer);
    }
    std::fs::create_dir_all(folder)?;
    for (area, answers) in &by_area {
        let path = folder.join(format!("{area}.json"));
        let mut all: Golden = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))?,
            Err(_) => Golden::new(),
        };
        all.extend(answers.clone());
        std::fs::write(&path, golden_text(&all)).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(by_area.values().map(BTreeMap::len).sum())
}

/// One case after another, with the larger collections one entry to a line.
fn golden_text(answers: &Golden) -> String {
    block(&json!(answers), 0) + "\n"
}

fn block(value: &Value, depth: usize) -> String {
    let line = dump(value);
    let Value::Object(fields) = value else { return line };
    if fields.is_empty() || depth >= 4 || line.chars().count() <= 150 {
        return line;
    }
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_by_key(|(key, _)| *key);
    let pad = " ".repeat(depth + 1);
    let entry = |(key, value): (&String, &Value)| format!("{pad}{}: {}", dump_string(key), block(value, depth + 1));
    let entries: Vec<_> = sorted.into_iter().map(entry).collect();
    format!("{{\n{}\n{}}}", entries.join(",\n"), " ".repeat(depth))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::folder;

    #[test]
    fn golden_files_have_the_form_that_is_written() {
        for entry in std::fs::read_dir(folder("golden")).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let answers: Golden = serde_json::from_str(&text).unwrap();
            assert!(golden_text(&answers) == text, "{} would be written in another form", path.display());
        }
    }
}
