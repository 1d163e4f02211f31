"""Questions to a running mosso over Tempo's HTTP API, and its answers in a plain form.

The rules of the API itself (errors, limits, every field) belong to the conformance suite. Here a trace is a list of
spans, and a search is the list of trace ids it found.
"""

import base64
import time
from dataclasses import dataclass, field

import requests


@dataclass
class Span:
    service: str
    scope: str
    name: str
    kind: str
    id: str
    parent: str | None
    attributes: dict
    resource: dict
    events: list = field(default_factory=list)
    status: dict = field(default_factory=dict)


class Api:
    def __init__(self, url: str):
        self.url = url
        self.session = requests.Session()

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace; empty when it is not known. Checks that every span carries the id asked for."""
        answer = self._get(f"/api/v2/traces/{trace_id}").json()
        return [
            _span(resource_spans, scope_spans, span, trace_id)
            for resource_spans in answer["trace"].get("resourceSpans", [])
            for scope_spans in resource_spans["scopeSpans"]
            for span in scope_spans["spans"]
        ]

    def search(self, query: str, limit: int = 1000) -> list[str]:
        """Ids (32 digits) of the traces of the last hour that match, newest first."""
        now = int(time.time())
        answer = self._get("/api/search", q=query, limit=limit, start=now - 3600, end=now + 60, spss=1).json()
        return [trace["traceID"].zfill(32) for trace in answer["traces"]]

    def calls(self) -> dict[tuple, float]:
        """Requests of the last hour by client, connection type and server, from the service map."""
        now = int(time.time())
        graph = self.get("/api/service-graph", start=now - 3600, end=now + 60)
        assert graph["status"] == "COMPLETE", graph
        return {(edge["client"], edge["connectionType"], edge["server"]): edge["requests"] for edge in graph["edges"]}

    def get(self, path: str, **parameters) -> dict:
        """What a path answers, which has to be JSON."""
        return self._get(path, **parameters).json()

    def flush(self) -> None:
        response = self.session.post(f"{self.url}/flush", timeout=60)
        assert response.status_code == 204, f"POST /flush: {response.status_code} {response.text}"

    def _get(self, path: str, **parameters) -> requests.Response:
        response = self.session.get(self.url + path, params=parameters, timeout=60)
        assert response.status_code == 200, f"GET {response.url}: {response.status_code} {response.text[:500]}"
        return response


def await_that(what: str, probe, seconds: float = 30):
    """Calls `probe` until it returns something true, and returns it: for what another process does in its time."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return answer


def _span(resource_spans: dict, scope_spans: dict, span: dict, trace_id: str) -> Span:
    assert _hex(span["traceId"]) == trace_id, f"span of trace {_hex(span['traceId'])} in the answer for {trace_id}"
    resource = _attributes(resource_spans["resource"])
    return Span(
        service=resource.get("service.name", ""),
        scope=scope_spans["scope"].get("name", ""),
        name=span.get("name", ""),
        kind=span.get("kind", "").removeprefix("SPAN_KIND_").lower(),
        id=_hex(span["spanId"]),
        parent=_hex(span["parentSpanId"]) if span.get("parentSpanId") else None,
        attributes=_attributes(span),
        resource=resource,
        events=[(event.get("name", ""), _attributes(event)) for event in span.get("events", [])],
        status=span["status"],
    )


def _hex(base64_id: str) -> str:
    return base64.b64decode(base64_id).hex()


def _attributes(holder: dict) -> dict:
    return {attribute["key"]: _value(attribute["value"]) for attribute in holder.get("attributes", [])}


def _value(any_value: dict):
    for kind, value in any_value.items():
        match kind:
            case "intValue":
                return int(value)
            case "arrayValue":
                return [_value(item) for item in value.get("values", [])]
            case "kvlistValue":
                return {item["key"]: _value(item["value"]) for item in value.get("values", [])}
            case "bytesValue":
                return base64.b64decode(value)
            case _:
                return value
    return None
