"""What a look at a source means: listing × ledger → changes. Pure.

    listing (by document id) ─┐
                              ├─ merge ─▶ Pair ─▶ change_of ─▶ added, modified
    ledger  (by document id) ─┘             └───▶ absent    ─▶ deletion_of (only if absence is proof)

Both sides are streamed in one order, so a million documents cost no more memory than one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from freshd.model import (
    Change,
    ChangeKind,
    Coverage,
    DocumentId,
    DocumentRef,
    Known,
    ListingReport,
    SourceName,
)

_T = TypeVar("_T", DocumentRef, Known)


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


@dataclass(frozen=True, slots=True)
class Pair:
    """One document id on the two sides; at least one is there."""

    ref: DocumentRef | None
    known: Known | None


def merge(refs: Iterable[DocumentRef], known: Iterable[Known]) -> Iterator[Pair]:
    """Join two streams that rise by document id.

    Raises:
        ValueError: A stream does not rise strictly; going on would invent deletions.

    """
    left, right = _rising(refs), _rising(known)
    ref, held = next(left, None), next(right, None)
    while ref is not None or held is not None:
        if held is None or (ref is not None and ref.document_id < held.document_id):
            yield Pair(ref, None)
            ref = next(left, None)
        elif ref is None or held.document_id < ref.document_id:
            yield Pair(None, held)
            held = next(right, None)
        else:
            yield Pair(ref, held)
            ref, held = next(left, None), next(right, None)


def _rising(items: Iterable[_T]) -> Iterator[_T]:
    last: DocumentId | None = None
    for item in items:
        if last is not None and item.document_id <= last:
            raise ValueError(f"listing is out of order: {item.document_id!r} after {last!r}")
        last = item.document_id
        yield item


def change_of(pair: Pair, look: Look) -> Change | None:
    """Tell what a listed document's pair means; None when it is unchanged.

    An equal fingerprint is believed only if the last look was not racy.
    """
    ref, known = pair.ref, pair.known
    if ref is None:
        raise ValueError("an absent document is judged by deletion_of, once the listing has ended")
    if known is None or known.fingerprint is None:
        kind = ChangeKind.MODIFIED if known is not None and known.is_applied else ChangeKind.ADDED
    elif known.fingerprint != ref.fingerprint or known.is_racy:
        kind = ChangeKind.MODIFIED if known.is_applied else ChangeKind.ADDED
    else:
        return None
    changed_at, is_clamped = clamp(ref.changed_at, look.previous_at, look.seen_at)
    return Change(look.source, ref.document_id, kind, ref, changed_at, look.seen_at, is_clamped=is_clamped)


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
