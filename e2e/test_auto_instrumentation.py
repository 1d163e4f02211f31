"""Python programs under opentelemetry-instrument, without a line of set-up of their own."""

from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
PROTOCOLS = ["grpc", "http/protobuf"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_order_through_django_requests_and_celery_is_one_trace(protocol, mosso, api, instrumented):
    shop = PROGRAMS / "shop"
    printed = instrumented(
        shop / "shop.py", mosso, "shop", protocol, DJANGO_SETTINGS_MODULE="settings", PYTHONPATH=str(shop)
    )
    trace_id = printed.split()[-1]

    assert trace_id in api.search('{ resource.service.name = "shop" && kind = consumer }')
    spans = api.trace(trace_id)
    by_id = {span.id: span for span in spans}
    assert len(by_id) == len(spans), "a span was sent once and came back twice"
    assert {span.service for span in spans} == {"shop"}
    assert [span.name for span in spans if span.parent is None] == ["GET"]
    assert all(span.parent in by_id for span in spans if span.parent is not None), "a parent is missing"

    reserved = next(span for span in spans if span.kind == "consumer")
    way = []
    while reserved is not None:
        way.append((reserved.kind, reserved.scope.removeprefix("opentelemetry.instrumentation.")))
        reserved = by_id.get(reserved.parent)
    assert way[::-1] == [
        ("client", "requests"),
        ("server", "django"),
        ("client", "requests"),
        ("server", "django"),
        ("producer", "celery"),
        ("consumer", "celery"),
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_script_that_ends_at_once_leaves_its_spans(protocol, mosso, api, instrumented):
    trace_id = instrumented(PROGRAMS / "nightly_report.py", mosso, "nightly-report", protocol).split()[-1]

    assert api.search('{ resource.service.name = "nightly-report" && span.db.collection.name = "refunds" }') == [
        trace_id
    ]
    spans = api.trace(trace_id)
    [report] = [span for span in spans if span.parent is None]
    assert report.name == "nightly report"
    assert sorted(span.attributes["db.collection.name"] for span in spans if span.parent == report.id) == [
        "orders",
        "refunds",
    ]
