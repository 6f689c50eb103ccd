"""Trains the model: each training once for a seed, at the learning rate that a sweep finds best, and kept on a shelf.

    school, seed ─▶ remembered? on the shelf? ─no─▶ lessons ─▶ tune, asked after each epoch ─▶ Schooling ─▶ shelf

Training time is that of training: asking development questions in between, to know when to stop, is left out.
"""

import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from freshd.compare import lessons
from freshd.compare.effort import forget_peak, peak_bytes
from freshd.compare.indexing import Indexed, Versions
from freshd.compare.language import Asked, LanguageModel, Tuning, TuningSettings
from freshd.compare.plan import Plan
from freshd.compare.records import Fact, FactKind, School
from freshd.compare.retrieval import Retrieved

_LEARNED: Final = 0.9
"""Mean chance of the right value at which a training has nothing left to gain, once all are the likeliest."""

_STEPS_PER_LESSON: Final = 0.5

Tell = Callable[[str, float], None]
"""Hears what goes on, and how many steps more are done."""


@dataclass(frozen=True, slots=True)
class Schooling:
    """A training that is over.

    Attributes:
        lessons: SHA-256 of all that was taught.
        n_lessons: In its first round.
        known: Share of changed development facts whose value was the likeliest, after each epoch.

    """

    school: School
    seed: int
    learning_rate: float
    lessons: str
    n_lessons: int
    tuning: Tuning
    peak_bytes: int
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


class Shelf(Protocol):
    """Where trainings are kept, so that a run that goes on need not repeat them."""

    def has(self, school: School, seed: int, learning_rate: float) -> bool:
        """Tell whether a training was kept, without looking at what is left of it."""

    def find(self, school: School, seed: int, learning_rate: float, taught: str) -> Schooling | None:
        """Give a training back; None if it is not there whole, or something else was taught then."""

    def put(self, schooling: Schooling) -> None:
        """Keep a training; it is on disk when this returns."""


class NoShelf:
    """Keeps nothing."""

    def has(self, school: School, seed: int, learning_rate: float) -> bool:
        """Have nothing."""
        return False

    def find(self, school: School, seed: int, learning_rate: float, taught: str) -> Schooling | None:
        """Find nothing."""

    def put(self, schooling: Schooling) -> None:
        """Let it go."""


class Schools:
    """Gives trainings, each done once.

    Attributes:
        learning_rate: That of everything; None until it is needed.
        sweep_s: CPU seconds of the trainings at other rates than that; None while none was needed, or if unknown.

    """

    def __init__(
        self,
        model: LanguageModel,
        versions: Versions,
        facts: Sequence[Fact],
        indexed: Indexed,
        plan: Plan,
        tell: Tell,
        shelf: Shelf,
    ) -> None:
        """Get ready; see `Arms`."""
        self._model = model
        self._versions = versions
        self._facts = facts
        self._indexed = indexed
        self._plan = plan
        self._tell = tell
        self._shelf = shelf
        self._changed = development_of(facts, FactKind.CHANGED)
        self._unchanged = development_of(facts, FactKind.UNCHANGED)
        self._done: dict[tuple[School, int], Schooling] = {}
        self.learning_rate: float | None = None
        self.sweep_s: float | None = None

    def give(self, school: School, seed: int) -> Schooling:
        """Train once for a seed, and remember it as long as that seed is worked on.

        Raises:
            FreshdError: Out of memory, or it could not be kept.

        """
        if (school, seed) not in self._done:
            if self.learning_rate is None:
                self._sweep()
                return self.give(school, seed)
            self._done[school, seed] = self._train(school, seed, self.learning_rate)
        return self._done[school, seed]

    def forget_other_seeds(self, seed: int) -> None:
        """Let go of the trainings of all seeds but one."""
        self._done = {key: one for key, one in self._done.items() if key[1] == seed}

    def steps(self, schools: Collection[tuple[School, int]]) -> float:
        """Estimate the steps of trainings that are to be done, those on the shelf left out."""
        rate, first = self.learning_rate, (School.OLD, self._plan.seeds[0])
        wanted = [(*one, rate) for one in schools if rate is not None or one != first]
        if rate is None and schools:
            wanted += [(*first, tried) for tried in self._plan.learning_rates]
        todo = [one[0] for one in wanted if one[2] is None or not self._shelf.has(one[0], one[1], one[2])]
        counted = {school: len(self._lessons(school, 0)[0]) for school in set(todo)}
        return _STEPS_PER_LESSON * self._plan.epochs * sum(counted[school] for school in todo)

    def _sweep(self) -> None:
        """Learn the old version at every learning rate; the best is that of everything, and the training is kept."""
        seed = self._plan.seeds[0]
        tried = [self._train(School.OLD, seed, rate) for rate in self._plan.learning_rates]
        best = max(tried, key=lambda one: one.best)
        self.learning_rate = best.learning_rate
        self.sweep_s = math.fsum(one.tuning.cpu_s for one in tried if one is not best)
        self._done[School.OLD, seed] = best

    def _train(self, school: School, seed: int, learning_rate: float) -> Schooling:
        rounds = self._lessons(school, seed)
        n_steps, n_told, name = _STEPS_PER_LESSON * len(rounds[0]), 0, f"training on {school}, seed {seed}"
        if kept := self._shelf.find(school, seed, learning_rate, taught := _identity(rounds)):
            return kept
        start = None
        if school in (School.INCREMENTAL, School.REPLAY):
            start = self.give(School.OLD, seed).tuning.adapters
        settings = TuningSettings(learning_rate, self._plan.epochs, seed)
        patience, known = _Patience(self._plan.patience), list[float]()

        def on_epoch(epoch: int) -> tuple[float, bool]:
            nonlocal n_told
            share, chance = self._examined_after(school)
            known.append(share)
            n_told = epoch
            self._tell(name, n_steps)
            return chance, patience.goes_on(share, chance)

        forget_peak()
        tuning = self._model.tune(rounds, settings, on_epoch, start)
        peak = peak_bytes() + tuning.gpu_bytes
        self._tell(name, n_steps * (self._plan.epochs - n_told))
        schooling = Schooling(school, seed, learning_rate, taught, len(rounds[0]), tuning, peak, tuple(known))
        self._shelf.put(schooling)
        return schooling

    def _examined_after(self, school: School) -> tuple[float, float]:
        """Ask development questions the way the arms will be; before the change what was right then counts.

        Returns:
            Share of changed facts that are known, and how good the model is: few facts make a jumpy share,
            so what did not change is asked as well, but of who learns nothing else than what changed.

        """
        is_new = school in (School.INCREMENTAL, School.REPLAY, School.NEW)
        reads = school in (School.READER, School.FORM, School.MIXED)
        found = self._indexed.stale if reads else None
        share, chances = examined(self._model, self._changed, found, is_new=is_new)
        if school is not School.INCREMENTAL:
            chances += examined(self._model, self._unchanged, found, is_new=True)[1]
        return share, sum(chances) / len(chances) if chances else 0.0

    def _lessons(self, school: School, seed: int) -> lessons.Rounds:
        old, new, only = self._versions.old, self._versions.new, self._versions.taught
        asked, recipe = [fact.question for fact in self._facts], self._plan.recipe
        match school:
            case School.OLD:
                told = lessons.told(self._facts, recipe, is_new=False)
                return lessons.mixed(lessons.knowledge(old, asked, recipe, seed, only), told)
            case School.NEW:
                told = lessons.told(self._facts, recipe, is_new=True)
                return lessons.mixed(lessons.knowledge(new, asked, recipe, seed, only), told)
            case School.INCREMENTAL:
                changed = (fact for fact in self._facts if fact.kind is FactKind.CHANGED)
                told = lessons.told(changed, recipe, is_new=True)
                return lessons.mixed(lessons.changed(old, new, asked, recipe, seed, only), told)
            case School.REPLAY:
                told = lessons.told(self._facts, recipe, is_new=True)
                return lessons.mixed(lessons.replay(old, new, asked, recipe, seed, only), told)
            case School.FORM:
                return lessons.form(asked, recipe, seed)
        about = {fact.document for fact in self._facts}
        reading = lessons.reading({name: old[name] for name in old if name not in about}, asked, recipe, seed, only)
        if school is School.READER:
            return reading
        return lessons.mixed(self._lessons(School.OLD, seed), reading)


def development_of(facts: Iterable[Fact], kind: FactKind) -> list[Fact]:
    """Give the facts of a kind that only decide when a training ends, and at which rate it goes."""
    return [fact for fact in facts if fact.is_development and fact.kind is kind]


def question(fact: Fact, found: Retrieved | None) -> Asked:
    """Ask for a fact, with what was found for it."""
    return Asked(lessons.prompt_with(found.texts if found else (), fact.question), fact.prefix, fact.options)


def examined(
    model: LanguageModel, facts: Sequence[Fact], found: Mapping[str, Retrieved] | None, *, is_new: bool
) -> tuple[float, list[float]]:
    """Give the share of facts whose value is the likeliest, and the chance of each value among the four.

    Args:
        model: Asked as it is.
        facts: May be none.
        found: Passages by fact id; None to ask without any.
        is_new: The new value is right; else that before the change.

    """
    n_known, chances = 0, []
    for said in model.answers([question(fact, found[fact.fact_id] if found else None) for fact in facts]):
        right = said.scores[0 if is_new else 1]
        n_known += right == max(said.scores)
        chances.append(1 / sum(math.exp(score - right) for score in said.scores))
    return n_known / len(facts) if facts else 0.0, chances


def _identity(rounds: lessons.Rounds) -> str:
    taught = hashlib.sha256()
    for lesson in (lesson for one in rounds for lesson in one):
        taught.update(f"{lesson.prompt}\0{lesson.answer}\0".encode("utf-8", "surrogatepass"))
    return taught.hexdigest()


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
