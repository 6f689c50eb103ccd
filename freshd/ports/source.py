"""What reads a source, and what it is handed to do so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from freshd.model import Coverage, Document, DocumentId, DocumentRef, Fetched, Hint, Listing, SourceName
from freshd.ports.clock import Clock


class Connector(Protocol):
    """Reads one source. Lists, reads, decides nothing, keeps no record of what was indexed.

    Calls may come from several threads, but `list` never runs twice at once.
    """

    coverage: Coverage

    def list(self, scope: str | None = None, cursor: str | None = None) -> Listing:
        """Show what the source holds now, in rising order of document id.

        Args:
            scope: Only this document id and those that begin with it and a `/`; None for everything.
            cursor: What the last fully applied listing of everything returned; None at first.

        Returns:
            Lazily walked; each document once; a place that cannot be read is reported, not skipped.

        Raises:
            SourceUnavailable: While walking; nothing may be concluded from what was not seen.

        """
        ...

    def read(self, ref: DocumentRef) -> Document:
        """Read one document once; the result's `ref` describes exactly the bytes returned.

        Raises:
            DocumentGone: It is certainly not there any more.
            DocumentChanging: It changed while it was read; retryable.
            DocumentUnreadable: It is there but cannot be read; retryable.
            DocumentRefused: It breaks a limit; not retryable until it changes.
            SourceUnavailable: The source as a whole does not answer.

        """
        ...

    def is_gone(self, document_id: DocumentId) -> bool:
        """Tell whether the document is certainly absent now; any doubt is False.

        Raises:
            SourceUnavailable: The source as a whole does not answer.

        """
        ...

    def close(self) -> None:
        """Let go of everything; idempotent."""
        ...


class Watch(Protocol):
    """A running watch over a source."""

    @property
    def degraded(self) -> str | None:
        """Why hints may be missing, in one line; None while all is well."""
        ...

    def close(self) -> None:
        """Stop; no hint is given after this returns; idempotent."""
        ...


@runtime_checkable
class Watchable(Protocol):
    """A connector that can tell early where to look. Hints may be lost, late or doubled."""

    def watch(self, on_hint: Callable[[Hint], None]) -> Watch:
        """Begin to watch before returning; `on_hint` is called from a thread of the watch and must not block."""
        ...


@runtime_checkable
class Remote(Protocol):
    """A connector that asks somebody else's server: reads may take long, and asking has its manners."""

    least_interval: timedelta
    """Between two listings, at least."""

    host: str
    """Whose server it is, as `host:port`; of the sources that name the same one, two at most are listed at a time."""


@runtime_checkable
class Writable(Protocol):
    """A connector through which freshd can put a small document of its own into the source.

    Nothing that somebody else wrote is ever replaced or deleted: what `write` wrote begins with a line by which
    it is known again, also by another process later on.
    """

    def write(self, document_id: DocumentId, text: str) -> None:
        """Write a document whole, or replace one that was written so before; readers see the old text or the new.

        Args:
            document_id: Must be one that a listing would show; its folder must be there.
            text: What follows the line by which it is known again.

        Raises:
            DocumentRefused: Somebody else's document is there, or no listing would show it; says which rule hides it.
            SourceUnavailable: It could not be written.

        """
        ...

    def delete(self, document_id: DocumentId) -> None:
        """Delete a document that `write` wrote; an absent one is no error.

        Raises:
            DocumentRefused: Somebody else's document is there.
            SourceUnavailable: It could not be deleted.

        """
        ...


class Fetcher(Protocol):
    """Guarded HTTP: bounded in size, time and redirects, and only to addresses a source may reach."""

    def fetch(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        etag: str | None = None,
        last_modified: str | None = None,
        max_bytes: int | None = None,
    ) -> Fetched:
        """GET one resource, conditionally where validators are given.

        Args:
            url: http or https.
            headers: Sent to this URL's own origin only, never to another one it redirects to.
            etag: From the last answer.
            last_modified: From the last answer.
            max_bytes: Largest body, packed and unpacked; None for the fetcher's own bound.

        Raises:
            SourceUnavailable: Refused, unreachable, too slow, too large or not 200/304;
                its `not_before` tells when to ask again, if the server said.
            DocumentGone: The server answered 404 or 410.

        """
        ...

    def close(self) -> None:
        """Close pooled connections; idempotent."""
        ...


MainText = Callable[[Document], Document]
"""Cuts an HTML page down to its main text with the headings; gives it as it is where none can be told from the rest.

Under limits of memory and time, for a page may be made to break whatever looks at all of it.
Raises `ParseError` for one that does; retryable where something else may have been the reason.
"""


def _as_it_is(page: Document) -> Document:
    return page


@dataclass(frozen=True, slots=True)
class ConnectorContext:
    """What freshd hands to a connector when it opens one.

    Attributes:
        base: Folder of the config file; relative paths in options start there.
        fetcher: Builds the guarded HTTP client for this source;
            `allow_private_hosts` names the `host:port` pairs on private or loopback addresses it may reach,
            `ca_file` a file with further certificate authorities (PEM) that its servers' certificates may be of.
        main_text: Finds the main text of web pages; where nothing is read, pages may stay as they are.

    """

    source: SourceName
    base: Path
    clock: Clock
    fetcher: Callable[[Sequence[str], Path | None], Fetcher]
    main_text: MainText = _as_it_is


class ConnectorType(Protocol):
    """A class named in the entry-point group `freshd.connectors`.

    `Options` is a pydantic model of the source's own config keys, unknown ones forbidden;
    freshd's common keys (`name`, `type`, `freshness_target`, …) never reach it.
    """

    Options: ClassVar[type[Any]]

    def __call__(self, options: Any, context: ConnectorContext) -> Connector:
        """Open a source; cheap, no I/O: a source that is down must not stop the others from opening."""
        ...
