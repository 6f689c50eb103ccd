"""What a look at a source records: changes, moves and deletions, and never a deletion that is not proved."""

from datetime import datetime, timedelta

import pytest

from freshd.errors import DocumentRefused, SourceUnavailable
from freshd.guard import Verdict
from freshd.model import Change, ChangeKind, Coverage, DocumentId, DocumentRef
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


def replace(bench: Bench, old: str, new: str) -> None:
    """Delete a document and write an unrelated one with its identity, as a file system does that has an inode free."""
    identity = bench.source.documents[old].identity
    bench.source.delete(old)
    bench.source.write(new)
    written = bench.source.documents[new]
    bench.source.documents[new] = type(written)(written.text, identity, written.version, written.changed_at)


def refuse(ref: DocumentRef) -> None:
    raise DocumentRefused(f"{ref.document_id}: too large")


def settle(bench: Bench) -> None:
    """Scan and apply until no deletion waits any more, as a daemon does."""
    for _ in range(5):
        verdict = bench.scan().verdict
        bench.apply()
        if verdict is not Verdict.WAIT:
            return
    raise AssertionError("deletions wait for ever")


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


@pytest.mark.parametrize("over", [False, True], ids=["free name", "over another"])
def test_the_hint_at_a_new_name_tells_of_the_old_one_too(bench: Bench, over: bool):
    """Until the other hint comes, search would show the document under both."""
    new = HUNDRED[1] if over else "new.md"
    bench.index_all(HUNDRED)
    bench.source.rename(HUNDRED[0], new)
    assert look(bench, new) == Looked(changes=2)
    assert bench.pending() == {new: "modified" if over else "added", HUNDRED[0]: "deleted"}
    (deletion,) = (one for one in bench.ledger.take(FAR, 10) if one.change.ref is None)
    assert deletion.change.changed_at == bench.clock.now()
    bench.apply()
    assert bench.store.documents() == {*HUNDRED[1:], new}
    assert kinds(bench)[new] is (ChangeKind.MODIFIED if over else ChangeKind.MOVED)
    assert look_twice(bench, HUNDRED[0]) == Looked()


def test_a_folder_hinted_at_only_under_its_new_name_is_moved(bench: Bench):
    bench.index_all([f"guide/{n:02}.md" for n in range(40)])
    bench.source.rename("guide", "manual")
    look(bench, "manual")
    bench.apply()
    assert bench.store.documents() == {f"manual/{n:02}.md" for n in range(40)}
    assert set(kinds(bench).values()) == {ChangeKind.MOVED}


def test_a_hard_link_leaves_the_other_names_of_its_file_alone(bench: Bench):
    bench.index_all(HUNDRED)
    for name in ("b.md", "c.md"):
        bench.source.documents[name] = bench.source.documents[HUNDRED[0]]
    assert look(bench, "b.md", "c.md") == Looked(changes=2)
    bench.source.rename("b.md", "d.md")
    look(bench, "d.md")
    bench.apply()
    assert bench.store.documents() == {*HUNDRED, "c.md", "d.md"}


def test_an_old_name_that_may_still_be_there_is_left_alone(bench: Bench):
    """What a window no longer shows is not gone, nor what a look could not see."""
    bench.index_all(HUNDRED)
    bench.source.rename(HUNDRED[0], "new.md")
    bench.source.is_complete = False
    look(bench, "new.md")
    bench.source.is_complete, bench.source.coverage = True, Coverage.WINDOW
    look(bench, "new.md")
    assert bench.pending() == {"new.md": "added"}


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


def test_a_document_whose_only_copy_left_is_the_third_is_not_held(bench: Bench):
    """The second vanished with it, and is the one the ledger would name first."""
    for n in range(30):
        for copy in "abc":
            bench.source.write(f"{copy}{n:02}.md", f"# Same {n}\n\nText {n}.\n")
    bench.index_all([])
    gone = [f"{copy}{n:02}.md" for copy in "ab" for n in range(30)]
    for name in gone:
        bench.source.delete(name)
    look(bench, *gone)
    bench.apply()
    assert bench.ledger.held(SOURCE) == []
    assert bench.store.documents() == {f"c{n:02}.md" for n in range(30)}


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


def test_a_folder_removed_bit_by_bit_does_not_slip_under_the_guard_behind_very_many_other_changes(bench: Bench):
    """Somebody switched branches before: what is edited has the earlier deadlines."""
    names = [f"guide/{n:02}.md" for n in range(60)]
    bench.index_all([*HUNDRED[:40], *names])
    now = bench.clock.now()
    refs = [DocumentRef(DocumentId(f"branch/{n:05}.md"), "new") for n in range(10_000)]
    edits = [Change(SOURCE, ref.document_id, ChangeKind.MODIFIED, ref, now, now) for ref in refs]
    bench.ledger.record(edits, timedelta(0))
    for start in range(0, 60, 10):
        for name in names[start : start + 10]:
            bench.source.delete(name)
        look_twice(bench, *names[start : start + 10])
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


# Identities that are given out again


def test_documents_whose_identities_others_were_given_are_held_by_a_scan(bench: Bench):
    bench.index_all(HUNDRED)
    for n in range(60):
        replace(bench, HUNDRED[n], f"other{n:02}.md")
    assert bench.scan().verdict is Verdict.WAIT
    assert set(bench.pending().values()) == {"added"}
    bench.apply()
    assert bench.scan().verdict is Verdict.HOLD
    bench.apply()
    assert bench.ledger.held(SOURCE) == HUNDRED[:60]
    assert bench.store.documents() == {*HUNDRED, *(f"other{n:02}.md" for n in range(60))}


def test_a_single_run_judges_identities_given_out_again_without_a_second_look(bench: Bench):
    bench.index_all(HUNDRED)
    for n in range(60):
        replace(bench, HUNDRED[n], f"other{n:02}.md")
    bench.clock.advance(timedelta(seconds=1))
    assert bench.scanner.scan(is_last=True).verdict is Verdict.HOLD
    bench.apply()
    assert bench.ledger.held(SOURCE) == HUNDRED[:60]


@pytest.mark.parametrize("at_once", [60, 7], ids=["at once", "bit by bit"])
@pytest.mark.parametrize("is_store_up", [True, False], ids=["applied between", "store away"])
def test_documents_whose_identities_others_were_given_do_not_slip_through_hints(
    bench: Bench, at_once: int, is_store_up: bool
):
    bench.index_all(HUNDRED)
    others = [f"other{n:02}.md" for n in range(60)]
    for start in range(0, 60, at_once):
        old, new = HUNDRED[start : min(start + at_once, 60)], others[start : start + at_once]
        for gone, written in zip(old, new, strict=True):
            replace(bench, gone, written)
        look_twice(bench, *old, *new)
        if is_store_up:
            bench.apply()
    settle(bench)
    deleted = {*HUNDRED} - bench.store.documents()
    assert len(deleted) <= (0 if at_once == 60 else 32), "a fifth of all 160"
    assert {*bench.ledger.held(SOURCE)} == {*HUNDRED[:60]} - deleted
    assert bench.store.documents() >= {*others}


def test_a_scan_that_a_hint_called_for_counts_what_hints_deleted_before(bench: Bench):
    """Else a folder removed slowly, while others write, would pass from scan to scan."""
    bench.index_all(HUNDRED)
    for start in range(0, 60, 20):
        for name in HUNDRED[start : start + 20]:
            bench.source.delete(name)
        bench.source.write(f"new{start}.md")
        look(bench, f"new{start}.md")
        if look_twice(bench, *HUNDRED[start : start + 20]).wants_scan:
            bench.scan()
        bench.apply()
    settle(bench)
    assert bench.ledger.held(SOURCE) == HUNDRED[20:60]
    assert bench.store.documents() == {*HUNDRED[20:], "new0.md", "new20.md", "new40.md"}


def test_what_a_person_let_pass_counts_for_no_later_deletion(bench: Bench):
    bench.index_all(HUNDRED)
    for name in HUNDRED[:60]:
        bench.source.delete(name)
    assert bench.scan().verdict is Verdict.HOLD
    bench.scan()
    bench.ledger.approve(SOURCE)
    bench.apply()
    for name in HUNDRED[60:62]:
        bench.source.delete(name)
    look_twice(bench, HUNDRED[60])
    assert bench.scan().verdict is Verdict.PASS
    bench.apply()
    assert bench.store.documents() == {*HUNDRED[62:]}


def test_a_folder_renamed_while_others_vanished_is_moved_and_only_these_are_held(bench: Bench):
    guide = [f"guide/{n:03}.md" for n in range(200)]
    bench.index_all([*HUNDRED, *guide])
    bench.source.rename("guide", "manual")
    for n in range(90):
        replace(bench, HUNDRED[n], f"other{n:02}.md")
    settle(bench)
    assert bench.ledger.held(SOURCE) == HUNDRED[:90]
    moved = {f"manual/{n:03}.md" for n in range(200)}
    assert bench.store.documents() == {*HUNDRED, *moved, *(f"other{n:02}.md" for n in range(90))}


@pytest.mark.parametrize("by", ["scan", "hints"])
def test_a_large_folder_renamed_is_moved_in_one_step_and_not_held(bench: Bench, by: str, monkeypatch):
    """Applied right after each recording: nothing is left for a later one to make a move of."""
    bench.index_all([*HUNDRED, *(f"guide/{n:03}.md" for n in range(200))])
    record = bench.ledger.record
    monkeypatch.setattr(bench.ledger, "record", lambda *what, **how: (record(*what, **how), bench.apply()))
    bench.source.rename("guide", "manual")
    assert (bench.scan() if by == "scan" else look(bench, "guide", "manual")).changes == 400
    assert (bench.ledger.held(SOURCE), bench.pending()) == ([], {})
    assert bench.store.documents() == {*HUNDRED, *(f"manual/{n:03}.md" for n in range(200))}
    assert set(kinds(bench).values()) == {ChangeKind.MOVED}


@pytest.mark.parametrize("is_found_by_scan", [True, False], ids=["scan", "hint"])
def test_a_document_edited_and_renamed_at_once_is_deleted_with_the_recording_of_its_new_name(
    bench: Bench, is_found_by_scan: bool
):
    bench.index_all(HUNDRED)
    bench.source.rename(HUNDRED[0], "new.md")
    bench.source.write("new.md", "# New\n\nEdited.\n")
    reads = len(bench.source.reads)
    if is_found_by_scan:
        bench.scan()
    else:
        assert look(bench, HUNDRED[0], "new.md") == Looked(changes=2)
    assert bench.pending() == {HUNDRED[0]: "deleted", "new.md": "added"}
    assert len(bench.source.reads) == reads, "for few, identity is believed"


def test_many_documents_edited_and_renamed_at_once_are_held_and_found_under_both_names(bench: Bench):
    bench.index_all(HUNDRED)
    for n in range(30):
        bench.source.rename(HUNDRED[n], f"new{n:02}.md")
        bench.source.write(f"new{n:02}.md", f"# New\n\nEdited {n}.\n")
    settle(bench)
    assert bench.ledger.held(SOURCE) == HUNDRED[:30]
    assert bench.store.documents() == {*HUNDRED, *(f"new{n:02}.md" for n in range(30))}


def test_a_document_that_cannot_be_read_makes_no_deletion_wait_for_ever(bench: Bench):
    bench.index_all(HUNDRED)
    for n in range(60):
        replace(bench, HUNDRED[n], f"other{n:02}.md")
    bench.source.before_read = refuse
    settle(bench)
    assert bench.ledger.held(SOURCE) == HUNDRED[:60]
    assert bench.store.documents() == {*HUNDRED}


@pytest.mark.parametrize("fault", [None, MemoryError(), ValueError("no number")], ids=["refused", "memory", "a fault"])
def test_what_is_renamed_over_others_and_cannot_be_read_is_not_lost(bench: Bench, fault: Exception | None):
    """Nor does it cost the look at all others, whatever its connector raises."""

    def fail(ref: DocumentRef) -> None:
        if fault is not None:
            raise fault
        refuse(ref)

    bench.index_all(HUNDRED)
    for n in range(30):
        bench.source.rename(HUNDRED[n], HUNDRED[n + 50])
    bench.source.before_read = fail
    look_twice(bench, *HUNDRED)
    bench.apply()
    assert bench.ledger.held(SOURCE) == HUNDRED[:30]


@pytest.mark.parametrize("is_touched", [False, True], ids=["as they were", "touched"])
def test_documents_that_stand_under_another_name_too_pass_however_many(bench: Bench, is_touched: bool):
    """Hard links, and copies. Touched at the same moment, they are unread, and yet the same."""
    for n in range(30):
        for name in (f"a{n:02}.md", f"copy{n:02}.md"):
            bench.source.write(name, f"# Same {n}\n\nText {n}.\n")
        bench.source.documents[f"link{n:02}.md"] = bench.source.documents[f"a{n:02}.md"]
    bench.index_all(HUNDRED)
    for n in range(30):
        bench.source.delete(f"a{n:02}.md")
        for name in (f"copy{n:02}.md", f"link{n:02}.md") if is_touched else ():
            bench.source.write(name, f"# Same {n}\n\nText {n}.\n")
    assert bench.scan().verdict is Verdict.PASS
    bench.apply()
    assert bench.ledger.held(SOURCE) == []
    assert not any(name.startswith("a") for name in bench.store.documents())


def test_originals_whose_copies_were_rewritten_meanwhile_are_held(bench: Bench):
    """The ledger still has the copies' old text: it stands nowhere any more."""
    for n in range(30):
        bench.source.write(f"a{n:02}.md", f"# Same {n}\n\nText {n}.\n")
        bench.source.write(f"copy{n:02}.md", f"# Same {n}\n\nText {n}.\n")
    bench.index_all([])
    for n in range(30):
        bench.source.delete(f"a{n:02}.md")
        bench.source.write(f"copy{n:02}.md", f"# Other {n}\n\nOther.\n")
    settle(bench)
    assert bench.ledger.held(SOURCE) == [f"a{n:02}.md" for n in range(30)]


@pytest.mark.parametrize("is_move", [True, False], ids=["moved", "replaced"])
def test_what_was_recorded_before_a_crash_changes_no_verdict(bench: Bench, is_move: bool):
    """The new names were recorded and applied, and the look ended before it came to the old ones."""
    bench.index_all(HUNDRED)
    for n in range(60):
        if is_move:
            bench.source.rename(HUNDRED[n], f"other{n:02}.md")
        else:
            replace(bench, HUNDRED[n], f"other{n:02}.md")
    bench.source.is_complete = False
    bench.scan()
    bench.apply()
    bench.source.is_complete = True
    bench.scanner = bench.scanner_of(SOURCE, bench.source)
    assert bench.scan().verdict is (Verdict.PASS if is_move else Verdict.HOLD)
    bench.apply()
    assert bench.ledger.held(SOURCE) == ([] if is_move else HUNDRED[:60])


def test_documents_of_a_first_index_that_were_renamed_unread_do_not_wait_for_it(bench: Bench):
    """Nothing of them is in the index yet: nothing can be lost."""
    bench.index_all(HUNDRED)
    guide = [f"guide/{n:02}.md" for n in range(60)]
    for name in guide:
        bench.source.write(name)
    bench.scan()
    bench.source.rename("guide", "manual")
    assert bench.scan().verdict is Verdict.PASS
    assert set(bench.pending()) == {name.replace("guide", "manual") for name in guide}


def test_a_deletion_is_not_held_for_the_renames_that_are_still_under_way(bench: Bench):
    """The store is away: what was renamed meanwhile is recorded as deleted, and not known for moved yet."""
    new = [f"new{n:02}.md" for n in range(40)]
    bench.index_all(HUNDRED)
    for n in range(40):
        bench.source.rename(HUNDRED[n], new[n])
        assert look(bench, HUNDRED[n], new[n]) == Looked(changes=2)
    bench.source.delete(HUNDRED[50])
    assert look_twice(bench, HUNDRED[50]).wants_scan
    settle(bench)
    assert bench.ledger.held(SOURCE) == []
    assert bench.store.documents() == {*HUNDRED[40:50], *HUNDRED[51:], *new}


def test_a_look_is_ended_while_it_compares_texts(bench: Bench):
    bench.index_all(HUNDRED)
    for n in range(60):
        replace(bench, HUNDRED[n], f"other{n:02}.md")
    bench.source.before_read = lambda _: bench.scanner.stop()
    with pytest.raises(ScanStopped):
        bench.scan()
    assert bench.pending() == {}


def test_a_rename_seen_while_another_file_system_is_mounted_is_believed_by_its_text_only(bench: Bench):
    """Identities of two file systems have nothing to do with one another."""
    bench.index_all(HUNDRED)
    bench.source.rename(HUNDRED[0], "moved.md")
    replace(bench, HUNDRED[1], "other.md")
    bench.source.suspicion = "another file system is mounted there"
    assert bench.scan().verdict is Verdict.HOLD
    bench.apply()
    assert bench.ledger.held(SOURCE) == [HUNDRED[1]]
    assert bench.store.documents() == {*HUNDRED[1:], "moved.md", "other.md"}
