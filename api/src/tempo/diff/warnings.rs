//! What makes a comparison doubtful.

use serde::Serialize;

use super::tree::{Operation, Tree, duration_nanos};

/// The most spans that a warning names.
const MAX_EXAMPLES: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Warning {
    pub code: &'static str,
    pub message: String,
}

const CHANGING_NAME: &str = "high_cardinality_span_name";

/// Those of both traces; that names change is said once.
pub(super) fn of_both(base: &Tree<'_>, compare: &Tree<'_>) -> Vec<Warning> {
    let (mut warnings, of_compare) = (of(base, "base"), of(compare, "compare"));
    let is_said = warnings.iter().any(|warning| warning.code == CHANGING_NAME);
    warnings.extend(of_compare.into_iter().filter(|warning| !is_said || warning.code != CHANGING_NAME));
    warnings
}

fn of(tree: &Tree<'_>, side: &str) -> Vec<Warning> {
    let (spans, placed) = (&tree.spans, tree.nodes.len());
    let changing =
        spans.iter().find(|(span, _)| has_changing_part(&span.name)).map(|(_, operation)| changing(operation));
    let mut without_duration: Vec<Operation<'_>> =
        spans.iter().filter(|(span, _)| duration_nanos(span).is_none()).map(|(_, operation)| *operation).collect();
    without_duration.sort_unstable();
    let invalid = (!without_duration.is_empty()).then(|| invalid(&without_duration, side));
    let copies = (placed < spans.len()).then(|| copies(spans.len() - placed, side));
    changing.into_iter().chain(invalid).chain(copies).collect()
}

fn changing(operation: &Operation<'_>) -> Warning {
    let Operation { service, name, kind } = operation;
    let message = format!(
        "span name {name:?} for service {service:?} kind {kind:?} appears to contain a high-cardinality token; matching \
         uses raw span names, so equivalent operations with request-specific IDs may be reported as added/removed. Move \
         request-specific IDs to span attributes."
    );
    Warning { code: CHANGING_NAME, message }
}

fn invalid(operations: &[Operation<'_>], side: &str) -> Warning {
    let shown = operations.iter().take(MAX_EXAMPLES);
    let mut examples: Vec<String> =
        shown.map(|Operation { service, name, kind }| format!("{name:?} service {service:?} kind {kind:?}")).collect();
    if operations.len() > MAX_EXAMPLES {
        examples.push(format!("and {} more", operations.len() - MAX_EXAMPLES));
    }
    let message = format!(
        "{side} trace has {} span(s) with unset or invalid duration; matched duration changes use null on the invalid side; \
         examples: [{}]",
        operations.len(),
        examples.join("; ")
    );
    Warning { code: "invalid_duration", message }
}

fn copies(count: usize, side: &str) -> Warning {
    let message = format!(
        "{side} trace has {count} span(s) with duplicate span IDs; duplicates are ignored by the diff and counts may disagree"
    );
    Warning { code: "duplicate_span_id", message }
}

/// Whether a name holds a number of six digits, or eight hex digits with dashes among them: an id, most likely.
fn has_changing_part(name: &str) -> bool {
    const MIN_DIGITS: usize = 6;
    const MIN_HEX_DIGITS: usize = 8;
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    name.split(|c| !is_of_word(c)).any(|part| {
        let mut run = 0;
        part.split('-').any(|word| {
            run = match word {
                "" if run > 0 => run + 1,
                _ if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                    run + word.len() + usize::from(run > 0)
                }
                _ => 0,
            };
            let is_number = word.len() >= MIN_DIGITS && word.bytes().all(|byte| byte.is_ascii_digit());
            is_number || run >= MIN_HEX_DIGITS && !word.is_empty()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_names_are_seen() {
        for name in [
            "GET /users/123456",
            "job 00af12bc",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
            "order-a1b2c3d4",
            "x 1234-abcd",
        ] {
            assert!(has_changing_part(name), "{name}");
        }
        for name in
            ["GET /users/{id}", "v12345", "shop.CartService/GetCart", "decade", "a-b", "abcdefg12", "step_123456"]
        {
            assert!(!has_changing_part(name), "{name}");
        }
    }
}
