"""What the daemon's log says of a look at a source."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from freshd.daemon.backlog import Backlog
from freshd.daemon.reporter import Reporter
from freshd.guard import Verdict
from freshd.metrics import Metrics
from freshd.model import ListingReport, SourceName
from freshd.scheduler import Scan
from tests.kit.clock import HandClock

SOURCE = SourceName("docs")


def said_of(report: ListingReport, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Mapping[str, Any]]]:
    log, clock = mock.Mock(), HandClock()
    monkeypatch.setattr("freshd.daemon.reporter.get_logger", lambda: log)
    scan = Scan(SOURCE, clock.now(), 0.0, timedelta(0), report, Verdict.PASS, 0, 1, 5)
    Reporter(Metrics([SOURCE], mock.Mock()), Backlog(clock), lambda *_: False).scanned(scan)
    return [(str(call.args[0]), call.kwargs) for call in log.method_calls]


@pytest.mark.parametrize(
    ("report", "facts"),
    [
        (ListingReport(True, unreadable=("sub",)), {"unreadable": 1, "places": ["sub"]}),
        (ListingReport(False, reason="got half", hint="ask again"), {"error": "got half", "hint": "ask again"}),
    ],
    ids=["unreadable", "cut"],
)
def test_a_look_that_did_not_see_everything_is_not_called_complete(
    report: ListingReport, facts: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
):
    (event, scanned), (warning, why) = said_of(report, monkeypatch)
    assert (event, scanned["is_complete"]) == ("source_scanned", False)
    assert (warning, why) == ("source_failed", {"source": SOURCE, **facts})


def test_a_look_that_saw_everything_is_called_complete(monkeypatch: pytest.MonkeyPatch):
    ((event, scanned),) = said_of(ListingReport(True), monkeypatch)
    assert (event, scanned["is_complete"]) == ("source_scanned", True)
