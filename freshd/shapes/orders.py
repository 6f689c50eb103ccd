"""What work came to that was ordered: each kind's report, and the job that does it for a running daemon."""

from typing import Literal

from typing_extensions import TypedDict  # typing's own is refused by pydantic before Python 3.12

from freshd.shapes.answers import ChunkCounts
from freshd.shapes.status import VerifyReport


class DocumentCounts(TypedDict):
    """Documents by what became of them."""

    added: int
    modified: int
    moved: int
    deleted: int
    touched: int
    unchanged: int
    failed: int
    held: int


Unread = TypedDict("Unread", {"error": str, "try": str | None})
"""A document, a place or a source that could not be read; `try` is None when nothing but waiting mends that."""


class SourceReindexed(TypedDict):
    """What one run did to one source, each document counted once; `errors` says what could not be read.

    Documents that fail right now are `failed`, whether this run tried them or not.
    """

    name: str
    documents: DocumentCounts
    chunks: ChunkCounts
    embedded_characters: int
    elapsed_seconds: float
    is_available: bool
    errors: list[Unread]


class ReindexReport(TypedDict):
    """What one run did; with `dry_run`, what it would do, and how long embedding would take here."""

    sources: list[SourceReindexed]
    dry_run: bool
    estimated_seconds: float | None


class DocumentWaited(TypedDict):
    """Where one document stands: `searchable` as it is now, `absent` from source and index, or what is in the way."""

    source: str
    document_id: str
    state: Literal["searchable", "absent", "failed", "held", "pending"]
    error: str | None


class WaitReport(TypedDict):
    """Whether the waiting came to its end: documents are searchable, or of everything nothing is pending any more.

    When everything was waited for, `documents` has only those that fail or are held.
    """

    is_done: bool
    documents: list[DocumentWaited]


class BackupReport(TypedDict):
    """A copy that is whole: where it lies, of which moment, of what, and for how long writes were held for it.

    `backup.json` in it says the same, but for where it lies. `bytes` is the disk it takes; holes take none.
    `generation` is the collection that was live; of a server's collection no points are copied.
    """

    directory: str
    made_at: str
    version: str
    schema: int
    instance: str
    generation: str
    store: Literal["embedded", "server"]
    documents: int
    chunks: int
    bytes: int
    held_seconds: float
    elapsed_seconds: float


class RebuildReport(TypedDict):
    """A ledger made anew from the store: of which generation, of how many points, and how many documents those are.

    In doubt are documents that are not whole in the store; foreign are points that name no document.
    `former` is where the ledger is kept that was there before; None where there was none.
    """

    instance: str
    generation: str
    points: int
    documents: int
    in_doubt: int
    forgotten: int
    foreign: int
    former: str | None
    elapsed_seconds: float


class ForgetReport(TypedDict):
    """What was forgotten: documents, their points in the store, their vectors in the cache.

    `unknown` names documents of which nothing was known: they stay out all the same;
    a folder among them is nothing that could stay out, nor is what comes to lie below it.
    `readmitted` names those that were kept out, and may come in again with the next scan.
    """

    documents: int
    points: int
    vectors: int
    unknown: list[str]
    readmitted: list[str]


class PruneReport(TypedDict):
    """What was taken out of store and ledger of a source that left the config."""

    source: str
    documents: int
    points: int


JobResult = ReindexReport | WaitReport | VerifyReport | BackupReport | ForgetReport | PruneReport
"""What a job comes to, by its kind."""


class JobReport(TypedDict):
    """Work the daemon was asked for; `result` is the report of its kind once `state` is `done`."""

    job: str
    state: Literal["running", "done", "failed"]
    done: int
    total: int
    eta_seconds: float | None
    result: JobResult | None
    error: str | None
    hint: str | None
    exit_code: int | None
