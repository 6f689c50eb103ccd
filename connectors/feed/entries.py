"""An entry of a feed, and how entries become refs with stable, unique ids. Pure."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from unicodedata import category

from freshd.model import DocumentId, DocumentRef

_MAX_ID_CHARS = 1_000
"""Ids are keys, labels and command-line words; a longer one is replaced by its hash."""

# Controls, format characters, surrogates, line and paragraph separators.
# Not `isprintable`, which changes with every Unicode version and would rename documents with it.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as the feed shows it.

    Attributes:
        guid: The feed's own name for it; None if it has none.
        link: Absolute http or https URL; None if it has none.
        title: Plain text on one line.
        content: UTF-8.
        media_type: `text/html` or `text/plain`.
        stamp: The feed's words for when it changed, unparsed; "" if it does not say.
        changed_at: The same as an instant; None where it is absent or nonsense.

    """

    guid: str | None
    link: str | None
    title: str | None
    content: bytes
    media_type: str
    stamp: str = ""
    changed_at: datetime | None = None

    @property
    def body_digest(self) -> str:
        """Hash of title and content: what an entry without guid and link is known by."""
        return _digest(self.title or "", self.content)

    @property
    def fingerprint(self) -> str:
        """Hash of all that a reader may see."""
        return _digest(self.title or "", self.link or "", self.stamp, self.media_type, self.content)

    @property
    def identity(self) -> str | None:
        """Stays when only the guid is churned; None for an entry that is too empty to be recognised."""
        return _digest(self.link or "", self.content) if self.content else None


def by_document_id(entries: Sequence[Entry]) -> dict[DocumentId, Entry]:
    """Name every distinct entry, in rising order of document id."""
    named: dict[DocumentId, Entry] = {}
    for key, entry in zip(_keys(entries), entries, strict=True):
        named.setdefault(document_id(key), entry)
    return {name: named[name] for name in sorted(named)}


def ref_of(name: DocumentId, entry: Entry) -> DocumentRef:
    """Describe an entry as it is now."""
    return DocumentRef(name, entry.fingerprint, changed_at=entry.changed_at, identity=entry.identity)


def document_id(key: str) -> DocumentId:
    """Write a key as printable text, one to one: controls, `%` and what cannot be shown are percent-encoded."""
    text = "".join(_percent(char) if char == "%" or category(char) in _UNSEEN else char for char in key)
    return DocumentId(text if len(text) <= _MAX_ID_CHARS else f"sha256:{_digest(key)}")


def _keys(entries: Sequence[Entry]) -> list[str]:
    """Guid, else link, else hash; what two entries share is told apart by link, then by hash."""
    refinements: tuple[Callable[[Entry], str], ...] = (
        lambda entry: entry.link or "",
        lambda entry: f"sha256:{entry.body_digest}",
    )
    keys = [entry.guid or entry.link or f"sha256:{entry.body_digest}" for entry in entries]
    for refine in refinements:
        shared = {key for key, count in Counter(keys).items() if count > 1}
        keys = [
            f"{key} {refine(entry)}".rstrip() if key in shared else key
            for key, entry in zip(keys, entries, strict=True)
        ]
    return keys


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def _digest(*parts: str | bytes) -> str:
    """Hash parts with their lengths, so that no two lists of parts run together."""
    hasher = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        hasher.update(len(raw).to_bytes(8, "big"))
        hasher.update(raw)
    return hasher.hexdigest()
