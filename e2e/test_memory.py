"""In little memory: many clients ask beside ingest, and the process stays within what a container of 512 MiB has.

`benches/small_memory.py` shows the same at the size of a store, with the limit enforced by the kernel.
"""

import threading
import time

import requests

from api import Api
from crowd import Crowd, questions
from load import Bulk
from server import Mosso

LIMIT_BYTES = 512 << 20
# What the process would plan with if it found that limit.
BUDGET_BYTES = LIMIT_BYTES // 5 * 3
# Small blocks, so that there are merges while the clients ask.
SMALL_BLOCKS = {"ingester": {"max_block_bytes": 6_000_000}, "memory": {"budget_bytes": BUDGET_BYTES}}
STORED_SPANS = 40_000
CLIENTS = 16
SECONDS = 20
# A request is sent again for so long: less than a collector does before it gives a batch up.
SEND_SECONDS = 60


def test_many_clients_beside_ingest_stay_within_the_memory_of_a_small_container(tmp_path):
    with Mosso(tmp_path, **SMALL_BLOCKS) as mosso:
        now = int(time.time())
        stored = Bulk(seed=1, newest_nanos=(now - 600) * 1_000_000_000, over_seconds=1200)
        for _ in range(STORED_SPANS // Bulk.SPANS):
            send(mosso, stored)
        Api(mosso.http).flush()
        crowd = Crowd(mosso.addresses.http, questions(mosso.addresses.http, now - 2000, now - 500), CLIENTS)
        ingest = Ingest(mosso)
        tally = crowd.run_for(SECONDS)
        acknowledged = ingest.stop()
        peak_bytes = peak(mosso.process.pid)
        print(f"{tally.right} right answers, {len(tally.refused)} refused, {acknowledged} spans taken, peak {peak_bytes >> 20} MiB")
        assert not tally.wrong, tally.wrong[:5]
        assert tally.right > 10 * len(tally.refused), f"{tally.right} answers, and refused: {tally.refused[:5]}"
        asked = {question.name for question in crowd.right}
        assert set(tally.seconds) == asked, f"never answered: {asked - set(tally.seconds)}, refused: {tally.refused[:5]}"
        assert peak_bytes < LIMIT_BYTES, f"{peak_bytes >> 20} MiB at the peak"


class Ingest:
    """Sends as fast as it is taken, until it is stopped. What is not acknowledged in the end is a failure."""

    def __init__(self, mosso: Mosso):
        self._mosso, self._enough, self._failure, self._sent = mosso, threading.Event(), None, 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The spans that were acknowledged."""
        self._enough.set()
        self._thread.join(60)
        assert self._failure is None, f"after {self._sent} spans: {self._failure}"
        assert self._sent > 0
        return self._sent

    def _run(self) -> None:
        bulk = Bulk(seed=2, newest_nanos=time.time_ns(), over_seconds=10)
        try:
            while not self._enough.is_set():
                send(self._mosso, bulk)
                self._sent += Bulk.SPANS
        except (requests.RequestException, AssertionError) as failure:
            self._failure = failure


def send(mosso: Mosso, bulk: Bulk) -> None:
    """Returns once the request is acknowledged. As a collector does, it comes back when it was told to come later."""
    headers, body, deadline = {"Content-Type": "application/x-protobuf"}, bulk.request(), time.monotonic() + SEND_SECONDS
    while True:
        answer = requests.post(f"{mosso.otlp_http}/v1/traces", body, headers=headers, timeout=SEND_SECONDS)
        if answer.status_code == 200:
            return
        assert answer.status_code == 429 and "Retry-After" in answer.headers, f"{answer.status_code} {answer.text[:300]}"
        assert time.monotonic() < deadline, f"refused for {SEND_SECONDS} s: {answer.text[:300]}"


def peak(pid: int) -> int:
    """Most memory that the process has had, in bytes."""
    with open(f"/proc/{pid}/status") as status:
        (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10
