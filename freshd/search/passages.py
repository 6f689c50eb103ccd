"""What is shown of a hit: the chunk that was found, and what stands around it in its section. Pure.

Chunks are small so that little is embedded again when a document changes; a reader wants more of it.
What a hit already shows is not shown again as another one.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from freshd.model import ChunkId
from freshd.payload import Citation

REACH = 2
"""Most chunks that are added on either side."""

MAX_CHARACTERS = 1_000
"""Of a passage that was widened; a chunk that is larger is shown as it is."""


def passages(
    ranked: Sequence[tuple[ChunkId, float]],
    runs: Mapping[ChunkId, Sequence[ChunkId]],
    cited: Mapping[ChunkId, Citation],
) -> Iterator[tuple[Citation, float]]:
    """Widen hits, best first, and leave out those that a better one shows already.

    Args:
        ranked: Chunks found, with their scores.
        runs: Some of them amid what stands around them, in document order.
        cited: All of `ranked`, and of their neighbours those that may be shown.

    """
    shown: set[ChunkId] = set()
    for chunk_id, score in ranked:
        if chunk_id not in shown:
            members = _members(chunk_id, runs.get(chunk_id, (chunk_id,)), cited, shown)
            shown.update(members)
            yield _joined([cited[member] for member in members]), score


def _members(
    chunk_id: ChunkId, run: Sequence[ChunkId], cited: Mapping[ChunkId, Citation], shown: Collection[ChunkId]
) -> Sequence[ChunkId]:
    """Take in what follows and what comes before, in turn, while it is of the same section and there is room."""
    first = last = run.index(chunk_id)
    hit = cited[chunk_id]
    room = MAX_CHARACTERS - len(hit.text)
    steps = [1, -1]
    while steps:
        for step in tuple(steps):
            at = last + 1 if step > 0 else first - 1
            one = cited.get(run[at]) if 0 <= at < len(run) and run[at] not in shown else None
            if one is None or one.heading_path != hit.heading_path or len(one.text) > room:
                steps.remove(step)
                continue
            room -= len(one.text)
            first, last = min(first, at), max(last, at)
    return run[first : last + 1]


def _joined(parts: Sequence[Citation]) -> Citation:
    """Join what stands one after another; its lines are those of all of it."""
    texts = [parts[0].text]
    for before, after in pairwise(parts):
        texts += _between(before, after), after.text
    return replace(parts[0], text="".join(texts), end_line=parts[-1].end_line)


def _between(before: Citation, after: Citation) -> str:
    """Give the blanks that were between two chunks, which their texts do not hold.

    Pieces of a block that was rendered anew have the lines of all of it: of those with rows, rows are told apart.
    """
    lines = after.start_line - before.end_line
    if lines > 0:
        return "\n" * min(lines, 2)
    return "\n" if _has_rows_anew(before) or _has_rows_anew(after) else " "


def _has_rows_anew(part: Citation) -> bool:
    n_newlines = part.text.count("\n")
    return n_newlines > 0 and n_newlines != part.end_line - part.start_line
