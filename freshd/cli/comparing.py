"""The command that measures what an update costs: by the index, by training, and by both."""

import json
import math
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from freshd.cli.interrupting import agreed
from freshd.cli.options import out, print_json, talk
from freshd.cli.progress import ProgressTalk
from freshd.errors import ConfigError, FreshdError
from freshd.redaction import printable

if TYPE_CHECKING:
    from freshd.compare import Plan
    from freshd.compare.costs import Prices
    from freshd.compare.records import Fact, Results
    from freshd.compare.report import ComparisonReport
    from freshd.compare.timeline import Stream

_WIDTH = 100
"""Of a report that goes into a file or a pipe."""

_GIT_S = 60
_MOST_CHANGES = 100_000


def compare(
    old: Annotated[Path | None, typer.Argument(metavar="[OLD", help="A folder: the documents before.")] = None,
    new: Annotated[Path | None, typer.Argument(metavar="NEW]", help="The same after the change.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Use the handbook that ships with freshd.")] = False,
    facts: Annotated[Path | None, typer.Option(metavar="FILE", help="JSON Lines; proposed when left out.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A subset of facts and arms, in minutes.")] = False,
    seeds: Annotated[int | None, typer.Option(min=1, max=100, help="How many trainings of each kind.")] = None,
    model: Annotated[str, typer.Option(help="Folder, GGUF file or hub name of a language model.")] = "bundled",
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where the model computes; auto is a GPU if torch has one.")
    ] = "auto",
    changes: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A git folder or a freshd.toml whose history is the timeline.")
    ] = None,
    price: Annotated[list[str] | None, typer.Option(metavar="NAME=AMOUNT", help="May be repeated.")] = None,
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Journal and reports; a run that broke off goes on from it.")
    ] = Path("freshd-compare"),
    yes: Annotated[bool, typer.Option("--yes", help="Take the proposed facts without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure what an update costs: the index against retraining a language model, and both together."""
    from freshd.compare import FULL, QUICK, run_comparison
    from freshd.compare.indexing import STAGES
    from freshd.compare.language import Device, find_model, gpu_for
    from freshd.compare.report import build_report, report_view

    prices, plan = _prices(price or []), _with_seeds(QUICK if quick else FULL, seeds)
    find_model(model)  # or be refused before anything is asked or made
    gpu_for(Device(device))
    stream = None if changes is None else _stream(changes)
    old_tree, new_tree, chosen = _subject(old, new, demo, facts, yes)
    _make(folder)
    with ProgressTalk(talk, "steps") as progress:

        def hear(name: str, done: int, total: int) -> None:
            # One bar for all arms, whose steps go on from one to the next; the index before them counts documents.
            progress(name if name in STAGES else "compare", done, total)

        journal = folder / "journal.jsonl"
        try:
            results = run_comparison(
                old_tree, new_tree, chosen, journal, plan, model=model, device=Device(device), on_progress=hear
            )
        except KeyboardInterrupt:
            talk.print("broken off: the same command goes on from what is finished", markup=False)
            raise
    report = build_report(results, prices, stream=stream)
    page = _write(folder, report)
    if as_json:
        print_json(report)
    else:
        # A report is laid out to a width, unlike lines that may be cut anywhere.
        wide = Console(highlight=False, emoji=False, width=None if out.is_terminal else _WIDTH)
        wide.print(report_view(report, wide))
    talk.print(f"page: {printable(str(page))}", markup=False)
    _tell_adapters(results)


def _tell_adapters(results: "Results") -> None:
    """Say what is kept for a run that goes on, and how much room it takes."""
    files = {one.file: one.n_bytes for one in results.trainings}
    if files:
        size = f"{sum(files.values()) / 2**20:,.0f} MiB"
        talk.print(f"{len(files)} trainings are kept beside the journal, {size}: remove them once no run goes on")


def _subject(
    old: Path | None, new: Path | None, demo: bool, facts: Path | None, yes: bool
) -> tuple[Path, Path, Sequence["Fact"]]:
    """Give both versions and what is asked about them."""
    from freshd.compare import handbook, load_facts, propose

    if demo:
        if old or new or facts:
            what = "compare: got folders or facts beside --demo, expected either"
            raise ConfigError(what, hint="freshd compare --help")
        shipped = handbook()
        return shipped.old_tree, shipped.new_tree, shipped.facts
    if old is None or new is None:
        raise ConfigError("compare: expected OLD and NEW, or --demo", hint="freshd compare --demo --quick")
    if facts is not None:
        return old, new, load_facts(facts, old, new)
    talk.print("looking for facts in both versions: half a minute for a thousand documents")
    proposed = propose(old, new)
    _agree(proposed, yes)
    return old, new, proposed


def _agree(proposed: Sequence["Fact"], yes: bool) -> None:
    """Show the facts that were found, and ask whether they will do."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("", "question", "before", "after"):
        table.add_column(column, overflow="fold")
    for fact in proposed:
        cells = (fact.kind.value, fact.question, fact.old, fact.new if fact.new is not None else "–")
        table.add_row(*(printable(cell) for cell in cells))
    talk.print(table)
    talk.print(f"{len(proposed)} facts were found by rule; a file of your own asks better questions: --facts FILE")
    if yes:
        return
    if not talk.is_terminal:
        raise ConfigError("compare: nobody is there to agree to the proposed facts", hint="--yes, or --facts FILE")
    if not agreed("Compare with these?"):
        raise typer.Exit(1)


def _with_seeds(plan: "Plan", seeds: int | None) -> "Plan":
    return plan if seeds is None else replace(plan, seeds=tuple(range(seeds)))


def _prices(given: Sequence[str]) -> "Prices":
    from freshd.compare.costs import Prices

    known = asdict(Prices())
    chosen: dict[str, str | float] = {}
    for one in given:
        name, equals, amount = one.partition("=")
        try:
            if not equals or name not in known:
                raise ValueError
            chosen[name] = amount if name == "currency" else type(known[name])(amount)
            if name != "currency" and not 0 < float(amount) < math.inf:
                raise ValueError
        except ValueError:
            names = ", ".join(f"{name}={value}" for name, value in known.items())
            raise ConfigError(
                f'--price: got "{printable(one)}", expected NAME=AMOUNT, such as one of: {names}',
                hint="freshd compare --price machine_hour=0.05",
            ) from None
    return Prices(**chosen)  # type: ignore[arg-type]  # each is of its field's own type


def _stream(path: Path) -> "Stream":
    """Read a real stream of changes: git's of a folder, or freshd's own of a config."""
    from freshd.compare.timeline import GIT_LOG, from_git, from_history

    if path.is_file():
        from freshd.config import load
        from freshd.report import stored_changes, stored_status

        config = load(path, connectors=False)
        n_documents = sum(source["documents"] for source in stored_status(config)["sources"])
        return from_history(stored_changes(config, 0, _MOST_CHANGES)["changes"], n_documents)
    try:
        log, files = (_git(path, *words) for words in ((*GIT_LOG, "--", "."), ("ls-files", "-z")))
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", b"") or str(error).encode()
        reason = printable(told.decode(errors="replace").strip())
        what = f"--changes: {printable(str(path))}: got {reason}, expected a folder under git, or a freshd.toml"
        raise ConfigError(what, hint="leave --changes out") from error
    return from_git(log.decode(errors="replace"), files.count(b"\0"))


def _git(folder: Path, *words: str) -> bytes:
    return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=True, timeout=_GIT_S).stdout


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"--out: {printable(str(folder))}: {error.strerror}, expected a folder that can be written"
        raise ConfigError(what, hint="--out DIR") from error


def _write(folder: Path, report: "ComparisonReport") -> Path:
    """Write the report beside its journal; give the page's path."""
    from freshd.compare.report import render_page

    page = folder / "report.html"
    told = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    for path, text in ((folder / "report.json", told), (page, render_page(report))):
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            what = f"{printable(str(path))}: {error.strerror}, expected to write the report to it"
            raise FreshdError(
                what, hint="make room for it, then give the same command again: nothing runs anew"
            ) from error
    return page
