"""What leading from one generation to the next needs of others, as Protocols, and what it tells of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from freshd.admission import Admission
from freshd.ledger.generations import Generation
from freshd.ports import Store


class PublicStore(Store, Protocol):
    """A store that somebody else may read as well, and that may have to be looked after."""

    def publish(self) -> None:
        """Have others find it under the name that the config gives; idempotent."""
        ...

    def compact(self) -> bool:
        """Do a bounded piece of giving back what removed points left, if that is much; tell whether there is more.

        Raises:
            StoreError: It does not go on; no point is lost.

        """
        ...


class Opened(Protocol):
    """A generation that is open."""

    @property
    def record(self) -> Generation:
        """What it is."""
        ...

    @property
    def store(self) -> PublicStore:
        """Where its points are."""
        ...

    @property
    def admission(self) -> Admission:
        """What search may show of it."""
        ...

    def close(self) -> None:
        """Let go of it; idempotent."""
        ...


class Fills(Protocol):
    """Brings one generation up to another; see `pipeline.filling.Filler`."""

    @property
    def is_near(self) -> bool:
        """Whether so little is left that it may be done in one go."""
        ...

    @property
    def failed(self) -> int:
        """How many documents were put off because they failed."""
        ...

    @property
    def error(self) -> str | None:
        """Why one failed last."""
        ...

    def step(self, between: Callable[[], None]) -> bool:
        """Do a bounded piece; tell whether there was one."""
        ...

    def catch_up(self) -> bool:
        """Do the rest in one go; tell whether nothing is left."""
        ...

    def close(self) -> None:
        """Let go of what was begun; what was filled in stays."""
        ...


G = TypeVar("G", bound=Opened)


@dataclass(frozen=True, slots=True)
class Means(Generic[G]):
    """What leads from one generation to the next.

    Attributes:
        open: Makes what works on a generation; nothing is touched yet.
        store: Makes no more than its store; likewise.
        filler: Makes what fills the second from the first.
        discard: Deletes a collection of this ledger's by its name; an absent one is no error.
        is_kept: Whether stores keep what they are given.

    """

    open: Callable[[Generation], G]
    store: Callable[[Generation], Store]
    filler: Callable[[G, G], Fills]
    discard: Callable[[str], None]
    is_kept: bool = True


@dataclass(frozen=True, slots=True)
class Filling:
    """How the filling goes on, as only the process knows that does it.

    Attributes:
        failed: Documents that were put off because they failed.
        eta_s: Seconds that the rest will take, about; None while nobody can tell.
        error: Why it does not go on, or why a document failed last; None while all is well.

    """

    failed: int
    eta_s: float | None
    error: str | None
