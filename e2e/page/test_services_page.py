"""The service map: nodes and edges with rate, errors and durations, by mouse, by keys, and as a table."""

import re
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect


def parameters(page: Page) -> dict:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def node(page: Page, name: str):
    return page.locator(".service-map .node").filter(has=page.locator("text.name", has_text=re.compile(f"^{name}$")))


def call(page: Page, client: str, server: str):
    row = page.get_by_role("table", name="Calls").locator("tbody tr")
    return row.filter(has=page.locator("td:nth-child(1)", has_text=client)).filter(
        has=page.locator("td:nth-child(2)", has_text=server)
    )


def test_the_map_says_who_calls_whom_how_often_and_how_well(store, open_page, picture):
    page = open_page(store.url("services"))
    for name in ("user", "storefront", "checkout", "payment", "postgres"):
        expect(node(page, name)).to_be_visible()
    # what a count over the traces of the shop gives: each visit is one request of a user
    visits = len(store.visits) + 2
    expect(call(page, "user", "storefront").locator("td:nth-child(4)")).to_have_text(str(visits))
    expect(call(page, "checkout", "stock").locator(".error-text")).to_contain_text("%")
    expect(call(page, "catalog", "postgres")).to_contain_text("database")
    expect(node(page, "payment")).to_contain_text("p95")
    picture(page, "services-light")
    page.get_by_role("button", name="Use the dark theme").click()
    picture(page, "services-dark")


def test_a_click_leads_to_the_traces_and_the_state_is_a_link(store, open_page):
    page = open_page(store.url("services"))
    node(page, "payment").click()
    assert parameters(page)["at"] == "payment"
    chosen = page.get_by_role("region", name="Chosen")
    expect(chosen).to_contain_text("payment")
    expect(call(page, "checkout", "payment")).to_be_visible()
    expect(call(page, "user", "storefront")).to_have_count(0)
    page.reload()
    expect(chosen).to_contain_text("payment")
    chosen.get_by_role("link", name="Traces", exact=True).click()
    expect(page.get_by_label("TraceQL query")).to_have_value('{ resource.service.name = "payment" }')
    expect(page.locator("table.results tbody tr").first).to_contain_text("POST /checkout")
    page.go_back()
    chosen.get_by_role("link", name="Show all").click()
    expect(call(page, "user", "storefront")).to_be_visible()

    # an edge leads to the calls of this client to this server, whether it sends spans or not
    for client, server in (("checkout", "stock"), ("catalog", "postgres"), ("user", "mail")):
        page.get_by_role("link", name=f"Traces of {client} to {server}").click()
        expect(page.locator("table.results tbody tr").first).to_be_visible()
        page.go_back()


def test_a_filter_narrows_the_map(store, open_page):
    page = open_page(store.url("services", q='{ resource.service.name = "fraud" }'))
    expect(page.locator(".service-map .node")).to_have_count(2)
    expect(call(page, "payment", "fraud")).to_be_visible()
    query = page.get_by_label("TraceQL query")
    query.fill("{ nonsense }")
    query.press("Enter")
    expect(page.get_by_role("alert").first).to_contain_text("unknown identifier: nonsense")
    query.fill('{ resource.service.name = "nobody" }')
    query.press("Enter")
    expect(page.get_by_text("No calls in this range")).to_be_visible()


def test_the_map_is_used_by_keys_alone(store, open_page):
    page = open_page(store.url("search"))
    expect(page.locator("table.results tbody tr").first).to_be_visible()
    page.locator("main").focus()
    page.keyboard.press("g")
    page.keyboard.press("m")
    expect(node(page, "payment")).to_be_visible()
    node(page, "payment").locator(".box").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Chosen")).to_contain_text("payment")
    edge = page.get_by_role("button", name=re.compile("^checkout to payment, .* requests per second, .* failed, p95 "))
    edge.focus()
    page.keyboard.press(" ")
    expect(page.get_by_role("region", name="Chosen")).to_contain_text("checkout → payment")
