"""Tempo's recorded answers from any of three processes over a bucket, while the one that took the spans sleeps, dies, and another
is rolled."""

import re
import signal
from concurrent.futures import ThreadPoolExecutor

from cluster import process, started
from server import Mosso
from test_object_stores import conformance

# What needs every span of every trace, by the ways in which processes ask each other. All areas take minutes.
AREAS = ["trace_by_id", "search_params", "traceql_structural", "metrics_range", "tag_values_v2"]


def test_any_process_answers_as_tempo_while_one_sleeps_dies_and_is_rolled(bucket, tmp_path):
    writer, left, right = (process(tmp_path, bucket, name) for name in ("writer", "left", "right"))
    with started(writer, left, right):
        base = re.search(r"base (\d+):", conformance(writer, "ingest"))[1]
        writer.process.send_signal(signal.SIGSTOP)
        try:
            assert_conforms(base, left)
        finally:
            writer.process.send_signal(signal.SIGCONT)
        assert_conforms(base, right)
        writer.kill()
        assert_conforms(base, left, right)
        writer.start()
        with ThreadPoolExecutor(1) as threads:
            rolled = threads.submit(lambda: (left.stop(), left.start()))
            assert_conforms(base, writer, right)
            rolled.result()
        assert_conforms(base, left)


def assert_conforms(base: str, *processes: Mosso) -> None:
    """All of them at once."""
    chosen = [f"--area={area}" for area in AREAS]
    with ThreadPoolExecutor(len(processes)) as threads:
        reports = threads.map(lambda mosso: conformance(mosso, "check", "--no-ingest", f"--base={base}", *chosen), processes)
        for mosso, report in zip(processes, reports, strict=True):
            print(mosso.folder.name, report.splitlines()[-1])
