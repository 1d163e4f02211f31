#!/usr/bin/env python3
"""Writes the Grafana dashboards of dashboards/, and the PrometheusRule of k8s/monitoring from alerts.yaml.

    python3 deploy/monitoring/dashboards.py

Owns what the dashboards show: one table of panels a dashboard, each with its queries. The JSON beside it is what Grafana
loads; the end-to-end tests fail when it is not what this program writes. Standard library only.
"""

import json
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROMETHEUS_RULE = HERE.parents[1] / "k8s" / "monitoring" / "prometheus-rule.yaml"
WIDTH, HEIGHT = 12, 8

# Every query is of one scrape job and of the instances chosen above the panels.
HERE_ONLY = 'job=~"$job", instance=~"$instance"'
QUERY_ROUTES = 'route=~"api_.*|/tempopb.*"'
PUSH_ROUTES = 'route=~"v1_traces|/opentelemetry.*"'


def rate(metric: str, *matchers: str) -> str:
    return f"rate({metric}{{{', '.join([HERE_ONLY, *matchers])}}}[$__rate_interval])"


def now(metric: str, *matchers: str) -> str:
    return f"{metric}{{{', '.join([HERE_ONLY, *matchers])}}}"


def quantile(part: float, metric: str, by: str = "", *matchers: str) -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({part}, sum by ({labels}) ({rate(metric + '_bucket', *matchers)}))"


def share(of: str, by: str, *matchers: str) -> str:
    """The share of requests that ended with one of the status codes `of`; 0 where there was none."""
    total = f"sum by ({by}) ({rate('tempo_request_duration_seconds_count', *matchers)})"
    failed = f"sum by ({by}) ({rate('tempo_request_duration_seconds_count', f'status_code=~{chr(34)}{of}{chr(34)}', *matchers)})"
    return f"({failed} or 0 * {total}) / {total}"


def or_zero(query: str) -> str:
    """For counters whose series appear with the first thing counted."""
    return f"{query} or vector(0)"


def panel(title: str, unit: str, *targets: tuple[str, str], about: str = "") -> dict:
    return {"title": title, "unit": unit, "targets": targets, "about": about}


READS = [
    panel(
        "Queries", "reqps", (f"sum by (op, result) ({rate('tempo_query_frontend_queries_total')})", "{{op}} {{result}}")
    ),
    panel(
        "Failed requests",
        "percentunit",
        (share("5..", "route", QUERY_ROUTES), "{{route}}"),
        about="Share of requests that were answered with 5xx.",
    ),
    panel(
        "Latency, half of the requests",
        "s",
        (quantile(0.5, "tempo_request_duration_seconds", "route", QUERY_ROUTES), "{{route}}"),
    ),
    panel(
        "Latency, 99 of 100 requests",
        "s",
        (quantile(0.99, "tempo_request_duration_seconds", "route", QUERY_ROUTES), "{{route}}"),
    ),
    panel(
        "Requests",
        "reqps",
        (
            f"sum by (route, status_code) ({rate('tempo_request_duration_seconds_count', QUERY_ROUTES)})",
            "{{route}} {{status_code}}",
        ),
    ),
    panel(
        "Requests being answered",
        "short",
        (f"sum by (route) ({now('tempo_inflight_requests', QUERY_ROUTES)})", "{{route}}"),
    ),
    panel("Bytes inspected", "Bps", (f"sum by (op) ({rate('tempo_query_frontend_bytes_inspected_total')})", "{{op}}")),
    panel(
        "Spans looked at by a query",
        "short",
        (quantile(0.5, "tempo_querier_spans_per_query"), "half"),
        (quantile(0.99, "tempo_querier_spans_per_query"), "99 of 100"),
    ),
    panel(
        "Found in caches",
        "percentunit",
        (
            f"sum by (cache) ({rate('mosso_cache_requests_total', 'outcome=%shit%s' % (chr(34), chr(34)))})"
            f" / (sum by (cache) ({rate('mosso_cache_requests_total')}) > 0)",
            "{{cache}}",
        ),
    ),
    panel(
        "Bytes read from the store",
        "Bps",
        (f"sum by (instance) ({rate('mosso_backend_read_bytes_total')})", "{{instance}}"),
    ),
    panel(
        "Requests to the store",
        "reqps",
        (
            f"sum by (operation, status_code) ({rate('tempodb_backend_request_duration_seconds_count')})",
            "{{operation}} {{status_code}}",
        ),
    ),
    panel(
        "Latency of the store, 99 of 100 requests",
        "s",
        (quantile(0.99, "tempodb_backend_request_duration_seconds", "operation"), "{{operation}}"),
    ),
]

WRITES = [
    panel(
        "Spans received",
        "short",
        (f"sum by (instance) ({rate('tempo_distributor_spans_received_total')})", "{{instance}}"),
        about="Spans a second that were acknowledged.",
    ),
    panel(
        "Bytes received",
        "Bps",
        (f"sum by (instance) ({rate('tempo_distributor_bytes_received_total')})", "{{instance}}"),
    ),
    panel(
        "Time to acknowledge",
        "s",
        (quantile(0.5, "tempo_distributor_push_duration_seconds"), "half"),
        (quantile(0.99, "tempo_distributor_push_duration_seconds"), "99 of 100"),
        about="From a checked request until its spans are in the synced log.",
    ),
    panel(
        "Failed requests",
        "percentunit",
        (share("5..|4..|error", "route", PUSH_ROUTES), "{{route}}"),
        about="Share of OTLP requests that were not acknowledged.",
    ),
    panel(
        "Requests",
        "reqps",
        (
            f"sum by (route, status_code) ({rate('tempo_request_duration_seconds_count', PUSH_ROUTES)})",
            "{{route}} {{status_code}}",
        ),
    ),
    panel(
        "Spans by transport",
        "short",
        (f"sum by (transport) ({rate('tempo_receiver_accepted_spans')})", "accepted {{transport}}"),
        (or_zero(f"sum by (transport) ({rate('tempo_receiver_refused_spans')})"), "refused {{transport}}"),
    ),
    panel(
        "Spans discarded", "short", (or_zero(f"sum by (reason) ({rate('tempo_discarded_spans_total')})"), "{{reason}}")
    ),
    panel(
        "Spans received again",
        "short",
        (or_zero(f"sum by (tenant) ({rate('mosso_ingester_span_copies_total')})"), "{{tenant}}"),
        about="Spans that a client sent once more; they are stored once.",
    ),
    panel("Write-ahead log", "bytes", (f"sum by (instance) ({now('mosso_ingester_log_bytes')})", "{{instance}}")),
    panel(
        "Log writes that failed",
        "short",
        (f"sum by (instance) ({rate('mosso_ingester_log_failures_total')})", "{{instance}}"),
    ),
    panel(
        "Blocks flushed",
        "short",
        (
            f"sum by (instance) (increase({now('tempo_ingester_blocks_flushed_total')}[$__rate_interval]))",
            "flushed {{instance}}",
        ),
        (
            f"sum by (instance) (increase({now('tempo_ingester_failed_flushes_total')}[$__rate_interval]))",
            "failed {{instance}}",
        ),
    ),
    panel(
        "Time to flush a block",
        "s",
        (quantile(0.5, "tempo_ingester_flush_duration_seconds"), "half"),
        (quantile(0.99, "tempo_ingester_flush_duration_seconds"), "99 of 100"),
    ),
    panel("Size of flushed blocks", "bytes", (quantile(0.5, "tempo_ingester_flush_size_bytes"), "half")),
]

RESOURCES = [
    panel(
        "CPU",
        "short",
        (f"sum by (instance) ({rate('process_cpu_seconds_total')})", "{{instance}}"),
        about="Cores in use.",
    ),
    panel(
        "Memory",
        "bytes",
        (f"sum by (instance) ({now('process_resident_memory_bytes')})", "resident {{instance}}"),
        (f"sum by (instance) ({now('mosso_memory_budget_bytes')})", "budget {{instance}}"),
        about="The budget is what mosso divides: three fifths of the limit, unless the configuration says otherwise.",
    ),
    panel("Memory budget by part", "bytes", (f"sum by (part) ({now('mosso_memory_budget_bytes')})", "{{part}}")),
    panel("Caches", "bytes", (f"sum by (cache) ({now('mosso_cache_bytes')})", "{{cache}}")),
    panel("Evictions from caches", "short", (f"sum by (cache) ({rate('mosso_cache_evictions_total')})", "{{cache}}")),
    panel(
        "Open files and sockets",
        "short",
        (f"sum by (instance) ({now('process_open_fds')})", "open {{instance}}"),
        (f"sum by (instance) ({now('process_max_fds')})", "limit {{instance}}"),
    ),
    panel(
        "Write-ahead log, segments",
        "short",
        (f"sum by (instance) ({now('mosso_ingester_log_segments')})", "{{instance}}"),
    ),
    panel(
        "Bytes at rest",
        "bytes",
        (f"max by (status) (sum by (instance, status) ({now('tempodb_backend_bytes_total')}))", "{{status}}"),
        about="Each process of one store says the same, so the largest counts.",
    ),
    panel(
        "Requests being answered", "short", (f"sum by (instance) ({now('tempo_inflight_requests')})", "{{instance}}")
    ),
    panel(
        "Time since the start",
        "s",
        (f"time() - max by (instance) ({now('process_start_time_seconds')})", "{{instance}}"),
    ),
]

TENANTS = [
    panel(
        "Spans received", "short", (f"sum by (tenant) ({rate('tempo_distributor_spans_received_total')})", "{{tenant}}")
    ),
    panel(
        "Bytes received", "Bps", (f"sum by (tenant) ({rate('tempo_distributor_bytes_received_total')})", "{{tenant}}")
    ),
    panel(
        "Bytes before any limit",
        "Bps",
        (f"sum by (tenant) ({rate('tempo_distributor_ingress_bytes_total')})", "{{tenant}}"),
    ),
    panel(
        "Spans discarded",
        "short",
        (or_zero(f"sum by (tenant, reason) ({rate('tempo_discarded_spans_total')})"), "{{tenant}} {{reason}}"),
    ),
    panel(
        "Queries", "reqps", (f"sum by (tenant, op) ({rate('tempo_query_frontend_queries_total')})", "{{tenant}} {{op}}")
    ),
    panel(
        "Bytes inspected",
        "Bps",
        (f"sum by (tenant) ({rate('tempo_query_frontend_bytes_inspected_total')})", "{{tenant}}"),
    ),
    panel("Blocks", "short", (f"max by (tenant) ({now('tempodb_blocklist_length')})", "{{tenant}}")),
    panel(
        "Bytes at rest",
        "bytes",
        (f"max by (tenant, status) ({now('tempodb_backend_bytes_total')})", "{{tenant}} {{status}}"),
    ),
    panel(
        "Blocks that wait to be compacted",
        "short",
        (f"max by (tenant) ({now('tempodb_compaction_outstanding_blocks')})", "{{tenant}}"),
    ),
    panel(
        "Age of the block list",
        "s",
        (f"max by (tenant) ({now('tempodb_blocklist_tenant_index_age_seconds')})", "{{tenant}}"),
    ),
]

COMPACTION = [
    panel("Blocks", "short", (f"max by (tenant) ({now('tempodb_blocklist_length')})", "{{tenant}}")),
    panel(
        "Blocks that wait to be compacted",
        "short",
        (f"max by (tenant) ({now('tempodb_compaction_outstanding_blocks')})", "{{tenant}}"),
    ),
    panel(
        "Blocks compacted", "short", (f"sum by (level) ({rate('tempodb_compaction_blocks_total')})", "level {{level}}")
    ),
    panel(
        "Bytes written",
        "Bps",
        (f"sum by (level) ({rate('tempodb_compaction_bytes_written_total')})", "level {{level}}"),
    ),
    panel(
        "Traces written",
        "short",
        (f"sum by (level) ({rate('tempodb_compaction_objects_written_total')})", "written, level {{level}}"),
        (
            f"sum by (level) ({rate('tempodb_compaction_objects_combined_total')})",
            "from several blocks, level {{level}}",
        ),
    ),
    panel(
        "Copies of spans left out",
        "short",
        (f"sum by (instance) ({rate('tempodb_compaction_spans_deduped_total')})", "{{instance}}"),
    ),
    panel(
        "Jobs that failed, blocks that are damaged",
        "short",
        (
            f"sum by (instance) (increase({now('tempodb_compaction_errors_total')}[$__rate_interval]))",
            "failed {{instance}}",
        ),
        (
            f"sum by (instance) (increase({now('mosso_compaction_damaged_blocks_total')}[$__rate_interval]))",
            "damaged {{instance}}",
        ),
    ),
    panel(
        "Bytes at rest",
        "bytes",
        (f"max by (status) (sum by (instance, status) ({now('tempodb_backend_bytes_total')}))", "{{status}}"),
    ),
    panel(
        "Retention",
        "short",
        (
            f"sum by (instance) (increase({now('tempodb_retention_marked_for_deletion_total')}[$__rate_interval]))",
            "marked {{instance}}",
        ),
        (
            f"sum by (instance) (increase({now('tempodb_retention_deleted_total')}[$__rate_interval]))",
            "deleted {{instance}}",
        ),
        (
            f"sum by (instance) (increase({now('tempodb_retention_errors_total')}[$__rate_interval]))",
            "failed {{instance}}",
        ),
    ),
    panel(
        "Manifests: conflicts of two writers, polls that failed",
        "short",
        (f"sum by (instance) ({rate('mosso_manifest_commit_conflicts_total')})", "conflicts {{instance}}"),
        (or_zero(f"sum by (instance) ({rate('tempodb_blocklist_poll_errors_total')})"), "failed polls {{instance}}"),
    ),
    panel("Trace maps", "short", (f"max by (tenant) ({now('mosso_trace_maps')})", "{{tenant}}")),
    panel(
        "Damaged files met", "short", (or_zero(f"sum by (file) ({rate('mosso_storage_damaged_total')})"), "{{file}}")
    ),
]

# Of several processes over one bucket. Each panel has 0 where there is one alone.
CLUSTER = [
    panel(
        "Writers that queries ask",
        "short",
        (or_zero(f"max by (instance) ({now('mosso_cluster_writers')})"), "{{instance}}"),
    ),
    panel(
        "Queries that lacked live spans",
        "short",
        (or_zero(f"sum by (instance) ({rate('mosso_peer_partial_views_total')})"), "{{instance}}"),
        about="Their answers say that they are partial, and whose spans are missing.",
    ),
    panel(
        "Calls to other processes",
        "reqps",
        (or_zero(f"sum by (method, outcome) ({rate('mosso_peer_requests_total')})"), "{{method}} {{outcome}}"),
    ),
    panel(
        "Logs of silent writers that were read",
        "short",
        (or_zero(f"sum by (instance) ({rate('mosso_peer_read_logs_total')})"), "{{instance}}"),
        about="From the bucket, because the writer did not answer; ends some 20 seconds after it died.",
    ),
    panel(
        "Parts of queries given to others",
        "short",
        (or_zero(f"sum by (outcome) ({rate('mosso_query_jobs_total')})"), "{{outcome}}"),
        (or_zero(f"sum by (instance) ({rate('mosso_query_jobs_done_for_others_total')})"), "done by {{instance}}"),
    ),
    panel(
        "Bytes from other processes",
        "Bps",
        (or_zero(f"sum by (instance) ({rate('mosso_peer_received_bytes_total')})"), "{{instance}}"),
    ),
    panel(
        "Log on the bucket: requests",
        "reqps",
        (or_zero(f"sum by (operation) ({rate('mosso_bucket_log_requests_total')})"), "{{operation}}"),
    ),
    panel(
        "Log on the bucket: age of the put under way",
        "s",
        (f"max by (instance) ({now('mosso_bucket_log_put_age_seconds')})", "{{instance}}"),
        about="More than 5 s: the writer refuses spans until the store takes it.",
    ),
    panel(
        "Log on the bucket: bytes",
        "Bps",
        (or_zero(f"sum by (job) ({rate('mosso_bucket_log_raw_bytes_total')})"), "taken"),
        (or_zero(f"sum by (job) ({rate('mosso_bucket_log_stored_bytes_total')})"), "stored"),
        (or_zero(f"sum by (job) ({rate('mosso_bucket_log_read_bytes_total')})"), "read from others"),
    ),
]

DASHBOARDS = {
    "reads": READS,
    "writes": WRITES,
    "resources": RESOURCES,
    "tenants": TENANTS,
    "compaction": COMPACTION,
    "cluster": CLUSTER,
}

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard(name: str, panels: list[dict]) -> dict:
    return {
        "uid": f"mosso-{name}",
        "title": f"mosso / {name}",
        "tags": ["mosso"],
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [
            {
                "type": "dashboards",
                "title": "mosso",
                "tags": ["mosso"],
                "asDropdown": True,
                "icon": "external link",
                "tooltip": "",
                "targetBlank": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "annotations": {"list": []},
        "templating": {"list": variables()},
        "panels": [graph(number, entry) for number, entry in enumerate(panels)],
    }


def variables() -> list[dict]:
    def labels(name: str, query: str) -> dict:
        everything = {"text": "All", "value": "$__all"}
        return {
            "name": name,
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".+",
            "current": everything,
        }

    default = {"text": "default", "value": "default"}
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source", "current": default},
        labels("job", "label_values(mosso_memory_budget_bytes, job)"),
        labels("instance", 'label_values(mosso_memory_budget_bytes{job=~"$job"}, instance)'),
    ]


def graph(number: int, entry: dict) -> dict:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": entry["title"],
        "description": entry["about"],
        "datasource": DATASOURCE,
        "gridPos": {"x": number % 2 * WIDTH, "y": number // 2 * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {
            "defaults": {"unit": entry["unit"], "min": 0, "custom": {"fillOpacity": 10, "showPoints": "never"}},
            "overrides": [],
        },
        "options": {
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": DATASOURCE, "expr": expression, "legendFormat": legend}
            for place, (expression, legend) in enumerate(entry["targets"])
        ],
    }


def prometheus_rule() -> str:
    """The rules of alerts.yaml as an object of the Prometheus operator."""
    header = """\
        # Written by deploy/monitoring/dashboards.py from deploy/monitoring/alerts.yaml: change that one.
        apiVersion: monitoring.coreos.com/v1
        kind: PrometheusRule
        metadata:
          name: mosso
          labels:
            app.kubernetes.io/name: mosso
        spec:
        """
    rules = (HERE / "alerts.yaml").read_text()
    return textwrap.dedent(header) + textwrap.indent(rules[rules.index("groups:") :], "  ")


def files() -> dict[Path, str]:
    """Every file that this program writes, with its content."""
    written = {
        HERE / "dashboards" / f"{name}.json": json.dumps(dashboard(name, panels), indent=2) + "\n"
        for name, panels in DASHBOARDS.items()
    }
    return {**written, PROMETHEUS_RULE: prometheus_rule()}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
        print(path)
