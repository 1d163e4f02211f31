"""The page for who does not see it, or uses no mouse: axe-core's rules on every view and in both themes, keys alone."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

AXE = Path(os.environ.get("E2E_UI", "")) / "node_modules" / "axe-core" / "axe.min.js"

VIEWS = {
    "search": ("search", {"q": "{ status = error }"}, "table.results tbody tr"),
    "search error": ("search", {"q": "{ nonsense }"}, "[role=alert]"),
    "timeline": ("trace", {"find": "stock"}, ".row"),
    "flame": ("trace", {"view": "flame"}, ".flame-part"),
    "self time": ("trace", {"view": "times"}, ".times tbody tr"),
    "diff": ("trace", {"view": "diff", "with": "other"}, ".diff tbody tr"),
    "explore": ("explore", {"q": "{ kind = server }"}, ".breakdown tbody tr"),
    "compare": ("explore", {"tab": "compare"}, ".differences table"),
    "services": ("services", {"at": "payment"}, ".edges tbody tr"),
    "store": ("store", {}, ".memory tbody tr"),
}


def violations(page: Page, rules: str = "") -> list[str]:
    found = page.evaluate(f"axe.run({rules}).then(({{ violations }}) => violations)")
    nodes = [(rule["id"], node) for rule in found for node in rule["nodes"]]
    return [f"{rule}: {node['html'][:200]} {node['failureSummary'][:200]}" for rule, node in nodes]


def open_view(view: str, store, open_page, **how) -> Page:
    name, parameters, shown = VIEWS[view]
    if name == "trace":
        parameters = {**parameters, "id": store.slow}
        if "with" in parameters:
            parameters["with"] = store.ordinary
    page = open_page(store.url(name, **parameters), **how)
    expect(page.locator(shown).first).to_be_visible()
    return page


@pytest.mark.parametrize("view", VIEWS)
def test_no_rule_of_axe_is_broken(view, store, open_page):
    page = open_view(view, store, open_page)
    if view == "timeline":
        page.locator(".row").nth(3).click()
        expect(page.get_by_role("complementary", name="Span")).to_be_visible()
    page.evaluate(AXE.read_text())
    assert violations(page) == []
    page.get_by_role("button", name="Use the dark theme").click()
    assert violations(page, "{ runOnly: ['color-contrast'] }") == []


@pytest.mark.parametrize("view", VIEWS)
def test_a_narrow_window_is_not_scrolled_sideways(view, store, open_page, picture):
    narrow = {"width": 400, "height": 800}
    page = open_view(view, store, open_page, prepare=lambda page: page.set_viewport_size(narrow))
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    picture(page, f"narrow-{view.replace(' ', '-')}")


def test_search_and_trace_are_walked_by_keys_alone(store, open_page):
    page = open_page(store.url("search", q='{ span.card.brand = "amex" && duration > 500ms }'))
    expect(page.locator("table.results tbody tr").first).to_be_visible()
    page.locator("table.results a").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("treegrid")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("to the span above, below")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("g")
    page.keyboard.press("e")
    expect(page.get_by_role("region", name="Breakdown")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("TraceQL query")).to_be_focused()


def test_keys_count_as_soon_as_the_help_has_closed(store, open_page):
    """The dialog has the focus until the browser draws again, and a key may come first."""
    page = open_page(store.url("search"))
    page.get_by_role("button", name="Help and keys").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_role("dialog").evaluate("""(dialog) => {
        dialog.close();
        for (const key of ["g", "e"]) dialog.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    }""")
    expect(page.get_by_role("region", name="Breakdown")).to_be_visible()
