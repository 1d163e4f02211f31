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
    spans, partial = search_run(mosso, run)
    assert partial is None, partial
    assert_whole(mosso, spans, acknowledged)
    # what was not acknowledged may be there, too, from the last requests of four senders
    assert len(spans) <= len(acknowledged) + 4 * TRACES_PER_REQUEST
    for trace_id in rng.sample(acknowledged, min(20, len(acknowledged))):
        assert len(Api(mosso.http).trace(trace_id)) == SPANS_PER_TRACE, trace_id


def search_run(mosso: Mosso, run: str) -> tuple[dict[str, int], str | None]:
    """How many spans of a run each trace has that a search finds, each of them once, and what it says that it lacks."""
    query, now = f'{{ span.load.run = "{run}" }}', int(time.time())
    asked = {"q": query, "limit": 100_000, "spss": 100, "start": now - 3600, "end": now + 60}
    answer = requests.get(f"{mosso.http}/api/search", params=asked, timeout=60)
    assert answer.status_code == 200, answer.text[:500]
    found = [(trace["traceID"].zfill(32), trace["spanSets"][0]["matched"]) for trace in answer.json()["traces"]]
    spans = dict(found)
    assert len(found) == len(spans), "a trace is there twice"
    return spans, answer.headers.get("x-mosso-partial")


def assert_whole(mosso: Mosso, spans: dict[str, int], acknowledged: list[str]) -> None:
    missing = [trace_id for trace_id in acknowledged if spans.get(trace_id) != SPANS_PER_TRACE]
    where = f"at {mosso.folder.name}, as {missing[:3]}"
    assert not missing, f"{len(missing)} of {len(acknowledged)} traces are not whole {where}"


def says(mosso: Mosso, text: str) -> bool:
    return text in mosso.log.read_text(errors="replace")
