"""The search page: what a person types, clicks and drags, and what the address says afterwards."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from mouse import drag

ROWS = "table.results tbody tr"


def parameters(page: Page) -> dict:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def test_root_leads_to_the_newest_traces(store, open_page, picture):
    page = open_page(store.mosso.http + "/")
    rows = page.locator(ROWS)
    expect(rows).to_have_count(200)
    assert page.url == store.url("search")
    times = [time.get_attribute("datetime") for time in page.locator(f"{ROWS} time").all()]
    assert times == sorted(times, reverse=True)
    page.get_by_role("button", name="More").click()
    # every visit, its two checkouts apart, and a trace of mail after each order; the rest of them after "More"
    expect(page.get_by_role("button", name="More")).to_have_count(0)
    assert rows.count() > len(store.visits)
    picture(page, "search-light")


def test_form_writes_traceql_and_reads_it_back(store, open_page):
    page = open_page(store.url("search"))
    page.get_by_label("Service", exact=True).fill("payment")
    page.get_by_label("Service", exact=True).press("Tab")
    page.get_by_label("Longer than").fill("500ms")
    page.get_by_label("Longer than").press("Tab")
    query = '{ resource.service.name = "payment" && duration >= 500ms }'
    expect(page.get_by_label("TraceQL query")).to_have_value(query)
    expect(page.locator(ROWS).first).to_contain_text("POST /checkout")
    assert parameters(page)["q"] == query

    page.get_by_role("button", name="+ attribute").click()
    page.get_by_label("Attribute", exact=True).fill("span.card.brand")
    page.get_by_label("Value", exact=True).fill("amex")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_label("TraceQL query")).to_have_value(query[:-2] + ' && span.card.brand = "amex" }')
    expect(page.locator(ROWS).first).to_contain_text("POST /checkout")

    page.go_back()
    expect(page.get_by_label("TraceQL query")).to_have_value(query)
    page.reload()
    expect(page.get_by_label("Service", exact=True)).to_have_value("payment")
    expect(page.get_by_label("Longer than")).to_have_value("500ms")


def test_names_and_values_are_completed_from_the_data(store, open_page, picture):
    page = open_page(store.url("search"))
    expect(page.locator(ROWS).first).to_be_visible()
    query = page.get_by_label("TraceQL query")
    query.fill("")
    query.press_sequentially("{ span.card")
    choices = page.get_by_role("listbox", name="Completions")
    expect(choices.get_by_role("option").first).to_have_text("span.card.brand")
    query.press("Enter")
    query.press_sequentially(" = ")
    expect(choices.get_by_role("option")).to_have_text(['"amex"', '"mastercard"', '"visa"'])
    picture(page, "search-completion")
    query.press("ArrowDown")
    query.press("Tab")
    query.press_sequentially(" }")
    query.press("Enter")
    assert query.input_value() == '{ span.card.brand = "mastercard" }'
    expect(page.locator(ROWS).first).to_contain_text("POST /checkout")


def test_error_is_marked_where_it_is(store, open_page, picture):
    page = open_page(store.url("search", q="{ span.a = 1 && zzz }"))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Line 1, column 17")
    expect(alert).to_contain_text("unknown identifier: zzz")
    expect(page.locator(".q-wrong")).to_have_text("zzz")
    expect(page.get_by_label("TraceQL query")).to_have_attribute("aria-invalid", "true")
    picture(page, "search-error")


def test_dragging_over_the_plot_narrows_range_and_duration(store, open_page):
    page = open_page(store.url("search", q="{ kind = server }"))
    expect(page.locator(ROWS)).to_have_count(200)
    drag(page.locator(".plot .u-over"), (0.3, 0.15), (0.95, 0.5))
    expect(page.get_by_label("TraceQL query")).to_have_value(
        re.compile(r"^\{ kind = server && trace:duration >= [\d.]+(ms|us|s) && trace:duration <= [\d.]+m?s \}$")
    )
    assert {"from", "to"} <= parameters(page).keys()


def test_range_is_read_from_words(store, open_page):
    page = open_page(store.url("search"))
    page.get_by_role("button", name="last hour").click()
    words = page.get_by_label("Range in words")
    words.fill("next week, perhaps")
    words.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("is not a range")
    words.fill("last 10 min")
    words.press("Enter")
    expect(page.get_by_role("button", name="last 10 minutes")).to_be_visible()
    assert parameters(page)["range"] == "10m"
    page.get_by_role("button", name="last 10 minutes").click()
    page.get_by_role("button", name="last week").click()
    expect(page.locator(ROWS)).to_have_count(200)


def test_trace_opens_from_a_row_and_by_id(store, open_page):
    page = open_page(store.url("search", q='{ span.card.brand = "amex" && duration > 500ms }'))
    page.locator(f"{ROWS} a").first.click()
    expect(page.get_by_role("treegrid")).to_be_visible()
    assert urlsplit(page.url).path == "/ui/trace"
    field = page.get_by_label("Open a trace by id")
    field.fill(store.ordinary)
    field.press("Enter")
    expect(page.locator(".trace-id")).to_have_text(store.ordinary)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_theme_follows_the_system_and_the_button(theme, store, open_page, picture):
    page = open_page(store.url("search"), theme)
    expect(page.locator("html")).to_have_attribute("data-theme", theme)
    expect(page.locator(ROWS).first).to_be_visible()
    other = {"light": "dark", "dark": "light"}[theme]
    page.get_by_role("button", name=f"Use the {other} theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", other)
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", other)
    expect(page.locator(ROWS).first).to_be_visible()
    picture(page, f"search-{other}")
