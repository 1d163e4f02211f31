//! OTLP on the way in: what is accepted, what is refused and how, and whether it can be read afterwards.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use prost::Message;
use serde_json::{Value, json};

use crate::canonical::{canonical_trace, media_type, relative_times};
use crate::case::{Form, Upload};
use crate::dataset::Dataset;
use crate::http::Response;
use crate::json::{self, Malformed, Object};
use crate::otlp;
use crate::placeholder::absolute;
use crate::proto::{self, Enums, messages};
use crate::target::Target;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// How often, and how many times, to look whether a trace is there.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOKS: usize = 40;

pub async fn ask_upload(target: &Target, dataset: &Dataset, upload: &Upload) -> Result<Object> {
    let message = message(dataset, upload)?;
    let mut answer = match upload.form {
        Form::Grpc => over_grpc(target, &message).await?,
        Form::Proto | Form::Json => over_http(target, dataset, upload, &message).await?,
    };
    if let Some(stored) = upload.stored {
        let id = trace_id(dataset, upload)?;
        answer.insert("stored".into(), stored_trace(target, dataset, id, stored).await?);
    }
    Ok(answer)
}

fn trace_id<'a>(dataset: &'a Dataset, upload: &'a Upload) -> Result<&'a str> {
    match &upload.trace_id {
        Some(id) => Ok(id),
        None => Ok(&dataset.probe(upload.probe.context("no probe and no trace_id")?)?.id),
    }
}

fn message(dataset: &Dataset, upload: &Upload) -> Result<ExportTraceServiceRequest> {
    let Some(number) = upload.probe else { return Ok(ExportTraceServiceRequest::default()) };
    otlp::probe_request(dataset.base, number, trace_id(dataset, upload)?, &dataset.probe(number)?.span)
}

async fn over_grpc(target: &Target, message: &ExportTraceServiceRequest) -> Result<Object> {
    let mut answer = Object::new();
    answer.insert("type".into(), json!("grpc"));
    match target.otlp_grpc()?.unary(EXPORT, message.encode_to_vec()).await? {
        Ok(messages) => {
            answer.insert("status".into(), json!(0));
            let body = messages.first().context("a call without an answer")?;
            answer.insert("body".into(), Value::Object(proto::decode(&messages::EXPORT_RESPONSE, body, Enums::Names)?));
        }
        Err((code, text)) => {
            answer.insert("status".into(), json!(code));
            answer.insert("text".into(), json!(text));
        }
    }
    Ok(answer)
}

async fn over_http(
    target: &Target,
    dataset: &Dataset,
    upload: &Upload,
    message: &ExportTraceServiceRequest,
) -> Result<Object> {
    let mut body = body(dataset, upload, message)?;
    let mut headers = headers(dataset, upload)?;
    if upload.gzip {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(&body)?;
        body = packer.finish()?;
        headers.push(("Content-Encoding".into(), "gzip".into()));
    }
    let method = upload.method.as_deref().unwrap_or("POST");
    let path = upload.path.as_deref().unwrap_or("/v1/traces");
    let response = target.http(&target.otlp, method, path, &headers, Some(&body)).await?;
    let mut answer = Object::new();
    answer.insert("status".into(), json!(response.status));
    answer.insert("type".into(), json!(media_type(response.content_type())));
    match read(&response) {
        Ok((part, value)) => answer.insert(part.into(), value),
        Err(e) => answer.insert("unreadable".into(), json!(format!("{e}; body starts {:?}", start(&response)))),
    };
    Ok(answer)
}

fn start(response: &Response) -> String {
    String::from_utf8_lossy(&response.body[..response.body.len().min(120)]).into_owned()
}

fn body(dataset: &Dataset, upload: &Upload, message: &ExportTraceServiceRequest) -> Result<Vec<u8>> {
    Ok(match upload {
        Upload { text: Some(text), .. } => absolute(text, dataset)?.into_bytes(),
        Upload { base64: Some(text), .. } => BASE64_STANDARD.decode(text)?,
        Upload { repeat: Some(repeat), .. } => repeat.text.repeat(repeat.times).into_bytes(),
        Upload { form: Form::Json, .. } => otlp::to_json(message)?,
        _ => message.encode_to_vec(),
    })
}

/// `Content-Type` comes from the form; a header of the case replaces it, or takes it away with null.
fn headers(dataset: &Dataset, upload: &Upload) -> Result<Vec<(String, String)>> {
    let of_form = if upload.form == Form::Json { "application/json" } else { "application/x-protobuf" };
    let mut headers = Vec::new();
    if !upload.headers.contains_key("Content-Type") {
        headers.push(("Content-Type".to_owned(), of_form.to_owned()));
    }
    for (name, value) in &upload.headers {
        if let Some(value) = value {
            headers.push((name.clone(), absolute(value, dataset)?));
        }
    }
    Ok(headers)
}

/// The decoded body, the code of the error with its text reduced to being there, or plain text.
fn read(response: &Response) -> Result<(&'static str, Value), Malformed> {
    let media = media_type(response.content_type());
    let (is_json, body) = (media.contains("json"), &response.body);
    let from_json = || serde_json::from_slice(body).map_err(|e| Malformed(format!("not JSON: {e}")));
    if response.status == 200 {
        let export = || Ok(Value::Object(proto::decode(&messages::EXPORT_RESPONSE, body, Enums::Names)?));
        return Ok(("body", if is_json { from_json()? } else { export()? }));
    }
    if !is_json && !media.contains("protobuf") {
        return Ok(("text", json!(String::from_utf8_lossy(body))));
    }
    let status: Value =
        if is_json { from_json()? } else { Value::Object(proto::decode(&messages::RPC_STATUS, body, Enums::Names)?) };
    let mut out = Object::new();
    for (name, value) in json::object(&status, "the status")? {
        match name.as_str() {
            "code" => drop(out.insert(name.clone(), value.clone())),
            "message" => drop(out.insert(name.clone(), json!("text"))),
            _ => {}
        }
    }
    Ok(("body", Value::Object(out)))
}

/// The trace with that id, once it is there or not there as it should be, or after the last look.
async fn stored_trace(target: &Target, dataset: &Dataset, id: &str, should_be_there: bool) -> Result<Value> {
    let path = format!("/api/v2/traces/{id}");
    let mut found = None;
    for _ in 0..LOOKS {
        found = trace_in(&target.get(&path).await?)?;
        if found.is_some() == should_be_there {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let Some(trace) = found else { return Ok(json!("no trace")) };
    let trace = relative_times(&trace, dataset.base);
    Ok(Value::Object(canonical_trace(json::object(&trace, "trace")?, "resourceSpans")?))
}

fn trace_in(response: &Response) -> Result<Option<Value>> {
    if response.status != 200 {
        return Ok(None);
    }
    let mut doc: Value = serde_json::from_slice(&response.body).context("read the stored trace")?;
    Ok(doc.get_mut("trace").map(Value::take).filter(|trace| trace.as_object().is_none_or(|t| !t.is_empty())))
}
