"""`mosso metrics backfill`: the series of traces that were stored before the generator was switched on, in a real Prometheus."""

import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
import yaml

from api import Api
from ports import free_port
from prometheus import Prometheus
from server import Mosso, run
from test_generated_metrics import Shop, generating

HOUR = 3600
SECOND = 1_000_000_000
TRACES = 20


class Doorkeeper:
    """Stands before a Prometheus, hands on what is written to it, and refuses all after some requests."""

    def __init__(self, prometheus: Prometheus):
        self.open_for = 0
        keeper = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                keeper.open_for -= 1
                if keeper.open_for < 0:
                    return self._answer(400, b"the door is closed")
                answer = requests.post(prometheus.url + self.path, body, headers=dict(self.headers), timeout=20)
                self._answer(answer.status_code, answer.content)

            def _answer(self, status: int, text: bytes):
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def doorkeeper(background, tmp_path):
    prometheus = Prometheus(background, tmp_path, {}, out_of_order="1d")
    keeper = Doorkeeper(prometheus)
    yield keeper, prometheus
    keeper.server.shutdown()


def stored(folder, start: int) -> Counter:
    """Stores traces of two hours, with a mosso that generates nothing; returns their edges."""
    shop = Shop(seed=5)
    with Mosso(folder) as mosso:
        for offset in (30 * 60, HOUR + 10 * 60):
            shop.send(mosso, TRACES, (start + offset) * SECOND)
            Api(mosso.http).flush()
    return shop.edges


def backfill(folder, port: int, *arguments: str):
    sections = generating(port)
    config = folder / "backfill.yaml"
    config.write_text(yaml.safe_dump({"data_dir": str(folder / "data"), **sections}))
    return run("metrics", "backfill", "--config.file", str(config), *arguments, seconds=120)


def counted(prometheus: Prometheus, metric: str, ends: list[int], *labels: str) -> Counter:
    """What a counter counted in the hours that end so: each begins at zero."""
    total = Counter()
    for end in ends:
        most = f"sum by ({', '.join(labels)}) (max_over_time({metric}[59m]))"
        total.update(prometheus.values(most, *labels, at=end))
    return total


def test_stored_traces_become_series_of_their_time_also_when_it_was_interrupted(tmp_path, doorkeeper):
    keeper, prometheus = doorkeeper
    start = int(time.time()) // HOUR * HOUR - 3 * HOUR
    edges = stored(tmp_path, start)
    range_arguments = ("--from", str(start), "--to", str(start + 2 * HOUR))
    hours, labels = [start + HOUR, start + 2 * HOUR], ("client", "server", "connection_type")
    requests_total = "traces_service_graph_request_total"

    # the first hour is taken, and some of the second
    keeper.open_for = 20
    ended = backfill(tmp_path, keeper.port, *range_arguments)
    assert ended.returncode == 1, ended.stdout
    assert "target-0 refused series: 400 Bad Request: the door is closed" in ended.stdout
    assert "out_of_order_time_window" in ended.stdout
    assert sum(counted(prometheus, requests_total, hours[:1], "server").values()) == 3 * TRACES

    # it goes on with the second hour, and then nothing is left to go on with
    for resumed in (True, False):
        keeper.open_for = 1000
        ended = backfill(tmp_path, keeper.port, *range_arguments)
        assert ended.returncode == 0, ended.stdout
        assert ("went on where it was interrupted" in ended.stdout) == resumed, ended.stdout
        assert counted(prometheus, requests_total, hours, *labels) == edges
        calls = counted(prometheus, "traces_spanmetrics_calls_total", hours, "service")
        assert calls == {("storefront",): 4 * TRACES, ("stock",): 4 * TRACES}
    # rate() sees each hour's counts once: within the minutes of the traffic, and nothing afterwards
    rate = f"sum(rate({requests_total}[5m]))"
    assert prometheus.values(rate, at=start + 32 * 60)[()] > 0
    assert prometheus.values(rate, at=start + 40 * 60) == {(): 0.0}


def test_what_cannot_be_done_is_said(tmp_path):
    stored(tmp_path, int(time.time()) // HOUR * HOUR - 3 * HOUR)
    assert "--from must be before --to" in backfill(tmp_path, free_port(), "--from", "7200", "--to", "7200").stdout
    assert "does not divide an hour" in backfill(
        tmp_path, free_port(), "--from", "0", "--to", "7200", "--step", "7m"
    ).stdout
    config = tmp_path / "nothing.yaml"
    config.write_text(yaml.safe_dump({"data_dir": str(tmp_path / "data")}))
    ended = run("metrics", "backfill", "--config.file", str(config), "--from", "0", "--to", "7200")
    assert ended.returncode == 1 and "remote_write names no target" in ended.stdout, ended.stdout
