//! The search before TraceQL: tags and bounds of the duration become a span filter.
//!
//! All tags must be met by one span. A tag is an attribute of the span or of its resource whose text is the value; a value
//! that reads as a number or a bool also finds those. Some names are special, as in Tempo.

use std::time::Duration;

use model::{Intrinsic, Scope};
use traceql::{BinaryOp, CompareOp, Field, FieldExpr, LogicOp, Static, Status};

/// The filter that a search by tags means.
pub(crate) fn filter(tags: &[(String, String)], min: Option<Duration>, max: Option<Duration>) -> FieldExpr {
    let bound = |op, bound: Duration| {
        let nanos = Static::Duration(i64::try_from(bound.as_nanos()).unwrap_or(i64::MAX));
        compare(Field::Intrinsic(Intrinsic::TraceDuration), op, nanos)
    };
    let tags = tags.iter().map(|(key, value)| tag(key, value));
    let bounds = min.map(|min| bound(CompareOp::Ge, min)).into_iter().chain(max.map(|max| bound(CompareOp::Le, max)));
    tags.chain(bounds).reduce(|left, right| join(LogicOp::And, left, right)).unwrap_or(FieldExpr::TRUE)
}

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
        readings.iter().map(move |reading| compare(field.clone(), CompareOp::Eq, reading.clone())).collect::<Vec<_>>()
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
        let text = |tags: &[(&str, &str)], min, max| {
            let tags: Vec<(String, String)> = tags.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            filter(&tags, min, max).to_string()
        };
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
    }
}
