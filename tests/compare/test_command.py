"""What the command refuses before anything is made, and what it reads its stream of changes from."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from freshd.cli import comparing
from freshd.compare import FULL
from freshd.compare.costs import Prices
from freshd.compare.report import build_report
from freshd.errors import ConfigError, FreshdError
from tests.compare.recorded import made_up
from tests.compare.test_journal import TRAINING


@pytest.mark.parametrize(
    "given", ["gpu_hour", "gpu_hour=", "gpu_hour=-1", "gpu_hour=nan", "gpu_hour=inf", "nothing=1", "machine_cores=x"]
)
def test_a_price_that_is_none_is_refused_with_those_there_are(given: str):
    with pytest.raises(ConfigError, match=r'got ".*", expected NAME=AMOUNT.*machine_hour=0.1') as caught:
        comparing._prices([given])
    assert caught.value.hint


def test_prices_given_stand_in_place_of_the_assumed_ones():
    assert comparing._prices(["gpu_hour=1.5", "currency=€", "machine_cores=8"]) == Prices(
        gpu_hour=1.5, currency="€", machine_cores=8
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((None, None, False), "expected OLD and NEW, or --demo"),
        ((Path("old"), None, False), "expected OLD and NEW, or --demo"),
        ((Path("old"), Path("new"), True), "beside --demo"),
    ],
)
def test_a_subject_that_cannot_be_meant_is_refused(arguments: tuple[Path | None, Path | None, bool], says: str):
    with pytest.raises(ConfigError, match=says) as caught:
        comparing._subject(*arguments, None, False)
    assert caught.value.hint


def test_proposed_facts_are_shown_and_need_somebody_who_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for version, days in (("old", 30), ("new", 45)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "leave.md").write_text(
            f"# Leave\n\nThe notice period is {days} days. The office opens at 9:30. Mail goes to Room 214.\n"
        )
    with pytest.raises(ConfigError, match="nobody is there to agree") as caught:
        comparing._subject(tmp_path / "old", tmp_path / "new", False, None, False)
    assert "--yes" in (caught.value.hint or "")
    _, _, facts = comparing._subject(tmp_path / "old", tmp_path / "new", False, None, True)
    assert ("30 days", "45 days") in {(fact.old, fact.new) for fact in facts} or {"30", "45"} <= {
        value for fact in facts for value in (fact.old, fact.new)
    }


def test_a_folder_under_git_gives_a_stream_of_changes_and_another_one_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="expected a folder under git"):
        comparing._stream(tmp_path)

    def git(*arguments: str) -> None:
        named = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
        subprocess.run(["git", "-C", tmp_path, *named, *arguments], check=True, capture_output=True)

    git("init", "--quiet")
    for text in ("one", "two"):
        (tmp_path / "a.md").write_text(text)
        git("add", "a.md")
        git("commit", "--quiet", "--message", text)
    (tmp_path / "b.md").write_text("stays")
    git("add", "b.md")
    git("commit", "--quiet", "--message", "another")
    stream = comparing._stream(tmp_path)
    assert sorted(edit.what for edit in stream.edits) == ["a.md", "b.md"]
    assert stream.n_things == 2


def test_a_report_that_cannot_be_written_says_so_and_where(tmp_path: Path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(FreshdError, match=r"report\.html: Is a directory, expected to write the report") as caught:
        comparing._write(tmp_path, build_report(made_up()))
    assert "nothing runs anew" in caught.value.hint


def test_seeds_are_counted_from_zero():
    assert comparing._with_seeds(FULL, 2).seeds == (0, 1)
    assert comparing._with_seeds(FULL, None) == FULL


def test_what_was_trained_is_said_with_its_size_and_nothing_where_nothing_was(capsys: pytest.CaptureFixture[str]):
    run = made_up()
    comparing._tell_adapters(run)
    assert capsys.readouterr().err == ""
    again = [replace(TRAINING, seed=seed, file=f"{seed}", n_bytes=20 << 20) for seed in (0, 1, 1)]
    comparing._tell_adapters(replace(run, trainings=tuple(again)))
    assert "2 trainings are kept beside the journal, 40 MiB" in " ".join(capsys.readouterr().err.split())
