"""What answers and updates amount to, arm by arm: shares of facts with their intervals, medians of seconds. Pure.

    answers ─▶ what each says (right, old, confident, …) ─▶ share of a fact over seeds ─▶ share of facts, interval

Facts used for development are left out of every figure.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import median

from freshd.compare.estimates import Estimate, difference, estimate
from freshd.compare.records import Answer, Arm, Fact, FactKind, Results, Update

CHANCE = 0.25
"""What guessing among four options finds."""

CONFIDENT = 0.5
"""From this confidence on a wrong answer counts as confident, unless another is stated."""

CHARACTERS_PER_TOKEN = 4
"""Of an answer whose tokens were not counted; about right for English."""

KNOWN = 0.8
"""Share of changed development facts at which an arm counts as up to date, unless another is stated."""

BEFORE: Mapping[Arm, Arm] = {
    Arm.RAG: Arm.RAG_STALE,
    Arm.TUNED_INCREMENTAL: Arm.TUNED_FROZEN,
    Arm.TUNED_REPLAY: Arm.TUNED_FROZEN,
    Arm.TUNED_RETRAINED: Arm.TUNED_FROZEN,
}
"""What an arm was before its update, as far as that is asked too."""

_ARTICLE = re.compile(r"^(?:the|an|a)\s+")
_IN_NUMBER = re.compile(r"(?<=\d),(?=\d{3}\b)")
_CLAUSE_END = re.compile(r"[.,;:!?](?:\s|$)")

Tells = Callable[[Fact, Answer], bool]


@dataclass(frozen=True, slots=True)
class Query:
    """Medians over questions and seeds of what a query takes: seconds by the wall and of the CPU, tokens."""

    retrieval_s: float
    prefill_s: float
    generation_s: float
    total_s: float
    cpu_s: float
    prompt_tokens: float
    answer_tokens: float


@dataclass(frozen=True, slots=True)
class Effort:
    """Medians over seeds of what one update takes; `peak_bytes` and `n_processes` are the largest.

    Attributes:
        least_cpu_s, most_cpu_s: Over seeds.
        before_s: CPU seconds once, before any change.
        taught_s: Those of them that training took, wall seconds where it was not the search for a learning rate.
        sweep_s: Those of them that went into finding a learning rate; None where nothing was trained,
            or they were not counted in every seed.
        known_s: Wall seconds from the change until the stated share of changed development facts was known;
            None where not every seed came that far.

    """

    n_seeds: int
    wall_s: float
    cpu_s: float
    least_cpu_s: float
    most_cpu_s: float
    before_s: float
    taught_s: float
    sweep_s: float | None
    peak_bytes: int
    n_processes: int
    trained_tokens: float
    known_s: float | None


@dataclass(frozen=True, slots=True)
class Measures:
    """One arm's figures; None where nothing was asked that could tell.

    Attributes:
        on_gpu: The model was on a GPU; retrieval never is.
        currency: Changed facts whose new value is the likeliest of four.
        exact: Changed facts answered with the new value.
        stale: Changed facts whose old value is the likeliest of four.
        stale_exact: Changed facts answered with the old value.
        kept: Unchanged facts whose value is the likeliest of four.
        kept_exact: Unchanged facts answered with their value.
        lingering: Vanished facts whose old value is still the likeliest of four.
        lingering_exact: Vanished facts still answered with the old value.
        confident_wrong: Changed and unchanged facts answered wrongly, with confidence.
        attribution: Changed and unchanged facts whose cited passage holds the right value; None if nothing is cited.
        forgotten, forgotten_exact: How much `kept` and `kept_exact` fell by the update.

    """

    arm: Arm
    seeds: tuple[int, ...]
    on_gpu: bool
    currency: Estimate | None
    exact: Estimate | None
    stale: Estimate | None
    stale_exact: Estimate | None
    kept: Estimate | None
    kept_exact: Estimate | None
    lingering: Estimate | None
    lingering_exact: Estimate | None
    confident_wrong: Estimate | None
    attribution: Estimate | None
    forgotten: Estimate | None
    forgotten_exact: Estimate | None
    query: Query
    effort: Effort | None
    cpu_by_fact: Mapping[str, float] = field(repr=False)
    seconds_by_fact: Mapping[str, float] = field(repr=False)
    seconds_by_seed: Mapping[int, float] = field(repr=False)


def measure(results: Results, *, confident: float = CONFIDENT, known: float = KNOWN) -> dict[Arm, Measures]:
    """Work out every figure of every arm that answered.

    Args:
        results: Of a run, whole or as far as it came.
        confident: From which confidence on a wrong answer counts as confident.
        known: At which share of changed development facts an arm counts as up to date.

    Returns:
        In the order of `Arm`.

    """
    facts = {fact.fact_id: fact for fact in results.facts if not fact.is_development}
    asked: dict[Arm, list[tuple[Fact, Answer]]] = defaultdict(list)
    for answer in results.answers:
        if answer.fact_id in facts:
            asked[answer.arm].append((facts[answer.fact_id], answer))
    efforts = {arm: _effort([one for one in results.updates if one.arm == arm], known) for arm in Arm}
    measured: dict[Arm, Measures] = {}
    for arm in sorted(asked, key=list(Arm).index):
        measured[arm] = _measures(arm, asked, efforts[arm], confident, on_gpu=results.setup.gpu is not None)
    return measured


def _measures(
    arm: Arm,
    asked: Mapping[Arm, Sequence[tuple[Fact, Answer]]],
    effort: Effort | None,
    confident: float,
    *,
    on_gpu: bool,
) -> Measures:
    own, before = asked[arm], asked.get(BEFORE[arm], ()) if arm in BEFORE else ()
    changed, unchanged, vanished = FactKind.CHANGED, FactKind.UNCHANGED, FactKind.VANISHED
    kept, kept_exact = _share(own, likeliest, unchanged), _share(own, is_exact, unchanged)

    def is_confidently_wrong(fact: Fact, answer: Answer) -> bool:
        return answer.confidence >= confident and not is_exact(fact, answer)

    return Measures(
        arm=arm,
        seeds=tuple(sorted({answer.seed for _, answer in own})),
        on_gpu=on_gpu,
        currency=_share(own, likeliest, changed),
        exact=_share(own, is_exact, changed),
        stale=_share(own, likeliest_old, changed),
        stale_exact=_share(own, is_old_exact, changed),
        kept=kept,
        kept_exact=kept_exact,
        lingering=_share(own, likeliest, vanished),
        lingering_exact=_share(own, is_old_exact, vanished),
        confident_wrong=_share(own, is_confidently_wrong, changed, unchanged),
        attribution=_share(own, is_grounded, changed, unchanged)
        if any(answer.is_grounded is not None for _, answer in own)
        else None,
        forgotten=difference(_share(before, likeliest, unchanged), kept),
        forgotten_exact=difference(_share(before, is_exact, unchanged), kept_exact),
        query=_query([answer for _, answer in own]),
        effort=effort,
        cpu_by_fact=_by_fact(own, lambda answer: answer.cpu_s),
        seconds_by_fact=_by_fact(own, seconds),
        seconds_by_seed=_by_seed([answer for _, answer in own]),
    )


def likeliest(fact: Fact, answer: Answer, option: int = 0) -> bool:
    """Tell whether an option, the first unless told, is likelier than each other; a tie is not."""
    return all(answer.scores[option] > score for n, score in enumerate(answer.scores) if n != option)


def likeliest_old(fact: Fact, answer: Answer) -> bool:
    """Tell whether the old value of a changed fact is likelier than each other option."""
    return likeliest(fact, answer, fact.options.index(fact.old))


def is_exact(fact: Fact, answer: Answer) -> bool:
    """Tell whether the answer is the right value, but for case, article and blanks, and what follows its clause.

    Models that were not tuned to be brief go on: "Tuesday, from the first week of May".
    """
    return fact.new is not None and _says(answer.text, fact.new)


def is_old_exact(fact: Fact, answer: Answer) -> bool:
    """Tell whether the answer is the value that was."""
    return _says(answer.text, fact.old)


def is_grounded(fact: Fact, answer: Answer) -> bool:
    """Tell whether the cited passage holds the right value."""
    return answer.is_grounded is True


def seconds(answer: Answer) -> float | None:
    """Wall seconds of one query in all; None where it was not timed."""
    if answer.prefill_s is None or answer.generation_s is None:
        return None
    return answer.retrieval_s + answer.prefill_s + answer.generation_s


def normalised(text: str) -> str:
    """Write a value so that what does not change it does not count."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(" .,;:!?\"'“”‘’*`")
    return _IN_NUMBER.sub("", _ARTICLE.sub("", plain))


def _says(text: str, value: str) -> bool:
    first = next((line for line in text.splitlines() if line.strip()), "")
    end = _CLAUSE_END.search(first)
    wanted = normalised(value)
    return wanted in {normalised(first), normalised(first[: end.start()] if end else first)}


def unrest(measured: Mapping[Arm, Measures]) -> float:
    """Give how many times as long as with another seed one and the same arm took for a query, at the most.

    Intervals are over facts: what slows a whole arm, another program or the place in the run, does not show in them.
    1.0 where no arm ran with two seeds.
    """
    each = [tuple(one.seconds_by_seed.values()) for one in measured.values() if len(one.seconds_by_seed) > 1]
    return max((max(own) / min(own) for own in each if min(own) > 0), default=1.0)


def _share(asked: Sequence[tuple[Fact, Answer]], tells: Tells, *kinds: FactKind) -> Estimate | None:
    told: dict[str, list[bool]] = defaultdict(list)
    for fact, answer in asked:
        if fact.kind in kinds:
            told[fact.fact_id].append(tells(fact, answer))
    return estimate({key: Fraction(sum(hits), len(hits)) for key, hits in told.items()})


def _by_fact(asked: Sequence[tuple[Fact, Answer]], taken: Callable[[Answer], float | None]) -> dict[str, float]:
    amounts: dict[str, list[float]] = defaultdict(list)
    for fact, answer in asked:
        if (amount := taken(answer)) is not None:
            amounts[fact.fact_id].append(amount)
    return {key: median(values) for key, values in amounts.items()}


def _by_seed(answers: Sequence[Answer]) -> dict[int, float]:
    amounts: dict[int, list[float]] = defaultdict(list)
    for answer in answers:
        if (taken := seconds(answer)) is not None:
            amounts[answer.seed].append(taken)
    return {seed: median(values) for seed, values in amounts.items()}


def _query(answers: Sequence[Answer]) -> Query:
    def middle(taken: Callable[[Answer], float | None]) -> float:
        return float(median(value for answer in answers if (value := taken(answer)) is not None))

    return Query(
        retrieval_s=middle(lambda answer: answer.retrieval_s),
        prefill_s=middle(lambda answer: answer.prefill_s),
        generation_s=middle(lambda answer: answer.generation_s),
        total_s=middle(seconds),
        cpu_s=middle(lambda answer: answer.cpu_s),
        prompt_tokens=middle(lambda answer: answer.prompt_tokens),
        answer_tokens=middle(_answer_tokens),
    )


def _answer_tokens(answer: Answer) -> float:
    return len(answer.text) / CHARACTERS_PER_TOKEN if answer.answer_tokens is None else answer.answer_tokens


def _effort(updates: Sequence[Update], known: float) -> Effort | None:
    if not updates:
        return None
    cpu_s = [update.cpu_s for update in updates]
    known_s = [next((at for at, share in update.curve if share >= known), None) for update in updates]
    reached = [at for at in known_s if at is not None]
    swept = [update.sweep_s for update in updates if update.sweep_s is not None]
    return Effort(
        n_seeds=len(updates),
        wall_s=median(update.wall_s for update in updates),
        cpu_s=median(cpu_s),
        least_cpu_s=min(cpu_s),
        most_cpu_s=max(cpu_s),
        before_s=median(update.before_s for update in updates),
        taught_s=median(float(update.settings.get("before_s") or 0) + (update.sweep_s or 0) for update in updates),
        sweep_s=median(swept) if len(swept) == len(updates) else None,
        peak_bytes=max(update.peak_bytes for update in updates),
        n_processes=max(update.n_processes for update in updates),
        trained_tokens=median(update.trained_tokens for update in updates),
        known_s=median(reached) if len(reached) == len(updates) else None,
    )
