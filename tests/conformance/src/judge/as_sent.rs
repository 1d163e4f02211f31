//! A trace may come back as the reference gives it or as the client sent it.

use serde_json::Value;

use crate::json::{Object, equal};

/// The answer with every value put right that is just what was sent, where the reference gives less or something else.
///
/// The reference drops span flags and schema URLs, cuts long values and drops empty service names. What the reference gives must
/// not be missing: nothing is added to the answer here.
pub fn as_sent(want: &Value, got: &Value, sent: Option<&Value>) -> Value {
    match (want, got, sent) {
        (Value::Object(want), Value::Object(got), sent) => {
            Value::Object(fields_as_sent(want, got, sent.and_then(Value::as_object)))
        }
        (Value::Array(want), Value::Array(got), Some(Value::Array(sent)))
            if want.len() == got.len() && got.len() == sent.len() =>
        {
            let items = want.iter().zip(got).zip(sent);
            Value::Array(items.map(|((want, got), sent)| as_sent(want, got, Some(sent))).collect())
        }
        (_, _, Some(sent)) if !sent.is_null() && equal(got, sent) => want.clone(),
        _ => got.clone(),
    }
}

fn fields_as_sent(want: &Object, got: &Object, sent: Option<&Object>) -> Object {
    let mut out = Object::new();
    for (key, given) in got {
        let sent = sent.and_then(|fields| fields.get(key));
        match want.get(key) {
            Some(want) => drop(out.insert(key.clone(), as_sent(want, given, sent))),
            None if sent.is_some_and(|sent| equal(given, sent)) => {}
            None => drop(out.insert(key.clone(), given.clone())),
        }
    }
    out
}
