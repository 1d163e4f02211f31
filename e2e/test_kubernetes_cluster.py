"""k8s/overlays/cluster: several mosso over one bucket, rendered by kubectl and saying what they should say."""

import re

import pytest
import yaml

import server
from test_kubernetes import (
    CLUSTER,
    MONITORING,
    ROOTS,
    Rendered,
    assert_listens_everywhere,
    assert_restricted,
    collector_config,
    content,
    kustomized,
    mosso_config,
    otel_collector,
)

PARTS = ["writer", "querier", "compactor"]
PORTS = {
    "writer": {"http": 3200, "cluster": 4319, "otlp-grpc": 4317, "otlp-http": 4318},
    "querier": {"http": 3200, "cluster": 4319},
    "compactor": {"http": 3200, "cluster": 4319},
}
# docs/cluster.md: a writer publishes what it has for up to 15 s after SIGTERM, and should be given 30.
STOP_SECONDS = 30


def flags(part: str) -> list[str]:
    return [f"-target={part}", "-cluster.advertise-address=$(POD_IP):4319", "-cluster.zone=$(ZONE)"]


@pytest.fixture(scope="module")
def cluster() -> Rendered:
    return Rendered(CLUSTER)


@pytest.fixture(scope="module")
def single() -> Rendered:
    [root] = [root for root in ROOTS if root.name == "s3"]
    return Rendered(root)


def test_no_pod_has_a_volume(cluster):
    kinds = {thing["kind"] for thing in cluster.objects}
    assert not kinds & {"StatefulSet", "PersistentVolumeClaim"}
    for part in PARTS:
        spec, _ = cluster.pod("Deployment", f"mosso-{part}")
        assert [volume.keys() for volume in spec["volumes"]] == [{"name", "configMap"}]


@pytest.mark.parametrize("part", PARTS)
def test_a_pod_is_that_of_one_process_but_for_its_volume(part, cluster, single):
    """What differs is said here; all else would be forgotten in one of them."""
    spec, container = cluster.pod("Deployment", f"mosso-{part}")
    theirs, their_container = single.pod("StatefulSet", "mosso")
    assert_restricted(spec)
    for name in ("livenessProbe", "readinessProbe", "resources", "securityContext", "image", "envFrom"):
        assert container[name] == their_container[name], name
    for name in ("serviceAccountName", "automountServiceAccountToken", "enableServiceLinks"):
        assert spec[name] == theirs[name], name
    of_volumes = {"fsGroup", "fsGroupChangePolicy"}
    assert spec["securityContext"] == {k: v for k, v in theirs["securityContext"].items() if k not in of_volumes}
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == PORTS[part]
    startup = container["startupProbe"]
    assert startup["httpGet"] == container["readinessProbe"]["httpGet"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 60


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_rolled_one_by_one_and_given_time_to_publish(part, cluster):
    deployment = cluster.get("Deployment", f"mosso-{part}")["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    spec, container = cluster.pod("Deployment", f"mosso-{part}")
    stays = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    resolver = collector_config(cluster)["exporters"]["load_balancing/mosso"]["resolver"]["dns"]
    assert stays >= 2 * int(resolver["interval"].removesuffix("s")), "collectors have to learn that it goes"
    assert spec["terminationGracePeriodSeconds"] >= stays + STOP_SECONDS
    assert deployment["minReadySeconds"] >= 2 * int(resolver["interval"].removesuffix("s"))


@pytest.mark.parametrize("part", PARTS)
def test_a_part_spreads_and_is_drained_one_by_one(part, cluster):
    labels = cluster.get("Deployment", f"mosso-{part}")["spec"]["template"]["metadata"]["labels"]
    selector = cluster.get("Deployment", f"mosso-{part}")["spec"]["selector"]["matchLabels"]
    assert selector == {"app.kubernetes.io/name": "mosso", "app.kubernetes.io/component": part}
    assert selector.items() <= labels.items()
    spec, _ = cluster.pod("Deployment", f"mosso-{part}")
    spread = spec["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert all(one["labelSelector"]["matchLabels"] == selector for one in spread)
    budget = cluster.get("PodDisruptionBudget", f"mosso-{part}")["spec"]
    assert budget["selector"]["matchLabels"] == selector
    assert budget["maxUnavailable"] == 1 and budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize("part", ["writer", "querier"])
def test_writers_and_queriers_are_as_many_as_their_load_asks_for(part, cluster):
    scaler = cluster.get("HorizontalPodAutoscaler", f"mosso-{part}")["spec"]
    deployment = cluster.get("Deployment", f"mosso-{part}")
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"mosso-{part}"}
    assert "replicas" not in deployment["spec"], "an apply would undo what the autoscaler decided"
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
    [metric] = scaler["metrics"]
    assert metric["resource"] == {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "1"}}


def test_every_pod_takes_the_configuration_says_what_it_does_and_where_it_is_reached(cluster):
    config_map = cluster.get("ConfigMap", "mosso-config")["metadata"]["name"]
    for part in PARTS:
        spec, container = cluster.pod("Deployment", f"mosso-{part}")
        [volume], [mount] = spec["volumes"], container["volumeMounts"]
        assert volume["configMap"]["name"] == config_map and mount["name"] == volume["name"]
        assert container["args"] == [f"-config.file={mount['mountPath']}/mosso.yaml", *flags(part)]
        fields = {variable["name"]: variable["valueFrom"]["fieldRef"]["fieldPath"] for variable in container["env"]}
        assert fields == {"POD_IP": "status.podIP", "ZONE": "metadata.labels['topology.kubernetes.io/zone']"}


@pytest.mark.parametrize(("part", "zone"), [("writer", ""), ("querier", "eu-west-1a"), ("compactor", "eu-west-1a")])
def test_mosso_accepts_the_configuration_of_every_part(part, zone, cluster, tmp_path):
    file = tmp_path / "mosso.yaml"
    file.write_text(content(cluster, "mosso-config", "mosso.yaml"))
    # as the kubelet fills them in
    known = {"$(POD_IP)": "10.0.0.7", "$(ZONE)": zone}
    filled = [re.sub(r"\$\(\w+\)", lambda name: known[name[0]], flag) for flag in flags(part)]
    ended = server.run(*filled, "check-config", str(file))
    assert ended.returncode == 0, ended.stdout
    ended = server.run("check-config", str(file))
    assert ended.returncode == 1 and "cluster.advertise_address" in ended.stdout, "the flags are not looked at"


def test_the_configuration_is_that_of_s3_and_a_cluster_with_its_log_on_the_bucket(cluster, single):
    config, theirs = mosso_config(cluster), mosso_config(single)
    assert_listens_everywhere(config)
    [section] = config.keys() - theirs.keys()
    assert section == "cluster" and theirs.keys() - config.keys() == {"data_dir"}
    assert {key: config[key] for key in config if key != section} == {k: v for k, v in theirs.items() if k != "data_dir"}
    assert config[section] == {
        "enabled": True,
        "log": "bucket",
        "listen_address": f"0.0.0.0:{PORTS['writer']['cluster']}",
    }


def test_collectors_send_each_trace_to_one_writer(cluster, single):
    config, theirs = collector_config(cluster), collector_config(single)
    assert {key: config[key] for key in config if key not in {"exporters", "service"}} == {
        key: theirs[key] for key in theirs if key not in {"exporters", "service"}
    }
    [pipeline], [their_pipeline] = (one["service"]["pipelines"].values() for one in (config, theirs))
    assert {**pipeline, "exporters": their_pipeline["exporters"]} == their_pipeline
    [name] = pipeline["exporters"]
    exporter, theirs = config["exporters"][name], theirs["exporters"]["otlp_grpc/mosso"]
    assert exporter["routing_key"] == "traceID"
    service = cluster.get("Service", "mosso-writer")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    resolver = exporter["resolver"]["dns"]
    assert (resolver["hostname"], resolver["port"]) == (service["metadata"]["name"], str(ports["otlp-grpc"]))
    assert service["spec"]["clusterIP"] == "None" and "publishNotReadyAddresses" not in service["spec"]
    # All waiting is done where a batch that failed is dealt out anew, and as long as in front of one process.
    one_writer = exporter["protocol"]["otlp"]
    assert not one_writer["sending_queue"]["enabled"] and not one_writer["retry_on_failure"]["enabled"]
    assert exporter["retry_on_failure"] == theirs["retry_on_failure"]
    assert exporter["sending_queue"] == {**theirs["sending_queue"], "num_consumers": 16}


def test_a_real_collector_accepts_its_configuration(cluster, tmp_path):
    file = tmp_path / "collector.yaml"
    file.write_text(content(cluster, "otel-collector-config", "collector.yaml"))
    otel_collector("validate", f"--config={file}")


def test_services_reach_what_they_are_for(cluster):
    for name, part in [("mosso", "querier"), ("mosso-writer", "writer"), ("mosso-compactor", "compactor")]:
        service = cluster.get("Service", name)["spec"]
        assert service["selector"] == {"app.kubernetes.io/name": "mosso", "app.kubernetes.io/component": part}
        open_ports = {port["name"]: port["port"] for port in service["ports"]}
        assert open_ports == {name: port for name, port in PORTS[part].items() if name != "cluster"}
        assert all(port["targetPort"] == port["name"] for port in service["ports"])
    [datasource] = yaml.safe_load(content(cluster, "grafana-datasource-mosso", "mosso-datasource.yaml"))["datasources"]
    assert datasource["url"] == "http://mosso:3200"


def test_the_monitor_scrapes_every_pod_once_under_the_job_that_alerts_name(cluster):
    [monitor] = [thing for thing in kustomized(MONITORING) if thing["kind"] == "ServiceMonitor"]
    wanted = monitor["spec"]["selector"]["matchLabels"]
    [not_this] = monitor["spec"]["selector"]["matchExpressions"]
    scraped = [
        thing
        for thing in cluster.objects
        if thing["kind"] == "Service"
        and wanted.items() <= thing["metadata"]["labels"].items()
        and thing["metadata"]["labels"].get(not_this["key"]) not in not_this["values"]
    ]
    assert sorted(thing["spec"]["selector"]["app.kubernetes.io/component"] for thing in scraped) == sorted(PARTS)
    assert {thing["metadata"]["labels"][monitor["spec"]["jobLabel"]] for thing in scraped} == {"mosso"}


def test_only_mosso_reaches_the_port_of_the_cluster(cluster, single):
    policy = cluster.get("NetworkPolicy", "mosso")["spec"]
    theirs = single.get("NetworkPolicy", "mosso")["spec"]
    ours = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "mosso"}}}
    assert policy["podSelector"] == ours["podSelector"] and policy["policyTypes"] == ["Ingress", "Egress"]
    # As for one process with a bucket, and from mosso to mosso.
    assert policy["ingress"] == [*theirs["ingress"], {"from": [ours], "ports": [{"port": "cluster"}]}]
    *same, to_each_other, to_the_bucket = policy["egress"]
    assert [*same, to_the_bucket] == theirs["egress"]
    assert to_each_other == {"to": [ours], "ports": [{"port": "cluster"}]}
    assert to_the_bucket == {"ports": [{"port": 443}]}
    for thing in cluster.objects:
        if thing["kind"] == "Service":
            assert "cluster" not in {port["name"] for port in thing["spec"]["ports"]}


def test_no_credential_lies_beside_the_files(cluster):
    assert not [thing for thing in cluster.objects if thing["kind"] == "Secret"]
    assert not {"access_key", "secret_key"} & mosso_config(cluster)["storage"]["trace"]["s3"].keys()


def test_the_namespace_admits_restricted_pods_only(cluster):
    labels = cluster.get("Namespace", "tracing")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {thing["metadata"]["namespace"] for thing in cluster.objects if thing["kind"] != "Namespace"} == {"tracing"}
