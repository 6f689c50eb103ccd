"""What a verify comes to: how points can be other than the ledger says, one by one and counted."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from freshd.errors import EmbedderUnavailable, StoreError, StoreUnavailable
from freshd.ledger.proofs import Claim
from freshd.model import ChunkId, Point

MAX_EXAMPLES = 100
"""Divergent points named one by one; the rest is counted."""


class NotVerified(StoreUnavailable):
    """Not all of it could be looked at, so that nothing is known of the rest."""

    exit_code = 3


class Kind(StrEnum):
    """How a point can be other than the ledger says."""

    MISSING = "missing"
    """The ledger holds it, the store does not."""
    ORPHANED = "orphaned"
    """The store holds it, the ledger does not know it."""
    DAMAGED = "damaged"
    """It has another payload than was written, or another vector."""


class Divergence(NamedTuple):
    """One point that is not what the ledger says.

    Attributes:
        source: Empty where nobody knows it.
        document_id: Likewise.
        what: In which it differs, or why it could not be mended; empty where the kind says it all.

    """

    kind: Kind
    chunk_id: ChunkId
    source: str
    document_id: str
    what: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A divergent point, with what it takes to mend it.

    Attributes:
        claim: What the ledger says of it; None for an orphan.
        point: As it must have been, made anew from what its payload still proves; None where only its source can tell.

    """

    divergence: Divergence
    claim: Claim | None = None
    point: Point | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What a run came to.

    Attributes:
        began_at: By freshd's clock.
        elapsed: Pauses included.
        checked: Points looked at, those that only one side has among them.
        divergent: Found, by kind.
        left: Of those, what differs still; as many unless something was mended.
        by_source: What differs still of each source that has any; empty text for those that name none.
        examples: The first of what differs still, at most `MAX_EXAMPLES`.
        foreign: Points that nothing says are freshd's; nobody ever touches them.
        held: Orphans that are left because they are more than the guard lets pass.

    """

    began_at: datetime
    elapsed: timedelta
    checked: int
    divergent: Mapping[Kind, int]
    left: Mapping[Kind, int]
    by_source: Mapping[str, int]
    examples: tuple[Divergence, ...]
    foreign: int = 0
    held: int = 0

    @property
    def repaired(self) -> int:
        """How many of the divergent points are as the ledger says again."""
        return sum(self.divergent.values()) - sum(self.left.values())


@dataclass(slots=True)
class Tally:
    """Counts divergent points, and names the first of them."""

    divergent: Counter[Kind] = field(default_factory=Counter)
    by_source: Counter[str] = field(default_factory=Counter)
    examples: list[Divergence] = field(default_factory=list)

    def add(self, divergence: Divergence) -> None:
        """Count one."""
        self.divergent[divergence.kind] += 1
        self.by_source[divergence.source] += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(divergence)

    def by_kind(self) -> dict[Kind, int]:
        """Give the count of every kind."""
        return {kind: self.divergent[kind] for kind in Kind}


@contextmanager
def or_not_verified() -> Iterator[None]:
    """Say of a store or a model that fails that nothing could be verified."""
    try:
        yield
    except NotVerified:
        raise
    except (StoreError, EmbedderUnavailable) as error:
        raise NotVerified(f"could not verify: {error}", hint=error.hint) from error
