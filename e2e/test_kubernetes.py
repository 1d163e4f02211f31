"""k8s/ and the image: rendered by kubectl and Helm, valid against the schemas, and saying what they should say."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

import server

REPOSITORY = Path(__file__).parents[1]
OVERLAYS = REPOSITORY / "k8s" / "overlays"
# One process with a volume; what several have is in test_kubernetes_cluster.py.
ROOTS = [REPOSITORY / "k8s" / "base", OVERLAYS / "s3", OVERLAYS / "single"]
CLUSTER = OVERLAYS / "cluster"
MONITORING = REPOSITORY / "k8s" / "monitoring"
# The oldest and the newest Kubernetes that the manifests are for.
KUBERNETES = ["1.31", "1.37"]
RESTRICTED_VOLUMES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
)
PORTS = {"http": 3200, "otlp-grpc": 4317, "otlp-http": 4318}


class Rendered:
    """What kubectl makes of a kustomization, by kind and name. Generated names match without their hash."""

    def __init__(self, root: Path):
        self.objects = kustomized(root)

    def get(self, kind: str, name: str) -> dict:
        [found] = [
            thing
            for thing in self.objects
            if thing["kind"] == kind and re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", thing["metadata"]["name"])
        ]
        return found

    def pod(self, kind: str, name: str) -> tuple[dict, dict]:
        """The pod's spec and its only container."""
        spec = self.get(kind, name)["spec"]["template"]["spec"]
        [container] = spec["containers"]
        return spec, container


def kustomized(root: Path) -> list[dict]:
    ended = subprocess.run([os.environ["E2E_KUBECTL"], "kustomize", str(root)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr, ended.stderr
    return list(yaml.safe_load_all(ended.stdout))


def assert_valid(objects: list[dict], version: str) -> None:
    """Kubernetes' own objects against its schemas of a version, those of the Prometheus operator against the operator's."""
    ours = [thing for thing in objects if thing["apiVersion"].startswith("monitoring.coreos.com/")]
    for thing in objects:
        if thing not in ours:
            kubernetes_validate.validate(thing, version, strict=True)
    if ours:
        ended = monitors_validated(ours)
        assert ended.returncode == 0, ended.stderr


def monitors_validated(objects: list[dict]) -> subprocess.CompletedProcess:
    program = Path(os.environ["E2E_NODE"]) / "monitors.mjs"
    return subprocess.run(["node", str(program)], input=json.dumps(objects), capture_output=True, text=True)


def assert_restricted(pod: dict) -> None:
    """What the Pod Security Standard `restricted` asks of a pod's spec, word by word."""
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True and context["runAsUser"] > 0
    assert context["seccompProfile"]["type"] in {"RuntimeDefault", "Localhost"}
    assert not {"sysctls", "seLinuxOptions", "appArmorProfile"} & context.keys()
    for volume in pod["volumes"]:
        assert volume.keys() <= {"name", *RESTRICTED_VOLUMES}, f"volume {volume['name']}"
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"]["drop"] == ["ALL"]
        assert set(own["capabilities"].get("add", [])) <= {"NET_BIND_SERVICE"}
        assert not own.get("privileged") and own.get("procMount", "Default") == "Default"
        assert own.get("runAsNonRoot", True) is True and own.get("runAsUser", 1) > 0
        assert all("hostPort" not in port for port in container["ports"])


@pytest.fixture(params=ROOTS, ids=lambda root: root.name, scope="module")
def rendered(request) -> Rendered:
    return Rendered(request.param)


@pytest.fixture(params=[*ROOTS, CLUSTER], ids=lambda root: root.name, scope="module")
def of_any(request) -> Rendered:
    return Rendered(request.param)


def test_every_overlay_is_tested():
    assert sorted(OVERLAYS.iterdir()) == sorted([CLUSTER, *ROOTS[1:]])


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid(of_any, version):
    assert len(of_any.objects) >= 13
    assert_valid(of_any.objects, version)


def test_monitors_rules_and_dashboards_are_valid():
    objects = kustomized(MONITORING)
    assert [thing["kind"] for thing in objects] == ["ConfigMap", "PodMonitor", "PrometheusRule", "ServiceMonitor"]
    assert_valid(objects, KUBERNETES[-1])


def test_validation_is_strict():
    """A guard of the test above: a misspelt field and a wrong type have to be refused."""
    good = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 1}]}}
    kubernetes_validate.validate(good, KUBERNETES[-1], strict=True)
    for spec in ({"portz": []}, {"ports": [{"port": "one"}]}):
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate({**good, "spec": spec}, KUBERNETES[-1], strict=True)
    [monitor] = [thing for thing in kustomized(MONITORING) if thing["kind"] == "ServiceMonitor"]
    for endpoint in ({"portz": "http"}, {"port": 3200}):
        assert monitors_validated([{**monitor, "spec": {**monitor["spec"], "endpoints": [endpoint]}}]).returncode != 0


def test_mosso_has_one_replica_with_a_volume(rendered):
    stateful_set = rendered.get("StatefulSet", "mosso")["spec"]
    _, container = rendered.pod("StatefulSet", "mosso")
    assert stateful_set["replicas"] == 1
    assert stateful_set["serviceName"] == rendered.get("Service", "mosso-headless")["metadata"]["name"]
    [claim] = stateful_set["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts[claim["metadata"]["name"]] == mosso_config(rendered)["data_dir"] == "/var/mosso"


def test_mosso_asks_for_and_may_take_so_much(rendered):
    _, container = rendered.pod("StatefulSet", "mosso")
    assert container["resources"] == {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}


@pytest.mark.parametrize(("kind", "name"), [("StatefulSet", "mosso"), ("Deployment", "otel-collector")])
def test_pods_run_restricted(rendered, kind, name):
    spec, container = rendered.pod(kind, name)
    assert_restricted(spec)
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False
    assert spec["terminationGracePeriodSeconds"] >= 10
    assert not re.search(r":(latest)?$|^[^:]*$", container["image"]), "the image has no version"


def test_volume_belongs_to_the_user_of_the_pod(rendered):
    spec, _ = rendered.pod("StatefulSet", "mosso")
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"] == 10001


def test_probes_wait_for_replay_and_never_kill_it(rendered):
    _, container = rendered.pod("StatefulSet", "mosso")
    startup, ready, live = (container[f"{name}Probe"] for name in ("startup", "readiness", "liveness"))
    assert startup["httpGet"] == ready["httpGet"] == {"path": "/ready", "port": "http"}
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 1800
    assert live["httpGet"] == {"path": "/api/echo", "port": "http"}


@pytest.mark.parametrize("name", ["mosso", "mosso-headless"])
def test_services_reach_the_three_ports(rendered, name):
    service = rendered.get("Service", name)["spec"]
    pod_labels = rendered.get("StatefulSet", "mosso")["spec"]["template"]["metadata"]["labels"]
    _, container = rendered.pod("StatefulSet", "mosso")
    assert service["selector"].items() <= pod_labels.items()
    assert {port["name"]: port["port"] for port in service["ports"]} == PORTS
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == PORTS
    assert all(port["targetPort"] == port["name"] for port in service["ports"])
    assert (service.get("clusterIP") == "None") == (name == "mosso-headless")


def test_mosso_keeps_seven_days_and_listens_where_the_services_point(rendered):
    config = mosso_config(rendered)
    assert config["compactor"]["compaction"]["block_retention"] == "168h"
    assert_listens_everywhere(config)


def test_collectors_guard_memory_before_they_batch(rendered):
    deployment = rendered.get("Deployment", "otel-collector")["spec"]
    assert deployment["replicas"] == 2
    config = collector_config(rendered)
    [pipeline] = config["service"]["pipelines"].values()
    assert pipeline["receivers"] == ["otlp"]
    assert pipeline["processors"] == ["memory_limiter", "batch"]
    assert set(config["receivers"]["otlp"]["protocols"]) == {"grpc", "http"}
    assert config["service"]["extensions"] == ["health_check"]
    [exporter] = pipeline["exporters"]
    exporter = config["exporters"][exporter]
    assert exporter["retry_on_failure"]["enabled"] and exporter["sending_queue"]["enabled"]
    assert exporter["endpoint"] == f"{rendered.get('Service', 'mosso')['metadata']['name']}:{PORTS['otlp-grpc']}"


def test_a_drain_may_take_mosso_and_one_collector_at_a_time(rendered):
    pods = rendered.get("StatefulSet", "mosso")["spec"]["template"]["metadata"]["labels"]
    budget = rendered.get("PodDisruptionBudget", "mosso")["spec"]
    assert budget["selector"]["matchLabels"].items() <= pods.items()
    assert budget["maxUnavailable"] == 1 and budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert rendered.get("PodDisruptionBudget", "otel-collector")["spec"]["minAvailable"] == 1


def test_collectors_spread_over_nodes_and_zones(rendered):
    spec, _ = rendered.pod("Deployment", "otel-collector")
    labels = rendered.get("Deployment", "otel-collector")["spec"]["template"]["metadata"]["labels"]
    spread = spec["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert all(one["labelSelector"]["matchLabels"].items() <= labels.items() for one in spread)


def test_policies_let_in_collectors_grafana_and_prometheus_and_nothing_else(rendered):
    mosso = rendered.get("NetworkPolicy", "mosso")["spec"]
    collector = rendered.get("NetworkPolicy", "otel-collector")["spec"]
    for kind, name, policy in [("StatefulSet", "mosso", mosso), ("Deployment", "otel-collector", collector)]:
        pod = rendered.get(kind, name)["spec"]["template"]
        assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        [container] = pod["spec"]["containers"]
        named = {port["name"] for port in container["ports"]}
        assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} <= named
    sends, asks = mosso["ingress"]
    collectors = rendered.get("Deployment", "otel-collector")["spec"]["template"]["metadata"]["labels"]
    assert sends["from"] == [
        {"podSelector": {"matchLabels": {"app.kubernetes.io/name": collectors["app.kubernetes.io/name"]}}}
    ]
    [expression] = asks["from"][0]["podSelector"]["matchExpressions"]
    assert expression["values"] == ["grafana", "prometheus"] and asks["ports"] == [{"port": "http"}]
    [_, to_mosso] = collector["egress"]
    assert to_mosso["ports"] == [{"port": "otlp-grpc"}]


def test_s3_lets_mosso_reach_the_bucket_and_single_does_not():
    def egress(overlay: str) -> list:
        policy = Rendered(REPOSITORY / "k8s" / "overlays" / overlay).get("NetworkPolicy", "mosso")
        return [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]

    assert egress("single") == [53, 53, 9090]
    assert egress("s3") == [53, 53, 9090, 443]


def test_the_monitor_scrapes_the_one_service_of_mosso_under_the_job_that_alerts_name(rendered):
    [monitor] = [thing for thing in kustomized(MONITORING) if thing["kind"] == "ServiceMonitor"]
    selector = monitor["spec"]["selector"]
    [not_this] = selector["matchExpressions"]
    scraped = [
        thing["metadata"]
        for thing in rendered.objects
        if thing["kind"] == "Service"
        and selector["matchLabels"].items() <= thing["metadata"]["labels"].items()
        and thing["metadata"]["labels"].get(not_this["key"]) not in not_this["values"]
    ]
    assert [metadata["name"] for metadata in scraped] == ["mosso"]
    assert scraped[0]["labels"][monitor["spec"]["jobLabel"]] == "mosso"
    [pod_monitor] = [thing for thing in kustomized(MONITORING) if thing["kind"] == "PodMonitor"]
    _, collector = rendered.pod("Deployment", "otel-collector")
    [endpoint] = pod_monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in collector["ports"]}


def test_collector_service_and_disruption_budget_select_the_collectors(rendered):
    pod_labels = rendered.get("Deployment", "otel-collector")["spec"]["template"]["metadata"]["labels"]
    service = rendered.get("Service", "otel-collector")["spec"]
    budget = rendered.get("PodDisruptionBudget", "otel-collector")["spec"]
    assert service["selector"].items() <= pod_labels.items()
    assert budget["selector"]["matchLabels"].items() <= pod_labels.items()
    assert {port["port"] for port in service["ports"]} == {4317, 4318}
    assert budget["minAvailable"] == 1


def test_collector_accepts_its_configuration(rendered, tmp_path):
    """The real collector, of the version that the image has."""
    file = tmp_path / "collector.yaml"
    file.write_text(content(rendered, "otel-collector-config", "collector.yaml"))
    otel_collector("validate", f"--config={file}")
    _, container = rendered.pod("Deployment", "otel-collector")
    version = otel_collector("--version").split()[-1]
    assert container["image"] == f"otel/opentelemetry-collector-contrib:{version}"


def test_grafana_is_pointed_at_the_service(rendered):
    config_map = rendered.get("ConfigMap", "grafana-datasource-mosso")
    assert config_map["metadata"]["name"] == "grafana-datasource-mosso"
    assert config_map["metadata"]["labels"]["grafana_datasource"] == "1"
    [datasource] = yaml.safe_load(content(rendered, "grafana-datasource-mosso", "mosso-datasource.yaml"))["datasources"]
    assert datasource["type"] == "tempo"
    assert datasource["url"] == f"http://{rendered.get('Service', 'mosso')['metadata']['name']}:{PORTS['http']}"
    settings = datasource["jsonData"]
    assert settings["nodeGraph"] == {"enabled": True}
    assert settings["streamingEnabled"] == {"search": False, "metrics": False}
    assert settings["serviceMap"]["datasourceUid"] == settings["tracesToMetrics"]["datasourceUid"] == "prometheus"
    assert settings["tracesToLogsV2"]["datasourceUid"] == "loki"
    # Grafana takes a single dollar in a provisioned file for a variable of its environment.
    for query in settings["tracesToMetrics"]["queries"]:
        assert "$" not in query["query"].replace("$$", "")


@pytest.mark.parametrize(("kind", "name"), [("StatefulSet", "mosso"), ("Deployment", "otel-collector")])
def test_pods_read_the_configuration_that_is_mounted(rendered, kind, name):
    spec, container = rendered.pod(kind, name)
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == "config"]
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "config"]
    config_map = rendered.get("ConfigMap", f"{name}-config")
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]
    [argument] = container["args"]
    folder, file = argument.split("=")[1].rsplit("/", 1)
    assert folder == mount["mountPath"]
    assert file in config_map["data"]


def test_single_has_its_own_namespace_and_storage_class():
    rendered = Rendered(REPOSITORY / "k8s" / "overlays" / "single")
    assert {thing["metadata"]["namespace"] for thing in rendered.objects if thing["kind"] != "Namespace"} == {"tracing"}
    labels = rendered.get("Namespace", "tracing")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    [claim] = rendered.get("StatefulSet", "mosso")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "standard"


def test_s3_names_the_bucket_in_the_configuration_and_takes_credentials_from_a_secret():
    rendered = Rendered(REPOSITORY / "k8s" / "overlays" / "s3")
    config = mosso_config(rendered)
    assert config["storage"]["trace"]["backend"] == "s3"
    s3 = config["storage"]["trace"]["s3"]
    assert s3["bucket"] and s3["endpoint"]
    assert not {"access_key", "secret_key", "session_token"} & s3.keys()
    assert {key: config[key] for key in config if key != "storage"} == mosso_config(
        Rendered(REPOSITORY / "k8s" / "base")
    )
    _, container = rendered.pod("StatefulSet", "mosso")
    assert container["envFrom"] == [{"secretRef": {"name": "mosso-s3"}}]
    assert not [thing for thing in rendered.objects if thing["kind"] == "Secret"], "a credential lies beside the files"


def test_mosso_accepts_the_configuration_of_the_cluster(rendered, tmp_path):
    file = tmp_path / "mosso.yaml"
    file.write_text(content(rendered, "mosso-config", "mosso.yaml"))
    assert_accepted(file)


def test_mosso_accepts_the_configuration_of_the_image():
    file = REPOSITORY / "deploy" / "mosso.yaml"
    assert_listens_everywhere(yaml.safe_load(file.read_text()))
    assert_accepted(file)


def test_image_runs_as_the_user_and_on_the_ports_of_the_cluster():
    """No container engine builds it here; this holds what the cluster relies on."""
    lines = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#")]

    def last(instruction: str) -> str:
        return [text for name, text in steps if name == instruction][-1]

    rust_version = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    assert steps[0][1].startswith(f"rust:{rust_version}-")
    assert last("USER") == "10001:10001"
    assert last("EXPOSE").split() == [str(port) for port in PORTS.values()]
    assert last("VOLUME") == "/var/mosso"
    assert last("ENTRYPOINT") == '["/usr/local/bin/mosso"]'
    assert last("CMD") == '["-config.file=/etc/mosso/mosso.yaml"]'
    assert "COPY deploy/mosso.yaml /etc/mosso/mosso.yaml" in lines


def otel_collector(*arguments: str) -> str:
    ended = subprocess.run([os.environ["E2E_COLLECTOR"], *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def content(rendered: Rendered, config_map: str, file: str) -> str:
    return rendered.get("ConfigMap", config_map)["data"][file]


def mosso_config(rendered: Rendered) -> dict:
    return yaml.safe_load(content(rendered, "mosso-config", "mosso.yaml"))


def collector_config(rendered: Rendered) -> dict:
    return yaml.safe_load(content(rendered, "otel-collector-config", "collector.yaml"))


def assert_listens_everywhere(config: dict) -> None:
    protocols = config["distributor"]["receivers"]["otlp"]["protocols"]
    listeners = config["server"]
    assert (listeners["http_listen_address"], listeners["http_listen_port"]) == ("0.0.0.0", PORTS["http"])
    assert protocols["grpc"]["endpoint"] == f"0.0.0.0:{PORTS['otlp-grpc']}"
    assert protocols["http"]["endpoint"] == f"0.0.0.0:{PORTS['otlp-http']}"


def assert_accepted(file: Path) -> None:
    ended = server.run("check-config", str(file))
    assert ended.returncode == 0, ended.stdout
