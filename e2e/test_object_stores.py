"""Blocks in an object store: S3 (SeaweedFS, moto) and Azure (Azurite), each a real server on loopback."""

import os
import random
import re
import shutil
import subprocess
import threading
import time

import pytest
import requests
import yaml

import server
import stores
from api import Api, await_that
from load import SPANS_PER_TRACE, HttpSender, export_request
from server import Mosso
from test_start import assert_refused, ok

REQUESTS = 20
LARGE_REQUESTS = 10
RACE_ROUNDS = 15
# A start that finds no store gives up after the retries of one request, which end after 10 s.
GIVE_UP_SECONDS = 30
# What a conformance run asks: all that only reads, as in tests/e2e/conformance_suite.rs.
READ_ONLY = [
    *("trace_by_id", "search_legacy", "search_params", "traceql_filters", "traceql_structural", "traceql_pipeline"),
    *("metrics_range", "metrics_instant", "tags_v1", "tags_v2", "tag_values_v1", "tag_values_v2", "tempo_31"),
]


@pytest.fixture(params=[stores.SeaweedFs, stores.Moto, stores.Azurite], ids=lambda kind: kind.__name__)
def store(request, tmp_path):
    with request.param(tmp_path / "store") as running:
        yield running


@pytest.fixture
def seaweed(tmp_path):
    with stores.SeaweedFs(tmp_path / "store") as running:
        yield running


def test_traces_outlive_the_local_disk(store, tmp_path):
    with Mosso(tmp_path, storage=store.section()) as mosso:
        sent = send(mosso, "first", REQUESTS)
        assert_found(mosso, "first", sent)
        Api(mosso.http).flush()
        assert_found(mosso, "first", sent)
        assert not list(mosso.data.rglob("*.parquet")), "a block lies on the local disk"
        assert all(key.startswith(f"{stores.PREFIX}/") for key in store.keys())
        assert {name for key in store.keys() if (name := key.rsplit("/", 1)[1])} >= {"spans.parquet", "meta.json"}

        mosso.stop()
        shutil.rmtree(mosso.data)
        mosso.start()
        assert_found(mosso, "first", sent)
        more = send(mosso, "second", 1)
        Api(mosso.http).flush()
        assert_found(mosso, "second", more)
        requests_total = metric(mosso, "tempodb_backend_request_duration_seconds_count")
        assert requests_total > 10, "requests to the store are not counted"


def test_a_file_larger_than_a_part_is_uploaded_in_parts(seaweed, tmp_path):
    part_bytes = 5 << 20  # the least that S3 allows
    with Mosso(tmp_path, storage=seaweed.section(part_size=part_bytes)) as mosso:
        sent = send(mosso, "large", LARGE_REQUESTS, noise_bytes=2 * part_bytes // LARGE_REQUESTS)
        Api(mosso.http).flush()
        assert metric(mosso, 'tempodb_backend_request_duration_seconds_count{operation="POST",status_code="200"') >= 2
        assert_found(mosso, "large", sent)


def test_two_writers_race_for_every_manifest_and_lose_nothing(store, tmp_path):
    """Each round both publish a block, as nearly at once as two processes can."""
    folders = [tmp_path / name for name in ("left", "right")]
    for folder in folders:
        folder.mkdir()
    left, right = (Mosso(folder, storage=store.section()) for folder in folders)
    with left, right:
        sent = {}
        for number in range(RACE_ROUNDS):
            for mosso, side in ((left, "left"), (right, "right")):
                run = f"{side}-{number}"
                sent[run] = send(mosso, run, 1)
            flushes = [threading.Thread(target=Api(mosso.http).flush) for mosso in (left, right)]
            for flush in flushes:
                flush.start()
            for flush in flushes:
                flush.join()
        conflicts, blocks = (
            sum(metric(mosso, name) for mosso in (left, right))
            for name in ("mosso_manifest_commit_conflicts_total", "tempo_ingester_blocks_flushed_total")
        )
    assert conflicts > 0, "no two commits ever met"
    print(f"{conflicts:.0f} conflicts in {2 * RACE_ROUNDS} commits")
    assert blocks == 2 * RACE_ROUNDS
    with Mosso(tmp_path, storage=store.section()) as third:
        for run, trace_ids in sent.items():
            assert_found(third, run, trace_ids)


def test_a_store_that_goes_away_and_comes_back_costs_nothing(seaweed, tmp_path):
    with Mosso(tmp_path, storage=seaweed.section()) as mosso:
        before = send(mosso, "before", 1)
        Api(mosso.http).flush()
        seaweed.stop()
        during = send(mosso, "during", REQUESTS)
        refused = requests.post(f"{mosso.http}/flush", timeout=60)
        assert refused.status_code == 503, f"{refused.status_code} {refused.text}"
        assert stores.BUCKET in refused.text and "\n" not in refused.text.strip()
        assert metric(mosso, "tempo_ingester_failed_flushes_total") > 0
        mosso.stop()  # in time, although the store is away
        seaweed.start()
        mosso.start()
        await_that("the block is published", lambda: flushes(mosso))
        assert_found(mosso, "before", before)
        assert_found(mosso, "during", during)


def test_answers_from_a_store_are_those_of_tempo(seaweed, tmp_path):
    with Mosso(tmp_path, storage=seaweed.section()) as mosso:
        base = re.search(r"base (\d+):", conformance(mosso, "ingest"))[1]
        Api(mosso.http).flush()
        mosso.stop()
        shutil.rmtree(mosso.data)
        mosso.start()
        chosen = [f"--area={area}" for area in READ_ONLY]
        print(conformance(mosso, "check", "--no-ingest", f"--base={base}", *chosen))


@pytest.mark.parametrize(
    ("kind", "changes", "names"),
    [
        (stores.SeaweedFs, {"secret_key": "a-wrong-secret"}, "403"),
        (stores.SeaweedFs, {"access_key": "nobody"}, "403"),
        (stores.Moto, {"bucket": "nowhere"}, "NoSuchBucket"),  # SeaweedFS makes a bucket that is missing
        (stores.Azurite, {"storage_account_key": "d3Jvbmc="}, "403"),
        (stores.Azurite, {"container_name": "nowhere"}, "ContainerNotFound"),
    ],
)
def test_what_a_store_does_not_grant_is_named_at_the_start(kind, changes, names, tmp_path):
    """In one line, with the bucket and without the secret."""
    with kind(tmp_path / "store") as store:
        section = store.section(**changes)
        ended = start_in_vain(tmp_path, section)
    assert_refused(ended, names)
    bucket = changes.get("bucket") or changes.get("container_name") or stores.BUCKET
    assert re.search(f"open (s3 bucket|azure container) {bucket}:", ended.stdout)
    secrets = {stores.SECRET_KEY, stores.AZURITE_KEY, *changes.values()} - {"nobody", "nowhere"}
    assert not [secret for secret in secrets if secret in ended.stdout]


def test_a_store_that_cannot_be_reached_is_named(tmp_path):
    nothing = stores.SeaweedFs(tmp_path)
    assert_refused(start_in_vain(tmp_path, nothing.section()), nothing.address)


def test_secrets_are_not_shown(tmp_path):
    with stores.Moto(tmp_path / "store") as store, Mosso(tmp_path, storage=store.section()) as mosso:
        shown = requests.get(f"{mosso.http}/status/config", timeout=10).text
        config = yaml.safe_load(shown.split("---\n", 1)[1])
        assert config["storage"]["trace"]["s3"]["secret_key"] == "********"
        assert config["storage"]["trace"]["s3"]["access_key"] == stores.ACCESS_KEY
        assert stores.SECRET_KEY not in shown
        assert stores.SECRET_KEY not in mosso.log.read_text()


@pytest.mark.parametrize(
    ("trace", "names"),
    [
        ({"backend": "s3"}, "storage.trace.s3.bucket"),
        ({"backend": "s3", "s3": {"bucket": "b", "secret_key": "hush"}}, "access_key"),
        ({"backend": "s3", "s3": {"bucket": "b", "endpoint": "http://minio:9000"}}, "insecure"),
        ({"backend": "gcs"}, "storage.trace.gcs.bucket_name"),
        ({"backend": "azure", "azure": {"container_name": "c"}}, "storage.trace.azure.storage_account_name"),
        ({"backend": "tape"}, "tape"),
    ],
)
def test_settings_that_cannot_work_are_named(trace, names, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump({"storage": {"trace": trace}}))
    ended = server.run("check-config", str(file))
    assert_refused(ended, names)
    assert "hush" not in ended.stdout


def test_credentials_may_come_from_the_environment(tmp_path, monkeypatch):
    with stores.SeaweedFs(tmp_path / "store") as store:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", stores.ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", stores.SECRET_KEY)
        with Mosso(tmp_path, storage=store.section(access_key="", secret_key="")) as mosso:
            sent = send(mosso, "from-env", 1)
            Api(mosso.http).flush()
            assert_found(mosso, "from-env", sent)


def test_keys_of_tempo_that_change_nothing_are_named(tmp_path):
    file = tmp_path / "tempo.yaml"
    s3 = {"bucket": "tempo", "endpoint": "minio:9000", "insecure": True, "hedge_requests_at": "500ms"}
    file.write_text(yaml.safe_dump({"storage": {"trace": {"backend": "s3", "s3": s3, "pool": {"max_workers": 100}}}}))
    said = ok(server.run("check-config", str(file)))
    assert "storage.trace.s3.hedge_requests_at" in said and "storage.trace.pool" in said


def send(mosso: Mosso, run: str, requests_count: int, noise_bytes: int = 0) -> list[str]:
    """Sends that many requests, each with so much that cannot be compressed, and returns the ids of their traces."""
    sender, rng = HttpSender(mosso.otlp_http), random.Random(f"{run}/{time.time_ns()}")
    trace_ids = []
    for _ in range(requests_count):
        request, ids = export_request(rng, run)
        spans = request.resource_spans[0].scope_spans[0].spans
        for span in spans:
            span.attributes.add(key="noise").value.bytes_value = rng.randbytes(noise_bytes // len(spans))
        sender.send(request)
        trace_ids += ids
    return trace_ids


def assert_found(mosso: Mosso, run: str, trace_ids: list[str]) -> None:
    """By search each once, and by id each with all of its spans."""
    api = Api(mosso.http)
    assert sorted(api.search(f'{{ span.load.run = "{run}" }}')) == sorted(trace_ids), run
    for trace_id in trace_ids[:10]:
        assert len(api.trace(trace_id)) == SPANS_PER_TRACE, trace_id


def metric(mosso: Mosso, name: str) -> float:
    """The sum of a metric over all its labels, or over those that begin so."""
    starts = (name,) if "{" in name else (f"{name} ", f"{name}{{")
    lines = requests.get(f"{mosso.http}/metrics", timeout=10).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(starts))


def flushes(mosso: Mosso) -> bool:
    return requests.post(f"{mosso.http}/flush", timeout=60).status_code == 204


def start_in_vain(folder, storage: dict) -> subprocess.CompletedProcess:
    file = folder / "vain.yaml"
    file.write_text(yaml.safe_dump(server.config(folder / "vain", storage=storage)))
    return server.run(f"--config.file={file}", seconds=GIVE_UP_SECONDS)


def conformance(mosso: Mosso, *arguments: str) -> str:
    """Runs the conformance suite's own program; all that it checks must pass."""
    address = ["--api", mosso.http, "--otlp", mosso.otlp_http, "--grpc", mosso.otlp_grpc]
    ended = subprocess.run(
        [os.environ["E2E_CONFORMANCE"], *arguments, *address], capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr
    return ended.stdout
