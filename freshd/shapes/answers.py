"""What is answered at once: passages, changes, held deletions, what the page shows, what the doctor finds."""

from typing import Literal

from typing_extensions import TypedDict  # typing's own is refused by pydantic before Python 3.12

from freshd.shapes.status import StatusReport


class SearchHit(TypedDict):
    """One passage, where it stands, and how fresh its source is known to be."""

    text: str
    score: float
    source: str
    document_id: str
    uri: str
    title: str | None
    heading_path: list[str]
    start_line: int
    end_line: int
    source_modified_at: str | None
    indexed_at: str | None
    is_stale: bool
    """The document has changed since, but its newest state is quarantined: it cannot be read or indexed."""
    watermark: str | None


class SearchAnswer(TypedDict):
    """Hits, best first; `watermark` is the lowest among the sources asked, None if one of them is unknown."""

    query: str
    watermark: str | None
    hits: list[SearchHit]


class ChunkCounts(TypedDict):
    """Chunks by fate."""

    embedded: int
    reused: int
    relabelled: int
    kept: int
    removed: int


class ChangeEntry(TypedDict):
    """One applied change and what it cost; `seq` rises with every change, `lag_seconds` is None for a first index."""

    seq: int
    source: str
    document_id: str
    kind: Literal["added", "modified", "moved", "deleted"]
    previous_id: str | None
    changed_at: str
    searchable_at: str | None
    lag_seconds: float | None
    chunks: ChunkCounts
    embedded_characters: int


class ChangesAnswer(TypedDict):
    """Applied changes after a sequence number, oldest first; `?after=LAST_SEQ&gap=GAP_SEQ` asks for what follows.

    `is_gapless` is False where some of what followed the number asked for was forgotten meanwhile:
    then whoever keeps copies should let go of all of them, before taking in these changes.
    `gap_seq` is the newest gap that was made on purpose, 0 before the first: who names it as `gap`,
    or asks for what follows it, is not told of it again.
    """

    changes: list[ChangeEntry]
    last_seq: int
    is_gapless: bool
    gap_seq: int


class ApproachTime(TypedDict):
    """How long one update took by an approach, or by several that do the same for it; by training or by the index."""

    names: list[str]
    seconds: float
    is_training: bool


class ComparisonFigures(TypedDict):
    """What the last `freshd compare` measured of updates, the shortest first, and whose figures they are.

    `break_even` says from how many queries per update on retraining pays off, in words.
    """

    measured_at: str
    model: str
    machine: str
    is_quick: bool
    approaches: list[ApproachTime]
    break_even: str | None


class Dashboard(TypedDict):
    """What the page at `/` shows.

    `trails` has for each source where its watermark stood: pairs of seconds since 1970, at which instant
    it rose and to which, rising, over the last hours. `newest` has the newest changes, newest first.
    `comparison` is None where no report of one is named, or it tells nothing.
    """

    status: StatusReport
    trails: dict[str, list[tuple[float, float]]]
    newest: list[ChangeEntry]
    comparison: ComparisonFigures | None


Diagnosis = TypedDict(
    "Diagnosis",
    {"name": str, "status": Literal["pass", "warn", "error"], "got": str, "expected": str | None, "try": str | None},
)
"""One thing that was looked at; `expected` and `try` are None where it is as it should be."""


class DoctorReport(TypedDict):
    """Everything that freshd depends on, as it is found now, and the worst of it."""

    status: Literal["pass", "warn", "error"]
    checks: list[Diagnosis]


class HeldDeletions(TypedDict):
    """Documents of a source whose deletion waits for a person; after a verdict, those it was about."""

    source: str
    documents: list[str]
    verdict: Literal["held", "approved", "rejected"]
