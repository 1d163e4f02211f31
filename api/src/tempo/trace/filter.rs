//! The parameters that choose spans of a trace: `q`, `match_depth`, `keep_hierarchy`, `ancestor_depth`. Without `q` the
//! others are not read, and without `keep_hierarchy` neither is `ancestor_depth`.

use querier::request::{Hops, SpanSubset};

use crate::QueryConfig;
use crate::tempo::params::number::{parse_atoi, parse_bool};
use crate::tempo::params::{Params, check_length};
use crate::tempo::reply::QueryError;

/// The subset that is asked for; `None` for the whole trace.
pub(super) fn subset(params: &Params, config: &QueryConfig) -> Result<Option<SpanSubset>, QueryError> {
    let query = params.get("q").unwrap_or_default().trim();
    if query.is_empty() {
        return Ok(None);
    }
    check_length(query, config.max_query_bytes)?;
    let keep_hierarchy = parsed(params, "keep_hierarchy", parse_bool)?.unwrap_or(false);
    let descendants = depth(params, "match_depth")?.unwrap_or(Hops::AtMost(0));
    let ancestors = match keep_hierarchy {
        true => depth(params, "ancestor_depth")?.unwrap_or(Hops::Any),
        false => Hops::AtMost(0),
    };
    let filter = traceql::parse_trace_filter(query)
        .map_err(|error| QueryError::bad_request(format!("invalid TraceQL filter: {error}")))?;
    Ok(Some(SpanSubset { filter, ancestors, descendants }))
}

/// A number of steps, or -1 for any number.
fn depth(params: &Params, name: &str) -> Result<Option<Hops>, QueryError> {
    let Some(depth) = parsed(params, name, parse_atoi)? else { return Ok(None) };
    match (depth, u64::try_from(depth)) {
        (_, Ok(most)) => Ok(Some(Hops::AtMost(most))),
        (-1, _) => Ok(Some(Hops::Any)),
        _ => Err(QueryError::bad_request(format!("invalid value for {name}: must be >= -1"))),
    }
}

fn parsed<T>(params: &Params, name: &str, parse: fn(&str) -> Result<T, String>) -> Result<Option<T>, QueryError> {
    let parsed = params.get(name).map(parse).transpose();
    parsed.map_err(|problem| QueryError::bad_request(format!("invalid value for {name}: {problem}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str) -> Result<Option<(Hops, Hops)>, String> {
        let subset = subset(&Params::from_query(query), &QueryConfig::default()).map_err(|error| error.text)?;
        Ok(subset.map(|subset| (subset.ancestors, subset.descendants)))
    }

    #[test]
    fn matching_spans_come_alone_unless_more_is_asked_for() {
        use Hops::{Any, AtMost};
        let q = "q=%7Bstatus=error%7D";
        for (rest, expected) in [
            ("", (AtMost(0), AtMost(0))),
            ("&keep_hierarchy=true", (Any, AtMost(0))),
            ("&keep_hierarchy=1&ancestor_depth=2&match_depth=-1", (AtMost(2), Any)),
            ("&keep_hierarchy=false&ancestor_depth=-9&match_depth=3", (AtMost(0), AtMost(3))),
        ] {
            assert_eq!(of(&format!("{q}{rest}")), Ok(Some(expected)), "{rest}");
        }
    }

    #[test]
    fn without_a_filter_nothing_else_is_read() {
        for query in ["", "q=", "q=++", "match_depth=x&keep_hierarchy=perhaps&ancestor_depth=-7"] {
            assert_eq!(of(query), Ok(None), "{query}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_in_tempos_words() {
        let q = "q=%7B%7D";
        for (rest, problem) in [
            ("&match_depth=-2", "invalid value for match_depth: must be >= -1"),
            ("&match_depth=x", "invalid value for match_depth: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("&keep_hierarchy=true&ancestor_depth=-2", "invalid value for ancestor_depth: must be >= -1"),
            (
                "&keep_hierarchy=yes",
                "invalid value for keep_hierarchy: strconv.ParseBool: parsing \"yes\": invalid syntax",
            ),
            ("%7Crate()", "invalid TraceQL filter: only a single TraceQL filter is supported: got a metrics query"),
        ] {
            assert_eq!(of(&format!("{q}{rest}")), Err(problem.to_owned()), "{rest}");
        }
    }
}
