"""The same changes under different ways to follow them."""

import os
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.compare.timeline import (
    DAY_S,
    GIT_LOG,
    RETRAINING,
    Approach,
    Edit,
    Stream,
    approaches,
    course,
    followed_s,
    from_git,
    from_history,
    spread,
    thinned,
)
from freshd.errors import ConfigError

SPAN_S = 1_000.0
edits = st.lists(st.builds(Edit, st.integers(0, 999).map(float), st.sampled_from("abcde")), max_size=20)
streams = edits.map(lambda own: Stream(tuple(sorted(own, key=lambda edit: edit.at_s)), 0.0, SPAN_S, 5, "a test"))
ways = st.builds(Approach, st.just("way"), st.integers(0, 300).map(float), st.integers(0, 300).map(float))


def share_at(steps, at_s):
    return next(share for begin_s, share in reversed(steps) if begin_s <= at_s)


@given(streams, ways, st.integers(0, 999))
def test_at_every_moment_what_changed_and_was_not_followed_is_out_of_date(stream, way, at_s):
    waiting = {edit.what for edit in stream.edits if edit.at_s <= at_s < followed_s(edit.at_s, way)}
    assert share_at(course(stream, way).steps, at_s) == pytest.approx(len(waiting) / 5)


@given(streams, ways)
def test_a_course_is_made_of_rising_instants_and_shares_of_a_whole(stream, way):
    seen = course(stream, way)
    instants = [at_s for at_s, _ in seen.steps]
    assert instants[0] == 0
    assert all(before < after for before, after in pairwise(instants))
    assert instants[-1] < SPAN_S
    assert all(0 <= share <= 1 for _, share in seen.steps)
    assert 0 <= seen.mean_share <= seen.highest_share + 1e-12


@given(streams, ways)
def test_the_mean_is_what_looking_at_every_second_gives(stream, way):
    """All instants here are whole seconds."""
    steps = course(stream, way).steps
    assert course(stream, way).mean_share == pytest.approx(sum(share_at(steps, n) for n in range(1_000)) / 1_000)


@given(st.floats(0, 1e6), ways)
def test_a_change_is_followed_by_the_next_update_that_begins(at_s, way):
    wait_s = followed_s(at_s, way) - at_s
    every_s = way.every_s * max(1, -(-way.takes_s // way.every_s)) if way.every_s else 0
    assert way.takes_s - 1e-6 <= wait_s <= every_s + way.takes_s + 1e-6


def test_a_change_just_before_a_training_waits_for_the_training_alone():
    weekly = Approach("weekly", 7 * DAY_S, 3_600.0)
    assert followed_s(7 * DAY_S - 1, weekly) == 7 * DAY_S + 3_600
    assert followed_s(7 * DAY_S, weekly) == 7 * DAY_S + 3_600
    assert followed_s(7 * DAY_S + 1, weekly) == 14 * DAY_S + 3_600


def test_a_training_that_takes_longer_than_its_interval_lets_beginnings_pass():
    slow = Approach("daily", DAY_S, 1.5 * DAY_S)
    assert followed_s(0.5 * DAY_S, slow) == 3.5 * DAY_S


@given(streams, ways, st.integers(0, 300))
def test_a_faster_update_leaves_no_more_out_of_date(stream, way, more_s):
    """Where every change waits longer, more is out of date."""
    at_once = Approach("at once", 0.0, way.takes_s)
    slower = Approach("slower", 0.0, way.takes_s + more_s)
    assert course(stream, at_once).mean_share <= course(stream, slower).mean_share + 1e-12
    assert course(stream, at_once).mean_share <= course(stream, way).mean_share + 1e-12


def test_rarer_trainings_leave_more_out_of_date():
    stream = spread([f"fact-{n}" for n in range(30)], 70)
    seen = [course(stream, way).mean_share for way in approaches(0.6, 128.0)]
    assert seen == sorted(seen)
    assert seen[0] < seen[1] / 100


def test_what_changed_twice_before_it_was_followed_is_out_of_date_once():
    stream = Stream((Edit(10.0, "a"), Edit(20.0, "a")), 0.0, 100.0, 2, "a test")
    seen = course(stream, Approach("way", 50.0, 5.0))
    assert seen.steps == ((0.0, 0.0), (10.0, 0.5), (55.0, 0.0))
    assert seen.mean_share == pytest.approx(0.5 * 45 / 100)
    assert seen.mean_wait_s == pytest.approx(40.0)


@given(st.integers(1, 200))
def test_changes_are_spread_evenly(n):
    """Every part of the span has its share of them."""
    stream = spread([f"fact-{one}" for one in range(n)], 400, span_s=100.0)
    instants = [edit.at_s for edit in stream.edits]
    assert instants == sorted(instants)
    assert (len(instants), stream.n_things, stream.span_s) == (n, 400, 100.0)
    for begin_s in (0.0, 25.0, 50.0, 75.0):
        assert abs(sum(begin_s <= at_s < begin_s + 25 for at_s in instants) - n / 4) <= 2


@pytest.mark.parametrize("n", [30, 36, 60, 120])
def test_spread_changes_fall_out_of_step_with_trainings(n):
    """In step, each would come just before a training, or just after one."""
    daily = course(spread([f"fact-{one}" for one in range(n)], n), Approach("daily", DAY_S, 60.0))
    assert daily.mean_wait_s == pytest.approx(DAY_S / 2, rel=0.2)


def test_freshd_is_taken_at_its_slowest():
    """A change is taken to be noticed as late as may be."""
    way = approaches(0.5, None, cycle_s=30.0)[0]
    assert followed_s(60.0, way) == 90.5


def test_no_changes_leave_nothing_out_of_date():
    seen = course(spread([], 8), Approach("way", 50.0, 5.0))
    assert (seen.steps, seen.mean_share, seen.mean_wait_s) == (((0.0, 0.0),), 0.0, 0.0)


def test_retraining_that_was_not_measured_is_not_drawn():
    assert [way.name for way in approaches(0.5, None)] == ["freshd"]
    assert [way.name for way in approaches(0.5, 9.0)] == ["freshd", *RETRAINING]


# Real streams


def git(folder, *words, at_s=0):
    env = {**os.environ, "GIT_AUTHOR_DATE": f"@{at_s} +0000", "GIT_COMMITTER_DATE": f"@{at_s} +0000"}
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    ran = subprocess.run(["git", *identity, *words], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return ran.stdout


def test_the_history_of_a_folder_is_a_stream_of_changes(tmp_path):
    (tmp_path / "docs").mkdir()
    git(tmp_path, "init", "-q", ".")
    noon_s = 20_000 * int(DAY_S) + int(DAY_S) // 2
    for n, name in enumerate(("docs/a.md", "docs/with blank.md", "elsewhere.md", "docs/a.md")):
        (tmp_path / name).write_text(f"text {n}")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-qm", "change\n\n1234567890\n", at_s=noon_s + n * 3_600)
    stream = from_git(git(tmp_path, *GIT_LOG, "--", "docs"), n_things=10)
    assert [(edit.at_s - noon_s, edit.what) for edit in stream.edits] == [
        (3_600, "docs/with blank.md"),
        (3 * 3_600, "docs/a.md"),
    ]
    assert (stream.begin_s, stream.span_s, stream.n_things) == (20_000 * DAY_S, DAY_S, 10)
    assert from_git(git(tmp_path, *GIT_LOG)).n_things == 3


def test_what_was_there_when_a_history_begins_is_no_change(tmp_path):
    git(tmp_path, "init", "-q", ".")
    (tmp_path / "a.md").write_text("text")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "import")
    with pytest.raises(ConfigError, match="got none from git history"):
        from_git(git(tmp_path, *GIT_LOG))


@pytest.mark.parametrize(
    "log", ["commit 1234\nAuthor: somebody\n", "\0yesterday\n\na.md\n", "\0"], ids=["plain", "dates", "cut"]
)
def test_another_log_is_refused_with_the_command_that_gives_the_right_one(log):
    with pytest.raises(ConfigError) as refused:
        from_git(log)
    assert refused.value.hint.startswith("git log")


def test_a_history_without_changes_is_refused():
    with pytest.raises(ConfigError, match="none"):
        from_git("")
    with pytest.raises(ConfigError, match="none"):
        from_history([])


def test_freshds_own_history_is_a_stream_without_the_first_index():
    entry = {"source": "docs", "document_id": "a.md", "changed_at": "2026-03-01T12:00:00Z", "lag_seconds": 1.5}
    first = {**entry, "document_id": "b.md", "lag_seconds": None}
    later = {**entry, "changed_at": "2026-03-02T12:00:00Z"}
    stream = from_history([later, first, entry])
    assert [edit.what for edit in stream.edits] == ["docs/a.md", "docs/a.md"]
    assert (stream.span_s, stream.n_things) == (2 * DAY_S, 1)
    assert stream.edits[0].at_s - stream.begin_s == DAY_S / 2


@given(streams, ways)
def test_a_thinned_course_keeps_its_highest_and_its_last(stream, way):
    steps = course(stream, way).steps
    kept = thinned(steps, SPAN_S, 7)
    assert set(kept) <= set(steps)
    assert len(kept) <= 14
    assert max(share for _, share in kept) == max(share for _, share in steps)
    assert kept[-1] == steps[-1]
