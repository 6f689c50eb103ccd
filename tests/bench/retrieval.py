"""Scores freshd's own search on a set of questions over a documentation tree.

    python -m tests.bench.retrieval EVAL_FOLDER [--keep FOLDER]

The folder holds `django-5.2.questions.jsonl`, `score.py` and baselines as `baseline-*.jsonl`;
its own page says what they are. The scorer prints first, freshd alone, then paired differences;
what is found within an equal volume of text comes last.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from freshd.compose import Whole
from tests.bench.corpus import DjangoDocs, put
from tests.bench.instance import Instance, reindex
from tests.bench.report import machine, say, show_machine
from tests.bench.volume import compare

_QUESTIONS = "django-5.2.questions.jsonl"
_HITS = 50
"""As many as the scorer wants, to fold repeated hits of one document and still have ten."""


def main() -> None:
    """Index, ask every question, score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("eval_folder", type=Path)
    parser.add_argument("--keep", type=Path, help="leave the index and the results in this folder; continue there")
    arguments = parser.parse_args()
    show_machine(machine())
    with _folder(arguments.keep) as root:
        results = root / "results.jsonl"
        instance = _instance(root)
        with instance.open() as whole:
            _index(whole)
            questions = list(_rows(arguments.eval_folder / _QUESTIONS))
            results.write_text("".join(f"{json.dumps(row)}\n" for row in _answers(whole, questions)))
        for options in ([], ["--min-cover", "0.5"]):
            _score(arguments.eval_folder, results, options)
        runs = {"freshd": results} | {path.stem: path for path in _baselines(arguments.eval_folder)}
        hits = {name: {row["id"]: row["hits"] for row in _rows(path)} for name, path in runs.items()}
        compare(instance.docs, questions, hits).show()


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="freshd-bench-") as name:
        yield Path(name)


def _instance(root: Path) -> Instance:
    instance = Instance(root)
    if not any(instance.docs.iterdir()):
        with tempfile.TemporaryDirectory(prefix="freshd-bench-") as name:
            put(DjangoDocs(Path(name)).tree("5.2"), instance.docs)
    return instance


def _index(whole: Whole) -> None:
    began_s = time.perf_counter()
    tally = reindex(whole)
    elapsed_s = time.perf_counter() - began_s
    say(f"{whole.store.count():,} chunks in the index, {tally.fates.embedded:,} embedded now, in {elapsed_s:.0f} s")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    yield from map(json.loads, path.read_text().splitlines())


def _baselines(eval_folder: Path) -> list[Path]:
    return sorted(eval_folder.glob("baseline-*.jsonl"))


def _answers(whole: Whole, questions: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for question in questions:
        hits = [hit.citation for hit in whole.search.search(question["question"], _HITS).hits]
        yield {
            "id": question["id"],
            "hits": [{"path": hit.document_id, "start_line": hit.start_line, "end_line": hit.end_line} for hit in hits],
        }


def _score(eval_folder: Path, results: Path, options: Sequence[str]) -> None:
    """Let the scorer print: first what freshd finds, then how that differs from each baseline, question by question."""
    command = [sys.executable, "-I", str(eval_folder / "score.py"), str(eval_folder / _QUESTIONS)]
    for baseline in (None, *_baselines(eval_folder)):
        title = "freshd" if baseline is None else f"freshd − {baseline.stem}"
        against = [] if baseline is None else ["--against", str(baseline)]
        say(" ".join([title, *options]))
        scored = subprocess.run(
            [*command, str(results), *against, *options], capture_output=True, text=True, check=True
        )
        sys.stdout.write(scored.stdout + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
