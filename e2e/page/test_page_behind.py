"""The page behind a prefix, behind a proxy with a login, and in a store of several tenants."""

import base64
import http.server
import threading
import time
import urllib.error
import urllib.request

import pytest
from playwright.sync_api import expect

from shop_traffic import SECOND, Shop

ROWS = "table.results tbody tr"


def test_http_api_prefix_moves_the_page_with_the_api(start, open_page):
    mosso = start(http_api_prefix="/tempo")
    Shop(mosso.otlp_http).visits(5, time.time_ns(), 60)
    page = open_page(mosso.http + "/")
    expect(page.locator(ROWS).first).to_be_visible()
    assert page.url == f"{mosso.http}/tempo/ui/search"
    page.get_by_role("link", name="Store", exact=True).click()
    expect(page.get_by_text("Nothing has failed")).to_be_visible()
    page.get_by_role("link", name="Services", exact=True).click()
    expect(page.locator(".service-map .node").first).to_be_visible()


def test_tenant_is_named_on_the_page_and_in_the_address(start, open_page):
    mosso = start(multitenancy_enabled=True)
    Shop(mosso.otlp_http, headers={"X-Scope-OrgID": "blue"}).visits(5, time.time_ns() - SECOND, 60)
    page = open_page(f"{mosso.http}/ui/search")
    expect(page.get_by_role("alert")).to_contain_text("name one at the top right")
    page.get_by_role("button", name="tenant").click()
    page.get_by_label("Tenant", exact=True).fill("blue")
    page.keyboard.press("Enter")
    expect(page.locator(ROWS).first).to_be_visible(timeout=20_000)
    assert "tenant=blue" in page.url
    page.locator(f"{ROWS} a").first.click()
    expect(page.get_by_role("treegrid")).to_be_visible()
    assert "tenant=blue" in page.url


class Proxy(http.server.BaseHTTPRequestHandler):
    """Takes `/traces` off the path and asks for a login, as proxies in front of tools do."""

    target = ""
    login = "Basic " + base64.b64encode(b"ann:secret").decode()

    def do_GET(self):
        if self.headers.get("Authorization") != self.login:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="traces"')
            self.end_headers()
            return
        path = self.path.removeprefix("/traces")
        request = urllib.request.Request(self.target + path, headers={"Accept": self.headers["Accept"]})
        try:
            answer = urllib.request.build_opener(NoRedirect).open(request)
        except urllib.error.HTTPError as other:
            answer = other
        body = answer.read()
        self.send_response(answer.status)
        for name in ("Content-Type", "Location", "X-Mosso-Next-Cursor"):
            if value := answer.headers.get(name):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


@pytest.fixture
def proxy(store):
    handler = type("ProxyToStore", (Proxy,), {"target": store.mosso.http})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://ann:secret@127.0.0.1:{server.server_port}/traces/"
    server.shutdown()


def test_page_works_below_a_path_of_a_proxy_with_a_login(store, proxy, open_page):
    page = open_page(proxy)
    expect(page.locator(ROWS).first).to_be_visible()
    assert page.url.endswith("/traces/ui/search")
    page.locator(f"{ROWS} a").first.click()
    expect(page.get_by_role("treegrid")).to_be_visible()
