"""What a look at a source means, held against what the ledger knew."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.changes import Look, change_of, clamp, deletion_of, is_proof, merge
from freshd.model import ChangeKind, Coverage, DocumentId, DocumentRef, Known, ListingReport, SourceName

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LOOK = Look(SourceName("handbook"), NOON - HOUR, NOON)
FIRST_LOOK = Look(SourceName("handbook"), None, NOON)
COMPLETE = ListingReport(is_complete=True)

ids = st.sets(st.text("ab/.é", min_size=1, max_size=4))


def ref(name: str, fingerprint: str = "1", changed_at: datetime | None = None, is_racy: bool = False) -> DocumentRef:
    return DocumentRef(DocumentId(name), fingerprint, changed_at, is_racy=is_racy)


def known(
    name: str = "a.md", fingerprint: str | None = "1", *, is_racy: bool = False, is_applied: bool = True
) -> Known:
    return Known(DocumentId(name), fingerprint, None, is_racy, is_applied)


@given(ids, ids)
def test_two_rising_streams_are_joined_without_loss_and_in_order(listed: set[str], held: set[str]):
    pairs = list(merge((ref(i) for i in sorted(listed)), (known(i) for i in sorted(held))))
    names = [(shown or met).document_id for shown, met in pairs]
    assert names == sorted(listed | held)
    assert {shown.document_id for shown, _ in pairs if shown} == listed
    assert {met.document_id for _, met in pairs if met} == held
    assert all(shown.document_id == met.document_id for shown, met in pairs if shown and met)


@pytest.mark.parametrize("names", [("b", "a"), ("a", "a")], ids=["falls", "repeats"])
def test_a_stream_that_does_not_rise_is_refused_before_it_invents_deletions(names: tuple[str, str]):
    with pytest.raises(ValueError, match="out of order"):
        list(merge([ref(name) for name in names], []))
    with pytest.raises(ValueError, match="out of order"):
        list(merge([], [known(name) for name in names]))


def test_joining_reads_no_further_than_it_has_to():
    """A million documents must cost no more memory than one."""
    read = []

    def stream() -> Iterable[DocumentRef]:
        for number in range(1000):
            read.append(number)
            yield ref(f"{number:04}")

    pairs = merge(stream(), [])
    next(pairs)
    assert len(read) <= 2


@pytest.mark.parametrize(
    ("before", "now", "kind"),
    [
        (None, ref("a.md"), ChangeKind.ADDED),
        (known(), ref("a.md"), None),
        (known(), ref("a.md", "2"), ChangeKind.MODIFIED),
        (known(is_racy=True), ref("a.md"), ChangeKind.MODIFIED),
        (known(), ref("a.md", is_racy=True), None),
        (known(is_applied=False), ref("a.md"), None),
        (known(is_applied=False), ref("a.md", "2"), ChangeKind.ADDED),
        (known(fingerprint=None), ref("a.md"), ChangeKind.MODIFIED),
        (known(fingerprint=None, is_applied=False), ref("a.md"), ChangeKind.ADDED),
        (known(fingerprint=""), ref("a.md"), ChangeKind.MODIFIED),
    ],
    ids=[
        "never seen",
        "unchanged",
        "other fingerprint",
        "equal, but the last look was racy",
        "equal, and this look is racy",
        "found before and not applied yet",
        "found before, not applied, other fingerprint",
        "back before its deletion was applied",
        "back after its deletion was recorded",
        "dropped",
    ],
)
def test_a_listed_document_is_what_its_fingerprint_says(before: Known | None, now: DocumentRef, kind: ChangeKind):
    change = change_of(now, before, LOOK)
    assert (change and change.kind) == kind
    if change is not None:
        assert (change.source, change.document_id, change.ref) == (LOOK.source, "a.md", now)
        assert change.first_seen_at == NOON


def test_what_is_doubted_counts_from_the_look_that_doubts_it():
    """The source's instant is of the change that was seen then; counted from it, each file would be late."""
    long_ago = ref("a.md", changed_at=NOON - timedelta(minutes=4))
    change = change_of(long_ago, known(is_racy=True), LOOK)
    assert change is not None
    assert (change.is_doubted, change.changed_at, change.is_clamped) == (True, NOON, True)
    edited = change_of(ref("a.md", "2", changed_at=NOON), known(is_racy=True), LOOK)
    assert edited is not None
    assert not edited.is_doubted


def test_of_an_unchanged_document_nothing_but_id_and_fingerprint_is_asked():
    """A million of them are seen in one look."""

    class Glimpse:
        document_id, fingerprint = "a.md", "1"

    ((seen, met),) = merge([Glimpse()], [known()])
    assert change_of(seen, met, LOOK) is None


@pytest.mark.parametrize(
    ("claimed", "look", "believed"),
    [
        (NOON - timedelta(minutes=1), LOOK, (NOON - timedelta(minutes=1), False)),
        (NOON - HOUR, LOOK, (NOON - HOUR, False)),
        (NOON, LOOK, (NOON, False)),
        (NOON - timedelta(days=900), LOOK, (NOON - HOUR, True)),
        (NOON + timedelta(seconds=1), LOOK, (NOON, True)),
        (None, LOOK, (NOON, True)),
        (NOON - timedelta(days=900), FIRST_LOOK, (NOON - timedelta(days=900), False)),
        (NOON + timedelta(days=900), FIRST_LOOK, (NOON, True)),
        (NOON - HOUR, Look(LOOK.source, NOON, NOON), (NOON, True)),
        (NOON - HOUR, Look(LOOK.source, NOON + HOUR, NOON), (NOON - HOUR, False)),
    ],
    ids=[
        "between the looks",
        "at the last look",
        "at this look",
        "before a look that did not show it",
        "in the future",
        "none",
        "long ago at first sight",
        "in the future at first sight",
        "before two looks in one instant",
        "the clock was set back since the last look",
    ],
)
def test_an_instant_is_believed_only_between_two_looks(claimed: datetime | None, look: Look, believed: tuple):
    assert clamp(claimed, look.previous_at, look.seen_at) == believed
    change = change_of(ref("a.md", changed_at=claimed), None, look)
    assert change is not None
    assert (change.changed_at, change.is_clamped) == believed


@given(st.none() | st.datetimes(timezones=st.just(UTC)), st.none() | st.timedeltas(timedelta(0), timedelta(days=999)))
def test_a_change_instant_never_lies_outside_the_two_looks(claimed: datetime | None, ago: timedelta | None):
    lower = None if ago is None else NOON - ago
    instant, is_clamped = clamp(claimed, lower, NOON)
    assert instant <= NOON
    assert lower is None or instant >= lower
    assert is_clamped == (instant != claimed)


@pytest.mark.parametrize(
    ("document", "report", "coverage", "proves"),
    [
        (known(), COMPLETE, Coverage.FULL, True),
        (known(is_applied=False), COMPLETE, Coverage.FULL, True),
        (known(), COMPLETE, Coverage.WINDOW, False),
        (known(), ListingReport(is_complete=False), Coverage.FULL, False),
        (known(fingerprint=None), COMPLETE, Coverage.FULL, False),
        (known("sub/a.md"), ListingReport(True, unreadable=("sub",)), Coverage.FULL, False),
        (known("sub/a.md"), ListingReport(True, unreadable=("sub/a.md",)), Coverage.FULL, False),
        (known("sub/a.md"), ListingReport(True, unreadable=("",)), Coverage.FULL, False),
        (known("sub/a.md"), ListingReport(True, unreadable=("other", "su", "sub/a.md.bak")), Coverage.FULL, True),
        (known("sub-way.md"), ListingReport(True, unreadable=("sub",)), Coverage.FULL, True),
    ],
    ids=[
        "seen whole",
        "never applied",
        "a window",
        "incomplete",
        "recorded as deleted already",
        "in a folder that could not be read",
        "could not be read itself",
        "nothing could be read",
        "other places could not be read",
        "a neighbour whose name begins alike",
    ],
)
def test_absence_proves_deletion_only_where_everything_was_seen(
    document: Known, report: ListingReport, coverage: Coverage, proves: bool
):
    assert is_proof(document, report, coverage) is proves


@pytest.mark.parametrize(
    ("event_at", "look", "believed"),
    [
        (NOON - timedelta(minutes=1), LOOK, (NOON - timedelta(minutes=1), False)),
        (None, LOOK, (NOON - HOUR, False)),
        (NOON + HOUR, LOOK, (NOON, True)),
        (NOON - 2 * HOUR, LOOK, (NOON - HOUR, True)),
        (None, FIRST_LOOK, (NOON, True)),
    ],
    ids=[
        "an event",
        "no event: the last look still showed it",
        "an event from the future",
        "an event before the last look, which still showed it",
        "nothing known",
    ],
)
def test_a_deletion_happened_at_its_event_or_as_early_as_may_be(event_at: datetime | None, look: Look, believed: tuple):
    change = deletion_of(known(), look, event_at)
    assert (change.source, change.document_id) == (look.source, "a.md")
    assert (change.kind, change.ref) == (ChangeKind.DELETED, None)
    assert (change.changed_at, change.is_clamped) == believed
    assert change.first_seen_at == NOON
