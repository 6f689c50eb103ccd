"""Puts one run into the shape of its report: every figure once, for JSON, terminal and page alike.

Results ─▶ measure ─▶ cost, break_even, course ─▶ verdict ─▶ ComparisonReport
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import cast

from freshd import __version__
from freshd.compare.costs import UNMOVED, Basis, BreakEven, Prices, bill, break_even, cost
from freshd.compare.estimates import Estimate
from freshd.compare.measures import CONFIDENT, KNOWN, Effort, Measures, Query, measure, unrest
from freshd.compare.records import Arm, FactKind, Results, Update
from freshd.compare.report.rows import rows
from freshd.compare.report.shape import (
    ArmFigures,
    Break,
    ComparisonReport,
    CostFigures,
    PriceFigures,
    QueryFigures,
    SetupFigures,
    Share,
    Timeline,
    TimelineCourse,
    UpdateFigures,
    UpdateRecord,
    VerdictWords,
)
from freshd.compare.timeline import SCAN_S, Course, Stream, approaches, course, spread, thinned
from freshd.compare.verdict import CPU_S, NAMES, Verdict, query_tie, stand_in, verdict

_COLUMNS = 600
"""Into which a timeline's steps are thinned: finer than a page shows."""


def build_report(
    results: Results,
    prices: Prices | None = None,
    *,
    stream: Stream | None = None,
    cycle_s: float = SCAN_S,
    confident: float = CONFIDENT,
    known: float = KNOWN,
) -> ComparisonReport:
    """Make the report of a run, whole or as far as it came.

    Args:
        results: The run.
        prices: The user's; None for the stated assumptions.
        stream: Changes for the staleness timeline; None to spread the run's own evenly.
        cycle_s: How long freshd takes to notice a change at most.
        confident: From which confidence on a wrong answer counts as confident.
        known: At which share of changed development facts an arm counts as up to date.

    """
    prices = prices or Prices()
    measured = measure(results, confident=confident, known=known)
    stream = stream or _own_stream(results)
    courses = _courses(measured, stream, cycle_s)
    told = verdict(results, measured, courses)
    arms = [_arm(one, prices) for one in measured.values()]
    return ComparisonReport(
        version=__version__,
        measured_at=max((one.measured_at for one in results.updates if one.measured_at), default=None),
        setup=_setup(results),
        confident=confident,
        known=known,
        prices=cast(PriceFigures, asdict(prices)),
        rows=rows(measured, prices, confident, known, cycle_s),
        arms=arms,
        break_evens=list(_break_evens(measured, prices)),
        timeline=_timeline(stream, courses) if courses else None,
        verdict=_verdict(told),
        updates=[_update(update) for update in results.updates],
    )


def _own_stream(results: Results) -> Stream:
    changed = [fact.fact_id for fact in results.facts if fact.kind != FactKind.UNCHANGED]
    return spread(changed, len(results.facts))


def _courses(measured: Mapping[Arm, Measures], stream: Stream, cycle_s: float) -> list[Course]:
    """Give the courses of freshd and of retraining; none where freshd's update was not measured."""
    own, retrainer = measured.get(Arm.RAG), stand_in(measured)
    if own is None or own.effort is None:
        return []
    retraining_s = retrainer.effort.wall_s if retrainer and retrainer.effort else None
    return [course(stream, approach) for approach in approaches(own.effort.wall_s, retraining_s, cycle_s)]


def _setup(results: Results) -> SetupFigures:
    setup, judged = results.setup, [fact.kind for fact in results.facts if not fact.is_development]
    return SetupFigures(
        model=setup.model,
        machine=setup.machine,
        gpu=setup.gpu,
        documents=setup.n_documents,
        seeds=list(setup.seeds),
        is_quick=setup.is_quick,
        facts={
            "changed": judged.count(FactKind.CHANGED),
            "unchanged": judged.count(FactKind.UNCHANGED),
            "vanished": judged.count(FactKind.VANISHED),
            "development": len(results.facts) - len(judged),
        },
        settings=dict(setup.settings),
    )


def _share(estimate: Estimate | None) -> Share | None:
    if estimate is None:
        return None
    return Share(value=estimate.value, low=estimate.low, high=estimate.high, facts=estimate.n)


def _arm(measured: Measures, prices: Prices) -> ArmFigures:
    effort = measured.effort if measured.arm not in UNMOVED else None
    return ArmFigures(
        arm=measured.arm.value,
        name=NAMES[measured.arm],
        seeds=list(measured.seeds),
        currency=_share(measured.currency),
        exact=_share(measured.exact),
        stale=_share(measured.stale),
        stale_exact=_share(measured.stale_exact),
        kept=_share(measured.kept),
        kept_exact=_share(measured.kept_exact),
        forgotten=_share(measured.forgotten),
        forgotten_exact=_share(measured.forgotten_exact),
        lingering=_share(measured.lingering),
        lingering_exact=_share(measured.lingering_exact),
        confident_wrong=_share(measured.confident_wrong),
        attribution=_share(measured.attribution),
        update=_effort(effort) if effort else None,
        query=_query(measured.query),
        cost=cast(CostFigures, asdict(cost(measured, prices))),
    )


def _effort(effort: Effort) -> UpdateFigures:
    return UpdateFigures(
        seeds=effort.n_seeds,
        wall_seconds=effort.wall_s,
        cpu_seconds=effort.cpu_s,
        least_cpu_seconds=effort.least_cpu_s,
        most_cpu_seconds=effort.most_cpu_s,
        before_cpu_seconds=effort.before_s,
        sweep_cpu_seconds=effort.sweep_s,
        known_seconds=effort.known_s,
        trained_tokens=effort.trained_tokens,
        peak_bytes=effort.peak_bytes,
        processes=effort.n_processes,
    )


def _query(query: Query) -> QueryFigures:
    return QueryFigures(
        retrieval_seconds=query.retrieval_s,
        prefill_seconds=query.prefill_s,
        generation_seconds=query.generation_s,
        seconds=query.total_s,
        cpu_seconds=query.cpu_s,
        prompt_tokens=query.prompt_tokens,
        answer_tokens=query.answer_tokens,
    )


def _break_evens(measured: Mapping[Arm, Measures], prices: Prices) -> Iterator[Break]:
    """Hold each way that retrieves against retraining, on every basis."""
    retrainer, noise = stand_in(measured), unrest(measured)
    for basis in Basis:
        for arm in (Arm.RAG, Arm.READER_RAG):
            own = measured.get(arm)
            if own is None or retrainer is None:
                continue
            one, other = (bill(NAMES[each.arm], each, prices, basis) for each in (own, retrainer))
            if one is None or other is None:
                continue
            unit = CPU_S if basis == Basis.MEASURED else prices.currency
            found = break_even(one, other, unit)
            if basis == Basis.MEASURED and (tie := query_tie(own, retrainer, noise)):
                found = BreakEven(None, None, None, tie)
            yield Break(
                basis=basis.value,
                one=one.name,
                other=other.name,
                unit=unit,
                below=found.below,
                above=found.above,
                queries=found.queries,
                formula=found.formula,
                lines=[(line.name, line.update, line.query) for line in (one, other)],
            )


def _timeline(stream: Stream, courses: list[Course]) -> Timeline:
    return Timeline(
        origin=stream.origin,
        changes=len(stream.edits),
        things=stream.n_things,
        span_seconds=stream.span_s,
        courses=[
            TimelineCourse(
                approach=one.approach.name,
                every_seconds=one.approach.every_s,
                takes_seconds=one.approach.takes_s,
                mean_share=one.mean_share,
                highest_share=one.highest_share,
                mean_wait_seconds=one.mean_wait_s,
                steps=thinned(one.steps, stream.span_s, _COLUMNS),
            )
            for one in courses
        ],
    )


def _verdict(told: Verdict) -> VerdictWords:
    return VerdictWords(
        headline=told.headline,
        break_even=told.break_even,
        contests=[
            {"aspect": one.aspect, "winner": one.winner.value, "sentence": one.sentence} for one in told.contests
        ],
        remarks=list(told.remarks),
        caveats=list(told.caveats),
    )


def _update(update: Update) -> UpdateRecord:
    return UpdateRecord(
        arm=update.arm.value,
        name=NAMES[update.arm],
        seed=update.seed,
        wall_seconds=update.wall_s,
        cpu_seconds=update.cpu_s,
        epochs=update.epochs,
        learning_rate=update.learning_rate,
        trained_tokens=update.trained_tokens,
        curve=list(update.curve),
        settings=dict(update.settings),
    )
