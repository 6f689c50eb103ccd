"""The last comparison's figures beside the live ones."""

import json
import os
from pathlib import Path

import pytest

from freshd.daemon.comparison import LastComparison

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


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"arms": 7}', '{"arms": [{"arm": "rag", "update": 3}]}', "no JSON"])
def test_what_is_no_report_tells_nothing(tmp_path: Path, text: str):
    (tmp_path / "report.json").write_text(text)
    assert LastComparison(tmp_path / "report.json").cycles_s() == {}
    assert LastComparison(None).cycles_s() == {}
