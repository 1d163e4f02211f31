//! What is asked: two traces, each perhaps with a hint where to look, and a form.

use model::{TimeRange, TraceId};
use serde::Deserialize;

use crate::tempo::reply::QueryError;

#[derive(Debug, PartialEq)]
pub(super) struct DiffRequest {
    pub base: Side,
    pub compare: Side,
    pub form: Form,
}

#[derive(Debug, PartialEq)]
pub(super) struct Side {
    pub trace_id: TraceId,
    pub range: Option<TimeRange>,
}

/// How the difference is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Patch,
    Summary,
    Composed,
}

impl Form {
    const ALL: [Self; 3] = [Self::Composed, Self::Patch, Self::Summary];

    pub fn name(self) -> &'static str {
        match self {
            Self::Patch => "trace-patch-v0",
            Self::Summary => "trace-summary-v0-native",
            Self::Composed => "trace-summary-v0-composed",
        }
    }
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    base: BodySide,
    #[serde(default)]
    compare: BodySide,
    #[serde(default)]
    format: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BodySide {
    trace_id: String,
    /// Unix seconds.
    start: Option<i64>,
    end: Option<i64>,
}

impl DiffRequest {
    pub fn parse(body: &[u8]) -> Result<Self, QueryError> {
        let body: Body = serde_json::from_slice(body)
            .map_err(|error| QueryError::bad_request(format!("invalid trace diff request body: {error}")))?;
        let (form, [base, compare]) = (form(&body.format)?, [("base", body.base), ("compare", body.compare)]);
        Ok(Self { base: side(base.0, &base.1)?, compare: side(compare.0, &compare.1)?, form })
    }
}

fn form(name: &str) -> Result<Form, QueryError> {
    if name.is_empty() {
        return Ok(Form::Patch);
    }
    Form::ALL.into_iter().find(|form| form.name() == name).ok_or_else(|| {
        let [first, second, third] = Form::ALL.map(Form::name);
        QueryError::bad_request(format!("invalid format {name:?}: must be one of {first:?}, {second:?}, {third:?}"))
    })
}

fn side(name: &str, side: &BodySide) -> Result<Side, QueryError> {
    const NANOS: u64 = 1_000_000_000;
    if side.trace_id.is_empty() {
        return Err(QueryError::bad_request(format!("{name}.traceId is required")));
    }
    let trace_id = TraceId::parse(&side.trace_id)
        .map_err(|error| QueryError::bad_request(format!("invalid {name}.traceId: {error}")))?;
    if let (Some(start), Some(end)) = (side.start, side.end)
        && end <= start
    {
        return Err(QueryError::bad_request(format!(
            "{name}.start must be before {name}.end. received start={start} end={end}"
        )));
    }
    let nanos = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(NANOS);
    let range = match (side.start.map(nanos), side.end.map(nanos)) {
        (None, None) => None,
        (start, end) => Some(TimeRange::new(start.unwrap_or(0), end.unwrap_or(u64::MAX))),
    };
    Ok(Side { trace_id, range })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (body, problem) in [
            ("{", "invalid trace diff request body: EOF while parsing an object at line 1 column 1"),
            ("{}", "base.traceId is required"),
            (r#"{"base":{"traceId":"a"}}"#, "compare.traceId is required"),
            (
                r#"{"base":{"traceId":"a","start":5,"end":5},"compare":{"traceId":"b"}}"#,
                "base.start must be before base.end. received start=5 end=5",
            ),
            (
                r#"{"base":{"traceId":"a"},"compare":{"traceId":"b"},"format":"x"}"#,
                "invalid format \"x\": must be one of \"trace-summary-v0-composed\", \"trace-patch-v0\", \
                 \"trace-summary-v0-native\"",
            ),
        ] {
            assert_eq!(DiffRequest::parse(body.as_bytes()).unwrap_err().text, problem, "{body}");
        }
        let bad_id = DiffRequest::parse(br#"{"base":{"traceId":"xyz"},"compare":{"traceId":"b"}}"#).unwrap_err();
        assert!(bad_id.text.starts_with("invalid base.traceId: "), "{}", bad_id.text);
    }

    #[test]
    fn a_patch_is_made_unless_something_else_is_asked_for() {
        let request = DiffRequest::parse(br#"{"base":{"traceId":"a"},"compare":{"traceId":"b","start":5}}"#).unwrap();
        let side = |id: &str, range| Side { trace_id: TraceId::parse(id).unwrap(), range };
        let after_five = Some(TimeRange::new(5_000_000_000, u64::MAX));
        assert_eq!(request, DiffRequest { base: side("a", None), compare: side("b", after_five), form: Form::Patch });
    }
}
