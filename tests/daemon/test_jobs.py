"""Work the daemon is asked for: much of it may wait, some of it has to get on."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from freshd.daemon.jobs import Jobs, Progress, Work
from freshd.errors import FreshdError, SourceUnavailable
from freshd.shapes import WaitReport
from tests.daemon.instance import eventually
from tests.kit.clock import HandClock

MANY = 1_000
"""More jobs than may be under way, or are remembered."""


class Office:
    """Jobs, some of which wait until the office opens."""

    def __init__(self) -> None:
        self.jobs = Jobs(HandClock())
        self.opens = threading.Event()

    def wait(self, progress: Progress) -> tuple[WaitReport, int]:
        assert self.opens.wait(100)
        return self.done(progress)

    @staticmethod
    def done(_: Progress) -> tuple[WaitReport, int]:
        return {"is_done": True, "documents": []}, 0

    def fill(self, *, is_wait: bool) -> list[str]:
        """Begin jobs that wait until one is refused."""
        begun: list[str] = []
        with pytest.raises(FreshdError, match="under way") as refused:
            begun.extend(self.jobs.begin(self.wait, is_wait=is_wait) for _ in range(MANY))
        assert refused.value.retryable
        assert refused.value.hint
        return begun

    def state(self, job: str) -> str | None:
        report = self.jobs.report(job)
        return report and report["state"]

    def finished(self, job: str) -> str:
        """Wait for a job's end; tell how it ended."""
        return eventually(lambda: (state := self.state(job)) != "running" and state)


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    yield made
    made.opens.set()


def test_jobs_that_wait_never_keep_another_from_being_done(office: Office):
    assert len(office.fill(is_wait=True)) >= 32
    assert office.finished(office.jobs.begin(office.done)) == "done"


def test_more_jobs_than_there_is_room_for_are_refused_until_one_is_done(office: Office):
    waiting = office.fill(is_wait=False)
    with pytest.raises(FreshdError):
        office.jobs.begin(office.done, is_wait=True)
    assert {office.state(job) for job in waiting} == {"running"}
    office.opens.set()
    assert {office.finished(job) for job in waiting} == {"done"}
    assert office.finished(office.jobs.begin(office.done, is_wait=True)) == "done"


def test_a_job_is_remembered_for_as_long_as_it_runs_and_then_for_a_while(office: Office):
    long = office.jobs.begin(office.wait, is_wait=True)
    short = [office.jobs.begin(office.done)]
    for _ in range(MANY):
        office.finished(short[-1])
        short.append(office.jobs.begin(office.done))
    assert office.state(long) == "running"
    assert office.state(short[0]) is None
    assert all(office.state(job) for job in short[-100:])
    office.opens.set()
    assert office.finished(long) == "done"


def refused(_: Progress) -> tuple[WaitReport, int]:
    raise SourceUnavailable("no answer", hint="mount it")


def broken(_: Progress) -> tuple[WaitReport, int]:
    raise ZeroDivisionError("a fault")


@pytest.mark.parametrize(
    ("work", "error", "hint"),
    [(refused, "no answer", "mount it"), (broken, "ZeroDivisionError: a fault", None)],
    ids=["error", "fault"],
)
def test_a_job_that_fails_says_why(office: Office, work: Work, error: str, hint: str | None):
    job = office.jobs.begin(work)
    assert office.finished(job) == "failed"
    report = office.jobs.report(job)
    assert report is not None
    assert (report["error"], report["hint"], report["exit_code"]) == (error, hint, 1)


@pytest.mark.parametrize("is_wait", [True, False], ids=["wait", "other"])
def test_nothing_is_begun_after_the_end(office: Office, is_wait: bool):
    office.jobs.close()
    with pytest.raises(FreshdError, match="stopping") as refused:
        office.jobs.begin(office.done, is_wait=is_wait)
    assert refused.value.retryable


def test_how_long_a_job_will_take_is_told_from_what_is_done(office: Office):
    clock = HandClock()
    jobs, steps = Jobs(clock), threading.Event()

    def work(progress: Progress) -> tuple[WaitReport, int]:
        progress.done, progress.total = 1, 4
        steps.set()
        return office.wait(progress)

    job = jobs.begin(work)
    assert steps.wait(60)
    clock.advance(timedelta(seconds=10))
    report = jobs.report(job)
    assert report is not None
    assert (report["done"], report["total"], report["eta_seconds"]) == (1, 4, 30.0)
