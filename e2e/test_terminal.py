"""The commands of a terminal, as a person and as a program use them: `mosso demo`, `query`, `trace`, `tail`, `services`, `tags`,
`import`, `export`, completions and manual pages, on the traffic that `mosso demo` sends."""

import fcntl
import gzip
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
import time
import uuid
from pathlib import Path

import pytest

from api import Api, await_that
from server import BINARY, Mosso

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
SENT = re.compile(r"([\d,]+) traces of ([\d,]+) spans sent")
SERVICES = {
    "ads", "assistant", "cart", "catalog", "checkout", "fraud", "mail", "payment", "recommend", "search", "shipping", "stock",
    "storefront",
}  # fmt: skip


class Terminal:
    """Runs commands against one mosso."""

    def __init__(self, mosso: Mosso, folder: Path):
        self.mosso, self.folder = mosso, folder
        self.environment = dict(
            os.environ, MOSSO_URL=mosso.http, OTEL_EXPORTER_OTLP_ENDPOINT=mosso.otlp_http, TERM="xterm", COLUMNS=""
        )
        self.environment.pop("NO_COLOR", None)

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess:
        """Runs a command that a program reads, and checks how it ends."""
        ended = subprocess.run(
            [BINARY, *arguments], env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == code, f"{arguments}: {ended.returncode}\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}"
        return ended

    def rows(self, *arguments: str) -> list[dict]:
        heading, *rows = self.run(*arguments).stdout.splitlines()
        return [dict(zip(heading.split("\t"), row.split("\t"), strict=True)) for row in rows]

    def seen(self, *arguments: str, width: int = 100, **environment: str) -> str:
        """What a person sees: the output on a terminal of so many columns."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        environment = {**self.environment, **environment}
        process = subprocess.Popen(
            [BINARY, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=self.folder
        )
        os.close(theirs)
        output = b""
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the last writer has gone
                break
            if not chunk:
                break
            output += chunk
        os.close(ours)
        assert process.wait(60) == 0, output.decode(errors="replace")
        return output.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A mosso with two minutes of the shop's traffic, and how many traces and spans of it were sent."""
    folder = tmp_path_factory.mktemp("shop")
    with Mosso(folder) as mosso:
        terminal = Terminal(mosso, folder)
        said = terminal.run("demo", "--rate=4", "--past=2m", "--for=0s", "--seed=7", f"--url={mosso.http}").stderr
        terminal.said, terminal.traces, terminal.spans = said, *(int(n.replace(",", "")) for n in SENT.search(said).groups())
        yield terminal


def counted(terminal: Terminal) -> int:
    return int(terminal.rows("query", "--instant", "{ } | count_over_time()")[0]["value"])


def test_the_demo_sends_a_shop_and_says_what_to_look_at(shop):
    assert (shop.traces, counted(shop)) == (480, shop.spans), shop.said
    assert f"{shop.mosso.http}/ui/search" in shop.said
    assert f"mosso query --url {shop.mosso.http} '{{ status = error }} | rate() by (resource.service.name)'" in shop.said
    assert {row["service"] for row in shop.rows("services")} == SERVICES
    linked = shop.rows("query", "{ link:traceID != nil }", "--limit=500")
    prompts = shop.rows("query", '{ span.gen_ai.operation.name = "chat" }', "--limit=500")
    slow = shop.rows("query", '{ span.card.brand = "amex" && duration > 300ms }', "--limit=500")
    assert linked and prompts and slow


def test_the_same_seed_sends_the_same_traces(shop, tmp_path):
    with Mosso(tmp_path) as other:
        terminal = Terminal(other, tmp_path)
        terminal.run("demo", "--rate=4", "--past=2m", "--for=0s", "--seed=7", f"--endpoint=http://{other.otlp_grpc}", "--protocol=grpc")
        ids = [{row["trace"] for row in each.rows("query", "{ }", "--limit=1000")} for each in (shop, terminal)]
        assert ids[0] == ids[1] and counted(terminal) == shop.spans


def test_the_demo_goes_on_at_its_rate_until_it_is_interrupted(tmp_path):
    with Mosso(tmp_path) as mosso:
        command = [BINARY, "demo", f"--endpoint={mosso.otlp_http}", "--past=0s", "--rate=50"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        await_that("traces arrive while it runs", lambda: len(Api(mosso.http).search("{ }")) > 20)
        process.send_signal(2)
        said = process.communicate(timeout=20)[1]
        assert process.returncode == 0 and SENT.search(said) and "look:" in said, said


def test_a_first_run_names_the_demo(tmp_path):
    with Mosso(tmp_path) as mosso:
        line = f"`mosso demo --endpoint {mosso.otlp_http} --url {mosso.http}` sends the traffic of a small shop"
        await_that("it is said", lambda: line in mosso.log.read_text(), 5)
        Terminal(mosso, tmp_path).run("demo", "--past=1s", "--for=0s")
        mosso.stop()
        said = mosso.log.read_text().count("nothing is stored yet")
        mosso.start()
        assert mosso.log.read_text().count("nothing is stored yet") == said == 1


def test_a_search_is_a_table_for_people_and_rows_for_programs(shop):
    rows = shop.rows("query", "{ status = error }", "--limit=5")
    assert len(rows) == 5 and list(rows[0]) == ["start", "duration", "service", "name", "matched", "errors", "trace"]
    assert all(row["service"] == "storefront" and int(row["errors"]) > 0 and int(row["duration"]) > 0 for row in rows)
    document = json.loads(shop.run("query", "{ status = error }", "--limit=5", "--json").stdout)
    assert [trace["traceID"] for trace in document["traces"]] == [row["trace"] for row in rows]

    table = shop.seen("query", "{ status = error }", "--limit=5", width=130)
    assert "\x1b[" in table and "█" in table and rows[0]["trace"] in table
    assert "\x1b[" not in shop.seen("query", "{ status = error }", "--limit=5", NO_COLOR="1")
    for width in (100, 140):
        lines = ESCAPE.sub("", shop.seen("query", "{ }", "--limit=5", width=width)).splitlines()
        assert len(lines) == 7 and max(map(len, lines)) <= width, lines
    assert "no trace matches" in shop.seen("query", '{ name = "nowhere" }')


def test_metrics_are_curves_for_people_and_samples_for_programs(shop):
    query = "{ } | rate() by (resource.service.name)"
    curves = ESCAPE.sub("", shop.seen("query", query, "--since=5m"))
    assert "storefront" in curves and re.search("[▂▃▄▅▆▇█]", curves) and "MEAN" in curves
    rows = shop.rows("query", query, "--since=5m")
    assert len({row["series"] for row in rows}) == len(SERVICES)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", row["time"]) and float(row["value"]) >= 0 for row in rows)
    by_service = shop.seen("services", "--since=5m")
    assert "storefront" in by_service and "ERRORS %" in by_service
    services = {service["service"]: service for service in json.loads(shop.run("services", "--json").stdout)}
    assert services["stock"]["errorRatio"] > 0.01 and services["ads"]["errorRatio"] == 0
    assert services["payment"]["p95Nanos"] > 3 * services["payment"]["p50Nanos"]


def test_a_trace_is_a_waterfall_with_what_it_waited_for(shop):
    slow = shop.rows("query", '{ span.card.brand = "amex" && duration > 400ms }', "--limit=1")[0]
    picture = ESCAPE.sub("", shop.seen("trace", slow["trace"], width=120))
    assert "└─" in picture and "█" in picture and "░" in picture
    assert all(len(line) <= 120 for line in picture.splitlines()), picture
    waited = picture.split("it waited for\n")[1].splitlines()[0]
    assert waited.split()[:2] == ["payment", "Charge"], waited
    rows = shop.rows("trace", slow["trace"])
    longest = max(rows, key=lambda row: int(row["on_critical_path"]))
    assert (longest["service"], longest["name"]) == ("payment", "Charge")
    on_path, whole = sum(int(row["on_critical_path"]) for row in rows), int(rows[0]["duration"])
    assert abs(on_path - whole) <= 1, "the critical path covers the root"

    filtered = shop.rows("trace", slow["trace"], "--q", '{ resource.service.name = "fraud" }')
    assert {row["service"] for row in filtered} < {row["service"] for row in rows}
    document = json.loads(shop.run("trace", slow["trace"], "--json").stdout)
    spans = [s for r in document["resourceSpans"] for scope in r["scopeSpans"] for s in scope["spans"]]
    assert {span["spanId"] for span in spans} == {row["span"] for row in rows}
    assert "has no trace 0123456789abcdef" in shop.run("trace", "0123456789abcdef", code=1).stderr


def test_tags_are_listed_with_their_values(shop):
    names = {row["name"] for row in shop.rows("tags")}
    assert {"resource.service.name", "span.http.route", "status", "event.exception.type"} <= names
    brands = shop.rows("tags", "span.card.brand", "--query", '{ resource.service.name = "payment" }')
    assert sorted((row["type"], row["value"]) for row in brands) == [(("string"), v) for v in ("amex", "mastercard", "visa")]


def test_spans_are_printed_as_they_come_in(tmp_path):
    with Mosso(tmp_path) as mosso:
        terminal = Terminal(mosso, tmp_path)
        command = [BINARY, "tail", "{ status = error }", "--interval=100ms"]
        tail = subprocess.Popen(command, env=terminal.environment, stdout=subprocess.PIPE, text=True)
        demo = subprocess.Popen([BINARY, "demo", "--past=0s", "--rate=100", "--for=10s"], env=terminal.environment)
        lines = [tail.stdout.readline().rstrip("\n").split("\t") for _ in range(30)]
        demo.terminate()
        tail.terminate()
        demo.wait(20), tail.wait(20)
        heading, rows = lines[0], [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
        assert heading[:5] == ["ended", "duration", "service", "name", "status"]
        assert all(row["status"] == "error" and row["service"] in SERVICES for row in rows)
        assert len({row["span"] for row in rows}) == len(rows), "each span once"


def test_a_reader_that_goes_ends_it_quietly(shop):
    for command in ("tail '{ }' --since 10m", "query '{ }' --limit 500", "tags", "completions bash", "export"):
        ended = subprocess.run(
            ["bash", "-c", f"set -o pipefail; '{BINARY}' {command} | head -n 1"],
            env=shop.environment, cwd=shop.folder, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (ended.returncode, len(ended.stdout.splitlines())) == (0, 1), f"{command}: {ended.stderr}"
        assert "panicked" not in ended.stderr and "Broken pipe" not in ended.stderr, f"{command}: {ended.stderr}"


def test_what_is_wrong_is_said_with_the_mend(shop, tmp_path):
    refused = shop.run("query", "{ foo = 1 }", code=1).stderr.splitlines()
    assert "line 1, col 3: unknown identifier: foo" in refused[0]
    assert refused[1:] == ["  { foo = 1 }", "    ^"]
    away = shop.run("query", "{ }", "--url=http://127.0.0.1:9", code=1).stderr
    assert "nothing answers at http://127.0.0.1:9" in away and "--url" in away
    away = shop.run("demo", "--endpoint=http://127.0.0.1:9", code=1).stderr
    assert "nothing answers at http://127.0.0.1:9" in away and "--endpoint" in away
    assert "--from: \"yesterday\" is no time" in shop.run("query", "{ }", "--from=yesterday", code=2).stderr
    assert "404" in shop.run("tags", f"--url={shop.mosso.http}/elsewhere", code=1).stderr
    (tmp_path / "words.txt").write_text("hello")
    assert "words.txt: at byte 0: it is not JSON" in shop.run("import", str(tmp_path / "words.txt"), code=1).stderr


@pytest.mark.parametrize("form", ["otlp-json", "otlp-proto"])
def test_what_is_exported_is_imported_whole_and_once(shop, tmp_path, form):
    file = tmp_path / "shop.export"
    assert f"{shop.spans:,} spans written" in shop.run("export", f"--output={file}", f"--format={form}").stderr
    with Mosso(tmp_path) as other:
        terminal = Terminal(other, tmp_path)
        for _ in range(2):
            assert f"{shop.spans:,} spans sent" in terminal.run("import", str(file)).stderr
        assert counted(terminal) == shop.spans
        assert not (tmp_path / ".mosso-import.json").exists()
        for trace in [row["trace"] for row in shop.rows("query", "{ span.gen_ai.operation.name != nil }", "--limit=3")]:
            assert Api(other.http).trace(trace.zfill(32)) == Api(shop.mosso.http).trace(trace.zfill(32))
    if form == "otlp-json":
        some = shop.run("export", "{ status = error }", "--limit=3").stdout.splitlines()
        assert len(some) == 3 and all(json.loads(line)["resourceSpans"] for line in some)


def test_an_import_goes_on_where_it_ended(shop, tmp_path):
    lines = shop.run("export", "--limit=3").stdout.splitlines()
    file, spans = tmp_path / "traces.json", [line.count('"spanId"') - line.count('"links"') for line in lines]
    with Mosso(tmp_path) as other:
        terminal = Terminal(other, tmp_path)
        file.write_text(lines[0] + "\n" + lines[1][:100])
        torn = terminal.run("import", str(file), "--state=state.json", code=1).stderr
        assert "ends in the middle of a value" in torn and f"{spans[0]} spans sent" in torn
        file.write_text("\n".join(lines) + "\n")
        assert f"{spans[1] + spans[2]} spans sent" in terminal.run("import", str(file), "--state=state.json").stderr
        assert "0 spans sent" in terminal.run("import", str(file), "--state=state.json").stderr
        assert counted(terminal) == sum(spans)


def test_files_of_jaeger_and_zipkin_are_imported(tmp_path):
    start = time.time_ns() // 1000 - 1_000_000
    jaeger = {
        "data": [{
            "traceID": "ab01",
            "spans": [
                {"traceID": "ab01", "spanID": "1", "operationName": "GET /", "references": [], "startTime": start,
                 "duration": 5000, "tags": [{"key": "span.kind", "type": "string", "value": "server"}], "logs": [],
                 "processID": "p1"},
                {"traceID": "ab01", "spanID": "2", "operationName": "SELECT", "startTime": start + 10, "duration": 100,
                 "references": [{"refType": "CHILD_OF", "traceID": "ab01", "spanID": "1"}], "logs": [],
                 "tags": [{"key": "error", "type": "bool", "value": True}], "processID": "p2"},
            ],
            "processes": {"p1": {"serviceName": "shop", "tags": []}, "p2": {"serviceName": "db", "tags": []}},
        }]
    }  # fmt: skip
    zipkin = [
        {"traceId": "ab02", "id": "1", "name": "post", "kind": "SERVER", "timestamp": start, "duration": 7000,
         "localEndpoint": {"serviceName": "mail"}, "tags": {"error": "no route"}},
    ]  # fmt: skip
    (tmp_path / "jaeger.json").write_text(json.dumps(jaeger))
    (tmp_path / "zipkin.json").write_text(json.dumps(zipkin))
    with Mosso(tmp_path) as mosso:
        terminal = Terminal(mosso, tmp_path)
        assert "3 spans sent" in terminal.run("import", "jaeger.json", "zipkin.json").stderr
        rows = terminal.rows("trace", "ab01")
        assert [(row["depth"], row["service"], row["name"], row["status"]) for row in rows] == [
            ("0", "shop", "GET /", ""),
            ("1", "db", "SELECT", "error"),
        ]
        assert terminal.rows("trace", "ab02")[0]["message"] == "no route"


@pytest.mark.parametrize("form", ["vparquet4", "vparquet5"])
def test_a_tempos_blocks_are_imported_once_and_what_is_there_is_not_sent_again(tmp_path, form):
    fixtures = Path(__file__).resolve().parent.parent / "terminal" / "fixtures" / "tempo"
    sent = json.loads(gzip.decompress((fixtures / "sent.json.gz").read_bytes()))
    spans = [span for resource in sent["resourceSpans"] for scope in resource["scopeSpans"] for span in scope["spans"]]
    starts = sorted(int(span["startTimeUnixNano"]) // 10**9 for span in spans)
    whole, late = [f"--from={starts[0] - 60}", f"--to={starts[-1] + 60}"], starts[0] + 45
    with Mosso(tmp_path) as mosso:
        terminal = Terminal(mosso, tmp_path)
        count = lambda: int(terminal.rows("query", "--instant", "{ } | count_over_time()", *whole)[0]["value"])  # noqa: E731
        some = terminal.run("import", f"tempo://{fixtures / form}", f"--from={late}", f"--to={starts[-1] + 60}").stderr
        assert 100 < count() < len(spans) and f"{count()} spans sent" in some
        store = f"-storage.trace.local.path={fixtures / form}"
        assert f"{len(spans)} spans sent" in terminal.run("import", "tempo://", store, "--state=state.json").stderr
        assert count() == len(spans)
        assert "0 spans sent" in terminal.run("import", "tempo://", store, "--state=state.json").stderr
        (tmp_path / "empty").mkdir()
        nothing = terminal.run("import", f"tempo://{tmp_path / 'empty'}", code=2).stderr
        assert "there are no blocks of a Tempo" in nothing


def test_a_tempos_block_of_an_unknown_encoding_is_left_out_and_named(tmp_path):
    fixture = Path(__file__).resolve().parent.parent / "terminal" / "fixtures" / "tempo" / "vparquet5" / "single-tenant"
    (block,) = fixture.iterdir()
    meta = json.loads((block / "meta.json").read_text())
    blocks = tmp_path / "blocks"
    shutil.copytree(block, blocks / "single-tenant" / block.name)
    for tenant, encoding, traces in (("single-tenant", "v2", 7), ("team", "vParquet9", 5)):
        folder = blocks / tenant / str(uuid.uuid4())
        folder.mkdir(parents=True)
        other = meta | {"format": encoding, "blockID": folder.name, "totalObjects": traces}
        (folder / "meta.json").write_text(json.dumps(other))
    with Mosso(tmp_path) as mosso:
        terminal = Terminal(mosso, tmp_path)
        said = terminal.run("import", f"tempo://{blocks}", code=1).stderr
        lines = said.strip().splitlines()
        assert len(lines) == 3 and all("is left out" in line for line in lines[:2]), said
        assert lines[0].startswith("single-tenant: block ") and lines[1].startswith("team: block "), said
        assert "left out: 2 blocks with 12 traces" in lines[2] and "(v2, vParquet9)" in lines[2], said
        assert not lines[2].startswith("0 spans sent"), said


def test_a_shell_can_complete_and_man_can_show(shop, tmp_path):
    for shell in ("bash", "zsh", "fish"):
        assert "services" in shop.run("completions", shell).stdout
    script = shop.run("completions", "bash").stdout
    completed = subprocess.run(
        ["bash", "-c", 'eval "$1"; COMP_WORDS=(mosso quer) COMP_CWORD=1; _mosso mosso quer mosso; echo "${COMPREPLY[@]}"', "-", script],
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert completed.stdout.split() == ["query"], completed.stderr
    assert shop.run("man").stdout.startswith(".ie") and ".TH mosso 1" in shop.run("man").stdout
    shop.run("man", f"--to={tmp_path}")
    assert {"mosso.1", "mosso-query.1", "mosso-blocks-list.1"} <= {page.name for page in tmp_path.iterdir()}
