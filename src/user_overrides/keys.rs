//! Which keys tenants may set: Tempo's, and which of them change something here.

use serde_json::{Map, Value};

/// The keys with a value. What lies below one is its own affair.
const KEYS: &[&str] = &[
    "forwarders",
    "cost_attribution.dimensions",
    "metrics_generator.processors",
    "metrics_generator.disable_collection",
    "metrics_generator.trace_id_label_name",
    "metrics_generator.ingestion_time_range_slack",
    "metrics_generator.collection_interval",
    "metrics_generator.generate_native_histograms",
    "metrics_generator.native_histogram_max_bucket_number",
    "metrics_generator.native_histogram_bucket_factor",
    "metrics_generator.native_histogram_min_reset_duration",
    "metrics_generator.span_name_sanitization",
    "metrics_generator.processor.service_graphs.dimensions",
    "metrics_generator.processor.service_graphs.enable_client_server_prefix",
    "metrics_generator.processor.service_graphs.enable_virtual_node_label",
    "metrics_generator.processor.service_graphs.peer_attributes",
    "metrics_generator.processor.service_graphs.filter_policies",
    "metrics_generator.processor.service_graphs.histogram_buckets",
    "metrics_generator.processor.service_graphs.span_multiplier_key",
    "metrics_generator.processor.service_graphs.enable_tracestate_span_multiplier",
    "metrics_generator.processor.span_metrics.dimensions",
    "metrics_generator.processor.span_metrics.intrinsic_dimensions",
    "metrics_generator.processor.span_metrics.dimension_mappings",
    "metrics_generator.processor.span_metrics.enable_target_info",
    "metrics_generator.processor.span_metrics.filter_policies",
    "metrics_generator.processor.span_metrics.histogram_buckets",
    "metrics_generator.processor.span_metrics.target_info_excluded_dimensions",
    "metrics_generator.processor.span_metrics.enable_instance_label",
    "metrics_generator.processor.span_metrics.span_multiplier_key",
    "metrics_generator.processor.span_metrics.enable_tracestate_span_multiplier",
    "metrics_generator.processor.host_info.host_identifiers",
    "metrics_generator.processor.host_info.metric_name",
];

/// Keys of `metrics_generator` that are kept and change nothing: the generator of a process has one interval and one kind of
/// histogram.
const NOT_APPLIED: &[&str] = &[
    "collection_interval",
    "generate_native_histograms",
    "native_histogram_max_bucket_number",
    "native_histogram_bucket_factor",
    "native_histogram_min_reset_duration",
    "span_name_sanitization",
];

/// Whether settings are of these keys alone.
pub(super) fn check(settings: &Value) -> Result<(), String> {
    match settings {
        Value::Object(settings) => check_below(settings, ""),
        _ => Err("the settings of a tenant are a JSON object".to_owned()),
    }
}

fn check_below(section: &Map<String, Value>, prefix: &str) -> Result<(), String> {
    for (name, value) in section {
        let path = format!("{prefix}{name}");
        if KEYS.contains(&path.as_str()) {
            continue;
        }
        let (below, is_section) = (format!("{path}."), KEYS.iter().any(|key| key.starts_with(&format!("{path}."))));
        match value {
            Value::Object(section) if is_section => check_below(section, &below)?,
            Value::Null if is_section => {}
            _ if is_section => return Err(format!("{path}: an object is expected")),
            _ => return Err(format!("json: unknown field {name:?}")),
        }
    }
    Ok(())
}

/// What of `metrics_generator` changes something.
pub(super) fn applied(generator: &Value) -> Value {
    let mut applied = generator.clone();
    if let Some(applied) = applied.as_object_mut() {
        applied.retain(|name, _| !NOT_APPLIED.contains(&name.as_str()));
    }
    applied
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_of_tempos_keys() {
        let example = json!({"cost_attribution": {}, "metrics_generator": {"processors": ["span-metrics"],
            "collection_interval": "30s", "processor": {"service_graphs": {}, "span_metrics": {"dimensions": ["a"],
            "intrinsic_dimensions": {"span_kind": false}}, "host_info": {}}}});
        assert_eq!(check(&example), Ok(()));
        assert_eq!(applied(&example["metrics_generator"]).get("collection_interval"), None);
        for (settings, problem) in [
            (json!({"ingestion": {"rate_limit_bytes": 1}}), "json: unknown field \"ingestion\""),
            (json!({"metrics_generator": {"max_active_series": 1}}), "json: unknown field \"max_active_series\""),
            (json!({"metrics_generator": []}), "metrics_generator: an object is expected"),
            (json!([]), "the settings of a tenant are a JSON object"),
        ] {
            assert_eq!(check(&settings), Err(problem.to_owned()));
        }
    }
}
