"""The verdict says what this run measured, whichever way it went, and no more."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.compare.estimates import difference
from freshd.compare.measures import measure, unrest
from freshd.compare.records import SAMPLED, SAMPLED_DOCUMENTS, Arm, FactKind, Results, Update
from freshd.compare.report import build_report
from freshd.compare.timeline import approaches, course, spread
from freshd.compare.verdict import NAMES, Winner, compared, moment, percent, shortened, verdict
from tests.compare.recorded import answer, fact, made_up, results, share

FACTS = [fact(f"c{n}") for n in range(20)] + [fact(f"u{n}", FactKind.UNCHANGED) for n in range(20)]
OTHER_SIDE = {Winner.RETRIEVAL: Winner.RETRAINING, Winner.RETRAINING: Winner.RETRIEVAL, Winner.TIE: Winner.TIE}


def arm_of(arm, n_right, *, cpu_s, update_s, tokens=100, is_grounded=None):
    """An arm that knows so many of each kind, at this cost of a query and of an update."""
    answers = []
    for place, one in enumerate(FACTS):
        is_right = place % 20 < n_right
        answers.append(
            answer(
                one.fact_id,
                one.new if is_right else "no",
                arm=arm,
                likeliest=0 if is_right else 2,
                cpu_s=cpu_s,
                prefill_s=cpu_s,
                prompt_tokens=tokens,
                is_grounded=is_grounded,
            )
        )
    return answers, [Update(arm, 0, update_s, update_s)]


def run_of(*arms, **more):
    return results(FACTS, [a for own, _ in arms for a in own], [u for _, own in arms for u in own], **more)


def told(run, courses=()):
    return verdict(run, measure(run), courses)


def winners(run):
    return {one.aspect: one.winner for one in told(run).contests}


def swapped(run: Results) -> Results:
    """The same run, in which retrieval did what retraining did, and the other way round."""
    other = {Arm.RAG: Arm.TUNED_RETRAINED, Arm.TUNED_RETRAINED: Arm.RAG}
    return replace(
        run,
        updates=tuple(replace(one, arm=other.get(one.arm, one.arm)) for one in run.updates),
        answers=tuple(replace(one, arm=other.get(one.arm, one.arm)) for one in run.answers),
    )


def test_each_side_is_said_to_win_where_it_wins():
    run = run_of(
        arm_of(Arm.RAG, 8, cpu_s=0.9, update_s=0.4, tokens=300, is_grounded=True),
        arm_of(Arm.TUNED_RETRAINED, 19, cpu_s=0.5, update_s=120.0, tokens=40),
    )
    assert winners(run) == {
        "the cost of an update": Winner.RETRIEVAL,
        "knowledge currency": Winner.RETRAINING,
        "exact answers": Winner.RETRAINING,
        "unchanged facts": Winner.RETRAINING,
        "confident errors": Winner.RETRAINING,
        "time per query": Winner.RETRAINING,
        "the length of the prompt": Winner.RETRAINING,
        "sources": Winner.RETRIEVAL,
    }
    assert told(run).headline == (
        "RAG did better on the cost of an update and sources; retraining did better on knowledge currency, exact"
        " answers, unchanged facts, confident errors, time per query and the length of the prompt."
    )


@given(st.integers(0, 20), st.integers(0, 20), st.sampled_from([0.1, 1.0]), st.sampled_from([0.1, 1.0]))
def test_no_side_is_favoured(rag, retraining, query_s, update_s):
    """Numbers that change sides take the verdict with them."""
    run = run_of(
        arm_of(Arm.RAG, rag, cpu_s=query_s, update_s=update_s, tokens=300),
        arm_of(Arm.TUNED_RETRAINED, retraining, cpu_s=0.5, update_s=0.5),
    )
    assert winners(swapped(run)) == {aspect: OTHER_SIDE[winner] for aspect, winner in winners(run).items()}


def test_the_recorded_run_is_judged_alike_from_both_sides():
    run = made_up()
    before, after = winners(run), winners(swapped(run))
    for aspect in before.keys() - {"sources"}:
        assert after[aspect] == OTHER_SIDE[before[aspect]], aspect


def test_a_small_difference_is_called_a_tie():
    run = run_of(arm_of(Arm.RAG, 14, cpu_s=0.5, update_s=1.0), arm_of(Arm.TUNED_RETRAINED, 15, cpu_s=0.5, update_s=1.0))
    assert set(winners(run).values()) == {Winner.TIE}
    assert told(run).headline.startswith("They tie on the cost of an update, knowledge currency")
    assert "a tie" in told(run).contests[1].sentence


def test_updates_whose_ranges_overlap_tie():
    """Three seconds against four is no win where a seed of each took three and a half."""
    answers = arm_of(Arm.RAG, 9, cpu_s=1, update_s=1)[0] + arm_of(Arm.TUNED_RETRAINED, 9, cpu_s=1, update_s=1)[0]
    took = {Arm.RAG: (2.0, 3.6), Arm.TUNED_RETRAINED: (3.4, 5.0)}
    updates = [Update(arm, seed, s, s) for arm, both in took.items() for seed, s in enumerate(both)]
    assert winners(results(FACTS, answers, updates))["the cost of an update"] == Winner.TIE


@pytest.mark.parametrize(("seeds_s", "winner"), [((0.5, 0.55), Winner.RETRIEVAL), ((0.3, 0.9), Winner.TIE)])
def test_a_difference_in_time_that_one_arm_shows_from_seed_to_seed_is_a_tie(seeds_s, winner):
    """On a machine that others use too, all questions of an arm are slower together."""
    retriever, _ = arm_of(Arm.RAG, 9, cpu_s=0.25, update_s=1.0)
    retrained, updates = arm_of(Arm.TUNED_RETRAINED, 9, cpu_s=0.5, update_s=90.0)
    each = [replace(one, seed=n, cpu_s=s, prefill_s=s) for n, s in enumerate(seeds_s) for one in retrained]
    updates = [Update(Arm.RAG, 0, 1.0, 1.0), *(replace(one, seed=n) for n in (0, 1) for one in updates)]
    run = results(FACTS, [*retriever, *each], updates, seeds=(0, 1))
    assert unrest(measure(run)) == pytest.approx(seeds_s[1] / seeds_s[0])
    assert winners(run)["time per query"] == winner
    sentence = next(one.sentence for one in told(run).contests if one.aspect == "time per query")
    assert ("took up to 3 times as long with one seed as with another" in sentence) == (winner == Winner.TIE)
    breaks = [one for one in build_report(run)["break_evens"] if one["basis"] == "measured"]
    assert ["tie" in one["formula"] for one in breaks] == [winner == Winner.TIE]
    assert any("no number of queries" in one for one in told(run).remarks) == (winner == Winner.TIE)


def test_where_no_arm_ran_twice_nothing_is_known_of_unrest():
    assert unrest(measure(run_of(arm_of(Arm.RAG, 9, cpu_s=0.5, update_s=1.0)))) == 1.0


def test_both_together_are_judged_by_what_they_answer_and_by_their_errors_too():
    arms = [arm_of(arm, n, cpu_s=1, update_s=1) for arm, n in ((Arm.RAG, 3), (Arm.READER_RAG, 18))]
    remarks = [one for one in told(run_of(*arms)).remarks if one.startswith("Both, as recommended")]
    assert [one.split(", ")[2].split(":")[0] for one in remarks] == [
        "knowledge currency",
        "exact answers",
        "confident errors",
    ]
    assert all("reader + RAG is better" in one for one in remarks)


def test_no_break_even_is_told_where_queries_tie():
    run = run_of(arm_of(Arm.RAG, 9, cpu_s=0.5, update_s=1.0), arm_of(Arm.TUNED_RETRAINED, 9, cpu_s=0.5, update_s=90.0))
    remarks = " ".join(told(run).remarks)
    assert "no number of queries per update can be told" in remarks
    assert "Break-even" not in remarks


@pytest.mark.parametrize(
    ("arms", "missing"), [((Arm.RAG,), "retraining"), ((Arm.TUNED_RETRAINED,), "RAG"), ((), "RAG")]
)
def test_there_is_no_verdict_between_one_and_nobody(arms, missing):
    own = told(run_of(*(arm_of(arm, 9, cpu_s=1, update_s=1) for arm in arms)))
    assert own.contests == ()
    assert own.headline.endswith(f"{missing} was not measured.")


def test_who_stands_for_retraining_is_named():
    run = run_of(arm_of(Arm.RAG, 9, cpu_s=1, update_s=1), arm_of(Arm.TUNED_REPLAY, 9, cpu_s=1, update_s=9))
    assert "tuning with replay" in told(run).contests[0].sentence
    assert "retraining" in told(run).caveats[-3], "and so is who did not run"


def test_only_who_cannot_be_told_from_guessing_is_said_to_guess():
    run = run_of(arm_of(Arm.BASE, 5, cpu_s=1, update_s=1), arm_of(Arm.RAG, 18, cpu_s=1, update_s=1))
    stale = [replace(one, scores=(-2.0, -1.0, -2.0, -2.0)) for one in arm_of(Arm.BASE, 5, cpu_s=1, update_s=1)[0]]
    guessing = [one for one in told(run).remarks if "guessing" in one]
    assert guessing == []
    mixed = [one if n % 4 else other for n, (one, other) in enumerate(zip(run.answers[:40], stale, strict=True))]
    told_mixed = told(results(FACTS, [*mixed, *run.answers[40:]], run.updates))
    assert [one for one in told_mixed.remarks if "guessing" in one] == [
        "Not told from guessing among four (25 %) on changed facts: base model."
    ]


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({"seeds": (4,)}, "One seed: how much another training would differ is not known."),
        ({"seeds": (1, 2, 3)}, "3 seeds, pooled: intervals are over facts, 95 % each, not corrected for being many."),
        ({"is_quick": True}, "A quick run: a subset of facts and arms."),
        ({"model": "a model"}, "One model, a model: nothing here says how another does."),
        ({"n_documents": 12}, "Judged by 20 changed, 20 unchanged, 0 vanished facts in 12 documents; 0 more served"),
    ],
)
def test_what_the_numbers_do_not_carry_is_said(more, wanted):
    caveats = told(run_of(arm_of(Arm.RAG, 9, cpu_s=1, update_s=1), **more)).caveats
    assert any(caveat.startswith(wanted) for caveat in caveats)


def test_a_way_to_train_is_a_caveat_only_where_something_was_trained():
    run = run_of(arm_of(Arm.RAG, 9, cpu_s=1, update_s=1))
    assert not any("LoRA" in caveat for caveat in told(run).caveats)
    trained = [replace(one, learning_rate=1e-4) for one in run.updates]
    assert any("LoRA" in caveat for caveat in told(replace(run, updates=tuple(trained))).caveats)


def test_what_a_gpu_did_is_a_caveat():
    run = run_of(arm_of(Arm.RAG, 9, cpu_s=1, update_s=1), gpu="Graphics 9000")
    caveats = told(run).caveats
    assert any("the model on its Graphics 9000" in one for one in caveats)
    assert any("leave out those of the GPU" in one for one in caveats)
    assert not any("on a GPU nothing was timed" in one for one in caveats)


def test_an_arm_that_lacks_a_seed_is_named_with_those_it_has():
    answers, updates = arm_of(Arm.TUNED_RETRAINED, 9, cpu_s=1, update_s=1)
    trained = answers, [replace(one, sweep_s=0.0, learning_rate=1e-3) for one in updates]
    run = run_of(arm_of(Arm.RAG, 9, cpu_s=1, update_s=1), trained, seeds=(0, 1))
    assert "Not run with every seed: retraining with 0." in told(run).caveats
    assert not any("every seed" in one for one in told(replace(run, setup=replace(run.setup, seeds=(0,)))).caveats)


def test_staleness_over_time_is_told_of_each_way():
    courses = [course(spread(["a", "b"], 4), way) for way in approaches(0.5, 60.0)]
    run = run_of(arm_of(Arm.RAG, 9, cpu_s=1, update_s=1))
    remark = told(run, courses).remarks[-1]
    assert all(f"{one.approach.name} {percent(one.mean_share)}" in remark for one in courses)


@given(st.lists(st.integers(0, 1), min_size=1, max_size=30), st.lists(st.integers(0, 1), min_size=1, max_size=30))
def test_no_one_is_called_better_by_a_difference_that_may_be_none(one, other):
    by = difference(share(*one), share(*other))
    words = compared("one", "other", by)
    if by.low <= 0 <= by.high:
        assert words.startswith("a tie")
    else:
        assert words.startswith(f"{'one' if by.value > 0 else 'other'} is better")
        assert compared("one", "other", by, is_more_better=False).startswith(
            f"{'other' if by.value > 0 else 'one'} is better"
        )


def test_every_arm_has_a_name_of_its_own():
    assert set(NAMES) == set(Arm)
    assert len(set(NAMES.values())) == len(Arm)


@pytest.mark.parametrize(
    ("number", "written"), [(0, "0 %"), (0.66, "66 %"), (0.034, "3.4 %"), (0.0000057, "0.00057 %"), (1, "100 %")]
)
def test_a_small_share_is_not_called_none(number, written):
    assert percent(number) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0 s"), (4.2e-6, "0.0042 ms"), (0.0042, "4.2 ms"), (0.0123, "0.012 s"), (61, "61 s")],
)
def test_a_short_moment_is_not_called_none(seconds, written):
    assert moment(seconds) == written


@given(st.floats(1e-6, 1e5))
def test_no_moment_that_was_measured_is_told_as_nothing(seconds):
    assert float(moment(seconds).split()[0]) > 0


def test_a_hash_is_shortened_and_nothing_else_is():
    digest = "8199be6fd2a6" + "0" * 52
    assert shortened(f"tiny, SHA-256 {digest}") == "tiny, SHA-256 8199be6fd2a6…"
    assert shortened(f"{digest}0 and 8199be6fd2a6 and made up") == f"{digest}0 and 8199be6fd2a6 and made up"


def test_the_break_even_of_both_sides_is_one_of_the_remarks_or_there_is_none():
    run = made_up()
    told = verdict(run, measure(run))
    assert told.break_even in told.remarks
    assert "retraining costs less than RAG" in told.break_even
    alone = replace(run, answers=tuple(one for one in run.answers if one.arm is Arm.RAG))
    assert verdict(alone, measure(alone)).break_even is None


@pytest.mark.parametrize(("n_processes", "said"), [(2, "those of its store added"), (1, "without that of its store")])
def test_whose_memory_was_measured_is_a_caveat(n_processes, said):
    updates = [Update(Arm.RAG, 0, 1.0, 1.0, peak_bytes=1 << 30, n_processes=n_processes)]
    run = results([fact("a")], [answer("a")], updates)
    assert said in " ".join(verdict(run, measure(run)).caveats)


@pytest.mark.parametrize("key", [SAMPLED, SAMPLED_DOCUMENTS])
def test_a_sample_is_a_caveat(key):
    run = results([fact("a")], [answer("a")], settings={key: "1,000 of 43,068"})
    assert [one for one in verdict(run, measure(run)).caveats if "1,000 of 43,068" in one and "sample" in one]
    whole = results([fact("a")], [answer("a")])
    assert "sample" not in " ".join(verdict(whole, measure(whole)).caveats)
