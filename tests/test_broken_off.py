"""A write that the store breaks off after search was switched to it, and what becomes of its document meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from freshd.errors import StoreUnavailable
from freshd.ledger.forgetting import SqliteForgetting
from freshd.model import ChangeKind, Coverage, DocumentId, OutcomeKind
from freshd.pipeline.removal import Removal
from freshd.scheduler.indexer import Indexer
from tests.scheduler.parts import SOURCE, Bench, MemorySource, down, eventually, store_down

NAMES = [f"{n:02}.md" for n in range(30)]
EDITED = DocumentId(NAMES[7])
AS_EDITED = frozenset({"Second text.", "Another part."})
AS_EDITED_AGAIN = frozenset({"Third text."})


class Broken(Bench):
    """An index in which an edit became searchable, and then the store answered no more."""

    def __init__(self, folder: Path, call: str) -> None:
        super().__init__(folder)
        self.index_all(NAMES)
        self.source.write(EDITED, "# One\n\nSecond text.\n\n# Two\n\nAnother part.\n")
        self.scan()
        self.store.fails[call] = store_down()

    def breaks_off(self, indexer: Indexer) -> None:
        eventually(lambda: indexer.trouble and self.shown() == AS_EDITED)
        assert not self.admission.is_settled

    def shown(self) -> frozenset[str]:
        """Every passage that search shows of the document, under whichever name."""
        while True:
            epoch, points = self.admission.epoch, dict(self.store.points)
            admitted = self.admission.admits(sorted(points))
            if self.admission.epoch == epoch:
                texts = {points[chunk_id].payload["page_content"] for chunk_id in admitted}
                return frozenset(text for text in texts if not text.startswith("Text of") or EDITED in text)


@pytest.fixture(params=["remove", "flush"])
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broken]:
    with closing(Broken(tmp_path, request.param)) as bench:
        yield bench


def nothing_else_happens(broken: Broken) -> None:
    pass


def it_is_edited_again(broken: Broken) -> None:
    broken.source.write(EDITED, "# One\n\nThird text.\n")


def it_is_put_back_as_it_was(broken: Broken) -> None:
    broken.source.write(EDITED)


def it_cannot_be_parsed_any_more(broken: Broken) -> None:
    broken.source.write(EDITED, "\0" * 99)


def it_is_renamed(broken: Broken) -> None:
    broken.source.rename(EDITED, "elsewhere.md")


def it_is_deleted(broken: Broken) -> None:
    broken.source.delete(EDITED)


def it_is_deleted_with_so_many_that_a_person_is_asked(broken: Broken) -> None:
    for name in NAMES:
        broken.source.delete(name)


def it_vanishes_before_anybody_looks(broken: Broken) -> None:
    broken.source.before_read = lambda _: broken.source.delete(EDITED)


def its_source_goes_away(broken: Broken) -> None:
    def refuse(_: object) -> None:
        raise down()

    broken.source.before_read = refuse


WHENS: list[tuple[Callable[[Broken], None], frozenset[str]]] = [
    (nothing_else_happens, AS_EDITED),
    (it_is_edited_again, AS_EDITED_AGAIN),
    (it_is_put_back_as_it_was, frozenset({f"Text of {EDITED}."})),
    (it_cannot_be_parsed_any_more, AS_EDITED),
    (it_is_renamed, AS_EDITED),
    (it_is_deleted, frozenset()),
    (it_is_deleted_with_so_many_that_a_person_is_asked, AS_EDITED),
    (it_vanishes_before_anybody_looks, AS_EDITED),
    (its_source_goes_away, AS_EDITED),
]


@pytest.mark.parametrize(("when", "ends"), WHENS, ids=lambda one: getattr(one, "__name__", ""))
def test_the_ledger_learns_of_what_search_shows_once_the_store_answers(
    broken: Broken, when: Callable[[Broken], None], ends: frozenset[str]
) -> None:
    """Else no new generation could take over; and search shows one whole revision all the while, never an older one."""
    seen = set()
    with broken.running() as indexer:
        broken.breaks_off(indexer)
        when(broken)
        broken.scan()
        assert broken.shown() == AS_EDITED
        broken.store.fails.clear()
        eventually(lambda: seen.add(broken.shown()) or (broken.admission.is_settled and broken.shown() == ends))
    assert seen <= {AS_EDITED, ends}
    assert broken.admission.is_settled
    done = [one.kind for one, _ in broken.outcomes if one.change.document_id == EDITED]
    assert done[0] is OutcomeKind.INDEXED


def test_what_is_forgotten_while_the_store_is_down_is_shown_no_more(broken: Broken) -> None:
    """Not even what the ledger does not know of yet; and nothing is left to be finished once it is gone."""
    forgetting = SqliteForgetting(broken.database)
    with broken.running() as indexer:
        broken.breaks_off(indexer)
        forgetting.forget(SOURCE, [EDITED])
        assert broken.shown() == frozenset()
        assert broken.admission.is_settled
        broken.store.fails.clear()
        eventually(lambda: indexer.trouble is None)
        stores = [broken.store]
        removal = Removal(forgetting=forgetting, stores=lambda: stores, expunge=lambda _: 0, cache=broken.cache)
        indexer.between_batches(removal.finish)
    assert EDITED not in broken.store.documents()
    assert broken.shown() == frozenset()
    assert broken.admission.is_settled


def one_of_its_passages(source: MemorySource) -> None:
    source.write(EDITED, "First text.\n\n# Two\n\nSecond text.\n")


def what_it_is_called(source: MemorySource) -> None:
    """As feeds do, which cite a headline; what is read of the text is the same."""
    source.coverage, source.title = Coverage.WINDOW, "Another headline"
    source.write(EDITED, source.documents[EDITED].text)


@pytest.mark.parametrize(
    ("text", "changes"),
    [("First text.\n\n# Two\n\nAnother part.\n", one_of_its_passages), ("Only text.\n", what_it_is_called)],
    ids=["a passage", "a headline"],
)
def test_what_a_killed_process_said_of_a_document_is_taken_back_with_it(
    tmp_path: Path, text: str, changes: Callable[[MemorySource], None]
) -> None:
    """Its passages that stay had been told already."""
    with closing(Bench(tmp_path)) as killed:
        killed.source.write(EDITED, text)
        killed.index_all(NAMES[:5])
        before = said_of(killed)
        changes(killed.source)
        killed.scan()
        killed.store.fails["flush"] = store_down()
        with pytest.raises(StoreUnavailable):
            killed.apply()
        assert said_of(killed) != before
    with closing(Bench(tmp_path)) as bench:
        bench.store.points, bench.source.documents = killed.store.points, killed.source.documents
        bench.source.coverage, bench.source.versions = killed.source.coverage, killed.source.versions
        bench.source.write(EDITED, text)
        bench.clock.advance(timedelta(hours=1))
        bench.scan()
        bench.apply()
        assert said_of(bench) == before


def said_of(bench: Bench) -> set[tuple[str, str | None]]:
    """What all passages of the document say of it alike."""
    payloads = [point.payload for point in bench.store.points.values() if EDITED in point.payload["doc_id"]]
    return {(payload["content_sha256"], payload["metadata"].get("title")) for payload in payloads}


def test_a_deletion_that_was_broken_off_is_finished_although_the_document_is_back(tmp_path: Path) -> None:
    """Search shows nothing of it already; it is found again, and added anew."""
    with closing(Bench(tmp_path)) as bench:
        bench.index_all(NAMES)
        bench.source.delete(EDITED)
        bench.scan()
        bench.store.fails["flush"] = store_down()
        with bench.running() as indexer:
            eventually(lambda: indexer.trouble)
            bench.source.write(EDITED, "# One\n\nThird text.\n")
            bench.scan()
            bench.store.fails.clear()
            eventually(lambda: bench.pending() == {} and bench.admission.is_settled)
        assert EDITED in bench.store.documents()
        kinds = [outcome.change.kind for outcome, _ in bench.outcomes]
        assert kinds == [ChangeKind.DELETED, ChangeKind.ADDED]
