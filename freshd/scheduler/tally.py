"""What is kept fresh, and what one run did to it."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

from freshd.model import Fates, Outcome, OutcomeKind, SourceName
from freshd.ports import Connector


@dataclass(frozen=True, slots=True)
class Target:
    """A source to keep fresh.

    Attributes:
        freshness: Within which a change should be searchable.
        poll_interval: Between two scans, where the operator says so; None leaves it to the target.

    """

    name: SourceName
    connector: Connector
    freshness: timedelta
    poll_interval: timedelta | None = None


@dataclass(slots=True)
class Tally:
    """What one run did to one source.

    Attributes:
        documents: Counts by change kind, and of touched, unchanged, failed, held.
        errors: One line for each document or source that could not be read.

    """

    source: SourceName
    documents: Counter[str] = field(default_factory=Counter)
    fates: Fates = field(default_factory=Fates)
    embedded_characters: int = 0
    elapsed_s: float = 0.0
    errors: list[str] = field(default_factory=list)
    is_available: bool = True

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.fates += outcome.fates
        self.embedded_characters += outcome.embedded_characters
        if outcome.kind is OutcomeKind.FAILED:
            self.documents["failed"] += 1
            self.errors.append(f"{outcome.change.source}/{outcome.change.document_id}: {outcome.error}")
        elif outcome.kind is OutcomeKind.TOUCHED:
            self.documents["touched"] += 1
        elif outcome.kind is not OutcomeKind.SUPERSEDED:
            self.documents[outcome.change.kind.value] += 1
