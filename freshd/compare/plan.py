"""What a run is made of: arms, seeds, how much training, which facts. Pure."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from freshd.compare.effort import usable_cores
from freshd.compare.lessons import Recipe
from freshd.compare.records import Arm, Fact, FactKind, School


@dataclass(frozen=True, slots=True)
class Way:
    """How an arm comes to its answers.

    Attributes:
        before: Trained once, before any change.
        update: Trained for the change.
        reads: Is shown passages of the index: the updated one, or where `is_stale`, the one that was not.

    """

    before: School | None = None
    update: School | None = None
    reads: bool = False
    is_stale: bool = False

    @property
    def wears(self) -> School | None:
        """The training that answers."""
        return self.update or self.before


WAYS: Final = {
    Arm.BASE: Way(),
    Arm.RAG: Way(reads=True),
    Arm.RAG_STALE: Way(reads=True, is_stale=True),
    Arm.TUNED_FROZEN: Way(School.OLD),
    Arm.TUNED_RAG: Way(School.OLD, reads=True),
    Arm.TUNED_INCREMENTAL: Way(School.OLD, School.INCREMENTAL),
    Arm.TUNED_REPLAY: Way(School.OLD, School.REPLAY),
    Arm.TUNED_RETRAINED: Way(School.OLD, School.NEW),
    Arm.READER_RAG: Way(School.READER, reads=True),
    Arm.FORMAT_RAG: Way(School.FORM, reads=True),
    Arm.MIXED_RAG: Way(School.MIXED, reads=True),
}
"""In the order in which they run."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Every setting of a run.

    Attributes:
        learning_rates: Tried on development facts before the change, the best is used for every training.
        epochs: At most, for every training alike; in as many every sentence is asked for in every way.
        patience: Epochs without any gain on development facts, after which a training ends.
        k: Passages shown.
        answer_tokens: At most, of a greedy answer.
        n_timed: Questions that each arm is timed with, one at a time; it answers all, but several at once.
        n_changed: Changed facts of a quick run, from as few documents as hold so many; all for None.

    """

    arms: tuple[Arm, ...] = tuple(WAYS)
    seeds: tuple[int, ...] = (0, 1, 2)
    learning_rates: tuple[float, ...] = (2e-3, 4e-3, 8e-3)
    epochs: int = 6
    patience: int = 3
    k: int = 3
    answer_tokens: int = 10
    n_timed: int = 20
    threads: int = field(default_factory=usable_cores)
    n_changed: int | None = None
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def is_quick(self) -> bool:
        """A subset of facts and arms."""
        return self.n_changed is not None

    @property
    def pairs(self) -> tuple[tuple[Arm, int], ...]:
        """Arms with their seeds; without training a seed changes nothing, so those run once."""
        ordered = [arm for arm in WAYS if arm in self.arms]
        untrained = [(arm, self.seeds[0]) for arm in ordered if WAYS[arm].wears is None]
        return (*untrained, *((arm, seed) for seed in self.seeds for arm in ordered if WAYS[arm].wears is not None))

    @property
    def settings(self) -> dict[str, str | int | float | None]:
        """All of it, for the report."""
        return {
            "arms": ", ".join(self.arms),
            "learning_rates": ", ".join(f"{rate:g}" for rate in self.learning_rates),
            "epochs": self.epochs,
            "patience": self.patience,
            "passages": self.k,
            "answer_tokens": self.answer_tokens,
            "timed_questions": self.n_timed,
            "threads": self.threads,
            "rounds": self.recipe.rounds,
            "reading_lessons": self.recipe.n_reading,
            "replayed": self.recipe.replayed,
        }


FULL: Final = Plan()
QUICK: Final = Plan(
    arms=(
        Arm.BASE,
        Arm.RAG,
        Arm.RAG_STALE,
        Arm.TUNED_FROZEN,
        Arm.TUNED_INCREMENTAL,
        Arm.TUNED_RETRAINED,
        Arm.READER_RAG,
    ),
    seeds=(0,),
    learning_rates=(4e-3,),
    n_changed=6,
    recipe=Recipe(n_reading=24),
)


def documents_for(facts: Sequence[Fact], n_changed: int) -> frozenset[str]:
    """Choose the documents with the most changed facts, until they hold enough to ask, and one for development.

    Returns:
        All documents of facts, where there are fewer.

    """
    changed = [fact for fact in facts if fact.kind is FactKind.CHANGED]
    ranked = Counter(fact.document for fact in changed)
    chosen: set[str] = set()
    for document, _ in sorted(ranked.items(), key=lambda one: (-one[1], one[0])):
        held = [fact.is_development for fact in changed if fact.document in chosen]
        if held.count(False) >= n_changed and any(held):
            break
        chosen.add(document)
    return frozenset(chosen)


def timed_of(facts: Sequence[Fact], n: int) -> tuple[Fact, ...]:
    """Choose so many facts, all over the list; all of them where there are fewer."""
    return tuple(facts[place * len(facts) // n] for place in range(n)) if n < len(facts) else tuple(facts)


def asked_of(facts: Sequence[Fact], documents: Collection[str]) -> tuple[Fact, ...]:
    """Keep the facts of some documents."""
    return tuple(fact for fact in facts if fact.document in documents)
