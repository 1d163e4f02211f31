"""The explore page: rates, errors and durations of a filter, its parts, and what sets some of it apart."""

import re
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect

from load import Load
from mouse import drag


def parameters(page: Page) -> dict:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def row(page: Page, value: str):
    return page.locator(".breakdown tbody tr").filter(has=page.get_by_text(value, exact=True))


def test_plots_and_breakdown_by_any_attribute(store, open_page, picture):
    page = open_page(store.url("explore", q="{ kind = server }"))
    for panel in ("Rate", "Errors", "Duration", "Durations"):
        expect(page.get_by_role("region", name=panel, exact=True).locator("canvas")).to_be_visible()
    expect(row(page, "storefront")).to_contain_text("/s")
    expect(row(page, "stock").locator(".error-text")).to_contain_text("%")
    expect(row(page, "ads")).to_contain_text("0 %")
    picture(page, "explore-light")

    by = page.get_by_label("Break down by")
    by.fill("span.http.route")
    by.press("Enter")
    expect(row(page, "/product/{id}")).to_be_visible()
    assert parameters(page)["by"] == "span.http.route"
    page.get_by_role("link", name="/checkout", exact=True).click()
    expect(page.get_by_label("TraceQL query")).to_have_value('{ kind = server && span.http.route = "/checkout" }')
    expect(page.locator(".breakdown tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Traces", exact=True).click()
    expect(page.locator("table.results tbody tr").first).to_contain_text("POST /checkout")


def test_what_is_different_about_slow_charges_is_the_brand_of_the_card(store, open_page, picture):
    query = '{ resource.service.name = "payment" && kind = server }'
    page = open_page(store.url("explore", q=query))
    drag(page.get_by_role("region", name="Durations").locator(".u-over"), (0.01, 0.02), (0.99, 0.35))
    expect(page.get_by_label("Selection")).to_have_value(re.compile(r"^duration >= "))
    first = page.locator(".differences table").first
    expect(first.locator("caption")).to_have_text("span.card.brand")
    expect(first.locator("tr").first).to_contain_text("amex")
    expect(first.locator("tr").first).to_contain_text("100 %")
    picture(page, "explore-compare")
    page.reload()
    expect(first.locator("tr").first).to_contain_text("amex")


def test_metrics_query_in_search_leads_to_explore(store, open_page):
    page = open_page(store.url("search"))
    query = page.get_by_label("TraceQL query")
    query.fill("{ status = error } | rate()")
    query.press("Enter")
    expect(page.get_by_role("button", name="Explore")).to_be_visible()
    assert parameters(page)["q"] == "{ status = error }"


def test_error_of_a_filter_is_shown(store, open_page):
    page = open_page(store.url("explore", q="{ nonsense }"))
    expect(page.get_by_role("alert").first).to_contain_text("unknown identifier: nonsense")


def test_store_tells_what_it_takes_and_holds(start, open_page, picture):
    mosso = start()
    load = Load.against(mosso, "page", seed=3).start()
    page = open_page(f"{mosso.http}/ui/store", "dark")
    expect(page.get_by_role("region", name="Is something wrong?")).to_contain_text("Nothing has failed")
    holding = page.get_by_role("region", name="What does it hold, and does it keep up?")
    expect(holding.locator("tbody tr")).to_contain_text("single-tenant")
    expect(holding).to_contain_text("168h")
    expect(holding.get_by_text("Free disk")).to_be_visible()
    taking = page.get_by_role("region", name="Does it take spans, and are they safe?")
    expect(taking.locator("dd").first).to_contain_text(re.compile(r"[1-9].*/s"))
    expect(taking).to_contain_text(re.compile(r"Live\s*[1-9][\d,]*\s*spans, not yet in blocks"))
    load.stop()
    picture(page, "store-dark")
