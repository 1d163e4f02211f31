"""A real Prometheus on a loopback port, with the configuration and the alerts of deploy/, and questions to it."""

import os
import subprocess
import time
from pathlib import Path

import requests
import yaml

from api import await_that
from ports import free_port

DEPLOY = Path(__file__).parents[1] / "deploy"
RULES = DEPLOY / "monitoring" / "alerts.yaml"


def promtool(*arguments: str, cwd: Path | None = None) -> str:
    """Runs promtool, which has to find nothing wrong, and returns what it printed."""
    command = [str(Path(os.environ["E2E_DEBIAN"]) / "promtool"), *arguments]
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def configure(folder: Path, targets: dict[str, str], out_of_order: str | None = None) -> Path:
    """The configuration of deploy/prometheus, scraping every second, with loopback addresses for its `targets`."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES)]
    scraped = {job["job_name"]: job for job in config["scrape_configs"]}
    config["scrape_configs"] = [
        {**scraped[job], "static_configs": [{"targets": [target]}]} for job, target in targets.items()
    ]
    if out_of_order:
        config["storage"] = {"tsdb": {"out_of_order_time_window": out_of_order}}
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


class Prometheus:
    def __init__(
        self,
        background,
        folder: Path,
        targets: dict[str, str],
        port: int | None = None,
        out_of_order: str | None = None,
        version_3: bool = False,
        options: tuple[str, ...] = (),
        client: requests.Session | None = None,
    ):
        """Starts it with the test's `background` and returns once every one of the `targets` is scraped. Samples may be as old
        as `out_of_order` says. It is Debian's, or one of version 3, which receives remote write 2.0 and keeps start times. A
        `client` is needed where `options` have it speak TLS."""
        self.client, port = client or requests.Session(), port or free_port()
        address = f"127.0.0.1:{port}"
        self.url = f"https://localhost:{port}" if client else f"http://{address}"
        program, features = str(Path(os.environ["E2E_DEBIAN"]) / "prometheus"), "native-histograms"
        if version_3:
            features = "st-storage,use-start-timestamps,promql-experimental-functions"
            program = os.environ["E2E_PROMETHEUS_3"]
        background(
            program,
            f"--config.file={configure(folder, targets, out_of_order)}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address={address}",
            "--web.enable-remote-write-receiver",
            f"--enable-feature=exemplar-storage,{features}",
            *options,
        )
        await_that("Prometheus is ready", self._ready)
        await_that("every target is scraped", lambda: len(self.query("up == 1")) == len(targets))

    def query(self, expression: str, at: float | None = None) -> list[tuple[dict, float]]:
        """The labels and values of an instant query, of now unless it says when."""
        parameters = {"query": expression} | ({"time": at} if at else {})
        answer = self.client.get(f"{self.url}/api/v1/query", parameters, timeout=20)
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        return [(series["metric"], float(series["value"][1])) for series in answer.json()["data"]["result"]]

    def values(self, expression: str, *labels: str, at: float | None = None) -> dict[tuple, float]:
        """The values of an instant query by some of their labels."""
        return {tuple(series.get(label, "") for label in labels): value for series, value in self.query(expression, at)}

    def exemplars(self, expression: str) -> list[dict]:
        """The exemplars of the last ten minutes."""
        parameters = {"query": expression, "start": time.time() - 600, "end": time.time() + 60}
        answer = self.client.get(f"{self.url}/api/v1/query_exemplars", parameters, timeout=20)
        return [exemplar for series in answer.json()["data"] for exemplar in series["exemplars"]]

    def _ready(self) -> bool:
        try:
            return self.client.get(f"{self.url}/-/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False
