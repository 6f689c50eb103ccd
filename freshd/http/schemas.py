"""What may be asked, and what is answered, as `/openapi.json` tells it.

Questions are checked against this before anybody is bothered with them;
answers are described by the types they are built from, in `freshd/shapes.py`.
"""

from typing import Annotated, Literal, Self

from fastapi import Header, Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from freshd.ports.control import MAX_WAIT_S
from freshd.search import MAX_HITS, MAX_PATH_CHARACTERS, MAX_QUERY_BYTES, query_fault

MAX_NAMED = 1_000
"""Sources or documents that one request may name."""

MAX_HELD_S = 600
"""How long a request may be held until its job is done."""


MAX_CHANGES = 1_000
"""Changes in one JSON answer."""

_LARGEST = 2**63 - 1
"""That a ledger can count to."""


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("expected text without NUL")
    return text


def _absolute(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("expected an absolute path")
    return _without_nul(text)


def _a_query(text: str) -> str:
    if fault := query_fault(text):
        raise ValueError(fault)
    return text


def _a_document(text: str) -> str:
    source, _, document_id = text.partition("/")
    if not source or not document_id:
        raise ValueError("expected SOURCE/ID")
    return text


def _a_source_or_document(text: str) -> str:
    source, slash, document_id = text.partition("/")
    if not source or (slash and not document_id):
        raise ValueError("expected SOURCE or SOURCE/ID")
    return text


Name = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_without_nul)]
DocumentName = Annotated[str, Field(max_length=MAX_PATH_CHARACTERS), AfterValidator(_without_nul)]

QueryText = Annotated[
    str,
    Query(
        alias="q",
        description=f"What to look for; at most {MAX_QUERY_BYTES} bytes.",
        json_schema_extra={"minLength": 1, "maxLength": MAX_QUERY_BYTES, "pattern": r"\S"},
    ),
    AfterValidator(_without_nul),
    AfterValidator(_a_query),
]
HitCount = Annotated[int, Query(ge=1, le=MAX_HITS, description="How many passages at most.")]
Sources = Annotated[list[Name], Query(max_length=MAX_NAMED, description="Only in these; all when left out.")]
PathPrefix = Annotated[DocumentName | None, Query(description="Only documents whose id begins so.")]
Held = Annotated[
    float | None,
    Query(ge=0, le=MAX_HELD_S, description="Seconds to hold the answer until the job is done; at once when left out."),
]
After = Annotated[
    int | None,
    Query(
        ge=-MAX_CHANGES,
        le=_LARGEST,
        description="Changes that follow this sequence number; -20: the newest 20. Left out: the newest, as many as"
        " `limit` says; of a stream, those from now on.",
    ),
]
ChangeCount = Annotated[int, Query(ge=1, le=MAX_CHANGES, description="How many changes at most.")]
OneSource = Annotated[Name | None, Query(description="Only of this one.")]
OneDocument = Annotated[DocumentName | None, Query(min_length=1, description="Only of this one; needs `source`.")]
HeardGap = Annotated[
    int, Query(ge=0, le=_LARGEST, description="`gap_seq` of the answer before: that gap is not told again.")
]
LastEventId = Annotated[
    str | None,
    Header(
        pattern=r"^[0-9]{1,18}(-[0-9]{1,18})?$",
        description="Of a stream: go on after the event of this id; wins over `after` and `gap`.",
    ),
]
JobName = Annotated[str, Path(max_length=128)]


class ReindexOrder(BaseModel):
    """Look at sources now.

    Attributes:
        sources: Names; all of them when empty.
        full: Read and parse every document again, whatever its fingerprint says.

    """

    model_config = ConfigDict(strict=True, extra="forbid")

    sources: list[Name] = Field(default=[], max_length=MAX_NAMED)
    full: bool = False


class WaitOrder(BaseModel):
    """Wait until documents are searchable as they are now.

    Attributes:
        documents: Each as `SOURCE/ID`; everything when empty.
        timeout_seconds: After which the job is done, whether they are or not.

    """

    model_config = ConfigDict(strict=True, extra="forbid")

    documents: list[Annotated[DocumentName, AfterValidator(_a_document)]] = Field(default=[], max_length=MAX_NAMED)
    timeout_seconds: float = Field(default=60.0, ge=0, le=MAX_WAIT_S)


class DeletionsOrder(BaseModel):
    """Decide on the deletions of a source that are held.

    Attributes:
        verdict: `approve` lets them pass, `reject` keeps the documents.

    """

    model_config = ConfigDict(strict=True, extra="forbid")

    source: Name
    verdict: Literal["approve", "reject"]


class BackupOrder(BaseModel):
    """Copy everything that freshd remembers.

    Attributes:
        directory: Absolute path of a folder that is absent or empty, on the machine that freshd runs on.

    """

    model_config = ConfigDict(strict=True, extra="forbid")

    directory: Annotated[str, Field(min_length=2, max_length=MAX_PATH_CHARACTERS), AfterValidator(_absolute)]


class VerifyOrder(BaseModel):
    """Hold the ledger against the store.

    Attributes:
        deep: Vectors as well.
        repair: Mend what differs; else nothing is changed.
        orphans: With `repair`: remove what the ledger does not know even where it is more than the guard lets pass.

    """

    model_config = ConfigDict(strict=True, extra="forbid")

    deep: bool = False
    repair: bool = False
    orphans: bool = False

    @model_validator(mode="after")
    def _orphans_need_repair(self) -> Self:
        if self.orphans and not self.repair:
            raise ValueError("orphans: expected repair along with it")
        return self


class ForgetOrder(BaseModel):
    """Forget documents: at once, everywhere, and for good.

    Attributes:
        documents: Each as `SOURCE/ID`; `SOURCE` means everything that is known of it.
        undo: Let these documents in again instead.

    """

    model_config = ConfigDict(strict=True, extra="forbid")

    documents: list[Annotated[DocumentName, AfterValidator(_a_source_or_document)]] = Field(
        min_length=1, max_length=MAX_NAMED
    )
    undo: bool = False


class PruneOrder(BaseModel):
    """Take out what is left of a source that left the config."""

    model_config = ConfigDict(strict=True, extra="forbid")

    source: Name


class Verdict(TypedDict):
    """What a probe is told; a failed one gets a problem instead."""

    status: Literal["pass"]


class Gap(TypedDict):
    """Data of the event that says: something between `after`, which was asked for, and `last_seq` is forgotten."""

    after: int
    last_seq: int


class JobBegun(TypedDict):
    """The id of a job, to be asked for at `/jobs/ID`."""

    job: str
