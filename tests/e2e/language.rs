//! The corpus of queries over HTTP, on data that makes some of them fail: each is answered or refused as it should be.

use anyhow::{Context, Result};
use conformance::Target;
use serde_json::{Value, json};

use crate::server::Server;

/// Spans whose attributes have every type, in a trace with two names.
fn fixture() -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    let array = |values: &[Value]| json!({"arrayValue": {"values": values}});
    let attributes = json!([
        {"key": "zz.text", "value": {"stringValue": "abc"}},
        {"key": "zz.num", "value": {"intValue": "3"}},
        {"key": "zz.nums", "value": array(&[json!({"intValue": "1"}), json!({"intValue": "2"})])},
        {"key": "zz.list", "value": array(&["p", "q", "r"].map(|text| json!({"stringValue": text})))},
    ]);
    let span = |id: u8, name: &str| {
        json!({
            "traceId": "000102030405060708090a0b0c0d0e0f", "spanId": format!("{id:016x}"), "name": name,
            "parentSpanId": if id == 1 { "" } else { "0000000000000001" }, "attributes": attributes,
            "startTimeUnixNano": now.to_string(), "endTimeUnixNano": (now + 1000).to_string(),
        })
    };
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [span(1, "one"), span(2, "two")]}]}]})
}

/// Status and body of a query.
async fn ask(target: &Target, endpoint: &str, query: &str) -> Result<(u16, String)> {
    let path = if endpoint == "metrics" { "/api/metrics/query_range?step=60s&q=" } else { "/api/search?q=" };
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let response = target.get(&format!("{path}{encoded}")).await?;
    Ok((response.status, String::from_utf8(response.body)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_corpus_falls_into_its_category() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "").await?;
    let target = server.target();
    let headers = [("Content-Type".to_owned(), "application/json".to_owned())];
    let body = fixture().to_string();
    let stored = target.http(&target.otlp, "POST", "/v1/traces", &headers, Some(body.as_bytes())).await?;
    assert_eq!(stored.status, 200);

    let corpus: Value = serde_saphyr::from_str(include_str!("../../traceql/tests/examples.yaml"))?;
    let examples = |category: &str| corpus[category].as_array().cloned().context("a category of the corpus");
    let mut asked = 0;
    for (category, status) in [("valid", 200), ("parse_error", 400), ("validation_error", 400), ("runtime_error", 0)] {
        for example in examples(category)? {
            let text = |name: &str| example[name].as_str().unwrap_or_default();
            let (got, body) = ask(&target, text("endpoint"), text("query")).await?;
            match category {
                // newer than the reference: arithmetic is not a query, but a metrics endpoint takes it
                _ if !text("answered_by_metrics_since").is_empty() => assert_eq!(got, 200, "{}: {body}", text("query")),
                // what the reference cannot compute is refused with its words, or simply not a match
                "runtime_error" => {
                    let is_refused = got == 400 && body.contains(text("error_contains"));
                    assert!(is_refused || got == 200, "{}: {got} {body}", text("query"));
                }
                "valid" => assert_eq!(got, status, "{}: {body}", text("query")),
                "parse_error" => {
                    let advice = body.strip_prefix(text("error"));
                    let is_advised = advice.is_some_and(|advice| advice.is_empty() || advice.starts_with("; "));
                    assert!(got == status && is_advised, "{}: {got} {body}", text("query"));
                }
                _ => assert_eq!((got, body.as_str()), (status, text("error")), "{}", text("query")),
            }
            asked += 1;
        }
    }
    assert!(asked > 370, "{asked} queries");
    Ok(())
}
