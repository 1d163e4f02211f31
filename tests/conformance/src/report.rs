//! What a run found: the differences of each case, printed with the failures first and a count for each area.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use regex::{Captures, Regex};

use crate::case::Case;

/// As many differences of one case as are printed.
const SHOWN: usize = 12;

/// The verdicts of all cases that ran, in that order.
pub struct Report {
    pub verdicts: Vec<Verdict>,
}

pub struct Verdict {
    pub area: String,
    pub id: String,
    /// The query, for people.
    pub q: Option<String>,
    /// Empty when the answer is right.
    pub differences: Vec<String>,
    pub took: Duration,
}

impl Verdict {
    /// `names` are those of the traces by id; they are added to the differences.
    pub(crate) fn new(
        case: &Case,
        differences: Vec<String>,
        took: Duration,
        names: &BTreeMap<String, String>,
    ) -> Verdict {
        let differences = differences.iter().map(|d| named(d, names)).collect();
        Verdict { area: case.area.clone(), id: case.id.clone(), q: case.q.clone(), differences, took }
    }

    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

fn named(difference: &str, names: &BTreeMap<String, String>) -> String {
    static ID: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"traces\.([0-9a-f]+)").expect("the pattern is constant and a test compiles it"));
    let with_name = |found: &Captures<'_>| {
        names.get(&found[1]).map_or_else(|| found[0].to_owned(), |name| format!("{} ({name})", &found[0]))
    };
    ID.replace_all(difference, with_name).into_owned()
}

impl Report {
    pub fn passed(&self) -> usize {
        self.verdicts.iter().filter(|v| v.passed()).count()
    }

    pub fn failed(&self) -> usize {
        self.verdicts.len() - self.passed()
    }

    /// The ids of the cases that failed.
    pub fn failures(&self) -> Vec<&str> {
        self.verdicts.iter().filter(|v| !v.passed()).map(|v| v.id.as_str()).collect()
    }

    /// Areas in the order in which they ran, with the number of cases that passed and failed.
    fn areas(&self) -> Vec<(&str, usize, usize)> {
        let mut areas: Vec<(&str, usize, usize)> = Vec::new();
        for verdict in &self.verdicts {
            let known = areas.iter().position(|(area, ..)| *area == verdict.area);
            let at = known.unwrap_or_else(|| {
                areas.push((&verdict.area, 0, 0));
                areas.len() - 1
            });
            areas[at].1 += usize::from(verdict.passed());
            areas[at].2 += usize::from(!verdict.passed());
        }
        areas
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for verdict in self.verdicts.iter().filter(|v| !v.passed()) {
            writeln!(f, "{verdict}")?;
        }
        writeln!(f)?;
        for (area, passed, failed) in self.areas() {
            writeln!(f, "{area:22} {passed:4} passed {failed:4} failed")?;
        }
        write!(f, "{} passed, {} failed", self.passed(), self.failed())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.passed() { "ok  " } else { "FAIL" };
        let q = self.q.as_ref().map_or_else(String::new, |q| format!("  {q}"));
        write!(f, "{word} {}/{}{q}", self.area, self.id)?;
        for difference in self.differences.iter().take(SHOWN) {
            write!(f, "\n     {difference}")?;
        }
        if self.differences.len() > SHOWN {
            write!(f, "\n     ... and {} more", self.differences.len() - SHOWN)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_failures_and_counts() {
        let verdict = |area: &str, id: &str, differences: Vec<String>| Verdict {
            area: area.into(),
            id: id.into(),
            q: None,
            differences,
            took: Duration::ZERO,
        };
        let names = BTreeMap::from([("ab1".to_owned(), "tree".to_owned())]);
        let difference = named(".traces.ab1: missing .traces.ab2", &names);
        let verdicts = vec![verdict("a", "1", vec![]), verdict("b", "2", vec![difference]), verdict("a", "3", vec![])];
        let want = "FAIL b/2\n     .traces.ab1 (tree): missing .traces.ab2\n\n\
                    a                         2 passed    0 failed\nb                         0 passed    1 failed\n\
                    2 passed, 1 failed";
        assert_eq!(Report { verdicts }.to_string(), want);
    }
}
