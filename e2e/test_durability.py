"""What was acknowledged is there: after kill -9 and after SIGTERM, both under load, by search and by id."""

import os
import random
import threading
import time

import pytest

from api import Api
from load import SPANS_PER_TRACE, Load
from server import Mosso

ROUNDS = 5
IDS_PER_ROUND = 150
# Small blocks: a kill meets cutting, writing and publishing blocks too, not only the log.
SMALL_BLOCKS = {"ingester": {"max_block_duration": "1s", "max_block_bytes": 1_000_000}}


@pytest.fixture
def seed() -> int:
    """Chooses the moments of the kills. Shown when a test fails; set E2E_SEED to repeat it."""
    chosen = int(os.environ.get("E2E_SEED", time.time_ns() % 1_000_000))
    print(f"E2E_SEED={chosen}")
    return chosen


@pytest.fixture
def mosso(tmp_path):
    with Mosso(tmp_path, **SMALL_BLOCKS) as running:
        yield running


def test_kill_under_load_loses_no_acknowledged_trace(mosso, seed):
    rng = random.Random(seed)
    rounds: dict[str, list[str]] = {}
    for number in range(ROUNDS):
        load = Load.against(mosso, f"round-{number}", seed).start()
        load.run_for(rng.uniform(1.5, 2.5))
        if number % 2:
            # The kill falls somewhere into the flush: while a block is cut, written or published, or right after.
            flush_in_background(mosso).join(rng.uniform(0, 0.5))
        mosso.kill()
        rounds[load.run] = load.stop()
        mosso.start()
        assert_all_there(mosso, load.run, rounds[load.run], rng)
    # All rounds once more, with everything in blocks: an early one may have been lost by a later kill.
    Api(mosso.http).flush()
    for run, acknowledged in rounds.items():
        assert_all_there(mosso, run, acknowledged, rng)
    print({run: len(acknowledged) for run, acknowledged in rounds.items()})


def test_sigterm_under_load_ends_in_time_and_loses_no_acknowledged_trace(mosso, seed):
    load = Load.against(mosso, "stopped", seed).start()
    load.run_for(2)
    took = mosso.stop()
    acknowledged = load.stop()
    mosso.start()
    assert_all_there(mosso, "stopped", acknowledged, random.Random(seed))
    print(f"stopped in {took:.2f} s, {len(acknowledged)} traces acknowledged")


def flush_in_background(mosso: Mosso) -> threading.Thread:
    """Starts POST /flush. It need not be answered: the process may be gone before."""

    def flush() -> None:
        try:
            Api(mosso.http).flush()
        except OSError:
            pass

    thread = threading.Thread(target=flush, daemon=True)
    thread.start()
    return thread


def assert_all_there(mosso: Mosso, run: str, acknowledged: list[str], rng: random.Random) -> None:
    """Every trace by search, a sample and the last ones by id. By id each has all of its spans, and each once."""
    api = Api(mosso.http)
    found = api.search(f'{{ span.load.run = "{run}" }}', limit=100_000)
    assert len(found) == len(set(found)), f"{run}: a trace is listed twice"
    lost = set(acknowledged) - set(found)
    assert not lost, f"{run}: {len(lost)} of {len(acknowledged)} acknowledged traces are not found by search"

    sample = set(rng.sample(acknowledged, min(IDS_PER_ROUND, len(acknowledged)))) | set(acknowledged[-40:])
    spans = {trace_id: len(api.trace(trace_id)) for trace_id in sample}
    wrong = {trace_id: count for trace_id, count in spans.items() if count != SPANS_PER_TRACE}
    assert not wrong, f"{run}: spans by trace id, {SPANS_PER_TRACE} sent: {wrong}"
