"""Reading ahead from servers, so that a slow one never holds up the thread that writes the store."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from freshd.errors import SourceUnavailable
from freshd.model import Document, DocumentId, DocumentRef, Listing
from freshd.ports import Connector, Remote

_OUTSTANDING = 16
"""Reads begun and not yet used, of one source; bounds memory and what is read in vain after a crash."""

_MAY_WAIT = 8
"""Of them: what nobody hurries for is used while nothing else is due, which may be in hours."""


@dataclass(frozen=True, slots=True)
class _Begun:
    fingerprint: str
    may_wait: bool
    future: Future[Document]


class ReadAhead:
    """A remote connector whose reads can be begun early; otherwise the connector itself. One read at a time.

    Whoever begins a read uses it, by `read`, or lets go of it: there is room for so many only.
    """

    def __init__(self, connector: Connector) -> None:
        """Wrap a connector, which must be a `Remote` too."""
        if not isinstance(connector, Remote):
            raise TypeError("only what is far away is read ahead")
        self.coverage = connector.coverage
        self.least_interval: timedelta = connector.least_interval
        self.host: str = connector.host
        self._connector = connector
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._lock = threading.Lock()
        self._begun: dict[DocumentId, _Begun] = {}

    @property
    def is_full(self) -> bool:
        """Whether no further read should be begun now."""
        return len(self._begun) >= _OUTSTANDING

    def has_room(self, *, may_wait: bool) -> bool:
        """Whether a read that may wait to be used, or one that may not, should be begun now."""
        with self._lock:
            return self._has_room(may_wait)

    def _has_room(self, may_wait: bool) -> bool:
        return not self.is_full and not (may_wait and sum(one.may_wait for one in self._begun.values()) >= _MAY_WAIT)

    def begin(self, ref: DocumentRef, on_read: Callable[[], None], *, may_wait: bool = False) -> bool:
        """Begin to read, if there is room; tell whether it is begun.

        What was begun of another state of the document is let go of: nobody will ask for that any more.

        Args:
            ref: What to read.
            on_read: Called once `read` will answer at once, be it with an error.
            may_wait: It may be long until it is used; there is less room for such.

        """
        with self._lock:
            begun = self._begun.get(ref.document_id)
            if begun is None and not self._has_room(may_wait):
                return False
            if begun is None or begun.fingerprint != ref.fingerprint:
                if begun is not None:
                    begun.future.cancel()
                begun = _Begun(ref.fingerprint, may_wait, self._threads.submit(self._connector.read, ref))
                self._begun[ref.document_id] = begun
        begun.future.add_done_callback(lambda _: on_read())
        return True

    def is_begun(self, ref: DocumentRef) -> bool:
        """Whether a read of this state was begun, and neither used nor let go of."""
        return self._held(ref) is not None

    def is_read(self, ref: DocumentRef) -> bool:
        """Whether `read` answers from what was begun, and at once."""
        held = self._held(ref)
        return held is not None and held.done()

    def read(self, ref: DocumentRef) -> Document:
        """Give what was read ahead, else read now; see `ports.Connector.read`.

        Of a source that is away nothing else that was begun is kept: it is read once that is wanted again.
        """
        future = self._taken(ref)
        try:
            return self._connector.read(ref) if future is None else future.result()
        except SourceUnavailable:
            self._let_go_of_all()
            raise

    def let_go(self, ref: DocumentRef) -> None:
        """Forget a read that was begun and is not wanted any more; idempotent."""
        future = self._taken(ref)
        if future is not None:
            future.cancel()

    def _held(self, ref: DocumentRef) -> Future[Document] | None:
        begun = self._begun.get(ref.document_id)
        return begun.future if begun is not None and begun.fingerprint == ref.fingerprint else None

    def _taken(self, ref: DocumentRef) -> Future[Document] | None:
        with self._lock:
            future = self._held(ref)
            if future is not None:
                del self._begun[ref.document_id]
        return future

    def _let_go_of_all(self) -> None:
        with self._lock:
            begun, self._begun = self._begun, {}
        for one in begun.values():
            one.future.cancel()

    def list(self, scope: str | None = None, cursor: str | None = None) -> Listing:
        """Show what the source holds now; see `ports.Connector.list`."""
        return self._connector.list(scope, cursor)

    def is_gone(self, document_id: DocumentId) -> bool:
        """Tell whether the document is certainly absent now."""
        return self._connector.is_gone(document_id)

    def close(self) -> None:
        """Let go of everything; a read under way ends by its own deadline; idempotent."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._connector.close()
