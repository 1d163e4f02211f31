"""deploy/monitoring: the alerts are tested, and every panel's query has data on a real Prometheus that scrapes mosso."""

import importlib.util
import json
import math
import random
import re
import threading
import time
from pathlib import Path

import requests
import yaml

from api import Api, await_that
from load import GrpcSender, HttpSender, export_request
from prometheus import DEPLOY, RULES, Prometheus, promtool
from server import Mosso

MONITORING = DEPLOY / "monitoring"
REPOSITORY = DEPLOY.parent
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
# Small blocks that are soon merged, and a look for other writers' blocks every second.
BUSY = {
    "compactor": {"compaction": {"compaction_cycle": "1s"}},
    "storage": {"trace": {"blocklist_poll": "1s"}},
}


def alerts() -> list[dict]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard(path: Path) -> dict:
    return json.loads(path.read_text())


def test_prometheus_accepts_the_rules_and_the_configuration(tmp_path):
    assert f"{len(alerts())} rules found" in promtool("check", "rules", str(RULES))
    (tmp_path / "prometheus.yaml").write_text((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    (tmp_path / "alerts.yaml").write_text(RULES.read_text())
    promtool("check", "config", str(tmp_path / "prometheus.yaml"))


def test_alerts_fire_when_they_should_and_not_before():
    promtool("test", "rules", "alerts-test.yaml", cwd=MONITORING)


def test_every_alert_has_a_unit_test_a_severity_and_a_section_in_the_runbook():
    tests = (MONITORING / "alerts-test.yaml").read_text()
    runbook = (REPOSITORY / "docs" / "runbook.md").read_text()
    sections = [line.removeprefix("## ") for line in runbook.splitlines() if line.startswith("## Mosso")]
    assert sections == [alert["alert"] for alert in alerts()], "the runbook has other alerts, or another order"
    for alert in alerts():
        assert f'alertname="{alert["alert"]}"' in tests, f"{alert['alert']} has no unit test"
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert alert["annotations"]["runbook_url"].endswith(f"/docs/runbook.md#{alert['alert'].lower()}")


def test_dashboards_and_the_prometheus_rule_are_as_their_program_writes_them():
    specification = importlib.util.spec_from_file_location("dashboards", MONITORING / "dashboards.py")
    program = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(program)
    for path, text in program.files().items():
        assert path.read_text() == text, f"run `python3 deploy/monitoring/dashboards.py`: {path} is not what it writes"
    assert {path for path in program.files() if path.suffix == ".json"} == set(DASHBOARDS)


def test_dashboards_have_their_own_names_and_panels_that_do_not_overlap():
    assert [path.stem for path in DASHBOARDS] == ["cluster", "compaction", "reads", "resources", "tenants", "writes"]
    assert len({dashboard(path)["uid"] for path in DASHBOARDS}) == len(DASHBOARDS)
    for path in DASHBOARDS:
        board = dashboard(path)
        assert {variable["name"] for variable in board["templating"]["list"]} == {"datasource", "job", "instance"}
        places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]}
        assert len(places) == len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_every_panel_has_data_and_no_alert_fires_under_traffic(tmp_path, background):
    with Mosso(tmp_path, **BUSY) as mosso:
        prometheus = Prometheus(background, tmp_path, {"mosso": mosso.addresses.http})
        with Traffic(mosso):
            for path in DASHBOARDS:
                for panel in dashboard(path)["panels"]:
                    for target in panel["targets"]:
                        query = filled_in(target["expr"])
                        await_that(
                            f"{path.stem} / {panel['title']} has data: {query}",
                            lambda: any(math.isfinite(value) for _, value in prometheus.query(query)),
                        )
            for path in DASHBOARDS:
                for variable in dashboard(path)["templating"]["list"][1:]:
                    assert prometheus.query(selector(variable)), f"nothing to choose for {variable['name']}"
            assert prometheus.query('ALERTS{alertstate="firing"}') == []


def test_alerts_and_the_dashboard_of_a_cluster_name_series_that_mosso_exports():
    """What is misspelt there would never fire, or be 0. The series that appear only with a fault are sought in the sources."""
    sources = [
        *REPOSITORY.glob("*/src/**/telemetry.rs"),
        *REPOSITORY.glob("*/src/telemetry/*.rs"),
        *REPOSITORY.glob("src/telemetry/*.rs"),
    ]
    registered = "\n".join(path.read_text() for path in sources)
    of_cluster = dashboard(MONITORING / "dashboards" / "cluster.json")["panels"]
    queries = [target["expr"] for panel in of_cluster for target in panel["targets"]]
    queries += [alert["expr"] for alert in alerts()]
    named = {name for query in queries for name in re.findall(r"\b(?:mosso|tempo|tempodb|process)_\w+", query)}
    assert len(named) > 15
    for name in named:
        assert f'"{re.sub("_(total|count|bucket)$", "", name)}"' in registered, f"nothing registers {name}"


def filled_in(query: str) -> str:
    """The query as Grafana sends it, with everything chosen."""
    return query.replace("$__rate_interval", "15s").replace("$job", ".+").replace("$instance", ".+")


def selector(variable: dict) -> str:
    [series] = re.fullmatch(r"label_values\((.+), \w+\)", variable["query"]["query"]).groups()
    return filled_in(series)


class Traffic:
    """Spans, flushes and questions of every kind, until it is left."""

    def __init__(self, mosso: Mosso):
        self.mosso, self.failure, self.enough = mosso, None, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Traffic":
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.enough.set()
        self.thread.join(30)
        assert self.failure is None, f"the traffic broke off: {self.failure!r}"

    def _run(self) -> None:
        try:
            rng, api = random.Random(7), Api(self.mosso.http)
            senders = [HttpSender(self.mosso.otlp_http), GrpcSender(self.mosso.otlp_grpc)]
            while not self.enough.wait(0.2):
                for sender in senders:
                    request, trace_ids = export_request(rng, "dashboards")
                    sender.send(request)
                api.trace(trace_ids[0])
                api.search("{ span.http.status_code = 500 }", limit=20)
                self._ask("/api/v2/search/tags")
                self._ask("/api/v2/search/tag/resource.service.name/values")
                self._ask(
                    "/api/metrics/query_range", q="{} | rate()", start=int(time.time()) - 600, end=int(time.time())
                )
                api.flush()
        except Exception as failure:  # told by __exit__, in the test's own thread
            self.failure = failure

    def _ask(self, path: str, **parameters) -> None:
        requests.get(self.mosso.http + path, parameters, timeout=20).raise_for_status()
