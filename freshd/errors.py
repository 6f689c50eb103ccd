"""Every error freshd raises on purpose, ordered by what its reader does next.

    FreshdError
    ├── ConfigError                  mend the config                      exit 2
    ├── AddressInUse                 free the port                        exit 13
    ├── StateError
    │   ├── StateInUse               another process has it               exit 11
    │   └── StateUnusable            corrupt, or from a newer version     exit 12
    ├── SourceError
    │   ├── SourceUnavailable        retryable; no deletions follow
    │   ├── DocumentUnreadable       retryable; its neighbours go on
    │   ├── DocumentRefused          out until it changes; its neighbours go on
    │   ├── DocumentGone             vanished between listing and read
    │   └── DocumentChanging         changed while it was read; retryable
    ├── ParseError                   the document is bad; its neighbours go on
    │   └── ParserDied               retryable; so may be what killed it
    ├── DocumentBusy                 retryable; it is still being parsed and cut, or waits for its turn
    ├── NotEmbeddable                the model cannot take this one; its neighbours go on
    ├── EmbedderUnavailable          retryable
    └── StoreError
        ├── StoreUnavailable         retryable; what it did is unknown
        └── CollectionMismatch       another recipe's, or somebody else's

The message says where, what was got and what was expected, in one line.
The hint says what mends it, as a command where there is one.
"""

from datetime import datetime
from typing import ClassVar

from freshd.model import DocumentId


class FreshdError(Exception):
    """Root of the tree.

    Attributes:
        hint: What mends it; empty when nothing but waiting does.

    """

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep the message and the hint apart, so that each reader shows both its own way."""
        super().__init__(message)
        self.hint = hint


class ConfigError(FreshdError):
    """The config cannot be used; the message holds one line per fault."""

    exit_code = 2


class AddressInUse(FreshdError):
    """Another program listens where the endpoint should."""

    exit_code = 13


class StateError(FreshdError):
    """The state directory cannot be used."""

    exit_code = 12


class StateInUse(StateError):
    """Another process works in the state directory."""

    exit_code = 11
    retryable = True


class StateUnusable(StateError):
    """The state is corrupt, incomplete or from a newer freshd."""


class SourceError(FreshdError):
    """A source or one document of it could not be looked at."""


class SourceUnavailable(SourceError):
    """The source as a whole did not answer; nothing may be concluded from that.

    Attributes:
        not_before: The source asked not to be looked at earlier; None if it did not say.

    """

    retryable = True

    def __init__(self, message: str, *, hint: str = "", not_before: datetime | None = None) -> None:
        """Keep the source's own wish beside the message."""
        super().__init__(message, hint=hint)
        self.not_before = not_before


class DocumentUnreadable(SourceError):
    """One document could not be read."""

    retryable = True


class DocumentRefused(SourceError):
    """The document breaks a limit, such as its size; it stays out until it changes."""


class DocumentGone(SourceError):
    """The document vanished after it was listed; the next look tells the rest."""


class DocumentChanging(SourceError):
    """The document changed while it was read; reading again later succeeds."""

    retryable = True


class ParseError(FreshdError):
    """The document's bytes are not what they claim to be."""


class ParserDied(ParseError):
    """The process that took the document apart was killed; by the document, or by something else."""

    retryable = True


class DocumentBusy(FreshdError):
    """Parsing and cutting the document goes on aside, or waits for its turn; no fault of the document.

    Attributes:
        is_at_it: It goes on now or next, rather than waiting.
        previous_id: Of the document that this one is, moved; None where it is none. That one stays until then.

    """

    retryable = True

    def __init__(self, message: str, *, is_at_it: bool) -> None:
        """Keep beside the message whose turn it is."""
        super().__init__(message)
        self.is_at_it = is_at_it
        self.previous_id: DocumentId | None = None


class NotEmbeddable(FreshdError):
    """The model answers, but not for this document; so it stays as it was, and is tried a few times."""

    retryable = True


class EmbedderUnavailable(FreshdError):
    """The model could not be loaded or did not answer."""

    retryable = True


class StoreError(FreshdError):
    """The store refused or failed."""


class StoreUnavailable(StoreError):
    """The store did not answer; whether it applied the last call is unknown.

    Attributes:
        wait_s: It asked to be left alone for so long; 0 if it did not say.

    """

    retryable = True

    def __init__(self, message: str, *, hint: str = "", wait_s: float = 0.0) -> None:
        """Keep the store's own wish beside the message."""
        super().__init__(message, hint=hint)
        self.wait_s = wait_s


class CollectionMismatch(StoreError):
    """The collection belongs to another recipe or another instance."""
