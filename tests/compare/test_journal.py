"""A run that was broken off goes on where it was, and nothing half seen is counted."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from freshd.compare.journal import Journal, read
from freshd.compare.records import Arm, Results, School, Training
from freshd.errors import ConfigError, StateInUse, StateUnusable
from tests.compare.recorded import JOURNAL, made_up, setup

ROOT = Path(__file__).parent.parent.parent


def pairs(run: Results) -> list[tuple[Arm, int]]:
    """Arms with their seeds, in the order of the run."""
    return list(dict.fromkeys((one.arm, one.seed) for one in run.answers))


def go_on(path: Path, run: Results) -> None:
    """Do what is not done yet, as a run does."""
    with Journal(path, run.setup, run.facts) as journal:
        for arm, seed in pairs(run):
            if (arm, seed) in journal.finished:
                continue
            for record in (*run.updates, *run.answers):
                if (record.arm, record.seed) == (arm, seed):
                    journal.append(record)
            journal.finish(arm, seed)


@pytest.fixture(scope="module")
def small() -> Results:
    """Three arms of the recorded run, a few facts of it."""
    whole = made_up()
    names, arms = {fact.fact_id for fact in whole.facts[:3]}, (Arm.BASE, Arm.RAG, Arm.TUNED_REPLAY)
    return replace(
        whole,
        facts=whole.facts[:3],
        updates=tuple(one for one in whole.updates if one.arm in arms),
        answers=tuple(one for one in whole.answers if one.arm in arms and one.fact_id in names),
    )


def test_what_was_kept_is_read_back_as_it_was(tmp_path, small):
    go_on(tmp_path / "run.jsonl", small)
    assert read(tmp_path / "run.jsonl") == small


def test_every_record_is_one_line(tmp_path, small):
    go_on(tmp_path / "run.jsonl", small)
    lines = (tmp_path / "run.jsonl").read_text("utf-8").splitlines()
    n_marks = 1 + len(pairs(small))
    assert len(lines) == 1 + len(small.facts) + len(small.updates) + len(small.answers) + n_marks


def test_a_run_cut_off_anywhere_goes_on_to_the_same_end(tmp_path, small):
    """Whatever byte was the last to reach the disk: what is finished is kept, the rest is done again."""
    whole, path = tmp_path / "whole.jsonl", tmp_path / "run.jsonl"
    go_on(whole, small)
    content = whole.read_bytes()
    n_heading = len(small.facts) + 2
    heading = len(b"".join(content.splitlines(keepends=True)[:n_heading]))
    just_before_a_line_ends = {n for n in range(len(content)) if content[n : n + 1] == b"\n"}
    for end in sorted({*range(0, len(content), 211), *just_before_a_line_ends}):
        path.write_bytes(content[:end])
        if end >= heading:
            finished = pairs(read(path))
            assert finished == pairs(small)[: len(finished)]
        go_on(path, small)
        assert path.read_bytes() == content, end


def test_a_torn_last_line_is_ignored(tmp_path, small):
    path = tmp_path / "run.jsonl"
    go_on(path, small)
    with path.open("ab") as file:
        file.write(b'{"record": "answer", "arm": "ra')
    assert read(path) == small
    go_on(path, small)
    assert read(path) == small


def test_an_arm_that_is_not_finished_counts_for_nothing(tmp_path, small):
    path = tmp_path / "run.jsonl"
    with Journal(path, small.setup, small.facts) as journal:
        journal.append(small.answers[0])
        assert journal.results.answers == ()
        assert journal.finished == frozenset()
    assert read(path).answers == ()
    with Journal(path, small.setup, small.facts) as journal:
        assert journal.finished == frozenset()


def test_what_finished_is_there_at_once(tmp_path, small):
    first = pairs(small)[0]
    with Journal(tmp_path / "run.jsonl", small.setup, small.facts) as journal:
        own = [one for one in small.answers if (one.arm, one.seed) == first]
        for record in own:
            journal.append(record)
        journal.finish(*first)
        assert (journal.finished, journal.results.answers) == ({first}, tuple(own))
        assert read(tmp_path / "run.jsonl").answers == tuple(own), "others may look while it runs"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model": "another"}, "got model 'm', expected 'another'"),
        ({"seeds": (0, 1)}, r"got seeds \(0,\), expected \(0, 1\)"),
        ({"settings": {"epochs": 9}}, "got epochs None, expected 9"),
    ],
)
def test_the_journal_of_another_run_is_refused_and_stays_as_it_is(tmp_path, small, changed, told):
    path = tmp_path / "run.jsonl"
    with Journal(path, setup(), small.facts) as journal:
        journal.finish(Arm.RAG, 0)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=told) as refused:
        Journal(path, setup(**changed), small.facts)
    assert refused.value.hint
    assert path.read_bytes() == before


def test_a_run_that_never_began_leaves_a_journal_for_any_other(tmp_path, small):
    """Such as one whose model could not be loaded."""
    path = tmp_path / "run.jsonl"
    Journal(path, setup(), small.facts).__exit__(None, None, None)
    assert path.read_bytes() == b""
    with Journal(path, setup(model="another"), small.facts) as journal:
        journal.finish(Arm.RAG, 0)
    assert read(path).setup.model == "another"


def test_the_journal_of_other_facts_is_refused(tmp_path, small):
    path = tmp_path / "run.jsonl"
    go_on(path, small)
    with pytest.raises(ConfigError, match="other facts"):
        Journal(path, small.setup, small.facts[:-1])


@pytest.mark.parametrize(
    "content", [b"Dear diary,\n", b"{}\n", b'{"record": "answer"}\n', b"\0\xff\n", b"[1]\n", b"no line"]
)
def test_a_file_that_is_no_journal_is_left_alone(tmp_path, small, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="expected a journal"):
        Journal(path, small.setup, small.facts)
    with pytest.raises(ConfigError, match="expected a journal"):
        read(path)
    assert path.read_bytes() == content


def test_a_journal_that_is_damaged_says_where(tmp_path, small):
    path = tmp_path / "run.jsonl"
    go_on(path, small)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[6] = lines[6].replace(b'"scores"', b'"scares"')
    path.write_bytes(b"".join(lines))
    with pytest.raises(StateUnusable, match="line 7"):
        read(path)


def test_fields_that_a_later_freshd_adds_are_no_damage(tmp_path, small):
    path = tmp_path / "run.jsonl"
    go_on(path, small)
    path.write_bytes(path.read_bytes().replace(b'"cpu_s"', b'"new_field": 1, "cpu_s"'))
    assert read(path) == small


def test_two_runs_do_not_write_to_one_journal(tmp_path, small):
    path = tmp_path / "run.jsonl"
    with Journal(path, small.setup, small.facts), pytest.raises(StateInUse):
        Journal(path, small.setup, small.facts)
    go_on(path, small)


def test_a_journal_that_cannot_be_is_said_to_be_so(tmp_path, small):
    for place in (tmp_path, tmp_path / "absent" / "run.jsonl"):
        with pytest.raises(ConfigError, match=str(place)) as refused:
            Journal(place, small.setup, small.facts)
        assert refused.value.hint
        with pytest.raises(ConfigError, match=str(place)):
            read(place)


FULL = """
import resource, sys
from pathlib import Path
from freshd.compare.journal import Journal
from freshd.compare.records import Arm
from freshd.errors import FreshdError
from tests.compare.recorded import made_up
run, path = made_up(), Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    with Journal(path, run.setup, run.facts) as journal:
        for record in run.answers:
            journal.append(record)
except FreshdError as error:
    print(error.hint)
"""


@pytest.mark.parametrize("room", [1_000, 20_000], ids=["in the heading", "in an arm"])
def test_a_full_disk_is_said_and_costs_no_more_than_the_arm(tmp_path, room):
    path = tmp_path / "run.jsonl"
    command = [sys.executable, "-c", FULL, path, str(room)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.startswith("make room")
    assert path.stat().st_size == room
    run = made_up()
    go_on(path, run)
    assert read(path) == run


def test_a_text_may_hold_anything(tmp_path, small):
    text = 'line\nline\r\u2028 "quote" \udcff \0 \u202e'
    odd = replace(small.answers[0], text=text, scores=(float("-inf"), -1.0, -2.0, -3.0))
    with Journal(tmp_path / "run.jsonl", small.setup, small.facts) as journal:
        journal.append(odd)
        journal.finish(odd.arm, odd.seed)
    assert read(tmp_path / "run.jsonl").answers == (odd,)


def test_the_recorded_run_says_that_it_was_made_up():
    assert read(JOURNAL).setup.model.startswith("made up for tests")


TRAINING = Training(
    school=School.OLD,
    seed=0,
    learning_rate=2e-3,
    lessons="0" * 64,
    n_lessons=5,
    wall_s=1.5,
    cpu_s=2.5,
    peak_bytes=1 << 30,
    tokens=700,
    curve=((0.5, 0.2), (1.5, 0.9)),
    known=(0.25, 1.0),
    rank=16,
    alpha=32,
    file="old-seed0-0.002.safetensors",
    sha256="1" * 64,
    n_bytes=1 << 20,
)


def test_a_training_is_kept_although_its_arm_never_finished(tmp_path, small):
    path = tmp_path / "run.jsonl"
    with Journal(path, small.setup, small.facts) as journal:
        journal.keep(TRAINING)
        assert journal.results.trainings == (TRAINING,)
        journal.append(small.answers[0])
    assert read(path) == replace(small, updates=(), answers=(), trainings=(TRAINING,))
    go_on(path, small)
    assert read(path) == replace(small, trainings=(TRAINING,))


def test_a_training_in_the_midst_of_an_arm_is_refused(tmp_path, small):
    """Its mark would make the arm look finished."""
    with Journal(tmp_path / "run.jsonl", small.setup, small.facts) as journal:
        journal.append(small.answers[0])
        with pytest.raises(RuntimeError, match="trains before it answers"):
            journal.keep(TRAINING)
    assert read(tmp_path / "run.jsonl").answers == ()


def test_a_journal_of_an_earlier_freshd_is_read_and_lacks_what_was_not_kept_then(tmp_path, small):
    path = tmp_path / "run.jsonl"
    go_on(path, small)
    later = ("answer_tokens", "sweep_s", "n_processes", "measured_at")
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    path.write_text("".join(json.dumps({k: v for k, v in line.items() if k not in later}) + "\n" for line in lines))
    earlier = read(path)
    assert len(earlier.answers) == len(small.answers)
    assert {one.answer_tokens for one in earlier.answers} == {None}
    assert {(one.sweep_s, one.n_processes, one.measured_at) for one in earlier.updates} == {(None, 1, None)}
    go_on(path, small)
