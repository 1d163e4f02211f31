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

/// Keys that change nothing here, and why: a tenant that sets one is told so. Settings that were stored before are kept, and
/// these keys of them are read over. `cost_attribution` is none of them: it is kept without an effect, as by a Tempo whose
/// operator has not set `distributor.usage.cost_attribution.enabled`.
const NOT_APPLIED: &[(&str, &str)] = &[
    ("forwarders", "spans are not forwarded"),
    ("metrics_generator.collection_interval", "all tenants have the interval of the process, which its operator sets"),
    (
        "metrics_generator.native_histogram_min_reset_duration",
        "a native histogram is never reset: with too many buckets, two become one",
    ),
];

/// Whether settings say nothing that changes nothing.
pub(super) fn check_applied(settings: &Value) -> Result<(), String> {
    for (path, reason) in NOT_APPLIED {
        let value = path.split('.').try_fold(settings, |section, name| section.get(name));
        if value.is_some_and(says_something) {
            return Err(format!("{path}: {reason}; leave it out"));
        }
    }
    Ok(())
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        _ => true,
    }
}

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
        let is_applied =
            |name: &str| !NOT_APPLIED.iter().any(|(path, _)| path.strip_prefix("metrics_generator.") == Some(name));
        applied.retain(|name, _| is_applied(name));
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
        assert!(check_applied(&example).unwrap_err().contains("metrics_generator.collection_interval: all tenants"));
        for (settings, is_applied) in [
            (json!({"forwarders": [], "cost_attribution": {"dimensions": {}}}), true),
            (
                json!({"metrics_generator": {"generate_native_histograms": "both", "span_name_sanitization": "enabled"}}),
                true,
            ),
            (json!({"metrics_generator": {"collection_interval": null}}), true),
            (json!({"cost_attribution": {"dimensions": {"host.name": "host_name"}}}), true),
            (json!({"forwarders": ["a"]}), false),
            (json!({"metrics_generator": {"native_histogram_min_reset_duration": "5m"}}), false),
        ] {
            assert_eq!(check_applied(&settings).is_ok(), is_applied, "{settings}");
        }
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
