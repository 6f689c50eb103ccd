"""The report: the same figures as data, on a terminal and in a browser."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from pydantic import TypeAdapter

from freshd.compare.costs import Prices
from freshd.compare.journal import read
from freshd.compare.records import Arm, Results
from freshd.compare.report import ComparisonReport, build_report, render_page
from freshd.compare.timeline import Edit, Stream
from tests.compare.recorded import FOLDER, JOURNAL, WIDTHS, as_json, as_text, journals, keep, made_up, take_in
from tests.kit.browser import chromium, listen

HOSTILE = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=document.title='owned'>",
    "\"'><svg onload=document.title='owned'>",
    "</title></style></main><h1>owned",
    "nul\0 escape\x1b[2J line\nline\r\u2028 lone\udcff",
    "\u202emoc.elpmaxe\u202c",
    "a" * 4_000,
    "[bold]owned[/] [link=http://example.org]x[/link]",
)
"""What a model, a machine, a setting or a source of changes may be called."""

WIDE, PHONE = {"width": 1180, "height": 900}, {"width": 320, "height": 640}


@pytest.fixture(scope="module")
def run() -> Results:
    return made_up()


@pytest.fixture(scope="module")
def report(run: Results) -> ComparisonReport:
    return build_report(run)


def part(run: Results, *arms: Arm) -> Results:
    """As far as these arms."""
    return replace(
        run,
        updates=tuple(one for one in run.updates if one.arm in arms),
        answers=tuple(one for one in run.answers if one.arm in arms),
    )


def hostile(run: Results, text: str) -> ComparisonReport:
    """A report in which every text that somebody may choose is this one."""
    setup = replace(run.setup, model=text, machine=text, settings={text: text})
    updates = tuple(replace(one, settings={text: text}) for one in run.updates)
    stream = Stream((Edit(5.0, text),), 0.0, 10.0, 1, text)
    return build_report(replace(run, setup=setup, updates=updates), Prices(currency=text), stream=stream)


# As data and on a terminal


RUNS = pytest.mark.parametrize("journal", journals(), ids=lambda journal: journal.stem)


@RUNS
def test_the_report_of_a_recorded_run_is_as_it_was(journal):
    """What changed on purpose is written anew by `python -m tests.compare.recorded`."""
    assert as_json(build_report(read(journal))) == journal.with_suffix(".json").read_text("utf-8")


@RUNS
@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_of_a_recorded_run_is_as_it_was(journal, width):
    own = as_text(build_report(read(journal)), width)
    assert own == journal.with_name(f"{journal.stem}-{width}.txt").read_text("utf-8")


def test_a_run_that_still_goes_on_is_taken_in_as_far_as_it_is_finished(tmp_path):
    """Nothing but bytes of the journal goes in, so that what is made of it is the same on every machine."""
    content = JOURNAL.read_bytes()
    (tmp_path / "running.jsonl").write_bytes(content + b'{"record": "answer", "arm": "ra')
    taken = take_in(tmp_path / "running.jsonl", "real", tmp_path)
    assert taken.read_bytes() == content
    keep(taken)
    for end in (".json", *(f"-{width}.txt" for width in WIDTHS)):
        assert (tmp_path / f"real{end}").read_bytes() == (FOLDER / f"made_up{end}").read_bytes()


def test_the_report_has_the_keys_it_promises(report):
    """Read back from JSON, and nothing is missing."""
    adapter = TypeAdapter(ComparisonReport)
    assert adapter.validate_python(json.loads(json.dumps(report))) == report
    for key in report:
        with pytest.raises(ValueError, match=key):
            adapter.validate_python({name: value for name, value in report.items() if name != key})


def test_the_report_does_not_depend_on_the_order_of_answers(run, report):
    backwards = replace(run, answers=tuple(reversed(run.answers)), updates=tuple(reversed(run.updates)))
    again = build_report(backwards)
    assert {**again, "updates": None} == {**report, "updates": None}


@pytest.mark.parametrize("width", [*WIDTHS, 60, 200])
def test_a_table_fits_its_terminal(report, width):
    assert max(map(len, as_text(report, width).splitlines())) <= width


def test_a_narrow_terminal_drops_columns_and_breaks_none(report):
    wide, narrow = as_text(report, 100), as_text(report, 80)
    assert re.search(r"^ +current +exact +stale +kept +gone +wrong +cited +update +query +prompt$", wide, re.MULTILINE)
    assert re.search(r"^ +current +exact +stale +kept +wrong +cited +update +query$", narrow, re.MULTILINE)
    assert "…" not in wide + narrow


def test_each_aspect_shows_what_was_claimed_beside_what_was_measured(report):
    assert [row["aspect"] for row in report["rows"]] == [
        *("what it changes", "knowledge currency", "set-up", "update cycle", "hallucination risk"),
        *("source attribution", "latency", "per query", "ongoing"),
    ]
    for row in report["rows"]:
        assert all(row.values())
    text = " ".join(as_text(report, 200).split())
    for row in report["rows"]:
        assert all(cell in text for cell in row.values()), row["aspect"]


@pytest.mark.parametrize(
    ("sweep_s", "told"),
    [(None, "search for a learning rate not counted"), (0.0, None), (61.5, "61.5 CPU s of it to find a learning rate")],
)
def test_what_finding_a_learning_rate_took_stands_with_the_set_up(run, sweep_s, told):
    own = build_report(replace(run, updates=tuple(replace(one, sweep_s=sweep_s) for one in run.updates)))
    (row,) = (row for row in own["rows"] if row["aspect"] == "set-up")
    assert ("learning rate" in row["measured_tuning"]) == (told is not None)
    assert (told or "") in row["measured_tuning"]
    assert "learning rate" not in row["measured_rag"]


def test_memory_says_of_how_many_processes_it_is(report):
    (row,) = (row for row in report["rows"] if row["aspect"] == "ongoing")
    assert row["measured_rag"].endswith("during an update, 2 processes")
    assert row["measured_tuning"].endswith("during an update")


def test_a_hash_is_shortened_for_people_and_whole_where_it_is_looked_up(run):
    digest = "8199be6fd2a6" + "0" * 52
    own = build_report(replace(run, setup=replace(run.setup, model=f"tiny, SHA-256 {digest}")))
    assert digest not in as_text(own, 80)
    assert "8199be6fd2a6…" in as_text(own, 80)
    assert own["setup"]["model"].endswith(digest)
    assert render_page(own).count(digest) == 1


def test_the_report_is_of_when_its_newest_arm_was_through(run, report):
    assert report["measured_at"] == max(one.measured_at for one in run.updates)
    undated = replace(run, updates=tuple(replace(one, measured_at=None) for one in run.updates))
    assert build_report(undated)["measured_at"] is None


def test_prices_and_thresholds_that_are_given_are_used_and_shown(run):
    dear = build_report(run, Prices(machine_hour=100.0, currency="€"), confident=0.9, known=0.5)
    assert (dear["prices"]["machine_hour"], dear["confident"], dear["known"]) == (100.0, 0.9, 0.5)
    own, usual = ({arm["arm"]: arm for arm in one["arms"]} for one in (dear, build_report(run)))
    assert own["rag"]["cost"]["update"] == pytest.approx(1_000 * usual["rag"]["cost"]["update"])
    wrong = [one["tuned_frozen"]["confident_wrong"]["value"] for one in (own, usual)]
    assert wrong[0] < wrong[1]
    assert own["tuned_retrained"]["update"]["known_seconds"] < usual["tuned_retrained"]["update"]["known_seconds"]
    assert "€100 an hour" in as_text(dear, 100)


@pytest.mark.parametrize(
    "arms",
    [(), (Arm.BASE,), (Arm.RAG,), (Arm.TUNED_RETRAINED,), (Arm.RAG, Arm.TUNED_FROZEN), (Arm.RAG, Arm.TUNED_REPLAY)],
)
def test_a_run_that_was_broken_off_has_a_report_too(run, arms):
    own = build_report(part(run, *arms))
    assert [arm["arm"] for arm in own["arms"]] == [arm.value for arm in Arm if arm in arms]
    assert "Not run:" in as_text(own, 100)
    assert render_page(own).endswith("</html>")


# Directions, on the recorded run


def test_in_the_recorded_run_what_is_frozen_is_stale_and_updating_an_index_is_cheap(report):
    arms = {arm["arm"]: arm for arm in report["arms"]}
    assert arms["rag"]["update"]["cpu_seconds"] < arms["tuned_retrained"]["update"]["cpu_seconds"] / 10
    for stale, updated in (("tuned_frozen", "tuned_retrained"), ("rag_stale", "rag")):
        assert arms[stale]["stale"]["value"] > arms[updated]["stale"]["value"]
        assert arms[stale]["currency"]["value"] < arms[updated]["currency"]["value"]
    assert arms["tuned_incremental"]["forgotten_exact"]["low"] > 0
    assert arms["tuned_retrained"]["attribution"] is None
    assert arms["rag"]["attribution"]["value"] > 0.5
    means = [course["mean_share"] for course in report["timeline"]["courses"]]
    assert means == sorted(means)


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open a report from a file, as somebody does who was sent it; whatever the browser complains of fails the test."""
    contexts, complaints = [], list[str]()

    def open_page(report: ComparisonReport, **settings: Any) -> Page:
        (tmp_path / "report.html").write_text(render_page(report), encoding="utf-8")
        context = browser.new_context(**{"viewport": WIDE, **settings})
        contexts.append(context)
        page = context.new_page()
        listen(page, complaints)
        page.on("request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None)
        page.goto((tmp_path / "report.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def has_no_sideways_scroll(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_page_says_what_the_report_says(opened, report):
    text = " ".join(opened(report).locator("body").inner_text().replace("\N{NO-BREAK SPACE}", " ").split())
    verdict = report["verdict"]
    wanted = [verdict["headline"], *verdict["remarks"], *verdict["caveats"]]
    wanted += [one["sentence"] for one in verdict["contests"]]
    wanted += [one["formula"] for one in report["break_evens"]]
    wanted += [cell for row in report["rows"] for cell in row.values()]
    wanted += [arm["name"] for arm in report["arms"]]
    assert [line for line in wanted if line not in text] == []


def test_the_page_can_be_read_by_its_structure(opened, report):
    page = opened(report)
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.get_by_role("heading", level=1).count() == 1
    for name in ("Share out of date over time", "Cost of one update and the queries after it"):
        assert page.get_by_role("img", name=name).bounding_box()["height"] > 150
    assert page.get_by_role("columnheader", name="claimed for RAG").count() == 1


def test_where_lines_cross_is_where_the_formula_says(opened, report):
    """The mark of the break-even lies on the middle of the axis, which is twice as long as that."""
    page = opened(report)
    mark, plot = page.locator(".crossing").bounding_box(), page.locator("#break-evens ~ figure .plot").bounding_box()
    assert mark["x"] + mark["width"] / 2 == pytest.approx(plot["x"] + plot["width"] / 2, abs=6)
    assert plot["y"] < mark["y"] < plot["y"] + plot["height"]


def test_the_page_needs_no_script_and_loads_nothing(report):
    page = render_page(report)
    assert not re.search(r"<script|javascript:|\son\w+=|\sstyle=|http-equiv=\"refresh|@import|url\(", page)
    assert set(re.findall(r'(?:href|src)="([^"]*)"', page)) == {"data:,"}
    policy = re.search('http-equiv="Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_things_are_called_is_shown_and_nothing_else(opened, run, text):
    own = hostile(run, text)
    page = opened(own, viewport=PHONE)
    assert page.title() == "What an update costs · freshd"
    assert page.locator("h1").all_inner_texts() == ["What an update costs"]
    assert page.locator("script, img, a, iframe").count() == 0
    assert has_no_sideways_scroll(page)
    shown = as_text(own, 100)
    assert "\x1b" not in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["desk", "phone"])
def test_the_page_fits_its_window(opened, report, viewport, scheme):
    page = opened(report, viewport=viewport, color_scheme=scheme)
    assert has_no_sideways_scroll(page)
    page.locator("summary").click()
    assert has_no_sideways_scroll(page)


def test_the_page_follows_the_scheme_of_its_reader(opened, report):
    grounds = {
        scheme: opened(report, color_scheme=scheme).evaluate(
            "getComputedStyle(document.documentElement).backgroundColor"
        )
        for scheme in ("light", "dark")
    }
    assert grounds["light"] != grounds["dark"]
