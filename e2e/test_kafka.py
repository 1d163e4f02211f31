"""Spans from Kafka: read at least once, by processes that share a topic, over restarts of everybody. The broker is franz-go's
stand-in for a cluster, which keeps its records and offsets on disk (`kafka/`)."""

import base64
import json
import os
import random
import socket
import subprocess
from pathlib import Path

import pytest
import requests

from api import Api, await_that
from authority import Authority
from load import export_request
from ports import free_port
from server import Mosso

KAFKA = os.environ["E2E_KAFKA"]
TOPIC, GROUP = "otlp_spans", "otel-collector"
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
# soon after a member has gone, others have its partitions
QUICK = {"session_timeout": "2s", "heartbeat_interval": "200ms", "initial_offset": "earliest"}


class Kafka:
    """A broker on a port of its own, and who writes to it."""

    def __init__(self, background, folder: Path, *options: str, host: str = "127.0.0.1"):
        self.background, self.port, self.options = background, free_port(), options
        self.data, self.broker = folder / "kafka", f"{host}:{self.port}"
        self.rng = random.Random(self.port)
        self.start()

    def start(self) -> None:
        self.process = self.background(KAFKA, "serve", f"-port={self.port}", f"-data={self.data}", *self.options)
        await_that("the broker listens", self._listens)

    def _listens(self) -> bool:
        assert self.process.poll() is None, "the broker has gone"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def produce(self, *values: bytes, partition: int = 0, codec: str = "none", header: str = "") -> None:
        """Returns when the broker has them."""
        options = [f"-broker={self.broker}", f"-partition={partition}", f"-codec={codec}", f"-header={header}"]
        lines = b"".join(base64.b64encode(value) + b"\n" for value in values)
        ended = subprocess.run([KAFKA, "produce", *options], input=lines, capture_output=True, timeout=60)
        assert ended.returncode == 0, ended.stderr.decode()

    def send(self, run: str, requests: int = 1, **options) -> set[str]:
        """Writes requests of spans; returns the ids of their traces."""
        made = [export_request(self.rng, run) for _ in range(requests)]
        self.produce(*(request.SerializeToString() for request, _ in made), **options)
        return {trace_id for _, ids in made for trace_id in ids}

    def committed(self) -> dict[str, int]:
        options = [f"-broker={self.broker}", f"-group={GROUP}"]
        ended = subprocess.run([KAFKA, "offsets", *options], capture_output=True, text=True, timeout=60, check=True)
        return json.loads(ended.stdout)

    def receiver(self, **settings) -> dict:
        return {"kafka": {"brokers": [self.broker], **QUICK, **settings}}


def found(mosso: Mosso, run: str) -> set[str]:
    return set(Api(mosso.http).search(f'{{ span.load.run = "{run}" }}'))


def spans_of(mosso: Mosso, run: str) -> int:
    query = f'{{ span.load.run = "{run}" }} | count_over_time()'
    series = Api(mosso.http).get("/api/metrics/query", q=query, since="1h")["series"]
    return int(series[0]["value"]) if series else 0


def counter(mosso: Mosso, name: str, *labels: str) -> float:
    lines = requests.get(f"{mosso.http}/metrics", timeout=10).text.splitlines()
    values = (line.rsplit(" ", 1)[1] for line in lines if line.startswith(name) and all(label in line for label in labels))
    return sum(map(float, values))


def test_records_are_stored_and_their_offsets_committed_however_they_are_packed(background, tmp_path):
    kafka = Kafka(background, tmp_path)
    with Mosso(tmp_path, receivers=kafka.receiver()) as mosso:
        sent = {codec: kafka.send(f"run-{codec}", 5, codec=codec) for codec in CODECS}
        for codec, ids in sent.items():
            await_that(f"all of {codec} is found", lambda: found(mosso, f"run-{codec}") == ids)
        await_that("all is committed", lambda: kafka.committed() == {f"{TOPIC}/0": 25})
        assert counter(mosso, "mosso_receiver_kafka_records_total", 'outcome="stored"') == 25
        accepted = ('receiver="kafka/kafka_receiver"', 'transport="otlp_proto"')
        assert counter(mosso, "tempo_receiver_accepted_spans", *accepted) == 25 * 4 * 5


def test_a_record_that_is_none_is_left_out_and_holds_up_nobody(background, tmp_path):
    kafka = Kafka(background, tmp_path)
    with Mosso(tmp_path, receivers=kafka.receiver()) as mosso:
        before, poison = kafka.send("before"), (b"\xff\xff not OTLP", b"")
        kafka.produce(*poison)
        after = kafka.send("after", codec="zstd")
        await_that("what stands behind is found", lambda: found(mosso, "before") == before and found(mosso, "after") == after)
        await_that("all is committed", lambda: kafka.committed() == {f"{TOPIC}/0": 4})
        assert counter(mosso, "mosso_receiver_kafka_records_total", 'outcome="malformed"') == 1
        assert 'offset=1 reason="malformed"' in mosso.log.read_text()


def test_restarts_of_either_side_lose_nothing_and_count_nothing_twice(background, tmp_path):
    kafka = Kafka(background, tmp_path)
    mosso = Mosso(tmp_path, receivers=kafka.receiver())
    sent = set()
    with mosso:
        for number in range(3):
            sent |= kafka.send("restarts", 20)
            if number == 0:
                mosso.kill()
                sent |= kafka.send("restarts", 20)
                mosso.start()
            elif number == 1:
                kafka.stop()
                kafka.start()
            else:
                mosso.stop()
                sent |= kafka.send("restarts", 20)
                mosso.start()
        await_that("all is found", lambda: found(mosso, "restarts") == sent, 60)
        assert spans_of(mosso, "restarts") == len(sent) * 5
        await_that("all is committed", lambda: kafka.committed() == {f"{TOPIC}/0": 100})


def test_processes_of_a_group_share_the_topic_and_take_over_from_each_other(background, tmp_path):
    kafka = Kafka(background, tmp_path, "-partitions=2")
    both = [Mosso(tmp_path / name, receivers=kafka.receiver()) for name in ("one", "two")]
    for mosso in both:
        mosso.folder.mkdir()
        mosso.start()

    def send() -> set[str]:
        return kafka.send("shared", 3, partition=0) | kafka.send("shared", 3, partition=1)

    try:
        await_that("each has a partition", lambda: {last_share(mosso) for mosso in both} == {"[0]", "[1]"}, 60)
        sent = send()
        await_that("all is found", lambda: found(both[0], "shared") | found(both[1], "shared") == sent)
        assert not found(both[0], "shared") & found(both[1], "shared"), "each record was read by one"

        both[1].kill()
        sent |= send()
        await_that("the other reads all", lambda: last_share(both[0]) == "[0, 1]", 60)
        both[1].start()
        await_that("they share again", lambda: {last_share(mosso) for mosso in both} == {"[0]", "[1]"}, 60)
        sent |= send()
        await_that("nothing was lost", lambda: found(both[0], "shared") | found(both[1], "shared") == sent)
        both[1].stop()
        await_that("one that is stopped leaves at once", lambda: last_share(both[0]) == "[0, 1]", 60)
    finally:
        for mosso in both:
            if mosso.process:
                mosso.kill()


def test_a_limit_makes_kafka_wait_and_loses_nothing(background, tmp_path):
    kafka = Kafka(background, tmp_path)
    limits = {"defaults": {"ingestion": {"rate_limit_bytes": 20_000, "burst_size_bytes": 20_000}}}
    with Mosso(tmp_path, receivers=kafka.receiver(), overrides=limits) as mosso:
        sent = kafka.send("limited", 20)
        await_that("all is found in the end", lambda: found(mosso, "limited") == sent, 60)
        assert counter(mosso, "mosso_receiver_kafka_records_total", 'outcome="retried"') > 0
        await_that("all is committed", lambda: kafka.committed() == {f"{TOPIC}/0": 20})


def test_a_header_names_the_tenant_and_without_one_a_record_is_left_out(background, tmp_path):
    kafka = Kafka(background, tmp_path)
    with Mosso(tmp_path, receivers=kafka.receiver(), multitenancy_enabled=True) as mosso:
        sent = kafka.send("tenants", header="X-Scope-OrgID=team-a")
        kafka.send("tenants")
        await_that("both are done with", lambda: kafka.committed() == {f"{TOPIC}/0": 2})
        asked = Api(mosso.http)
        asked.session.headers["X-Scope-OrgID"] = "team-a"
        assert set(asked.search("{ }")) == sent
        assert counter(mosso, "mosso_receiver_kafka_records_total", 'outcome="malformed"') == 1


@pytest.mark.parametrize("mechanism", ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"))
def test_brokers_that_ask_who_it_is_are_told_over_tls(mechanism, background, tmp_path):
    authority = Authority(tmp_path, "brokers")
    pair = authority.pair("broker")
    protected = (f"-cert={pair.certificate}", f"-key={pair.key}", "-user=mosso", "-password=hush", f"-mechanism={mechanism}")
    kafka = Kafka(background, tmp_path, *protected, host="localhost")
    user = {"username": "mosso", "password": "hush", "mechanism": mechanism}
    tls = {"ca_file": authority.certificate, "server_name_override": "localhost"}
    with Mosso(tmp_path, receivers=kafka.receiver(tls=tls, auth={"sasl": user})) as mosso:
        await_that("it has joined", lambda: last_share(mosso) == "[0]")
        assert counter(mosso, "mosso_receiver_kafka_failures_total") == 0
    wrong = {"sasl": {**user, "password": "hash"}}
    with Mosso(tmp_path, receivers=kafka.receiver(tls=tls, auth=wrong)) as mosso:
        await_that("it says who was refused", lambda: f"refuses {mechanism}" in mosso.log.read_text())
        assert "hash" not in mosso.log.read_text()
    with Mosso(tmp_path, receivers=kafka.receiver(auth={"sasl": user})) as mosso:
        await_that("it is counted", lambda: counter(mosso, "mosso_receiver_kafka_failures_total") > 0)


def test_zipkins_spans_come_by_kafka_too(background, tmp_path):
    kafka = Kafka(background, tmp_path)
    span = {"traceId": "463ac35c9f6413ad48485a3953bb6124", "id": "a2fb4a1d1a96d312", "name": "get /",
            "timestamp": 1_700_000_000_000_000, "duration": 207_000, "localEndpoint": {"serviceName": "frontend"}}  # fmt: skip
    with Mosso(tmp_path, receivers=kafka.receiver(traces={"encoding": "zipkin_json"})) as mosso:
        kafka.produce(json.dumps([span]).encode(), codec="snappy")
        [stored] = await_that("the span is there", lambda: Api(mosso.http).trace(span["traceId"]) if committed_one(kafka) else None)
        assert (stored.service, stored.name) == ("frontend", "get /")


def committed_one(kafka: Kafka) -> bool:
    return kafka.committed() == {f"{TOPIC}/0": 1}


def last_share(mosso: Mosso) -> str:
    """The partitions that a process has had last, as its log says."""
    shares = [line for line in mosso.log.read_text().splitlines() if "joined the group of Kafka" in line]
    return shares[-1].split("partitions=")[1].split("]")[0].lstrip('"') + "]" if shares else ""
