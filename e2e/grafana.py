"""What Grafana asks for its service graph (of a Prometheus) and its Drilldown app (of Tempo's API), as it asks it."""

import time
from dataclasses import dataclass

from api import Api
from prometheus import Prometheus

EDGE_METRICS = (
    "traces_service_graph_request_server_seconds_sum",
    "traces_service_graph_request_total",
    "traces_service_graph_request_failed_total",
    "traces_service_graph_request_server_seconds_bucket",
)


@dataclass
class ServiceGraph:
    """What the tab shows: edges by client and server, their kinds, and the table of operations below."""

    rates: dict[tuple, float]
    connections: set[tuple]
    operations: dict[tuple, float]
    p90_seconds: dict[str, float]


def service_graph(prometheus: Prometheus, over: str = "5m") -> ServiceGraph:
    """The questions of the service graph tab, in its order, over a range of time that ends now."""
    rates, connections = {}, set()
    for metric in EDGE_METRICS:
        found = prometheus.values(f"sum by (client, server) (rate({metric}{{}}[{over}]))", "client", "server")
        groups = prometheus.values(f"group by (client, connection_type, server) ({metric}{{}})", *CONNECTION)
        if metric == "traces_service_graph_request_total":
            rates, connections = found, set(groups)
    calls = "traces_spanmetrics_calls_total"
    servers = f'topk(5, sum(rate({calls}{{span_kind="SPAN_KIND_SERVER"}}[{over}])) by (span_name))'
    operations = prometheus.values(servers, "span_name")
    names = "|".join(name for (name,) in operations)
    prometheus.query(
        f'topk(5, sum(rate({calls}{{status_code="STATUS_CODE_ERROR",span_name=~"{names}"}}[{over}])) by (span_name))'
    )
    p90_seconds = {}
    for (name,) in operations:
        buckets = f'traces_spanmetrics_latency_bucket{{span_name=~"{name}"}}'
        quantile = f"histogram_quantile(.9, sum(rate({buckets}[{over}])) by (le))"
        p90_seconds[name] = prometheus.values(quantile)[()]
    return ServiceGraph(rates, connections, operations, p90_seconds)


CONNECTION = ("client", "connection_type", "server")

DRILLDOWN_RANGES = (
    "{nestedSetParent<0 && true} | rate() with(sample=true)",
    "{kind=server && true} | rate() with(sample=true)",
    '{span.db.system.name!="" && true} | rate() with(sample=true)',
    "{nestedSetParent<0 && true && status=error && resource.service.name != nil} | rate() by(resource.service.name)",
    "{nestedSetParent<0 && true} | quantile_over_time(duration, 0.9) by(resource.service.name)",
    "{nestedSetParent<0 && true} | histogram_over_time(duration) with(sample=true)",
    "{nestedSetParent<0 && true} | compare({status = error})",
)
DRILLDOWN_SEARCHES = (
    "({nestedSetParent<0 && true} &>> {kind = server}) || ({nestedSetParent<0 && true}) | select(status, "
    "resource.service.name, name, nestedSetParent, nestedSetLeft, nestedSetRight)",
    "{nestedSetParent<0 && true && status = error} | select(resource.service.name, event.exception.message, "
    "event.exception.stacktrace, event.exception.type) with(most_recent=true)",
)


def drilldown(api: Api) -> dict[str, int]:
    """The questions of the Drilldown app over the last quarter of an hour: how many series or traces each finds."""
    end = int(time.time()) + 1
    found = {}
    for query in DRILLDOWN_RANGES:
        step = "900s" if "compare" in query else "60s"
        answer = api.get("/api/metrics/query_range", q=query, start=end - 900, end=end, step=step)
        found[query] = len(answer["series"])
    for query in DRILLDOWN_SEARCHES:
        answer = api.get("/api/search", q=query, start=end - 900, end=end, limit=200, spss=20)
        found[query] = len(answer["traces"])
    return found
