"""What a run says it did: each document once, by what became of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from freshd.model import Change, ChangeKind, DocumentId, Fates, Outcome, OutcomeKind, Pending
from freshd.scheduler import Tally
from freshd.scheduler.tally import Failure
from tests.scheduler.parts import SOURCE

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ADDED, MODIFIED, DELETED = ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED
INDEXED, TOUCHED, FAILED = OutcomeKind.INDEXED, OutcomeKind.TOUCHED, OutcomeKind.FAILED


EMBEDDED = Fates(embedded=1)


def outcome(kind: ChangeKind, became: OutcomeKind, fates: Fates = EMBEDDED, name: str = "a.md") -> Outcome:
    return Outcome(Change(SOURCE, DocumentId(name), kind, None, NOON, NOON), became, fates)


def counted(*outcomes: Outcome, target: timedelta | None = MINUTE) -> Tally:
    tally = Tally(SOURCE)
    for n, one in enumerate(outcomes):
        tally.add(one, Pending(n, one.change, target))
    return tally


@pytest.mark.parametrize(
    ("outcomes", "counts"),
    [
        ([outcome(ADDED, INDEXED), outcome(MODIFIED, TOUCHED)], {"added": 1}),
        ([outcome(ADDED, INDEXED), outcome(MODIFIED, INDEXED)], {"added": 1}),
        ([outcome(MODIFIED, TOUCHED), outcome(MODIFIED, INDEXED)], {"modified": 1}),
        ([outcome(MODIFIED, INDEXED), outcome(MODIFIED, TOUCHED)], {"modified": 1}),
        ([outcome(MODIFIED, INDEXED), outcome(DELETED, OutcomeKind.DELETED)], {"deleted": 1}),
        ([outcome(ADDED, FAILED), outcome(ADDED, FAILED), outcome(ADDED, INDEXED)], {"added": 1}),
        ([outcome(ADDED, FAILED), outcome(ADDED, FAILED)], {"failed": 1}),
        ([outcome(MODIFIED, INDEXED), outcome(MODIFIED, FAILED)], {"failed": 1}),
        ([outcome(MODIFIED, OutcomeKind.SUPERSEDED)], {}),
    ],
    ids=lambda value: None if isinstance(value, list) else "-".join(value) or "nothing",
)
def test_a_document_worked_on_twice_counts_once(outcomes: list[Outcome], counts: dict[str, int]):
    assert dict(counted(*outcomes).documents) == counts


def test_a_document_read_anew_that_stands_as_it_did_is_unchanged():
    """As `--full` does; a live edit that moves no chunk is an edit all the same, and so is a chunk that changed."""
    kept = outcome(MODIFIED, INDEXED, Fates(kept=3))
    assert counted(kept, target=None).documents == {"unchanged": 1}
    assert counted(kept).documents == {"modified": 1}
    assert counted(outcome(MODIFIED, INDEXED, Fates(kept=3, relabelled=1)), target=None).documents == {"modified": 1}
    assert counted(outcome(ADDED, INDEXED, Fates()), target=None).documents == {"added": 1}


@pytest.mark.parametrize(
    "error",
    ["a.md: got 9 bytes, expected 5", "document 'a.md': got 9 bytes, expected 5", "got 9 bytes, expected 5"],
)
def test_an_error_names_its_document_once_and_carries_what_mends_it(error: str):
    tally = counted(replace(outcome(ADDED, FAILED), error=error, hint="exclude it"))
    assert tally.errors == [Failure("docs/a.md: got 9 bytes, expected 5", "exclude it")]


def test_what_only_repeats_the_sources_own_error_is_not_said_again():
    """Where a source is away, every document that is read fails with the same words."""
    tally = counted(
        replace(outcome(ADDED, FAILED), error="root: gone"),
        replace(outcome(ADDED, FAILED, name="b.md"), error="no text"),
    )
    tally.troubles.append(Failure("docs: root: gone", "mount it"))
    assert tally.errors == [Failure("docs: root: gone", "mount it"), Failure("docs/b.md: no text")]
    assert tally.documents["failed"] == 2
