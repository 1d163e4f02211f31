"""The trace page: the timeline and its keys, details and what they lead to, flame graph, self times, files."""

import json
import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from playwright.sync_api import Page, expect

from mouse import drag
from server import Mosso
from shop_traffic import SECOND, large_trace

SPANS_OF_A_CHECKOUT = 18
LARGE = 50_000
LARGE_ID = "5a" * 16


def open_slow(store, open_page, **parameters) -> Page:
    page = open_page(store.url("trace", id=store.slow, **parameters), parameters.pop("theme", "light"))
    expect(page.get_by_role("treegrid")).to_be_visible()
    return page


def selected_name(page: Page):
    return page.locator(".row.selected .operation")


def test_timeline_shows_the_tree_with_critical_path_events_and_links(store, open_page, picture):
    page = open_slow(store, open_page)
    rows = page.locator(".row")
    expect(rows).to_have_count(SPANS_OF_A_CHECKOUT)
    assert rows.first.get_attribute("aria-level") == "1"
    charge = page.locator(".row", has_text="payment").filter(has_text="Charge").last
    expect(charge.locator(".critical").first).to_be_visible()
    expect(charge.locator(".event")).to_have_attribute("title", "waiting for issuer")
    page.get_by_role("button", name="Linked from 1 trace").click()
    page.get_by_role("link", name="mail orders process").click()
    expect(page.locator(".row")).to_have_count(1)
    page.locator(".row").click()
    page.locator(".details").get_by_role("link", name=store.slow).click()
    expect(page.locator(".trace-id")).to_have_text(store.slow)
    picture(page, "trace-light")


def test_keys_walk_fold_and_close(store, open_page):
    page = open_slow(store, open_page)
    page.get_by_role("treegrid").focus()
    walk = [("ArrowDown", "POST /checkout"), ("ArrowDown", "checkout.PlaceOrder"), ("ArrowRight", "PlaceOrder")]
    for key, name in walk:
        page.keyboard.press(key)
        expect(selected_name(page)).to_have_text(name)
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".row")).to_have_count(3)
    expect(page.locator(".row.selected")).to_have_attribute("aria-expanded", "false")
    expect(page.locator(".row.selected")).to_contain_text(f"+{SPANS_OF_A_CHECKOUT - 3}")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".row")).to_have_count(SPANS_OF_A_CHECKOUT)
    page.keyboard.press("End")
    expect(selected_name(page)).to_have_text("Enqueue")
    expect(page.get_by_role("complementary", name="Span")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary", name="Span")).to_have_count(0)


def test_details_copy_and_find_others(store, open_page, picture):
    page = open_slow(store, open_page)
    page.locator(".row", has_text="Charge").last.click()
    details = page.get_by_role("complementary", name="Span")
    expect(details).to_contain_text("card.brand")
    details.get_by_role("button", name="Copy card.brand").click()
    assert page.evaluate("navigator.clipboard.readText()") == "amex"
    picture(page, "trace-details")
    page.reload()
    expect(details).to_contain_text("waiting for issuer")
    details.get_by_role("link", name="Find spans with this card.brand").click()
    expect(page.get_by_label("TraceQL query")).to_have_value('{ span.card.brand = "amex" }')
    page.go_back()
    details.get_by_role("link", name="Find others like this").click()
    expect(page.get_by_label("TraceQL query")).to_have_value('{ resource.service.name = "payment" && name = "Charge" }')
    expect(page.locator("table.results tbody tr").first).to_be_visible()


def test_find_marks_spans_and_steps_through_them(store, open_page):
    page = open_slow(store, open_page)
    page.keyboard.press("/")
    page.keyboard.type("db.system=postgres")
    expect(page.locator(".find output")).to_have_text("3 spans")
    expect(page.locator(".row.found")).to_have_count(3)
    page.keyboard.press("Enter")
    expect(selected_name(page)).to_have_text("SELECT cart")
    page.get_by_role("treegrid").focus()
    page.keyboard.press("n")
    expect(selected_name(page)).to_have_text("SELECT stock")
    page.get_by_label("Only spans found").check()
    expect(page.locator(".row")).to_have_count(3)
    assert parse_qs(urlsplit(page.url).query)["find"] == ["db.system=postgres"]


def test_minimap_shows_a_part_of_the_time(store, open_page):
    page = open_slow(store, open_page)
    drag(page.locator(".minimap"), (0.001, 0.4), (0.1, 0.4))
    expect(page.get_by_role("button", name="Whole trace")).to_be_visible()
    expect(page.locator(".row", has_text="mail.Enqueue").locator(".beyond.after")).to_be_visible()
    page.get_by_role("button", name="Whole trace").click()
    expect(page.locator(".beyond")).to_have_count(0)


def test_flame_graph_and_self_times_say_where_the_time_went(store, open_page, picture):
    page = open_slow(store, open_page)
    page.get_by_role("link", name="Self time").click()
    first = page.locator(".times tbody tr").first
    expect(first).to_contain_text("payment")
    expect(first).to_contain_text("Charge")
    picture(page, "trace-self-time")
    page.get_by_role("button", name="Spans").click()
    expect(page.get_by_role("columnheader", name="Spans")).to_have_attribute("aria-sort", "descending")
    page.get_by_role("link", name="Flame graph").click()
    page.get_by_role("button", name="payment Charge").click()
    expect(page.locator(".flame-part").first).to_contain_text("payment Charge")
    expect(page.locator(".flame-way")).to_contain_text("› PlaceOrder")
    picture(page, "trace-flame")


def test_downloaded_file_opens_when_dropped(store, open_page, tmp_path):
    page = open_slow(store, open_page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    file = tmp_path / "trace.json"
    download.value.save_as(file)
    span = json.loads(file.read_text())["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert span["traceId"] == store.slow
    assert isinstance(span["kind"], int)

    page.goto(store.url("trace"))
    page.get_by_label("File of OTLP JSON").set_input_files(file)
    expect(page.locator(".row")).to_have_count(SPANS_OF_A_CHECKOUT)
    expect(page.locator(".trace-id")).to_have_text(store.slow)
    drop(page, "not a trace", "broken.json")
    expect(page.get_by_role("alert")).to_contain_text("broken.json: this is not JSON")
    drop(page, file.read_text(), "trace.json")
    expect(page.locator(".row")).to_have_count(SPANS_OF_A_CHECKOUT)
    expect(page.get_by_role("alert")).to_have_count(0)


def drop(page: Page, text: str, name: str) -> None:
    page.evaluate(
        """([text, name]) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([text], name, { type: "application/json" }));
            for (const kind of ["dragover", "drop"]) {
                window.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true }));
            }
        }""",
        [text, name],
    )


def test_clocks_that_disagree_are_marked(store, open_page):
    trace_id, start = "c1" * 16, store.now - 10 * SECOND

    def resource_spans(service: str, span_id: str, parent: str, start: int) -> dict:
        attributes = [{"key": "service.name", "value": {"stringValue": service}}]
        span = {"traceId": trace_id, "spanId": span_id, "parentSpanId": parent, "name": f"{service} works"}
        span |= {"startTimeUnixNano": str(start), "endTimeUnixNano": str(start + 50_000_000)}
        return {"resource": {"attributes": attributes}, "scopeSpans": [{"spans": [span]}]}

    callers = [resource_spans("near", "01" * 8, "", start), resource_spans("far", "02" * 8, "01" * 8, start - 30_000_000)]
    requests.post(f"{store.mosso.otlp_http}/v1/traces", json={"resourceSpans": callers}).raise_for_status()
    page = open_page(store.url("trace", id=trace_id))
    expect(page.locator(".row", has_text="far works")).to_contain_text("clock −30 ms")
    expect(page.locator(".row", has_text="near works")).not_to_contain_text("clock")


def test_unknown_trace_is_said_to_be_unknown(store, open_page):
    page = open_page(store.url("trace", id="12" * 16))
    expect(page.get_by_role("alert")).to_contain_text("there is no trace 1212")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A mosso that answers with traces of any size, and in it one of 50,000 spans."""
    with Mosso(tmp_path_factory.mktemp("large"), querier={"max_bytes_per_trace": 100_000_000}) as mosso:
        for request in large_trace(bytes.fromhex(LARGE_ID), LARGE, time.time_ns() - 1000 * SECOND):
            headers = {"Content-Type": "application/x-protobuf"}
            answer = requests.post(f"{mosso.otlp_http}/v1/traces", request.SerializeToString(), headers=headers)
            answer.raise_for_status()
        yield mosso


def test_trace_of_50_000_spans_opens_in_two_seconds_and_scrolls(large, open_page, picture):
    page = open_page(f"{large.http}/ui/search")
    # What the server takes depends on how it was built; from its answer on, the page is measured. Of three openings the
    # quickest counts: the machine may do other things, too.
    seconds = min(seconds_to_open(page, LARGE_ID) for _ in range(3))
    print(f"a trace of {LARGE} spans is shown {seconds:.2f} s after the server's answer")
    assert seconds < 2
    expect(page.get_by_role("treegrid")).to_have_attribute("aria-rowcount", str(LARGE))
    assert page.locator(".row").count() < 100, "only rows in sight exist"
    picture(page, "trace-large")

    frames = page.evaluate(
        """async () => {
            const rows = document.querySelector(".rows");
            const times = [];
            for (let step = 0; step < 60; step++) {
                const began = performance.now();
                rows.scrollTop = (step * rows.scrollHeight) / 60;
                await new Promise(requestAnimationFrame);
                times.push(performance.now() - began);
            }
            return times.sort((one, other) => one - other);
        }"""
    )
    # Chromium draws without a graphics card here; all rows at once would take seconds.
    assert frames[30] < 100, f"half of the frames take longer than {frames[30]:.0f} ms"
    page.get_by_role("treegrid").focus()
    page.keyboard.press("End")
    expect(page.locator(".row.selected")).to_have_attribute("aria-rowindex", str(LARGE))


def seconds_to_open(page: Page, trace_id: str) -> float:
    """Opens a trace from the search page, as a person does; from the server's answer to its rows on the screen."""
    page.get_by_role("link", name="Search", exact=True).click()
    page.evaluate(
        """() => {
            const fetched = window.fetch;
            window.answered = window.shown = undefined;
            window.fetch = async (...given) => {
                const response = await fetched(...given);
                if (!String(given[0]).includes("/v2/traces/")) return response;
                const body = await response.arrayBuffer();
                window.answered = performance.now();
                window.fetch = fetched;
                return new Response(body, response);
            };
            const seen = new MutationObserver(() => {
                if (!window.answered || document.querySelectorAll(".row").length < 10) return;
                seen.disconnect();
                requestAnimationFrame(() => setTimeout(() => { window.shown = performance.now(); }));
            });
            seen.observe(document.body, { childList: true, subtree: true });
        }"""
    )
    field = page.get_by_label("Open a trace by id")
    field.fill(trace_id)
    field.press("Enter")
    expect(page.get_by_role("treegrid")).to_be_visible(timeout=60_000)
    return page.evaluate(
        """() => new Promise((done) => {
            const look = () => window.shown ? done((window.shown - window.answered) / 1000) : setTimeout(look, 5);
            look();
        })"""
    )


def test_two_traces_beside_each_other_show_where_one_took_longer(store, open_page, picture):
    page = open_page(store.url("trace", id=store.ordinary))
    page.get_by_role("link", name="Beside another").click()
    field = page.get_by_label("Id of the other trace")
    field.fill(store.slow)
    field.press("Enter")
    rows = page.locator(".diff tbody tr")
    expect(rows).to_have_count(SPANS_OF_A_CHECKOUT)
    charge = rows.filter(has_text="payment").filter(has_text="Charge").last
    expect(charge.locator("i.longer")).to_be_visible()
    expect(charge).to_contain_text("+")
    picture(page, "trace-diff")
    page.reload()
    expect(rows).to_have_count(SPANS_OF_A_CHECKOUT)
