"""Says in words what a run measured, where each side wins, and what its numbers do not carry. Pure.

    measures ─▶ contests (retrieval against retraining, aspect by aspect) ─▶ headline
            └─▶ remarks (controls, both together, break-even, staleness)   └─▶ caveats

Every sentence is made from numbers of the run; a difference whose interval holds 0 is a tie, and is called one.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from freshd.compare.costs import Basis, Prices, amount, bill, break_even, figures
from freshd.compare.estimates import Estimate, difference, less_often
from freshd.compare.measures import CHANCE, Effort, Measures, unrest
from freshd.compare.records import SAMPLED, SAMPLED_DOCUMENTS, Arm, FactKind, Results
from freshd.compare.timeline import Course
from freshd.wording import duration

NAMES: Mapping[Arm, str] = {
    Arm.BASE: "base model",
    Arm.RAG: "RAG",
    Arm.RAG_STALE: "stale RAG",
    Arm.TUNED_FROZEN: "frozen tuning",
    Arm.TUNED_INCREMENTAL: "tuning on changes",
    Arm.TUNED_REPLAY: "tuning with replay",
    Arm.TUNED_RETRAINED: "retraining",
    Arm.READER_RAG: "reader + RAG",
    Arm.FORMAT_RAG: "format + RAG",
    Arm.TUNED_RAG: "tuning + RAG",
    Arm.MIXED_RAG: "mixed + RAG",
}
"""What an arm is called in every report."""

RETRAINERS = (Arm.TUNED_RETRAINED, Arm.TUNED_REPLAY, Arm.TUNED_INCREMENTAL)
"""Who stands for retraining: the first of these that ran."""

CPU_S = "CPU s"

_UNREST = "one and the same arm took up to {} times as long with one seed as with another"

_HASH = re.compile(r"\b[0-9a-f]{64}\b")
_SHORTEST_S = 0.01
"""What is shorter is told in milliseconds."""


class Winner(StrEnum):
    """Which side an aspect goes to."""

    RETRIEVAL = "retrieval"
    RETRAINING = "retraining"
    TIE = "tie"


@dataclass(frozen=True, slots=True)
class Contest:
    """One aspect on which retrieval and retraining are held against each other."""

    aspect: str
    winner: Winner
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run says, in sentences.

    Attributes:
        break_even: Of retrieval and retraining, one of the remarks; None where one of both was not measured.

    """

    headline: str
    contests: tuple[Contest, ...]
    remarks: tuple[str, ...]
    caveats: tuple[str, ...]
    break_even: str | None


@dataclass(frozen=True, slots=True)
class _Aspect:
    name: str
    told: str
    figure: Callable[[Measures], Estimate | None]
    is_more_better: bool = True


_ASPECTS = (
    _Aspect("knowledge currency", "changed facts whose new value is the likeliest of four", lambda one: one.currency),
    _Aspect("exact answers", "changed facts answered with the new value", lambda one: one.exact),
    _Aspect("unchanged facts", "unchanged facts answered exactly", lambda one: one.kept_exact),
    _Aspect("confident errors", "facts answered wrongly, with confidence", lambda one: one.confident_wrong, False),
    _Aspect("vanished facts", "vanished facts still given", lambda one: one.lingering, False),
)


_TOGETHER = (*_ASPECTS[:2], _ASPECTS[3])
"""What ways to use both are judged by: currency, exact answers, confident errors."""


def verdict(results: Results, measured: Mapping[Arm, Measures], courses: Sequence[Course] = ()) -> Verdict:
    """Say what a run measured.

    Args:
        results: The run.
        measured: What `measure` made of it.
        courses: Of the staleness timeline.

    """
    retriever, retrainer = measured.get(Arm.RAG), stand_in(measured)
    contests = tuple(_contests(retriever, retrainer, unrest(measured))) if retriever and retrainer else ()
    breaks = _break_evens(measured)
    return Verdict(
        _headline(contests, retriever, retrainer),
        contests,
        (*_controls(measured), *_forgetting(measured), *_together(measured), *breaks.values(), *_stale(courses)),
        tuple(_caveats(results, measured)),
        breaks.get(Arm.RAG),
    )


def stand_in(measured: Mapping[Arm, Measures]) -> Measures | None:
    """Give who stands for retraining; None if no such arm ran."""
    return next((measured[arm] for arm in RETRAINERS if arm in measured), None)


def shortened(text: str) -> str:
    """Shorten the hashes in a text to what people can compare: `SHA-256 8199be6fd2a6…`."""
    return _HASH.sub(lambda match: f"{match[0][:12]}…", text)


def moment(seconds: float) -> str:
    """Write the measured seconds of a part of a query: `4.2 ms`, `0.21 s`."""
    return f"{figures(1_000 * seconds, 2)} ms" if 0 < seconds < _SHORTEST_S else duration(seconds)


def percent(share: float) -> str:
    """Write a share: `66 %`, `3.4 %`, `0.0006 %`."""
    return f"{figures(100 * share, 2)} %" if abs(share) < 0.1 else f"{100 * share:.0f} %"


def ranged(estimate: Estimate | None) -> str:
    """Write a share with its interval: `66 % [48–83]`; a dash for unknown."""
    if estimate is None:
        return "–"
    return f"{100 * estimate.value:.0f} % [{100 * estimate.low:.0f}–{100 * estimate.high:.0f}]"


def compared(one: str, other: str, by: Estimate, *, is_more_better: bool = True) -> str:
    """Say which of two is better and by how much, or that it cannot be told.

    Args:
        one: Name.
        other: Name.
        by: By how much the share of `one` exceeds that of `other`.
        is_more_better: Whether a higher share is the better one.

    """
    if by.low <= 0 <= by.high:
        return f"a tie: the difference lies between {_signed(by.low)} and {_signed(by.high)} points"
    least, most = sorted((abs(100 * by.low), abs(100 * by.high)))
    better = one if (by.value > 0) == is_more_better else other
    return f"{better} is better by {abs(100 * by.value):.0f} points [{least:.0f}–{most:.0f}]"


def _signed(share: float) -> str:
    return f"{round(100 * share):+d}".replace("-", "−").replace("+0", "0")


def _contests(retriever: Measures, retrainer: Measures, noise: float) -> Iterator[Contest]:
    if retriever.effort and retrainer.effort:
        yield _update_contest(retriever.effort, retrainer.effort, NAMES[retrainer.arm])
    for aspect in _ASPECTS:
        one, other = aspect.figure(retriever), aspect.figure(retrainer)
        by = difference(one, other)
        if by is not None:
            yield _share_contest(aspect, one, other, by, NAMES[retrainer.arm])
    yield _speed_contest(retriever, retrainer, noise)
    yield _prompt_contest(retriever, retrainer)
    if retriever.attribution:
        yield _source_contest(retriever.attribution, retrainer)


def _update_contest(one: Effort, other: Effort, name: str) -> Contest:
    told = f"An update costs RAG {_cpu(one)}, {name} {_cpu(other)}"
    if one.least_cpu_s <= other.most_cpu_s and other.least_cpu_s <= one.most_cpu_s:
        return Contest("the cost of an update", Winner.TIE, f"{told}: a tie, their ranges overlap.")
    less, more = sorted((one.cpu_s, other.cpu_s))
    winner = Winner.RETRIEVAL if one.cpu_s < other.cpu_s else Winner.RETRAINING
    ratio = f": {figures(more / less, 2)} times as much" if less > 0 else ""
    wall = f" ({moment(one.wall_s)} and {moment(other.wall_s)} by the clock)"
    return Contest("the cost of an update", winner, f"{told}{ratio}{wall}.")


def _cpu(effort: Effort) -> str:
    if effort.n_seeds == 1:
        return amount(effort.cpu_s, CPU_S)
    return f"{amount(effort.cpu_s, CPU_S)} [{figures(effort.least_cpu_s)}–{figures(effort.most_cpu_s)}]"


def _share_contest(aspect: _Aspect, one: Estimate | None, other: Estimate | None, by: Estimate, name: str) -> Contest:
    told = f"{aspect.told.capitalize()}: RAG {ranged(one)}, {name} {ranged(other)}"
    outcome = compared("RAG", name, by, is_more_better=aspect.is_more_better)
    return Contest(aspect.name, _won(by, is_more_better=aspect.is_more_better), f"{told}; {outcome}.")


def _won(by: Estimate, *, is_more_better: bool = True) -> Winner:
    if by.low <= 0 <= by.high:
        return Winner.TIE
    return Winner.RETRIEVAL if (by.value > 0) == is_more_better else Winner.RETRAINING


def _speed_contest(retriever: Measures, retrainer: Measures, noise: float) -> Contest:
    """Judge by how often one is faster: on a machine that others use too, means say less."""
    name = NAMES[retrainer.arm]
    told = ", ".join(
        f"{NAMES[one.arm]} {moment(one.query.total_s)} ({amount(one.query.cpu_s, CPU_S)})"
        for one in (retriever, retrainer)
    )
    faster = less_often(retriever.seconds_by_fact, retrainer.seconds_by_fact)
    is_apart = are_apart(retriever.query.total_s, retrainer.query.total_s, noise)
    winner = _won(faster) if faster and is_apart else Winner.TIE
    tie = "neither is faster on clearly more questions" if is_apart else _UNREST.format(figures(noise, 2))
    outcome = {
        Winner.TIE: f"a tie, {tie}",
        Winner.RETRIEVAL: "RAG is faster on most questions",
        Winner.RETRAINING: f"{name} is faster on most questions",
    }[winner]
    return Contest("time per query", winner, f"A query takes {told} at the median; {outcome}.")


def _prompt_contest(retriever: Measures, retrainer: Measures) -> Contest:
    one, other = retriever.query.prompt_tokens, retrainer.query.prompt_tokens
    told = f"A prompt has {one:,.0f} tokens with RAG, {other:,.0f} with {NAMES[retrainer.arm]}, at the median."
    winner = Winner.TIE if one == other else Winner.RETRIEVAL if one < other else Winner.RETRAINING
    return Contest("the length of the prompt", winner, told)


def _source_contest(attribution: Estimate, retrainer: Measures) -> Contest:
    told = f"RAG cites a passage that holds the fact for {ranged(attribution)} of the questions"
    name = NAMES[retrainer.arm]
    if retrainer.attribution is None:
        winner = Winner.RETRIEVAL if attribution.low > 0 else Winner.TIE
        return Contest("sources", winner, f"{told}; {name} cites nothing.")
    return Contest("sources", Winner.TIE, f"{told}, {name} for {ranged(retrainer.attribution)}.")


def _headline(contests: Sequence[Contest], retriever: Measures | None, retrainer: Measures | None) -> str:
    if retriever is None or retrainer is None:
        missing = "RAG" if retriever is None else "retraining"
        return f"No verdict between retrieval and retraining: {missing} was not measured."
    won = {winner: [one.aspect for one in contests if one.winner == winner] for winner in Winner}
    parts = [
        f"{name} did better on {_listed(won[winner])}"
        for winner, name in ((Winner.RETRIEVAL, "RAG"), (Winner.RETRAINING, NAMES[retrainer.arm]))
        if won[winner]
    ]
    if won[Winner.TIE]:
        parts.append(f"they tie on {_listed(won[Winner.TIE])}")
    told = "; ".join(parts)
    return f"{told[0].upper()}{told[1:]}."


def _listed(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _controls(measured: Mapping[Arm, Measures]) -> Iterator[str]:
    """Say how stale those are that do not follow the change, and who only guesses."""
    for arm in (Arm.TUNED_FROZEN, Arm.RAG_STALE):
        if (own := measured.get(arm)) and own.stale:
            yield f"Not updated, {NAMES[arm]}: the old value is the likeliest for {ranged(own.stale)} of changed facts."
    guessing = [NAMES[arm] for arm, own in measured.items() if _is_at_chance(own.currency) and _is_at_chance(own.stale)]
    if guessing:
        yield f"Not told from guessing among four ({percent(CHANCE)}) on changed facts: {_listed(guessing)}."


def _is_at_chance(share: Estimate | None) -> bool:
    return share is not None and share.low <= CHANCE <= share.high


def _forgetting(measured: Mapping[Arm, Measures]) -> Iterator[str]:
    for arm in (*RETRAINERS, Arm.RAG):
        own = measured.get(arm)
        if own is None or (lost := own.forgotten_exact) is None:
            continue
        told = f"Unchanged facts, {NAMES[arm]}, before and after the update: "
        if lost.low <= 0 <= lost.high:
            yield f"{told}a tie, exact answers changed by {_signed(-lost.high)} to {_signed(-lost.low)} points."
        else:
            least, most = sorted((abs(100 * lost.low), abs(100 * lost.high)))
            way = "fell" if lost.value > 0 else "rose"
            yield f"{told}exact answers {way} by {abs(100 * lost.value):.0f} points [{least:.0f}–{most:.0f}]."


def _together(measured: Mapping[Arm, Measures]) -> Iterator[str]:
    """Hold what uses both against what uses one, and against its control."""
    retrainer = stand_in(measured)
    recommended = "Both, as recommended"
    pairs = [
        (recommended, Arm.READER_RAG, Arm.RAG, _TOGETHER),
        *([(recommended, Arm.READER_RAG, retrainer.arm, _TOGETHER)] if retrainer else []),
        ("Control of that", Arm.READER_RAG, Arm.FORMAT_RAG, _TOGETHER[:2]),
        ("Both, naively", Arm.TUNED_RAG, Arm.RAG, _TOGETHER[:1]),
        ("Both, in one training", Arm.MIXED_RAG, Arm.RAG, _TOGETHER[:1]),
    ]
    for told, arm, against, aspects in pairs:
        for aspect in aspects:
            one, other = (aspect.figure(measured[each]) if each in measured else None for each in (arm, against))
            if (by := difference(one, other)) is None:
                continue
            shares = f"{NAMES[arm]} {ranged(one)}, {NAMES[against]} {ranged(other)}"
            better = compared(NAMES[arm], NAMES[against], by, is_more_better=aspect.is_more_better)
            yield f"{told}, {aspect.name}: {shares}; {better}."


def _break_evens(measured: Mapping[Arm, Measures]) -> dict[Arm, str]:
    retrainer, told = stand_in(measured), dict[Arm, str]()
    for arm in (Arm.RAG, Arm.READER_RAG):
        own = measured.get(arm)
        if own is None or retrainer is None:
            continue
        one, other = (bill(NAMES[each.arm], each, Prices(), Basis.MEASURED) for each in (own, retrainer))
        if one is None or other is None:
            continue
        if tie := query_tie(own, retrainer, unrest(measured)):
            told[arm] = f"{tie}."
        else:
            told[arm] = f"Break-even: {break_even(one, other, CPU_S).formula}."
    return told


def query_tie(one: Measures, other: Measures, noise: float) -> str | None:
    """Say that what a query takes cannot be told apart, so that no break-even can be told either; None where it can."""
    faster = less_often(one.cpu_by_fact, other.cpu_by_fact)
    if faster and not faster.low <= 0 <= faster.high and are_apart(one.query.cpu_s, other.query.cpu_s, noise):
        return None
    return f"Per query {NAMES[one.arm]} and {NAMES[other.arm]} tie: no number of queries per update can be told"


def are_apart(one: float, other: float, noise: float) -> bool:
    """Tell whether two medians differ by more than the same work differs by from one time to another."""
    less, more = sorted((one, other))
    return more > noise * less


def _stale(courses: Sequence[Course]) -> Iterator[str]:
    if courses:
        told = ", ".join(f"{one.approach.name} {percent(one.mean_share)}" for one in courses)
        yield f"Out of date on average over the same stream of changes: {told}."


def _ran_with_fewer(one: Measures, n_seeds: int) -> bool:
    """Tell whether seeds are wanting to an arm that training makes; others are the same with every seed."""
    return one.effort is not None and one.effort.sweep_s is not None and len(one.seeds) < n_seeds


def _seeds(one: Measures) -> str:
    return f"with {', '.join(map(str, one.seeds))}"


def _caveats(results: Results, measured: Mapping[Arm, Measures]) -> Iterator[str]:
    setup, facts = results.setup, [fact for fact in results.facts if not fact.is_development]
    yield f"One model, {shortened(setup.model)}: nothing here says how another does."
    if setup.gpu is None:
        yield f"One machine, {setup.machine}: seconds are its own, and on a GPU nothing was timed."
    else:
        yield f"One machine, {setup.machine}, the model on its {setup.gpu}: seconds are its own."
        yield "CPU seconds leave out those of the GPU, for which a core waits awake: they are about as many."
    if any(update.learning_rate for update in results.updates):
        yield "Fine-tuning here is LoRA, with the settings that the report lists: other ways to train were not tried."
    counts = ", ".join(f"{sum(fact.kind == kind for fact in facts)} {kind}" for kind in FactKind)
    n_development = len(results.facts) - len(facts)
    yield f"Judged by {counts} facts in {setup.n_documents} documents; {n_development} more served development only."
    n_seeds = len(setup.seeds)
    if n_seeds == 1:
        yield "One seed: how much another training would differ is not known."
    else:
        yield f"{n_seeds} seeds, pooled: intervals are over facts, 95 % each, not corrected for being many."
    if fewer := [f"{NAMES[arm]} {_seeds(own)}" for arm, own in measured.items() if _ran_with_fewer(own, n_seeds)]:
        yield f"Not run with every seed: {_listed(fewer)}."
    if setup.is_quick:
        yield "A quick run: a subset of facts and arms."
    if sampled := setup.settings.get(SAMPLED_DOCUMENTS):
        yield f"A sample of the documents took part, in the index as in trainings: {sampled}."
    if sampled := setup.settings.get(SAMPLED):
        yield f"Trainings saw a sample: {sampled} sentences, all that say an asked fact among them; the index took all."
    if (own := measured.get(Arm.RAG)) and own.effort and own.effort.peak_bytes:
        counted = "those of its store added" if own.effort.n_processes > 1 else "without that of its store"
        gpu = "; for a training, that of the GPU added" if setup.gpu else ""
        yield f"Memory is this comparison's own at its highest during an update; for the index, {counted}{gpu}."
    if absent := [NAMES[arm] for arm in Arm if arm not in measured]:
        yield f"Not run: {_listed(absent)}."
    yield "A break-even weighs cost alone, not how well each answers; money follows from prices given or assumed."
    yield "Over time, a change counts as followed once an update is through, whether or not answers are then right."
