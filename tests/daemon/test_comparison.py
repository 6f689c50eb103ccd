"""The last comparison's figures beside the live ones."""

import html
import json
import os
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from freshd.compare.report import build_report
from freshd.daemon.comparison import LastComparison
from freshd.shapes import ComparisonFigures
from tests.compare.recorded import made_up
from tests.daemon.instance import instance

REPORT = {"arms": [{"arm": "rag", "update": {"wall_seconds": 0.4}}, {"arm": "base", "update": None}]}


def test_a_report_tells_how_long_each_arm_took_and_is_read_again_when_it_is_written_anew(tmp_path: Path):
    path = tmp_path / "report.json"
    last = LastComparison(path)
    assert last.cycles_s() == {}, "it may come later"
    path.write_text(json.dumps(REPORT))
    assert last.cycles_s() == {"rag": 0.4}
    path.write_text(json.dumps(REPORT).replace("0.4", "1.5"))
    os.utime(path, ns=(1, 1))
    assert last.cycles_s() == {"rag": 1.5}
    path.unlink()
    assert last.cycles_s() == {}


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"arms": 7}', '{"arms": [{"arm": "rag", "update": 3}]}', "no JSON", "[" * 100_000),
        *(json.dumps(REPORT).replace("0.4", value) for value in ("NaN", "1e999", "-1", '"long"')),
    ],
    ids=range(11),
)
def test_what_is_no_report_tells_nothing(tmp_path: Path, text: str):
    (tmp_path / "report.json").write_text(text)
    last = LastComparison(tmp_path / "report.json")
    assert (last.cycles_s(), last.figures()) == ({}, None)
    assert (LastComparison(None).cycles_s(), LastComparison(None).figures()) == ({}, None)


def test_the_report_that_the_command_writes_tells_what_the_page_shows(tmp_path: Path):
    path = tmp_path / "report.json"
    report = build_report(made_up())
    path.write_text(json.dumps(report))
    last = LastComparison(path)
    seen = last.figures()
    assert TypeAdapter(ComparisonFigures).validate_python(seen) == seen
    measured = {arm["name"]: arm["update"]["wall_seconds"] for arm in report["arms"] if arm["update"]}
    assert {name: one["seconds"] for one in seen["approaches"] for name in one["names"]} == measured
    seconds = [one["seconds"] for one in seen["approaches"]]
    assert seconds == sorted(set(seconds))
    by_training = {name for one in seen["approaches"] if one["is_training"] for name in one["names"]}
    assert by_training == {"tuning on changes", "tuning with replay", "retraining"}
    assert (seen["measured_at"], seen["model"]) == (report["measured_at"], report["setup"]["model"])
    assert seen["break_even"] == report["verdict"]["break_even"]
    assert len(last.cycles_s()) == len(measured)


@pytest.mark.parametrize("said", [None, "", "yesterday", "2026-01-01T00:00:00", 7])
def test_figures_without_a_date_have_that_of_their_file(tmp_path: Path, said: object):
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**REPORT, "measured_at": said}))
    os.utime(path, (1_000_000_000, 1_000_000_000))
    assert LastComparison(path).figures()["measured_at"] == "2001-09-09T01:46:40Z"


def test_a_daemon_shows_the_report_that_its_config_names_and_a_newer_one_without_a_restart(tmp_path: Path):
    with instance(tmp_path, settings='[compare]\nreport = "report.json"\n') as daemon:
        daemon.write("leave.md", "# Leave\n\nEverybody has 28 days.\n")
        daemon.start()
        assert "Next to retraining" not in daemon.get("/").text
        report = build_report(made_up())
        (tmp_path / "report.json").write_text(json.dumps(report))
        page = daemon.get("/").text
        assert "Next to retraining" in page
        assert html.escape(report["verdict"]["break_even"]) in page
        assert 'freshd_update_cycle_seconds{approach="tuned_retrained"}' in daemon.get("/metrics").text
