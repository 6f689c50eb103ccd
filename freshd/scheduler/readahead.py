"""Reading ahead from servers, so that a slow one never holds up the thread that writes the store."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from freshd.model import Document, DocumentId, DocumentRef, Listing
from freshd.ports import Connector, Remote

_OUTSTANDING = 16
"""Reads begun and not yet used, of one source; bounds memory and what is read in vain after a crash."""


@dataclass(frozen=True, slots=True)
class _Begun:
    fingerprint: str
    future: Future[Document]


class ReadAhead:
    """A remote connector whose reads can be begun early; otherwise the connector itself. One read at a time."""

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

    def begin(self, ref: DocumentRef, on_read: Callable[[], None]) -> None:
        """Begin to read; `on_read` is called once `read` will answer at once, be it with an error.

        What was begun of another state of the document is let go of: nobody will ask for that any more.
        """
        with self._lock:
            begun = self._begun.get(ref.document_id)
            if begun is None or begun.fingerprint != ref.fingerprint:
                if begun is not None:
                    begun.future.cancel()
                begun = _Begun(ref.fingerprint, self._threads.submit(self._connector.read, ref))
                self._begun[ref.document_id] = begun
        begun.future.add_done_callback(lambda _: on_read())

    def read(self, ref: DocumentRef) -> Document:
        """Give what was read ahead, else read now; see `ports.Connector.read`."""
        with self._lock:
            begun = self._begun.get(ref.document_id)
            if begun is not None and begun.fingerprint == ref.fingerprint:
                del self._begun[ref.document_id]
            else:
                begun = None
        return self._connector.read(ref) if begun is None else begun.future.result()

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
