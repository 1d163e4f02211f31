"""From one process to a cluster with its log on the bucket, and back, as docs/runbook.md says it: nothing is missing after a move."""

import random
import time
from pathlib import Path

import stores
from api import await_that
from cluster import assert_all_there, process, says, started
from ports import free_port
from server import Mosso
from test_object_stores import metric, send

ALL_IN_BLOCKS = "all spans are in blocks, the others need not ask this process any more"
REQUESTS = 10


def test_one_process_with_a_volume_becomes_a_cluster_and_one_process_again(bucket, tmp_path):
    rng = random.Random(time.time_ns())
    one = Mosso(tmp_path)
    with one:
        sent = {"alone": send(one, "alone", REQUESTS)}

    # It starts as a member of a cluster that has no others, so it publishes what its log has when it stops.
    one.sections = {
        "cluster": {"enabled": True, "listen_address": f"127.0.0.1:{free_port()}"},
        "storage": {"trace": {"local": {"path": str(one.data / "blocks")}}},
    }
    with one:
        sent["last"] = send(one, "last", REQUESTS)
    assert says(one, ALL_IN_BLOCKS)
    copy(one.data / "blocks", bucket)

    writers = [process(tmp_path, bucket, name, target="writer") for name in ("left", "right")]
    querier = process(tmp_path, bucket, "querier", target="querier")
    with started(querier):
        with started(*writers):
            for mosso in writers:
                sent[mosso.folder.name] = send(mosso, mosso.folder.name, REQUESTS)
            for mosso in (querier, *writers):
                assert_found(mosso, sent, rng)
        assert all(says(mosso, ALL_IN_BLOCKS) for mosso in writers)
        # Nobody has anything that is not in blocks: the operator looks for this before the rest is stopped.
        await_that("nobody is asked any more", lambda: asks_nobody(querier, sent, rng))
    assert not any(mosso.data.exists() for mosso in (*writers, querier)), "a process of the cluster used a disk"

    back = Mosso(folder(tmp_path / "back"), storage=bucket.section())
    with back:
        assert_found(back, sent, rng)
        sent["back"] = send(back, "back", REQUESTS)
        assert_found(back, sent, rng)


def copy(blocks: Path, bucket: stores.S3Store) -> None:
    """As `aws s3 sync --exclude 'cluster/*'`."""
    client = bucket.client()
    for path in blocks.rglob("*"):
        key = path.relative_to(blocks)
        if path.is_file() and key.parts[0] != "cluster":
            client.upload_file(str(path), stores.BUCKET, f"{stores.PREFIX}/{key}")


def assert_found(mosso: Mosso, sent: dict[str, list[str]], rng: random.Random) -> None:
    for run, trace_ids in sent.items():
        assert_all_there(mosso, run, trace_ids, rng)


def asks_nobody(querier: Mosso, sent: dict[str, list[str]], rng: random.Random) -> bool:
    assert_found(querier, sent, rng)
    return metric(querier, "mosso_cluster_writers") == 0


def folder(path: Path) -> Path:
    path.mkdir()
    return path
