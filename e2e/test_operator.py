"""An operator's day: the scripts of k8s/, and the walk from an empty cluster to a shop whose traces are found.

Everything is real but the cluster: mosso with the configuration of k8s/base, two OpenTelemetry Collectors in front of it, the
shop, and Prometheus. `programs/kubectl.py` stands in for a cluster's kubectl, so the scripts run as they are.
"""

import json
import os
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import yaml

import grafana
from api import Api, Span, await_that
from load import SPANS_PER_TRACE
from otel_collector import OtelCollector
from ports import free_port
from prometheus import Prometheus
from server import Mosso
from test_collectors import arrived, send
from test_generated_metrics import generating
from test_kubernetes import REPOSITORY

K8S = REPOSITORY / "k8s"
PROGRAMS = Path(__file__).parent / "programs"
SCRIPTS = sorted(K8S.glob("*.sh"))
MEMORY_BYTES = 512 << 20
# What runs mosso in each overlay.
WORKLOADS = {
    "single": ["mosso"],
    "s3": ["mosso"],
    "cluster": ["mosso-compactor", "mosso-querier", "mosso-writer"],
}
# As Grafana's boards and other tools know them.
METRICS = [
    "tempo_distributor_spans_received_total",
    "tempo_ingester_blocks_flushed_total",
    "tempo_query_frontend_queries_total",
    "tempo_querier_spans_per_query_count",
]


class Cluster:
    """What the stand-in for kubectl shows of this machine's processes, and the runs of the scripts against it."""

    def __init__(self, folder: Path, services: dict[str, str] | None = None, missing: list[str] | None = None):
        self.folder = folder / "cluster"
        self.folder.mkdir()
        (self.folder / "services.json").write_text(json.dumps(services or {}))
        (self.folder / "missing.json").write_text(json.dumps(missing or []))

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", str(K8S / script), *arguments],
            env=dict(os.environ, KUBECTL=str(PROGRAMS / "kubectl.py"), STANDIN_FOLDER=str(self.folder), **environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
        )

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def restarts(self, mosso: Mosso) -> "Restarts":
        return Restarts(self.folder / "restart", mosso)


class Restarts:
    """Restarts mosso whenever the stand-in was told to."""

    def __init__(self, request: Path, mosso: Mosso):
        self.request, self.mosso, self.count, self.failure = request, mosso, 0, None
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "Restarts":
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.enough.set()
        self.thread.join(60)
        assert self.failure is None, f"the restart failed: {self.failure!r}"

    def _serve(self) -> None:
        try:
            while not self.enough.wait(0.05):
                if self.request.exists():
                    self.mosso.stop()
                    self.mosso.start()
                    self.count += 1
                    self.request.unlink()
        except Exception as failure:  # told by __exit__, in the test's own thread
            self.failure = failure


def well(ended: subprocess.CompletedProcess) -> list[str]:
    """What a script has checked; it has to have ended well."""
    assert ended.returncode == 0, ended.stdout
    return [line.removeprefix("ok    ") for line in ended.stdout.splitlines() if line.startswith("ok    ")]


def test_scripts_have_nothing_to_be_linted():
    assert [path.name for path in SCRIPTS] == ["install.sh", "steps.sh", "test.sh", "validate.sh"]
    shellcheck = str(Path(os.environ["E2E_DEBIAN"]) / "shellcheck")
    ended = subprocess.run([shellcheck, "-x", *map(str, SCRIPTS)], cwd=K8S, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("overlay", ["single", "s3", "cluster"])
def test_install_looks_first_and_waits_until_all_is_ready(overlay, tmp_path):
    cluster = Cluster(tmp_path)
    checked = well(cluster.run("install.sh", overlay, "--monitoring"))
    assert ("the Secret mosso-s3 exists" in checked) == (overlay != "single")
    assert ("the storage class standard exists" in checked) == (overlay == "single")
    assert checked[-len(WORKLOADS[overlay]) - 3 :] == [
        *(f"{workload} is ready" for workload in WORKLOADS[overlay]),
        "the collectors are ready",
        "the Prometheus operator is installed",
        "monitors, alerts and dashboards are applied",
    ]
    verbs = [call.removeprefix("--namespace tracing ").split()[0] for call in cluster.calls()]
    assert verbs.index("apply") > max(verbs.index(looked) for looked in ("version", "auth", "kustomize"))


@pytest.mark.parametrize(
    ("overlay", "missing", "mend"),
    [
        ("single", "standard", "Name one of `kubectl get storageclass`"),
        ("s3", "mosso-s3", "overlays/s3/credentials.yaml."),
        ("cluster", "mosso-s3", "overlays/cluster/pod.yaml."),
    ],
)
def test_install_stops_before_it_changes_anything_when_something_is_missing(overlay, missing, mend, tmp_path):
    cluster = Cluster(tmp_path, missing=[missing])
    ended = cluster.run("install.sh", overlay)
    assert ended.returncode == 1 and "FAIL" in ended.stdout and mend in ended.stdout, ended.stdout
    assert not [call for call in cluster.calls() if call.startswith("apply")]


@pytest.mark.parametrize("script", ["install.sh", "validate.sh", "test.sh"])
def test_scripts_tell_their_use_when_they_are_not_understood(script, tmp_path):
    ended = Cluster(tmp_path).run(script, "--nonsense")
    assert ended.returncode == 2 and f"k8s/{script}" in ended.stdout


def test_the_stand_in_takes_only_what_kubectl_takes(tmp_path):
    """A guard of all tests here: a misspelt flag in a script has to be found out."""
    cluster = Cluster(tmp_path)
    environment = dict(os.environ, STANDIN_FOLDER=str(cluster.folder))
    for flag, code in [("--selector=a=b", 0), ("--selectr=a=b", 2)]:
        command = [str(PROGRAMS / "kubectl.py"), "wait", "pod", flag, "--for=condition=Ready"]
        assert subprocess.run(command, env=environment, capture_output=True).returncode == code


def test_validate_names_what_is_not_in_order(tmp_path):
    ended = Cluster(tmp_path, missing=["data-mosso-0"]).run("validate.sh")
    assert ended.returncode == 1
    assert "FAIL  mosso has its volume" in ended.stdout and "describe pvc data-mosso-0" in ended.stdout


def test_validate_knows_what_a_cluster_has(tmp_path):
    ended = Cluster(tmp_path, missing=["hpa/mosso-writer"]).run("validate.sh", "cluster")
    assert ended.returncode == 1 and "has its volume" not in ended.stdout
    assert "ok    mosso-querier is scaled by its load" in ended.stdout
    assert "FAIL  mosso-writer is scaled by its load" in ended.stdout and "metrics-server" in ended.stdout


def test_test_fails_when_a_trace_does_not_arrive(tmp_path, background):
    """A guard of the walk below: a collector that sends elsewhere has to be found out."""
    with Mosso(tmp_path) as mosso:
        elsewhere = Mosso(tmp_path)
        collector = OtelCollector(background, tmp_path, elsewhere)
        cluster = Cluster(tmp_path, services_of(mosso, collector))
        ended = cluster.run("test.sh", "--without-restart", PATIENCE="2")
    assert ended.returncode == 1 and "FAIL  it is found by its id" in ended.stdout, ended.stdout


def test_the_operators_walk(tmp_path, background, instrumented):
    cluster_config = yaml.safe_load((K8S / "base" / "mosso.yaml").read_text())
    assert cluster_config["compactor"]["compaction"]["block_retention"] == "168h"
    # What mosso would find in a pod of this memory.
    memory = {"budget_bytes": MEMORY_BYTES * 3 // 5}
    port = free_port()
    with Mosso(tmp_path, compactor=cluster_config["compactor"], memory=memory, **generating(port)) as mosso:
        collectors = [OtelCollector(background, tmp_path, mosso) for _ in range(2)]
        targets = {"mosso": mosso.addresses.http, "otel-collector": collectors[0].metrics}
        prometheus = Prometheus(background, tmp_path, targets, port)
        cluster = Cluster(tmp_path, services_of(mosso, collectors[1]))
        api = Api(mosso.http)

        # The operator installs, and looks whether all is as it should be.
        well(cluster.run("install.sh", "single"))
        assert "blocks are kept for 7 days" in well(cluster.run("validate.sh", "single"))
        assert requests.get(f"{mosso.http}/ready", timeout=5).text.strip() == "ready"

        # The shop sends through one collector, its nightly report through the other, and other services through both.
        order = shop_order(instrumented, collectors[0])
        report = instrumented(PROGRAMS / "nightly_report.py", collectors[1], "nightly-report", "http/protobuf").split()[
            -1
        ]
        sent = send([sender for collector in collectors for sender in collector.senders()], "walk")
        await_that("all that was sent is found", lambda: arrived(api, "walk", sent), seconds=60)

        # Found by id, service, operation and tags, as live spans and again as a block; so is the service map, in which
        # Prometheus and mosso agree.
        for _ in range(2):
            assert_found(api, order, report, sent)
            assert_mapped(api, prometheus)
            api.flush()

        # The last script sends a trace, restarts mosso and sends another one meanwhile.
        with cluster.restarts(mosso) as restarts:
            checked = well(cluster.run("test.sh"))
        assert restarts.count == 1
        assert checked[-2:] == ["what was sent before is still found", "what was sent meanwhile is found"]
        assert_found(api, order, report, sent)

        # Prometheus has the four metrics by their names, and those of the collector; mosso stayed within its memory.
        for metric in METRICS:
            most_counted = f"max_over_time({metric}[10m]) > 0"
            await_that(f"Prometheus has {metric}", lambda: prometheus.query(most_counted))
        mosso_exporter = '{exporter="otlp_grpc/mosso"}'
        assert prometheus.query(f"otelcol_exporter_sent_spans{mosso_exporter} > 0")
        assert prometheus.query(f"otelcol_exporter_queue_size{mosso_exporter} / otelcol_exporter_queue_capacity < 0.5")
        [(_, most)] = prometheus.query("max(max_over_time(process_resident_memory_bytes[10m]))")
        assert most < MEMORY_BYTES, f"{most / 2**20:.0f} MiB"
        assert prometheus.query('ALERTS{alertstate="firing"}') == []


def shop_order(instrumented, collector: OtelCollector) -> str:
    shop = PROGRAMS / "shop"
    settings = {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(shop)}
    return instrumented(shop / "shop.py", collector, "shop", "grpc", **settings).split()[-1]


def services_of(mosso: Mosso, collector: OtelCollector) -> dict[str, str]:
    return {"mosso:3200": mosso.addresses.http, "otel-collector:4318": collector.otlp_http.removeprefix("http://")}


def assert_found(api: Api, order: str, report: str, sent: list[str]) -> None:
    spans = api.trace(order)
    assert {span.service for span in spans} == {"shop"} and is_whole(spans)
    assert len(api.trace(sent[0])) == SPANS_PER_TRACE
    assert order in api.search('{ resource.service.name = "shop" }')
    assert order in api.search('{ name = "GET order/<product>" && kind = server }')
    assert order in api.search('{ span.http.route = "stock/<product>" || span.http.target = "/stock/hat" }')
    assert api.search('{ resource.service.name = "nightly-report" && name = "nightly report" }') == [report]
    assert api.search('{ span.db.collection.name = "refunds" }') == [report]
    assert sorted(api.search('{ span.load.run = "walk" }')) == sorted(sent)


def assert_mapped(api: Api, prometheus: Prometheus) -> None:
    """The map of mosso's API is that of the series, as Grafana asks for them; and the Drilldown app finds spans."""
    # a call of what sends no spans becomes a series when its other half has been waited for
    calls = {of: count for of, count in api.calls().items() if of[1] != "virtual_node" or of[0] == "user"}
    # the customer asks for the order, the order for the stock, and that leaves a message for the worker
    assert calls["shop", "", "shop"] == 2 and calls["shop", "messaging_system", "shop"] == 1, calls
    series = "traces_service_graph_request_total"
    await_that("the series count the same", lambda: prometheus.values(series, *grafana.CONNECTION) == calls)
    graph = grafana.service_graph(prometheus)
    assert graph.connections == set(calls)
    assert {(client, server) for client, _, server in calls} == set(graph.rates)
    assert graph.operations and all(seconds > 0 for seconds in graph.p90_seconds.values()), graph
    found = grafana.drilldown(api)
    assert all(found[query] for query in grafana.DRILLDOWN_RANGES if "error" not in query), found


def is_whole(spans: list[Span]) -> bool:
    """One root, and every other span's parent among the spans."""
    ids = {span.id for span in spans}
    return [span.parent in ids for span in spans].count(False) == 1


def test_the_runbook_has_only_commands_that_kubectl_takes(tmp_path):
    blocks = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "docs" / "runbook.md").read_text(), re.DOTALL)
    # Everything else of the blocks does nothing here.
    silent = "".join(f"{name}() {{ :; }}\n" for name in ("curl", "aws", "k8s/install.sh", "k8s/test.sh"))
    calls = tmp_path / "calls"
    calls.mkdir()
    note = f'kubectl() {{ printf "%s\\0" "$@" > $(mktemp --tmpdir={calls}); }}\n'
    script = silent + note + "\n".join(blocks).replace("&", "") + "\ntrue\n"
    subprocess.run(["bash", "-c", script], check=True, stdin=subprocess.DEVNULL, capture_output=True)
    commands = sorted({tuple(path.read_text().split("\0")[:-1]) for path in calls.iterdir()})
    assert len(commands) >= 30
    assert any(command[-1] == "--replicas=0" for command in commands)
    nowhere = [os.environ["E2E_KUBECTL"], "--server=http://127.0.0.1:1", "--request-timeout=5s"]

    def refusal(command: tuple[str, ...]) -> str | None:
        ended = subprocess.run([*nowhere, *command], capture_output=True, text=True)
        return None if "refused" in ended.stderr else f"{' '.join(command)}: {ended.stdout}{ended.stderr}"

    with ThreadPoolExecutor(4) as threads:
        assert not list(filter(None, threads.map(refusal, commands)))
