//! `error-examples`: the kinds of errors there are, with one example of each.

use serde_json::{Value, json};

use super::answer::Found;
use super::asking::{Asking, NAME, SERVICE, filter, label, of_operation, quoted};
use super::slowest_paths::one;
use crate::tempo::plain;
use crate::tempo::search::attributes;

/// Kinds that are told of, the most frequent.
const KINDS: usize = 20;
const FAILED: &str = "status = error";
const MESSAGE: &str = "statusMessage";

pub(super) async fn find(asking: &Asking) -> Result<Found, String> {
    let (range, condition) = (asking.range()?, asking.condition()?.unwrap_or_default());
    let query = format!("{} | count_over_time() by ({SERVICE}, {NAME}, {MESSAGE})", filter(&[FAILED, &condition]));
    let mut series = asking.instant(&query, range).await?;
    series.sort_by(|one, other| other.value.total_cmp(&one.value));
    let mut kinds = Vec::new();
    for series in series.iter().take(KINDS) {
        let [service, name, message] = [SERVICE, NAME, MESSAGE].map(|key| label(&series.labels, key));
        let operation = of_operation(&service, &name);
        let of_message = if message.is_empty() { String::new() } else { format!("{MESSAGE} = {}", quoted(&message)) };
        let spans = filter(&[FAILED, &condition, &operation, &of_message]);
        let query = format!("{spans} | select(span.error.type, event.exception.type, event.exception.message)");
        kinds.push(json!({
            "service": service, "operation": name, "message": message, "count": series.value,
            "example": one(asking, &query, range).await?.map(example),
        }));
    }
    let next = after(&kinds);
    let document = json!({ "errors": kinds, "kinds": series.len() });
    Ok(Found::json("error-examples", "1", document.to_string()).next(next))
}

fn example((trace, span_id): (querier::answer::FoundTrace, String)) -> Value {
    let span = trace.span_sets.into_iter().flat_map(|span_set| span_set.spans).next();
    let attributes = span.map(|span| plain::map(&attributes(span.attributes), plain::hex));
    json!({ "traceId": trace.trace_id.short_hex(), "spanId": span_id, "attributes": attributes })
}

fn after(kinds: &[Value]) -> Vec<String> {
    let Some(first) = kinds.first() else {
        return vec!["No span failed: an earlier `start`, or another filter".to_owned()];
    };
    let (id, service) = (first["example"]["traceId"].as_str().unwrap_or_default(), &first["service"]);
    vec![
        format!("get-trace of {id}, an example of the most frequent"),
        format!(
            "traceql-metrics-range of {{ status = error && {SERVICE} = {service} }} | rate() by ({MESSAGE}) shows since when"
        ),
        format!(
            "traceql-metrics-instant of {{ {SERVICE} = {service} }} | compare({{ status = error }}) shows which attributes the \
             failed spans have in common"
        ),
    ]
}
