"""What an update and a query cost, and from how many queries on the dearer update pays off. Pure.

    CPU seconds, tokens (measured) × prices (the user's, or stated assumptions) ─▶ cost ─▶ break-even of two arms

Every figure that is derived comes with its formula, the numbers of this run in it.
"""

from dataclasses import dataclass
from enum import StrEnum

from freshd.compare.measures import Measures
from freshd.compare.records import Arm

CLAIMED_RETRAINING = (50.0, 5_000.0)
"""What a retraining is said to cost; also said of the set-up of fine-tuning."""

CLAIMED_RAG_SET_UP = (10.0, 100.0)
"""What setting up retrieval is said to cost."""

TRAINED = frozenset({Arm.TUNED_INCREMENTAL, Arm.TUNED_REPLAY, Arm.TUNED_RETRAINED})
"""Arms that train to follow a change."""

UNMOVED = frozenset({Arm.BASE, Arm.RAG_STALE, Arm.TUNED_FROZEN})
"""Arms that follow no change."""

_HOUR_S = 3_600
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """What things cost, in one currency; the defaults are assumptions, of the order that cloud providers ask.

    Attributes:
        machine_hour: Of the machine that this ran on, all its cores busy.
        machine_cores: How many those are.
        gpu_hour: Of a rented GPU, the machine around it included.
        gpu_speedup: How many times as fast as this machine it trains; assumed, and not used where the model was on one.
        input_million, output_million: Tokens of a hosted model, prompt and answer;
            a tuned one is taken to cost the same.

    """

    machine_hour: float = 0.10
    machine_cores: int = 2
    gpu_hour: float = 2.50
    gpu_speedup: float = 50.0
    input_million: float = 0.15
    output_million: float = 0.60
    currency: str = "$"


class Basis(StrEnum):
    """What is counted: the words are those of the report."""

    MEASURED = "measured"
    """CPU seconds of this machine, for updates and for queries; no price comes in."""
    RENTED = "rented"
    """Prices: training on a rented GPU, other work on this machine, answers by the token."""
    CLAIMED_LOW = "claimed_low"
    """As rented, but a retraining at the lower figure that is claimed for it."""
    CLAIMED_HIGH = "claimed_high"
    """As rented, but a retraining at the higher figure that is claimed for it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one arm costs, in the prices' currency; None where it was not measured.

    What was on a GPU costs what renting it for as long would; what was not, what this machine costs.

    Attributes:
        before: Once, before any change.
        update: As measured; None for an arm that follows no change.
        update_gpu: On the rented GPU; None for an arm that trains nothing when it follows a change.
        query: As measured.
        query_tokens: By the token, retrieval on this machine.

    """

    before: float | None
    update: float | None
    update_gpu: float | None
    query: float
    query_tokens: float


def machine_cost(cpu_s: float, prices: Prices) -> float:
    """Give what CPU seconds cost on this machine, all its cores busy."""
    return cpu_s / prices.machine_cores / _HOUR_S * prices.machine_hour


def gpu_cost(cpu_s: float, prices: Prices) -> float:
    """Give what training costs on the rented GPU that took these CPU seconds here."""
    return rent(cpu_s / prices.machine_cores / prices.gpu_speedup, prices)


def rent(held_s: float, prices: Prices) -> float:
    """Give what a GPU costs that is held so long."""
    return held_s / _HOUR_S * prices.gpu_hour


def cost(measured: Measures, prices: Prices) -> Cost:
    """Give what an arm costs, from what was measured of it."""
    effort, query, trains = measured.effort, measured.query, measured.arm in TRAINED
    tokens = (query.prompt_tokens * prices.input_million + query.answer_tokens * prices.output_million) / _MILLION
    return Cost(
        before=_before(measured, prices),
        update=_update(measured, prices) if measured.arm not in UNMOVED else None,
        update_gpu=(_update(measured, prices) if measured.on_gpu else gpu_cost(effort.cpu_s, prices))
        if effort and trains
        else None,
        query=rent(query.prefill_s + query.generation_s, prices) + machine_cost(query.retrieval_s, prices)
        if measured.on_gpu
        else machine_cost(query.cpu_s, prices),
        query_tokens=tokens + machine_cost(query.retrieval_s, prices),
    )


def _before(measured: Measures, prices: Prices) -> float | None:
    """A core waits awake for a GPU, so that its seconds are those for which the GPU was held."""
    if (effort := measured.effort) is None:
        return None
    taught_s = min(effort.taught_s, effort.before_s) if measured.on_gpu else 0.0
    return rent(taught_s, prices) + machine_cost(effort.before_s - taught_s, prices)


def _update(measured: Measures, prices: Prices) -> float | None:
    if (effort := measured.effort) is None:
        return None
    if measured.on_gpu and measured.arm in TRAINED:
        return rent(effort.wall_s, prices)
    return machine_cost(effort.cpu_s, prices)


@dataclass(frozen=True, slots=True)
class Bill:
    """What one way takes for each update and for each query, in whatever unit, the same for both."""

    name: str
    update: float
    query: float


@dataclass(frozen=True, slots=True)
class BreakEven:
    """From how many queries per update on another way is the cheaper one.

    Attributes:
        below: The cheaper one for fewer queries per update, or however many; None where both cost the same.
        above: The cheaper one for more; the same as `below` where it is so for any number.
        queries: Per update, where both cost the same; None if nowhere, or everywhere.
        formula: In words, with its own numbers.

    """

    below: str | None
    above: str | None
    queries: float | None
    formula: str


def break_even(one: Bill, other: Bill, unit: str) -> BreakEven:
    """Tell from how many queries per update on the dearer update pays off.

    Args:
        one: What one way takes.
        other: What the other takes; in any order, the answer is the same.
        unit: A currency's sign, or `CPU s`.

    """
    cheap, dear = sorted((one, other), key=lambda bill: (bill.update, bill.query))
    more, saved = dear.update - cheap.update, cheap.query - dear.query
    if more == 0 and saved == 0:
        return BreakEven(None, None, None, f"{cheap.name} and {dear.name} cost the same per update and per query")
    updates = [amount(bill.update, unit) for bill in (cheap, dear)]
    queries = [amount(bill.query, unit) for bill in (cheap, dear)]
    if saved <= 0:
        told = (
            f"{updates[0]} against {updates[1]} per update and {queries[0]} against {queries[1]} per query:"
            f" {cheap.name} costs less than {dear.name} however many queries follow an update"
        )
        return BreakEven(cheap.name, cheap.name, None, told)
    told = (
        f"({updates[1]} − {updates[0]}) per update ÷ ({queries[0]} − {queries[1]}) per query"
        f" = {count(more / saved)} queries per update; with more, {dear.name} costs less than {cheap.name}"
    )
    return BreakEven(cheap.name, dear.name, more / saved, told)


def bill(name: str, measured: Measures, prices: Prices, basis: Basis) -> Bill | None:
    """Give what an arm takes for each update and query; None where its update was not measured."""
    if measured.effort is None:
        return None
    if basis == Basis.MEASURED:
        return Bill(name, measured.effort.cpu_s, measured.query.cpu_s)
    own = cost(measured, prices)
    update = own.update_gpu if own.update_gpu is not None else own.update
    if own.update_gpu is not None and basis != Basis.RENTED:
        update = CLAIMED_RETRAINING[basis == Basis.CLAIMED_HIGH]
    return Bill(name, update or 0.0, own.query_tokens)


def amount(value: float, unit: str, n: int = 3) -> str:
    """Write an amount with `n` figures that count: `$0.00012`, `0.858 CPU s`, `$1,200`."""
    number = figures(value, n)
    return f"{number} {unit}" if unit[:1].isalpha() else f"{unit}{number}"


def count(value: float) -> str:
    """Write a number of queries, no finer than it is known: `0.4`, `176`, `12,300`, `4 million`."""
    return f"{figures(value / _MILLION)} million" if value >= _MILLION else figures(value)


def figures(value: float, n: int = 3) -> str:
    """Write a number with `n` figures that count, and no exponent."""
    if value == 0:
        return "0"
    digits = n - 1 - int(f"{value:.{n - 1}e}".partition("e")[2])
    text = f"{round(value, digits):,.{max(0, digits)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
