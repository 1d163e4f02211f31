//! The search before TraceQL: which span filters its tags and its bounds of the duration are, and where they must be met.
//!
//! A tag is an attribute of a span or of its resource whose text is the value, all of it; a value that reads as a number or
//! a bool also finds those. Some names are special, as in Tempo. What tags have in common is Tempo's too, where it follows
//! from how blocks are laid out: a name with a column of its own is met by any span of the trace, and the other tags are met
//! by spans of one resource, though not by one span.

use std::time::Duration;

use model::{Intrinsic, Scope};
use traceql::{BinaryOp, CompareOp, Field, FieldExpr, LogicOp, Static, Status};

use crate::error::Error;

/// Most tags of a search: each is a filter of its own.
pub(crate) const MAX_TAGS: usize = 256;

/// What a search by tags asks of a trace. At least one filter is there.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct TagSearch {
    /// Each must be true of some span of the trace.
    pub anywhere: Vec<FieldExpr>,
    /// Each must be true of some span of one and the same resource.
    pub of_one_resource: Vec<FieldExpr>,
}

impl TagSearch {
    /// # Errors
    /// [`Error::TooManyTags`] for more than are looked for at once.
    pub fn of(tags: &[(String, String)], min: Option<Duration>, max: Option<Duration>) -> Result<Self, Error> {
        if tags.len() > MAX_TAGS {
            return Err(Error::TooManyTags { max: MAX_TAGS });
        }
        let bound = |op, bound: Duration| {
            let nanos = Static::Duration(i64::try_from(bound.as_nanos()).unwrap_or(i64::MAX));
            compare(Field::Intrinsic(Intrinsic::TraceDuration), op, nanos)
        };
        let bounds =
            min.map(|min| bound(CompareOp::Ge, min)).into_iter().chain(max.map(|max| bound(CompareOp::Le, max)));
        let (mut search, mut of_traces) = (Self::default(), Vec::new());
        for (key, value) in tags {
            let place = match key.as_str() {
                "root.name" | "root.service.name" => &mut of_traces,
                key if OWN_COLUMNS.contains(&key) => &mut search.anywhere,
                _ => &mut search.of_one_resource,
            };
            place.push(tag(key, value));
        }
        // what is true of a trace is true of each of its spans: it costs nothing as a part of another filter
        let of_traces = of_traces.into_iter().chain(bounds).reduce(|left, right| join(LogicOp::And, left, right));
        let first = if search.anywhere.is_empty() { &mut search.of_one_resource } else { &mut search.anywhere };
        match (first.first_mut(), of_traces) {
            (Some(first), Some(of_traces)) => *first = join(LogicOp::And, first.clone(), of_traces),
            (Some(_), None) => {}
            (None, of_traces) => first.push(of_traces.unwrap_or(FieldExpr::TRUE)),
        }
        Ok(search)
    }

    /// The filter, where there is only one.
    pub fn single(&self) -> Option<&FieldExpr> {
        let mut all = self.anywhere.iter().chain(&self.of_one_resource);
        all.next().filter(|_| all.next().is_none())
    }
}

/// Names that Tempo has in columns of their own, besides those of the root: as they are if nobody configures others.
const OWN_COLUMNS: [&str; 21] = [
    "cluster",
    "container",
    "error",
    "http.method",
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "http.status_code",
    "http.url",
    "k8s.cluster.name",
    "k8s.container.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "name",
    "namespace",
    "pod",
    "server.address",
    "server.port",
    "service.name",
    "status.code",
    "url.path",
];

/// The names with a meaning of their own.
pub(crate) fn special_field(tag: &str) -> Option<Field> {
    Some(match tag {
        "name" => Field::Intrinsic(Intrinsic::Name),
        "root.name" => Field::Intrinsic(Intrinsic::RootName),
        "root.service.name" => Field::Intrinsic(Intrinsic::RootServiceName),
        "service.name" => Field::attribute(Scope::Resource, tag),
        _ => return None,
    })
}

fn tag(key: &str, value: &str) -> FieldExpr {
    if let Some(field) = special_field(key) {
        return compare(field, CompareOp::Eq, Static::String(value.to_owned()));
    }
    let status = |status| compare(Field::Intrinsic(Intrinsic::Status), CompareOp::Eq, Static::Status(status));
    match (key, value, value.parse::<i64>()) {
        ("error", "true", _) => status(Status::Error),
        ("status.code", _, _) => match Status::ALL.into_iter().find(|status| status.name() == value) {
            Some(code) => status(code),
            None => FieldExpr::Literal(Static::Bool(false)),
        },
        // Tempo knows this one as a number only
        ("http.status_code", _, Ok(code)) => {
            compare(Field::attribute(Scope::Span, key), CompareOp::Eq, Static::Int(code))
        }
        _ => attribute(key, value),
    }
}

fn attribute(key: &str, value: &str) -> FieldExpr {
    let mut readings = vec![Static::String(value.to_owned())];
    readings.extend(value.parse().ok().map(Static::Int));
    readings.extend(value.parse().ok().map(Static::Bool));
    let fields = [Scope::Span, Scope::Resource].map(|scope| Field::attribute(scope, key));
    let alternatives = fields.into_iter().flat_map(|field| {
        readings.iter().map(move |sources| compare(field.clone(), CompareOp::Eq, sources.clone())).collect::<Vec<_>>()
    });
    alternatives.reduce(|left, right| join(LogicOp::Or, left, right)).unwrap_or(FieldExpr::TRUE)
}

fn compare(field: Field, op: CompareOp, value: Static) -> FieldExpr {
    let (left, right) = (Box::new(FieldExpr::Field(field)), Box::new(FieldExpr::Literal(value)));
    FieldExpr::Binary { op: BinaryOp::Compare(op), left, right }
}

fn join(op: LogicOp, left: FieldExpr, right: FieldExpr) -> FieldExpr {
    FieldExpr::Binary { op: BinaryOp::Logic(op), left: Box::new(left), right: Box::new(right) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_a_filter() {
        let search = |tags: &[(&str, &str)], min, max| {
            let tags: Vec<(String, String)> = tags.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            TagSearch::of(&tags, min, max).unwrap()
        };
        let text = |tags: &[(&str, &str)], min, max| search(tags, min, max).single().unwrap().to_string();
        let millis = Duration::from_millis;
        assert_eq!(text(&[], None, None), "true");
        assert_eq!(text(&[("root.name", "a")], Some(millis(5)), None), "(rootName = `a`) && (traceDuration >= 5ms)");
        assert_eq!(text(&[("error", "true")], None, Some(millis(5))), "(status = error) && (traceDuration <= 5ms)");
        assert_eq!(text(&[("k", "v")], None, None), "(span.k = `v`) || (resource.k = `v`)");
        assert_eq!(
            text(&[("k", "7")], None, None),
            "(((span.k = `7`) || (span.k = 7)) || (resource.k = `7`)) || (resource.k = 7)"
        );
        assert_eq!(text(&[("status.code", "odd")], None, None), "false");
        let several =
            search(&[("a", "1x"), ("name", "n"), ("b", "2x"), ("http.method", "GET"), ("root.name", "r")], None, None);
        let texts = |exprs: &[FieldExpr]| exprs.iter().map(FieldExpr::to_string).collect::<Vec<_>>();
        assert_eq!(
            texts(&several.anywhere),
            ["(name = `n`) && (rootName = `r`)", "(span.http.method = `GET`) || (resource.http.method = `GET`)"]
        );
        assert_eq!(
            texts(&several.of_one_resource),
            ["(span.a = `1x`) || (resource.a = `1x`)", "(span.b = `2x`) || (resource.b = `2x`)"]
        );
    }
}
