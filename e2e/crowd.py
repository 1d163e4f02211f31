"""Many clients at once that ask what dashboards and people ask, and know the right answers.

Owns the questions, what of an answer must stay the same, and the clients. A question is about a range of time in which no
more spans arrive, so it has one right answer whatever else the process does. Standard library only: `benches/small_memory.py`
uses it, too.
"""

import http.client
import json
import random
import threading
import time
import urllib.parse
from dataclasses import dataclass, field

QUESTION_SECONDS = 120
# What a question may be answered with when there is no room for it: its own bounds, too many at once, stopping.
REFUSALS = (400, 429, 503)


@dataclass(frozen=True)
class Question:
    name: str
    path: str
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    seconds: float

    def essence(self, question: Question):
        """What must be the same however often and beside whatever it is asked: not figures of the work that was done."""
        answer = json.loads(self.body)
        match question.name.split(":")[0]:
            case "search":
                return sorted(trace["traceID"] for trace in answer["traces"])
            case "metrics":
                return sorted(json.dumps(series, sort_keys=True) for series in answer["series"])
            case "values":
                return sorted(str(value["value"]) for value in answer["tagValues"])
            case "trace":
                return sum(
                    len(scope["spans"]) for resource in answer["trace"]["resourceSpans"] for scope in resource["scopeSpans"]
                )
            case other:
                raise ValueError(other)

    def refusal(self) -> str | None:
        """What was said when it was refused; None when it was not, or without a word."""
        text = self.body.decode(errors="replace").strip()
        return text or None if self.status in REFUSALS else None


def ask(address: str, question: Question) -> Answer:
    connection = http.client.HTTPConnection(address, timeout=QUESTION_SECONDS)
    path = question.path + "?" + urllib.parse.urlencode(question.parameters)
    started = time.monotonic()
    connection.request("GET", path, headers={"Accept": "application/json"})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return Answer(response.status, body, time.monotonic() - started)


def questions(address: str, start: int, end: int) -> list[Question]:
    """Of each kind some, about the spans of that range, named by what the store has. Of metrics the intervals end at multiples of
    their step, the last one perhaps after the range, where spans still arrive; so the range is made to end at one."""
    step_seconds = max(1, (end - start) // 60)
    end -= end % step_seconds
    within = (("start", str(start)), ("end", str(end)))
    step = ("step", f"{step_seconds}s")

    def values(tag: str, *more) -> Question:
        return Question(f"values: {tag} {more}", f"/api/v2/search/tag/{tag}/values", (*within, *more))

    def search(query: str) -> Question:
        return Question(f"search: {query}", "/api/search", (("q", query), ("limit", "20"), *within))

    def metrics(query: str) -> Question:
        return Question(f"metrics: {query}", "/api/metrics/query_range", (("q", query), step, *within))

    def named(tag: str) -> list[str]:
        answer = ask(address, values(tag))
        assert answer.status == 200, answer.body
        return answer.essence(values(tag))

    services, names = named("resource.service.name"), named("name")
    needles = named("span.http.response.status_code")[:1] or named("span.http.status_code")[:1]
    first, last, name = services[0], services[-1], names[len(names) // 2]
    asked = [search("{ }"), search("{ status = error }"), search("{ duration > 400ms }"), search("{ } | count() > 3")]
    asked += [search(f'{{ resource.service.name = "{service}" }}') for service in (first, last)]
    asked += [search(f'{{ name = "{name}" }} && {{ kind = client }}'), search(f'{{ name =~ "{name[:3]}.*" && kind = server }}')]
    asked += [search(f"{{ .http.response.status_code = {code} || .http.status_code = {code} }}") for code in needles]
    asked += [search('{ span.no.such.key = "x" }'), search("{ kind = server } | by(resource.service.name) | avg(duration) > 1ms")]
    asked += [metrics("{ } | rate()"), metrics("{ } | rate() by (resource.service.name)")]
    asked += [metrics("{ status = error } | count_over_time() by (name)")]
    asked += [metrics("{ kind = server } | quantile_over_time(duration, .5, .99) by (resource.service.name)")]
    asked += [metrics(f'{{ resource.service.name = "{first}" }} | histogram_over_time(duration)')]
    asked += [values("name"), values("resource.service.name"), values("name", ("q", f'{{ resource.service.name = "{last}" }}'))]
    answer = ask(address, search("{ }"))
    asked += [Question(f"trace: {trace_id}", f"/api/v2/traces/{trace_id}") for trace_id in answer.essence(search("{ }"))[:8]]
    return asked


@dataclass
class Tally:
    """What became of the questions that a crowd asked."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def right(self) -> int:
        return sum(map(len, self.seconds.values()))

    def quantile(self, kinds: tuple[str, ...], share: float) -> float:
        """Of the seconds that right answers of these kinds took; 0 without one."""
        taken = sorted(s for name, all_ in self.seconds.items() if name.startswith(kinds) for s in all_)
        return taken[min(int(len(taken) * share), len(taken) - 1)] if taken else 0.0


class Crowd:
    """Clients that ask in an order of their own, one question after the other, until they are stopped."""

    def __init__(self, address: str, asked: list[Question], clients: int, seed: int = 7):
        self.right = {}
        for question in asked:
            answer = ask(address, question)
            assert answer.status == 200, f"alone, {question.name} gets {answer.status}: {answer.body[:300]!r}"
            self.right[question] = answer.essence(question)
        self.tally = Tally()
        self._address, self._lock, self._enough = address, threading.Lock(), threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(random.Random(f"{seed}/{number}"),), daemon=True)
            for number in range(clients)
        ]

    def run_for(self, seconds: float) -> Tally:
        for thread in self._threads:
            thread.start()
        self._enough.wait(seconds)
        self._enough.set()
        for thread in self._threads:
            thread.join(QUESTION_SECONDS)
            assert not thread.is_alive(), "a client hangs"
        return self.tally

    def _ask(self, rng: random.Random) -> None:
        while not self._enough.is_set():
            question = self._next(rng)
            try:
                answer = ask(self._address, question)
            except OSError as failure:
                with self._lock:
                    self.tally.wrong.append(f"{question.name}: {failure!r}")
                return
            with self._lock:
                self._count(question, answer)

    def _next(self, rng: random.Random) -> Question:
        return rng.choice(list(self.right))

    def _count(self, question: Question, answer: Answer) -> None:
        if answer.status == 200 and answer.essence(question) == self.right[question]:
            self.tally.seconds.setdefault(question.name, []).append(answer.seconds)
        elif said := answer.refusal():
            self.tally.refused.append(f"{question.name}: {answer.status} {said}")
        else:
            self.tally.wrong.append(f"{question.name}: {answer.status} {answer.body[:300]!r}")
