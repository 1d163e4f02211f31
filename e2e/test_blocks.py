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


def test_duckdb_answers_a_question_about_it(block):
    rows = duckdb.sql(f"""
        SELECT name, count(*) AS spans, max(duration_nanos) / 1e6 AS slowest_ms
        FROM read_parquet('{block}/spans.parquet')
        WHERE "span.http.status_code" IN (200, 404, 500)
        GROUP BY name
        ORDER BY name
    """).fetchall()
    assert [(name, spans) for name, spans, _ in rows] == [
        (f"GET /step/{number}", SPANS // SPANS_PER_TRACE) for number in range(SPANS_PER_TRACE)
    ]
    assert all(0 < slowest < 500 for _, _, slowest in rows)
