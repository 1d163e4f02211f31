"""Span metrics and the service graph in a real Prometheus, held against a count over the spans that were sent."""

import random
import time
from collections import Counter

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from api import Api, await_that
from load import GrpcSender, HttpSender
from ports import free_port
from prometheus import Prometheus
from server import Mosso

MILLISECOND = 1_000_000
TRACES = 60
CALL_LABELS = ("service", "span_name", "span_kind", "status_code")
SERVER, CLIENT = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT


class Shop:
    """Traces of a shop: user → storefront → stock → a database. Remembers what it made."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)
        self.calls: Counter = Counter()
        self.edges: Counter = Counter()
        self.failed_edges: Counter = Counter()
        self.storefront_millis: list[int] = []

    def trace(self, start: int | None = None) -> list[ExportTraceServiceRequest]:
        """One trace of two seconds ago, or of another time, every span in a request of its own."""
        trace_id, start = self.rng.randbytes(16), start or time.time_ns() - 2_000 * MILLISECOND
        ids = [self.rng.randbytes(8) for _ in range(4)]
        failed = self.rng.random() < 0.3
        path = f"GET /{self.rng.choice('abc')}"
        lengths = sorted((self.rng.randrange(1, 1_000) for _ in range(4)), reverse=True)
        rows = [
            ("storefront", SERVER, path, b""),
            ("storefront", CLIENT, "take", ids[0]),
            ("stock", SERVER, "take", ids[1]),
            ("stock", CLIENT, "select", ids[2]),
        ]
        requests = []
        for (service, kind, name, parent), span_id, millis in zip(rows, ids, lengths, strict=True):
            span = Span(
                trace_id=trace_id,
                span_id=span_id,
                parent_span_id=parent,
                name=name,
                kind=kind,
                start_time_unix_nano=start,
                end_time_unix_nano=start + millis * MILLISECOND,
            )
            is_failed = failed and service == "stock" and kind == SERVER
            if is_failed:
                span.status.code = Status.STATUS_CODE_ERROR
            if name == "select":
                span.attributes.append(_string("db.system", "postgresql"))
            requests.append(_request(service, span))
            status = "STATUS_CODE_ERROR" if is_failed else "STATUS_CODE_UNSET"
            self.calls[service, name, Span.SpanKind.Name(kind), status] += 1
        self.edges["user", "storefront", "virtual_node"] += 1
        self.edges["storefront", "stock", ""] += 1
        self.edges["stock", "postgresql", "database"] += 1
        self.failed_edges["storefront", "stock"] += failed
        self.storefront_millis.append(lengths[0])
        return requests

    def send(self, mosso: Mosso, traces: int, start: int | None = None) -> None:
        """All spans in any order over two connections, some of them twice."""
        requests = [request for _ in range(traces) for request in self.trace(start)]
        requests += self.rng.sample(requests, len(requests) // 10)
        self.rng.shuffle(requests)
        senders = [HttpSender(mosso.otlp_http), GrpcSender(mosso.otlp_grpc)]
        for request in requests:
            self.rng.choice(senders).send(request)


def _string(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def _request(service: str, span: Span) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.append(_string("service.name", service))
    resource_spans.scope_spans.add().spans.append(span)
    return request


def generating(prometheus_port: int) -> dict:
    url = f"http://127.0.0.1:{prometheus_port}/api/v1/write"
    return {
        "metrics_generator": {
            "registry": {"collection_interval": "1s"},
            "storage": {"remote_write": [{"url": url, "send_exemplars": True}]},
        },
        "overrides": {"defaults": {"metrics_generator": {"processors": ["service-graphs", "span-metrics"]}}},
    }


def test_prometheus_has_what_a_count_over_the_sent_spans_gives(tmp_path, background):
    shop, port = Shop(seed=1), free_port()
    prometheus = Prometheus(background, tmp_path, {}, port)
    with Mosso(tmp_path, **generating(port)) as mosso:
        shop.send(mosso, TRACES)
        requests = "traces_service_graph_request_total"
        await_that("all edges are there", lambda: sum(prometheus.values(requests, "server").values()) == 3 * TRACES)
        all_calls = "sum(traces_spanmetrics_calls_total)"
        await_that("all calls are there", lambda: prometheus.values(all_calls) == {(): 4 * TRACES})
        assert prometheus.values("traces_spanmetrics_calls_total", *CALL_LABELS) == dict(shop.calls)
        assert prometheus.values(requests, "client", "server", "connection_type") == dict(shop.edges)
        failed = prometheus.values("traces_service_graph_request_failed_total", "client", "server")
        assert failed == dict(shop.failed_edges)

        # buckets of the root, as a count gives them
        latency = 'traces_spanmetrics_latency_bucket{service="storefront",span_kind="SPAN_KIND_SERVER"}'
        buckets = prometheus.values(f"sum by (le) ({latency})", "le")
        bounds = [0.002 * 2**power for power in range(14)]
        counted = {(f"{bound:g}",): sum(m / 1000 <= bound for m in shop.storefront_millis) for bound in bounds}
        assert buckets == counted | {("+Inf",): TRACES}

        # what Grafana's service graph asks
        for query in (
            "sum by (client, server) (rate(traces_service_graph_request_server_seconds_sum{}[1m]))",
            "group by (client, connection_type, server) (traces_service_graph_request_total{})",
            'topk(5, sum(rate(traces_spanmetrics_calls_total{span_kind="SPAN_KIND_SERVER"}[1m])) by (span_name))',
            'histogram_quantile(.9, sum(rate(traces_spanmetrics_latency_bucket{span_name=~"take"}[1m])) by (le))',
        ):
            assert prometheus.query(query), query

        # an exemplar leads to its trace
        exemplars = prometheus.exemplars("traces_spanmetrics_latency_bucket")
        assert exemplars, "no exemplars"
        assert Api(mosso.http).trace(exemplars[0]["labels"]["traceID"].zfill(32))


def test_a_target_that_was_down_and_a_restart_lose_nothing_and_repeat_nothing(tmp_path, background):
    shop, port = Shop(seed=2), free_port()
    mosso = Mosso(tmp_path, **generating(port)).start()
    shop.send(mosso, TRACES)
    mosso.stop()
    before = dict(shop.edges)

    mosso.start()
    prometheus = Prometheus(background, tmp_path, {}, port)
    requests = "max_over_time(traces_service_graph_request_total[10m])"
    labels = ("client", "server", "connection_type")
    await_that("the queue is emptied", lambda: prometheus.values(requests, *labels) == before)
    # the second process goes on where the first was, and a third after a crash
    shop.send(mosso, TRACES // 2)
    mosso.kill()
    mosso.start()
    shop.send(mosso, TRACES // 2)
    newest = "traces_service_graph_request_total"
    await_that("all are there", lambda: prometheus.values(newest, *labels) == dict(shop.edges))
    assert prometheus.values("traces_spanmetrics_calls_total", *CALL_LABELS) == dict(shop.calls)
    assert set(prometheus.values("resets(traces_service_graph_request_total[10m])", *labels).values()) == {0.0}
    mosso.stop()


def test_native_histograms_count_what_classic_ones_do_and_know_quantiles_better(tmp_path, background):
    shop, port = Shop(seed=4), free_port()
    prometheus = Prometheus(background, tmp_path, {}, port)
    settings = generating(port)
    settings["overrides"]["defaults"]["metrics_generator"]["generate_native_histograms"] = "both"
    with Mosso(tmp_path, **settings) as mosso:
        shop.send(mosso, TRACES)
        latency = 'traces_spanmetrics_latency{service="storefront",span_kind="SPAN_KIND_SERVER"}'
        count = f"sum(histogram_count({latency}))"
        await_that("all are there", lambda: prometheus.values(count) == {(): TRACES})
        seconds = sum(shop.storefront_millis) / 1000
        (total,) = prometheus.values(f"sum(histogram_sum({latency}))").values()
        assert abs(total - seconds) < 1e-6
        classic = latency.replace("latency", "latency_count")
        assert prometheus.values(f"sum({classic})") == {(): TRACES}
        edges = "sum by (client, server) (histogram_count(traces_service_graph_request_server_seconds))"
        of_edges = {(client, server): edges for (client, server, _), edges in shop.edges.items()}
        assert prometheus.values(edges, "client", "server") == of_edges

        # a bucket is at most a tenth wide
        (median,) = prometheus.values(f"histogram_quantile(0.5, sum({latency}))").values()
        in_order = sorted(shop.storefront_millis)
        middle = [in_order[TRACES // 2 - 1] / 1000, in_order[TRACES // 2] / 1000]
        assert middle[0] / 1.1 <= median <= middle[1] * 1.1
