//! Sends the request of a case and gives the canonical answer.

mod stream;
mod upload;

use anyhow::{Context, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::canonical::{Reply, canonical};
use crate::case::{Case, Comparator};
use crate::dataset::Dataset;
use crate::json::{Object, map_strings};
use crate::placeholder::absolute;
use crate::target::Target;

/// Why a case is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Check,
    /// To record a golden answer, which holds everything where an answer may hold a part.
    Record,
}

pub async fn ask(target: &Target, dataset: &Dataset, case: &Case, purpose: Purpose) -> Result<Object> {
    if let Some(upload) = &case.send {
        return upload::ask_upload(target, dataset, upload).await;
    }
    if let Some(method) = &case.grpc {
        return stream::ask_stream(target, dataset, case, method).await;
    }
    ask_api(target, dataset, case, purpose).await
}

async fn ask_api(target: &Target, dataset: &Dataset, case: &Case, purpose: Purpose) -> Result<Object> {
    let path = path_and_query(case, dataset, purpose)?;
    let fill = |text: &str| absolute(text, dataset);
    let headers: Vec<_> = case.headers.iter().map(|(k, v)| Ok((k.clone(), fill(v)?))).collect::<Result<_>>()?;
    let body = case.body.as_deref().map(fill).transpose()?;
    let method = case.method.as_deref().unwrap_or("GET");
    let response = target.http(&target.api, method, &path, &headers, body.as_deref().map(str::as_bytes)).await?;
    let status = i64::from(response.status);
    let reply = Reply { status, content_type: response.content_type(), body: &response.body };
    let mut answer = canonical(case, case.ok, &reply, dataset.base);
    if case.compare == Comparator::Header {
        let headers: Object = case.check_headers.iter().map(|h| (h.clone(), json!(response.header(h)))).collect();
        answer.insert("headers".into(), Value::Object(headers));
    }
    Ok(answer)
}

fn path_and_query(case: &Case, dataset: &Dataset, purpose: Purpose) -> Result<String> {
    if let Some(raw) = &case.raw_path {
        return absolute(raw, dataset);
    }
    let mut path = absolute(case.path.as_deref().context("the case has no path")?, dataset)?;
    if let Some(tag) = &case.tag {
        path = path.replace("TAG", &quoted(&absolute(tag, dataset)?));
    }
    let mut query = Vec::new();
    for (name, value) in params(case, purpose) {
        let text = match &value {
            Value::String(text) => absolute(text, dataset)?,
            other => other.to_string(),
        };
        query.push(format!("{}={}", quoted(&name), quoted(&text)));
    }
    Ok(if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) })
}

fn params(case: &Case, purpose: Purpose) -> Object {
    let mut params = case.params.clone();
    let recording = purpose == Purpose::Record;
    if recording && case.compare == Comparator::SearchSome {
        params.insert("limit".into(), json!(1000));
        params.insert("spss".into(), json!(case.record_spss.unwrap_or(100)));
    }
    if let (Comparator::Comparison, Some(Value::String(q)), Some(top)) = (case.compare, params.get_mut("q"), case.top) {
        *q = q.replace("TOP", &if recording { 1000 } else { top }.to_string());
    }
    params
}

/// Percent-encoded but for letters, digits and `-._~`.
fn quoted(text: &str) -> String {
    const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, QUOTED).to_string()
}

/// The same value with its placeholders filled.
fn filled(value: &Value, dataset: &Dataset) -> Result<Value> {
    map_strings(value, &mut |text| absolute(text, dataset))
}
