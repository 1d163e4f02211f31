"""A real OpenTelemetry Collector in front of mosso, with the very configuration of k8s/base; only its addresses are changed."""

import os
from pathlib import Path

import requests
import yaml

from api import await_that
from load import GrpcSender, HttpSender
from ports import free_port

CONFIG = Path(__file__).parents[1] / "k8s" / "base" / "collector.yaml"


class OtelCollector:
    def __init__(self, background, folder: Path, mosso):
        """Starts it with the test's `background` and returns once it is healthy."""
        self.otlp_grpc, http, self.metrics, health = (f"127.0.0.1:{free_port()}" for _ in range(4))
        self.otlp_http = f"http://{http}"
        host, port = self.metrics.split(":")
        here = {
            "extensions": {"health_check": {"endpoint": health}},
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": self.otlp_grpc}, "http": {"endpoint": http}}}},
            "exporters": {"otlp_grpc/mosso": {"endpoint": mosso.otlp_grpc}},
            "service": {
                "telemetry": {
                    "metrics": {"readers": [{"pull": {"exporter": {"prometheus": {"host": host, "port": int(port)}}}}]}
                }
            },
        }
        addresses = folder / f"collector-{port}.yaml"
        addresses.write_text(yaml.safe_dump(here))
        background(os.environ["E2E_COLLECTOR"], f"--config={CONFIG}", f"--config={addresses}")
        await_that("the collector is healthy", lambda: answers(f"http://{health}/"))

    def senders(self) -> list:
        return [GrpcSender(self.otlp_grpc), HttpSender(self.otlp_http)]


def answers(url: str) -> bool:
    """True once somebody speaks HTTP there, and says nothing of a broken server."""
    try:
        return requests.get(url, timeout=5).status_code < 500
    except requests.RequestException:
        return False
