"""What `freshd compare --json` prints, key by key; terminal table and page are renderings of it.

Shares are in [0, 1], durations seconds, money in the currency of the prices.
A key is always there, None where nothing was measured; fields may be added, none changes its meaning.
"""

from typing import Literal

from typing_extensions import TypedDict


class Share(TypedDict):
    """A mean over facts with its 95 % interval; `facts` is over how many."""

    value: float
    low: float
    high: float
    facts: int


class UpdateFigures(TypedDict):
    """What following the change takes an arm; medians over seeds, `peak_bytes` and `processes` the largest.

    `known_seconds` is from the change until the stated share of changed development facts was known.
    `sweep_cpu_seconds` are those of `before_cpu_seconds` that went into finding a learning rate; None if not counted.
    `peak_bytes` adds up the largest resident memories of so many `processes`.
    """

    seeds: int
    wall_seconds: float
    cpu_seconds: float
    least_cpu_seconds: float
    most_cpu_seconds: float
    before_cpu_seconds: float
    sweep_cpu_seconds: float | None
    known_seconds: float | None
    trained_tokens: float
    peak_bytes: int
    processes: int


class QueryFigures(TypedDict):
    """What one question takes an arm; medians over questions and seeds."""

    retrieval_seconds: float
    prefill_seconds: float
    generation_seconds: float
    seconds: float
    cpu_seconds: float
    prompt_tokens: float
    answer_tokens: float


class CostFigures(TypedDict):
    """What that costs at the prices of the report; see `Prices` for what each is reckoned from."""

    before: float | None
    update: float | None
    update_gpu: float | None
    query: float
    query_tokens: float


class ArmFigures(TypedDict):
    """Everything measured of one arm; `arm` is stable, `name` is for people.

    `update` is None for an arm that follows no change.
    """

    arm: str
    name: str
    seeds: list[int]
    currency: Share | None
    exact: Share | None
    stale: Share | None
    stale_exact: Share | None
    kept: Share | None
    kept_exact: Share | None
    forgotten: Share | None
    forgotten_exact: Share | None
    lingering: Share | None
    lingering_exact: Share | None
    confident_wrong: Share | None
    attribution: Share | None
    update: UpdateFigures | None
    query: QueryFigures
    cost: CostFigures


class Row(TypedDict):
    """One aspect: what is claimed of fine-tuning and of RAG, and what was measured of each."""

    aspect: str
    claimed_tuning: str
    measured_tuning: str
    claimed_rag: str
    measured_rag: str


class Break(TypedDict):
    """From how many queries per update on the dearer update pays off; arms by name.

    `queries` is None where one of them costs less for any number of queries, or both the same.
    """

    basis: str
    one: str
    other: str
    unit: str
    below: str | None
    above: str | None
    queries: float | None
    formula: str
    lines: list[tuple[str, float, float]]
    """Name, cost per update, cost per query of each of the two."""


class TimelineCourse(TypedDict):
    """One way to follow the stream: steps are seconds since its begin and the share out of date from there on."""

    approach: str
    every_seconds: float
    takes_seconds: float
    mean_share: float
    highest_share: float
    mean_wait_seconds: float
    steps: list[tuple[float, float]]


class Timeline(TypedDict):
    """The same stream of changes under each approach."""

    origin: str
    changes: int
    things: int
    span_seconds: float
    courses: list[TimelineCourse]


class ContestFigures(TypedDict):
    """One aspect on which retrieval and retraining are held against each other."""

    aspect: str
    winner: Literal["retrieval", "retraining", "tie"]
    sentence: str


class VerdictWords(TypedDict):
    """What the numbers say, and what they do not carry.

    `break_even` is from how many queries per update on retraining pays off, or that it cannot be told;
    None where one of both sides was not measured.
    """

    headline: str
    break_even: str | None
    contests: list[ContestFigures]
    remarks: list[str]
    caveats: list[str]


class Counts(TypedDict):
    """Facts that were judged, and those that served development only."""

    changed: int
    unchanged: int
    vanished: int
    development: int


Settings = dict[str, str | int | float | None]


class SetupFigures(TypedDict):
    """What the run was made with."""

    model: str
    machine: str
    gpu: str | None
    documents: int
    seeds: list[int]
    is_quick: bool
    facts: Counts
    settings: Settings


class UpdateRecord(TypedDict):
    """One update as it was done, for who wants to repeat it."""

    arm: str
    name: str
    seed: int
    wall_seconds: float
    cpu_seconds: float
    epochs: float
    learning_rate: float | None
    trained_tokens: int
    curve: list[tuple[float, float]]
    settings: Settings


class PriceFigures(TypedDict):
    """Prices that costs are reckoned from: the user's, or stated assumptions."""

    machine_hour: float
    machine_cores: int
    gpu_hour: float
    gpu_speedup: float
    input_million: float
    output_million: float
    currency: str


class ComparisonReport(TypedDict):
    """One comparison; `confident` and `known` are the thresholds that its figures go by.

    `measured_at` is when its newest arm was through, RFC 3339 in UTC; None if that was not kept.
    """

    version: str
    measured_at: str | None
    setup: SetupFigures
    confident: float
    known: float
    prices: PriceFigures
    rows: list[Row]
    arms: list[ArmFigures]
    break_evens: list[Break]
    timeline: Timeline | None
    verdict: VerdictWords
    updates: list[UpdateRecord]
