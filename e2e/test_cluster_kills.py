"""Three processes over a bucket under load, of which one at a time is killed at random and started again, while the others are asked.

`E2E_KILL_SECONDS=300 python3 e2e/run.py test_cluster_kills.py -s` does so for five minutes.
"""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests

from cluster import assert_all_there, assert_whole, process, search_run, started
from load import Load
from server import Mosso

SECONDS = float(os.environ.get("E2E_KILL_SECONDS", "15"))
SECONDS_BETWEEN_KILLS = 5


def test_nothing_is_missing_while_one_process_after_another_is_killed(bucket, tmp_path):
    rng = random.Random(int(os.environ.get("E2E_SEED", "1")))
    names = ("one", "two", "three")
    with started(*(process(tmp_path, bucket, name) for name in names)) as processes, ThreadPoolExecutor(1) as threads:
        killing = Killing(processes, rng)
        reading = threads.submit(killing.read)
        try:
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline and not reading.done():
                killing.done.wait(SECONDS_BETWEEN_KILLS)
                killing.kill_one()
        finally:
            killing.done.set()
        answers, partial = reading.result()
        acknowledged = killing.end()
        for mosso in processes:
            for run, ids in acknowledged.items():
                assert_all_there(mosso, run, ids, rng)
        traces = sum(len(ids) for ids in acknowledged.values())
        print(f"{killing.kills} kills, {traces} traces acknowledged, {answers} answers of which {partial} said that they are partial")
        assert killing.kills > 0 and answers > 0


class Killing:
    """The processes that run, each with its load, and what was acknowledged so far."""

    def __init__(self, processes: list[Mosso], rng: random.Random):
        self.rng = rng
        self.done = threading.Event()
        self.kills = 0
        self._lock = threading.Lock()
        self._running = list(processes)
        self._loads: dict[str, Load] = {}
        self._of_process: dict[Mosso, Load] = {}
        self._starting: list[threading.Thread] = []
        for mosso in processes:
            self._load(mosso)

    def kill_one(self) -> None:
        """One that runs, if another does, too. It is started again in the background, and loaded when it is ready."""
        with self._lock:
            if len(self._running) < 2 or self.done.is_set():
                return
            mosso = self._running.pop(self.rng.randrange(len(self._running)))
            self.kills += 1
        mosso.kill()
        self._of_process.pop(mosso).stop()
        thread = threading.Thread(target=self._start, args=(mosso,))
        thread.start()
        self._starting.append(thread)

    def _start(self, mosso: Mosso) -> None:
        mosso.start()
        self._load(mosso)
        with self._lock:
            self._running.append(mosso)

    def _load(self, mosso: Mosso) -> None:
        load = Load.against(mosso, f"{mosso.folder.name}-{self.kills}", 1)
        self._loads[load.run] = self._of_process[mosso] = load
        load.start()

    def read(self) -> tuple[int, int]:
        """Asks processes at random for what was acknowledged before, until it is done. How many answers came, and said that
        they are partial."""
        rng, answers, partial = random.Random(2), 0, 0
        while not self.done.is_set():
            run, load = rng.choice(list(self._loads.items()))
            acknowledged = list(load.acknowledged)
            with self._lock:
                mosso, kills = rng.choice(self._running), self.kills
            try:
                spans, lacks = search_run(mosso, run)
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                assert self.kills > kills, f"{mosso.folder.name} broke off, and nothing was killed"
                continue
            answers += 1
            if lacks is None:
                assert_whole(mosso, spans, acknowledged)
            else:
                partial += 1
        return answers, partial

    def end(self) -> dict[str, list[str]]:
        """Waits until all run again, and returns what was acknowledged, by run."""
        for thread in self._starting:
            thread.join()
        for load in self._of_process.values():
            load.stop()
        return {run: load.acknowledged for run, load in self._loads.items()}
