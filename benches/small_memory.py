#!/usr/bin/env python3
"""mosso in a control group of 512 MiB without swap: spans as fast as they are taken, then many clients beside ingest.

    cargo build --release && sudo python3 benches/small_memory.py --spans 20000000
    sudo python3 benches/small_memory.py --store FOLDER      # a copy of this data folder instead of spans that are sent first

Prints each figure beside the wanted one and ends with 1 when one is missed. Needs root, to make a control group (version 1
or 2), and the Python packages `opentelemetry-proto`, `grpcio` and `requests`: `target/e2e-venv/bin/python` has them. The same at a
size for every day is `e2e/test_memory.py`.
"""

import argparse
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "e2e"))

from crowd import Crowd, ask, questions  # noqa: E402
from load import Bulk  # noqa: E402
from ports import free_port  # noqa: E402

MIB = 1 << 20
SENDERS = 2


class ControlGroup:
    """A group with a limit of memory and no swap, of whichever version the system has."""

    def __init__(self, limit_bytes: int):
        first = Path("/sys/fs/cgroup/memory")
        self.is_v1 = first.is_dir()
        self.folder = (first if self.is_v1 else Path("/sys/fs/cgroup")) / f"mosso-small-memory-{os.getpid()}"
        try:
            self.folder.mkdir()
            self._write("memory.limit_in_bytes" if self.is_v1 else "memory.max", limit_bytes)
        except OSError as error:
            sys.exit(f"no control group can be made ({error}): run as root, where control groups may be written")
        for name, value in (("memory.swappiness", 0), ("memory.memsw.limit_in_bytes", limit_bytes), ("memory.swap.max", 0)):
            if (self.folder / name).exists():
                self._write(name, value)

    def _write(self, name: str, value: int) -> None:
        (self.folder / name).write_text(str(value))

    def enter(self) -> None:
        """For the process that calls, and all that it starts."""
        self._write("cgroup.procs", os.getpid())

    def kills(self) -> int:
        file = "memory.oom_control" if self.is_v1 else "memory.events"
        words = (line.split() for line in (self.folder / file).read_text().splitlines())
        return next((int(count) for name, count in words if name == "oom_kill"), 0)

    def remove(self) -> None:
        self.folder.rmdir()


class Server:
    """The process, in the group."""

    def __init__(self, binary: Path, data: Path, group: ControlGroup, log: Path):
        self.http, self.otlp = (f"127.0.0.1:{free_port()}" for _ in range(2))
        host, port = self.http.split(":")
        text = (
            f"server: {{ http_listen_address: {host}, http_listen_port: {port} }}\n"
            f"distributor: {{ receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: '{self.otlp}' }} }} }} }} }}\n"
            f"data_dir: '{data}'\n"
        )
        file = data.parent / "mosso.yaml"
        file.write_text(text)
        output = log.open("ab")
        self.process = subprocess.Popen(
            [binary, f"--config.file={file}"], stdout=output, stderr=output, preexec_fn=group.enter
        )
        deadline = time.monotonic() + 60
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"mosso did not get ready: see {log}")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            return self.call("GET", "/ready")[0] == 200
        except OSError:
            return False

    def call(self, method: str, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.http, timeout=300)
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def metric(self, name: str) -> float:
        lines = self.call("GET", "/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + "{", name + " ")))

    def kib(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith(name + ":"))

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


class Senders:
    """Threads that send so many spans, or until they are stopped; at most so many a second, 0 for no limit. One for each seed of ids.

    Spans lie in the seconds before, or, `as_they_happen`, each in those before it is sent.
    """

    def __init__(self, address: str, spans: int, rate: float, over_seconds: float, seeds: range, as_they_happen: bool = False):
        self.sent, self.refused, self._enough, self._lock = 0, [], threading.Event(), threading.Lock()
        self.longest = 0.0
        self._threads = [
            threading.Thread(target=self._run, args=(seed, address, spans // len(seeds), rate / len(seeds), over_seconds, as_they_happen))
            for seed in seeds
        ]
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def wait(self) -> float:
        """The seconds that it took."""
        for thread in self._threads:
            thread.join()
        return time.monotonic() - self._began

    def stop(self) -> float:
        self._enough.set()
        return self.wait()

    def _run(self, seed: int, address: str, spans: int, rate: float, over_seconds: float, as_they_happen: bool) -> None:
        ahead_nanos = int(over_seconds * 1e9) if as_they_happen else -2_000_000_000
        bulk = Bulk(seed=seed, newest_nanos=time.time_ns() + ahead_nanos, over_seconds=over_seconds)
        connection, sent = http.client.HTTPConnection(address, timeout=60), 0
        while sent < spans and not self._enough.is_set():
            began = time.monotonic()
            body = bulk.request(time.time_ns() if as_they_happen else None)
            connection.request("POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"})
            answer = connection.getresponse()
            said = answer.read()
            with self._lock:
                self.longest = max(self.longest, time.monotonic() - began)
                if answer.status == 200:
                    self.sent += Bulk.SPANS
                else:
                    self.refused.append(f"{answer.status} {said[:200]!r}")
            sent += Bulk.SPANS if answer.status == 200 else 0
            if rate and (ahead := sent / rate - (time.monotonic() - self._began)) > 0:
                time.sleep(ahead)


class Report:
    def __init__(self):
        self.missed = 0

    def line(self, what: str, value, wanted: str = "", holds: bool = True) -> None:
        self.missed += not holds
        print(f"{what:52} {value!s:>24}   {wanted}{'' if holds else '   MISSED'}", flush=True)


def main() -> int:
    arguments = parse()
    limit_bytes = arguments.limit_mib * MIB
    group, report = ControlGroup(limit_bytes), Report()
    with tempfile.TemporaryDirectory(prefix="mosso-small-memory-", dir=arguments.folder) as folder:
        data = Path(folder) / "data"
        if arguments.store:
            shutil.copytree(arguments.store, data, ignore=shutil.ignore_patterns("*.lock"))
        server = Server(arguments.mosso.resolve(), data, group, Path(folder) / "mosso.log")
        try:
            if not arguments.store:
                fill(server, arguments.spans, report)
            crowded(server, arguments, report)
            peak = server.kib("VmHWM") << 10
            report.line("peak RSS of the process, MiB", peak // MIB, f"below {arguments.limit_mib}", peak < limit_bytes)
            report.line("killed for memory", group.kills(), "0", group.kills() == 0)
        finally:
            server.stop()
    group.remove()
    return 1 if report.missed else 0


def fill(server: Server, spans: int, report: Report) -> None:
    senders = Senders(server.otlp, spans, 0, over_seconds=6 * 3600, seeds=range(SENDERS))
    took = senders.wait()
    report.line("spans taken, thousand a second", f"{senders.sent / took / 1000:.0f}")
    report.line("requests refused while spans were sent", len(senders.refused), "0", not senders.refused)
    server.call("POST", "/flush")
    time.sleep(30)
    report.line("CPU seconds a million spans, merges of 30 s more", f"{server.cpu_seconds() / senders.sent * 1e6:.1f}")
    report.line("peak RSS while spans were sent, MiB", server.kib("VmHWM") >> 10)
    report.line("blocks", int(server.metric("tempodb_blocklist_length")))


def crowded(server: Server, arguments: argparse.Namespace, report: Report) -> None:
    end = int(time.time()) - 60 if not arguments.end else arguments.end
    asked = questions(server.http, end - arguments.range, end)
    alone = {}
    for question in asked:
        alone.setdefault(question.name.split(":")[0], []).append(ask(server.http, question).seconds)
    crowd = Crowd(server.http, asked, arguments.clients)
    blocks_before = server.metric("tempodb_blocklist_length")
    # traces of their own: spans for stored traces would change what is right, and split all of them
    senders = Senders(server.otlp, 1 << 62, arguments.rate, over_seconds=20, seeds=range(SENDERS, 2 * SENDERS))
    tally = crowd.run_for(arguments.seconds)
    took = senders.stop()
    report.line("answers, right", tally.right, f"by {arguments.clients} clients in {arguments.seconds} s")
    report.line("answers, wrong or broken off", len(tally.wrong), "0", not tally.wrong)
    report.line("answers, refused with a word", len(tally.refused))
    report.line("spans taken meanwhile, thousand a second", f"{senders.sent / took / 1000:.0f}", f"{arguments.rate / 1000:.0f}")
    report.line("requests with spans refused", len(senders.refused), "0", not senders.refused)
    report.line("longest request with spans, s", f"{senders.longest:.1f}")
    report.line("blocks before, after", f"{blocks_before:.0f}, {server.metric('tempodb_blocklist_length'):.0f}")
    for kinds in (("trace",), ("search",), ("values",), ("metrics",)):
        alone_p50 = sorted(alone[kinds[0]])[len(alone[kinds[0]]) // 2]
        figures = [alone_p50, tally.quantile(kinds, 0.5), tally.quantile(kinds, 0.99)]
        report.line(f"{kinds[0]}: alone, p50, p99, ms", ", ".join(f"{1000 * figure:.0f}" for figure in figures))
    for said in (tally.wrong + tally.refused + senders.refused)[:5]:
        print("   ", said[:300])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mosso", type=Path, default=REPOSITORY / "target/release/mosso")
    parser.add_argument("--limit-mib", type=int, default=512)
    parser.add_argument("--spans", type=int, default=20_000_000, help="sent first, over six hours of their own time")
    parser.add_argument("--store", type=Path, help="a data folder that is copied in place of that")
    parser.add_argument("--end", type=int, default=0, help="end of the range that is asked about, in seconds (default: a minute ago)")
    parser.add_argument("--range", type=int, default=6 * 3600, help="its length in seconds")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rate", type=float, default=50_000, help="spans a second beside the clients")
    parser.add_argument("--folder", default=None, help="where the data is put (default: the folder for temporary files)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
