"""Steady OTLP traffic that knows exactly what was acknowledged.

Owns the generator (requests of small traces with ids of their own), the two senders, and `Load`, which runs several
senders at once until mosso goes away or the test has enough.
"""

import random
import threading
import time

import grpc
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACES_PER_REQUEST = 4
SPANS_PER_TRACE = 5
SERVICES = ("storefront", "cart", "payment")
SECOND = 1_000_000_000


def export_request(rng: random.Random, run: str) -> tuple[ExportTraceServiceRequest, list[str]]:
    """A request of `TRACES_PER_REQUEST` new traces, each of `SPANS_PER_TRACE` spans, and the ids of these traces.

    Every span carries `run` as its attribute `load.run`.
    """
    request = ExportTraceServiceRequest()
    service = request.resource_spans.add()
    service.resource.attributes.append(_string("service.name", rng.choice(SERVICES)))
    spans = service.scope_spans.add()
    spans.scope.name = "load"
    trace_ids = [rng.randbytes(16) for _ in range(TRACES_PER_REQUEST)]
    for trace_id in trace_ids:
        spans.spans.extend(_trace(rng, run, trace_id))
    return request, [trace_id.hex() for trace_id in trace_ids]


def _trace(rng: random.Random, run: str, trace_id: bytes) -> list[Span]:
    start = time.time_ns() - SECOND
    spans: list[Span] = []
    for number in range(SPANS_PER_TRACE):
        span = Span(
            trace_id=trace_id,
            span_id=rng.randbytes(8),
            parent_span_id=rng.choice(spans).span_id if spans else b"",
            name=f"GET /step/{number}",
            kind=Span.SPAN_KIND_SERVER if number == 0 else Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=start + number * 1_000_000,
            end_time_unix_nano=start + number * 1_000_000 + rng.randrange(SECOND // 2),
        )
        span.attributes.append(_string("load.run", run))
        span.attributes.append(_string("http.method", "GET"))
        span.attributes.append(_string("request.id", rng.randbytes(8).hex()))
        span.attributes.append(KeyValue(key="http.status_code", value=AnyValue(int_value=rng.choice((200, 404, 500)))))
        spans.append(span)
    return spans


def _string(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


class HttpSender:
    def __init__(self, url: str):
        self.url = f"{url}/v1/traces"
        self.session = requests.Session()

    def send(self, request: ExportTraceServiceRequest) -> None:
        """Returns once the request is acknowledged, raises when it was not."""
        headers = {"Content-Type": "application/x-protobuf"}
        self.session.post(self.url, request.SerializeToString(), headers=headers, timeout=20).raise_for_status()


class GrpcSender:
    def __init__(self, address: str):
        self.stub = TraceServiceStub(grpc.insecure_channel(address))

    def send(self, request: ExportTraceServiceRequest) -> None:
        """Returns once the request is acknowledged, raises when it was not."""
        self.stub.Export(request, timeout=20)


class Load:
    """Four senders in a closed loop. Each ends at its first refused or broken request, or at `stop`."""

    def __init__(self, senders: list, run: str, seed: int):
        self.run = run
        self.acknowledged: list[str] = []
        self.last_words: list[str] = []
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(sender, random.Random(f"{seed}/{run}/{number}")), daemon=True)
            for number, sender in enumerate(senders)
        ]

    @classmethod
    def against(cls, mosso, run: str, seed: int) -> "Load":
        senders = [HttpSender(mosso.otlp_http), HttpSender(mosso.otlp_http)]
        senders += [GrpcSender(mosso.otlp_grpc), GrpcSender(mosso.otlp_grpc)]
        return cls(senders, run, seed)

    def start(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def run_for(self, seconds: float) -> None:
        """Lets it run for a while. Fails when every sender ended before that."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert any(thread.is_alive() for thread in self._threads), f"the load broke off: {self.last_words}"

    def stop(self) -> list[str]:
        """Ends the senders and returns the ids of all acknowledged traces."""
        self._enough.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a sender hangs"
        assert self.acknowledged, f"nothing was acknowledged: {self.last_words}"
        return self.acknowledged

    def _send(self, sender, rng: random.Random) -> None:
        while not self._enough.is_set():
            request, trace_ids = export_request(rng, self.run)
            try:
                sender.send(request)
            except (requests.RequestException, grpc.RpcError) as failure:
                self.last_words.append(str(failure)[:300])
                return
            with self._lock:
                self.acknowledged.extend(trace_ids)


class Bulk:
    """Requests made once and sent many times, each time with new trace ids: many spans at little cost for the sender."""

    TEMPLATES = 30
    PARTS = 12
    SPANS = PARTS * TRACES_PER_REQUEST * SPANS_PER_TRACE

    def __init__(self, seed: int, newest_nanos: int, over_seconds: float):
        rng = random.Random(seed)
        self._ids = random.Random(f"{seed}/ids")
        self._templates = []
        self._newest_nanos, self._apart_nanos = newest_nanos, max(1, int(over_seconds * SECOND / self.TEMPLATES))
        for number in range(self.TEMPLATES):
            whole, ids = ExportTraceServiceRequest(), []
            for _ in range(self.PARTS):
                part, of_part = export_request(rng, "bulk")
                whole.MergeFrom(part)
                ids += of_part
            starts = [span.start_time_unix_nano for span in _spans(whole)]
            move = newest_nanos - number * self._apart_nanos - max(starts)
            for span in _spans(whole):
                span.start_time_unix_nano += move
                span.end_time_unix_nano += move
            body = whole.SerializeToString()
            places = {bytes.fromhex(trace_id): [] for trace_id in ids}
            for trace_id, found in places.items():
                at = body.find(trace_id)
                while at >= 0:
                    found.append(at)
                    at = body.find(trace_id, at + 16)
            self._templates.append((body, list(places.values())))
        self._next = 0

    def request(self, until_nanos: int | None = None) -> bytes:
        """The next one, or the newest whose spans have all begun until then."""
        number = self._next % self.TEMPLATES
        if until_nanos is not None:
            number = min(max(0, -(-(self._newest_nanos - until_nanos) // self._apart_nanos)), self.TEMPLATES - 1)
        body, places = self._templates[number]
        self._next += 1
        body = bytearray(body)
        for of_trace in places:
            trace_id = self._ids.randbytes(16)
            for at in of_trace:
                body[at : at + 16] = trace_id
        return bytes(body)


def _spans(request: ExportTraceServiceRequest):
    return (span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans)
