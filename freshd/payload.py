"""Point ↔ payload: what Qdrant stores beside the vectors. Pure.

`page_content` and `metadata` are what LangChain's retriever reads; `metadata` is the citation;
`doc_id`, `source`, `last_modified`, `content_sha256` serve filters and staleness checks of other tools;
freshd's own bookkeeping stays under `freshd`, out of what a language model is shown.

A field that nobody knows is left out, never null: Qdrant stores a null in a new point,
but takes one that is set later as the wish to remove the field.

Each payload field belongs to the chunk or to the whole document.
A chunk-level label tells whether a kept point needs its own fields set again;
the document-level fields of all kept points are set by one call.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, overload

from freshd.model import Chunk, ChunkId, Digest, DocumentId, Relabel, SourceName

DOCUMENT_ID_KEY = "freshd.document_id"
KEYWORD_KEYS = ("doc_id", "source", DOCUMENT_ID_KEY)


@dataclass(frozen=True, slots=True)
class DocumentFields:
    """The payload fields that all chunks of one revision share.

    Attributes:
        content_sha256: Of the document's bytes.
        modified_at: According to the source; None if it does not say.

    """

    source: SourceName
    document_id: DocumentId
    uri: str
    title: str | None
    content_sha256: Digest
    modified_at: datetime | None

    def top(self) -> dict[str, Any]:
        """Give the fields at the top level, None where unknown."""
        return {"last_modified": rfc3339(self.modified_at), "content_sha256": self.content_sha256}

    def cited(self) -> dict[str, Any]:
        """Give the fields inside `metadata`, but for the indexed time; None where unknown."""
        return {"uri": self.uri, "title": self.title, "source_modified_at": rfc3339(self.modified_at)}

    def label(self) -> Digest:
        """Digest of what the fields say."""
        return _digest({**self.top(), **self.cited()})


def point_payload(document: DocumentFields, chunk: Chunk, indexed_at: datetime) -> dict[str, Any]:
    """Build the whole payload of a new point."""
    return {
        "page_content": chunk.text,
        "metadata": {
            "source": document.source,
            "document_id": document.document_id,
            **_known(document.cited()),
            **_place(chunk),
            "indexed_at": rfc3339(indexed_at),
        },
        "doc_id": f"{document.source}/{document.document_id}",
        "source": document.source,
        **_known(document.top()),
        "freshd": {"document_id": document.document_id, "ordinal": chunk.ordinal, "digest": chunk.digest},
    }


def chunk_label(chunk: Chunk) -> Digest:
    """Digest of the chunk-level fields that may change while the chunk's id stays."""
    return _digest({**_place(chunk), "ordinal": chunk.ordinal})


def chunk_relabels(chunk: Chunk) -> tuple[Relabel, Relabel]:
    """Give the writes that bring a kept point's own fields up to date."""
    ids = (chunk.chunk_id,)
    return Relabel(ids, _place(chunk), key="metadata"), Relabel(ids, {"ordinal": chunk.ordinal}, key="freshd")


def document_relabels(
    document: DocumentFields, chunk_ids: tuple[ChunkId, ...], indexed_at: datetime
) -> tuple[Relabel, Relabel]:
    """Give the writes that bring the shared fields of all kept points up to date; None removes a field."""
    cited = {**document.cited(), "indexed_at": rfc3339(indexed_at)}
    return Relabel(chunk_ids, document.top()), Relabel(chunk_ids, cited, key="metadata")


@dataclass(frozen=True, slots=True)
class Citation:
    """What a payload says of a chunk, read back.

    Attributes:
        start_line: 1-based.
        end_line: Inclusive.
        modified_at: According to the source.
        indexed_at: According to freshd.

    """

    text: str
    source: SourceName
    document_id: DocumentId
    uri: str
    title: str | None
    heading_path: tuple[str, ...]
    start_line: int
    end_line: int
    modified_at: datetime | None
    indexed_at: datetime | None


def citation(payload: Mapping[str, Any]) -> Citation:
    """Read a payload that `point_payload` built.

    Raises:
        KeyError: A field that every point has is missing: the point is not freshd's.

    """
    cited = payload["metadata"]
    return Citation(
        text=payload["page_content"],
        source=SourceName(payload["source"]),
        document_id=DocumentId(payload["freshd"]["document_id"]),
        uri=cited["uri"],
        title=cited.get("title"),
        heading_path=tuple(cited["heading_path"]),
        start_line=cited["start_line"],
        end_line=cited["end_line"],
        modified_at=_instant(cited.get("source_modified_at")),
        indexed_at=_instant(cited["indexed_at"]),
    )


def citable(payload: Mapping[str, Any]) -> Citation | None:
    """Read a payload that damage may have made anything; None where it cannot be cited."""
    try:
        cited = citation(payload)
    except (KeyError, TypeError, ValueError):
        return None
    texts = (cited.text, cited.source, cited.document_id, cited.uri, cited.title or "", *cited.heading_path)
    lines = (cited.start_line, cited.end_line)
    is_sound = all(isinstance(text, str) for text in texts) and all(isinstance(line, int) for line in lines)
    return cited if is_sound else None


@overload
def rfc3339(instant: datetime) -> str: ...
@overload
def rfc3339(instant: datetime | None) -> str | None: ...
def rfc3339(instant: datetime | None) -> str | None:
    """Write an aware instant as RFC 3339 in UTC, to the microsecond where it has one; None stays None."""
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Stated:
    """What a payload says, whoever wrote it: nothing is certain to be there, or to be true.

    Attributes:
        text: None where it has none.
        heading_path: None where it has none.
        ordinal: None where it has none.
        source: Empty where it names none.
        document_id: Empty where it names none.
        content_sha256: Empty where it names none.
        digest: Of what was embedded; empty where it names none.
        is_ours: It has freshd's bookkeeping.
        chunk_label: What `chunk_label` gave, if the fields are as they were.
        document_label: What `DocumentFields.label` gave, likewise.

    """

    text: str | None
    heading_path: tuple[str, ...] | None
    ordinal: int | None
    source: str
    document_id: str
    content_sha256: str
    digest: Digest
    is_ours: bool
    chunk_label: Digest
    document_label: Digest


def stated(payload: Mapping[str, Any]) -> Stated:
    """Read a payload that may be damaged, or somebody else's."""
    cited, own = _object(payload, "metadata"), _object(payload, "freshd")
    text, path, ordinal = payload.get("page_content"), cited.get("heading_path"), own.get("ordinal")
    is_path = isinstance(path, list) and all(isinstance(heading, str) for heading in path)
    return Stated(
        text=text if isinstance(text, str) else None,
        heading_path=tuple(path) if isinstance(path, list) and is_path else None,
        ordinal=ordinal if isinstance(ordinal, int) and ordinal >= 0 else None,
        source=_text(payload.get("source")),
        document_id=_text(own.get("document_id")),
        content_sha256=_text(payload.get("content_sha256")),
        digest=Digest(digest if _SHA256.fullmatch(digest := _text(own.get("digest"))) else ""),
        is_ours="freshd" in payload,
        chunk_label=_label({**_picked(cited, _PLACE), "ordinal": ordinal}),
        document_label=_label({**_picked(payload, _TOP), **_picked(cited, _CITED)}),
    )


def restored(
    payload: Mapping[str, Any], source: SourceName, document_id: DocumentId, digest: Digest, now: datetime
) -> dict[str, Any]:
    """Build a payload anew from what its labels and its text's digest vouch for, and from what follows from its id.

    Args:
        payload: One whose labels are right.
        source: Whose chunk it is.
        document_id: Likewise.
        digest: Of its embedded text.
        now: For `indexed_at`, which nothing vouches for, where it is no instant any more.

    """
    cited, own = _object(payload, "metadata"), _object(payload, "freshd")
    indexed_at = cited.get("indexed_at")
    return {
        "page_content": payload.get("page_content"),
        "metadata": {
            "source": source,
            "document_id": document_id,
            **_known(_picked(cited, _CITED)),
            **_picked(cited, _PLACE),
            "indexed_at": indexed_at if _is_instant(indexed_at) else rfc3339(now),
        },
        "doc_id": f"{source}/{document_id}",
        "source": source,
        **_known(_picked(payload, _TOP)),
        "freshd": {"document_id": document_id, "ordinal": own.get("ordinal"), "digest": digest},
    }


_TOP = ("last_modified", "content_sha256")
_CITED = ("uri", "title", "source_modified_at")
_PLACE = ("heading_path", "start_line", "end_line")
_SHA256 = re.compile("[0-9a-f]{64}")


def _picked(fields: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: fields.get(name) for name in names}


def _object(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = payload.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _label(fields: Mapping[str, Any]) -> Digest:
    try:
        return _digest(fields)
    except ValueError:  # what came from elsewhere need not be Unicode
        return Digest("")


def _is_instant(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _place(chunk: Chunk) -> dict[str, Any]:
    return {
        "heading_path": list(chunk.heading_path),
        "start_line": chunk.start_line,
        "end_line": chunk.end_line,
    }


def _digest(fields: Mapping[str, Any]) -> Digest:
    return Digest(hashlib.sha256(json.dumps(fields, sort_keys=True, ensure_ascii=False).encode()).hexdigest())
