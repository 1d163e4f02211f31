"""Sends one trace by a client of Jaeger or Zipkin and prints its id. Runs with the packages of requirements-retired.txt.

    retired_clients.py CLIENT SERVICE ENDPOINT

Each sends the same two spans: `checkout`, a server, and below it `charge card`, a client that failed after an event.
"""

import sys
import time

HOST = "127.0.0.1"


def jaeger_client(service: str, port: str) -> str:
    """Jaeger's own client, over UDP."""
    from jaeger_client import Config

    local_agent = {"reporting_host": HOST, "reporting_port": int(port)}
    settings = {"sampler": {"type": "const", "param": 1}, "local_agent": local_agent, "logging": False}
    tracer = Config(settings, service_name=service, validate=True).new_tracer()
    with tracer.start_span("checkout", tags={"span.kind": "server", "cart.items": 3, "shop": "größe"}) as checkout:
        with tracer.start_span("charge card", child_of=checkout, tags={"span.kind": "client"}) as charge:
            charge.log_kv({"event": "declined", "attempt": 1})
            charge.set_tag("error", True)
    trace_id = f"{checkout.trace_id:032x}"
    closed = tracer.close()
    deadline = time.monotonic() + 20
    while not closed.done() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert closed.done(), "the client did not send its spans"
    return trace_id


def opentelemetry(exporter, service: str) -> str:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, Status, StatusCode

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("e2e.checkout", "1.2.3")
    with tracer.start_as_current_span("checkout", kind=SpanKind.SERVER) as checkout:
        checkout.set_attributes({"cart.items": 3, "shop": "größe"})
        with tracer.start_as_current_span("charge card", kind=SpanKind.CLIENT) as charge:
            charge.add_event("declined", {"attempt": 1})
            charge.set_status(Status(StatusCode.ERROR, "insufficient funds"))
    provider.shutdown()
    return f"{checkout.get_span_context().trace_id:032x}"


def exporter(client: str, endpoint: str):
    match client:
        case "jaeger-udp":
            from opentelemetry.exporter.jaeger.thrift import JaegerExporter

            return JaegerExporter(agent_host_name=HOST, agent_port=int(endpoint))
        case "jaeger-http":
            from opentelemetry.exporter.jaeger.thrift import JaegerExporter

            return JaegerExporter(collector_endpoint=f"http://{endpoint}/api/traces?format=jaeger.thrift")
        case "jaeger-grpc":
            from opentelemetry.exporter.jaeger.proto.grpc import JaegerExporter

            return JaegerExporter(collector_endpoint=endpoint, insecure=True)
        case "zipkin-v1" | "zipkin-v2":
            from opentelemetry.exporter.zipkin.encoder import Protocol
            from opentelemetry.exporter.zipkin.json import ZipkinExporter

            version = client.removeprefix("zipkin-")
            endpoint = f"http://{endpoint}/api/{version}/spans"
            return ZipkinExporter(Protocol(version), endpoint, max_tag_value_length=1000)
        case "zipkin-protobuf":
            from opentelemetry.exporter.zipkin.proto.http import ZipkinExporter

            return ZipkinExporter(f"http://{endpoint}/api/v2/spans")


def main(client: str, service: str, endpoint: str) -> None:
    if client == "jaeger-client":
        print(jaeger_client(service, endpoint))
    else:
        print(opentelemetry(exporter(client, endpoint), service))


if __name__ == "__main__":
    main(*sys.argv[1:])
