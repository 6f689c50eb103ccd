"""The comparison itself, on the shipped handbook with the bundled model; minutes long, run by `make compare-test`.

Directions only: what a share comes to depends on model, machine and seed.
"""

from dataclasses import replace

import pytest

from freshd.compare import QUICK, handbook, run_comparison
from freshd.compare.journal import read
from freshd.compare.plan import WAYS
from freshd.compare.records import Arm, FactKind
from tests.kit.tiny_model import NEEDS_TORCH

pytestmark = [
    pytest.mark.compare,
    pytest.mark.timeout(3_600),
    NEEDS_TORCH,
]


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    return tmp_path_factory.mktemp("comparison") / "quick.jsonl"


@pytest.fixture(scope="module")
def results(journal):
    book = handbook()
    return run_comparison(book.old_tree, book.new_tree, book.facts, journal, QUICK)


def update(results, arm):
    (one,) = (one for one in results.updates if one.arm is arm)
    return one


def chosen(results, arm, kind=FactKind.CHANGED):
    """Give the place of the option that was the likeliest, for each fact: 0 is the right one, 1 the old one."""
    facts = {fact.fact_id: fact for fact in results.facts if fact.kind is kind}
    answers = [one for one in results.answers if one.arm is arm and one.fact_id in facts]
    return [max(range(4), key=lambda place: one.scores[place]) for one in answers]


def test_an_update_of_the_index_costs_less_than_a_tenth_of_retraining(results):
    assert 0 < update(results, Arm.RAG).cpu_s < update(results, Arm.TUNED_RETRAINED).cpu_s / 10
    assert 0 < update(results, Arm.RAG).wall_s < update(results, Arm.TUNED_RETRAINED).wall_s / 10


@pytest.mark.parametrize("arm", [Arm.TUNED_FROZEN, Arm.RAG_STALE])
def test_what_is_not_updated_answers_stale(results, arm):
    places = chosen(results, arm)
    assert places.count(1) > len(places) / 2
    assert places.count(1) > places.count(0)


@pytest.mark.parametrize("arm", [Arm.RAG, Arm.TUNED_RETRAINED, Arm.READER_RAG])
def test_what_is_updated_knows_more_of_what_changed_than_what_is_not(results, arm):
    before = Arm.RAG_STALE if WAYS[arm].reads else Arm.TUNED_FROZEN
    assert chosen(results, arm).count(0) > chosen(results, before).count(0)


def test_what_memory_tells_it_takes_fewer_tokens_to_ask(results):
    asked = {one.arm: one.prompt_tokens for one in results.answers}
    assert asked[Arm.TUNED_RETRAINED] < asked[Arm.RAG]


def test_the_journal_gives_the_run_back_and_a_run_that_is_over_does_nothing_more(results, journal):
    assert read(journal) == results
    book = handbook()
    assert run_comparison(book.old_tree, book.new_tree, book.facts, journal, replace(QUICK)) == results
