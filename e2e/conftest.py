"""Fixtures: a running mosso, its API, and processes of other projects that a test starts beside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import stores
from api import Api
from server import Mosso


@pytest.fixture
def mosso(tmp_path: Path):
    """A mosso of this test alone. It is stopped by SIGTERM afterwards, which has to go well."""
    with Mosso(tmp_path) as running:
        yield running


@pytest.fixture
def api(mosso: Mosso) -> Api:
    return Api(mosso.http)


@pytest.fixture
def bucket(tmp_path: Path):
    """A bucket that keeps its data over a restart of its server."""
    with stores.SeaweedFs(tmp_path / "store") as running:
        yield running


@pytest.fixture
def background(tmp_path: Path):
    """Starts a program that runs until the test ends; its output is shown when the test fails."""
    started: list[tuple[subprocess.Popen, Path]] = []

    def start(*command: str, **environment: str) -> subprocess.Popen:
        log = tmp_path / f"{Path(command[0]).name}-{len(started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env=dict(os.environ, **environment), cwd=tmp_path
            )
        started.append((process, log))
        return process

    yield start
    for process, log in started:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        print(f"--- end of {log.name}\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture
def instrumented(tmp_path: Path):
    """Runs a Python program under opentelemetry-instrument to its end and returns what it printed."""

    def run_program(program: Path, mosso: Mosso, service: str, protocol: str, **environment: str) -> str:
        endpoint = {"grpc": f"http://{mosso.otlp_grpc}", "http/protobuf": mosso.otlp_http}[protocol]
        settings = {
            "OTEL_SERVICE_NAME": service,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_PROPAGATORS": "tracecontext,baggage",
        }
        instrument = Path(sys.executable).parent / "opentelemetry-instrument"
        ended = subprocess.run(
            [str(instrument), sys.executable, str(program)],
            env=dict(os.environ, **settings, **environment),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return run_program
