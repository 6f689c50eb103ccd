"""The arithmetic of freshness."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.freshness import (
    Status,
    Vitals,
    budget_remaining,
    overall,
    percentile,
    staleness,
    status,
    watermark,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
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
    ],
)
def test_the_watermark_is_where_everything_before_is_provably_there(listed, oldest, previous, mark):
    assert watermark(listed, oldest, previous) == mark


@given(st.lists(st.tuples(instants, instants)))
def test_the_watermark_never_goes_back_and_never_passes_the_newest_listing(history):
    mark, listings = None, []
    for listed, oldest in history:
        listings += [listed] if listed else []
        raised = watermark(listed, oldest, mark)
        assert mark is None or (raised is not None and raised >= mark)
        assert raised is None or raised <= max(listings)
        mark = raised


def test_staleness_is_unknown_before_the_first_watermark_and_never_negative():
    assert staleness(NOON, None) is None
    assert staleness(NOON, NOON - MINUTE) == MINUTE
    assert staleness(NOON, NOON + MINUTE) == timedelta(0), "the clock was set back"


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
    ("within", "total", "left"), [(0, 0, None), (100, 100, 1.0), (99, 100, 0.0), (98, 100, -1.0), (199, 200, 0.5)]
)
def test_the_error_budget_is_spent_by_what_missed_the_target(within: int, total: int, left: float | None):
    assert budget_remaining(within, total, 0.99) == (None if left is None else pytest.approx(left))


@pytest.mark.parametrize(
    ("vitals", "judged"),
    [
        (Vitals(None, MINUTE), Status.UNKNOWN),
        (Vitals(None, MINUTE, budget_remaining=-1, down_for=9 * MINUTE, troubles=3), Status.UNKNOWN),
        (Vitals(timedelta(0), MINUTE), Status.PASS),
        (Vitals(MINUTE, MINUTE), Status.PASS),
        (Vitals(MINUTE + timedelta(seconds=1), MINUTE), Status.WARN),
        (Vitals(2 * MINUTE, MINUTE), Status.WARN),
        (Vitals(2 * MINUTE + timedelta(seconds=1), MINUTE), Status.ERROR),
        (Vitals(timedelta(0), MINUTE, troubles=1), Status.WARN),
        (Vitals(timedelta(0), MINUTE, budget_remaining=0.01), Status.PASS),
        (Vitals(timedelta(0), MINUTE, budget_remaining=0.0), Status.ERROR),
        (Vitals(timedelta(0), MINUTE, down_for=MINUTE), Status.PASS),
        (Vitals(timedelta(0), MINUTE, down_for=2 * MINUTE), Status.ERROR),
    ],
)
def test_a_source_is_judged_by_the_worst_of_its_vitals(vitals: Vitals, judged: Status):
    assert status(vitals) is judged


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
