"""The OpenTelemetry SDK for Node over each of OTLP's three forms."""

import os
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_trace_is_found_by_id_and_search_right_after_export(protocol, mosso, api):
    endpoint = f"http://{mosso.otlp_grpc}" if protocol == "grpc" else mosso.otlp_http
    program = Path(os.environ["E2E_NODE"]) / "send.mjs"
    ended = subprocess.run(
        ["node", str(program), protocol, endpoint, "storefront-node"], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    trace_id = ended.stdout.split()[-1]

    assert api.search('{ resource.service.name = "storefront-node" && span.basket.items = 2 }') == [trace_id]
    spans = {span.name: span for span in api.trace(trace_id)}
    assert set(spans) == {"render page", "load basket"}
    assert spans["load basket"].parent == spans["render page"].id
    assert spans["load basket"].attributes == {"basket.items": 2, "basket.price": 9.5}
    assert spans["render page"].kind == "server"
    assert spans["render page"].resource["service.name"] == "storefront-node"
