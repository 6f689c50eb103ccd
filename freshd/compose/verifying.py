"""Puts a verify or a repair together from what is open."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from freshd.clock import SystemClock
from freshd.config import Config
from freshd.guard import Guard
from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.proofs import Proofs
from freshd.pipeline import Recipe
from freshd.ports import Store
from freshd.state import StateDirectory
from freshd.vectors import VectorCacheView
from freshd.verify import Making, Repair, Surroundings, Verified, Verifier


class Parts(Protocol):
    """The open parts that are held against each other: of the live generation."""

    @property
    def config(self) -> Config:
        """What is open."""
        ...

    @property
    def clock(self) -> SystemClock:
        """Freshd's."""
        ...

    @property
    def database(self) -> Database:
        """The ledger's file."""
        ...

    @property
    def ledger(self) -> SqliteLedger:
        """What the store must hold."""
        ...

    @property
    def store(self) -> Store:
        """What holds the points."""
        ...

    @property
    def recipe(self) -> Recipe:
        """What made the points."""
        ...


@dataclass(frozen=True, slots=True)
class Manner:
    """How to go about it.

    Attributes:
        is_deep: Hold vectors against the cache too.
        go_on: Called before every look; what it raises ends the run.
        pause: Waits some seconds after every answer, so that others get most of the store's time.
        on_progress: Hears points looked at, and points in all, about.

    """

    is_deep: bool = False
    go_on: Callable[[], None] = lambda: None
    pause: Callable[[float], object] = lambda _: None
    on_progress: Callable[[int, int], None] = lambda *_: None


def verify(parts: Parts, manner: Manner) -> Verified:
    """Hold the ledger against the store, point by point, changing neither.

    Raises:
        NotVerified: The store did not answer.

    """
    return _verifier(parts, manner).run()


def repair(parts: Parts, manner: Manner, surroundings: Surroundings, *, is_guarded: bool = True) -> Verified:
    """Do that, and make the store as the ledger says again.

    Args:
        parts: What is open.
        manner: How to look.
        surroundings: Who else is concerned.
        is_guarded: False removes all orphans, however many they are.

    Raises:
        NotVerified: The store did not answer; what was mended is.
        FreshdError: Nothing may be written now.

    """
    return Repair(
        verifier=_verifier(parts, manner, is_to_mend=True),
        ledger=parts.ledger,
        proofs=Proofs(parts.database),
        store=parts.store,
        guard=Guard(parts.config.guard.documents, parts.config.guard.share),
        clock=parts.clock,
        surroundings=surroundings,
        is_guarded=is_guarded,
    ).run()


def _verifier(parts: Parts, manner: Manner, *, is_to_mend: bool = False) -> Verifier:
    embedder, max_tokens = parts.recipe.embedder, parts.recipe.limits.max_tokens
    # A view: whatever verify looks at would count as used, and nothing would ever be the least recently used.
    cached = VectorCacheView(StateDirectory(parts.config.state_dir).vectors_path).get
    return Verifier(
        proofs=Proofs(parts.database),
        store=parts.store,
        making=Making(embedder, max_tokens, cached),
        clock=parts.clock,
        is_deep=manner.is_deep,
        is_to_mend=is_to_mend,
        go_on=manner.go_on,
        pause=manner.pause,
        on_progress=manner.on_progress,
    )
