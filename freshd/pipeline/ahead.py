"""Documents of far sources that are read early for another generation: few at a time, and used as they come.

To go round all that wait for their turn each time that a few were read would take the square of them.
"""

from collections.abc import Callable, Set
from typing import Final, Protocol, runtime_checkable

from freshd.model import DocumentRef

_AT_ONCE: Final = 4
"""Of one source: what it brings meanwhile finds room beside them, which may not be used for long."""


@runtime_checkable
class ReadsAhead(Protocol):
    """A connector of a source on the network, whose reads can be begun early."""

    def begin(self, ref: DocumentRef, on_read: Callable[[], None], *, may_wait: bool) -> bool:
        """Begin to read, if there is room; `on_read` is called once `read` will answer at once."""
        ...

    def is_begun(self, ref: DocumentRef) -> bool:
        """Whether a read of this state was begun, and neither used nor let go of."""
        ...

    def is_read(self, ref: DocumentRef) -> bool:
        """Whether `read` answers from what was begun, and at once."""
        ...

    def let_go(self, ref: DocumentRef) -> None:
        """Forget a read that was begun and is not wanted any more."""
        ...


class Ahead:
    """What was begun, by the numbers of documents. Used from one thread."""

    def __init__(self, on_read: Callable[[], None]) -> None:
        """Begin with nothing; `on_read` is called, from any thread, whenever something is at hand."""
        self._on_read = on_read
        self._begun: dict[int, tuple[ReadsAhead, DocumentRef]] = {}
        self._refused: set[ReadsAhead] = set()
        self._has_news = False

    @property
    def has_any_at_hand(self) -> bool:
        """Whether something was read and not used yet."""
        return any(connector.is_read(ref) for connector, ref in self._begun.values())

    def has_room_again(self) -> bool:
        """Tell whether something for which there was no room since this was asked can be begun by now."""
        refused, self._refused = self._refused, set()
        return any(self._n_begun(connector) < _AT_ONCE for connector in refused)

    def first_since(self) -> int | None:
        """Give the lowest number that is at hand; None where nothing came since this was asked."""
        if not self._has_news:
            return None
        self._has_news = False
        return min((doc for doc, (connector, ref) in self._begun.items() if connector.is_read(ref)), default=None)

    def is_worth_a_look(self, doc: int, ref: DocumentRef, connector: ReadsAhead) -> bool:
        """Tell whether a document is at hand, or can be begun; not what is on its way."""
        return connector.is_read(ref) or (not connector.is_begun(ref) and self._has_room(doc, connector))

    def is_at_hand(self, doc: int, ref: DocumentRef, connector: ReadsAhead) -> bool:
        """Tell whether a document can be read at once, and begin if not."""
        is_read = connector.is_read(ref)
        if is_read:
            self._begun.pop(doc, None)
        elif self._has_room(doc, connector) and connector.begin(ref, self._was_read, may_wait=True):
            self._begun[doc] = connector, ref  # in place of an earlier state
        return is_read

    def let_go(self, *, but: Set[int] = frozenset()) -> None:
        """Forget what is not wanted any more."""
        for doc in self._begun.keys() - but:
            connector, ref = self._begun.pop(doc)
            connector.let_go(ref)

    def _has_room(self, doc: int, connector: ReadsAhead) -> bool:
        has_room = self._n_begun(connector, but=doc) < _AT_ONCE
        if not has_room:
            self._refused.add(connector)
        return has_room

    def _n_begun(self, connector: ReadsAhead, *, but: int | None = None) -> int:
        others = (one for doc, one in self._begun.items() if doc != but)
        return sum(one is connector and one.is_begun(ref) for one, ref in others)

    def _was_read(self) -> None:
        self._has_news = True
        self._on_read()
