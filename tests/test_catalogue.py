"""The catalogue in tests/README.md: no fault without a test or a reason, and no test named that is not there."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROWS = re.findall(r"^\| (S?\d+) \| (.+?) \| (.+) \|$", (HERE / "README.md").read_text(), re.MULTILINE)


def test_every_fault_and_every_threat_has_a_row():
    assert [number for number, _, _ in ROWS] == [*map(str, range(1, 131)), *(f"S{n}" for n in range(1, 25))]


@pytest.mark.parametrize(("number", "shown_by"), [(number, by) for number, _, by in ROWS], ids=[row[0] for row in ROWS])
def test_every_test_that_the_catalogue_names_is_there(number: str, shown_by: str):
    named = re.findall(r"`([\w/]+\.py)(?:::(test_\w+))?`", shown_by)
    assert named or number in {"12", "28", "48", "83", "S17"}, "a reason, where there is no test"
    for file, test in named:
        text = (HERE / file).read_text()
        assert not test or f"def {test}(" in text, f"{file}: no {test}"
