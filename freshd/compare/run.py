"""One comparison from its two versions to its results; the journal keeps what is measured as it comes."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from freshd.compare.arms import Arms, OnProgress, Versions, index_both
from freshd.compare.effort import machine
from freshd.compare.journal import Journal
from freshd.compare.language import BUNDLED, find_model, load_model
from freshd.compare.plan import Plan, asked_of, documents_for
from freshd.compare.records import Fact, FactKind, Results, Setup, Update
from freshd.compare.trees import read_tree


def run_comparison(
    old_tree: Path,
    new_tree: Path,
    facts: Sequence[Fact],
    journal: Path,
    plan: Plan,
    *,
    model: str = BUNDLED,
    on_progress: OnProgress = lambda *_: None,
) -> Results:
    """Run what the journal does not hold yet, and give everything.

    Args:
        old_tree: Folder with the documents before the change.
        new_tree: After it.
        facts: What is asked, of both versions.
        journal: File that every record is kept in; a run that was broken off goes on from it.
        plan: Arms, seeds, settings.
        model: See `load_model`.
        on_progress: Hears what goes on, steps done, and steps in all; their number is an estimate.

    Raises:
        FreshdError: The extra is not installed, the model cannot be loaded, or memory is short.
        ConfigError: The journal is that of another setup, or the versions cannot be compared.
        StateInUse: Another process writes to the journal.

    """
    found = find_model(model)
    versions, facts = versions_of(old_tree, new_tree, facts, plan)
    setup = _setup(f"{found.name}, SHA-256 {found.identity}", versions, facts, plan)
    with Journal(journal, setup, facts) as kept:
        if all(pair in kept.finished for pair in plan.pairs):
            return kept.results
        indexed = index_both(versions, facts, plan, on_progress)
        on_progress("loading the model", 0, 1)
        loaded = load_model(found, threads=plan.threads)
        for record in Arms(loaded, versions, facts, indexed, plan, on_progress).run(kept.results.updates):
            kept.append(record)
            if isinstance(record, Update):
                kept.finish(record.arm, record.seed)
        return kept.results


def versions_of(old_tree: Path, new_tree: Path, facts: Sequence[Fact], plan: Plan) -> tuple[Versions, tuple[Fact, ...]]:
    """Read both versions and give what is asked of them; for a quick run the documents with the most changed facts.

    Raises:
        ConfigError: Nothing in one of the folders can be read.
        SourceUnavailable: One of the folders is not there.

    """
    old, new = read_tree(old_tree), read_tree(new_tree)
    if plan.n_changed is None:
        return Versions(old_tree, new_tree, old, new), tuple(facts)
    chosen = documents_for(facts, plan.n_changed)
    # A document that stands in one version only was renamed, perhaps: what it says belongs to the others.
    documents = chosen | (old.keys() ^ new.keys() if chosen - old.keys() else frozenset())
    old, new = ({name: tree[name] for name in tree if name in documents} for tree in (old, new))
    return Versions(old_tree, new_tree, old, new, documents), asked_of(facts, documents)


def _setup(model: str, versions: Versions, facts: Sequence[Fact], plan: Plan) -> Setup:
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
        settings=plan.settings,
    )
