"""Compares search results at an equal volume of text: short chunks must not lose, nor long ones win, by their length.

A reader is given hits, best first, until so many characters are spent. Was the answer among them?
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.bench.report import Cell, Table
from tests.bench.scoring import Hits, Question, lead, mean, shared_lines

BUDGETS = (1_500, 3_000, 6_000, 10_000)
"""In characters: from a short prompt to a long one."""

_COVER = 0.5


class Reader:
    """Reads hits over a documentation tree; `path`, `start_line` and `end_line` say what a hit holds."""

    def __init__(self, docs: Path) -> None:
        """Read documents below a folder."""
        self._lines = cache(lambda path: (docs / path).read_text().splitlines(keepends=True))

    def finds(self, question: Question, hits: Hits, budget: int) -> bool:
        """Tell whether one of the hits that the budget pays for holds half of the answer's lines."""
        wanted = question["end_line"] - question["start_line"] + 1
        for hit in hits:
            budget -= sum(map(len, self._lines(hit["path"])[hit["start_line"] - 1 : hit["end_line"]]))
            if budget < 0:
                return False
            if shared_lines(question, hit) >= _COVER * wanted:
                return True
        return False


def compare(docs: Path, questions: Sequence[Question], runs: Mapping[str, Mapping[str, Hits]]) -> Table:
    """Compare runs by what they find within each budget, question by question.

    Args:
        docs: The documents that hits and questions speak of.
        questions: With `id`, and where the answer stands.
        runs: Hits by question id, of each run; the first one is compared with the others.

    """
    reader = Reader(docs)
    rows: list[tuple[Cell, ...]] = []
    for budget in BUDGETS:
        found = {
            name: [reader.finds(question, hits.get(question["id"], ()), budget) for question in questions]
            for name, hits in runs.items()
        }
        first, *_ = found.values()
        for name, finds in found.items():
            rows.append((f"{budget:,} characters", name, mean(finds), None if finds is first else lead(first, finds)))
    return Table(
        f"equal volume: questions of {len(questions)} whose answer, half of it at least, lies in one hit that was read",
        ("read", "run", "share", "the first run's lead"),
        tuple(rows),
        ("lead: mean of paired differences [95 % of resamples].",),
    )
