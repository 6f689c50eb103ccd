"""Where the text of documents that are not there any more may stand now: what tells a move from a loss.

    same content, read since it changed          ─▶ stands there: it moved
    same identity or content, and not read yet   ─▶ may stand there: reading tells
    same identity, and read to be another text   ─▶ nothing: file systems give identities out again

Only the ledger is asked; whoever has to know of an unread document reads it.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cache
from sqlite3 import Row

from freshd.ledger.database import Database
from freshd.ledger.rows import KNOWN
from freshd.model import Change, Digest, DocumentId, DocumentRef, SourceName

_PAGE = 1000

_CANDIDATES = 16
"""Unread documents that are named for one text; of more copies or links than that, one will do."""

_BEARERS = (
    f"SELECT {KNOWN}, doc,"
    " (SELECT is_quarantined FROM pending p WHERE p.doc = d.doc AND NOT is_migration) AS is_quarantined"
    " FROM documents d WHERE source = ? AND {column} = ? AND fingerprint IS NOT NULL AND doc > ?"
    f" ORDER BY doc LIMIT {_PAGE}"
)


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the text of one absent document may stand now.

    Attributes:
        digest: Of its applied content; None when nothing of it is applied.
        stands_in: A present document that was read and has this content; None if there is none.
        may_stand_in: Present documents that carry its identity or had its content,
            and were not read since they changed; those that cannot be read (quarantined) are left out.

    """

    digest: Digest | None = None
    stands_in: DocumentId | None = None
    may_stand_in: tuple[DocumentRef, ...] = ()


def bearers(database: Database, source: SourceName, column: str, value: str | None) -> Iterator[Row]:
    """Stream the rows of present documents with a value in a column, `is_quarantined` NULL where nothing is pending."""
    last = 0
    while page := database.read(_BEARERS.format(column=column), (source, value, last)):
        yield from page
        last = page[-1]["doc"]


def whereabouts(
    database: Database, source: SourceName, gone: Set[DocumentId], changes: Sequence[Change]
) -> dict[DocumentId, Whereabouts]:
    """Look for the texts of absent documents; gives an answer for each.

    Args:
        database: The ledger's.
        source: Whose documents.
        gone: Documents that are not there any more: none of them carries on the text of another.
        changes: What a look found of other documents and nobody recorded yet; these count as unread.

    """
    changed = {change.document_id: change.ref for change in changes if change.ref and change.document_id not in gone}
    arrived = {ref.identity: ref for ref in changed.values() if ref.identity}

    @cache  # thousands of copies may vanish together: those of one text are gone through once
    def find(column: str, value: str | None) -> tuple[DocumentId | None, tuple[DocumentRef, ...]]:
        unread: list[DocumentRef] = []
        for row in bearers(database, source, column, value):
            document_id = DocumentId(row["document_id"])
            ref = changed.get(document_id)
            if document_id in gone:
                continue
            if ref is None and _is_read(row):
                if column == "digest":
                    return document_id, ()
            elif len(unread) < _CANDIDATES and (ref or not row["is_quarantined"]):
                unread.append(ref or _ref(row))
        return None, tuple(unread)

    answer = dict.fromkeys(gone, Whereabouts())
    sql = "SELECT identity, digest FROM documents WHERE source = ? AND document_id = ?"
    for document_id in gone:
        for row in database.read(sql, (source, document_id)):
            namesake = arrived.get(row["identity"])
            stands_in, copies = find("digest", row["digest"])
            _, namesakes = find("identity", row["identity"])
            may_stand_in = (*([namesake] if namesake else ()), *namesakes, *copies)
            answer[document_id] = Whereabouts(row["digest"], stands_in, may_stand_in)
    return answer


def _is_read(row: Row) -> bool:
    """Tell whether the digest is of what the last look saw; an empty fingerprint asks for another look."""
    return row["is_quarantined"] is None and row["fingerprint"] != ""


def _ref(row: Row) -> DocumentRef:
    return DocumentRef(
        DocumentId(row["document_id"]), row["fingerprint"], identity=row["identity"], is_racy=bool(row["is_racy"])
    )
