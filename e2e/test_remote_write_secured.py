"""Series over TLS: into a real Prometheus that asks for a client's certificate and a password, and through a gateway that asks
for a token and knows tenants by their header."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import yaml

from api import await_that
from authority import Authority
from load import HttpSender
from ports import free_port
from prometheus import Prometheus
from server import Mosso
from test_generated_metrics import CALL_LABELS, TRACES, Shop, generating

CALLS = "traces_spanmetrics_calls_total"
EDGES = ("traces_service_graph_request_total", "client", "server", "connection_type")
# bcrypt of "hush", with the cheapest cost
HASH = "$2b$04$abcdefghijklmnopqrstuuppZFpU9n.F.R29ic//YRPBUgRHbgy9m"


def counter(mosso: Mosso, name: str, **labels: str) -> float:
    """What mosso has counted of a target, over all labels that are not given."""
    lines = requests.get(f"{mosso.http}/metrics", timeout=10).text.splitlines()
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    counters = (line for line in lines if line.startswith(f"{name}{{") and all(label in line for label in wanted))
    return sum(float(line.rsplit(" ", 1)[1]) for line in counters)


@pytest.mark.parametrize("message", ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"])
def test_prometheus_asks_for_a_certificate_and_a_password(tmp_path, background, message):
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    pair, own, port = servers.pair("prometheus"), clients.pair("mosso"), free_port()
    tls = {
        "cert_file": pair.certificate,
        "key_file": pair.key,
        "client_ca_file": clients.certificate,
        "client_auth_type": "RequireAndVerifyClientCert",
    }
    web, password = tmp_path / "web.yaml", tmp_path / "password"
    web.write_text(yaml.safe_dump({"tls_server_config": tls, "basic_auth_users": {"mosso": HASH}}))
    password.write_text("hush\n")
    client = requests.Session()
    client.trust_env, client.verify, client.auth = False, servers.certificate, ("mosso", "hush")
    client.cert = (own.certificate, own.key)
    options = (f"--web.config.file={web}",)
    prometheus = Prometheus(background, tmp_path, {}, port, version_3=True, options=options, client=client)

    complete = {
        "url": f"https://localhost:{port}/api/v1/write",
        "protobuf_message": message,
        "tls_config": {"ca_file": servers.certificate, "cert_file": own.certificate, "key_file": own.key},
        "basic_auth": {"username": "mosso", "password_file": str(password)},
    }
    other_authority = complete["tls_config"] | {"ca_file": clients.certificate}
    targets = {
        "complete": complete,
        "no-certificate": complete | {"tls_config": {"ca_file": servers.certificate}},
        "other-authority": complete | {"tls_config": other_authority},
        "other-password": complete | {"basic_auth": {"username": "mosso", "password": "guessed"}},
    }
    settings = generating(port)
    settings["metrics_generator"]["storage"]["remote_write"] = [
        {"name": name} | target for name, target in targets.items()
    ]
    shop = Shop(seed=7)
    with Mosso(tmp_path, **settings) as mosso:
        shop.send(mosso, TRACES)
        await_that("all edges are there", lambda: prometheus.values(*EDGES) == dict(shop.edges))
        await_that("all calls are there", lambda: prometheus.values(CALLS, *CALL_LABELS) == dict(shop.calls))

        # who cannot be trusted, or does not trust, may be mended: it is tried again, and nothing is lost
        for target in ("no-certificate", "other-authority"):
            await_that("it is tried again", lambda: counter(mosso, "mosso_remote_write_retries_total", target=target) > 1)
            assert counter(mosso, "mosso_remote_write_samples_dropped_total", target=target) == 0
            assert counter(mosso, "mosso_remote_write_queue_requests", target=target) > 0
        # a wrong password is an answer
        refused = {"target": "other-password", "reason": "refused"}
        await_that("it is refused", lambda: counter(mosso, "mosso_remote_write_samples_dropped_total", **refused) > 0)
        sent = {name: counter(mosso, "mosso_remote_write_samples_sent_total", target=name) for name in targets}
        assert [name for name, samples in sent.items() if samples > 0] == ["complete"]
        assert counter(mosso, "mosso_remote_write_samples_dropped_total", target="complete") == 0
        # what is wrong is said, and secrets are not
        log = mosso.log.read_text()
        assert "UnknownIssuer" in log and "401 Unauthorized" in log
        assert "hush" not in log and "guessed" not in log


class Gateway:
    """Takes what carries its token, over TLS, and hands it to the Prometheus of its tenant."""

    def __init__(self, pair, token: str, of_tenants: dict[str, Prometheus]):
        gateway = self
        self.headers: dict[str, list[dict]] = {tenant: [] for tenant in of_tenants}
        self.refused = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                tenant = self.headers["X-Scope-OrgID"]
                if self.headers["Authorization"] != f"Bearer {token}" or tenant not in of_tenants:
                    gateway.refused += 1
                    return self.answer(403)
                gateway.headers[tenant].append({name.lower(): value for name, value in self.headers.items()})
                url = f"{of_tenants[tenant].url}/api/v1/write"
                names = ("Content-Type", "Content-Encoding", "X-Prometheus-Remote-Write-Version")
                self.answer(requests.post(url, body, headers={name: self.headers[name] for name in names}).status_code)

            def answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self.server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}/write"

    def __enter__(self) -> "Gateway":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()


def test_a_gateway_knows_the_sender_by_its_token_and_tenants_by_their_header(tmp_path, background):
    authority, token = Authority(tmp_path, "servers"), tmp_path / "token"
    token.write_text("gateway-token\n")
    stores = {}
    for tenant in ("blue", "green"):
        folder = Path(tmp_path / tenant)
        folder.mkdir()
        stores[tenant] = Prometheus(background, folder, {}, free_port())
    overrides = tmp_path / "overrides.yaml"
    own = {"processors": ["service-graphs", "span-metrics"], "remote_write_headers": {"X-Team": "sky"}}
    overrides.write_text(yaml.safe_dump({"overrides": {"blue": {"metrics_generator": own}}}))
    with Gateway(authority.pair("gateway"), "gateway-token", stores) as gateway:
        settings = generating(0)
        settings["metrics_generator"]["storage"]["remote_write"] = [
            {
                "url": gateway.url,
                "tls_config": {"ca_file": authority.certificate},
                "bearer_token_file": str(token),
                "headers": {"X-Cluster": "here"},
            }
        ]
        settings["overrides"]["per_tenant_override_config"] = str(overrides)
        shops = {tenant: Shop(seed) for seed, tenant in enumerate(stores)}
        with Mosso(tmp_path, multitenancy_enabled=True, **settings) as mosso:
            for tenant, shop in shops.items():
                sender = HttpSender(mosso.otlp_http)
                sender.session.headers["X-Scope-OrgID"] = tenant
                for _ in range(10 if tenant == "blue" else 20):
                    for request in shop.trace():
                        sender.send(request)
            for tenant, shop in shops.items():
                values = stores[tenant].values
                await_that("all edges are there", lambda: values(*EDGES) == dict(shop.edges))
                await_that("all calls are there", lambda: values(CALLS, *CALL_LABELS) == dict(shop.calls))
            assert counter(mosso, "mosso_remote_write_samples_dropped_total") == 0
        assert gateway.refused == 0
        said = {
            tenant: {tuple(headers.get(name) for name in ("x-cluster", "x-team")) for headers in all_headers}
            for tenant, all_headers in gateway.headers.items()
        }
        assert said == {"blue": {("here", "sky")}, "green": {("here", None)}}
