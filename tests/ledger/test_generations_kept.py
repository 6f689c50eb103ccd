"""Which generations there are: begun, put off, switched to and back, and let go of, in the ledger alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from freshd.ledger.forgetting import SqliteForgetting
from freshd.ledger.generations import Progress, Role
from freshd.model import DocumentId, OutcomeKind, Revision
from freshd.ports import CARRIED
from tests.ledger.books import (
    ADDED,
    DELETED,
    MINUTE,
    NEW_RECIPE,
    NOON,
    OTHER,
    RECIPE,
    SOURCE,
    Books,
    applied,
    change,
    digest,
    ids,
    made,
)

THEN = NOON + MINUTE


@pytest.fixture
def filling(books: Books) -> Books:
    """Two documents are live, and the generation beside has begun."""
    books.generations.adopt(made("old"))
    books.index("a", 1, 2, content="one")
    books.index("b", 3, content="two")
    books.generations.begin(made("new"))
    return books


def fill_all(books: Books) -> None:
    books.fill("a", 11, content="one")
    books.fill("b", 12, 13, 14, content="two")


def test_a_new_ledger_has_no_generation(books: Books):
    assert (books.generations.live, books.generations.beside, books.generations.doomed) == (None, None, [])


def test_a_generation_is_remembered_as_it_was_made_whatever_zone_its_instant_is_in(books: Books):
    at = datetime(2026, 3, 1, 14, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    books.generations.adopt(made("old", since=at, dimension=384))
    found = books.reopened().generations.live
    assert found == replace(made("old", dimension=384), since=at.astimezone(UTC), role=Role.LIVE)


def test_a_generation_that_is_filled_can_be_put_off_and_gone_on_with(filling: Books):
    generations = filling.generations
    assert generations.beside == replace(made("new"), role=Role.FILLING)
    assert generations.live == made("old")
    generations.retire(THEN)
    assert generations.beside == replace(made("new"), role=Role.RETIRED, since=THEN)
    generations.resume(THEN + MINUTE)
    assert generations.beside == replace(made("new"), role=Role.FILLING, since=THEN + MINUTE)


def test_adopting_makes_a_generation_live_whatever_it_was(books: Books):
    books.generations.adopt(replace(made("old"), role=Role.RETIRED))
    assert books.generations.live == made("old")


def test_where_nothing_is_beside_nothing_is_put_off_resumed_or_switched_to(books: Books):
    books.generations.adopt(made("old"))
    for step in (books.generations.resume, books.generations.retire):
        with pytest.raises(RuntimeError, match="no generation beside the live one"):
            step(NOON)
    with pytest.raises(RuntimeError, match="nothing to switch to"):
        books.generations.switch(NOON)
    assert books.generations.live == made("old")


def test_without_a_live_one_nothing_is_switched(books: Books):
    books.generations.begin(made("new"))
    with pytest.raises(RuntimeError, match="nothing to switch to"):
        books.generations.switch(NOON)


def test_a_generation_begins_with_nothing_of_the_one_before(filling: Books):
    fill_all(filling)
    filling.beside.doubt(sorted(ids(11)))
    filling.generations.begin(made("third"))
    assert filling.generations.beside == replace(made("third"), role=Role.FILLING)
    assert filling.names_behind() == ["a", "b"]
    assert filling.beside.revision(SOURCE, DocumentId("a")) == Revision()
    assert filling.beside.certain_chunks() == filling.generations.progress().documents == 0


def test_a_name_that_only_the_generation_beside_remembered_goes_with_it(filling: Books):
    fill_all(filling)
    filling.ledger.record([change("a", DELETED)], MINUTE)
    filling.apply("a")
    assert filling.beside.doc_of(SOURCE, "a") is not None
    filling.generations.doom("freshd-new")
    assert filling.beside.doc_of(SOURCE, "a") is None
    assert filling.beside.doc_of(SOURCE, "b") is not None


def test_a_doomed_generation_is_let_go_of_and_remembered_until_it_is_buried(filling: Books):
    fill_all(filling)
    generations = filling.generations
    generations.doom("freshd-stray")
    assert generations.beside is not None
    assert filling.beside.certain_chunks() == 4
    generations.doom("freshd-new")
    generations.doom("freshd-new")
    assert generations.beside is None
    assert filling.beside.certain_chunks() == 0
    assert generations.doomed == ["freshd-new", "freshd-stray"]
    generations.buried("freshd-new")
    generations.buried("freshd-new")
    assert generations.doomed == ["freshd-stray"]
    assert filling.state().documents == 2, "the live one is as it was"


def test_the_live_generation_is_not_discarded(filling: Books):
    with pytest.raises(ValueError, match="generation freshd-old: is the live one"):
        filling.generations.doom("freshd-old")
    assert filling.generations.doomed == []


def test_in_a_ledger_without_a_live_generation_any_other_can_be_discarded(books: Books):
    books.generations.doom("freshd-stray")
    assert books.generations.doomed == ["freshd-stray"]


def test_a_switch_exchanges_what_the_two_generations_hold(filling: Books):
    fill_all(filling)
    filling.begin("b", 3, 4)
    live, beside = filling.revision("a"), filling.beside.revision(SOURCE, DocumentId("a"))
    filling.generations.switch(THEN)
    assert filling.generations.live == replace(made("new"), since=THEN)
    assert filling.generations.beside == replace(made("old"), role=Role.RETIRED, since=THEN)
    now_live, now_beside = filling.revision("a"), filling.beside.revision(SOURCE, DocumentId("a"))
    assert replace(now_live, version=1) == beside
    assert now_live.version > live.version, "what was planned before does not begin"
    assert now_beside == live
    assert filling.beside.revision(SOURCE, DocumentId("b")).unknown == ids(3, 4)
    assert filling.revision("b").unknown == frozenset()
    assert (filling.state().documents, filling.state().chunks, filling.state().pending) == (2, 4, 0)
    assert filling.rows("SELECT name FROM sqlite_temp_master") == []


def test_a_switch_can_be_taken_back(filling: Books):
    fill_all(filling)
    filling.generations.switch(THEN)
    filling.generations.switch(THEN + MINUTE)
    assert filling.generations.live == replace(made("old"), since=THEN + MINUTE)
    assert filling.generations.beside == replace(made("new"), role=Role.RETIRED, since=THEN + MINUTE)
    assert (filling.revision("a").recipe, filling.state().chunks) == (RECIPE, 3)
    assert {chunk.chunk_id for chunk in filling.revision("a").chunks} == ids(1, 2)
    assert filling.beside.revision(SOURCE, DocumentId("a")).recipe == NEW_RECIPE


def test_sources_count_their_own_chunks_after_a_switch(filling: Books):
    filling.index("c", 5, source=OTHER)
    fill_all(filling)
    filling.fill("c", 15, 16, source=OTHER)
    filling.generations.switch(THEN)
    assert (filling.state().chunks, filling.sources.state(OTHER).chunks) == (4, 2)


def test_a_document_that_was_carried_over_is_read_and_nobody_else_is(filling: Books):
    filling.index("empty", content="")
    filling.index("elsewhere", 5, source=OTHER)
    filling.fill("a", content="one", recipe=CARRIED)
    filling.fill("b", 12, content="two")
    filling.fill("empty", content="")
    filling.fill("elsewhere", 5, content="text", source=OTHER, recipe=CARRIED)
    assert filling.names_behind() == [], "what was carried over is all that is to be had"
    filling.generations.switch(THEN)
    found = filling.pending("a")
    assert (found.target, found.change.kind, found.change.changed_at, found.change.first_seen_at) == (
        None,
        "modified",
        THEN,
        THEN,
    )
    assert found.change.is_clamped
    assert found.change.ref is not None
    assert (found.change.ref.fingerprint, found.change.source) == ("1", SOURCE)
    assert sorted(filling.taken()) == ["a", "elsewhere"]
    assert (filling.revision("a").recipe, filling.revision("empty").recipe) == ("", NEW_RECIPE)
    assert filling.mark(NOON + 2 * MINUTE) == NOON + 2 * MINUTE, "it is no change of the source"


def test_of_a_source_that_left_the_config_nothing_that_was_carried_over_is_read_until_it_is_back(filling: Books):
    filling.index("elsewhere", 5, source=OTHER)
    filling.fill("a", 1, content="one")
    filling.fill("b", 12, content="two")
    filling.fill("elsewhere", 5, content="text", source=OTHER, recipe=CARRIED)
    SqliteForgetting(filling.database).note_configured([SOURCE], THEN)
    filling.generations.switch(THEN)
    assert filling.taken() == []
    SqliteForgetting(filling.database).note_configured([SOURCE, OTHER], THEN)
    filling.ledger.invalidate(NEW_RECIPE, THEN, [SOURCE, OTHER])
    assert filling.taken() == ["elsewhere"]


def test_what_is_pending_already_stays_as_it_is_when_it_was_carried_over(filling: Books):
    filling.ledger.record([change("a", version="2", at=NOON)], MINUTE)
    filling.ledger.record([change("b", DELETED)], MINUTE)
    filling.fill("a", content="one", recipe=CARRIED)
    filling.fill("b", content="two", recipe=CARRIED)
    filling.generations.switch(THEN)
    assert filling.pending("a").target == MINUTE
    assert filling.pending("b").change.kind is DELETED


def test_what_is_not_applied_is_in_neither_generation_after_a_switch(filling: Books):
    fill_all(filling)
    filling.ledger.record([change("c", ADDED)], None)
    filling.generations.switch(THEN)
    assert filling.beside.revision(SOURCE, DocumentId("c")) == Revision()
    assert not filling.known()["c"].is_applied


def test_progress_tells_what_stands_beside_of_what_is_live(filling: Books):
    assert filling.generations.progress() == Progress(0, 2, 3)
    filling.fill("a", 11, content="one")
    assert filling.generations.progress() == Progress(1, 2, 3)
    filling.fill("b", 12, content="two")
    filling.ledger.record([change("b", DELETED)], MINUTE)
    filling.ledger.commit([applied(filling.pending("b"), kind=OutcomeKind.DELETED)])
    assert filling.generations.progress() == Progress(1, 1, 2), "never more than there is"


def test_progress_of_an_empty_ledger_is_nothing_of_nothing(books: Books):
    assert books.generations.progress() == Progress(0, 0, 0)


def test_a_document_that_was_edited_since_is_filled_with_what_it_says_now(filling: Books):
    fill_all(filling)
    filling.ledger.record([change("a", version="2")], MINUTE)
    filling.apply("a", 4, content="new")
    (found,) = filling.behind()
    assert (found.document_id, found.digest) == ("a", digest("new"))
