//! What differs between two traces of the conformance dataset, as Tempo tells it.

use anyhow::{Context, Result};
use conformance::{Dataset, Target, base_for_now, ingest};
use serde_json::{Value, json};

use crate::server::Server;

async fn ask(target: &Target, method: &str, body: &Value) -> Result<(u16, String)> {
    let body = body.to_string();
    let answer = target.http(&target.api, method, "/api/v2/traces/diff", &[], Some(body.as_bytes())).await?;
    Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
}

/// The same JSON with every number as a float: `1` and `1.0` are the same.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        other => other.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_of_traces_are_those_of_tempo() -> Result<()> {
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/trace_diff.json");
    let recorded: Value = serde_json::from_str(&std::fs::read_to_string(recorded)?)?;
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "").await?;
    let target = server.target();
    ingest(&target, &Dataset::load(base_for_now())?).await?;
    let request = |format: &str| {
        let mut request = recorded["request"].clone();
        request["format"] = json!(format);
        request
    };
    for (format, expected) in recorded["answers"].as_object().context("no answers")? {
        let (status, text) = ask(&target, "POST", &request(format)).await?;
        assert_eq!(status, 200, "{text}");
        assert_eq!(plain(&serde_json::from_str(&text)?), plain(expected), "{format}");
    }
    assert_eq!(ask(&target, "GET", &request("trace-patch-v0")).await?, (405, "Method Not Allowed".to_owned()));
    assert_eq!(ask(&target, "POST", &json!({})).await?, (400, "base.traceId is required".to_owned()));
    let mut unknown = request("");
    unknown["compare"]["traceId"] = json!("dead0000beef");
    assert_eq!(ask(&target, "POST", &unknown).await?, (404, "Not Found".to_owned()));
    Ok(())
}
