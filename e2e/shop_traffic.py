"""Traffic of a small shop from the OpenTelemetry SDK: what a person looks at on mosso's page.

Owns a dozen services as data (`OPERATIONS`), the walk that gives their spans times of a chosen past, and one very large
trace. Cards of one brand are slow to charge and one warehouse often fails, so that there is something to find.
"""

import random
from dataclasses import dataclass, field

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, set_span_in_context

MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND
REGIONS = ("eu-west-1", "eu-central-1", "us-east-1")
BRANDS = ("visa", "mastercard", "amex")
SLOW_BRAND = "amex"
WAREHOUSES = ("north", "south", "east")
FAILING_WAREHOUSE = "north"


@dataclass(frozen=True)
class Operation:
    """What a service does for one request: its own work, and the calls it makes, those of one list at the same time."""

    work_ms: float
    calls: tuple[tuple[str, ...], ...] = ()
    queries: tuple[str, ...] = ()
    attributes: dict = field(default_factory=dict)


OPERATIONS = {
    "storefront/GET /": Operation(4, (("catalog/ListProducts", "recommend/Suggest", "ads/Pick"),)),
    "storefront/GET /product/{id}": Operation(3, (("catalog/GetProduct",), ("recommend/Suggest", "stock/Check"))),
    "storefront/GET /search": Operation(3, (("search/Query",),)),
    "storefront/POST /cart": Operation(2, (("cart/AddItem",),)),
    "storefront/POST /checkout": Operation(5, (("checkout/PlaceOrder",),)),
    "catalog/ListProducts": Operation(3, queries=("SELECT * FROM products WHERE shown", "SELECT * FROM prices")),
    "catalog/GetProduct": Operation(2, queries=("SELECT * FROM products WHERE id = $1",)),
    "recommend/Suggest": Operation(9, (("catalog/GetProduct", "catalog/GetProduct"),)),
    "ads/Pick": Operation(2),
    "stock/Check": Operation(2, queries=("SELECT amount FROM stock WHERE id = $1",)),
    "stock/Reserve": Operation(3, queries=("SELECT amount FROM stock WHERE id = $1", "UPDATE stock SET amount = …")),
    "search/Query": Operation(18, queries=("SELECT id FROM words WHERE …",)),
    "cart/AddItem": Operation(2, queries=("INSERT INTO carts VALUES …",)),
    "cart/GetCart": Operation(2, queries=("SELECT * FROM carts WHERE id = $1",)),
    "checkout/PlaceOrder": Operation(
        4, (("cart/GetCart",), ("stock/Reserve", "shipping/Quote"), ("payment/Charge",), ("mail/Enqueue",))
    ),
    "shipping/Quote": Operation(6),
    "payment/Charge": Operation(25, (("fraud/Score",),)),
    "fraud/Score": Operation(12),
    "mail/Enqueue": Operation(1),
}
ENTRIES = tuple(name for name in OPERATIONS if name.startswith("storefront/"))
WEIGHTS = (6, 5, 3, 2, 2)


class Shop:
    def __init__(self, otlp_http: str, seed: int = 7, headers: dict | None = None):
        self._rng = random.Random(seed)
        self._endpoint = f"{otlp_http}/v1/traces"
        self._headers = headers
        self._providers: dict[str, TracerProvider] = {}

    def visits(self, count: int, newest_nanos: int, over_seconds: float) -> list[str]:
        """Sends `count` traces that began within `over_seconds` before `newest_nanos`; returns their ids."""
        starts = sorted(newest_nanos - int(self._rng.random() * over_seconds * SECOND) for _ in range(count))
        trace_ids = [self._visit(start) for start in starts]
        self._flush()
        return trace_ids

    def checkout(self, start_nanos: int, brand: str, warehouse: str) -> str:
        """One trace of an order, paid with a card of `brand`, taken from `warehouse`."""
        trace_id = self._visit(start_nanos, "storefront/POST /checkout", brand, warehouse)
        self._flush()
        return trace_id

    def _visit(self, start: int, entry: str | None = None, brand: str | None = None, warehouse: str | None = None):
        entry = entry or self._rng.choices(ENTRIES, WEIGHTS)[0]
        visitor = {
            "user.tier": self._rng.choice(("free", "free", "gold")),
            "cloud.region": self._rng.choice(REGIONS),
            "card.brand": brand or self._rng.choice(BRANDS),
            "warehouse": warehouse or self._rng.choice(WAREHOUSES),
        }
        root, _, _ = self._serve(entry, None, start, visitor)
        context = root.get_span_context()
        if entry.endswith("/checkout"):
            self._send_mail(context, root.end_time + 40 * MILLISECOND)
        return f"{context.trace_id:032x}"

    def _serve(self, name: str, parent, start: int, visitor: dict):
        """Spans of one request to a service: the server's own span, when it ended, and whether it failed."""
        service, operation_name = name.split("/", 1)
        operation = OPERATIONS[name]
        attributes = self._attributes(name, visitor)
        span = self._start(service, operation_name, SpanKind.SERVER, parent, start, attributes)
        now, failed = start + self._work(operation.work_ms), False
        for statement in operation.queries:
            now = self._query(service, statement, span, now)
        for together in operation.calls:
            ended = [self._call(service, callee, span, now, visitor) for callee in together]
            now = max(end for end, _ in ended) + self._work(0.3)
            failed = failed or any(failure for _, failure in ended)
        if name == "payment/Charge" and visitor["card.brand"] == SLOW_BRAND:
            span.add_event("waiting for issuer", {"issuer": "amex-eu"}, timestamp=now)
            now += self._work(900)
        if name == "stock/Reserve" and visitor["warehouse"] == FAILING_WAREHOUSE and self._rng.random() < 0.6:
            self._fail(span, now, "OutOfStock", "nothing left in warehouse north")
            failed = True
        elif failed:
            span.set_status(Status(StatusCode.ERROR, "a call failed"))
        if service == "storefront":
            span.set_attribute("http.response.status_code", 500 if failed else 200)
        now += self._work(operation.work_ms / 2)
        span.end(now)
        return span, now, failed

    def _call(self, caller: str, callee: str, parent, start: int, visitor: dict) -> tuple[int, bool]:
        service, method = callee.split("/", 1)
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method, "server.address": service}
        client = self._start(caller, f"{service}.{method}", SpanKind.CLIENT, parent, start, attributes)
        _, ended, failed = self._serve(callee, client, start + self._work(0.4), visitor)
        if failed:
            client.set_status(Status(StatusCode.ERROR, "rpc failed"))
        ended += self._work(0.4)
        client.end(ended)
        return ended, failed

    def _query(self, service: str, statement: str, parent, start: int) -> int:
        verb = statement.split()[0]
        attributes = {"db.system": "postgresql", "db.query.text": statement, "server.address": "postgres"}
        span = self._start(service, f"{verb} {service}", SpanKind.CLIENT, parent, start, attributes)
        ended = start + self._work(3)
        span.end(ended)
        return ended

    def _send_mail(self, ordered, start: int) -> None:
        """A worker's trace of its own, linked to the order that it follows."""
        links = [Link(ordered, {"messaging.system": "kafka"})]
        attributes = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
        span = self._start("mail", "orders process", SpanKind.CONSUMER, None, start, attributes, links)
        span.add_event("rendered", {"template": "order-confirmed"}, timestamp=start + 2 * MILLISECOND)
        span.end(start + self._work(30))

    def _start(self, service, name, kind, parent, start, attributes, links=()):
        context = set_span_in_context(parent) if parent is not None else None
        return self._tracer(service).start_span(
            name, context=context, kind=kind, attributes=attributes, links=links, start_time=start
        )

    def _fail(self, span, at: int, error: str, message: str) -> None:
        attributes = {"exception.type": error, "exception.message": message}
        span.add_event("exception", attributes, timestamp=at)
        span.set_status(Status(StatusCode.ERROR, message))

    def _attributes(self, name: str, visitor: dict) -> dict:
        service, operation = name.split("/", 1)
        if service == "storefront":
            method, route = operation.split(" ", 1)
            web = {"http.request.method": method, "http.route": route}
            return {**web, "user.tier": visitor["user.tier"], "cloud.region": visitor["cloud.region"]}
        own = {"payment": ("card.brand",), "fraud": ("card.brand",), "stock": ("warehouse",)}.get(service, ())
        return {"rpc.system": "grpc", "rpc.method": operation, **{key: visitor[key] for key in own}}

    def _work(self, milliseconds: float) -> int:
        return int(milliseconds * MILLISECOND * self._rng.lognormvariate(0, 0.45))

    def _tracer(self, service: str):
        if service not in self._providers:
            resource = {"service.name": service, "service.version": "1.4.2", "deployment.environment.name": "demo"}
            provider = TracerProvider(resource=Resource.create(resource))
            exporter = OTLPSpanExporter(endpoint=self._endpoint, headers=self._headers)
            provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=100_000))
            self._providers[service] = provider
        return self._providers[service].get_tracer("shop", "1.0.0")

    def _flush(self) -> None:
        for provider in self._providers.values():
            assert provider.force_flush(), "the SDK could not export in time"


def large_trace(trace_id: bytes, spans: int, start_nanos: int, seed: int = 11) -> list[ExportTraceServiceRequest]:
    """A batch job of `spans` spans in eight services and up to ten levels, as requests of 5,000 spans or fewer."""
    rng = random.Random(seed)
    ended = [OtlpSpan(trace_id=trace_id, span_id=_span_id(1), name="nightly import", kind=OtlpSpan.SPAN_KIND_INTERNAL)]
    ended[0].start_time_unix_nano, ended[0].end_time_unix_nano = start_nanos, start_nanos + 600 * SECOND
    depths = [0]
    for number in range(2, spans + 1):
        parent = max(rng.randrange(len(ended)) for _ in range(2)) if len(ended) > 40 else rng.randrange(len(ended))
        if depths[parent] >= 9:
            parent = rng.randrange(min(len(ended), 40))
        ended.append(_step(trace_id, number, ended[parent], rng))
        depths.append(depths[parent] + 1)
    services = {}
    for number, span in enumerate(ended):
        services.setdefault((number // 5000, number % 8 if number else 0), []).append(span)
    requests: dict[int, ExportTraceServiceRequest] = {}
    for (batch, service), members in services.items():
        resource_spans = requests.setdefault(batch, ExportTraceServiceRequest()).resource_spans.add()
        resource_spans.resource.attributes.append(_string("service.name", f"import-{service}"))
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = "import"
        scope_spans.spans.extend(members)
    return list(requests.values())


def _step(trace_id: bytes, number: int, parent: OtlpSpan, rng: random.Random) -> OtlpSpan:
    length = parent.end_time_unix_nano - parent.start_time_unix_nano
    start = parent.start_time_unix_nano + int(length * rng.random() * 0.8)
    end = start + max(1000, int((parent.end_time_unix_nano - start) * rng.random() * 0.9))
    span = OtlpSpan(
        trace_id=trace_id,
        span_id=_span_id(number),
        parent_span_id=parent.span_id,
        name=rng.choice(("read chunk", "parse row", "look up customer", "write row", "retry")),
        kind=OtlpSpan.SPAN_KIND_INTERNAL,
        start_time_unix_nano=start,
        end_time_unix_nano=end,
    )
    span.attributes.append(_string("row.key", f"row-{number}"))
    span.attributes.append(KeyValue(key="row.bytes", value=AnyValue(int_value=rng.randrange(10_000))))
    if rng.random() < 0.01:
        span.status.code, span.status.message = span.status.STATUS_CODE_ERROR, "row refused"
    return span


def _span_id(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _string(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))
