"""What is kept fresh, and what one run did to it."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

from freshd.model import ChangeKind, DocumentId, Fates, Outcome, OutcomeKind, Pending, SourceName
from freshd.ports import Connector


@dataclass(frozen=True, slots=True)
class Target:
    """A source to keep fresh.

    Attributes:
        freshness: Within which a change should be searchable.
        poll_interval: Between two scans, where the operator says so; None leaves it to the target.
        keep_for: How long a document stays that a window does not show any more; None for ever.

    """

    name: SourceName
    connector: Connector
    freshness: timedelta
    poll_interval: timedelta | None = None
    keep_for: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """What could not be read, and what mends that.

    Attributes:
        error: Where and why, in one line.
        hint: Empty when nothing but waiting mends it.

    """

    error: str
    hint: str = ""


_AFTERTHOUGHTS = frozenset({"unchanged", "touched", "modified"})
"""What may become of a document after something else did in the same run; the first tells more."""


@dataclass(slots=True)
class Tally:
    """What one run did to one source; each document counts once, by what became of it.

    Attributes:
        became: Of the documents that were worked on, what: a change kind, touched, or unchanged.
        failures: Of the documents that cannot be read right now.
        troubles: Of the source as a whole.
        unchanged: How many stand in the index as they were, without those in `became`.

    """

    source: SourceName
    became: dict[DocumentId, str] = field(default_factory=dict)
    failures: dict[DocumentId, Failure] = field(default_factory=dict)
    troubles: list[Failure] = field(default_factory=list)
    unchanged: int = 0
    held: int = 0
    fates: Fates = field(default_factory=Fates)
    embedded_characters: int = 0
    elapsed_s: float = 0.0
    is_available: bool = True

    def add(self, outcome: Outcome, pending: Pending) -> None:
        """Count one outcome, and what it is the outcome of."""
        self.fates += outcome.fates
        self.embedded_characters += outcome.embedded_characters
        document_id = outcome.change.document_id
        if outcome.kind is OutcomeKind.FAILED:
            self.failures[document_id] = Failure(outcome.error or "failed", outcome.hint or "")
        elif outcome.kind is not OutcomeKind.SUPERSEDED:
            self.failures.pop(document_id, None)
            became = _became(outcome, pending)
            if became not in _AFTERTHOUGHTS or self.became.get(document_id) in (None, "unchanged", "touched"):
                self.became[document_id] = became

    @property
    def documents(self) -> Counter[str]:
        """Counts by change kind, and of touched, unchanged, failed, held."""
        counts = Counter(what for document_id, what in self.became.items() if document_id not in self.failures)
        counts["unchanged"] += self.unchanged
        return counts + Counter(failed=len(self.failures), held=self.held)

    @property
    def errors(self) -> list[Failure]:
        """Everything that could not be read, the source as a whole first; what only repeats that is left out."""
        lines = [*self.troubles]
        for document_id, failure in self.failures.items():
            if not any(failure.error in trouble.error for trouble in self.troubles):
                lines.append(Failure(f"{self.source}/{document_id}: {why(document_id, failure.error)}", failure.hint))
        return lines


def why(document_id: DocumentId, error: str) -> str:
    """Leave the document's name out of an error that begins with it, for it is said already."""
    return error.removeprefix(f"{document_id}: ").removeprefix(f"document {document_id!r}: ")


def _became(outcome: Outcome, pending: Pending) -> str:
    """Name what became of a document; one that was only read anew, and stands as it did, is unchanged."""
    if outcome.kind is OutcomeKind.TOUCHED:
        return "touched"
    is_reread = pending.target is None and outcome.change.kind is ChangeKind.MODIFIED
    is_kept = outcome.fates == Fates(kept=outcome.fates.kept)
    return "unchanged" if is_reread and is_kept else outcome.change.kind.value
