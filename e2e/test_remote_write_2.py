"""Remote write 2.0 into a real Prometheus that receives it, and into two that do not."""

import time

import pytest
import requests

from api import Api, await_that
from ports import free_port
from prometheus import Prometheus
from server import Mosso
from test_generated_metrics import CALL_LABELS, TRACES, Shop, generating

EDGE_LABELS = ("client", "server", "connection_type")
REQUESTS = "traces_service_graph_request_total"


def in_version_2(port: int) -> dict:
    settings = generating(port)
    (target,) = settings["metrics_generator"]["storage"]["remote_write"]
    target["protobuf_message"] = "io.prometheus.write.v2.Request"
    settings["overrides"]["defaults"]["metrics_generator"]["generate_native_histograms"] = "both"
    return settings


def samples(mosso: Mosso, outcome: str) -> float:
    """What mosso says that became of samples."""
    lines = requests.get(f"{mosso.http}/metrics", timeout=10).text.splitlines()
    counters = (line for line in lines if line.startswith(f"mosso_remote_write_samples_{outcome}_total"))
    return sum(float(line.rsplit(" ", 1)[1]) for line in counters)


def test_prometheus_3_takes_counters_histograms_exemplars_and_start_times_over_a_restart(tmp_path, background):
    shop, port, began = Shop(seed=5), free_port(), time.time()
    prometheus = Prometheus(background, tmp_path, {}, port, version_3=True)
    mosso = Mosso(tmp_path, **in_version_2(port)).start()
    shop.send(mosso, TRACES)
    await_that("all edges are there", lambda: prometheus.values(REQUESTS, *EDGE_LABELS) == dict(shop.edges))
    await_that("so are all calls", lambda: prometheus.values("sum(traces_spanmetrics_calls_total)") == {(): 4 * TRACES})
    assert prometheus.values("traces_spanmetrics_calls_total", *CALL_LABELS) == dict(shop.calls)

    # native histograms count the same, and know what the classic ones know
    roots = '{service="storefront",span_kind="SPAN_KIND_SERVER"}'
    assert prometheus.values(f"sum(histogram_count(traces_spanmetrics_latency{roots}))") == {(): TRACES}
    (seconds,) = prometheus.values(f"sum(histogram_sum(traces_spanmetrics_latency{roots}))").values()
    assert abs(seconds - sum(shop.storefront_millis) / 1000) < 1e-6
    assert prometheus.values(f"sum(traces_spanmetrics_latency_count{roots})") == {(): TRACES}

    # an exemplar leads to its trace
    exemplars = prometheus.exemplars("traces_spanmetrics_latency_bucket")
    assert exemplars and Api(mosso.http).trace(exemplars[0]["labels"]["traceID"].zfill(32))

    # counters and native histograms say since when they count, and say the same after a restart
    def starts(name: str, *labels: str) -> dict[tuple, float]:
        return prometheus.values(f"start_timestamp({name})", *labels)

    counters, histograms = starts(REQUESTS, *EDGE_LABELS), starts("traces_spanmetrics_latency", *CALL_LABELS)
    assert set(counters) == set(shop.edges) and set(histograms) == set(shop.calls)
    assert all(began <= start < time.time() for start in [*counters.values(), *histograms.values()])
    mosso.kill()
    mosso.start()
    shop.send(mosso, TRACES // 2)
    await_that("the rest is there", lambda: prometheus.values(REQUESTS, *EDGE_LABELS) == dict(shop.edges))
    assert starts(REQUESTS, *EDGE_LABELS) == counters
    assert starts("traces_spanmetrics_latency", *CALL_LABELS) == histograms
    assert set(prometheus.values(f"resets({REQUESTS}[10m])", *EDGE_LABELS).values()) == {0.0}
    assert samples(mosso, "dropped") == 0
    mosso.stop()


@pytest.mark.parametrize(
    ("version_3", "options"),
    [
        # answers 204 and has read nothing
        (False, ()),
        # answers 415
        (True, ("--web.remote-write-receiver.accepted-protobuf-messages=prometheus.WriteRequest",)),
    ],
    ids=["debian", "415"],
)
def test_a_target_that_does_not_read_version_2_gets_version_1(tmp_path, background, version_3, options):
    shop, port = Shop(seed=6), free_port()
    prometheus = Prometheus(background, tmp_path, {}, port, version_3=version_3, options=options)
    with Mosso(tmp_path, **in_version_2(port)) as mosso:
        shop.send(mosso, TRACES)
        await_that("all edges are there", lambda: prometheus.values(REQUESTS, *EDGE_LABELS) == dict(shop.edges))
        await_that("all calls are there", lambda: prometheus.values("sum(traces_spanmetrics_calls_total)") == {(): 4 * TRACES})
        assert prometheus.values("traces_spanmetrics_calls_total", *CALL_LABELS) == dict(shop.calls)
        edges = "sum by (client, server) (histogram_count(traces_service_graph_request_server_seconds))"
        counted = prometheus.values(edges, "client", "server")
        assert counted == {(client, server): count for (client, server, _), count in shop.edges.items()}
        assert samples(mosso, "dropped") == 0 < samples(mosso, "sent")
