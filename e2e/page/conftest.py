"""Fixtures of the page's tests: a real Chromium, and a mosso that holds an hour of a shop's traffic.

A page that logs an error, throws, or asks another host for anything fails its test, whatever else it shows.
"""

import os
import re
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from server import Mosso
from shop_traffic import SECOND, Shop

# A debug build on two cores that do other things, too, is slow; what is measured is measured where it says so.
DEADLINE_MILLIS = 30_000
expect.set_options(timeout=DEADLINE_MILLIS)

SCREENSHOTS = Path(os.environ.get("E2E_SCREENSHOTS", "screenshots"))
VISITS = 250
HOUR_SECONDS = 3000


class Store:
    """A running mosso with the traffic of a shop, and the ids of two traces that tests open."""

    def __init__(self, mosso: Mosso):
        self.mosso = mosso
        self.now = time.time_ns()
        shop = Shop(mosso.otlp_http)
        self.visits = shop.visits(VISITS, self.now - 60 * SECOND, HOUR_SECONDS)
        self.slow = shop.checkout(self.now - 30 * SECOND, "amex", "south")
        self.ordinary = shop.checkout(self.now - 20 * SECOND, "visa", "south")

    def url(self, page: str, **parameters) -> str:
        query = "&".join(f"{name}={quote(str(value))}" for name, value in parameters.items())
        return f"{self.mosso.http}/ui/{page}" + (f"?{query}" if query else "")


@pytest.fixture(scope="package")
def store(tmp_path_factory):
    with Mosso(tmp_path_factory.mktemp("page")) as mosso:
        yield Store(mosso)


@pytest.fixture(scope="package")
def browser():
    with sync_playwright() as playwright:
        # Chromium's own sandbox is not to be had as root in a container; all pages here are ours.
        browser = playwright.chromium.launch(executable_path=os.environ["E2E_CHROMIUM"], args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def start(tmp_path):
    """Starts a mosso of this test alone. Name it before `open_page`, so that it outlives the pages that look at it."""
    with ExitStack() as running:
        yield lambda **sections: running.enter_context(Mosso(tmp_path, **sections))


@pytest.fixture
def open_page(browser: Browser):
    """Opens pages in a browser of their own; `theme` is what the system prefers, `prepare` sees the page before it is loaded."""
    contexts, problems = [], []

    def open_page(url: str, theme: str = "light", prepare=lambda page: None) -> Page:
        context = browser.new_context(
            viewport={"width": 1440, "height": 900}, color_scheme=theme, timezone_id="UTC", locale="en-GB"
        )
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(DEADLINE_MILLIS)
        page.on("console", lambda message: message.type in ("error", "warning") and problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        host = urlsplit(url).netloc.rpartition("@")[2]
        page.on("request", lambda request: _is_foreign(request.url, host) and problems.append(request.url))
        prepare(page)
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # Chromium reports every answer that is no success; the pages show those themselves.
    refused = re.compile(r"Failed to load resource: the server responded with a status of (400|401|404)")
    assert [problem for problem in problems if not refused.match(problem)] == []


@pytest.fixture
def picture(request):
    """Keeps a picture of a page, named for what it shows."""

    def take(page: Page, name: str) -> Path:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        file = SCREENSHOTS / f"{name}.png"
        page.screenshot(path=file)
        return file

    return take


def _is_foreign(url: str, host: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.netloc.rpartition("@")[2] != host
