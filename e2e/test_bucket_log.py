"""Several processes over a bucket, with their logs on it: one of them dies or sleeps under load, and nothing is missing."""

import random
import re
import signal
import time

import requests

from api import Api, await_that
from cluster import ADOPTION_SECONDS, assert_all_there, process, says, search_run, started
from load import SPANS_PER_TRACE, Load
from server import Mosso
from test_object_stores import metric, send


def test_a_writer_that_is_killed_under_load_is_missed_by_nobody(bucket, tmp_path):
    rng = random.Random(time.time_ns())
    killed, *others = (process(tmp_path, bucket, name) for name in ("killed", "left", "right"))
    with others[0], others[1]:
        killed.start()
        loads = {mosso: Load.against(mosso, mosso.folder.name, 1).start() for mosso in (killed, *others)}
        loads[killed].run_for(4)
        print_costs(killed, len(loads[killed].acknowledged) * SPANS_PER_TRACE)
        killed.kill()
        acknowledged = {"killed": loads.pop(killed).stop()}
        assert not killed.data.exists(), "a writer whose log is on the bucket needs no disk"
        for mosso in others:  # and these go on taking spans
            assert_all_there(mosso, "killed", acknowledged["killed"], rng)
            assert metric(mosso, "mosso_peer_read_logs_total") > 0
        acknowledged |= {load.run: load.stop() for load in loads.values()}
        adopters = lambda: [mosso for mosso in others if says(mosso, "what it had is in blocks")]  # noqa: E731
        adopted = await_that("it is adopted", adopters, ADOPTION_SECONDS)
        assert len(adopted) == 1, "one of them does it"
        for mosso in others:
            for run, ids in acknowledged.items():
                assert_all_there(mosso, run, ids, rng)
            await_that("it is left out", lambda mosso=mosso: asks_one_other(mosso))
            assert metric(mosso, "mosso_peer_partial_views_total") == 0
        print({run: len(ids) for run, ids in acknowledged.items()})


def test_a_writer_that_slept_begins_anew_and_what_it_had_is_there_once(bucket, tmp_path):
    rng = random.Random(time.time_ns())
    asleep, awake = process(tmp_path, bucket, "asleep"), process(tmp_path, bucket, "awake")
    with asleep, awake:
        sent = send(asleep, "before", 20)
        asleep.process.send_signal(signal.SIGSTOP)
        try:
            assert_all_there(awake, "before", sent, rng)
            await_that("it is adopted", lambda: says(awake, "what it had is in blocks"), ADOPTION_SECONDS)
            assert_all_there(awake, "before", sent, rng)
        finally:
            asleep.process.send_signal(signal.SIGCONT)
        await_that("it begins anew", lambda: says(asleep, "starting again as another writer"), ADOPTION_SECONDS)
        await_that("it is ready", lambda: is_ready(asleep))
        more = send(asleep, "after", 5)
        for mosso in (asleep, awake):
            assert_all_there(mosso, "before", sent, rng)
            assert_all_there(mosso, "after", more, rng)


def test_what_is_on_a_disk_alone_is_missed_until_its_writer_is_back(bucket, tmp_path):
    rng = random.Random(time.time_ns())
    on_disk = process(tmp_path, bucket, "on-disk", cluster={"log_ack": "disk", "log_linger": "5s"})
    other = process(tmp_path, bucket, "other")
    with started(on_disk, other):
        shipped = send(on_disk, "shipped", 5)
        await_that("it is shipped", lambda: metric(on_disk, "mosso_bucket_log_stored_bytes_total") > 0)
        unshipped = send(on_disk, "unshipped", 5)
        for mosso in (on_disk, other):
            assert_all_there(mosso, "unshipped", unshipped, rng)
        on_disk.kill()
        lack = partial(other, "unshipped")
        assert lack and "the last of it is not" in lack, lack
        await_that("it is adopted", lambda: says(other, "what it had shipped is in blocks"), ADOPTION_SECONDS)
        assert partial(other, "unshipped"), "nobody knows whether it had more"
        on_disk.start()
        await_that("what it left is in blocks", lambda: says(on_disk, "what an earlier start left on the disk is in blocks"))
        await_that("nothing is missed", lambda: not partial(other, "unshipped"))
        for mosso in (on_disk, other):
            assert_all_there(mosso, "shipped", shipped, rng)
            assert_all_there(mosso, "unshipped", unshipped, rng)
        logs = lambda: [path for path in (on_disk.data / "wal").iterdir() if path.is_dir()]  # noqa: E731
        await_that("the folder of the earlier start is gone", lambda: len(logs()) == 1)


def partial(mosso: Mosso, run: str) -> str | None:
    """What a search says that it lacks."""
    return search_run(mosso, run)[1]


def asks_one_other(mosso: Mosso) -> bool:
    Api(mosso.http).search("{ }", limit=1)
    return metric(mosso, "mosso_cluster_writers") == 2


def is_ready(mosso: Mosso) -> bool:
    try:
        return requests.get(f"{mosso.http}/ready", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def print_costs(mosso: Mosso, spans: int) -> None:
    """What the log has cost so far, for a million spans."""
    text = requests.get(f"{mosso.http}/metrics", timeout=10).text
    requests_made = dict(re.findall(r'mosso_bucket_log_requests_total\{operation="(\w+)"\} (\d+)', text))
    raw, stored = (metric(mosso, f"mosso_bucket_log_{kind}_bytes_total") for kind in ("raw", "stored"))
    per_million = {name: int(count) * 1_000_000 // spans for name, count in requests_made.items()}
    print(f"for a million spans: {per_million}, {raw / stored:.1f} times smaller, {stored / spans:.0f} bytes a span")
