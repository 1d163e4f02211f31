//! Names and values of tags: sets without duplicates, sorted where the reference sorts.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{sorted, volatile_metrics};
use crate::json::{self, Malformed, Object, dump, need, rest};

/// Names or values as a plain list. The messages of a stream have no order, so there `check_order` is off.
pub fn canonical_strings(doc: &Object, field: &str, check_order: bool) -> Result<Object, Malformed> {
    let values = strings(doc, field)?;
    let mut out = rest(doc, &[field, "metrics"]);
    if check_order && !values.is_sorted() {
        out.insert("order".into(), json!(format!("{field} are not sorted")));
    }
    let value = if doc.contains_key(field) { sorted_strings(values) } else { json!("absent") };
    out.insert(field.into(), value);
    out.insert("metrics".into(), volatile_metrics(doc));
    Ok(out)
}

/// Names by scope.
pub fn canonical_scopes(doc: &Object, check_order: bool) -> Result<Object, Malformed> {
    let mut scopes = Object::new();
    for scope in json::list(doc, "scopes")? {
        let scope = json::object(scope, "a scope")?;
        let name = json::text(scope, "name", "")?;
        need(!scopes.contains_key(name), || format!("scope {name} appears twice"))?;
        let tags = strings(scope, "tags")?;
        let mut entry = rest(scope, &["name", "tags"]);
        if check_order && !tags.is_sorted() {
            entry.insert("order".into(), json!("tags are not sorted"));
        }
        entry.insert("tags".into(), sorted_strings(tags));
        scopes.insert(name.to_owned(), Value::Object(entry));
    }
    let mut out = rest(doc, &["scopes", "metrics"]);
    out.insert("scopes".into(), if doc.contains_key("scopes") { Value::Object(scopes) } else { json!("absent") });
    out.insert("metrics".into(), volatile_metrics(doc));
    Ok(out)
}

/// Values with their types, which the reference gives in any order.
pub fn canonical_typed(doc: &Object) -> Result<Object, Malformed> {
    let values = json::list(doc, "tagValues")?;
    let distinct: BTreeSet<_> = values.iter().map(dump).collect();
    need(distinct.len() == values.len(), || "tagValues holds duplicates".into())?;
    let mut out = rest(doc, &["tagValues", "metrics"]);
    let value = if doc.contains_key("tagValues") { Value::Array(sorted(values.to_vec())) } else { json!("absent") };
    out.insert("tagValues".into(), value);
    out.insert("metrics".into(), volatile_metrics(doc));
    Ok(out)
}

fn strings<'a>(parent: &'a Object, field: &str) -> Result<Vec<&'a str>, Malformed> {
    let values: Option<Vec<_>> = json::list(parent, field)?.iter().map(Value::as_str).collect();
    let values = values.ok_or_else(|| Malformed(format!("{field} must be a list of strings")))?;
    let distinct: BTreeSet<_> = values.iter().collect();
    need(distinct.len() == values.len(), || format!("{field} holds duplicates"))?;
    Ok(values)
}

fn sorted_strings(mut values: Vec<&str>) -> Value {
    values.sort_unstable();
    json!(values)
}
