"""Several mosso over one bucket, with their logs on it: how a test starts one of them, and what it asks of them."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

import stores
from api import Api
from load import SPANS_PER_TRACE, TRACES_PER_REQUEST
from ports import free_port
from server import Mosso

# Within this time a writer that is gone is noticed (15 s without a word), sealed and adopted.
ADOPTION_SECONDS = 90


def process(folder: Path, store: stores.Store, name: str, **sections) -> Mosso:
    """A process that is not started yet; `sections` are added to its configuration."""
    folder = folder / name
    folder.mkdir()
    cluster = {"enabled": True, "listen_address": f"127.0.0.1:{free_port()}", "log": "bucket", "log_linger": "50ms"}
    return Mosso(folder, storage=store.section(), cluster={**cluster, **sections.pop("cluster", {})}, **sections)


@contextmanager
def started(*processes: Mosso):
    """All of them, started at once: each waits some seconds until the others know it."""
    with ExitStack() as stack:
        for mosso in processes:
            stack.push(mosso.__exit__)
        with ThreadPoolExecutor(len(processes)) as threads:
            list(threads.map(Mosso.start, processes))
        yield processes


def assert_all_there(mosso: Mosso, run: str, acknowledged: list[str], rng: random.Random) -> None:
    """Every acknowledged trace once, by search and (some) by id, in an answer that says that it is whole."""
    query, now = f'{{ span.load.run = "{run}" }}', int(time.time())
    asked = {"q": query, "limit": 100_000, "spss": 100, "start": now - 3600, "end": now + 60}
    answer = requests.get(f"{mosso.http}/api/search", params=asked, timeout=60)
    assert answer.status_code == 200, answer.text[:500]
    assert "x-mosso-partial" not in answer.headers, answer.headers["x-mosso-partial"]
    found = [(trace["traceID"].zfill(32), trace["spanSets"][0]["matched"]) for trace in answer.json()["traces"]]
    assert len(found) == len({trace_id for trace_id, _ in found}), "a trace is there twice"
    spans = dict(found)
    missing = [trace_id for trace_id in acknowledged if spans.get(trace_id) != SPANS_PER_TRACE]
    where = f"at {mosso.folder.name}, as {missing[:3]}"
    assert not missing, f"{len(missing)} of {len(acknowledged)} traces are not whole {where}"
    # what was not acknowledged may be there, too, from the last requests of four senders
    assert len(found) <= len(acknowledged) + 4 * TRACES_PER_REQUEST
    for trace_id in rng.sample(acknowledged, min(20, len(acknowledged))):
        assert len(Api(mosso.http).trace(trace_id)) == SPANS_PER_TRACE, trace_id


def says(mosso: Mosso, text: str) -> bool:
    return text in mosso.log.read_text(errors="replace")
