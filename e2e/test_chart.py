"""k8s/chart: linted, rendered with values as Tempo's users have them, valid, and accepted by mosso."""

import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from authority import Authority
from test_kubernetes import KUBERNETES, REPOSITORY, assert_accepted, assert_restricted, assert_valid

CHART = REPOSITORY / "k8s" / "chart"
ALL = {
    "serviceMonitor": {"enabled": True, "additionalLabels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True},
    "networkPolicy": {"enabled": True, "allowExternal": False, "egress": {"enabled": True, "ports": [{"port": 443}]}},
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "mosso"}},
        }
    ],
}
# Names that Tempo's single-binary chart has, with values as its users set them.
TEMPO_USER = {
    "fullnameOverride": "tempo",
    "tempo": {
        "tag": "0.1.0",
        "retention": "72h",
        "multitenancyEnabled": True,
        "memBallastSizeMbs": 1024,
        "server": {"http_listen_port": 3100},
        "resources": {"limits": {"memory": "2Gi"}},
        "ingester": {"max_block_duration": "10m"},
        "storage": {
            "trace": {
                "backend": "local",
                "local": {"path": "/var/tempo/traces"},
                "wal": {"path": "/var/tempo/wal"},
            }
        },
        "per_tenant_overrides": {"team-a": {"compaction": {"block_retention": "24h"}}},
        "extraArgs": {"log.level": "debug"},
        "extraEnv": [{"name": "A", "value": "b"}],
        "extraEnvFrom": [{"secretRef": {"name": "s3"}}],
    },
    "persistence": {"enabled": True, "size": "50Gi", "storageClassName": "fast"},
    "podAnnotations": {"a": "b"},
    "global": {"imageRegistry": "registry.example.com"},
    "extraContainers": [{"name": "shipper", "image": "shipper:1"}],
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/tempo"}},
    "revisionHistoryLimit": 3,
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"operator": "Exists"}],
    "tempoQuery": {"enabled": False},
}


class Chart:
    """What Helm makes of the chart with some values."""

    def __init__(self, folder: Path, values: dict | None = None):
        file = folder / "values.yaml"
        file.write_text(yaml.safe_dump(values or {}))
        ended = helm("template", "tracing", str(CHART), "--namespace=tracing", f"--values={file}")
        assert ended.returncode == 0, ended.stderr
        self.objects = [thing for thing in yaml.safe_load_all(ended.stdout) if thing]

    def get(self, kind: str, name: str | None = None) -> dict:
        [found] = [
            thing for thing in self.objects if thing["kind"] == kind and name in (None, thing["metadata"]["name"])
        ]
        return found

    def container(self) -> dict:
        """mosso's; others may stand beside it."""
        return self.get("StatefulSet")["spec"]["template"]["spec"]["containers"][0]

    def file(self, name: str) -> str:
        full_name = self.get("StatefulSet")["metadata"]["name"]
        holder = f"{full_name}-overrides" if name == "overrides.yaml" else full_name
        return self.get("ConfigMap", holder)["data"][name]


def helm(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([os.environ["E2E_HELM"], *arguments], capture_output=True, text=True)


def test_chart_has_nothing_to_be_linted(tmp_path):
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(ALL))
    ended = helm("lint", "--strict", str(CHART), f"--values={tmp_path / 'values.yaml'}")
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("values", [{}, ALL, TEMPO_USER], ids=["defaults", "all", "tempo_user"])
def test_every_object_of_the_chart_is_valid(values, tmp_path):
    chart = Chart(tmp_path, values)
    for version in KUBERNETES:
        assert_valid(chart.objects, version)
    assert {thing["metadata"]["namespace"] for thing in chart.objects} == {"tracing"}
    pod = chart.get("StatefulSet")["spec"]["template"]["spec"]
    assert_restricted({**pod, "containers": [chart.container()]})


@pytest.mark.parametrize("values", [{}, TEMPO_USER], ids=["defaults", "tempo_user"])
def test_mosso_accepts_the_configuration_of_the_chart(values, tmp_path):
    chart = Chart(tmp_path, values)
    (tmp_path / "overrides.yaml").write_text(chart.file("overrides.yaml"))
    config = chart.file("mosso.yaml").replace("/conf/overrides.yaml", str(tmp_path / "overrides.yaml"))
    (tmp_path / "mosso.yaml").write_text(config)
    assert_accepted(tmp_path / "mosso.yaml")
    assert yaml.safe_load(config)["server"]["http_listen_address"] == "0.0.0.0"


def test_chart_names_the_image_that_is_released(tmp_path):
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert Chart(tmp_path).container()["image"] == f"ghcr.io/mosso-traces/mosso:{version}"


def test_chart_says_what_the_manifests_say(tmp_path):
    """One container in two ways to deploy it: what differs would be forgotten in one of them."""
    chart = Chart(tmp_path)
    manifest = yaml.safe_load((REPOSITORY / "k8s" / "base" / "mosso-statefulset.yaml").read_text())["spec"]["template"][
        "spec"
    ]
    pod = chart.get("StatefulSet")["spec"]["template"]["spec"]
    [ours] = manifest["containers"]
    for name in ("startupProbe", "readinessProbe", "livenessProbe", "resources", "securityContext"):
        assert chart.container()[name] == ours[name], name
    for name in (
        "securityContext",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "terminationGracePeriodSeconds",
    ):
        assert pod[name] == manifest[name], name
    assert {port["name"]: port["containerPort"] for port in chart.container()["ports"]} == {
        port["name"]: port["containerPort"] for port in ours["ports"]
    }
    assert yaml.safe_load(chart.file("mosso.yaml"))["compactor"]["compaction"]["block_retention"] == "168h"


def test_values_for_tempos_chart_are_applied(tmp_path):
    chart = Chart(tmp_path, TEMPO_USER)
    container = chart.container()
    assert container["image"] == "registry.example.com/mosso-traces/mosso:0.1.0"
    assert "-log.level=debug" in container["args"]
    assert container["env"] == [{"name": "A", "value": "b"}]
    assert container["envFrom"] == [{"secretRef": {"name": "s3"}}]
    assert container["resources"]["limits"]["memory"] == "2Gi"
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/var/mosso", "/var/tempo"}
    config = yaml.safe_load(chart.file("mosso.yaml"))
    assert config["multitenancy_enabled"] is True
    assert config["compactor"]["compaction"]["block_retention"] == "72h"
    assert config["ingester"]["max_block_duration"] == "10m"
    assert yaml.safe_load(chart.file("overrides.yaml"))["overrides"]["team-a"]
    service = chart.get("Service", "tempo")["spec"]["ports"]
    assert {port["name"]: port["port"] for port in service} == {"http": 3100, "otlp-grpc": 4317, "otlp-http": 4318}
    [claim] = chart.get("StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"
    assert claim["spec"]["storageClassName"] == "fast"
    assert "eks.amazonaws.com/role-arn" in chart.get("ServiceAccount")["metadata"]["annotations"]
    pod = chart.get("StatefulSet")["spec"]["template"]
    assert pod["metadata"]["annotations"]["a"] == "b"
    assert pod["spec"]["nodeSelector"] == {"disk": "fast"} and pod["spec"]["tolerations"] == [{"operator": "Exists"}]


def test_receivers_in_the_values_open_their_ports(tmp_path):
    jaeger = {"protocols": {"grpc": None, "thrift_http": {"endpoint": "0.0.0.0:14000"}, "thrift_compact": {}}}
    chart = Chart(tmp_path, {"tempo": {"receivers": {"jaeger": jaeger, "zipkin": None}}})
    ports = {
        port["name"]: (port["port"], port["protocol"])
        for port in chart.get("Service", "tracing-mosso")["spec"]["ports"]
    }
    assert ports["jaeger-grpc"] == (14250, "TCP") and ports["jaeger-http"] == (14000, "TCP")
    assert ports["jaeger-compact"] == (6831, "UDP") and "jaeger-binary" not in ports


def test_a_changed_configuration_rolls_the_pod(tmp_path):
    def checksum(values: dict) -> str:
        return Chart(tmp_path, values).get("StatefulSet")["spec"]["template"]["metadata"]["annotations"][
            "checksum/config"
        ]

    assert checksum({}) == checksum({"podLabels": {"a": "b"}})
    assert checksum({}) != checksum({"tempo": {"retention": "24h"}})
    # read again while mosso runs
    assert checksum({}) == checksum({"tempo": {"per_tenant_overrides": {"a": {}}}})


def test_limits_of_tenants_may_come_from_a_configmap_of_its_own(tmp_path):
    def sources(values: dict) -> list[str]:
        volumes = Chart(tmp_path, values).get("StatefulSet")["spec"]["template"]["spec"]["volumes"]
        [config] = [volume for volume in volumes if volume["name"] == "config"]
        return [source["configMap"]["name"] for source in config["projected"]["sources"]]

    assert sources({}) == ["tracing-mosso", "tracing-mosso-overrides"]
    values = {"tempo": {"overridesConfigMap": "limits"}}
    assert sources(values) == ["tracing-mosso", "limits"]
    names = {thing["metadata"]["name"] for thing in Chart(tmp_path, values).objects if thing["kind"] == "ConfigMap"}
    assert "tracing-mosso-overrides" not in names


def test_tls_is_on_every_listener_its_probes_and_its_scrapes(tmp_path):
    receivers = {
        "otlp": {"protocols": {"grpc": {"endpoint": "0.0.0.0:4317"}, "http": {"endpoint": "0.0.0.0:4318"}}},
        "jaeger": {"protocols": {"grpc": None, "thrift_http": {}, "thrift_compact": None}},
        "zipkin": None,
    }
    tls = {"enabled": True, "secretName": "mosso-tls", "clientCAKey": "ca.crt"}
    values = {"tls": tls, "tempo": {"receivers": receivers}, "serviceMonitor": {"enabled": True}}
    chart = Chart(tmp_path, values)
    for version in KUBERNETES:
        assert_valid(chart.objects, version)
    pair = {"cert_file": "/tls/tls.crt", "key_file": "/tls/tls.key"}
    asking = {**pair, "client_ca_file": "/tls/ca.crt"}
    config = yaml.safe_load(chart.file("mosso.yaml"))
    assert config["server"]["http_tls_config"] == {**asking, "client_auth_type": "VerifyClientCertIfGiven"}
    received = config["distributor"]["receivers"]
    with_tls = [*received["otlp"]["protocols"].values(), received["zipkin"]]
    with_tls += [received["jaeger"]["protocols"][name] for name in ("grpc", "thrift_http")]
    assert len(with_tls) == 5 and all(section["tls"] == asking for section in with_tls)
    assert not received["jaeger"]["protocols"]["thrift_compact"]
    container = chart.container()
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"
    assert {"name": "tls", "mountPath": "/tls", "readOnly": True} in container["volumeMounts"]
    [endpoint] = chart.get("ServiceMonitor")["spec"]["endpoints"]
    ca = {"secret": {"name": "mosso-tls", "key": "ca.crt"}}
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"] == {"serverName": "tracing-mosso.tracing.svc", "ca": ca}

    authority = Authority(tmp_path, "ca")
    made = authority.pair("tls")
    text = chart.file("mosso.yaml").replace("/conf/overrides.yaml", str(tmp_path / "overrides.yaml"))
    for name, file in (("tls.crt", made.certificate), ("tls.key", made.key), ("ca.crt", authority.certificate)):
        text = text.replace(f"/tls/{name}", file)
    (tmp_path / "overrides.yaml").write_text(chart.file("overrides.yaml"))
    (tmp_path / "mosso.yaml").write_text(text)
    assert_accepted(tmp_path / "mosso.yaml")


def test_generated_metrics_are_configured_when_asked_for(tmp_path):
    def generator(**values) -> tuple[dict, dict]:
        values = {"enabled": True, "remoteWriteUrl": "http://p:9090/w", **values}
        config = yaml.safe_load(Chart(tmp_path, {"tempo": {"metricsGenerator": values}}).file("mosso.yaml"))
        return config, config["metrics_generator"]

    config, section = generator()
    assert section["storage"]["remote_write"] == [{"url": "http://p:9090/w", "send_exemplars": True}]
    assert section.keys() == {"storage"}
    _, section = generator(processor={"span_metrics": {}}, storage={"remote_write": [{"url": "http://q"}]})
    assert section["processor"] == {"span_metrics": {}} and section["storage"]["remote_write"] == [{"url": "http://q"}]
    assert config["overrides"]["defaults"]["metrics_generator"]["processors"] == ["service-graphs", "span-metrics"]


def test_dashboards_and_alerts_of_the_chart_are_those_of_deploy(tmp_path):
    chart = Chart(tmp_path, ALL)
    monitoring = REPOSITORY / "deploy" / "monitoring"
    boards = chart.get("ConfigMap", "tracing-mosso-dashboards")["data"]
    assert {name: json.loads(text) for name, text in boards.items()} == {
        path.name: json.loads(path.read_text()) for path in (monitoring / "dashboards").iterdir()
    }
    assert chart.get("PrometheusRule")["spec"] == yaml.safe_load((monitoring / "alerts.yaml").read_text())
    [endpoint] = chart.get("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "mosso"}]


def test_a_packaged_chart_holds_all_that_its_folder_points_to(tmp_path):
    """The folder has a link to deploy/monitoring; a package has to bring those files, and not those that nothing reads."""
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(ALL))
    assert helm("package", str(CHART), f"--destination={tmp_path}").returncode == 0
    [package] = tmp_path.glob("*.tgz")
    rendered = [
        helm("template", "x", str(chart), f"--values={tmp_path / 'values.yaml'}").stdout for chart in (package, CHART)
    ]
    assert rendered[0] == rendered[1] != ""
    with tarfile.open(package) as archive:
        packed = {Path(name).relative_to("mosso") for name in archive.getnames()}
    assert Path("monitoring/alerts.yaml") in packed and Path("monitoring/dashboards/reads.json") in packed
    assert not packed & {Path("monitoring/dashboards.py"), Path("monitoring/alerts-test.yaml")}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"replicas": 2}, "one process owns the volume"),
        ({"config": "a: [b"}, "config is no YAML"),
        ({"tempoQuery": {"enabled": True}}, "no Jaeger page"),
        ({"tls": {"enabled": True}}, "tls.secretName"),
        ({"route": {"main": {"enabled": True}}}, "makes no HTTPRoute"),
    ],
)
def test_values_that_cannot_work_are_refused_with_the_reason(values, reason, tmp_path):
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    ended = helm("template", "x", str(CHART), f"--values={tmp_path / 'values.yaml'}")
    assert ended.returncode != 0 and re.search(reason, ended.stderr), ended.stderr


def test_version_of_the_chart_is_that_of_the_program():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    cargo = (REPOSITORY / "Cargo.toml").read_text()
    assert f'version = "{chart["appVersion"]}"' in cargo and chart["version"] == chart["appVersion"]
