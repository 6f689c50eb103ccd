"""A query to cited hits, each with where it stands and how fresh its source is known to be.

    query ─▶ embedder ─▶ store: by vector, by BM25 ─▶ admission ─▶ fusion ─▶ passages ─▶ hits

Only admitted revisions are found. The two answers are fused by score, and each hit is shown amid what stands around it.
`SearchProof` goes the same way to see whether what was written is found.
"""

from freshd.search.proof import SearchProof
from freshd.search.query import (
    MAX_HITS,
    MAX_PATH_CHARACTERS,
    MAX_QUERY_BYTES,
    Answer,
    Hit,
    Search,
    query_fault,
)

__all__ = [
    "MAX_HITS",
    "MAX_PATH_CHARACTERS",
    "MAX_QUERY_BYTES",
    "Answer",
    "Hit",
    "Search",
    "SearchProof",
    "query_fault",
]
