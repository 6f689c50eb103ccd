"""One comparison from its two versions to its results; the journal keeps what is measured as it comes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from freshd.clock import SystemClock
from freshd.compare.arms import Arms
from freshd.compare.effort import machine
from freshd.compare.indexing import OnProgress, Versions, index_both
from freshd.compare.journal import Journal
from freshd.compare.language import BUNDLED, Device, find_model, gpu_for, load_model, precision
from freshd.compare.plan import Plan, asked_of, documents_for
from freshd.compare.records import SAMPLED, SAMPLED_DOCUMENTS, Fact, FactKind, Results, Setup, Update
from freshd.compare.sampling import Sample, taught
from freshd.compare.shelf import FileShelf, adapters_beside
from freshd.compare.trees import Trees, read_trees
from freshd.ports import Clock


def run_comparison(
    old_tree: Path,
    new_tree: Path,
    facts: Sequence[Fact],
    journal: Path,
    plan: Plan,
    *,
    model: str = BUNDLED,
    device: Device = Device.CPU,
    on_progress: OnProgress = lambda *_: None,
    clock: Clock | None = None,
) -> Results:
    """Run what the journal does not hold yet, and give everything.

    Args:
        old_tree: Folder with the documents before the change.
        new_tree: After it.
        facts: What is asked, of both versions.
        journal: File that every record is kept in, what was trained beside it;
            a run that was broken off goes on from both.
        plan: Arms, seeds, settings.
        model: See `find_model`.
        device: Where the model shall compute; freshd itself always does on the processor.
        on_progress: Hears what goes on, steps done, and steps in all; their number is an estimate.
        clock: Says when an arm is through.

    Raises:
        FreshdError: The extra is not installed, the model cannot be loaded, there is no GPU, or memory is short.
        ConfigError: The journal is that of another setup, or the versions cannot be compared.
        StateInUse: Another process writes to the journal.

    """
    found, gpu = find_model(model), gpu_for(device)
    trees = read_trees(old_tree, new_tree, {fact.document for fact in facts})
    versions, facts = versions_of(old_tree, new_tree, trees, facts, plan)
    sample = taught(versions.old, versions.new, facts, plan.recipe.most_sentences)
    setup = _setup(f"{found.name}, SHA-256 {found.identity}", gpu, versions, facts, plan, _bounds(trees, sample))
    versions = replace(versions, taught=sample.sentences if sample else None)
    clock = clock or SystemClock()
    with Journal(journal, setup, facts) as kept:
        if all(pair in kept.finished for pair in plan.pairs):
            return kept.results
        indexed = index_both(versions, facts, plan, on_progress)
        on_progress("loading the model", 0, 1)
        loaded = load_model(found, threads=plan.threads, on_gpu=gpu is not None)
        shelf = FileShelf(kept, adapters_beside(journal))
        arms = Arms(loaded, versions, facts, indexed, plan, on_progress, shelf)
        for record in arms.run(kept.results.updates):
            if isinstance(record, Update):
                kept.append(replace(record, measured_at=f"{clock.now():%Y-%m-%dT%H:%M:%SZ}"))
                kept.finish(record.arm, record.seed)
            else:
                kept.append(record)
        return kept.results


def versions_of(
    old_tree: Path, new_tree: Path, trees: Trees, facts: Sequence[Fact], plan: Plan
) -> tuple[Versions, tuple[Fact, ...]]:
    """Give what takes part and what is asked of it; for a quick run the documents with the most changed facts."""
    old, new = trees.old, trees.new
    if plan.n_changed is None:
        return Versions(old_tree, new_tree, old, new), tuple(facts)
    chosen = documents_for(facts, plan.n_changed)
    # A document that stands in one version only was renamed, perhaps: what it says belongs to the others.
    documents = chosen | (old.keys() ^ new.keys() if chosen - old.keys() else frozenset())
    old, new = ({name: tree[name] for name in tree if name in documents} for tree in (old, new))
    return Versions(old_tree, new_tree, old, new), asked_of(facts, documents)


def _bounds(trees: Trees, sample: Sample | None) -> dict[str, str]:
    """Say of how much there is how much takes part, where it is not all."""
    documents = {SAMPLED_DOCUMENTS: f"{len(trees.new):,} of {trees.n_all:,}"} if trees.is_sample else {}
    return documents | ({SAMPLED: f"{len(sample.sentences):,} of {sample.n_all:,}"} if sample else {})


def _setup(
    model: str, gpu: str | None, versions: Versions, facts: Sequence[Fact], plan: Plan, bounds: Mapping[str, str]
) -> Setup:
    kinds = Counter(fact.kind for fact in facts)
    return Setup(
        model=model,
        machine=machine(),
        n_documents=len(versions.new),
        n_changed=kinds[FactKind.CHANGED],
        n_unchanged=kinds[FactKind.UNCHANGED],
        n_vanished=kinds[FactKind.VANISHED],
        seeds=plan.seeds,
        is_quick=plan.is_quick,
        settings={**plan.settings, "trained_in": precision(on_gpu=gpu is not None), **bounds},
        gpu=gpu,
    )
