"""Runs the arms: each is brought up to date and asked, in an order in which they share work.

    index OLD ─ passages ─▶ put NEW, update ─ passages ─▶ load the model ─▶ for each seed, for each arm:
        what it needs (trained once, shared) ─▶ its update, measured ─▶ every question ─▶ Answer …, Update

The index is asked before the model is loaded, so that the memory of its update is that of freshd alone.
Training time is that of training: asking development questions in between, to know when to stop, is left out.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from freshd.compare import lessons
from freshd.compare.effort import Stopwatch, forget_peak, peak_bytes
from freshd.compare.language import LanguageModel, Tuning, TuningSettings
from freshd.compare.plan import WAYS, Plan, School, Way
from freshd.compare.records import Answer, Arm, Fact, FactKind, Update
from freshd.compare.retrieval import Refresh, Retrieved, open_scratch
from freshd.compare.trees import Tree

OnProgress = Callable[[str, int, int], None]
"""Hears what goes on, steps done, and steps in all: a question answered is one, a lesson half of one."""

_LEARNED: Final = 0.9
"""Mean chance of the right value at which a training has nothing left to gain, once all are the likeliest."""

_NOTHING: Final = Retrieved((), 0.0, 0.0)
_STEPS_PER_LESSON: Final = 0.5


@dataclass(frozen=True, slots=True)
class Versions:
    """The documents before and after, as folders and as read.

    Attributes:
        documents: Ids of those that take part, in each version; None for all.

    """

    old_tree: Path
    new_tree: Path
    old: Tree
    new: Tree
    documents: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Indexed:
    """What freshd took and found.

    Attributes:
        first: The first index.
        update: From the change on.
        stale: Passages by fact id, from the index of the old version.
        fresh: From the updated one.

    """

    first: Refresh
    update: Refresh
    peak_bytes: int
    stale: Mapping[str, Retrieved]
    fresh: Mapping[str, Retrieved]


@dataclass(frozen=True, slots=True)
class Schooling:
    """A training that is over.

    Attributes:
        known: Share of changed development facts whose value was the likeliest, after each epoch.

    """

    tuning: Tuning
    learning_rate: float
    peak_bytes: int
    n_lessons: int
    known: tuple[float, ...]

    @property
    def curve(self) -> tuple[tuple[float, float], ...]:
        """Seconds of training, and what was known then."""
        seconds = (second for second, _ in self.tuning.curve)
        return tuple(zip(seconds, self.known, strict=True))

    @property
    def best(self) -> float:
        """The best that `tune` heard."""
        return max(score for _, score in self.tuning.curve)


def index_both(versions: Versions, facts: Sequence[Fact], plan: Plan, on_progress: OnProgress) -> Indexed:
    """Index the old version, then bring that index up to date; ask it everything each time.

    Raises:
        FreshdError: See `ScratchIndex.update`.

    """

    def ask() -> dict[str, Retrieved]:
        return {fact.fact_id: index.retrieve(fact.question, plan.k) for fact in facts}

    with TemporaryDirectory(prefix="freshd-compare-") as folder, open_scratch(Path(folder) / "index") as index:
        on_progress("first index", 0, 2)
        index.put(versions.old_tree, versions.documents)
        first, stale = index.update(), ask()
        on_progress("update of the index", 1, 2)
        index.put(versions.new_tree, versions.documents)
        forget_peak()
        update = index.update()
        peak = peak_bytes()
        fresh = ask()
    return Indexed(first, update, peak, stale, fresh)


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
    ) -> None:
        """Get ready.

        Args:
            model: Asked, tuned, and left as it was.
            versions: What changed.
            facts: What is asked; those for development only to decide when a training ends, and at which rate it goes.
            indexed: What freshd took and found.
            plan: Settings.
            on_progress: Hears how far this is.

        """
        self._model = model
        self._versions = versions
        self._facts = facts
        self._asked = [fact for fact in facts if not fact.is_development]
        self._indexed = indexed
        self._plan = plan
        self._on_progress = on_progress
        self._changed = [fact for fact in facts if fact.is_development and fact.kind is FactKind.CHANGED]
        self._unchanged = [fact for fact in facts if fact.is_development and fact.kind is FactKind.UNCHANGED]
        self._questions = [fact.question for fact in facts]
        self._schooled: dict[tuple[School, int], Schooling] = {}
        self._learning_rate: float | None = None
        self._done = self._total = 0.0

    def run(self, known: Sequence[Update] = ()) -> Iterator[Update | Answer]:
        """Give what is measured, arm by arm: its answers, then its update.

        Args:
            known: Updates that need not be measured again; their arms and seeds are left out.

        Raises:
            FreshdError: Out of memory.

        """
        self._learning_rate = next((one.learning_rate for one in known if one.learning_rate is not None), None)
        finished = {(one.arm, one.seed) for one in known}
        pending = [pair for pair in self._plan.pairs if pair not in finished]
        self._total = self._steps(pending)
        for arm, seed in pending:
            self._forget_other_seeds(seed)
            yield from self._one(arm, seed)
        self._tell("done", 0.0, is_over=True)

    def _one(self, arm: Arm, seed: int) -> Iterator[Update | Answer]:
        way = WAYS[arm]
        before = self._school(way.before, seed) if way.before else None
        update = self._school(way.update, seed) if way.update else None
        worn = update or before
        with self._model.wearing(worn.tuning.adapters if worn else None):
            for fact in self._asked:
                yield self._answer(arm, seed, fact, self._passages(way, fact))
                self._tell(f"{arm}, seed {seed}", 1)
            curve = self._reading_curve(way) if way.reads else update.curve if update else ()
        yield self._update(arm, seed, before, update, curve)

    def _passages(self, way: Way, fact: Fact) -> Retrieved | None:
        if not way.reads:
            return None
        return (self._indexed.stale if way.is_stale else self._indexed.fresh)[fact.fact_id]

    def _answer(self, arm: Arm, seed: int, fact: Fact, retrieved: Retrieved | None) -> Answer:
        found = retrieved or _NOTHING
        prompt = lessons.prompt_with(found.texts, fact.question)
        watch = Stopwatch()
        with watch:
            said = self._model.answer(prompt, fact.prefix, self._plan.answer_tokens)
        best = found.passages[0] if found.passages else None
        return Answer(
            arm=arm,
            seed=seed,
            fact_id=fact.fact_id,
            scores=self._model.score(prompt, fact.prefix, fact.options),
            text=said.text,
            confidence=said.confidence,
            cited=best.document if best else None,
            is_grounded=None if retrieved is None else best is not None and best.holds(fact.value),
            prompt_tokens=said.prompt_tokens,
            retrieval_s=found.wall_s,
            prefill_s=said.prefill_s,
            generation_s=said.generation_s,
            cpu_s=found.cpu_s + watch.cpu_s,
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
            before_s=(before.tuning.cpu_s if before else 0.0) + (indexed.first.cpu_s if way.reads else 0.0),
            peak_bytes=update.peak_bytes if update else indexed.peak_bytes if refreshed else 0,
            trained_tokens=update.tuning.tokens if update else 0,
            epochs=update.tuning.epochs if update else 0,
            learning_rate=last.learning_rate if last else None,
            curve=curve,
            settings=settings,
        )

    def _found(self) -> float:
        """Share of changed facts whose new value stands in a passage that the updated index finds for the question."""
        changed = [fact for fact in self._facts if fact.kind is FactKind.CHANGED]
        found = [any(one.holds(fact.new) for one in self._indexed.fresh[fact.fact_id].passages) for fact in changed]
        return sum(found) / len(found) if found else 0.0

    def _reading_curve(self, way: Way) -> tuple[tuple[float, float], ...]:
        """Tell what was known just before the update and at its end; nothing in between could be asked."""
        known, _ = self._examined(self._changed, self._indexed.stale, is_new=True)
        if way.is_stale:
            return ((0.0, known),)
        after, _ = self._examined(self._changed, self._indexed.fresh, is_new=True)
        return ((0.0, known), (self._indexed.update.wall_s, after))

    def _school(self, school: School, seed: int) -> Schooling:
        """Train once for a seed, and remember it as long as that seed is worked on."""
        if (school, seed) not in self._schooled:
            if self._learning_rate is None:
                self._sweep()
            else:
                self._schooled[school, seed] = self._train(school, seed, self._learning_rate)
            return self._school(school, seed)
        return self._schooled[school, seed]

    def _sweep(self) -> None:
        """Learn the old version at every learning rate; the best is that of everything, and the training is kept."""
        seed = self._plan.seeds[0]
        tried = [self._train(School.OLD, seed, rate) for rate in self._plan.learning_rates]
        best = max(tried, key=lambda one: one.best)
        self._learning_rate = best.learning_rate
        self._schooled[School.OLD, seed] = best

    def _train(self, school: School, seed: int, learning_rate: float) -> Schooling:
        rounds = self._lessons(school, seed)
        start = None
        if school in (School.INCREMENTAL, School.REPLAY):
            start = self._school(School.OLD, seed).tuning.adapters
        settings = TuningSettings(learning_rate, self._plan.epochs, seed)
        patience, known = _Patience(self._plan.patience), []
        n_steps, n_told = _STEPS_PER_LESSON * len(rounds[0]), 0

        def on_epoch(epoch: int) -> tuple[float, bool]:
            nonlocal n_told
            share, chance = self._examined_after(school)
            known.append(share)
            n_told = epoch
            self._tell(f"training on {school}, seed {seed}", n_steps)
            return chance, patience.goes_on(share, chance)

        forget_peak()
        tuning = self._model.tune(rounds, settings, on_epoch, start)
        self._tell(f"training on {school}, seed {seed}", n_steps * (self._plan.epochs - n_told))
        return Schooling(tuning, learning_rate, peak_bytes(), len(rounds[0]), tuple(known))

    def _examined_after(self, school: School) -> tuple[float, float]:
        """Ask development questions the way the arms will be; before the change what was right then counts.

        Returns:
            Share of changed facts that are known, and how good the model is: few facts make a jumpy share,
            so what did not change is asked as well, but of who learns nothing else than what changed.

        """
        is_new = school in (School.INCREMENTAL, School.REPLAY, School.NEW)
        reads = school in (School.READER, School.FORM, School.MIXED)
        found = self._indexed.stale if reads else None
        share, chances = self._examined(self._changed, found, is_new=is_new)
        if school is not School.INCREMENTAL:
            chances += self._examined(self._unchanged, found, is_new=True)[1]
        return share, sum(chances) / len(chances) if chances else 0.0

    def _examined(
        self, facts: Sequence[Fact], found: Mapping[str, Retrieved] | None, *, is_new: bool
    ) -> tuple[float, list[float]]:
        """Give the share of facts whose value is the likeliest, and the chance of each value among the four."""
        n_known, chances = 0, []
        for fact in facts:
            texts = found[fact.fact_id].texts if found else ()
            scores = self._model.score(lessons.prompt_with(texts, fact.question), fact.prefix, fact.options)
            right = scores[0 if is_new else 1]
            n_known += right == max(scores)
            chances.append(1 / sum(math.exp(score - right) for score in scores))
        return n_known / len(facts) if facts else 0.0, chances

    def _lessons(self, school: School, seed: int) -> lessons.Rounds:
        old, new, asked, recipe = self._versions.old, self._versions.new, self._questions, self._plan.recipe
        match school:
            case School.OLD:
                return lessons.knowledge(old, asked, recipe, seed)
            case School.NEW:
                return lessons.knowledge(new, asked, recipe, seed)
            case School.INCREMENTAL:
                return lessons.changed(old, new, asked, recipe, seed)
            case School.REPLAY:
                return lessons.replay(old, new, asked, recipe, seed)
            case School.FORM:
                return lessons.form(asked, recipe, seed)
        about = {fact.document for fact in self._facts}
        reading = lessons.reading({name: old[name] for name in old if name not in about}, asked, recipe, seed)
        if school is School.READER:
            return reading
        return lessons.mixed(lessons.knowledge(old, asked, recipe, seed), reading)

    def _forget_other_seeds(self, seed: int) -> None:
        self._schooled = {key: one for key, one in self._schooled.items() if key[1] == seed}

    def _steps(self, pending: Sequence[tuple[Arm, int]]) -> float:
        """Estimate the steps of what is to be done, so that an end can be foreseen."""
        schools = {(school, seed) for arm, seed in pending for school in _schools(WAYS[arm])}
        counted = {school: len(self._lessons(school, 0)[0]) for school in {school for school, _ in schools}}
        n_lessons = sum(counted[school] for school, _ in schools)
        if self._learning_rate is None and schools:
            n_lessons += (len(self._plan.learning_rates) - 1) * counted.get(School.OLD, 0)
        return len(pending) * len(self._asked) + _STEPS_PER_LESSON * self._plan.epochs * n_lessons

    def _tell(self, name: str, steps: float, *, is_over: bool = False) -> None:
        self._done += steps
        total = math.ceil(self._total)
        self._on_progress(name, total if is_over else min(total - 1, math.floor(self._done)), total)


def _schools(way: Way) -> Iterator[School]:
    return (school for school in (way.before, way.update) if school is not None)


class _Patience:
    """Knows when a training has nothing left to gain."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._best = -math.inf
        self._since = 0

    def goes_on(self, share: float, chance: float) -> bool:
        """Hear of one more epoch."""
        self._since = 0 if chance > self._best else self._since + 1
        self._best = max(self._best, chance)
        has_learned = share == 1.0 and chance >= _LEARNED
        return not has_learned and self._since < self._epochs
