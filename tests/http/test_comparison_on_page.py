"""The last comparison on the page, beside the live figures."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html import unescape
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, expect

from freshd.http.page.comparison import comparison_section
from tests.http.daemon import Endpoint, dashboard, source
from tests.kit.browser import chromium, listen

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WIDE, PHONE = {"width": 1180, "height": 900}, {"width": 320, "height": 640}
HASH = "8199be6f" * 8


def approach(seconds: float, *names: str, is_training: bool = False) -> dict[str, Any]:
    return {"names": list(names), "seconds": seconds, "is_training": is_training}


def figures(**differences: Any) -> dict[str, Any]:
    return {
        "measured_at": "2026-02-27T12:00:00Z",
        "model": f"tiny-lm, SHA-256 {HASH}",
        "machine": "a loud one, 2 cores",
        "is_quick": False,
        "approaches": [
            approach(0.6, "RAG", "reader + RAG"),
            approach(41.0, "tuning on changes", is_training=True),
            approach(131.0, "retraining", is_training=True),
        ],
        "break_even": "Break-even: so and so many queries per update.",
        **differences,
    }


def words(section: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", section)).split())


def lengths(section: str) -> list[float]:
    """Give how long each bar is, in percent of the width."""
    return [float(share) for share in re.findall(r'class="(?:good|busy|training)" width="([\d.]+)%"', section)]


def test_without_a_report_there_is_no_such_part():
    assert comparison_section(None, [source()], NOW) == ""


def test_what_was_measured_stands_beside_what_happens_with_date_and_origin():
    text = words(comparison_section(figures(), [source()], NOW))
    for wanted in (
        *("freshd here, median lag 1.2 s", "freshd here, staleness now 12 s", "RAG as do reader + RAG 0.6 s"),
        *("tuning on changes 41 s", "retraining 2.2 min", "2026-02-27 ( 2 d ago )", "tiny-lm, SHA-256 8199be6f8199…"),
        *("machine a loud one, 2 cores", "Break-even: so and so many queries per update."),
    ):
        assert wanted in text
    assert HASH not in text
    assert "quick" not in text
    assert "quick run" in words(comparison_section(figures(is_quick=True), [source()], NOW))


def test_of_several_sources_the_worst_counts_and_is_named():
    slow = source("news", lag_seconds={"p50": 9.0, "p99": 20.0}, staleness_seconds=45.0)
    text = words(comparison_section(figures(), [source(), slow], NOW))
    assert "median lag of news , the slowest 9 s" in text
    assert "staleness now of the stalest 45 s" in text


def test_what_is_not_known_is_not_drawn():
    """One source of unknown staleness leaves nothing to say of the stalest."""
    nothing = {"p50": None, "p99": None}
    blank = source("news", lag_seconds=nothing, staleness_seconds=None)
    section = comparison_section(figures(), [source(lag_seconds=nothing), blank], NOW)
    assert "median lag no edit yet" in words(section)
    assert "of the stalest unknown" in words(section)
    assert len(lengths(section)) == 3


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=9))
def test_a_longer_update_never_has_the_shorter_bar(seconds: list[float]):
    ordered = sorted(seconds)
    section = comparison_section(figures(approaches=[approach(one, "some") for one in ordered]), [source()], NOW)
    drawn = lengths(section)
    assert drawn[2:] == sorted(drawn[2:])
    assert all(0 < one <= 100 for one in drawn)
    ticks = re.findall(r"<text[^>]*>([^<]*)</text>", section)
    assert 2 <= len(ticks) <= 7
    assert all(re.fullmatch(r"[\d,.]+\N{NO-BREAK SPACE}s", tick) for tick in ticks)


def test_ten_times_as_long_is_as_much_longer_everywhere_on_the_scale():
    ten_times = [approach(10.0**power, str(power)) for power in range(-1, 4)]
    drawn = lengths(comparison_section(figures(approaches=ten_times), [source()], NOW))[3:]
    steps = [later - one for one, later in pairwise(drawn)]
    assert steps == pytest.approx([steps[0]] * len(steps), abs=0.02)


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open the page of an endpoint; whatever the browser complains of fails the test."""
    contexts, complaints = [], list[str]()

    def open_page(endpoint: Endpoint, **settings: Any) -> Page:
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        listen(page, complaints)
        page.goto(f"http://{endpoint.server.address}/")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["desk", "phone"])
def test_it_fits_its_window_and_its_bars_are_there(
    endpoint: Endpoint, opened: Callable[..., Page], viewport: dict[str, int], scheme: str
):
    endpoint.daemon.shown = lambda: dashboard(comparison=figures())
    page = opened(endpoint, viewport=viewport, color_scheme=scheme)
    expect(page.get_by_role("heading", name="Next to retraining")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    bars = [bar.bounding_box()["width"] for bar in page.locator(".costs rect:not(.rail)").all()]
    assert len(bars) == 5
    assert bars[2] < bars[3] < bars[4]
    rows = [box["height"] for box in (row.bounding_box() for row in page.locator(".costs tr").all())]
    assert max(rows) < 120


def test_whatever_a_report_calls_things_is_shown_and_nothing_else(endpoint: Endpoint, opened: Callable[..., Page]):
    hostile = ("<script>document.title='owned'</script>", "\"'><svg onload=document.title='owned'>", "a" * 4_000)
    texts = {"model": hostile[0], "machine": hostile[1], "break_even": hostile[2]}
    own = figures(**texts, approaches=[approach(1.0, *hostile), approach(2.0, *reversed(hostile))])
    endpoint.daemon.shown = lambda: dashboard(comparison=own)
    page = opened(endpoint, viewport=PHONE)
    expect(page.get_by_role("heading", name="Next to retraining")).to_be_visible()
    assert page.title() == "pass · freshd"
    assert page.locator("main script").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
