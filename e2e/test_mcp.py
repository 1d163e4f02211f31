"""`/api/mcp` as an agent uses it: the Model Context Protocol's own Python client, on the traffic of `mosso demo`."""

import asyncio
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from server import BINARY, Mosso

SWITCHED_ON = {"query_frontend": {"mcp_server": {"enabled": True}}}
MAX_ANSWER_BYTES = 64 << 10
TEMPOS = {
    "docs-config", "docs-traceql", "get-attribute-names", "get-attribute-values", "get-trace", "trace-diff",
    "traceql-metrics-instant", "traceql-metrics-range", "traceql-search",
}  # fmt: skip
OUR_OWN = {"slowest-paths", "what-changed", "error-examples"}


def demo(mosso: Mosso, *arguments: str) -> None:
    command = [BINARY, "demo", f"--endpoint={mosso.otlp_http}", "--rate=4", "--past=2m", "--for=0s", *arguments]
    subprocess.run(command, check=True, timeout=60, capture_output=True)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with Mosso(tmp_path_factory.mktemp("agent"), **SWITCHED_ON) as mosso:
        demo(mosso, "--seed=7")
        yield f"{mosso.http}/api/mcp"


def asked(url: str, work, **headers: str):
    """What `work` returns, which is given a client that has greeted the server."""

    async def session():
        async with httpx2.AsyncClient(headers=headers) as http:
            async with Client(streamable_http_client(url, http_client=http)) as client:
                return await work(client)

    # a loop of its own: a browser of other tests may have one in this thread
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(asyncio.wait_for(session(), 60))).result()


def called(url: str, tool: str, **arguments: str):
    """The document that a tool answers with, and what it says beside it."""
    result = asked(url, lambda client: client.call_tool(tool, arguments))
    texts = [content.text for content in result.content]
    assert not result.is_error, texts
    assert len(texts[0]) <= MAX_ANSWER_BYTES or tool.startswith("docs-")
    return json.loads(texts[0]), "\n".join(texts[1:]), result.meta


def test_an_agent_finds_tempos_tools_and_ours(shop):
    async def look(client):
        return await client.list_tools(), await client.list_resources(), await client.read_resource("docs://traceql/basic")

    tools, resources, basic = asked(shop, look)
    assert {tool.name for tool in tools.tools} == TEMPOS | OUR_OWN
    assert all(tool.annotations.read_only_hint and not tool.annotations.open_world_hint for tool in tools.tools)
    assert len(resources.resources) == 7 and basic.contents[0].text.startswith("# TraceQL")


def test_an_agent_finds_what_is_slow_and_why(shop):
    paths, said, meta = called(shop, "slowest-paths")
    slowest = paths["paths"][0]
    assert (slowest["service"], slowest["p95Ms"] > 500) == ("storefront", True), paths
    assert sum(step["percent"] for step in slowest["exampleWaitedFor"]) > 80
    assert meta["type"] == "slowest-paths" and "get-trace" in said
    charge, _, _ = called(shop, "slowest-paths", query='{ resource.service.name = "payment" }')
    assert charge["paths"][0]["operation"] == "Charge"
    assert charge["paths"][0]["exampleWaitedFor"][0]["service"] == "payment"
    trace, said, meta = called(shop, "get-trace", trace_id=charge["paths"][0]["example"]["traceId"])
    assert {"checkout", "payment"} <= {service["serviceName"] for service in trace["trace"]["services"]}
    assert (meta["type"], meta["encoding"], meta["version"]) == ("trace", "json", "2")


def test_an_agent_finds_each_kind_of_error_with_an_example(shop):
    errors, said, _ = called(shop, "error-examples")
    kinds = {(kind["service"], kind["message"]): kind for kind in errors["errors"]}
    out_of_stock = kinds["stock", "nothing left in warehouse north"]
    assert out_of_stock["count"] > 3 and out_of_stock["example"]["attributes"]["exception.type"] == "OutOfStock", out_of_stock
    trace, _, _ = called(shop, "get-trace", trace_id=out_of_stock["example"]["traceId"])
    spans = [s for service in trace["trace"]["services"] for scope in service["scopes"] for s in scope["spans"]]
    example = next(span for span in spans if span["spanId"] == out_of_stock["example"]["spanId"])
    assert example["status"]["message"] == "nothing left in warehouse north"


def test_an_agent_finds_what_is_new(shop):
    changes, said, _ = called(shop, "what-changed", query='{ resource.service.name = "stock" }')
    found = {(change["service"], change["operation"]): change for change in changes["changes"]}
    assert found["stock", "Check"]["what"] == ["new"] and found["stock", "Check"]["base"]["perSecond"] == 0
    assert "slowest-paths" in said


def test_an_agent_asks_as_it_asks_a_tempo(shop):
    found, said, meta = called(shop, "traceql-search", query="{ status = error }")
    assert len(found["traces"]) == 20 and meta["type"] == "search-results" and "trace-diff" in said
    first, second = (trace["traceID"] for trace in found["traces"][:2])
    difference, _, meta = called(shop, "trace-diff", base_trace_id=first, compare_trace_id=second)
    assert difference["version"] == "trace-summary-v0-composed" and meta["type"] == "trace-diff"
    rates, _, _ = called(shop, "traceql-metrics-instant", query="{ } | rate() by (resource.service.name)")
    assert len(rates["series"]) == 13
    curves, _, meta = called(shop, "traceql-metrics-range", query="{ } | rate()")
    assert curves["series"][0]["samples"] and meta["type"] == "metrics-range"
    names, _, _ = called(shop, "get-attribute-names", scope="span")
    assert "card.brand" in names["scopes"][0]["tags"]
    brands, _, _ = called(shop, "get-attribute-values", name="span.card.brand")
    assert sorted(brands["tagValues"]["string"]) == ["amex", "mastercard", "visa"]


def test_a_trace_with_long_prompts_fits_and_says_what_is_left_out(shop):
    query = '{ span.gen_ai.operation.name = "chat" } | select(span.gen_ai.input.messages)'
    result = asked(shop, lambda client: client.call_tool("traceql-search", {"query": query}))
    document, said = (content.text for content in result.content[:2])
    assert len(document) <= MAX_ANSWER_BYTES and json.loads(document)["traces"]
    assert result.meta["truncated"] is True and "Left out" in said


def test_a_wrong_query_is_answered_with_what_is_wrong(shop):
    result = asked(shop, lambda client: client.call_tool("traceql-search", {"query": "{ foo = 1 }"}))
    assert result.is_error and "unknown identifier: foo" in result.content[0].text
    result = asked(shop, lambda client: client.call_tool("traceql-metrics-instant", {"query": "{ }"}))
    assert result.is_error and "Use the traceql-search tool instead" in result.content[0].text


def test_an_agent_sees_its_tenants_traces_alone(tmp_path):
    with Mosso(tmp_path, multitenancy_enabled=True, **SWITCHED_ON) as mosso:
        demo(mosso, "--tenant=shop")
        url = f"{mosso.http}/api/mcp"

        async def services(client):
            return await client.call_tool("get-attribute-values", {"name": "resource.service.name"})

        values = lambda tenant: json.loads(asked(url, services, **{"X-Scope-OrgID": tenant}).content[0].text)
        assert len(values("shop")["tagValues"]["string"]) == 13
        assert not values("other").get("tagValues")
        with pytest.raises(Exception):  # no tenant: 401, which the client wraps in its own way
            asked(url, services)
