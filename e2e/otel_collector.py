"""A real OpenTelemetry Collector in front of mosso, with the very configuration of k8s; only its addresses are changed."""

import os
from pathlib import Path

import requests
import yaml

from api import await_that
from load import GrpcSender, HttpSender
from ports import free_port

K8S = Path(__file__).parents[1] / "k8s"
CONFIG = K8S / "base" / "collector.yaml"
CONFIG_OF_CLUSTER = K8S / "overlays" / "cluster" / "collector.yaml"


class OtelCollector:
    def __init__(self, background, folder: Path, mosso=None, writers_port: int | None = None):
        """Starts it with the test's `background` and returns once it is healthy.

        In front of one mosso, or of the writers of a cluster: those at `writers_port` of the addresses that the file `hosts`
        of the folder has for their name.
        """
        self.otlp_grpc, http, self.metrics, health = (f"127.0.0.1:{free_port()}" for _ in range(4))
        self.otlp_http = f"http://{http}"
        host, port = self.metrics.split(":")
        if mosso:
            exporters, config = {"otlp_grpc/mosso": {"endpoint": mosso.otlp_grpc}}, CONFIG
        else:
            resolver = {"dns": {"port": str(writers_port), "interval": "1s"}}
            exporters, config = {"load_balancing/mosso": {"resolver": resolver}}, CONFIG_OF_CLUSTER
        here = {
            "extensions": {"health_check": {"endpoint": health}},
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": self.otlp_grpc}, "http": {"endpoint": http}}}},
            "exporters": exporters,
            "service": {
                "telemetry": {
                    "metrics": {"readers": [{"pull": {"exporter": {"prometheus": {"host": host, "port": int(port)}}}}]}
                }
            },
        }
        addresses = folder / f"collector-{port}.yaml"
        addresses.write_text(yaml.safe_dump(here))
        background(os.environ["E2E_COLLECTOR"], f"--config={config}", f"--config={addresses}")
        await_that("the collector is healthy", lambda: answers(f"http://{health}/"))

    def senders(self) -> list:
        return [GrpcSender(self.otlp_grpc), HttpSender(self.otlp_http)]


def answers(url: str) -> bool:
    """True once somebody speaks HTTP there, and says nothing of a broken server."""
    try:
        return requests.get(url, timeout=5).status_code < 500
    except requests.RequestException:
        return False
