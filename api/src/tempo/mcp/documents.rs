//! What there is to read, as resources and by the tools `docs-traceql` and `docs-config`.

use serde_json::{Value, json};

const MARKDOWN: &str = "text/markdown";

/// A document, under a name for tools and under addresses for readers of resources.
pub(super) struct Document {
    pub name: &'static str,
    uris: &'static [&'static str],
    title: &'static str,
    description: &'static str,
    pub text: &'static str,
}

pub(super) const TRACEQL: [Document; 4] = [
    Document {
        name: "basic",
        // the second is the address that it had first
        uris: &["docs://traceql/basic", "docs://traceql/query"],
        title: "TraceQL: selecting spans",
        description: "Filters, attributes, intrinsics and operators of TraceQL, with examples.",
        text: include_str!("docs/basic.md"),
    },
    Document {
        name: "aggregates",
        uris: &["docs://traceql/aggregates"],
        title: "TraceQL: aggregates and pipelines",
        description: "count, sum, avg, min, max, by and select over the spans of a trace.",
        text: include_str!("docs/aggregates.md"),
    },
    Document {
        name: "structural",
        uris: &["docs://traceql/structural"],
        title: "TraceQL: structure",
        description: "Queries about how spans stand to each other: parents, children, descendants, siblings.",
        text: include_str!("docs/structural.md"),
    },
    Document {
        name: "metrics",
        uris: &["docs://traceql/metrics"],
        title: "TraceQL: metrics",
        description: "Rates, counts, quantiles, histograms and comparisons computed from spans.",
        text: include_str!("docs/metrics.md"),
    },
];

pub(super) const CONFIG: [Document; 2] = [
    Document {
        name: "config-overview",
        uris: &["docs://config/overview"],
        title: "Configuration: overview",
        description: "Which section of the configuration decides what.",
        text: include_str!("docs/config-overview.md"),
    },
    Document {
        name: "config-reference",
        uris: &["docs://config/reference"],
        title: "Configuration: reference",
        description: "Every key with its meaning and default.",
        text: include_str!("../../../../docs/configuration.md"),
    },
];

fn all() -> impl Iterator<Item = (&'static str, &'static Document)> {
    let documents = CONFIG.iter().chain(&TRACEQL);
    documents.flat_map(|document| document.uris.iter().map(move |uri| (*uri, document)))
}

pub(super) fn listed() -> Vec<Value> {
    let resource = |(uri, document): (&str, &Document)| json!({ "uri": uri, "name": document.title, "description": document.description, "mimeType": MARKDOWN });
    all().map(resource).collect()
}

pub(super) fn read(uri: &str) -> Option<Value> {
    let (uri, document) = all().find(|(known, _)| *known == uri)?;
    Some(json!({ "contents": [{ "uri": uri, "mimeType": MARKDOWN, "text": document.text }] }))
}
