"""Scores freshd's own search on questions over a documentation tree, for one size of chunks or several.

    python -m tests.bench.retrieval [--min-tokens N …] [--no-headings] [--keep FOLDER]

Questions and baselines lie in `eval/`; its page says what they are. An index is made for every size, with the real
model, which takes minutes each; what an update would embed again with it is counted beside.
Each is searched as freshd does it, and once more without each of the things that it does.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

from freshd.chunker import sections
from freshd.compose import Whole, generation
from freshd.model import ChunkId, Match
from freshd.search import query
from freshd.search.fusion import fuse
from tests.bench.amplification import embedded_again
from tests.bench.corpus import DjangoDocs, put
from tests.bench.instance import Instance, reindex
from tests.bench.report import Cell, Table, machine, say, show_machine
from tests.bench.scoring import LEVELS, MEASURES, Hits, Question, lead, mean, measures
from tests.bench.volume import compare

EVAL = Path(__file__).parent / "eval"
RELEASE = "5.2"
"""Which the questions are about."""

_HITS = 50
"""Repeated hits of one document are counted as one, and there should still be ten."""

_R5, _NDCG = MEASURES.index("R@5"), MEASURES.index("nDCG@10")

Run = Mapping[str, Hits]
"""Hits by question id."""


def main() -> None:
    """Index, ask every question, score; then set the sizes against each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--min-tokens", type=int, nargs="+", default=[generation._MIN_TOKENS], help="least size of a chunk"
    )
    parser.add_argument("--no-headings", action="store_true", help="show the model passages without what heads them")
    parser.add_argument("--keep", type=Path, help="leave the indexes and the results in this folder; continue there")
    arguments = parser.parse_args()
    show_machine(machine())
    headings = mock.patch.object(sections, "_HEADING_SHARE", sys.maxsize) if arguments.no_headings else nullcontext()
    with _folder(arguments.keep) as root, headings:
        docs = DjangoDocs(root / "corpus")
        rows = [row for least in arguments.min_tokens for row in _measured(docs, root, least)]
        Table(
            "frontier: what an update embeds again, and what search finds",
            ("least tokens, chunks", "searched", "again, 5.1 → 5.1.4", "again, 5.1.4 → 5.2", *LEVELS),
            tuple(rows),
            (
                "again: characters embedded per character written; in brackets with the headings above them.",
                "found: R@5 / nDCG@10.",
            ),
        ).show()


def questions() -> list[Question]:
    """Read the questions."""
    return list(_rows(EVAL / f"django-{RELEASE}.questions.jsonl"))


def baselines() -> dict[str, Run]:
    """Read what others found."""
    paths = sorted(EVAL.glob("recursive-*.jsonl"))
    return {path.stem: {row["id"]: row["hits"] for row in _rows(path)} for path in paths}


def _by_rank(dense: Sequence[Match], sparse: Sequence[Match], *, floor: float) -> list[tuple[ChunkId, float]]:
    """Fuse by reciprocal rank (Cormack, Clarke and Büttcher 2009), with their constant of 60."""
    scores = Counter[ChunkId]()
    for answer in (dense, sparse):
        scores.update({match.chunk_id: 1 / (60 + rank) for rank, match in enumerate(answer, 1)})
    return sorted(scores.items(), key=lambda scored: (-scored[1], scored[0]))


_WAYS: dict[str, dict[str, Any]] = {
    "as freshd does it": {},
    "hits not widened": {"REACH": 0},
    "fused by rank": {"fuse": _by_rank},
    "by meaning alone": {"fuse": lambda dense, sparse, *, floor: fuse(dense, (), floor=floor)},
    "by words alone": {"fuse": lambda dense, sparse, *, floor: fuse((), sparse, floor=0.0)},
}
"""What a search does otherwise, as names of its module; the first does nothing otherwise."""


def _asked(docs: DjangoDocs, root: Path, least: int) -> tuple[int, dict[str, Run]]:
    """Make an index of chunks of some size, ask it everything in every way, and give its chunks and what it found."""
    instance = Instance(root / f"least-{least}")
    put(docs.tree(RELEASE), instance.docs)
    with mock.patch.object(generation, "_MIN_TOKENS", least), instance.open() as whole:
        _index(whole)
        runs = {}
        for way, otherwise in _WAYS.items():
            with mock.patch.multiple(query, **otherwise) if otherwise else nullcontext():
                runs[way] = {question["id"]: _hits(whole, question["question"]) for question in questions()}
        return whole.store.count(), runs


def _index(whole: Whole) -> None:
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    tally = reindex(whole)
    elapsed_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    say(f"{whole.store.count():,} chunks, {tally.fates.embedded:,} embedded now, {elapsed_s:.0f} s, {cpu_s:.0f} CPU s")


def _hits(whole: Whole, question: str) -> Hits:
    cited = [hit.citation for hit in whole.search.search(question, _HITS).hits]
    return [{"path": hit.document_id, "start_line": hit.start_line, "end_line": hit.end_line} for hit in cited]


def _measured(docs: DjangoDocs, root: Path, least: int) -> Iterator[tuple[Cell, ...]]:
    """Show how one size compares with the baselines, and sum it up in a row for each way to search."""
    n_chunks, ways = _asked(docs, root, least)
    asked, run = questions(), next(iter(ways.values()))
    runs = {"freshd": run, **baselines()}
    scores(asked, runs).show()
    compare(docs.tree(RELEASE), asked, runs).show()
    (root / f"least-{least}" / "results.jsonl").write_text(
        "".join(f"{json.dumps({'id': id_, 'hits': list(hits)})}\n" for id_, hits in run.items())
    )
    again = [f"{cost.text:.2f} ({cost.shown:.2f})" for cost in embedded_again(docs, least)]
    for way, seen in ways.items():
        found = (_means(asked, seen, level) for level in LEVELS)
        yield f"{least}, {n_chunks:,}", way, *again, *(f"{means[_R5]:.3f} / {means[_NDCG]:.3f}" for means in found)


def scores(asked: Sequence[Question], runs: Mapping[str, Run]) -> Table:
    """Score runs at every level; the first one is compared with the others."""
    rows: list[tuple[Cell, ...]] = []
    own = next(iter(runs.values()))
    for level in LEVELS:
        for name, run in runs.items():
            leads = (None, None) if run is own else (_lead(asked, own, run, level, n) for n in (_R5, _NDCG))
            rows.append((level, name, *_means(asked, run, level), *leads))
    return Table(
        f"retrieval: {len(asked)} questions",
        ("level", "run", *MEASURES, "freshd's lead, R@5", "nDCG@10"),
        tuple(rows),
        (
            "passage: a hit shares a line with the answer; half a passage: it holds half of its lines.",
            "lead: mean of paired differences [95 % of resamples].",
        ),
    )


def _worth(asked: Sequence[Question], run: Run, level: str) -> list[tuple[float, ...]]:
    return [measures(LEVELS[level](question, run.get(question["id"], ()))) for question in asked]


def _means(asked: Sequence[Question], run: Run, level: str) -> tuple[float, ...]:
    return tuple(map(mean, zip(*_worth(asked, run, level), strict=True)))


def _lead(asked: Sequence[Question], own: Run, other: Run, level: str, measure: int) -> Any:
    mine, theirs = (list(zip(*_worth(asked, run, level), strict=True))[measure] for run in (own, other))
    return lead(mine, theirs)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="freshd-bench-") as name:
        yield Path(name)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    yield from map(json.loads, path.read_text().splitlines())


if __name__ == "__main__":
    main()
