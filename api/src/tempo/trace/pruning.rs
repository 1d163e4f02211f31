//! The parameters that have similar spans of a trace as one: `span_pruning`, `span_pruning_group_by`, `…_min_spans`,
//! `…_max_parent_depth`. Unless the server allows it they are not read.

use querier::request::SpanPruning;

use crate::QueryConfig;
use crate::tempo::params::Params;
use crate::tempo::params::number::{parse_atoi, parse_bool};
use crate::tempo::reply::QueryError;

const ENABLED: &str = "span_pruning";
const GROUP_BY: &str = "span_pruning_group_by";
const MIN_SPANS: &str = "span_pruning_min_spans";
const MAX_PARENT_DEPTH: &str = "span_pruning_max_parent_depth";

/// Values that Tempo has when the client does not say.
const DEFAULT_MIN_SPANS: i64 = 5;
const DEFAULT_MAX_PARENT_DEPTH: i64 = 1;

/// How similar spans are put together; `None` when all spans are wanted.
pub(super) fn pruning(params: &Params, config: &QueryConfig) -> Result<Option<SpanPruning>, QueryError> {
    if !config.span_pruning_enabled {
        return Ok(None);
    }
    let refused = |name: &str, value: &str, problem: &str| {
        QueryError::bad_request(format!("invalid {name} value {value:?}: {problem}"))
    };
    let given = |name: &'static str| params.get(name).filter(|value| !value.is_empty());
    let is_wanted = match given(ENABLED) {
        Some(value) => parse_bool(value).map_err(|_| refused(ENABLED, value, "must be a boolean"))?,
        None => config.span_pruning_by_default,
    };
    if !is_wanted {
        return Ok(None);
    }
    let number = |name, default| match given(name) {
        Some(value) => parse_atoi(value).map_err(|problem| refused(name, value, &problem)),
        None => Ok(default),
    };
    let group_by = given(GROUP_BY).unwrap_or_default().split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
    let min_spans = number(MIN_SPANS, DEFAULT_MIN_SPANS)?;
    let max_parent_depth = number(MAX_PARENT_DEPTH, DEFAULT_MAX_PARENT_DEPTH)?;
    let pruning = SpanPruning::new(group_by, min_spans, max_parent_depth);
    pruning.map(Some).map_err(|error| QueryError::bad_request(format!("invalid span pruning config: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str, span_pruning_by_default: bool) -> Result<bool, String> {
        let config = QueryConfig { span_pruning_enabled: true, span_pruning_by_default, ..QueryConfig::default() };
        let pruning = pruning(&Params::from_query(query), &config).map_err(|error| error.text)?;
        Ok(pruning.is_some())
    }

    #[test]
    fn the_request_has_the_last_word() {
        for (query, by_default, expected) in [
            ("", false, false),
            ("", true, true),
            ("span_pruning=", true, true),
            ("span_pruning=false", true, false),
            ("span_pruning=1", false, true),
            ("span_pruning=true&span_pruning_group_by=db.*,+http.method,&span_pruning_min_spans=2", false, true),
            ("span_pruning_min_spans=x", false, false),
        ] {
            assert_eq!(of(query, by_default), Ok(expected), "{query}");
        }
        let params = Params::from_query("span_pruning=perhaps");
        assert!(pruning(&params, &QueryConfig::default()).unwrap().is_none(), "not read unless it is allowed");
    }

    #[test]
    fn what_cannot_be_read_is_named_in_tempos_words() {
        for (query, problem) in [
            ("span_pruning=perhaps", "invalid span_pruning value \"perhaps\": must be a boolean"),
            (
                "span_pruning=true&span_pruning_min_spans=x",
                "invalid span_pruning_min_spans value \"x\": strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                "span_pruning=true&span_pruning_min_spans=1",
                "invalid span pruning config: min_spans_to_aggregate must be at least 2",
            ),
            (
                "span_pruning=true&span_pruning_max_parent_depth=-2",
                "invalid span pruning config: max_parent_depth must be -1 (unlimited) or >= 0",
            ),
        ] {
            assert_eq!(of(query, false), Err(problem.to_owned()), "{query}");
        }
    }
}
