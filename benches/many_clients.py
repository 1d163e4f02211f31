#!/usr/bin/env python3
"""How long short questions take that many clients ask at once, beside ingest or at rest.

    cargo build --release && target/e2e-venv/bin/python benches/many_clients.py --store FOLDER --end SECONDS
    target/e2e-venv/bin/python benches/many_clients.py --store FOLDER --end SECONDS --clients 16 --rate 90000 --scans 0.25

FOLDER is a data folder with spans of the six hours before `--end`, of which a copy is used. Each client asks the newest, by
service, errors, slow ones, one value, a key that nothing has, a trace by id, values and names, one after the other, as fast as
they are answered; a share of `--scans` are metrics over all of it. Ranges end when the question is asked, so that what comes in
meanwhile is looked at, too. Sender and clients use the cores that the server uses. Prints answers a second and milliseconds, of all, of
each question, and of all in each two seconds: the first ones find nothing in memory, and after the first flush split traces are looked for.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from small_memory import REPOSITORY, Senders, Server

from crowd import Answer, Crowd, Question, Tally, ask

# by the seeds of their ids, which no stored trace has: as many as a collector sends with at a time
SENDERS = range(100, 110)
STRETCH_SECONDS = 2


class NoGroup:
    """In place of a control group: the server may take what the machine has."""

    def enter(self) -> None:
        pass


def main() -> int:
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="mosso-many-clients-", dir=arguments.folder) as folder:
        data = Path(folder) / "data"
        shutil.copytree(arguments.store, data, ignore=shutil.ignore_patterns("*.lock"))
        server = Server(arguments.mosso.resolve(), data, NoGroup(), Path(folder) / "mosso.log")
        try:
            clients = Clients(server.http, arguments)
            # a process of their own: one interpreter runs one thread at a time
            with ProcessPoolExecutor(1) as process:
                sent = process.submit(send, server.otlp, arguments.rate, arguments.seconds) if arguments.rate else None
                clients.run_for(arguments.seconds)
                if sent:
                    print("spans taken a second {:.0f}, requests refused {}".format(*sent.result()))
            all_answered = clients.report(arguments.seconds)
        finally:
            server.stop()
    return 0 if all_answered else 1


def send(address: str, rate: float, seconds: float) -> tuple[float, int]:
    """Sends for so long. Spans taken a second, and requests that were refused."""
    senders = Senders(address, 1 << 62, rate, seconds, SENDERS, as_they_happen=True)
    time.sleep(seconds)
    took = senders.stop()
    return senders.sent / took, len(senders.refused)


class Clients(Crowd):
    """A crowd whose answers nobody knows beforehand, because spans come in."""

    def __init__(self, address: str, arguments: argparse.Namespace):
        super().__init__(address, [], arguments.clients)
        self._start, self._scans = arguments.end - 6 * 3600, arguments.scans
        services = self._known("/api/v2/search/tag/resource.service.name/values", "tagValues")
        codes = self._known("/api/v2/search/tag/span.http.response.status_code/values", "tagValues")
        searches = ["{ }", "{ status = error }", "{ duration > 2s }", '{ span.no.such.key = "x" }']
        searches += [f'{{ resource.service.name = "{services[0]["value"]}" }}']
        searches += [f"{{ span.http.response.status_code = {code['value']} }}" for code in codes[:1]]
        self._short = [(f"search: {query}", "/api/search", (("q", query), ("limit", "20"))) for query in searches]
        self._short += [("values", "/api/v2/search/tag/resource.service.name/values", ()), ("names", "/api/v2/search/tags", ())]
        ids = self._known("/api/search", "traces", ("q", "{ }"), ("limit", "20"))
        self._short += [("trace", f"/api/v2/traces/{trace['traceID']}", ()) for trace in ids[:2]]
        functions = ["rate() by (resource.service.name)", "quantile_over_time(duration, .9) by (name)", "avg_over_time(duration)"]
        self._long = [
            (f"scan: {function}", "/api/metrics/query_range", (("q", f"{{ }} | {function}"), ("step", "60s")))
            for function in functions
        ]
        self._began, self._in_time = 0.0, {}

    def _known(self, path: str, key: str, *more) -> list:
        answer = ask(self._address, self._question("known", path, more))
        assert answer.status == 200, answer.body
        return json.loads(answer.body)[key]

    def _question(self, kind: str, path: str, parameters: tuple) -> Question:
        return Question(kind, path, (*parameters, ("start", str(self._start)), ("end", str(int(time.time())))))

    def _next(self, rng: random.Random) -> Question:
        return self._question(*rng.choice(self._long if rng.random() < self._scans else self._short))

    def run_for(self, seconds: float) -> Tally:
        self._began = time.monotonic()
        return super().run_for(seconds)

    def _count(self, question: Question, answer: Answer) -> None:
        if answer.status == 200:
            self.tally.seconds.setdefault(question.name, []).append(answer.seconds)
            if not question.name.startswith("scan"):
                stretch = int((time.monotonic() - self._began) / STRETCH_SECONDS)
                self._in_time.setdefault(f"{stretch * STRETCH_SECONDS} s", []).append(answer.seconds)
        else:
            self.tally.wrong.append(f"{question.name}: {answer.status} {answer.body[:200]!r}")

    def report(self, seconds: float) -> bool:
        """Prints what became of the questions; whether all were answered."""
        tally = self.tally
        print(f"answers a second {tally.right / seconds:.0f}, failed {len(tally.wrong)}")
        names = sorted(tally.seconds)
        kinds = sorted({name.split(":")[0] for name in names})
        line(tally, "short", tuple(kind for kind in kinds if kind != "scan"))
        for name in sorted({*kinds, *names}):
            line(tally, name, (name,))
        in_time = Tally(self._in_time)
        for stretch in sorted(self._in_time, key=lambda stretch: int(stretch.split()[0])):
            line(in_time, f"short, after {stretch}", (stretch,))
        for said in tally.wrong[:5]:
            print("   ", said)
        return not tally.wrong


def line(tally: Tally, name: str, kinds: tuple[str, ...]) -> None:
    count = sum(len(seconds) for kind, seconds in tally.seconds.items() if kind.startswith(kinds))
    p50, p99 = (1000 * tally.quantile(kinds, share) for share in (0.5, 0.99))
    print(f"{name:48} {count:7}   p50 {p50:7.1f}   p99 {p99:7.1f}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mosso", type=Path, default=REPOSITORY / "target/release/mosso")
    parser.add_argument("--store", type=Path, required=True, help="a data folder")
    parser.add_argument("--end", type=int, required=True, help="when its spans end, in seconds")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--rate", type=float, default=0, help="spans a second beside the clients (default: none)")
    parser.add_argument("--scans", type=float, default=0, help="share of questions that are metrics over all spans")
    parser.add_argument("--folder", default=None, help="where the copy is put (default: the folder for temporary files)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
