#!/usr/bin/env python3
"""Writes the dataset of dataset.py as files that the Rust runner reads: dataset/requests.bin.gz and dataset/traces.json.

    pip install 'opentelemetry-proto>=1.27' 'protobuf>=5'
    python export_dataset.py

requests.bin.gz, gzipped, holds for each request: one byte `p` (to be sent as protobuf) or `j` (as OTLP/JSON), the length as
four bytes big endian, and an ExportTraceServiceRequest as protobuf. All times in it are those of FIXED_BASE; the runner moves them.
traces.json holds FIXED_BASE and the ids that the cases name.
"""
import gzip
import json
import pathlib

import dataset

FIXED_BASE = 1_800_000_000
PROBES = 40  # ids of the single spans that the ingest cases send
OUT = pathlib.Path(__file__).resolve().parent / "dataset"


def main():
    data = dataset.build(FIXED_BASE)
    raw = b""
    for r in data.requests:
        body = r.message.SerializeToString(deterministic=True)
        raw += {"proto": b"p", "json": b"j"}[r.transport] + len(body).to_bytes(4, "big") + body
    OUT.mkdir(exist_ok=True)
    (OUT / "requests.bin.gz").write_bytes(gzip.compress(raw, 9, mtime=0))

    def lines(entries): return "{\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in entries.items()) + "\n }"
    traces = {name: {"id": t.trace_id.hex(), "spans": {label: sid.hex() for label, sid in t.ids.items()}} for name, t in data.traces.items()}
    probes = {str(n): {"id": dataset.ident(f"probe {n}", 16).hex(), "span": dataset.ident(f"probe {n} 0", 8).hex()} for n in range(1, PROBES + 1)}
    text = f'{{\n "base": {FIXED_BASE},\n "window": {data.window},\n "spans": {data.spans},\n "traces": {lines(traces)},\n "probes": {lines(probes)}\n}}\n'
    (OUT / "traces.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
