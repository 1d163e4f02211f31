"""Two collectors with k8s/overlays/cluster's configuration in front of two writers and a querier, over a real bucket."""

import json
import random
import time

import requests

import server
from api import Api, await_that
from cluster import assert_all_there, process, started
from load import SPANS_PER_TRACE, export_request
from otel_collector import OtelCollector
from ports import free_port
from server import Addresses, Mosso
from test_object_stores import metric
from test_operator import Cluster, well

WRITERS = ["127.0.0.1", "127.0.0.2"]
REQUESTS = 50
RETENTION = {"compaction": {"block_retention": "168h"}}


def test_collectors_send_each_trace_to_one_writer_and_lose_none_when_it_dies(bucket, tmp_path, background):
    rng, port = random.Random(time.time_ns()), free_port()
    writers = [writer(tmp_path, bucket, address, port) for address in WRITERS]
    querier = process(tmp_path, bucket, "querier", target="querier", compactor=RETENTION)
    resolve(tmp_path, WRITERS)
    with started(*writers, querier):
        collectors = [OtelCollector(background, tmp_path, writers_port=port) for _ in range(2)]
        whole = send_halves(collectors, rng, "whole")
        for mosso in (querier, *writers):
            await_that("all was exported", lambda mosso=mosso: counts(mosso, "whole", whole))
            assert_all_there(mosso, "whole", whole, rng)
        # A trace that lay at both would be in a block of each.
        traces = [traces_in_blocks_of(mosso, querier) for mosso in writers]
        assert traces[0] > 0 and traces[1] - traces[0] > 0, f"one writer had all: {traces}"
        assert traces[1] == len(whole), "a trace lies at two writers"

        # The operator's script finds what it sent through the collectors.
        services = {"mosso:3200": querier.http, "mosso-writer:3200": writers[0].http}
        services["otel-collector:4318"] = collectors[0].otlp_http
        services = {name: url.removeprefix("http://") for name, url in services.items()}
        well(Cluster(tmp_path, services).run("test.sh", "cluster", "--without-restart"))

        before = send_halves(collectors, rng, "before")
        await_that("all was exported", lambda: counts(querier, "before", before))
        writers[1].kill()
        during = send_halves(collectors, rng, "during")
        resolve(tmp_path, WRITERS[:1])
        for mosso in (writers[0], querier):
            assert_all_there(mosso, "before", before, rng)
            await_that("what came meanwhile is sent again", lambda mosso=mosso: counts(mosso, "during", during), 60)
            assert_all_there(mosso, "during", during, rng)
            assert metric(mosso, "mosso_peer_partial_views_total") == 0
        for collector in collectors:
            text = requests.get(f"http://{collector.metrics}/metrics", timeout=10).text
            assert "otelcol_exporter_sent_spans" in text
            lost = [line for line in text.splitlines() if "failed_spans" in line and not line.startswith("#")]
            assert all(line.endswith(" 0") for line in lost), lost


def writer(tmp_path, bucket, address: str, port: int) -> Mosso:
    mosso = process(tmp_path, bucket, f"writer-{address}", target="writer")
    http, otlp_http = (f"127.0.0.1:{free_port()}" for _ in range(2))
    mosso.addresses = Addresses(http=http, otlp_grpc=f"{address}:{port}", otlp_http=otlp_http)
    return mosso


def resolve(folder, addresses: list[str]) -> None:
    """What the collectors' name for the writers resolves to from now on, or in a few seconds."""
    new = folder / "hosts.new"
    new.write_text("".join(f"{address} mosso-writer\n" for address in addresses))
    new.rename(folder / "hosts")


def send_halves(collectors: list[OtelCollector], rng: random.Random, run: str) -> list[str]:
    """Traces whose spans go through both collectors, in requests of their own. Returns their ids."""
    [left, _], [_, right] = (collector.senders() for collector in collectors)
    sent = []
    for _ in range(REQUESTS):
        request, trace_ids = export_request(rng, run)
        other = type(request)()
        other.CopyFrom(request)
        for half, parity in ((request, 0), (other, 1)):
            spans = half.resource_spans[0].scope_spans[0].spans
            kept = [span for number, span in enumerate(spans) if number % 2 == parity]
            del spans[:]
            spans.extend(kept)
        left.send(request)
        right.send(other)
        sent += trace_ids
    return sent


def counts(mosso: Mosso, run: str, sent: list[str]) -> bool:
    """Whether all spans of a run are found, without looking at them one by one."""
    query = f'{{ span.load.run = "{run}" }} | count_over_time()'
    series = Api(mosso.http).get("/api/metrics/query", q=query, since="1h")["series"]
    return sum(int(one.get("value", 0)) for one in series) == len(sent) * SPANS_PER_TRACE


def traces_in_blocks_of(writer: Mosso, reader: Mosso) -> int:
    """Publishes what a writer has, and counts the traces of all blocks."""
    requests.post(f"{writer.http}/flush", timeout=60).raise_for_status()
    listed = server.run(f"--config.file={reader.folder / 'mosso.yaml'}", "blocks", "list", "--json")
    assert listed.returncode == 0, listed.stdout
    [tenant] = json.loads(listed.stdout)["tenants"]
    return sum(block["traces"] for block in tenant["manifest"]["blocks"])
