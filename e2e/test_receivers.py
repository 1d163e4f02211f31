"""Jaeger's and Zipkin's own clients, and the collector's exporter, send to mosso as they would to Jaeger or Zipkin: what they send
is there, translated.

The clients' packages are no longer made and ask for old versions of others, so they run in an environment of their own.
"""

import os
import random
import subprocess
from pathlib import Path

import grpc
import pytest
import yaml

from api import Api, Span, await_that
from load import GrpcSender, export_request
from ports import free_port
from server import Mosso

PROGRAM = Path(__file__).parent / "programs" / "retired_clients.py"

# client: the listener that it sends to
CLIENTS = {
    "jaeger-client": "thrift_compact",
    "jaeger-udp": "thrift_compact",
    "jaeger-http": "thrift_http",
    "jaeger-grpc": "grpc",
    "zipkin-v1": "zipkin",
    "zipkin-v2": "zipkin",
    "zipkin-protobuf": "zipkin",
}


@pytest.fixture(scope="module")
def receiving(tmp_path_factory):
    """A mosso with every receiver, and the ports of those."""
    ports = {name: free_port() for name in ("grpc", "thrift_http", "thrift_compact", "thrift_binary", "zipkin")}
    endpoints = {name: {"endpoint": f"127.0.0.1:{port}"} for name, port in ports.items()}
    zipkin = endpoints.pop("zipkin")
    receivers = {"jaeger": {"protocols": endpoints}, "zipkin": zipkin}
    with Mosso(tmp_path_factory.mktemp("receivers"), receivers=receivers) as running:
        yield running, ports


def send(client: str, port: int) -> str:
    """The id of the trace that a client sent."""
    endpoint = str(port) if client in ("jaeger-client", "jaeger-udp") else f"127.0.0.1:{port}"
    ended = subprocess.run(
        [os.environ["E2E_RETIRED_PYTHON"], "-W", "ignore", str(PROGRAM), client, f"shop-{client}", endpoint],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize("client", CLIENTS)
def test_what_a_client_sends_is_found_with_all_that_it_said(client, receiving):
    mosso, ports = receiving
    api = Api(mosso.http)
    trace_id = send(client, ports[CLIENTS[client]])
    # nobody is told when a packet is stored
    spans = await_that("both spans are there", lambda: whole(api.trace(trace_id)))

    checkout, charged = spans["checkout"], spans["charge card"]
    assert {span.service for span in spans.values()} == {f"shop-{client}"}
    if client == "zipkin-v1":  # its exporter does not write kinds
        assert checkout.kind not in ("server", "client")
    else:
        assert (checkout.kind, charged.kind) == ("server", "client")
    assert (checkout.parent, charged.parent) == (None, checkout.id)
    assert checkout.attributes["shop"] == "größe"
    assert checkout.attributes["cart.items"] == ("3" if client.startswith("zipkin") else 3)
    assert "span.kind" not in checkout.attributes
    assert charged.status["code"] == "STATUS_CODE_ERROR"
    if client != "jaeger-client":
        assert charged.status["message"] == "insufficient funds"
    if client.startswith("zipkin"):
        assert [name for name, _ in charged.events] == ['{"declined": {"attempt": 1}}']
    else:
        [(event, fields)] = charged.events
        # OpenTelemetry's exporters write the name as a message
        assert "declined" in (event, fields.get("message"))
        assert fields["attempt"] == 1
    scope = "" if client in ("jaeger-client", "zipkin-v1") else "e2e.checkout"
    assert checkout.scope == scope
    query = f'{{ resource.service.name = "shop-{client}" && status = error && name = "charge card" }}'
    assert api.search(query) == [trace_id]


@pytest.mark.parametrize("form", ("json", "proto"))
def test_the_collectors_exporter_for_zipkin_brings_all_spans(form, receiving, background, tmp_path):
    mosso, ports = receiving
    otlp, run = f"127.0.0.1:{free_port()}", f"collector-{form}"
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": otlp}}}},
        "exporters": {"zipkin": {"endpoint": f"http://127.0.0.1:{ports['zipkin']}/api/v2/spans", "format": form}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["zipkin"]}},
        },
    }
    (tmp_path / "collector.yaml").write_text(yaml.safe_dump(config))
    background(os.environ["E2E_COLLECTOR"], f"--config={tmp_path / 'collector.yaml'}")
    request, ids = export_request(random.Random(run), run)
    grpc.channel_ready_future(channel := grpc.insecure_channel(otlp)).result(30)
    channel.close()
    GrpcSender(otlp).send(request)
    api = Api(mosso.http)
    await_that("all traces are found", lambda: set(api.search(f'{{ span.load.run = "{run}" }}')) == set(ids))
    sent = {span.span_id.hex(): span for span in request.resource_spans[0].scope_spans[0].spans}
    stored = [span for trace_id in ids for span in api.trace(trace_id)]
    assert {span.id for span in stored} == set(sent)
    for span in stored:
        before = sent[span.id]
        # Zipkin's names are in small letters, its times in microseconds, its tags texts
        assert (span.name.lower(), span.parent or "") == (before.name.lower(), before.parent_span_id.hex())
        assert span.kind == ("server" if not before.parent_span_id else "client")
        codes = [attribute.value.int_value for attribute in before.attributes if attribute.key == "http.status_code"]
        assert [span.attributes["http.status_code"]] == [str(code) for code in codes]


def whole(spans: list[Span]) -> dict[str, Span] | None:
    return {span.name: span for span in spans} if len(spans) == 2 else None
