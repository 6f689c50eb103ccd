"""A mark comes out of the index when everything found before it is through, and only then does the watermark rise."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from freshd.errors import CollectionMismatch, StoreUnavailable
from freshd.model import SourceName
from tests.scheduler.parts import SOURCE, Bench, down, store_down

SECOND = timedelta(seconds=1)


def watermark(bench: Bench) -> datetime | None:
    return bench.sources.state(SOURCE).watermark


def refuse() -> None:
    raise down()


def put_scan(bench: Bench) -> datetime:
    """Scan, and send its mark on its way; give when it began."""
    scan = bench.scan()
    bench.marks.put(scan)
    bench.clock.advance(SECOND)
    return scan.began_at


def test_a_quiet_source_is_known_to_be_fresh_as_of_its_last_scan(bench: Bench):
    bench.index_all(["a.md"])
    began_at = put_scan(bench)
    assert bench.marks.release() == [SOURCE]
    assert watermark(bench) == began_at
    assert bench.marks.release() == []


def test_a_mark_does_not_come_out_while_its_changes_are_pending(bench: Bench):
    bench.index_all(["a.md"])
    before = watermark(bench)
    bench.source.write("a.md", "# New\n\nNew.\n")
    began_at = put_scan(bench)
    assert bench.marks.release() == []
    assert watermark(bench) == before
    bench.apply()
    assert watermark(bench) == began_at


def test_a_mark_does_not_wait_for_changes_found_after_it(bench: Bench):
    bench.index_all(["a.md"])
    began_at = put_scan(bench)
    bench.source.write("b.md")
    bench.scanner.look({"b.md": bench.clock.now()})
    assert bench.marks.release() == [SOURCE]
    assert watermark(bench) == began_at


@pytest.mark.parametrize("why", ["held", "quarantined"])
def test_a_mark_comes_out_when_what_is_left_waits_for_a_person(bench: Bench, why: str):
    """Held deletions bound the watermark by their own instant, quarantined documents do not."""
    bench.index_all([f"{n}.md" for n in range(6)])
    bench.source.write("7.md")
    if why == "held":
        bench.source.documents.clear()
    began_at = put_scan(bench)
    if why == "quarantined":
        (pending,) = bench.ledger.take(bench.clock.now(), 10)
        bench.ledger.defer(pending, "broken", bench.clock.now() + timedelta(hours=1), quarantine=True)
    assert bench.marks.release() == [SOURCE]
    mark = watermark(bench)
    assert mark is not None
    assert (mark == began_at) == (why == "quarantined")
    assert mark <= began_at


def test_a_mark_waits_for_a_change_that_was_put_off(bench: Bench):
    """Tried again in two seconds is still not done."""
    bench.index_all(["a.md"])
    bench.source.write("b.md")
    put_scan(bench)
    (pending,) = bench.ledger.take(bench.clock.now(), 10)
    bench.ledger.defer(pending, "changing", bench.clock.now() + 2 * SECOND, quarantine=False)
    assert bench.marks.release() == []
    bench.clock.advance(3 * SECOND)
    bench.apply()
    assert bench.marks.release() == []
    assert bench.store.documents() == {"a.md", "b.md"}


def test_a_mark_waits_while_the_source_cannot_tell_whether_a_deleted_document_is_gone(bench: Bench):
    """A network file system that hiccups between the scan and the deletion."""
    bench.index_all(["a.md", "b.md"])
    before = watermark(bench)
    bench.source.delete("a.md")
    bench.source.before_is_gone = refuse
    began_at = put_scan(bench)
    bench.apply()
    assert (watermark(bench), bench.store.documents()) == (before, {"a.md", "b.md"})
    bench.source.before_is_gone = lambda: None
    bench.clock.advance(10 * SECOND)
    bench.apply()
    assert (watermark(bench), bench.store.documents()) == (began_at, {"b.md"})


@pytest.mark.parametrize("is_back", [True, False], ids=["deleted and back", "edited and gone"])
def test_a_mark_waits_for_the_look_at_a_document_that_is_not_as_it_was_recorded(bench: Bench, is_back: bool):
    """Search shows a text that the source did not hold any more when the mark was made."""
    bench.index_all(["a.md", "b.md"])
    before = watermark(bench)
    text = "# New\n\nNew.\n"
    if is_back:
        bench.source.delete("a.md")
    else:
        bench.source.write("a.md", text)
    put_scan(bench)
    if is_back:
        bench.source.write("a.md", text)
    else:
        bench.source.delete("a.md")
    bench.apply()
    assert (watermark(bench), bench.store.documents()) == (before, {"a.md", "b.md"})
    began_at = put_scan(bench)
    bench.apply()
    shown = {"a.md", "b.md"} if is_back else {"b.md"}
    assert (watermark(bench), bench.store.documents(), bench.pending()) == (began_at, shown, {})


def test_a_source_in_which_files_come_and_go_all_the_time_is_known_to_be_fresh(bench: Bench):
    """Nothing of them was ever in the index."""
    bench.index_all(["a.md"])
    for n in range(3):
        bench.source.write(f"{n}.tmp")
        began_at = put_scan(bench)
        bench.source.delete(f"{n}.tmp")
        bench.apply()
        assert watermark(bench) == began_at


@pytest.mark.parametrize("error", [store_down(), CollectionMismatch("another collection")], ids=["away", "swapped"])
def test_a_mark_does_not_come_out_while_the_store_does_not_prove_that_it_is_there(bench: Bench, error: Exception):
    bench.index_all(["a.md"])
    before = watermark(bench)
    began_at = put_scan(bench)
    bench.store.fails["ping"] = error
    for _ in range(3):
        with pytest.raises(type(error)):
            bench.marks.release()
        assert watermark(bench) == before
    del bench.store.fails["ping"]
    assert bench.marks.release() == [SOURCE]
    assert watermark(bench) == began_at


def test_no_mark_asks_the_store_while_nothing_is_through(bench: Bench):
    bench.index_all(["a.md"])
    bench.source.write("a.md", "# New\n\nNew.\n")
    put_scan(bench)
    bench.store.calls.clear()
    bench.marks.release()
    assert bench.store.calls == []


def test_the_watermark_never_goes_back(bench: Bench):
    """Not when a change turns up that is older than it."""
    bench.index_all(["a.md"])
    put_scan(bench)
    bench.marks.release()
    before = watermark(bench)
    assert before is not None
    bench.source.write("old.md")
    bench.scanner.look({"old.md": bench.clock.now()})
    put_scan(bench)
    bench.marks.release()
    assert watermark(bench) == before
    bench.apply()
    after = watermark(bench)
    assert after is not None
    assert after > before


def test_the_watermark_stays_below_a_change_that_is_not_applied(bench: Bench):
    bench.index_all(["a.md"])
    scan = bench.scan()
    bench.source.write("b.md")
    changed_at = bench.clock.now()
    bench.clock.advance(SECOND)
    bench.scanner.look({"b.md": bench.clock.now()})
    bench.clock.advance(SECOND)
    bench.marks.put(replace(scan, began_at=bench.clock.now()))
    bench.marks.release()
    assert watermark(bench) == changed_at


def test_under_a_steady_stream_of_changes_the_oldest_mark_still_comes_out(bench: Bench):
    """Only the newest and the oldest are kept: a mark that is replaced for ever would never be seen."""
    bench.index_all(["a.md"])
    began = []
    for n in range(5):
        bench.source.write(f"{n}.md")
        began.append(put_scan(bench))
        if n == 2:
            batch = [one for one in bench.ledger.take(bench.clock.now(), 10) if one.change.document_id == "0.md"]
            bench.pipeline.run(batch)
            assert bench.marks.release() == [SOURCE]
    bench.apply()
    assert watermark(bench) == began[-1]


def test_sources_do_not_wait_for_each_other(bench: Bench):
    other = SourceName("news")
    bench.connectors[other] = bench.source
    scanner = bench.scanner_of(other, bench.source)
    bench.source.write("a.md")
    bench.marks.put(bench.scan())
    bench.marks.put(bench.scan(scanner))
    bench.pipeline.run(bench.ledger.take(bench.clock.now(), 10, sources=(other,)))
    assert bench.marks.release() == [other]
    assert watermark(bench) is None


def test_a_cursor_is_kept_only_once_what_its_listing_showed_is_applied(bench: Bench):
    """Else a crash in between would have the next listing show nothing of it."""
    bench.source.write("a.md")
    put_scan(bench)
    bench.marks.release()
    assert bench.sources.state(SOURCE).cursor is None
    bench.apply()
    assert bench.sources.state(SOURCE).cursor == "after"


def test_a_store_that_comes_back_lets_the_marks_of_all_sources_out(bench: Bench):
    bench.index_all(["a.md"])
    put_scan(bench)
    bench.store.fails["ping"] = store_down()
    with pytest.raises(StoreUnavailable):
        bench.marks.release()
    bench.source.write("b.md")
    began_at = put_scan(bench)
    del bench.store.fails["ping"]
    bench.apply()
    assert watermark(bench) == began_at
