"""The OpenTelemetry SDK for Python over each of OTLP's three forms: what it sends is there at once, whole."""

import grpc
import pytest
from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter as JsonExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

EXPORTERS = {
    "grpc": lambda mosso: GrpcExporter(endpoint=mosso.otlp_grpc, insecure=True),
    "grpc-gzip": lambda mosso: GrpcExporter(endpoint=mosso.otlp_grpc, insecure=True, compression=grpc.Compression.Gzip),
    "http-protobuf": lambda mosso: HttpExporter(endpoint=f"{mosso.otlp_http}/v1/traces"),
    "http-protobuf-gzip": lambda mosso: HttpExporter(
        endpoint=f"{mosso.otlp_http}/v1/traces", compression=Compression.Gzip
    ),
    "http-json": lambda mosso: JsonExporter(endpoint=f"{mosso.otlp_http}/v1/traces"),
}


@pytest.mark.parametrize("form", EXPORTERS)
def test_trace_is_found_by_id_and_search_right_after_export(form, mosso, api):
    provider = TracerProvider(resource=Resource.create({"service.name": f"sdk-{form}", "deployment.zone": 7}))
    provider.add_span_processor(BatchSpanProcessor(EXPORTERS[form](mosso)))
    tracer = provider.get_tracer("e2e.checkout", "1.2.3")
    with tracer.start_as_current_span("checkout", kind=SpanKind.SERVER) as root:
        root.set_attributes({"http.method": "POST", "cart.items": 3, "cart.total": 12.5, "cart.gift": True})
        root.set_attribute("cart.products", ["hat", "größe"])
        with tracer.start_as_current_span("charge card", kind=SpanKind.CLIENT) as charge:
            charge.add_event("declined", {"attempt": 1})
            charge.set_status(Status(StatusCode.ERROR, "insufficient funds"))
    assert provider.force_flush()

    trace_id = f"{root.get_span_context().trace_id:032x}"
    spans = {span.name: span for span in api.trace(trace_id)}
    assert api.search(f'{{ resource.service.name = "sdk-{form}" && span.cart.items > 2 }}') == [trace_id]
    assert api.search('{ status = error && event:name = "declined" }') == [trace_id]
    assert api.search(f'{{ resource.service.name = "sdk-{form}" && span.cart.items > 3 }}') == []
    provider.shutdown()

    assert set(spans) == {"checkout", "charge card"}
    checkout, charged = spans["checkout"], spans["charge card"]
    assert (checkout.service, checkout.scope, checkout.kind) == (f"sdk-{form}", "e2e.checkout", "server")
    assert checkout.resource["deployment.zone"] == 7
    assert checkout.resource["telemetry.sdk.language"] == "python"
    assert checkout.attributes == {
        "http.method": "POST",
        "cart.items": 3,
        "cart.total": 12.5,
        "cart.gift": True,
        "cart.products": ["hat", "größe"],
    }
    assert checkout.parent is None
    assert charged.parent == checkout.id
    assert charged.kind == "client"
    assert charged.events == [("declined", {"attempt": 1})]
    assert charged.status == {"code": "STATUS_CODE_ERROR", "message": "insufficient funds"}
