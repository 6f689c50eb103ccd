"""What a look at a source records: changes, moves and deletions, and never a deletion that is not proved."""

from datetime import datetime, timedelta

import pytest

from freshd.errors import SourceUnavailable
from freshd.guard import Verdict
from freshd.model import ChangeKind, Coverage, DocumentId
from freshd.scheduler.scanner import Looked, ScanStopped
from tests.scheduler.parts import FAR, SOURCE, TARGET, Bench, down

HUNDRED = [f"page{n:03}.md" for n in range(100)]


def look(bench: Bench, *places: str, is_second: bool = False) -> Looked:
    bench.clock.advance(timedelta(seconds=1))
    return bench.scanner.look(dict.fromkeys(places, bench.clock.now()), is_second=is_second)


def look_twice(bench: Bench, *places: str) -> Looked:
    """Look as a lane does: what is absent is looked at again."""
    absent = look(bench, *places).absent
    return look(bench, *absent, is_second=True) if absent else Looked()


def kinds(bench: Bench) -> dict[str, ChangeKind]:
    return {outcome.change.document_id: outcome.change.kind for outcome, _ in bench.outcomes}


# A look at everything


def test_a_first_scan_is_backfill_and_a_later_change_has_a_deadline(bench: Bench):
    bench.source.write("a.md")
    bench.scan()
    (first,) = bench.ledger.take(FAR, 10)
    assert first.target is None
    bench.apply()
    bench.source.write("b.md")
    bench.scan()
    (second,) = bench.ledger.take(FAR, 10)
    assert (second.change.document_id, second.change.kind, second.target) == ("b.md", ChangeKind.ADDED, TARGET)


def test_a_scan_of_an_unchanged_source_records_nothing_and_says_how_many_it_saw(bench: Bench):
    bench.index_all(HUNDRED)
    scan = bench.scan()
    assert (scan.changes, scan.unchanged, bench.pending()) == (0, 100, {})


def test_a_scan_records_in_portions_whatever_the_size_of_the_source(bench: Bench):
    """What a first scan of a large source found is indexed while the scan goes on."""
    for n in range(1_100):
        bench.source.write(f"{n:05}.md")
    recorded: list[int] = []
    last = bench.source.documents["01099.md"]
    bench.source.documents["01099.md"] = last
    walk = bench.source.ref
    bench.source.ref = lambda name: (recorded.append(bench.ledger.last_seq()), walk(name))[1]  # type: ignore[method-assign]
    scan = bench.scan()
    assert (scan.changes, bench.ledger.last_seq()) == (1_100, 1_100)
    assert {0, 500, 1_000} == set(recorded)


def test_a_scan_that_breaks_off_deletes_nothing_and_keeps_what_it_saw(bench: Bench):
    bench.index_all(["a.md", "b.md"])
    bench.source.delete("a.md")
    bench.source.down = down()
    with pytest.raises(SourceUnavailable):
        bench.scan()
    assert bench.pending() == {}
    assert bench.sources.state(SOURCE).documents == 2


@pytest.mark.parametrize("why", ["incomplete", "unreadable", "window"])
def test_absence_that_proves_nothing_deletes_nothing(bench: Bench, why: str):
    bench.index_all(["guide/a.md", "guide/b.md", "c.md"])
    bench.source.documents.clear()
    bench.source.is_complete = why != "incomplete"
    bench.source.unreadable = ("guide", "c.md") if why == "unreadable" else ()
    bench.source.coverage = Coverage.WINDOW if why == "window" else Coverage.FULL
    bench.scan()
    assert bench.pending() == {}


def test_what_vanished_beside_an_unreadable_folder_is_deleted(bench: Bench):
    bench.index_all(["guide/a.md", "guide/b.md", "guide-old/c.md"])
    bench.source.documents.clear()
    bench.source.unreadable = ("guide",)
    bench.scan()
    assert bench.pending() == {"guide-old/c.md": "deleted"}


def test_an_emptied_source_holds_its_deletions(bench: Bench):
    bench.index_all(HUNDRED[:5])
    bench.source.documents.clear()
    assert bench.scan().verdict is Verdict.HOLD
    assert set(bench.pending().values()) == {"held"}
    bench.apply()
    assert bench.store.documents() == set(HUNDRED[:5])


def test_twenty_deletions_pass_and_twenty_one_are_held(bench: Bench):
    bench.index_all(HUNDRED)
    bench.source.delete(HUNDRED[0])
    for name in HUNDRED[1:20]:
        bench.source.delete(name)
    assert bench.scan().verdict is Verdict.PASS
    bench.apply()
    bench.clock.advance(timedelta(minutes=1))
    bench.scan()
    for name in HUNDRED[20:41]:
        bench.source.delete(name)
    assert bench.scan().verdict is Verdict.HOLD


def test_held_documents_that_come_back_are_held_no_longer(bench: Bench):
    bench.index_all(HUNDRED[:5])
    before = dict(bench.source.documents)
    bench.source.documents.clear()
    bench.scan()
    bench.source.documents.update(before)
    bench.scan()
    bench.apply()
    assert bench.ledger.held(SOURCE) == []
    assert bench.store.documents() == set(HUNDRED[:5])


def test_an_emptied_source_of_copies_holds_its_deletions(bench: Bench):
    """Two documents that vanish together are no successors of each other: nothing carries their text on."""
    for n in range(6):
        bench.source.write(f"a{n}.md", f"# Same {n}\n\nText {n}.\n")
        bench.source.write(f"b{n}.md", f"# Same {n}\n\nText {n}.\n")
    bench.index_all([])
    assert bench.sources.state(SOURCE).documents == 12
    bench.source.documents.clear()
    assert bench.scan().verdict is Verdict.HOLD
    bench.apply()
    assert len(bench.store.documents()) == 12


def test_what_moved_is_not_held_with_what_vanished(bench: Bench):
    """A document that stands elsewhere is safe there; held, it would be found under both names."""
    bench.index_all(HUNDRED)
    for name in HUNDRED[:50]:
        bench.source.delete(name)
    bench.source.rename(HUNDRED[70], "moved.md")
    bench.scan()
    bench.apply()
    assert bench.scan().verdict is Verdict.HOLD or bench.ledger.held(SOURCE)
    bench.apply()
    assert bench.ledger.held(SOURCE) == HUNDRED[:50]
    assert bench.store.documents() == {*HUNDRED, "moved.md"} - {HUNDRED[70]}


def test_a_swapped_root_holds_even_one_deletion(bench: Bench):
    bench.index_all(HUNDRED)
    bench.source.delete(HUNDRED[7])
    bench.source.suspicion = "another file system is mounted there"
    assert bench.scan().verdict is Verdict.HOLD
    assert bench.pending() == {HUNDRED[7]: "held"}


def test_a_renamed_folder_is_moved_not_deleted_and_added(bench: Bench):
    """More documents than the guard lets vanish, and not one of them is embedded again."""
    names = [f"guide/{n:02}.md" for n in range(40)]
    bench.index_all(names)
    embedded = len(bench.embedder.passages)
    bench.source.rename("guide", "handbook")
    bench.scan()
    bench.apply()
    bench.scan()
    bench.apply()
    assert bench.ledger.held(SOURCE) == []
    assert bench.store.documents() == {f"handbook/{n:02}.md" for n in range(40)}
    assert set(kinds(bench).values()) == {ChangeKind.MOVED}
    assert sum(outcome.fates.embedded for outcome, _ in bench.outcomes) == len(bench.embedder.passages) - embedded


def test_a_scan_is_stopped_in_the_middle_and_what_it_saw_is_kept(bench: Bench):
    bench.index_all(["a.md"])
    bench.source.write("b.md")
    bench.source.delete("a.md")
    bench.source.before_listing = bench.scanner.stop
    with pytest.raises(ScanStopped):
        bench.scan()
    assert bench.pending() == {}


def test_a_listing_out_of_order_is_refused_and_deletes_nothing(bench: Bench):
    """Merged with the ledger in order, it would invent deletions."""
    bench.index_all(["a.md", "b.md", "c.md"])
    bench.source.documents["z.md"] = bench.source.documents["b.md"]
    order = iter(["c.md", "a.md", "b.md", "z.md"])
    original = bench.source.ref
    bench.source.ref = lambda _: original(next(order))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="out of order"):
        bench.scan()
    assert "deleted" not in bench.pending().values()


# A look where hinted


def test_a_hinted_edit_is_recorded_without_a_look_elsewhere(bench: Bench):
    bench.index_all(HUNDRED)
    bench.source.write(HUNDRED[3], "# New\n\nNew text.\n")
    bench.source.write(HUNDRED[4], "# New\n\nNobody hinted at it.\n")
    assert look(bench, HUNDRED[3]).changes == 1
    assert bench.pending() == {HUNDRED[3]: "modified"}
    assert bench.source.listed[-1] == HUNDRED[3]


def test_a_hint_at_a_folder_finds_all_that_changed_in_it(bench: Bench):
    bench.index_all(["guide/a.md", "guide/deep/b.md", "guide-old/c.md"])
    for name in ("guide/a.md", "guide/deep/b.md", "guide/new.md", "guide-old/c.md"):
        bench.source.write(name, "# New\n\nNew.\n")
    assert look(bench, "guide").changes == 3
    assert set(bench.pending()) == {"guide/a.md", "guide/deep/b.md", "guide/new.md"}


def test_a_hint_at_a_place_that_never_was_records_nothing(bench: Bench):
    bench.index_all(["a.md"])
    assert look_twice(bench, "b.md", "a.md") == Looked()


def test_one_absent_document_is_deleted_at_the_second_look_dated_by_its_hint(bench: Bench):
    bench.index_all(HUNDRED)
    bench.source.delete(HUNDRED[0])
    hinted_at = bench.clock.now() + timedelta(seconds=1)
    assert look(bench, HUNDRED[0]) == Looked(absent=(DocumentId(HUNDRED[0]),))
    assert bench.pending() == {}
    bench.scanner.look({HUNDRED[0]: hinted_at}, is_second=True)
    (pending,) = bench.ledger.take(FAR, 10)
    assert (pending.change.kind, pending.change.changed_at) == (ChangeKind.DELETED, hinted_at)


def test_a_document_that_is_back_at_the_second_look_is_not_deleted(bench: Bench):
    """An editor that saves by removing and writing anew."""
    bench.index_all(HUNDRED)
    bench.source.delete(HUNDRED[0])
    absent = look(bench, HUNDRED[0]).absent
    bench.source.write(HUNDRED[0], "# Saved\n\nSaved.\n")
    look(bench, *absent, is_second=True)
    assert bench.pending() == {HUNDRED[0]: "modified"}


def test_a_rename_seen_in_one_look_is_a_move(bench: Bench):
    bench.index_all(HUNDRED)
    bench.source.rename(HUNDRED[0], "new.md")
    assert look(bench, HUNDRED[0], "new.md").absent == ()
    bench.apply()
    assert kinds(bench) == {"new.md": ChangeKind.MOVED}


@pytest.mark.parametrize("first", ["old", "new"])
@pytest.mark.parametrize("is_applied_between", [False, True], ids=["at once", "applied between"])
def test_a_rename_whose_halves_are_hinted_apart_leaves_nothing_behind(bench: Bench, first: str, is_applied_between):
    """The two hints of a rename may fall into two looks."""
    bench.index_all(HUNDRED)
    bench.source.rename(HUNDRED[0], "new.md")
    absent: list[str] = []
    for place in [HUNDRED[0], "new.md"] if first == "old" else ["new.md", HUNDRED[0]]:
        absent += look(bench, place).absent
        if is_applied_between:
            bench.apply()
    if absent:
        look(bench, *absent, is_second=True)
    bench.apply()
    assert bench.store.documents() == {*HUNDRED[1:], "new.md"}
    assert sum(outcome.fates.embedded for outcome, _ in bench.outcomes) <= 1


def test_a_document_whose_text_stands_elsewhere_is_deleted_by_its_hint(bench: Bench):
    """A copy was made, the original removed: the next scan may be hours away."""
    bench.source.write("copy.md", "# Same\n\nSame text.\n")
    bench.source.write("original.md", "# Same\n\nSame text.\n")
    bench.index_all(HUNDRED)
    bench.source.delete("original.md")
    look_twice(bench, "original.md")
    bench.apply()
    assert bench.store.documents() == {*HUNDRED, "copy.md"}


def test_copies_that_vanish_together_are_judged_by_the_guard(bench: Bench):
    for n in range(30):
        bench.source.write(f"a{n}.md", f"# Same {n}\n\nText {n}.\n")
        bench.source.write(f"b{n}.md", f"# Same {n}\n\nText {n}.\n")
    bench.index_all([])
    gone = list(bench.source.documents)
    bench.source.documents.clear()
    look_twice(bench, *gone)
    assert set(bench.pending().values()) == {"held"}


def test_a_folder_removed_at_once_is_held_as_one(bench: Bench):
    bench.index_all([*HUNDRED, *(f"guide/{n}.md" for n in range(40))])
    bench.source.delete("guide")
    look_twice(bench, "guide")
    assert len(bench.pending()) == 40
    assert set(bench.pending().values()) == {"held"}


@pytest.mark.parametrize("is_store_up", [True, False], ids=["applied between", "store away"])
def test_a_folder_removed_bit_by_bit_does_not_slip_under_the_guard(bench: Bench, is_store_up: bool):
    """`rm -rf` of a large folder takes longer than one look, and the store may be away meanwhile."""
    names = [f"guide/{n:02}.md" for n in range(60)]
    bench.index_all([*HUNDRED[:40], *names])
    for start in range(0, 60, 10):
        for name in names[start : start + 10]:
            bench.source.delete(name)
        look_twice(bench, *names[start : start + 10])
        if is_store_up:
            bench.apply()
    bench.apply()
    deleted = 100 - len(bench.store.documents())
    assert deleted == 20
    assert len(bench.ledger.held(SOURCE)) == 40


def test_a_complete_scan_lets_hints_delete_again(bench: Bench):
    bench.index_all(HUNDRED)
    for start in (0, 20):
        for name in HUNDRED[start : start + 20]:
            bench.source.delete(name)
        look_twice(bench, *HUNDRED[start : start + 20])
        bench.apply()
        bench.scan()
        bench.clock.advance(timedelta(seconds=1))
        bench.scan()
    assert bench.ledger.held(SOURCE) == []
    assert bench.store.documents() == set(HUNDRED[40:])


def test_deletions_wait_for_documents_that_are_still_unread(bench: Bench):
    """They may turn out to be moves to another disk, where a file has another identity."""
    names = [f"guide/{n:02}.md" for n in range(40)]
    bench.index_all(names)
    for name in names:
        text = bench.source.documents[name].text
        bench.source.delete(name)
        bench.source.write(f"other/{name}", text)
    assert bench.scan().verdict is Verdict.WAIT
    assert set(bench.pending().values()) == {"added"}
    bench.apply()
    assert bench.scan().verdict is Verdict.PASS
    bench.apply()
    assert bench.ledger.held(SOURCE) == []
    assert bench.store.documents() == {f"other/{name}" for name in names}


def test_a_look_at_a_source_that_does_not_answer_concludes_nothing(bench: Bench):
    bench.index_all(HUNDRED)
    bench.source.documents.clear()
    bench.source.down = down()
    with pytest.raises(SourceUnavailable):
        look(bench, *HUNDRED)
    assert bench.pending() == {}


def test_places_that_overlap_record_a_document_once(bench: Bench):
    bench.index_all(["guide/a.md"])
    bench.source.write("guide/a.md", "# New\n\nNew.\n")
    assert look(bench, "guide", "guide/a.md").changes == 1


def test_a_change_instant_stays_within_what_freshd_can_vouch_for(bench: Bench):
    """A file system's clock may be an hour ahead."""
    bench.index_all(["a.md"])
    before = bench.sources.state(SOURCE).last_complete_scan_at
    assert before is not None
    for claimed in (bench.clock.now() + timedelta(hours=1), datetime(1970, 1, 2, tzinfo=before.tzinfo)):
        bench.source.write("a.md", f"# New\n\nAt {claimed}.\n")
        held = bench.source.documents["a.md"]
        bench.source.documents["a.md"] = type(held)(held.text, held.identity, held.version, claimed)
        look(bench, "a.md")
        (pending,) = bench.ledger.take(FAR, 10)
        assert pending.change.is_clamped
        assert before <= pending.change.changed_at <= bench.clock.now()
        bench.apply()
