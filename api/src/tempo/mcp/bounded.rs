//! A document of JSON → the same, or as much of it as fits. What is left out is counted, so that nobody takes a part for
//! the whole.

use serde_json::{Map, Value};

/// A document in a size that can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fitted {
    pub text: String,
    /// What was done to make it fit; empty for a document that is as it was.
    pub left_out: Vec<String>,
}

/// Texts are cut to these lengths, one after the other, before anything is left out.
const TEXT_BYTES: [usize; 3] = [2_000, 400, 100];

/// The document itself when it is small enough. Else its long texts are cut, then the tails of its long lists.
pub(super) fn fit(document: String, max_bytes: usize) -> Fitted {
    if document.len() <= max_bytes {
        return Fitted { text: document, left_out: Vec::new() };
    }
    let Ok(mut value) = serde_json::from_str::<Value>(&document) else {
        return Fitted { text: head(&document, max_bytes).to_owned(), left_out: vec!["its end".to_owned()] };
    };
    let mut left_out = Vec::new();
    let mut text = document;
    for bytes in TEXT_BYTES {
        let cut = cut_texts(&mut value, bytes);
        text = value.to_string();
        if cut > 0 {
            left_out = vec![format!("the ends of texts that are longer than {bytes} bytes")];
        }
        if text.len() <= max_bytes {
            return Fitted { text, left_out };
        }
    }
    sort_spans(&mut value);
    let mut dropped = Map::new();
    while let longest @ 2.. = longest_list(&value) {
        cut_lists("", &mut value, longest / 2, &mut dropped);
        text = value.to_string();
        if text.len() <= max_bytes {
            break;
        }
    }
    left_out.extend(dropped.iter().map(|(name, count)| format!("{count} of \"{name}\"")));
    Fitted { text, left_out }
}

fn head(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn cut_texts(value: &mut Value, bytes: usize) -> usize {
    match value {
        Value::String(text) if text.len() > bytes => {
            let rest = text.len() - head(text, bytes).len();
            *text = format!("{}… ({rest} bytes more)", head(text, bytes));
            1
        }
        Value::Array(list) => list.iter_mut().map(|value| cut_texts(value, bytes)).sum(),
        Value::Object(object) => object.values_mut().map(|value| cut_texts(value, bytes)).sum(),
        _ => 0,
    }
}

fn longest_list(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.iter().map(longest_list).max().unwrap_or_default().max(list.len()),
        Value::Object(object) => object.values().map(longest_list).max().unwrap_or_default(),
        _ => 0,
    }
}

/// Counts what goes under the name of the list.
fn cut_lists(name: &str, value: &mut Value, length: usize, dropped: &mut Map<String, Value>) {
    match value {
        Value::Array(list) => {
            if list.len() > length {
                let known = dropped.get(name).and_then(Value::as_u64).unwrap_or_default();
                dropped.insert(name.to_owned(), (known + (list.len() - length) as u64).into());
                list.truncate(length);
            }
            list.iter_mut().for_each(|value| cut_lists(name, value, length, dropped));
        }
        Value::Object(object) => object.iter_mut().for_each(|(name, value)| cut_lists(name, value, length, dropped)),
        _ => {}
    }
}

/// Of a trace the spans come first that failed, then the longest: the others are left out first.
fn sort_spans(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(sort_spans),
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::Array(spans) if name == "spans" => spans.sort_by_cached_key(|span| {
                        let has_failed = span["status"]["code"] == "STATUS_CODE_ERROR";
                        let micros = (span["durationMs"].as_f64().unwrap_or_default() * 1e3) as u64;
                        (!has_failed, std::cmp::Reverse(micros))
                    }),
                    other => sort_spans(other),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_is_as_it_was() {
        let text = r#"{"b": 1,  "a": [1]}"#.to_owned();
        assert_eq!(fit(text.clone(), 100), Fitted { text, left_out: Vec::new() });
    }

    #[test]
    fn long_texts_are_cut_first() {
        let text = json!({"prompt": "ы".repeat(4_000), "name": "chat"}).to_string();
        let fitted = fit(text, 5_000);
        let value: Value = serde_json::from_str(&fitted.text).unwrap();
        assert_eq!(value["name"], "chat");
        assert!(value["prompt"].as_str().unwrap().ends_with("ы… (6000 bytes more)"), "{value}");
        assert_eq!(fitted.left_out, ["the ends of texts that are longer than 2000 bytes"]);
    }

    #[test]
    fn of_a_large_trace_failed_and_long_spans_stay() {
        let span = |id: usize| match id {
            999 => json!({"id": id, "durationMs": 0.0, "status": {"code": "STATUS_CODE_ERROR"}}),
            _ => json!({"id": id, "durationMs": id as f64 / 10.0, "status": {"code": "STATUS_CODE_UNSET"}}),
        };
        let spans: Vec<Value> = (0..1000).map(span).collect();
        let fitted = fit(json!({"services": [{"spans": spans}]}).to_string(), 10_000);
        assert!(fitted.text.len() <= 10_000);
        let value: Value = serde_json::from_str(&fitted.text).unwrap();
        let ids: Vec<u64> =
            value["services"][0]["spans"].as_array().unwrap().iter().map(|s| s["id"].as_u64().unwrap()).collect();
        assert_eq!(ids[..3], [999, 998, 997]);
        assert_eq!(fitted.left_out, [format!("{} of \"spans\"", 1000 - ids.len())]);
    }
}
