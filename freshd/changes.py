"""What a look at a source means: listing × ledger → changes. Pure.

    listing (by document id) ─┐
                              ├─ merge ─▶ both   ─▶ change_of ─▶ added, modified
    ledger  (by document id) ─┘     └───▶ absent ─▶ deletion_of (only if absence is proof)

Both sides are streamed in one order, so a million documents cost no more memory than one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from freshd.model import (
    Change,
    ChangeKind,
    Coverage,
    DocumentId,
    DocumentRef,
    Known,
    ListingReport,
    Sighting,
    SourceName,
)


@dataclass(frozen=True, slots=True)
class Look:
    """When and how a source was looked at: what bounds every change found by it.

    Attributes:
        previous_at: Start of the previous complete listing, by freshd's clock; None if there was none.
        seen_at: Now, by freshd's clock.

    """

    source: SourceName
    previous_at: datetime | None
    seen_at: datetime


def clamp(claimed: datetime | None, lower: datetime | None, upper: datetime) -> tuple[datetime, bool]:
    """Bound an instant claimed by a source by what freshd itself can vouch for.

    Args:
        claimed: According to the source; None if it does not say.
        lower: Start of the previous complete listing, which did not show the change; None without one.
            One that lies ahead of `upper` is from a clock that was set back, and bounds nothing.
        upper: When freshd first saw the change.

    Returns:
        The change instant, and whether the claim was not believable (missing counts).

    """
    if claimed is None:
        return upper, True
    if claimed > upper:
        return upper, True
    if lower is not None and claimed < lower <= upper:
        return lower, True
    return claimed, False


def merge(seen: Iterable[Sighting], known: Iterable[Known]) -> Iterator[tuple[Sighting | None, Known | None]]:
    """Join two streams that rise by document id.

    Yields:
        One document id on the two sides; at least one is there.

    Raises:
        ValueError: A stream does not rise strictly; going on would invent deletions.

    """
    left, right = iter(seen), iter(known)
    shown, held = next(left, None), next(right, None)
    last = ""
    while (first := shown or held) is not None:
        here, there = shown, held
        if shown is not None and held is not None and shown.document_id != held.document_id:
            if shown.document_id < held.document_id:
                there = None
            else:
                here, first = None, held
        if first.document_id <= last:
            raise ValueError(f"listing is out of order: {first.document_id!r} after {last!r}")
        last = first.document_id
        yield here, there
        if here is not None:
            shown = next(left, None)
        if there is not None:
            held = next(right, None)


def change_of(seen: Sighting, known: Known | None, look: Look) -> Change | None:
    """Tell what a listed document means beside what is known of it; None when it is unchanged.

    An equal fingerprint is believed only if the last look was not racy. What is doubted counts from this look:
    the instant that the source tells is of the change that is known already.
    """
    is_doubted = known is not None and known.fingerprint == seen.fingerprint
    if known is None or known.fingerprint is None:
        kind = ChangeKind.MODIFIED if known is not None and known.is_applied else ChangeKind.ADDED
    elif known.is_racy or not is_doubted:
        kind = ChangeKind.MODIFIED if known.is_applied else ChangeKind.ADDED
    else:
        return None
    ref = DocumentRef.of(seen)
    changed_at, is_clamped = clamp(None if is_doubted else ref.changed_at, look.previous_at, look.seen_at)
    return Change(
        look.source, ref.document_id, kind, ref, changed_at, look.seen_at, is_clamped=is_clamped, is_doubted=is_doubted
    )


def is_proof(known: Known, report: ListingReport, coverage: Coverage) -> bool:
    """Tell whether this document's absence from the listing proves that it is gone."""
    return (
        coverage is Coverage.FULL
        and report.is_complete
        and known.fingerprint is not None
        and not any(_lies_in(known.document_id, place) for place in report.unreadable)
    )


def _lies_in(document_id: DocumentId, scope: str) -> bool:
    return scope == "" or document_id == scope or document_id.startswith(scope + "/")


def deletion_of(known: Known, look: Look, deleted_at: datetime | None) -> Change:
    """Make the change for a document proved gone; `deleted_at` is the event's instant, None without one."""
    changed_at, is_clamped = clamp(deleted_at or look.previous_at, look.previous_at, look.seen_at)
    return Change(
        look.source, known.document_id, ChangeKind.DELETED, None, changed_at, look.seen_at, is_clamped=is_clamped
    )
