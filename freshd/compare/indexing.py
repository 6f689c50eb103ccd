"""The index in the comparison: brought from the old version to the new one, and asked everything before and after.

    OLD ─put, update─▶ index ─ask─▶ stale passages
    NEW ─put, update, measured─▶ the same index ─ask─▶ fresh passages

It is done with before a language model is loaded, so that the memory of its update is that of freshd alone.
"""

import gc
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from freshd.compare.effort import forget_peak, peak_bytes
from freshd.compare.plan import Plan
from freshd.compare.records import Fact
from freshd.compare.retrieval import Refresh, Retrieved, open_scratch
from freshd.compare.trees import Tree

OnProgress = Callable[[str, int, int], None]
"""Hears what goes on, steps done, and steps in all; each name is a piece of work of its own."""

STAGES: Final = ("first index", "update of the index")
"""Names under which the index tells how far it is, in documents."""


@dataclass(frozen=True, slots=True)
class Versions:
    """The documents before and after, as folders and as read; only what was read takes part.

    Attributes:
        taught: Sentences that trainings are made from; None for all.

    """

    old_tree: Path
    new_tree: Path
    old: Tree
    new: Tree
    taught: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Indexed:
    """What freshd took and found.

    Attributes:
        first: The first index.
        update: From the change on.
        peak_bytes: Largest resident memories of the update, of this process and of the store's, added up.
        n_processes: How many those are.
        stale: Passages by fact id, from the index of the old version.
        fresh: From the updated one.

    """

    first: Refresh
    update: Refresh
    peak_bytes: int
    n_processes: int
    stale: Mapping[str, Retrieved]
    fresh: Mapping[str, Retrieved]


def index_both(versions: Versions, facts: Sequence[Fact], plan: Plan, on_progress: OnProgress) -> Indexed:
    """Index the old version, then bring that index up to date; ask it everything each time.

    Raises:
        FreshdError: See `ScratchIndex.update`.

    """

    def ask() -> dict[str, Retrieved]:
        return {fact.fact_id: index.retrieve(fact.question, plan.k) for fact in facts}

    with TemporaryDirectory(prefix="freshd-compare-") as folder, open_scratch(Path(folder) / "index") as index:
        index.put(versions.old_tree, versions.old)
        first, stale = index.update(partial(on_progress, STAGES[0])), ask()
        index.put(versions.new_tree, versions.new)
        gc.collect()
        forget_peak(index.children())
        update = index.update(partial(on_progress, STAGES[1]))
        children = index.children()
        peak = peak_bytes(children)
        fresh = ask()
    return Indexed(first, update, peak, 1 + len(children), stale, fresh)
