"""The rows of the comparison as it is usually told, each with what was measured beside what is claimed. Pure."""

from collections.abc import Callable, Mapping

from freshd.compare.costs import CLAIMED_RAG_SET_UP, CLAIMED_RETRAINING, TRAINED, Prices, amount, cost
from freshd.compare.measures import Measures
from freshd.compare.records import Arm
from freshd.compare.report.shape import Row
from freshd.compare.verdict import CPU_S, moment, percent, ranged, stand_in
from freshd.wording import duration

_NOT_RUN = "not run"
_TUNED = (Arm.TUNED_FROZEN, Arm.TUNED_INCREMENTAL, Arm.TUNED_REPLAY, Arm.TUNED_RETRAINED)
_SHORT = {
    Arm.TUNED_FROZEN: "frozen",
    Arm.TUNED_INCREMENTAL: "on changes",
    Arm.TUNED_REPLAY: "with replay",
    Arm.TUNED_RETRAINED: "retrained",
}


def rows(measured: Mapping[Arm, Measures], prices: Prices, confident: float, known: float, cycle_s: float) -> list[Row]:
    """Give the nine rows, in the order in which they are usually told.

    Args:
        measured: Every arm's figures.
        prices: Costs are reckoned from them.
        confident: From which confidence on a wrong answer counts as confident.
        known: Share of changed development facts at which an arm counts as up to date.
        cycle_s: How long freshd takes to notice a change at most.

    """
    tuned, rag = stand_in(measured), measured.get(Arm.RAG)
    retraining, set_up = _span(CLAIMED_RETRAINING), _span(CLAIMED_RAG_SET_UP)
    return [
        _row("what it changes", "model weights", _weights(tuned), "input context", _context(rag)),
        _row(
            "knowledge currency",
            "frozen at training time",
            _each(measured, _currency),
            "always current",
            _rag_currency(measured),
        ),
        _row(
            "set-up",
            f"high: data preparation and training, {retraining}+",
            _before(tuned, prices),
            f"moderate: index and retrieval, {set_up}",
            _before(rag, prices),
        ),
        _row(
            "update cycle",
            f"retrain, hours to days, {retraining}+",
            _each(measured, lambda one: _update(one, prices, known)),
            "update the index any time, minutes, low cost",
            _rag_update(rag, prices, known, cycle_s),
        ),
        _row("hallucination risk", "moderate", _errors(tuned, confident), "lower (grounded)", _errors(rag, confident)),
        _row("source attribution", "not native", _sources(tuned), "native (citations)", _sources(rag)),
        _row(
            "latency",
            "lower (no retrieval step, shorter prompt)",
            _latency(tuned),
            "higher (retrieval + generation)",
            _latency(rag),
        ),
        _row("per query", "base model inference", _query(tuned, prices), "retrieval + inference", _query(rag, prices)),
        _row("ongoing", "model hosting", _memory(tuned), "vector DB + embedding", _memory(rag)),
    ]


def _row(aspect: str, claimed_tuning: str, measured_tuning: str, claimed_rag: str, measured_rag: str) -> Row:
    return Row(
        aspect=aspect,
        claimed_tuning=claimed_tuning,
        measured_tuning=measured_tuning,
        claimed_rag=claimed_rag,
        measured_rag=measured_rag,
    )


def _span(claimed: tuple[float, float]) -> str:
    return f"${claimed[0]:,.0f}–{claimed[1]:,.0f}"


def _each(measured: Mapping[Arm, Measures], told: Callable[[Measures], str]) -> str:
    """Say the same of every arm that is tuned for knowledge."""
    parts = [f"{_SHORT[arm]} {words}" for arm in _TUNED if arm in measured and (words := told(measured[arm]))]
    return "; ".join(parts) or _NOT_RUN


def _currency(one: Measures) -> str:
    stale = f", stale {ranged(one.stale)}" if one.stale and one.arm == Arm.TUNED_FROZEN else ""
    return f"{ranged(one.currency)}{stale}"


def _rag_currency(measured: Mapping[Arm, Measures]) -> str:
    parts = [
        f"{label} {ranged(measured[arm].currency)}"
        for arm, label in ((Arm.RAG, "updated"), (Arm.RAG_STALE, "not updated"), (Arm.READER_RAG, "with a reader"))
        if arm in measured
    ]
    return "; ".join(parts) or _NOT_RUN


def _weights(one: Measures | None) -> str:
    if one is None:
        return _NOT_RUN
    tokens = f"{one.effort.trained_tokens:,.0f} tokens trained per update" if one.effort else ""
    return "; ".join(filter(None, (tokens, f"prompt of {one.query.prompt_tokens:,.0f} tokens")))


def _context(one: Measures | None) -> str:
    return f"prompt of {one.query.prompt_tokens:,.0f} tokens" if one else _NOT_RUN


def _before(one: Measures | None, prices: Prices) -> str:
    own = cost(one, prices) if one else None
    if one is None or one.effort is None or own is None or own.before is None:
        return _NOT_RUN
    told = f"{amount(one.effort.before_s, CPU_S)}, {amount(own.before, prices.currency, 2)}"
    if one.arm not in TRAINED:
        return told
    if one.effort.sweep_s is None:
        return f"{told}; the search for a learning rate not counted"
    return f"{told}; {amount(one.effort.sweep_s, CPU_S)} of it to find a learning rate" if one.effort.sweep_s else told


def _update(one: Measures, prices: Prices, known: float) -> str:
    """Say what following the change took, and when enough was known; nothing for who does not follow."""
    own = cost(one, prices)
    if one.effort is None or own.update is None:
        return ""
    known_s = one.effort.known_s
    when = "never" if known_s is None else f"after {moment(known_s)}"
    return f"{moment(one.effort.wall_s)}, {amount(own.update, prices.currency, 2)} ({percent(known)} known {when})"


def _rag_update(one: Measures | None, prices: Prices, known: float, cycle_s: float) -> str:
    if one is None or not (told := _update(one, prices, known)):
        return _NOT_RUN
    return f"{told}; noticed within {duration(cycle_s)}"


def _errors(one: Measures | None, confident: float) -> str:
    if one is None:
        return _NOT_RUN
    return f"{ranged(one.confident_wrong)} wrong with confidence ≥ {confident:g}"


def _sources(one: Measures | None) -> str:
    if one is None:
        return _NOT_RUN
    return f"{ranged(one.attribution)} cite a passage that holds the fact" if one.attribution else "none cited"


def _latency(one: Measures | None) -> str:
    if one is None:
        return _NOT_RUN
    query = one.query
    parts = (("retrieval", query.retrieval_s), ("prefill", query.prefill_s), ("generation", query.generation_s))
    told = ", ".join(f"{name} {moment(seconds)}" for name, seconds in parts if seconds > 0)
    return f"{moment(query.total_s)}: {told}" if told else moment(query.total_s)


def _query(one: Measures | None, prices: Prices) -> str:
    if one is None:
        return _NOT_RUN
    own = cost(one, prices)
    hosted = f"{amount(1_000 * own.query_tokens, prices.currency, 2)} by the token"
    return f"{amount(one.query.cpu_s, CPU_S)}; a thousand: {amount(1_000 * own.query, prices.currency, 2)}, {hosted}"


def _memory(one: Measures | None) -> str:
    if one is None or one.effort is None:
        return _NOT_RUN
    if not one.effort.peak_bytes:
        return "not measured"
    shared = f", {one.effort.n_processes} processes" if one.effort.n_processes > 1 else ""
    return f"{one.effort.peak_bytes / 2**30:.1f} GiB at the highest during an update{shared}"
