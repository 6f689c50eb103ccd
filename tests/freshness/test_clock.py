"""A clock that somebody sets neither freezes the schedule nor makes anything fresh that is not."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest

from tests.freshness import freezing
from tests.freshness.claims import claims_fresh, marks
from tests.freshness.living import FILES, Living, Said, living, opened
from tests.scheduler.parts import eventually

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
JUMPS = {
    "three-hours-back": -3 * HOUR,
    "three-hours-forward": 3 * HOUR,
    "a-day-back": -DAY,
    "a-day-forward": DAY,
}
jumps = pytest.mark.parametrize("by", JUMPS.values(), ids=JUMPS)

LATER = FILES.replace('"1s"', '"1m"')
"""For what takes minutes; they pass at once."""


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Living]:
    with living(tmp_path) as made:
        made.write("a.md", "# A\n\nThe firstword.\n")
        made.passes()
        yield made


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Living]:
    with living(tmp_path, LATER) as made:
        made.write("a.md", "# A\n\nThe firstword.\n")
        made.passes()
        yield made


class Proved:
    """Since when nothing was proved, by a clock that nobody sets; looks at every surface."""

    def __init__(self, one: Living) -> None:
        self.one, self.since_s = one, one.clock.monotonic()

    def said(self) -> Said:
        """Ask, and see that no surface makes less of it than it is."""
        true_s = self.one.clock.monotonic() - self.since_s
        said = self.one.said()
        stale = [said.source["staleness_seconds"], said.staleness_by_metrics()]
        stale += [(said.asked_at - said.mark).total_seconds()] if said.mark else []
        assert all(stale_s is None or stale_s >= true_s - 0.002 for stale_s in stale), (true_s, stale)
        if true_s > said.source["freshness_target_seconds"]:
            assert claims_fresh(said) == set()
        return said


@jumps
def test_a_quiet_source_is_scanned_and_proved_on_after_a_jump(one: Living, by: timedelta):
    """What was proved stays as long ago as it was, and new marks come as often as before."""
    one.set_clock(by)
    n_marks, mark, until_s = 0, None, time.monotonic() + 60
    while n_marks < 3:
        assert time.monotonic() < until_s
        said = one.said()
        assert all(shown <= said.answered_at for shown in marks(said))
        if said.mark is not None and said.mark != mark:
            n_marks, mark = n_marks + 1, said.mark
    assert one.passes()
    eventually(lambda: one.check() == 0)


@jumps
def test_a_source_that_is_down_does_not_look_up_by_a_jump(one: Living, by: timedelta):
    one.docs.rename(one.root / "away")
    eventually(lambda: one.source()["failing_since"])
    proved = Proved(one)
    one.set_clock(by)
    for _ in range(5):
        proved.said()
    one.pass_time(3 * SECOND)
    assert proved.said().exit_code == 4
    one.set_clock(-by)
    assert proved.said().exit_code == 4
    (one.root / "away").rename(one.docs)
    one.pass_time(MINUTE)  # a watch that broke is begun anew after so long
    one.recovers()


@jumps
def test_a_hanging_indexer_does_not_look_alive_by_a_jump(one: Living, by: timedelta):
    with freezing.the_indexer(one):
        proved = Proved(one)
        proved.said()
        one.set_clock(by)
        proved.said()
        one.pass_time(3 * SECOND)
        assert proved.said().exit_code == 4
        one.set_clock(-by)
        assert proved.said().exit_code == 4
    one.recovers()


@jumps
def test_what_was_put_off_is_tried_again_as_soon_after_a_jump_as_without_one(tmp_path: Path, by: timedelta):
    with (
        mock.patch("freshd.pipeline.batch._FIRST_RETRY", 2 * SECOND),
        mock.patch("freshd.pipeline.batch._QUARANTINE", 2 * SECOND),
        living(tmp_path) as one,
        freezing.unreadable(one, "quarantined.md", "put-off.md") as is_mended,
    ):
        for name, attempts in (("quarantined", 1), ("put-off", 100)):
            with mock.patch("freshd.pipeline.batch._MAX_ATTEMPTS", attempts):
                one.write(f"{name}.md", f"# Page\n\nThe {name} word.\n")
                eventually(lambda name=name: one.waits_for(f"{name}.md"))
        is_mended.set()
        one.set_clock(by)
        eventually(lambda: one.source()["documents"] == 2)
        eventually(lambda: not (one.source()["quarantined"] or one.source()["pending"]))


@pytest.mark.parametrize(
    "just_before",
    [datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC), datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC)],
    ids=["spring", "autumn"],
)
def test_a_change_to_and_from_summer_time_is_no_event(
    tmp_path: Path, just_before: datetime, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    offset = just_before.astimezone().utcoffset()
    try:
        with living(tmp_path, shift=just_before - datetime.now(UTC)) as one:
            one.write("a.md", "# A\n\nThe firstword.\n")
            change_at = just_before + SECOND
            assert change_at.astimezone().utcoffset() != offset

            def is_fresh() -> bool:
                said = one.said()
                is_after = said.mark is not None and said.mark > change_at + SECOND
                return is_after and said.status == "pass" and said.source["staleness_seconds"] < 1

            eventually(is_fresh)
            next_scan_at = datetime.fromisoformat(one.source()["next_scan_at"])
            assert next_scan_at < one.clock.now() + 10 * SECOND
    finally:
        monkeypatch.undo()
        time.tzset()


# A clock set back by less than an instant is old leaves that instant in the past


def test_a_clock_set_back_a_little_makes_no_watermark_newer(slow: Living):
    with freezing.the_indexer(slow):
        proved = Proved(slow)
        slow.pass_time(90 * SECOND)
        slow.set_clock(-80 * SECOND)
        proved.said()


def test_a_watermark_of_a_clock_that_was_set_back_does_not_come_true_by_waiting(slow: Living):
    with freezing.the_indexer(slow):
        proved = Proved(slow)
        slow.set_clock(-3 * HOUR)
        slow.pass_time(3 * HOUR)
        assert proved.said().exit_code == 4


def test_a_clock_set_back_before_the_first_mark_makes_nothing_fresh(tmp_path: Path):
    with living(tmp_path, LATER) as one:
        one.write("a.md", "# A\n\nThe firstword.\n")
        one.passes()
    with opened(tmp_path, LATER) as one:
        one.docs.rename(tmp_path / "away")
        proved = Proved(one)
        one.start()
        eventually(lambda: one.source()["failing_since"])
        one.pass_time(90 * SECOND)
        proved.said()
        one.set_clock(-85 * SECOND)
        proved.said()


def test_a_source_that_was_down_for_too_long_is_no_less_so_by_a_clock_set_back(slow: Living):
    slow.docs.rename(slow.root / "away")
    slow.scheduler.scan_now(["docs"])
    eventually(lambda: slow.source()["failing_since"])
    slow.pass_time(70 * SECOND)
    assert slow.said().exit_code == 4
    slow.set_clock(-60 * SECOND)
    assert slow.said().exit_code == 4


def test_a_change_that_was_late_is_not_counted_as_in_time_by_a_clock_set_back(slow: Living):
    before = slow.source()["changes"]["within_target"]
    counted = slow.said().metric("freshd_changes_within_target_total", source="docs")
    with freezing.the_indexer(slow):
        slow.write("b.md", "# B\n\nThe secondword.\n")
        eventually(lambda: slow.source()["pending"])
        slow.pass_time(90 * SECOND)
        late = slow.source()["late"]
        assert late
        slow.set_clock(-80 * SECOND)
        assert slow.source()["late"] == late
    eventually(lambda: slow.finds("secondword"))
    assert slow.source()["changes"]["within_target"] == before
    assert slow.said().metric("freshd_changes_within_target_total", source="docs") == counted


def test_held_deletions_bound_the_watermark_also_after_a_clock_set_back(one: Living):
    for n in range(6):
        one.write(f"pages/{n}.md", f"# Page\n\nThe pageword{n}.\n")
    (one.docs / "a.md").rename(one.docs / "pages/a.md")
    # Not `passes`: a file that is seen while it is written is late by a second, which is all that is promised here.
    eventually(lambda: one.source()["documents"] == 7 and not one.source()["pending"])
    eventually(lambda: one.finds("firstword") == {"pages/a.md"})
    (one.docs / "pages").rename(one.root / "away")
    proved = Proved(one)
    eventually(lambda: one.source()["held"] == 7)
    one.set_clock(-3 * HOUR)
    listed = one.source()["last_complete_scan_at"]
    eventually(lambda: one.source()["last_complete_scan_at"] > listed)
    eventually(lambda: proved.since_s < time.monotonic() - 1.5)
    proved.said()


def test_what_was_put_off_is_tried_again_after_a_restart_with_another_clock(tmp_path: Path):
    with mock.patch("freshd.pipeline.batch._MAX_ATTEMPTS", 100), living(tmp_path) as one:
        one.write("a.md", "# A\n\nThe firstword.\n")
        one.passes()
        with freezing.unreadable(one, "b.md"):
            one.write("b.md", "# B\n\nThe secondword.\n")
            eventually(lambda: one.waits_for("b.md"))
            one.stop()
    with living(tmp_path, shift=-3 * HOUR) as one:
        eventually(lambda: one.finds("secondword"))
        one.passes()
