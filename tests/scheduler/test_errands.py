"""What others have the writing thread do: between two batches, and never for nothing."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from freshd.errors import StoreUnavailable
from freshd.scheduler import at_once
from freshd.scheduler.errands import Errands
from freshd.scheduler.indexer import Indexer
from tests.scheduler.parts import Bench, Gate, eventually, store_down


def asked(indexer: Indexer, work: Callable[[], Any]) -> Future[Any]:
    """Ask from a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(indexer.between_batches, work)
    pool.shutdown(wait=False)
    return future


def test_work_is_done_by_the_thread_that_writes_and_its_result_comes_back(bench: Bench):
    bench.source.before_read = lambda _: writers.add(threading.get_ident())
    writers: set[int] = set()
    bench.source.write("a.md")
    bench.scan()
    with bench.running() as indexer:
        assert indexer.between_batches(lambda: writers.add(threading.get_ident()) or "done") == "done"
        eventually(lambda: bench.store.documents() == {"a.md"})
    assert len(writers) == 1


def test_an_error_of_the_work_is_the_callers_and_no_trouble_of_the_index(bench: Bench):
    def fails() -> None:
        raise store_down()

    with bench.running() as indexer:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            indexer.between_batches(fails)
        assert indexer.between_batches(lambda: indexer.trouble) is None


def test_work_comes_in_the_middle_of_a_backfill_of_which_nothing_is_written(bench: Bench):
    for n in range(60):
        bench.source.write(f"{n:03}.md")
    bench.scan()
    gate = Gate()
    bench.source.before_read = lambda ref: gate() if ref.document_id == "030.md" else None
    with bench.running() as indexer:
        assert gate.arrived.wait(60)
        seen = asked(indexer, lambda: (len(bench.outcomes), bench.store.documents()))
        eventually(lambda: indexer._errands._waiting)
        gate.opened.set()
        assert seen.result(60) == (0, set())
        eventually(lambda: len(bench.store.documents()) == 60)


def test_whoever_asks_while_nothing_may_be_written_hears_why_at_once(bench: Bench):
    reason = StoreUnavailable("disk almost full")
    with bench.running(cannot_write=lambda: reason) as indexer:
        eventually(lambda: indexer.trouble)
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="disk almost full"):
                indexer.between_batches(lambda: pytest.fail("it was done all the same"))


def test_whoever_waits_when_the_thread_ends_hears_that_it_ended():
    errands = Errands(lambda: None)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(errands.have_done, lambda: pytest.fail("it was done all the same"))
        eventually(lambda: errands._waiting)
        errands.close()
        with pytest.raises(StoreUnavailable, match="stopping"):
            future.result(60)


def test_after_the_end_nothing_is_taken_any_more(bench: Bench):
    with bench.running() as indexer:
        assert indexer.between_batches(lambda: "before") == "before"
    with pytest.raises(StoreUnavailable, match="stopping"):
        indexer.between_batches(lambda: None)


def test_work_that_has_more_work_done_does_not_wait_for_itself():
    errands = Errands(lambda: None)
    pool = ThreadPoolExecutor(1)
    future = pool.submit(errands.have_done, lambda: errands.have_done(lambda: "inner"))
    eventually(lambda: errands._waiting)
    errands.do()
    assert future.result(60) == "inner"
    pool.shutdown()


def test_whoever_hands_in_one_piece_after_another_holds_up_no_batch():
    errands, pool, second = Errands(lambda: None), ThreadPoolExecutor(2), []

    def piece() -> str:
        second.append(pool.submit(errands.have_done, lambda: "second"))
        eventually(lambda: errands._waiting)
        return "first"

    try:
        first = pool.submit(errands.have_done, piece)
        eventually(lambda: errands._waiting)
        errands.do()
        assert first.result(60) == "first"
        assert errands._waiting, "for the next time"
        errands.do()
        assert second[0].result(60) == "second"
    finally:
        errands.close()
        pool.shutdown()


def test_without_another_thread_that_writes_work_is_done_at_once():
    assert at_once(lambda: 7) == 7
