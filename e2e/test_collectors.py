"""Real collectors in front of mosso: everything that they accepted arrives, also when mosso dies in between.

The OpenTelemetry Collector runs with the configuration of k8s/base, Rotel with its own defaults.
"""

import random
from pathlib import Path

import pytest
import rotel

from api import Api, await_that
from load import SPANS_PER_TRACE, GrpcSender, HttpSender, export_request
from otel_collector import OtelCollector, answers
from ports import free_port

REQUESTS = 100


@pytest.fixture
def otel_collector(background, tmp_path):
    """Starts the OpenTelemetry Collector in front of a mosso; returns senders to its two receivers."""
    return lambda mosso: OtelCollector(background, tmp_path, mosso).senders()


@pytest.fixture
def rotel_collector(background, tmp_path):
    """Starts Rotel in front of a mosso; returns senders to its two receivers."""

    def start(mosso):
        grpc_address, http_address = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        background(
            str(Path(rotel.__file__).parent / "rotel-agent"),
            "start",
            f"--pid-file={tmp_path / 'rotel.pid'}",
            f"--otlp-grpc-endpoint={grpc_address}",
            f"--otlp-http-endpoint={http_address}",
            "--exporter=otlp",
            "--otlp-exporter-protocol=grpc",
            f"--otlp-exporter-endpoint=http://{mosso.otlp_grpc}",
            # Its batch may come to 8192 spans, which can be more than one gRPC message holds.
            "--batch-max-size=2048",
        )
        await_that("rotel listens", lambda: answers(f"http://{http_address}/"))
        return [GrpcSender(grpc_address), HttpSender(f"http://{http_address}")]

    return start


@pytest.mark.parametrize("collector", ["otel_collector", "rotel_collector"])
def test_everything_sent_through_a_collector_arrives(collector, mosso, api, request):
    senders = request.getfixturevalue(collector)(mosso)
    sent = send(senders, collector)
    await_that("all traces are found", lambda: arrived(api, collector, sent), seconds=60)
    for trace_id in random.sample(sent, 50):
        assert len(api.trace(trace_id)) == SPANS_PER_TRACE


def test_collector_holds_what_arrives_while_mosso_is_killed_and_restarts(mosso, otel_collector):
    senders = otel_collector(mosso)
    before = send(senders, "before")
    mosso.kill()
    during = send(senders, "during")
    mosso.start()
    after = send(senders, "after")

    api = Api(mosso.http)
    for run, sent in {"before": before, "during": during, "after": after}.items():
        await_that(f"all traces sent {run} the kill are found", lambda: arrived(api, run, sent), seconds=90)


def send(senders, run: str) -> list[str]:
    rng = random.Random(run)
    sent = []
    for number in range(REQUESTS):
        request, trace_ids = export_request(rng, run)
        senders[number % len(senders)].send(request)
        sent.extend(trace_ids)
    return sent


def arrived(api: Api, run: str, sent: list[str]) -> bool:
    found = api.search(f'{{ span.load.run = "{run}" }}', limit=2 * len(sent))
    assert len(found) == len(set(found)), "a trace was listed twice"
    assert set(found) <= set(sent), "a trace was found that nobody sent"
    return len(found) == len(sent)
