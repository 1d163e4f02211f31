"""Real senders over mutual TLS with a bearer token: the SDK's exporters and the OpenTelemetry Collector. Those that lack
either are refused."""

import os
import subprocess
from pathlib import Path

import grpc
import pytest
import yaml
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from api import Api, await_that
from authority import Authority
from ports import free_port
from server import BINARY, Mosso

TOKEN = {"authorization": "Bearer collector-token"}


def secured_mosso(tmp_path: Path, tls: dict) -> Mosso:
    """Not yet started: its OTLP receivers speak TLS and ask for a token."""
    (tmp_path / "token").write_text("collector-token\n")
    mosso = Mosso(tmp_path)
    protocols = {
        "grpc": {"endpoint": mosso.addresses.otlp_grpc, "tls": tls},
        "http": {"endpoint": mosso.addresses.otlp_http, "tls": tls},
    }
    mosso.sections = {
        "distributor": {"receivers": {"otlp": {"protocols": protocols}}},
        "authentication": {
            "listeners": ["otlp_grpc", "otlp_http"],
            "credentials": [{"bearer_token_file": str(tmp_path / "token"), "write": ["*"]}],
        },
    }
    return mosso


@pytest.fixture
def secured(tmp_path: Path, monkeypatch):
    """A mosso whose receivers ask for certificates and tokens, with what a sender needs."""
    # they would go before what an exporter is told to trust
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    pair, own = servers.pair("mosso"), clients.pair("sender")
    tls = {"cert_file": pair.certificate, "key_file": pair.key, "client_ca_file": clients.certificate}
    mosso = secured_mosso(tmp_path, tls)
    with mosso:
        yield mosso, servers.certificate, own


def span(name: str):
    """A span that has ended, and the id of its trace."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with provider.get_tracer("e2e").start_as_current_span(name) as started:
        trace_id = f"{started.get_span_context().trace_id:032x}"
    return kept.get_finished_spans(), trace_id


def exporters(mosso, trusted: str, own, headers: dict) -> list:
    """Exporters over gRPC and HTTP, which try for two seconds."""
    port = mosso.otlp_grpc.split(":")[1]
    credentials = grpc.ssl_channel_credentials(
        Path(trusted).read_bytes(),
        Path(own.key).read_bytes() if own else None,
        Path(own.certificate).read_bytes() if own else None,
    )
    over_grpc = GrpcExporter(f"https://localhost:{port}", credentials=credentials, headers=headers, timeout=2)
    over_http = HttpExporter(
        f"https://localhost:{mosso.addresses.otlp_http.split(':')[1]}/v1/traces",
        certificate_file=trusted,
        client_certificate_file=own.certificate if own else None,
        client_key_file=own.key if own else None,
        headers=headers,
        timeout=2,
    )
    return [over_grpc, over_http]


def test_exporters_of_the_sdk_send_over_mutual_tls_with_a_token(secured):
    mosso, trusted, own = secured
    for exporter in exporters(mosso, trusted, own, TOKEN):
        spans, trace_id = span("sent")
        assert exporter.export(spans) == SpanExportResult.SUCCESS
        assert [found.name for found in Api(mosso.http).trace(trace_id)] == ["sent"]
    refused = exporters(mosso, trusted, own, {"authorization": "Bearer guess"}) + exporters(mosso, trusted, None, TOKEN)
    for exporter in refused:
        spans, trace_id = span("refused")
        assert exporter.export(spans) == SpanExportResult.FAILURE
        assert Api(mosso.http).search('{ name = "refused" }') == []


def test_a_collector_exports_over_mutual_tls_with_a_token(secured, background, tmp_path):
    mosso, trusted, own = secured
    receiver, port = f"127.0.0.1:{free_port()}", mosso.otlp_grpc.split(":")[1]
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": receiver}}}},
        "exporters": {
            "otlp_grpc": {
                "endpoint": f"localhost:{port}",
                "tls": {"ca_file": trusted, "cert_file": own.certificate, "key_file": own.key},
                "headers": TOKEN,
            }
        },
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlp_grpc"]}},
        },
    }
    file = tmp_path / "collector.yaml"
    file.write_text(yaml.safe_dump(config))
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")  # where this collector looks names up
    background(os.environ["E2E_COLLECTOR"], f"--config={file}")
    sender = GrpcExporter(receiver, insecure=True)
    spans, trace_id = span("collected")
    await_that("the collector takes it", lambda: sender.export(spans) == SpanExportResult.SUCCESS)
    await_that("the trace is found", lambda: len(Api(mosso.http).trace(trace_id)) == 1)


def test_the_terminal_sends_over_tls_with_a_token(tmp_path):
    servers = Authority(tmp_path, "servers")
    pair = servers.pair("mosso")
    mosso = secured_mosso(tmp_path, {"cert_file": pair.certificate, "key_file": pair.key})

    def demo(seed: int, address: str, protocol: str, *flags: str) -> subprocess.CompletedProcess:
        command = ["demo", "--past=10s", "--for=0s", f"--seed={seed}", f"--protocol={protocol}"]
        endpoint = f"--endpoint=https://localhost:{address.split(':')[1]}"
        return subprocess.run([BINARY, *command, endpoint, *flags], capture_output=True, text=True, timeout=120)

    with mosso:
        for protocol, address in [("grpc", mosso.addresses.otlp_grpc), ("http", mosso.addresses.otlp_http)]:
            seeds = {"grpc": (1, 2), "http": (3, 4)}[protocol]
            trusted, token = f"--ca-file={servers.certificate}", "--token=collector-token"
            for seed, trust in zip(seeds, (trusted, "--insecure-skip-verify"), strict=True):
                before = len(Api(mosso.http).search("{}"))
                sent = demo(seed, address, protocol, trust, token)
                assert sent.returncode == 0, sent.stderr
                assert len(Api(mosso.http).search("{}")) > before
            unknown, refused = demo(9, address, protocol, token), demo(9, address, protocol, trusted, "--token=guess")
            assert unknown.returncode == 1 and "UnknownIssuer" in unknown.stderr, unknown.stderr
            assert refused.returncode == 1 and f"https://localhost:{address.split(':')[1]} answered" in refused.stderr
