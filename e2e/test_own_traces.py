"""mosso's traces of its own work, sent by OTLP: here to itself."""

import secrets

import requests

from api import Api, Span, await_that
from server import Mosso


def test_own_traces_continue_the_callers_and_are_not_traced_themselves(tmp_path, monkeypatch):
    mosso = Mosso(tmp_path)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{mosso.otlp_grpc}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with mosso:
        api, caller = Api(mosso.http), secrets.token_hex(8)

        def ask(recorded: bool) -> str:
            """Asks as part of a trace, and returns the id of that."""
            trace_id = secrets.token_hex(16)
            headers = {"traceparent": f"00-{trace_id}-{caller}-0{int(recorded)}"}
            requests.get(f"{mosso.http}/api/search?q=%7B%7D", headers=headers, timeout=30).raise_for_status()
            return trace_id

        not_recorded = ask(recorded=False)
        for _ in range(5):  # each of which is a message of spans at least
            recorded = ask(recorded=True)
            spans = await_that("the request's span arrived, the last to end", lambda: by_name(api.trace(recorded)))
            request = spans["api_search"]
            assert (request.service, request.kind, request.parent) == ("mosso", "server", caller)
            assert request.attributes["http.response.status_code"] == 200
            assert spans["search"].parent == request.id

        assert api.trace(not_recorded) == []
        assert api.search('{ name = "push" || name =~ ".*Export" }') == []


def test_a_protocol_for_other_programs_does_not_keep_it_from_starting(tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    with Mosso(tmp_path) as mosso:
        assert "own traces are not sent" in mosso.log.read_text()


def by_name(spans: list[Span]) -> dict[str, Span] | None:
    names = {span.name: span for span in spans}
    return names if "api_search" in names else None
