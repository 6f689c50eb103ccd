"""What answers amount to."""

import random
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.compare.estimates import difference, estimate, is_tie, less_often
from freshd.compare.measures import is_exact, likeliest, measure
from freshd.compare.records import Arm, FactKind, Update
from tests.compare.recorded import answer, fact, results, share

CHANGED, UNCHANGED, VANISHED = FactKind
thirds = st.integers(0, 3).map(lambda hits: Fraction(hits, 3))
shares = st.dictionaries(st.integers(0, 40).map(str), thirds, min_size=1)


def only(run, arm=Arm.RAG, **thresholds):
    return measure(run, **thresholds)[arm]


# Intervals


@given(shares)
def test_a_share_lies_in_its_interval_and_the_interval_in_zero_to_one(by_fact):
    seen = estimate(by_fact)
    assert 0 <= seen.low <= seen.value <= seen.high <= 1
    assert seen.value == pytest.approx(float(sum(by_fact.values()) / len(by_fact)))
    assert seen.n == len(by_fact)


@pytest.mark.parametrize("hits", [[1] * 20 + [0] * 9, [1, 0, 0, 1, 1], [Fraction(1, 3)] * 9 + [1] * 20 + [0] * 13])
def test_the_interval_is_the_one_that_drawing_facts_anew_would_show(hits):
    """Weighing every drawing gives what many drawings come to."""
    draw, seen = random.Random(7), share(*hits)
    means = sorted(float(sum(draw.choices(hits, k=len(hits)))) / len(hits) for _ in range(4_000))
    step = 1.5 / (3 * len(hits))
    assert seen.low == pytest.approx(means[100], abs=step)
    assert seen.high == pytest.approx(means[-101], abs=step)


def test_more_facts_make_a_narrower_interval():
    few, many = share(*[1, 0] * 5), share(*[1, 0] * 50)
    assert many.high - many.low < (few.high - few.low) / 2


def test_facts_that_all_agree_are_no_certainty():
    """Drawing ten hits anew gives ten hits again, which says nothing of the facts that were not asked."""
    assert (share(*[1] * 10).low, share(*[1] * 10).high) == (pytest.approx(0.7), 1.0)
    assert (share(*[0] * 10).low, share(*[0] * 10).high) == (0.0, pytest.approx(0.3))
    assert (share(1).low, share(1).high) == (0.0, 1.0)


def test_there_is_no_share_of_nothing():
    assert estimate({}) is None
    assert difference(None, share(1)) is None
    assert difference(share(1), estimate({"other": Fraction(1)})) is None


# Differences and ties


@given(shares, shares)
def test_a_difference_seen_from_the_other_side_is_its_opposite(one, other):
    there, back = difference(estimate(one), estimate(other)), difference(estimate(other), estimate(one))
    if there is None:
        assert not one.keys() & other.keys()
    else:
        assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))


@given(shares)
def test_a_share_ties_with_itself(by_fact):
    assert is_tie(estimate(by_fact), estimate(by_fact))


def test_a_small_difference_is_a_tie_and_a_large_one_is_not():
    assert is_tie(share(*[1] * 15 + [0] * 15), share(*[1] * 16 + [0] * 14))
    assert not is_tie(share(*[1] * 25 + [0] * 5), share(*[1] * 8 + [0] * 22))


def test_a_difference_is_judged_fact_by_fact():
    """Two arms that differ on the same few facts each time are apart, however much facts differ among themselves."""
    facts = [n % 2 for n in range(40)]
    better = [1 if n < 12 else hit for n, hit in enumerate(facts)]
    one, other = share(*better), share(*facts)
    assert one.low < other.high
    assert not is_tie(one, other)


def test_one_fact_tells_no_two_arms_apart():
    assert is_tie(share(1), share(0))


def test_which_takes_less_is_judged_by_how_often():
    slow, fast = dict.fromkeys("abcdefghij", 2.0), dict.fromkeys("abcdefghij", 1.0)
    assert less_often(fast, slow).low > 0
    assert less_often(slow, fast).high < 0
    assert less_often(slow, slow).value == 0


def test_one_slow_question_does_not_make_an_arm_slow():
    steady, hiccup = dict.fromkeys("abcdefghij", 2.0), {**dict.fromkeys("abcdefghij", 1.0), "a": 900.0}
    assert less_often(hiccup, steady).low > 0


# What an answer says


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30 days", "30 days"),
        (" The  Mill. ", "the mill"),
        ("1,480", "1480"),
        ("Ben Marlow. He has looked after it since.", "Ben Marlow"),
        ("Tuesday, from the first week of May", "Tuesday"),
        ("Ben Marlow: he came last year", "Ben Marlow"),
        ("Ostervale, Kolmen", "Ostervale, Kolmen"),
        ("the red shed\nQuestion: where else?", "red shed"),
        ("\n“17 April”", "17 April"),
        ("3.1 metres deep", "3.1 metres deep"),
        ("St. Anne", "St. Anne"),
        ("**teal**", "Teal"),
        ("\uff11\uff19", "19"),
    ],
)
def test_form_does_not_make_an_answer_wrong(text, value):
    assert is_exact(replace(fact("a"), new=value), answer("a", text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("13 days", "3 days"),
        ("", "teal"),
        ("red shed, or mill", "mill"),
        ("1.9", "19"),
        ("7:25 in the evening", "7:25"),
    ],
)
def test_another_value_is_another_answer(text, value):
    assert not is_exact(replace(fact("a"), new=value), answer("a", text))


def test_what_is_as_likely_as_another_is_not_the_likeliest():
    """A model that finds everything alike knows nothing."""
    assert not likeliest(fact("a"), replace(answer("a"), scores=(-1.0,) * 4))
    assert not likeliest(fact("a"), replace(answer("a"), scores=(float("nan"),) * 4))
    assert likeliest(fact("a"), answer("a"))


# The figures of an arm


def test_currency_is_the_share_of_changed_facts_whose_new_value_is_likeliest():
    facts = [fact("a"), fact("b"), fact("c"), fact("d"), fact("u", UNCHANGED)]
    seen = only(
        results(facts, [answer(name, likeliest=place) for name, place in zip("abcdu", (0, 0, 1, 2, 0), strict=True)])
    )
    assert (seen.currency.value, seen.stale.value, seen.kept.value) == (0.5, 0.25, 1.0)


def test_what_served_development_counts_nowhere():
    facts = [fact("a"), fact("dev", is_development=True), fact("udev", UNCHANGED, is_development=True)]
    run = results(facts, [answer("a", likeliest=1, cpu_s=1.0), answer("dev", cpu_s=99.0), answer("udev", cpu_s=99.0)])
    seen = only(run)
    assert (seen.currency.value, seen.currency.n, seen.kept, seen.query.cpu_s) == (0.0, 1, None, 1.0)


def test_a_question_that_was_not_timed_counts_in_no_time_and_in_everything_else():
    untimed = {"cpu_s": None, "prefill_s": None, "generation_s": None}
    run = results(
        [fact("a"), fact("b")],
        [
            answer("a", cpu_s=2.0, prefill_s=1.0, generation_s=1.0, prompt_tokens=10),
            answer("b", prompt_tokens=30, **untimed),
        ],
    )
    seen = only(run)
    assert (seen.currency.n, seen.query.prompt_tokens) == (2, 20.0)
    assert (seen.query.cpu_s, seen.query.prefill_s, seen.query.total_s) == (2.0, 1.0, 2.0)
    assert (seen.cpu_by_fact, seen.seconds_by_fact) == ({"a": 2.0}, {"a": 2.0})


def test_seeds_are_pooled_fact_by_fact():
    """A fact counts once, however many seeds asked it."""
    run = results([fact("a"), fact("b")], [answer("a"), *(answer("b", likeliest=1, seed=seed) for seed in (0, 1, 2))])
    seen = only(run)
    assert (seen.currency.value, seen.currency.n, seen.seeds) == (0.5, 2, (0, 1, 2))
    mixed = results([fact("a")], [answer("a", likeliest=place, seed=seed) for seed, place in enumerate((0, 1, 1))])
    assert only(mixed).currency.value == pytest.approx(1 / 3)


def test_forgetting_is_held_against_the_arm_before_its_update():
    facts = [fact(str(n), UNCHANGED) for n in range(10)]
    before = [answer(one.fact_id, "old", arm=Arm.TUNED_FROZEN) for one in facts]
    after = [answer(one.fact_id, "old" if n < 4 else "lost", arm=Arm.TUNED_INCREMENTAL) for n, one in enumerate(facts)]
    seen = measure(results(facts, before + after))
    assert seen[Arm.TUNED_INCREMENTAL].forgotten_exact.value == pytest.approx(0.6)
    assert seen[Arm.TUNED_INCREMENTAL].forgotten.value == 0
    assert seen[Arm.TUNED_FROZEN].forgotten_exact is None
    assert only(results(facts, after), Arm.TUNED_INCREMENTAL).forgotten_exact is None


def test_a_vanished_fact_lingers_while_its_old_value_is_given():
    facts = [fact("a", VANISHED), fact("b", VANISHED)]
    seen = only(results(facts, [answer("a", "old"), answer("b", "unknown", likeliest=2)]))
    assert (seen.lingering.value, seen.lingering_exact.value) == (0.5, 0.5)
    assert seen.confident_wrong is None, "no answer to it is right, and none is asked for"


def test_a_wrong_answer_is_confident_from_the_stated_confidence_on():
    facts = [fact("a"), fact("b"), fact("u", UNCHANGED)]
    run = results(
        facts, [answer("a", "no", confidence=0.5), answer("b", confidence=1.0), answer("u", "no", confidence=0.4)]
    )
    assert [only(run, confident=limit).confident_wrong.value for limit in (0.3, 0.5, 0.6)] == pytest.approx(
        [2 / 3, 1 / 3, 0]
    )


def test_who_retrieves_nothing_attributes_nothing():
    assert only(results([fact("a")], [answer("a")])).attribution is None


def test_a_cited_passage_counts_when_it_holds_the_fact():
    facts = [fact("a"), fact("u", UNCHANGED), fact("v", VANISHED)]
    run = results(facts, [answer(name, is_grounded=held) for name, held in (("a", True), ("u", None), ("v", False))])
    assert (only(run).attribution.value, only(run).attribution.n) == (0.5, 2)


def test_latency_is_told_by_its_parts_at_the_median():
    facts = [fact(name) for name in "abc"]
    run = results(
        facts,
        [answer(n, retrieval_s=r, prefill_s=1.0, generation_s=2.0) for n, r in zip("abc", (1, 2, 99), strict=True)],
    )
    query = only(run).query
    assert (query.retrieval_s, query.prefill_s, query.generation_s, query.total_s) == (2.0, 1.0, 2.0, 5.0)


@pytest.mark.parametrize(("known", "at"), [(0.5, 15.0), (0.8, 25.0), (1.0, None)])
def test_an_arm_is_up_to_date_when_every_seed_knew_the_stated_share(known, at):
    updates = [
        Update(Arm.RAG, 0, 30.0, 50.0, curve=((10.0, 0.5), (20.0, 0.9), (30.0, 1.0))),
        Update(Arm.RAG, 1, 40.0, 70.0, curve=((20.0, 0.6), (30.0, 0.8))),
    ]
    effort = only(results([fact("a")], [answer("a")], updates), known=known).effort
    assert effort.known_s == at
    assert (effort.cpu_s, effort.least_cpu_s, effort.most_cpu_s, effort.n_seeds) == (60.0, 50.0, 70.0, 2)


@pytest.mark.parametrize(
    ("swept", "told"), [((10.0, 10.0, 40.0), 10.0), ((0.0, 0.0, 0.0), 0.0), ((10.0, None, 10.0), None)]
)
def test_what_a_search_for_a_learning_rate_took_is_told_only_where_every_seed_counted_it(swept, told):
    updates = [Update(Arm.RAG, n, 1.0, 1.0, sweep_s=one) for n, one in enumerate(swept)]
    assert only(results([fact("a")], [answer("a")], updates)).effort.sweep_s == told


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 1 << 40)), min_size=1, max_size=5))
def test_memory_is_the_largest_of_all_seeds(seen):
    updates = [Update(Arm.RAG, n, 1.0, 1.0, peak_bytes=peak, n_processes=many) for n, (many, peak) in enumerate(seen)]
    effort = only(results([fact("a")], [answer("a")], updates)).effort
    assert effort.peak_bytes == max(peak for _, peak in seen)
    assert effort.n_processes == max(many for many, _ in seen)


def test_arms_come_in_their_order_and_only_those_that_answered():
    run = results([fact("a")], [answer("a", arm=Arm.TUNED_RETRAINED), answer("a", arm=Arm.BASE)])
    assert list(measure(run)) == [Arm.BASE, Arm.TUNED_RETRAINED]
