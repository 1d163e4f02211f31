"""Perses's Tempo plugins in a real Chromium: its client asks mosso's API, its trace table and its Gantt chart show what it got."""

import os
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from api import Api

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Perses</title><link rel="icon" href="data:,">
<script>var global = globalThis, process = { env: {} };</script><link rel="stylesheet" href="perses.css"><div id="root"></div><script type="module" src="perses.js"></script></html>"""


@pytest.fixture
def open_panel(store, open_page):
    """Opens a panel of Perses for a query, on a page that the browser finds at mosso's own address."""

    def open_panel(query: str) -> Page:
        script = Path(os.environ["E2E_PERSES"])
        styles = script.with_suffix(".css")

        def serve(page: Page) -> None:
            for name, body, kind in [
                ("perses.html", PAGE, "text/html"),
                ("perses.js", script.read_text(), "text/javascript"),
                ("perses.css", styles.read_text() if styles.exists() else "", "text/css"),
            ]:
                page.route(f"{store.mosso.http}/{name}*", answering(body, kind))

        return open_page(f"{store.mosso.http}/perses.html?q={quote(query)}", prepare=serve)

    return open_panel


def answering(body: str, kind: str):
    return lambda route: route.fulfill(body=body, content_type=kind)


def test_trace_table_lists_what_a_search_finds(store, open_panel, picture):
    page = open_panel('{ resource.service.name = "payment" && name = "Charge" && span.card.brand = "amex" }')
    found = Api(store.mosso.http).trace(store.slow)
    listed = store.slow.lstrip("0")  # as Tempo writes ids in what a search finds
    row = page.get_by_role("row").filter(has=page.locator(f'a[href$="{listed}"]'))
    expect(row).to_have_count(1)
    expect(row).to_contain_text("storefront")
    expect(row).to_contain_text(re.compile(rf"{len(found)} spans"))
    picture(page, "perses-table")


def test_gantt_chart_shows_each_span_of_a_trace(store, open_panel, picture):
    page = open_panel(store.slow)
    for span in Api(store.mosso.http).trace(store.slow):
        expect(page.locator("body")).to_contain_text(re.compile(rf"{span.service}:\s*{re.escape(span.name)}"))
    expect(page.locator("body")).to_contain_text(store.slow, ignore_case=True)
    picture(page, "perses-gantt")
