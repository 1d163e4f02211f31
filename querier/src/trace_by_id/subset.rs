//! Which spans of a trace are chosen: those that a filter is true of, and their relatives within so many steps.
//!
//! A parent stands above its children in the table, so one walk down finds how far each span is below one that matches,
//! and one walk up how far it is above one.

use arrow::array::{Array, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::UInt32Type;
use spans::schema::column;
use spans::{Encoded, SpanTable};

use crate::error::Error;
use crate::eval::Filter;
use crate::request::{Hops, SpanSubset};

/// A subset made ready.
#[derive(Debug)]
pub(super) struct Chooser {
    filter: Filter,
    ancestors: Hops,
    descendants: Hops,
}

impl Chooser {
    /// # Errors
    /// [`Error::Query`] for what the checker of the language refuses.
    pub fn compile(subset: &SpanSubset) -> Result<Self, Error> {
        let filter = Filter::compile(&subset.filter)?;
        Ok(Self { filter, ancestors: subset.ancestors, descendants: subset.descendants })
    }

    /// Leaves out the spans that are not chosen, and says whether there were any. `encoded` comes from `trace`, which is
    /// one whole trace.
    pub fn retain(&self, trace: &SpanTable, encoded: &mut Encoded) -> Result<bool, Error> {
        let masks = self.filter.on_dimensions(trace)?;
        let matched = self.filter.select(trace, &masks)?.spans;
        let chosen = self.with_relatives(&matched, &parents(trace)?);
        let mut is_chosen = encoded.rows.iter().map(|&row| chosen[row]);
        for resource in &mut encoded.resource_spans {
            for scope in &mut resource.scope_spans {
                scope.spans.retain(|_| is_chosen.next().unwrap_or_default());
            }
            resource.scope_spans.retain(|scope| !scope.spans.is_empty());
        }
        encoded.resource_spans.retain(|resource| !resource.scope_spans.is_empty());
        Ok(chosen.contains(&false))
    }

    /// Marks the spans that match, and their relatives. `parents` gives the row of each span's parent.
    fn with_relatives(&self, matched: &BooleanBuffer, parents: &[Option<usize>]) -> Vec<bool> {
        let steps = |row: usize| if matched.value(row) { 0 } else { NEVER };
        let mut above: Vec<u64> = (0..parents.len()).map(steps).collect();
        let mut below = above.clone();
        for (row, parent) in parents.iter().enumerate() {
            if let Some(parent) = *parent {
                below[row] = below[row].min(below[parent].saturating_add(1));
            }
        }
        for (row, parent) in parents.iter().enumerate().rev() {
            if let Some(parent) = *parent {
                above[parent] = above[parent].min(above[row].saturating_add(1));
            }
        }
        let is_chosen = |(above, below)| self.ancestors.reach(above) || self.descendants.reach(below);
        above.into_iter().zip(below).map(is_chosen).collect()
    }
}

/// The steps to a span that no span that matches leads to.
const NEVER: u64 = u64::MAX;

impl Hops {
    fn reach(self, steps: u64) -> bool {
        match self {
            Self::AtMost(most) => steps <= most && steps != NEVER,
            Self::Any => steps != NEVER,
        }
    }
}

/// The row of each span's parent, which is above it.
fn parents(trace: &SpanTable) -> Result<Vec<Option<usize>>, Error> {
    let offsets = spans::column(&trace.spans, column::PARENT_OFFSET)?;
    let offsets = offsets.as_primitive_opt::<UInt32Type>().ok_or_else(|| Error::damaged(column::PARENT_OFFSET))?;
    let parent = |row: usize| {
        let offset = offsets.is_valid(row).then(|| offsets.value(row) as usize)?;
        row.checked_sub(offset).filter(|parent| *parent < row)
    };
    Ok((0..offsets.len()).map(parent).collect())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

    use super::*;
    use crate::testing::{service, span, table};

    /// `a(b(d(f), e), c)`, of two services.
    fn trace() -> SpanTable {
        table(vec![
            service("web", vec![span(1, 1, 0, "a", 0, 90), span(1, 2, 1, "b", 1, 50), span(1, 3, 1, "c", 60, 9)]),
            service("db", vec![span(1, 4, 2, "d", 2, 30), span(1, 5, 2, "e", 40, 5), span(1, 6, 4, "f", 3, 10)]),
        ])
    }

    fn names(resource_spans: &[ResourceSpans]) -> String {
        let scopes = resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let mut names: Vec<&str> = scopes.flat_map(|scope| &scope.spans).map(|span| span.name.as_str()).collect();
        names.sort_unstable();
        names.concat()
    }

    fn chosen(filter: &str, ancestors: Hops, descendants: Hops) -> (String, bool) {
        let filter = traceql::parse_trace_filter(filter).unwrap();
        let chooser = Chooser::compile(&SpanSubset { filter, ancestors, descendants }).unwrap();
        let trace = trace();
        let mut encoded = spans::encode_with_rows(&trace).unwrap();
        let is_filtered = chooser.retain(&trace, &mut encoded).unwrap();
        (names(&encoded.resource_spans), is_filtered)
    }

    #[test]
    fn spans_that_match_come_with_so_many_levels_around_them() {
        use Hops::{Any, AtMost};
        for (filter, ancestors, descendants, expected) in [
            ("{ name = `d` }", AtMost(0), AtMost(0), "d"),
            ("{ name = `d` }", AtMost(1), AtMost(0), "bd"),
            ("{ name = `d` }", Any, AtMost(0), "abd"),
            ("{ name = `b` }", AtMost(0), AtMost(1), "bde"),
            ("{ name = `b` }", AtMost(0), Any, "bdef"),
            ("{ name = `d` }", Any, Any, "abdf"),
            ("{ name = `f` || name = `c` }", AtMost(1), AtMost(0), "acdf"),
            ("{ resource.service.name = `db` }", AtMost(0), AtMost(0), "def"),
            ("{ name = `none` }", Any, Any, ""),
        ] {
            assert_eq!(chosen(filter, ancestors, descendants), (expected.to_owned(), true), "{filter}");
        }
        assert_eq!(chosen("{ }", AtMost(0), AtMost(0)), ("abcdef".to_owned(), false));
    }
}
