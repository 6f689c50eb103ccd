"""The arithmetic of freshness."""

import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.changes import clamp
from freshd.freshness import (
    CLOCK_TOLERANCE,
    Status,
    Tried,
    Vitals,
    budget_remaining,
    burn_rate,
    judge,
    overall,
    overdue_since,
    percentile,
    staleness,
    watermark,
)
from freshd.payload import rfc3339

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
instants = st.none() | st.integers(0, 600).map(lambda seconds: NOON + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("listed", "oldest", "previous", "mark"),
    [
        (None, None, None, None),
        (None, NOON, None, None),
        (NOON, None, None, NOON),
        (NOON, NOON - MINUTE, None, NOON - MINUTE),
        (NOON, NOON + MINUTE, None, NOON),
        (NOON, NOON - 2 * MINUTE, NOON - MINUTE, NOON - MINUTE),
        (NOON, None, NOON + MINUTE, NOON + MINUTE),
        (None, None, NOON, NOON),
        (NOON, None, NOON + 2 * HOUR, NOON),
        (NOON + 2 * HOUR, None, NOON, NOON),
        (NOON + 2 * HOUR, None, None, None),
    ],
    ids=[
        "nothing listed",
        "nothing listed, something pending",
        "all applied",
        "something pending",
        "pending since the listing",
        "pending from before the mark",
        "an older listing",
        "no listing any more",
        "a mark of a clock that was set back",
        "a listing of a clock that was set back",
        "only a listing of a clock that was set back",
    ],
)
def test_the_watermark_is_where_everything_before_is_provably_there(listed, oldest, previous, mark):
    assert watermark(listed, oldest, previous, NOON + HOUR) == mark


@given(st.lists(st.tuples(instants, instants)))
def test_the_watermark_never_goes_back_and_never_passes_the_newest_listing(history):
    mark, listings = None, []
    for listed, oldest in history:
        listings += [listed] if listed else []
        raised = watermark(listed, oldest, mark, NOON + HOUR)
        assert mark is None or (raised is not None and raised >= mark)
        assert raised is None or raised <= max(listings)
        mark = raised


@dataclass
class Edit:
    """A change at the source: when it was made, and what the source says of that."""

    at: datetime
    claimed: datetime | None
    believed: datetime | None = None
    is_applied: bool = False


@dataclass
class Source:
    """A source that is edited, listed and indexed in any order, with the rules of the watermark kept by hand."""

    now: datetime = NOON
    edits: list[Edit] = field(default_factory=list)
    marks: list[tuple[datetime, list[Edit]]] = field(default_factory=list)
    listed_at: datetime | None = None
    mark: datetime | None = None

    def list_all(self) -> None:
        for edit in self.edits:
            if edit.believed is None:
                edit.believed, _ = clamp(edit.claimed, self.listed_at, self.now)
        self.listed_at = self.now
        self.marks.append((self.now, [edit for edit in self.edits if not edit.is_applied]))

    def let_marks_out(self) -> None:
        for began_at, waiting in self.marks:
            if all(edit.is_applied for edit in waiting):
                pending = [edit.believed for edit in self.edits if edit.believed and not edit.is_applied]
                self.mark = watermark(began_at, min(pending, default=None), self.mark, self.now)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("edit"), st.none() | st.integers(-9_000, 9_000)),
        st.tuples(st.just("list"), st.none()),
        st.tuples(st.just("apply"), st.integers(0, 20)),
    ),
    max_size=40,
)


@given(steps)
def test_nothing_that_happened_before_the_watermark_is_missing_from_the_index_whatever_the_source_claims(history):
    source = Source()
    for what, number in history:
        source.now += SECOND
        if what == "edit":
            claimed = None if number is None else source.now + timedelta(seconds=number)
            source.edits.append(Edit(source.now, claimed))
        elif what == "list":
            source.list_all()
        else:
            found = [edit for edit in source.edits if edit.believed and not edit.is_applied]
            if found:
                found[number % len(found)].is_applied = True
        source.let_marks_out()
        missing = [edit.at for edit in source.edits if not edit.is_applied]
        assert source.mark is None or all(at >= source.mark for at in missing)


@given(st.none() | st.integers(-9_000, 9_000), st.none() | st.integers(-9_000, 9_000))
def test_a_claim_is_believed_only_between_the_previous_listing_and_the_look(claimed_s, lower_s):
    claimed, lower = (None if s is None else NOON + timedelta(seconds=s) for s in (claimed_s, lower_s))
    at, is_clamped = clamp(claimed, lower, NOON)
    assert at <= NOON
    assert lower is None or lower > NOON or at >= lower
    assert is_clamped == (at != claimed)


def test_staleness_is_unknown_before_the_first_watermark_and_never_negative():
    assert staleness(NOON, None) is None
    assert staleness(NOON, NOON - MINUTE) == MINUTE
    assert staleness(NOON, NOON + CLOCK_TOLERANCE) == timedelta(0)


@given(st.integers(0, 100_000), st.integers(-100_000, 100_000))
def test_no_setting_of_the_clock_makes_the_index_fresher_than_it_was_proved_to_be(proved_s: int, set_by_s: int):
    unproved = timedelta(seconds=proved_s)
    stale = staleness(NOON + timedelta(seconds=set_by_s), NOON - unproved, unproved)
    assert stale is not None
    assert stale >= unproved


def test_daylight_saving_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    """On 25 October 2026 Berlin had the hour from two to three twice."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        first = datetime(2026, 10, 25, 2, 30, fold=0, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
        second = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
        assert staleness(second, watermark(first, None, None, second)) == HOUR
        assert [rfc3339(first), rfc3339(second)] == ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float], share: float):
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    smaller = [value for value in values if value < found]
    assert not smaller or len(smaller) < math.ceil(share * len(values))


def test_percentiles_of_nothing_and_of_known_numbers():
    assert percentile([], 0.5) is None
    hundred = [float(n) for n in range(1, 101)]
    assert [percentile(hundred, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0


@pytest.mark.parametrize(
    ("tried", "left"),
    [
        (Tried(0, 0), None),
        (Tried(100, 100), 1.0),
        (Tried(99, 100), 0.0),
        (Tried(98, 100), -1.0),
        (Tried(199, 200), 0.5),
        (Tried(99, 99).with_late(1), 0.0),
    ],
)
def test_the_error_budget_is_spent_by_what_missed_the_target(tried: Tried, left: float | None):
    assert budget_remaining(tried, 0.99) == (None if left is None else pytest.approx(left))


@given(st.integers(0, 1_000), st.integers(0, 1_000), st.integers(0, 50), st.floats(0.5, 0.999))
def test_what_is_late_is_missed_already_and_finishing_it_late_changes_nothing(within, missed, late, objective):
    before = Tried(within, within + missed).with_late(late)
    assert before == Tried(within, within + missed + late)
    burnt, left = burn_rate(before, objective), budget_remaining(before, objective)
    assert (burnt is None) == (left is None) == (before.total == 0)
    assert burnt is None or left == pytest.approx(1 - burnt)


def test_a_burn_rate_of_one_spends_the_budget_exactly():
    assert burn_rate(Tried(99, 100), 0.99) == pytest.approx(1.0)
    assert burn_rate(Tried(0, 10), 0.99) == pytest.approx(100.0)
    assert burn_rate(Tried(10, 10), 0.99) == 0.0
    assert burn_rate(Tried(), 0.99) is None


def test_a_source_is_overdue_after_three_of_its_usual_gaps():
    hourly = [NOON - n * HOUR for n in range(20)]
    assert overdue_since(hourly) == NOON + 3 * HOUR
    assert overdue_since(hourly[::-1]) == NOON + 3 * HOUR
    assert overdue_since([*hourly, NOON - 400 * HOUR]) == NOON + 3 * HOUR, "one long holiday is no habit"


@pytest.mark.parametrize("n_arrivals", [0, 1, 5])
def test_a_source_that_hardly_anything_is_known_of_has_no_habit(n_arrivals: int):
    assert overdue_since([NOON - n * HOUR for n in range(n_arrivals)]) is None
    assert overdue_since([NOON] * 50) is None


@given(st.lists(st.integers(0, 10**7), min_size=6, max_size=60, unique=True))
def test_nothing_is_overdue_at_the_moment_it_arrives(seconds: list[int]):
    arrivals = [NOON + timedelta(seconds=s) for s in seconds]
    since = overdue_since(arrivals)
    assert since is not None
    assert since > max(arrivals)


@pytest.mark.parametrize(
    ("vitals", "judged"),
    [
        (Vitals(None, MINUTE), Status.UNKNOWN),
        (Vitals(None, MINUTE, budget_remaining=-1, down_for=9 * MINUTE, troubles=("held",)), Status.UNKNOWN),
        (Vitals(timedelta(0), MINUTE), Status.PASS),
        (Vitals(MINUTE, MINUTE), Status.PASS),
        (Vitals(MINUTE + SECOND, MINUTE), Status.WARN),
        (Vitals(2 * MINUTE, MINUTE), Status.WARN),
        (Vitals(2 * MINUTE + SECOND, MINUTE), Status.ERROR),
        (Vitals(timedelta(0), MINUTE, troubles=("held",)), Status.WARN),
        (Vitals(timedelta(0), MINUTE, budget_remaining=0.01), Status.PASS),
        (Vitals(timedelta(0), MINUTE, budget_remaining=0.0), Status.ERROR),
        (Vitals(timedelta(0), MINUTE, down_for=MINUTE), Status.PASS),
        (Vitals(timedelta(0), MINUTE, down_for=2 * MINUTE), Status.ERROR),
        (Vitals(timedelta(0), MINUTE, divergent=1), Status.ERROR),
    ],
)
def test_a_source_is_judged_by_the_worst_of_its_vitals(vitals: Vitals, judged: Status):
    judgement = judge(vitals)
    assert judgement.status is judged
    assert bool(judgement.reasons) == (judged is not Status.PASS)


def test_every_reason_is_told_worst_first():
    reasons = judge(Vitals(9 * MINUTE, MINUTE, -1.0, 9 * MINUTE, 2, ("3 deletions are held",))).reasons
    words = ["down", "2 points differ", "twice", "budget", "held"]
    assert [next(word for word in words if word in reason) for reason in reasons] == words


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        ([], Status.UNKNOWN),
        ([Status.PASS, Status.PASS], Status.PASS),
        ([Status.PASS, Status.WARN], Status.WARN),
        ([Status.UNKNOWN, Status.WARN], Status.UNKNOWN),
        ([Status.UNKNOWN, Status.ERROR, Status.PASS], Status.ERROR),
    ],
)
def test_all_sources_together_are_as_well_as_the_worst_of_them(statuses: list[Status], worst: Status):
    assert overall(statuses) is worst
