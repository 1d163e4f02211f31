//! A field's name on its own, as the path of a tag request spells it.

use crate::ast::{Field, FieldExpr, Query};
use crate::error::Error;
use crate::{check, parser};

/// Reads `.http.method`, `span:name`, `resource."a b"`. Positions in errors count one more than in `text`: they are
/// those of `{text}`, as in the reference.
pub fn parse_field(text: &str) -> Result<Field, Error> {
    let refuse = |reason: String| Error::FieldName { name: text.to_owned(), reason };
    let query = parser::query(&format!("{{{text}}}")).map_err(|error| refuse(error.to_string()))?;
    match only_field(query) {
        Some(field) => match check::field(&field) {
            Ok(()) => Ok(field),
            Err(error) => Err(refuse(error.to_string())),
        },
        None => Err(refuse("expected an attribute or intrinsic".to_owned())),
    }
}

/// The field of a query that is `{ field }` and nothing else.
fn only_field(query: Query) -> Option<Field> {
    let simple = query.metrics.is_none() && query.hints.is_empty() && query.pipeline.stages.len() == 1;
    match query.span_filter()?.filter {
        FieldExpr::Field(field) if simple => Some(field.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_names_are_read_and_print_canonically() {
        for (text, canonical) in [
            (".service.name", ".service.name"),
            ("resource.service.name", "resource.service.name"),
            ("span:name", "name"),
            ("status", "status"),
            (r#"span."foo bar""#, r#"span."foo bar""#),
            ("span.key/slash", "span.key/slash"),
        ] {
            assert_eq!(parse_field(text).unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_no_field_name_is_named_with_the_reason() {
        for (text, reason) in [
            ("service.name", "parse error at line 1, col 2: unknown identifier: service"),
            ("zzz", "parse error at line 1, col 2: unknown identifier: zzz"),
            ("span.a = 1", "expected an attribute or intrinsic"),
            (".a } | select(.b", "parse error at line 1, col 18: syntax error: unexpected }, expecting ) or ,"),
            (".a } | { .b", "expected an attribute or intrinsic"),
            ("", "expected an attribute or intrinsic"),
            ("parent.a", "parent not yet supported"),
        ] {
            let error = parse_field(text).unwrap_err().to_string();
            assert_eq!(error, format!("failed to parse identifier {text}: {reason}"));
        }
    }
}
