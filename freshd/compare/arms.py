"""Runs the arms: each is brought up to date and asked, in an order in which they share work.

what an arm needs (trained once, shared) ─▶ its update, measured ─▶ every question ─▶ Answer …, Update
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from freshd.compare.indexing import Indexed, OnProgress, Versions
from freshd.compare.language import Asked, LanguageModel, Said
from freshd.compare.plan import WAYS, Plan, Way, timed_of
from freshd.compare.records import Answer, Arm, Fact, FactKind, School, Update
from freshd.compare.retrieval import Retrieved
from freshd.compare.schooling import NoShelf, Schooling, Schools, Shelf, development_of, examined, question

_AT_ONCE: Final = 16
"""Questions between two signs of progress."""

_NOTHING: Final = Retrieved((), 0.0, 0.0)


class Arms:
    """Brings arms up to date and asks them. One model serves all."""

    def __init__(
        self,
        model: LanguageModel,
        versions: Versions,
        facts: Sequence[Fact],
        indexed: Indexed,
        plan: Plan,
        on_progress: OnProgress,
        shelf: Shelf | None = None,
    ) -> None:
        """Get ready.

        Args:
            model: Asked, tuned, and left as it was.
            versions: What changed.
            facts: What is asked; those for development only to decide when a training ends, and at which rate it goes.
            indexed: What freshd took and found.
            plan: Settings.
            on_progress: Hears how far this is.
            shelf: Where trainings are kept; None for nowhere.

        """
        self._model = model
        self._facts = facts
        self._asked = [fact for fact in facts if not fact.is_development]
        self._timed = {fact.fact_id for fact in timed_of(self._asked, plan.n_timed)}
        self._indexed = indexed
        self._plan = plan
        self._on_progress = on_progress
        self._changed = development_of(facts, FactKind.CHANGED)
        self._schools = Schools(model, versions, facts, indexed, plan, self._tell, shelf or NoShelf())
        self._done = self._total = 0.0

    def run(self, known: Sequence[Update] = ()) -> Iterator[Update | Answer]:
        """Give what is measured, arm by arm: its answers, then its update.

        Args:
            known: Updates that need not be measured again; their arms and seeds are left out.

        Raises:
            FreshdError: Out of memory.

        """
        for tuned in (one for one in known if one.learning_rate is not None):
            self._schools.learning_rate, self._schools.sweep_s = tuned.learning_rate, tuned.sweep_s
        finished = {(one.arm, one.seed) for one in known}
        pending = [pair for pair in self._plan.pairs if pair not in finished]
        self._total = self._steps(pending)
        for arm, seed in pending:
            self._schools.forget_other_seeds(seed)
            yield from self._one(arm, seed)
        self._tell("done", 0.0, is_over=True)

    def _one(self, arm: Arm, seed: int) -> Iterator[Update | Answer]:
        way = WAYS[arm]
        before = self._schools.give(way.before, seed) if way.before else None
        update = self._schools.give(way.update, seed) if way.update else None
        worn = update or before
        with self._model.wearing(worn.tuning.adapters if worn else None):
            for start in range(0, len(self._asked), _AT_ONCE):
                yield from self._answers(arm, seed, self._asked[start : start + _AT_ONCE])
            curve = self._reading_curve(way) if way.reads else update.curve if update else ()
        yield self._update(arm, seed, before, update, curve)

    def _passages(self, way: Way, fact: Fact) -> Retrieved | None:
        if not way.reads:
            return None
        return (self._indexed.stale if way.is_stale else self._indexed.fresh)[fact.fact_id]

    def _answers(self, arm: Arm, seed: int, facts: Sequence[Fact]) -> Iterator[Answer]:
        found = [self._passages(WAYS[arm], fact) for fact in facts]
        asked = [question(fact, passages) for fact, passages in zip(facts, found, strict=True)]
        said = self._model.answers(asked, self._plan.answer_tokens)
        for each in zip(facts, found, asked, said, strict=True):
            yield self._answer(arm, seed, *each)
            self._tell(f"{arm}, seed {seed}", 1)

    def _answer(self, arm: Arm, seed: int, fact: Fact, retrieved: Retrieved | None, asked: Asked, said: Said) -> Answer:
        found = retrieved or _NOTHING
        best = found.passages[0] if found.passages else None
        is_timed = fact.fact_id in self._timed
        timing = self._model.timed(asked, self._plan.answer_tokens) if is_timed else None
        return Answer(
            arm=arm,
            seed=seed,
            fact_id=fact.fact_id,
            scores=said.scores,
            text=said.text,
            confidence=said.confidence,
            cited=best.document if best else None,
            is_grounded=None if retrieved is None else best is not None and best.holds(fact.value),
            prompt_tokens=said.prompt_tokens,
            retrieval_s=found.wall_s,
            prefill_s=timing.prefill_s if timing else None,
            generation_s=timing.generation_s if timing else None,
            cpu_s=found.cpu_s + timing.cpu_s if timing else None,
            answer_tokens=said.n_tokens,
        )

    def _update(
        self,
        arm: Arm,
        seed: int,
        before: Schooling | None,
        update: Schooling | None,
        curve: tuple[tuple[float, float], ...],
    ) -> Update:
        way, indexed = WAYS[arm], self._indexed
        refreshed = indexed.update if way.reads and not way.is_stale else None
        last = update or before
        sweep_s = self._schools.sweep_s if last else None
        settings: dict[str, str | int | float | None] = {}
        if before:
            settings |= {"before_epochs": before.tuning.epochs, "before_lessons": before.n_lessons}
            settings |= {"before_tokens": before.tuning.tokens, "before_s": round(before.tuning.wall_s, 3)}
        if update:
            settings |= {"lessons": update.n_lessons}
        if refreshed:
            settings |= {"documents": refreshed.documents, "embedded_chunks": refreshed.embedded}
            settings |= {"found": self._found()}
        return Update(
            arm=arm,
            seed=seed,
            wall_s=update.tuning.wall_s if update else refreshed.wall_s if refreshed else 0.0,
            cpu_s=update.tuning.cpu_s if update else refreshed.cpu_s if refreshed else 0.0,
            before_s=(before.tuning.cpu_s if before else 0.0)
            + (indexed.first.cpu_s if way.reads else 0.0)
            + (sweep_s or 0.0),
            peak_bytes=update.peak_bytes if update else indexed.peak_bytes if refreshed else 0,
            trained_tokens=update.tuning.tokens if update else 0,
            epochs=update.tuning.epochs if update else 0,
            learning_rate=last.learning_rate if last else None,
            curve=curve,
            settings=settings,
            sweep_s=sweep_s,
            n_processes=indexed.n_processes if refreshed and not update else 1,
        )

    def _found(self) -> float:
        """Share of the changed facts judged by whose new value stands in a passage that the updated index finds."""
        changed = [fact for fact in self._asked if fact.kind is FactKind.CHANGED]
        found = [any(one.holds(fact.new) for one in self._indexed.fresh[fact.fact_id].passages) for fact in changed]
        return sum(found) / len(found) if found else 0.0

    def _reading_curve(self, way: Way) -> tuple[tuple[float, float], ...]:
        """Tell what was known just before the update and at its end; nothing in between could be asked."""
        known, _ = examined(self._model, self._changed, self._indexed.stale, is_new=True)
        if way.is_stale:
            return ((0.0, known),)
        after, _ = examined(self._model, self._changed, self._indexed.fresh, is_new=True)
        return ((0.0, known), (self._indexed.update.wall_s, after))

    def _steps(self, pending: Sequence[tuple[Arm, int]]) -> float:
        """Estimate the steps of what is to be done, so that an end can be foreseen."""
        schools = {(school, seed) for arm, seed in pending for school in _schools(WAYS[arm])}
        return len(pending) * len(self._asked) + self._schools.steps(schools)

    def _tell(self, name: str, steps: float, *, is_over: bool = False) -> None:
        self._done += steps
        total = math.ceil(self._total)
        self._on_progress(name, total if is_over else min(total - 1, math.floor(self._done)), total)


def _schools(way: Way) -> Iterator[School]:
    return (school for school in (way.before, way.update) if school is not None)
