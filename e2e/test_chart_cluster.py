"""k8s/chart with cluster.enabled: several processes over a bucket, and the same as k8s/overlays/cluster where it should be."""

import copy

import pytest
import yaml

import server
from test_chart import CHART, Chart, helm
from test_kubernetes import CLUSTER, KUBERNETES, Rendered, assert_restricted, assert_valid, mosso_config
from test_kubernetes_cluster import PARTS

VALUES = {
    "cluster": {"enabled": True},
    "tempo": {
        "storage": {"trace": {"backend": "s3", "s3": {"bucket": "traces", "endpoint": "s3.eu-central-1.amazonaws.com"}}},
        "extraEnvFrom": [{"secretRef": {"name": "mosso-s3"}}],
    },
}

SET = ["cluster.enabled=true", "tempo.storage.trace.backend=s3"]


def with_values(**sections) -> dict:
    return {**copy.deepcopy(VALUES), **sections}


@pytest.fixture(scope="module")
def chart(tmp_path_factory) -> Chart:
    return Chart(tmp_path_factory.mktemp("chart"), VALUES)


@pytest.fixture(scope="module")
def overlay() -> Rendered:
    return Rendered(CLUSTER)


def without_names(thing):
    """With the chart's names and labels as those of the overlay."""
    if isinstance(thing, dict):
        return {key: without_names(value) for key, value in thing.items() if key != "app.kubernetes.io/instance"}
    if isinstance(thing, list):
        return [without_names(value) for value in thing]
    return thing.replace("tracing-mosso", "mosso") if isinstance(thing, str) else thing


def test_every_object_is_valid_and_none_has_a_volume(chart):
    for version in KUBERNETES:
        assert_valid(chart.objects, version)
    assert not {thing["kind"] for thing in chart.objects} & {"StatefulSet", "PersistentVolumeClaim"}
    ended = helm("lint", "--strict", str(CHART), *(f"--set={value}" for value in SET))
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_that_of_the_overlay(part, chart, overlay):
    ours, theirs = (
        chart.get("Deployment", f"tracing-mosso-{part}")["spec"],
        overlay.get("Deployment", f"mosso-{part}")["spec"],
    )
    for name in ("strategy", "minReadySeconds", "replicas", "selector"):
        assert without_names(ours.get(name)) == theirs.get(name), name
    pod, their_pod = ours["template"]["spec"], theirs["template"]["spec"]
    assert_restricted(pod)
    for name in ("securityContext", "automountServiceAccountToken", "enableServiceLinks", "topologySpreadConstraints"):
        assert without_names(pod[name]) == their_pod[name], name
    assert pod["terminationGracePeriodSeconds"] == their_pod["terminationGracePeriodSeconds"]
    [container], [their_container] = pod["containers"], their_pod["containers"]
    assert container["args"][1:] == their_container["args"][1:]
    for name in ("startupProbe", "readinessProbe", "livenessProbe", "resources", "securityContext"):
        assert container[name] == their_container[name], name
    for name in ("lifecycle", "env", "envFrom"):
        assert container[name] == their_container[name], name
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {
        port["name"]: port["containerPort"] for port in their_container["ports"]
    }


def test_scaling_drains_and_services_are_those_of_the_overlay(chart, overlay):
    for part in ("writer", "querier"):
        scaler = chart.get("HorizontalPodAutoscaler", f"tracing-mosso-{part}")["spec"]
        assert without_names(scaler) == overlay.get("HorizontalPodAutoscaler", f"mosso-{part}")["spec"]
    for part in PARTS:
        budget = chart.get("PodDisruptionBudget", f"tracing-mosso-{part}")["spec"]
        assert without_names(budget) == overlay.get("PodDisruptionBudget", f"mosso-{part}")["spec"]
    for name in ("mosso", "mosso-writer", "mosso-compactor"):
        ours, theirs = chart.get("Service", f"tracing-{name}")["spec"], overlay.get("Service", name)["spec"]
        assert without_names(ours["selector"]) == theirs["selector"]
        assert ours.get("clusterIP") == theirs.get("clusterIP")
        assert {port["name"]: port["port"] for port in ours["ports"]} == {
            port["name"]: port["port"] for port in theirs["ports"]
        }


def test_the_configuration_is_that_of_the_overlay_and_taken_by_mosso(chart, overlay, tmp_path):
    text = chart.get("ConfigMap", "tracing-mosso")["data"]["mosso.yaml"]
    config, theirs = yaml.safe_load(text), mosso_config(overlay)
    for name in ("cluster", "storage", "compactor", "distributor"):
        assert config[name] == theirs[name], name
    (tmp_path / "overrides.yaml").write_text(chart.get("ConfigMap", "tracing-mosso-overrides")["data"]["overrides.yaml"])
    file = tmp_path / "mosso.yaml"
    file.write_text(text.replace("/conf/overrides.yaml", str(tmp_path / "overrides.yaml")))
    ended = server.run("-target=writer", "-cluster.advertise-address=10.0.0.7:4319", "check-config", str(file))
    assert ended.returncode == 0, ended.stdout


def test_only_mosso_reaches_the_port_of_the_cluster(chart, tmp_path):
    ours = {"podSelector": {"matchLabels": chart.get("Service", "tracing-mosso")["spec"]["selector"]}}
    del ours["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
    rule = [{"port": "cluster", "protocol": "TCP"}]
    policy = chart.get("NetworkPolicy")["spec"]
    assert policy["podSelector"] == ours["podSelector"] and policy["policyTypes"] == ["Ingress"]
    everybody, each_other = policy["ingress"]
    assert each_other == {"ports": rule, "from": [ours]}
    assert 4319 not in {port["port"] for port in everybody["ports"]}
    strict = {"enabled": True, "allowExternal": False, "egress": {"enabled": True, "ports": [{"port": 443}]}}
    policy = Chart(tmp_path, with_values(networkPolicy=strict)).get("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert {"ports": rule, "to": [ours]} in policy["egress"]


def test_values_of_a_part_are_applied_to_it_alone(tmp_path):
    writer = {
        "autoscaling": {"enabled": False},
        "replicas": 5,
        "resources": {"requests": {"cpu": "2"}},
        "extraArgs": {"cluster.log-linger": "1s"},
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"disk": "none"},
        "tolerations": [{"operator": "Exists"}],
    }
    querier = {"autoscaling": {"targetCPUUtilizationPercentage": 300, "maxReplicas": 20}}
    chart = Chart(tmp_path, with_values(writer=writer, querier=querier, nodeSelector={"disk": "any"}))
    for version in KUBERNETES:
        assert_valid(chart.objects, version)
    deployment = chart.get("Deployment", "tracing-mosso-writer")["spec"]
    pod = deployment["template"]["spec"]
    assert deployment["replicas"] == 5 and deployment["template"]["metadata"]["annotations"]["a"] == "b"
    assert pod["nodeSelector"] == {"disk": "none"} and pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["containers"][0]["resources"]["requests"] == {"cpu": "2"}
    assert "-cluster.log-linger=1s" in pod["containers"][0]["args"]
    other = chart.get("Deployment", "tracing-mosso-querier")["spec"]["template"]["spec"]
    assert other["nodeSelector"] == {"disk": "any"} and "tolerations" not in other
    assert other["containers"][0]["resources"]["requests"]["cpu"] == "200m"
    scaler = chart.get("HorizontalPodAutoscaler")
    assert scaler["metadata"]["name"] == "tracing-mosso-querier" and scaler["spec"]["maxReplicas"] == 20
    [metric] = scaler["spec"]["metrics"]
    assert metric["resource"]["target"] == {"type": "Utilization", "averageUtilization": 300}


def test_receivers_open_their_ports_at_the_writers_alone(tmp_path):
    receivers = {"jaeger": {"protocols": {"grpc": None}}, "zipkin": None}
    values = with_values()
    values["tempo"]["receivers"] = receivers
    chart = Chart(tmp_path, values)
    ports = {
        name: {port["name"] for port in chart.get("Service", f"tracing-{name}")["spec"]["ports"]}
        for name in ("mosso", "mosso-writer", "mosso-compactor")
    }
    assert ports["mosso-writer"] == {"http", "otlp-grpc", "otlp-http", "jaeger-grpc", "zipkin"}
    assert ports["mosso"] == ports["mosso-compactor"] == {"http"}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"cluster": {"enabled": True}}, "the processes share a bucket"),
        ({**VALUES, "tempo": {**VALUES["tempo"], "metricsGenerator": {"enabled": True}}}, "need a log on a disk"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(values, reason, tmp_path):
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    ended = helm("template", "x", str(CHART), f"--values={tmp_path / 'values.yaml'}")
    assert ended.returncode != 0 and reason in ended.stderr, ended.stderr
