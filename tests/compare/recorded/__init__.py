"""Recorded comparisons to test reports with: journals, and what is made of each.

    NAME.jsonl ─▶ NAME.json, NAME-100.txt, NAME-80.txt

In `made_up` every number was made up: no model answered and no machine was timed. Others may be of real runs.
After a change that is meant: `python -m tests.compare.recorded`, and look at the difference.
To take in a run: `python -m tests.compare.recorded JOURNAL NAME`; only what is finished of it is taken.
"""

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from rich.console import Console

from freshd.compare.estimates import Estimate, estimate
from freshd.compare.journal import read
from freshd.compare.records import Answer, Arm, Fact, FactKind, Results, Setup, Update
from freshd.compare.report import ComparisonReport, build_report, report_view

FOLDER = Path(__file__).parent
JOURNAL = FOLDER / "made_up.jsonl"
WIDTHS = (100, 80)


def made_up() -> Results:
    """Read the recorded run."""
    return read(JOURNAL)


def as_json(report: ComparisonReport) -> str:
    """Write a report as it is kept: what differs from one freshd to the next is left out."""
    return json.dumps({**report, "version": "0"}, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def as_text(report: ComparisonReport, width: int) -> str:
    """Write a report as a terminal shows it, blanks at line ends left out."""
    console = Console(width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as shown:
        console.print(report_view(report, console))
    return "".join(f"{line.rstrip()}\n" for line in shown.get().splitlines())


def journals() -> list[Path]:
    """Give the journals of all recorded runs."""
    return sorted(FOLDER.glob("*.jsonl"))


def take_in(journal: Path, name: str, folder: Path = FOLDER) -> Path:
    """Record another run, as far as it is finished; give its journal."""
    read(journal)  # or be told what is wrong with it
    lines = journal.read_bytes().splitlines(keepends=True)
    n_finished = max(n for n, line in enumerate(lines, 1) if line.startswith(b'{"record": "mark"'))
    taken = folder / f"{name}.jsonl"
    taken.write_bytes(b"".join(lines[:n_finished]))
    return taken


def keep(journal: Path) -> None:
    """Write anew what is made of a recorded run."""
    report = build_report(read(journal))
    journal.with_suffix(".json").write_text(as_json(report), encoding="utf-8")
    for width in WIDTHS:
        journal.with_name(f"{journal.stem}-{width}.txt").write_text(as_text(report, width), encoding="utf-8")


def setup(**changed: object) -> Setup:
    """What an invented run was made with."""
    own = {"model": "m", "machine": "n", "n_documents": 2, "n_changed": 1, "n_unchanged": 1, "n_vanished": 1}
    return Setup(**{**own, "seeds": (0,), "is_quick": False, **changed})


def fact(name: str, kind: FactKind = FactKind.CHANGED, *, is_development: bool = False) -> Fact:
    """A fact whose old value is `old` and whose new one is `new`; `old` where it did not change."""
    new = {FactKind.CHANGED: "new", FactKind.UNCHANGED: "old", FactKind.VANISHED: None}[kind]
    others = ("one", "two") if kind == FactKind.CHANGED else ("one", "two", "three")
    return Fact(name, kind, f"{name}?", f"{name} is", "old", new, "page.md", others, is_development)


def answer(name: str, text: str = "new", *, arm: Arm = Arm.RAG, likeliest: int = 0, **more: object) -> Answer:
    """An answer whose likeliest option is the one at this place."""
    scores = tuple(-1.0 if place == likeliest else -2.0 for place in range(4))
    return Answer(**{"arm": arm, "seed": 0, "fact_id": name, "scores": scores, "text": text, "confidence": 0.9, **more})


def results(
    facts: Sequence[Fact], answers: Sequence[Answer], updates: Sequence[Update] = (), **more: object
) -> Results:
    """A run of these."""
    return Results(setup(**more), tuple(facts), tuple(updates), tuple(answers))


def share(*hits: int | Fraction) -> Estimate | None:
    """A share of facts `0`, `1`, … of which these are told."""
    return estimate({str(n): Fraction(hit) for n, hit in enumerate(hits)})
