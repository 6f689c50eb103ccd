"""What updates and queries cost, and where the dearer update pays off."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from freshd.compare.costs import (
    CLAIMED_RETRAINING,
    Basis,
    Bill,
    Prices,
    amount,
    bill,
    break_even,
    cost,
    count,
    figures,
    gpu_cost,
    machine_cost,
)
from freshd.compare.measures import CHARACTERS_PER_TOKEN, measure
from freshd.compare.records import Arm, Update
from tests.compare.recorded import answer, fact, results

amounts = st.floats(1e-6, 1e6) | st.just(0.0)
bills = st.builds(Bill, st.just("one"), amounts, amounts), st.builds(Bill, st.just("other"), amounts, amounts)


def total(own: Bill, queries: float) -> float:
    return own.update + queries * own.query


def measured(arm: Arm, cpu_s: float = 7_200.0, query_cpu_s: float = 2.0, gpu: str | None = None, **more: object):
    answers = [answer("a", arm=arm, cpu_s=query_cpu_s, prompt_tokens=1_000, text="x" * 40, **more)]
    sweep_s = None if arm is Arm.RAG else 0.0
    settings = {} if arm is Arm.RAG else {"before_s": 3_000.0}
    updates = [Update(arm, 0, 1.0, cpu_s, before_s=3_600.0, trained_tokens=5_000, sweep_s=sweep_s, settings=settings)]
    return measure(results([fact("a")], answers, updates, gpu=gpu))[arm]


@given(*bills, st.floats(0.01, 0.99), st.floats(1.01, 100))
def test_the_cheaper_one_is_cheaper_on_its_side_of_the_break_even(one, other, less, more):
    found, by_name = break_even(one, other, "$"), {"one": one, "other": other}
    if found.queries is None:
        assert found.below == found.above
        if found.below:
            cheap, dear = by_name[found.below], by_name["one" if found.below == "other" else "other"]
            assert all(total(cheap, queries) <= total(dear, queries) for queries in (0, 1, 1e9))
        return
    few, many = by_name[found.below], by_name[found.above]
    at = found.queries
    assert total(one, at) == pytest.approx(total(other, at))
    assert total(few, less * at) <= total(many, less * at) * (1 + 1e-9)
    assert total(many, more * at) <= total(few, more * at) * (1 + 1e-9)


@given(*bills)
def test_a_break_even_does_not_depend_on_who_is_named_first(one, other):
    there, back = break_even(one, other, "$"), break_even(other, one, "$")
    assert there.queries == back.queries
    if (one.update, one.query) != (other.update, other.query):
        assert there == back


@given(*bills, st.floats(0.01, 100))
def test_dearer_machines_move_no_break_even(one, other, factor):
    """Where one price covers updates and queries, it cancels out."""
    dearer = [Bill(own.name, own.update * factor, own.query * factor) for own in (one, other)]
    there, back = break_even(one, other, "$"), break_even(*dearer, "$")
    assume((there.queries is None) == (back.queries is None))  # all but lost in rounding
    assert there.queries is None or there.queries == pytest.approx(back.queries, rel=1e-3)


def test_retraining_pays_off_beyond_some_number_of_queries():
    found = break_even(Bill("RAG", 0.4, 0.858), Bill("retraining", 121.0, 0.485), "CPU s")
    assert (found.below, found.above) == ("RAG", "retraining")
    assert found.queries == pytest.approx((121 - 0.4) / (0.858 - 0.485))
    assert found.formula == (
        "(121 CPU s − 0.4 CPU s) per update ÷ (0.858 CPU s − 0.485 CPU s) per query"
        " = 323 queries per update; with more, retraining costs less than RAG"
    )


def test_retrieval_pays_off_beyond_some_number_of_queries_where_its_update_is_the_dearer_one():
    found = break_even(Bill("RAG", 121.0, 0.485), Bill("retraining", 0.4, 0.858), "CPU s")
    assert (found.below, found.above) == ("retraining", "RAG")


@pytest.mark.parametrize(
    ("one", "other", "cheaper"),
    [((1, 1), (2, 2), "one"), ((2, 2), (1, 1), "other"), ((1, 1), (1, 2), "one"), ((1, 2), (2, 2), "one")],
)
def test_who_is_cheaper_in_both_is_cheaper_always(one, other, cheaper):
    found = break_even(Bill("one", *one), Bill("other", *other), "$")
    assert (found.below, found.above, found.queries) == (cheaper, cheaper, None)
    assert f"{cheaper} costs less than" in found.formula
    assert "however many" in found.formula


def test_who_costs_the_same_is_not_told_apart():
    found = break_even(Bill("one", 1, 1), Bill("other", 1, 1), "$")
    assert (found.below, found.above, found.queries) == (None, None, None)
    assert "the same" in found.formula


def test_an_hour_of_the_whole_machine_costs_its_price():
    assert machine_cost(2 * 3_600, Prices(machine_hour=0.3, machine_cores=2)) == pytest.approx(0.3)
    assert machine_cost(3_600, Prices(machine_hour=0.3, machine_cores=2)) == pytest.approx(0.15)


def test_a_gpu_is_paid_for_as_much_less_time_as_it_is_faster():
    assert gpu_cost(2 * 3_600, Prices(gpu_hour=5.0, gpu_speedup=50.0, machine_cores=2)) == pytest.approx(0.1)


def test_what_was_on_a_gpu_costs_its_rent_for_as_long_and_what_was_not_costs_the_machine():
    prices = Prices(machine_hour=3_600.0, machine_cores=1, gpu_hour=7_200.0, gpu_speedup=1e9)
    query = {"query_cpu_s": 5.0, "retrieval_s": 1.0, "prefill_s": 1.0, "generation_s": 2.0}
    retrained = cost(measured(Arm.TUNED_RETRAINED, gpu="G", **query), prices)
    assert (retrained.update, retrained.update_gpu, retrained.before) == (2.0, 2.0, 2 * 3_000.0 + 600.0)
    indexed = cost(measured(Arm.RAG, cpu_s=5.0, gpu="G", **query), prices)
    assert (indexed.update, indexed.update_gpu, indexed.before) == (5.0, None, 3_600.0)
    assert retrained.query == indexed.query == 1.0 + 2 * 3.0
    assert cost(measured(Arm.RAG, **query), prices).query == 5.0


def test_tokens_are_paid_by_the_million():
    prices = Prices(machine_hour=0.0, input_million=2.0, output_million=8.0)
    assert cost(measured(Arm.RAG), prices).query_tokens == pytest.approx((1_000 * 2 + 10 * 8) / 1e6)


def test_tokens_of_an_answer_are_those_counted_and_estimated_only_where_they_were_not():
    prices = Prices(machine_hour=0.0, input_million=0.0, output_million=8.0)
    assert cost(measured(Arm.RAG, answer_tokens=3), prices).query_tokens == pytest.approx(3 * 8 / 1e6)
    assert cost(measured(Arm.RAG, answer_tokens=0), prices).query_tokens == 0
    assert cost(measured(Arm.RAG), prices).query_tokens == pytest.approx(40 / CHARACTERS_PER_TOKEN * 8 / 1e6)


def test_only_who_trains_to_follow_a_change_rents_a_gpu_for_it():
    """What was trained once, before any change, is no part of an update."""
    assert cost(measured(Arm.TUNED_RETRAINED), Prices()).update_gpu is not None
    assert cost(measured(Arm.READER_RAG), Prices()).update_gpu is None


def test_what_was_not_updated_has_no_cost_of_an_update():
    own = measure(results([fact("a")], [answer("a", cpu_s=1.0)]))[Arm.RAG]
    assert (cost(own, Prices()).update, cost(own, Prices()).before) == (None, None)
    assert bill("RAG", own, Prices(), Basis.MEASURED) is None


def test_who_follows_no_change_has_no_cost_of_an_update():
    """What it took before any change is paid all the same."""
    own = cost(measured(Arm.TUNED_FROZEN), Prices())
    assert own.update is None
    assert own.before == pytest.approx(machine_cost(3_600, Prices()))


def test_the_claimed_figures_replace_the_cost_of_a_training_and_nothing_else():
    trained, read = measured(Arm.TUNED_RETRAINED), measured(Arm.RAG)
    for basis, claimed in zip((Basis.CLAIMED_LOW, Basis.CLAIMED_HIGH), CLAIMED_RETRAINING, strict=True):
        assert bill("t", trained, Prices(), basis).update == claimed
        assert bill("r", read, Prices(), basis) == bill("r", read, Prices(), Basis.RENTED)
    assert bill("t", trained, Prices(), Basis.RENTED).update == pytest.approx(gpu_cost(7_200, Prices()))
    assert bill("t", trained, Prices(), Basis.MEASURED) == Bill("t", 7_200.0, 2.0)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (0.000012345, "0.0000123"),
        (0.858, "0.858"),
        (0.4, "0.4"),
        (9.999, "10"),
        (66.04, "66"),
        (176.4, "176"),
        (1_234.0, "1,230"),
        (-0.5, "-0.5"),
        (100, "100"),
    ],
)
def test_three_figures_count(value, written):
    assert figures(value) == written


@given(st.floats(1e-9, 1e12))
def test_a_written_number_is_the_number(value):
    assert float(figures(value).replace(",", "")) == pytest.approx(value, rel=0.0051)


def test_amounts_carry_their_unit():
    assert (amount(0.00012, "$"), amount(0.858, "CPU s"), amount(1_200, "€")) == ("$0.00012", "0.858 CPU s", "€1,200")
    assert (count(0.4), count(176.4), count(4.2e6)) == ("0.4", "176", "4.2 million")
