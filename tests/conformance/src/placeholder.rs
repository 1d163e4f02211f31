//! Times and ids in cases and golden answers: `{base+60}` for a time, `{tid:name}` and `{sid:name/label}` for ids.
//!
//! Everything that is sent goes through `absolute`, everything that is read goes through `relative`.

use std::sync::LazyLock;

use anyhow::{Context, Result};
use regex::{Captures, Regex};

use crate::dataset::Dataset;

const DAY: i128 = 86_400;
/// Digits of a timestamp of our days, name of its placeholder, ticks per second.
const UNITS: [(usize, &str, i128); 3] = [(19, "base_ns", 1_000_000_000), (13, "base_ms", 1_000), (10, "base", 1)];

/// Replaces every timestamp within a day of `base` by its distance from it: `1800000005` becomes `{base+5}`.
pub fn relative(text: &str, base: u64) -> String {
    UNITS.iter().fold(text.to_owned(), |text, (digits, name, ticks)| {
        replace_runs(&text, *digits, |run| {
            let offset = run.parse::<i128>().ok()? - i128::from(base) * ticks;
            (offset.abs() <= DAY * ticks).then(|| format!("{{{name}{offset:+}}}"))
        })
    })
}

/// Applies `change` to every run of exactly `digits` digits that is not a fraction.
fn replace_runs(text: &str, digits: usize, change: impl Fn(&str) -> Option<String>) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut kept, mut at) = (String::new(), 0, 0);
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let end = at + length;
        if length == digits
            && (at == 0 || bytes[at - 1] != b'.')
            && let Some(new) = change(&text[at..end])
        {
            out.push_str(&text[kept..at]);
            out.push_str(&new);
            kept = end;
        }
        at = end.max(at + 1);
    }
    out.push_str(&text[kept..]);
    out
}

static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| {
    let time = r"(?<unit>base|base_ns|base_ms)(?<offset>[+-]\d+(?:\.\d+)?)?";
    Regex::new(&format!(r"\{{(?:{time}|tid:(?<trace>[\w-]+)|sid:(?<owner>[\w-]+)/(?<label>[\w-]+))\}}"))
        .expect("the pattern is constant and a test compiles it")
});

/// Fills the placeholders of a case. A trace or span that the dataset does not have is an error.
pub fn absolute(text: &str, dataset: &Dataset) -> Result<String> {
    let (mut out, mut kept) = (String::new(), 0);
    for found in PLACEHOLDER.captures_iter(text) {
        let whole = found.get_match();
        out.push_str(&text[kept..whole.start()]);
        out.push_str(&fill(&found, dataset).with_context(|| format!("fill {}", whole.as_str()))?);
        kept = whole.end();
    }
    out.push_str(&text[kept..]);
    Ok(out)
}

fn fill(found: &Captures<'_>, dataset: &Dataset) -> Result<String> {
    if let Some(trace) = found.name("trace") {
        return Ok(dataset.trace_id(trace.as_str())?.to_owned());
    }
    if let (Some(owner), Some(label)) = (found.name("owner"), found.name("label")) {
        return Ok(dataset.span_id(owner.as_str(), label.as_str())?.to_owned());
    }
    let unit = &found["unit"];
    let (_, _, ticks) = UNITS.into_iter().find(|(_, name, _)| *name == unit).context("no such unit")?;
    let seconds: f64 = found.name("offset").map_or(Ok(0.0), |m| m.as_str().parse())?;
    let offset = seconds * ticks as f64;
    let offset = if unit == "base_ns" { offset.round_ties_even() } else { offset.trunc() };
    Ok((i128::from(dataset.base) * ticks + offset as i128).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_near_the_base_become_relative() {
        let base = 1_800_000_000;
        assert_eq!(relative("1800000005", base), "{base+5}");
        assert_eq!(relative("a 1799999999.5 b 1800000000137000000", base), "a {base-1}.5 b {base_ns+137000000}");
        assert_eq!(relative("1800000060000", base), "{base_ms+60000}");
        for kept in ["1900000000", "0.1800000005", "18000000051", "", "é1234567890"] {
            assert_eq!(relative(kept, base), kept);
        }
    }

    #[test]
    fn placeholders_are_filled() {
        let dataset = Dataset::load(1_800_000_000).unwrap();
        let check = |text: &str, want: &str| assert_eq!(absolute(text, &dataset).unwrap(), want);
        check("{base}-{base+240}-{base-1}", "1800000000-1800000240-1799999999");
        check("{base_ms+0.5} {base_ns+1.5} {base_ns}", "1800000000500 1800000001500000000 1800000000000000000");
        check("{ .a = {} } {base*2}", "{ .a = {} } {base*2}");
        check("/{tid:tree}", &format!("/{}", dataset.trace_id("tree").unwrap()));
        assert!(absolute("{tid:no-such}", &dataset).is_err());
    }
}
