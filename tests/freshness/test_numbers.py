"""The page, `/status`, the metrics and the command are one computation: every number that two of them show is one."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import lxml.html
import pytest
from rich.console import Console

from freshd.cli import asking
from freshd.wording import duration, setting
from tests.freshness import freezing
from tests.freshness.claims import article
from tests.freshness.living import FILES, Living, Said, living
from tests.scheduler.parts import eventually

SOURCES = FILES.replace('"1s"', '"1m"').replace("0.01", "0.5")

Source = dict[str, Any]


def seconds(instant: str | None) -> float | None:
    return None if instant is None else datetime.fromisoformat(instant).timestamp()


GAUGES: dict[str, Callable[[Source], float | None]] = {
    "freshd_source_watermark_timestamp_seconds": lambda source: seconds(source["watermark"]),
    "freshd_source_oldest_pending_timestamp_seconds": lambda source: seconds(source["oldest_pending_at"]),
    "freshd_source_last_success_timestamp_seconds": lambda source: seconds(source["last_complete_scan_at"]),
    "freshd_source_up": lambda source: source["failing_since"] is None,
    "freshd_source_overdue": lambda source: source["overdue_since"] is not None,
    "freshd_source_freshness_target_seconds": lambda source: source["freshness_target_seconds"],
    "freshd_source_objective_ratio": lambda source: source["objective"],
    "freshd_source_error_budget_remaining_ratio": lambda source: source["error_budget_remaining"],
    "freshd_documents": lambda source: source["documents"],
    "freshd_pending_documents": lambda source: source["pending"],
    "freshd_late_documents": lambda source: source["late"],
    "freshd_deletions_held": lambda source: source["held"],
    "freshd_quarantined_documents": lambda source: source["quarantined"],
    "freshd_watcher_degraded": lambda source: source["is_watch_degraded"],
    # While one process runs, nothing is forgotten and nobody sets the clock, what it counted is the whole window.
    "freshd_changes_within_target_total": lambda source: source["changes"]["within_target"],
}
"""What each metric of a source is in `/status`."""

ONLY_METRICS = {
    "freshd_changes_total",  # by kind; held against the window's total below
    "freshd_chunks_total",
    "freshd_document_failures_total",
    "freshd_clock_distrusted_total",
    "freshd_proofs_total",
    "freshd_change_lag_seconds_bucket",
    "freshd_change_lag_seconds_count",
    "freshd_change_lag_seconds_sum",
    "freshd_deletion_lag_seconds_bucket",
    "freshd_deletion_lag_seconds_count",
    "freshd_deletion_lag_seconds_sum",
}


@contextmanager
def edited(root: Path) -> Iterator[Living]:
    """A freshd that has seen an addition, an edit and a deletion, and is at rest."""
    with living(root, SOURCES) as one:
        for n in range(6):
            one.write(f"pages/{n}.md", f"# Page\n\nThe pageword{n}.\n\n## Part\n\nMore.\n")
        eventually(lambda: one.passes()["documents"] == 6)
        one.write("pages/0.md", "# Page\n\nThe newword.\n")
        one.write("gone.md", "# Gone\n\nThe goneword.\n")
        eventually(lambda: one.finds("newword") and one.finds("goneword"))
        (one.docs / "gone.md").unlink()
        eventually(lambda: not one.finds("goneword") and not one.source()["pending"])
        one.recovers()
        yield one


# States


@contextmanager
def fresh(one: Living) -> Iterator[None]:
    assert one.source()["status"] == "pass"
    yield


@contextmanager
def pending_and_late(one: Living) -> Iterator[None]:
    with freezing.the_indexer(one):
        one.write("pages/1.md", "# Page\n\nThe lateword.\n")
        eventually(lambda: one.source()["pending"])
        one.pass_time(timedelta(seconds=90))
        assert one.source()["late"]
        yield


@contextmanager
def held(one: Living) -> Iterator[None]:
    (one.docs / "pages").rename(one.root / "away")
    eventually(lambda: one.source()["held"] == 6)
    yield


@contextmanager
def failing(one: Living) -> Iterator[None]:
    one.docs.rename(one.root / "away")
    one.scheduler.scan_now(["docs"])
    eventually(lambda: one.source()["failing_since"])
    one.pass_time(timedelta(seconds=90))
    yield


@contextmanager
def quarantined(one: Living) -> Iterator[None]:
    with mock.patch("freshd.pipeline.batch._MAX_ATTEMPTS", 1), freezing.unreadable(one, "pages/1.md"):
        one.write("pages/1.md", "# Page\n\nThe lostword.\n")
        eventually(lambda: one.source()["quarantined"] == 1)
    yield


@contextmanager
def diverged(one: Living) -> Iterator[None]:
    (first, *_) = one.whole.store.scroll(None, 1)
    one.whole.store.remove([first.chunk_id])
    one.live.verify(deep=False, repair=False, orphans=False)
    eventually(lambda: one.source()["divergent"] == 1)
    yield


@contextmanager
def without_its_store(one: Living) -> Iterator[None]:
    with freezing.the_shard_away(one):
        one.scheduler.scan_now(["docs"])
        eventually(lambda: one.get("/status").json()["store"]["error"])
        one.pass_time(timedelta(seconds=90))
        yield


STATES = [fresh, pending_and_late, held, failing, quarantined, diverged, without_its_store]


@dataclass(frozen=True)
class Seen:
    """What is said while the clocks stand still and nothing changes."""

    one: Living
    said: Said


@pytest.fixture(scope="module", params=STATES, ids=lambda state: state.__name__)
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    with edited(tmp_path_factory.mktemp("numbers")) as one, request.param(one), one.clock.standing_still():

        def look() -> Said | None:
            said = one.said()
            return said if one.get("/status").json() == said.report else None

        yield Seen(one, eventually(look))


def text_of(element: lxml.html.HtmlElement) -> str:
    return " ".join(element.text_content().split())


def facts(said: Said) -> dict[str, list[str]]:
    """Give what the page says of the source: for each label its value and notes."""
    page = lxml.html.fromstring(article(said))
    return {part.findtext("dt"): [text_of(dd) for dd in part.findall("dd")] for part in page.xpath("//dl/div")}


def test_every_metric_is_the_number_of_the_status(seen: Seen):
    said, source, report = seen.said, seen.said.source, seen.said.report
    for name, value_of in GAUGES.items():
        value = value_of(source)
        shown = said.metric(name, source="docs")
        assert shown == (None if value is None else pytest.approx(float(value), abs=1e-6)), name
    names = {name for name, labels in said.samples if "source" in dict(labels)}
    assert names - GAUGES.keys() <= ONLY_METRICS
    done = source["changes"]["total"] - source["late"]
    kinds = ("added", "modified", "moved", "deleted")
    assert sum(said.metric("freshd_changes_total", source="docs", kind=kind) or 0 for kind in kinds) == done
    lags = ("freshd_change_lag_seconds_count", "freshd_deletion_lag_seconds_count")
    assert sum(said.metric(name, source="docs") or 0 for name in lags) == done
    assert said.metric("freshd_store_up") == (report["store"]["error"] is None)
    verify = report["verify"]
    assert said.metric("freshd_verify_last_success_timestamp_seconds") == seconds(verify["checked_at"])
    if verify["checked_at"]:
        assert {
            kind: said.metric("freshd_verify_divergent_points", kind=kind)
            for kind in ("missing", "orphaned", "damaged")
        } == {kind: verify[kind] for kind in ("missing", "orphaned", "damaged")}
        assert source["divergent"] == verify["missing"] + verify["orphaned"] + verify["damaged"]


def test_the_page_shows_the_numbers_of_the_status(seen: Seen):
    said, source, shown = seen.said, seen.said.source, facts(seen.said)
    text = text_of(lxml.html.fromstring(article(said)))
    assert f'class="status {source["status"]}"' in article(said)
    for reason in source["reasons"]:
        assert reason.replace("`", "") in text
    assert f"{duration(source['staleness_seconds'])} stale" in text
    assert f"target {setting(source['freshness_target_seconds'])}" in text
    assert shown["Index"] == [f"{source['documents']:,} documents", f"{source['chunks']:,} chunks"]
    lag, forget, changes = source["lag_seconds"], source["time_to_forget_seconds"], source["changes"]
    assert shown["Edit to searchable"] == [f"{duration(lag['p50'])} median", f"{duration(lag['p99'])} at p99"]
    assert shown["Deletion to forgotten"] == [
        f"{duration(forget['p50'])} median",
        f"{duration(forget['p99'])} at p99",
    ]
    assert f"{changes['within_target']:,} of {changes['total']:,} changes in 28 d" in shown["Objective"]
    left = source["error_budget_remaining"]
    budget = f"{left * 100:.0f} % left" if left >= 0 else f"overspent by {-left * 100:.0f} %"
    assert shown["Error budget"][0] == budget
    waiting = " ".join(shown["Waiting"])
    for count, noun in ((source["pending"], "pending"), (source["held"], "deletions held")):
        assert (f"{count} {noun}" in waiting) == bool(count) or (noun == "pending" and not count)
    assert ("1 document quarantined" in waiting) == (source["quarantined"] == 1)
    assert ("1 point diverged" in waiting) == (source["divergent"] == 1)
    assert ("fails" in " ".join(shown["Next scan"])) == (source["failing_since"] is not None)


def test_the_command_shows_the_status(seen: Seen):
    """`--json` is the very answer; the table has its numbers, and the exit code follows the status."""
    one, said = seen.one, seen.said
    assert json.loads(one.command("status", "--json").stdout) == said.report
    with mock.patch.object(asking, "out", Console(file=StringIO(), width=200)) as console:
        assert one.command("status").exit_code == 0
    assert isinstance(console.file, StringIO)
    header, row, *notes = (re.split(r"\s{2,}", line.strip()) for line in console.file.getvalue().splitlines())
    source, shown = said.source, dict(zip(header, row, strict=True))
    left = source["error_budget_remaining"]
    assert shown == {
        "source": "docs",
        "status": source["status"],
        "documents": f"{source['documents']:,}",
        "chunks": f"{source['chunks']:,}",
        "pending": f"{source['pending']:,}",
        "stale": duration(source["staleness_seconds"]),
        "target": setting(source["freshness_target_seconds"]),
        "lag p50": duration(source["lag_seconds"]["p50"]),
        "lag p99": duration(source["lag_seconds"]["p99"]),
        "budget": "spent" if left <= 0 else f"{left:.0%}",
    }
    told = [note for (note, *_) in notes if note.startswith("docs: ") and "last error" not in note]
    assert told == [f"docs: {reason}" for reason in source["reasons"]]
    assert said.exit_code == (4 if source["status"] in ("error", "unknown") else 0)
