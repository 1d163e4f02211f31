"""A block is open: other readers of Parquet find spans in it under readable names."""

import random
from collections import Counter
from pathlib import Path

import duckdb
import pyarrow.parquet
import pytest

from load import SPANS_PER_TRACE, TRACES_PER_REQUEST, HttpSender, export_request

REQUESTS = 50
SPANS = REQUESTS * TRACES_PER_REQUEST * SPANS_PER_TRACE


@pytest.fixture
def block(mosso, api) -> Path:
    """The folder of the block that holds everything sent."""
    sender, rng = HttpSender(mosso.otlp_http), random.Random(1)
    for _ in range(REQUESTS):
        sender.send(export_request(rng, "blocks")[0])
    api.flush()
    [spans] = mosso.data.rglob("spans.parquet")
    return spans.parent


def test_pyarrow_finds_named_typed_columns(block):
    table = pyarrow.parquet.read_table(block / "spans.parquet")
    assert table.num_rows == SPANS
    assert {"name", "kind", "duration_nanos", "span.http.method", "span.http.status_code"} <= set(table.column_names)
    assert set(table["span.http.method"].to_pylist()) == {"GET"}
    assert set(table["span.http.status_code"].to_pylist()) == {200, 404, 500}
    assert Counter(table["name"].to_pylist()) == {
        f"GET /step/{n}": SPANS // SPANS_PER_TRACE for n in range(SPANS_PER_TRACE)
    }
    assert all(0 <= nanos < 500_000_000 for nanos in table["duration_nanos"].to_pylist())


def test_tables_of_traces_and_resources_lie_beside_it(block):
    assert pyarrow.parquet.read_table(block / "traces.parquet").num_rows == REQUESTS * TRACES_PER_REQUEST
    assert pyarrow.parquet.read_table(block / "resources.parquet").num_rows == 3


def documented(language: str) -> str:
    """The example of docs/block-format.md in that language."""
    text = (Path(__file__).parent.parent / "docs" / "block-format.md").read_text(encoding="utf-8")
    return text.split(f"```{language}\n", 1)[1].split("```", 1)[0]


def test_the_documented_duckdb_query_joins_spans_with_their_resources(block):
    rows = duckdb.sql(documented("sql").replace("data/blocks/single-tenant/blocks/*", str(block))).fetchall()
    assert len(rows) == 10
    assert {name for _, name, _, _ in rows} <= {f"GET /step/{number}" for number in range(SPANS_PER_TRACE)}
    assert all(service and spans > 0 and 0 < slowest < 500 for service, _, spans, slowest in rows)
    assert [slowest for *_, slowest in rows] == sorted((slowest for *_, slowest in rows), reverse=True)


def test_the_documented_pyarrow_lines_read_a_block(block):
    names = {}
    exec(documented("python").replace("data/blocks/single-tenant/blocks/<block-id>", str(block)), names)
    assert names["spans"].num_rows == SPANS
    assert names["spans"].column_names == ["name", "duration_nanos"]
