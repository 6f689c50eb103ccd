"""How often a source is looked at: half its target, slower where that costs too much, slower still while it fails."""

from datetime import UTC, datetime, timedelta

import pytest

from freshd.scheduler.pace import LONGEST_BACKOFF, LONGEST_WISH, SHORTEST, Pace

AT = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_a_source_is_scanned_twice_within_its_target():
    assert Pace(MINUTE).interval(None) == MINUTE / 2
    assert Pace(MINUTE).next_after(AT, 0.1) == AT + MINUTE / 2


def test_the_operator_sets_another_interval():
    assert Pace(MINUTE, poll_interval=timedelta(seconds=5)).interval(0.1) == timedelta(seconds=5)
    assert Pace(MINUTE, poll_interval=timedelta(hours=1)).interval(0.1) == timedelta(hours=1)


@pytest.mark.parametrize("wanted", [timedelta(0), timedelta(microseconds=1), timedelta(milliseconds=1)])
def test_no_target_makes_a_source_be_scanned_without_pause(wanted: timedelta):
    assert Pace(wanted).interval(None) == SHORTEST
    assert Pace(MINUTE, poll_interval=wanted or timedelta(microseconds=1)).interval(None) == SHORTEST


def test_a_scan_that_takes_ten_seconds_is_done_every_hundred():
    assert Pace(MINUTE).interval(10.0) == timedelta(seconds=100)
    assert Pace(MINUTE, poll_interval=timedelta(seconds=1)).interval(10.0) == timedelta(seconds=100)


def test_a_public_host_is_asked_no_more_often_than_it_may_be():
    assert Pace(MINUTE, least=MINUTE).interval(0.1) == MINUTE


def test_a_target_that_scans_cannot_keep_is_said_to_be_so():
    assert Pace(MINUTE).shortfall(6.0) is None
    said = Pace(MINUTE).shortfall(10.0)
    assert said is not None
    assert "100 s" in said
    assert "60 s" in said


def test_each_failure_doubles_the_pause_up_to_five_minutes():
    pauses = [Pace(MINUTE).next_after(AT, None, failures=n) - AT for n in range(20)]
    assert pauses[:4] == [MINUTE / 2, MINUTE, 2 * MINUTE, 4 * MINUTE]
    assert set(pauses[4:]) == {LONGEST_BACKOFF}
    assert Pace(MINUTE).next_after(AT, None, failures=10**6) == AT + LONGEST_BACKOFF


def test_a_source_that_fails_is_never_asked_sooner_than_one_that_answers():
    """Its own interval is longer than the longest back-off."""
    slow = Pace(timedelta(hours=6))
    assert slow.next_after(AT, None, failures=9) == slow.next_after(AT, None) == AT + timedelta(hours=3)


def test_a_server_that_asks_for_an_hour_is_left_alone_for_an_hour():
    assert Pace(MINUTE).next_after(AT, 0.1, not_before=AT + timedelta(hours=1)) == AT + timedelta(hours=1)


def test_a_server_that_asks_for_a_year_is_asked_again_tomorrow():
    assert Pace(MINUTE).next_after(AT, 0.1, not_before=AT + timedelta(days=365)) == AT + LONGEST_WISH


def test_a_wish_that_has_passed_hurries_nobody():
    assert Pace(MINUTE).next_after(AT, 0.1, not_before=AT - timedelta(days=9)) == AT + MINUTE / 2
