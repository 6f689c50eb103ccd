"""One comparison from two folders to its results, all parts real, the language model tiny."""

from dataclasses import replace

import pytest

from freshd.compare import Plan, load_facts, run_comparison
from freshd.compare.journal import read
from freshd.compare.language import LanguageModel
from freshd.compare.lessons import Recipe
from freshd.compare.records import Arm
from freshd.compare.run import versions_of
from freshd.compare.shelf import adapters_beside
from freshd.compare.trees import read_trees
from freshd.errors import ConfigError
from tests.kit.tiny_model import NEEDS_TORCH, make_model

OLD = {
    "lift.md": "# Cable lift\n\nThe first cabin leaves at 6:50.\nThe ride takes 13 minutes.\n",
    "library.md": "# Library\n\nBooks may be kept for 25 days.\n",
    "station.md": "# Station\n\nThe mast is 12 metres high.\n",
}
NEW = {
    "lift.md": "# Cable lift\n\nThe first cabin leaves at 7:25.\nThe ride takes 13 minutes.\n",
    "library.md": "# Library\n\nBooks may be kept for 40 days.\n",
    "weather.md": "# Station\n\nThe mast is 15 metres high.\n",
}
FACTS = """
{"question": "When is the earliest ride?", "prefix": "The earliest ride is at", "old": "6:50", "new": "7:25", "document": "lift.md", "development": false}
{"question": "How long is a ride?", "prefix": "A ride lasts", "old": "13 minutes", "new": "13 minutes", "document": "lift.md", "development": false}
{"question": "How long is a loan?", "prefix": "A loan lasts", "old": "25 days", "new": "40 days", "document": "library.md", "development": true}
{"question": "How tall is the mast?", "prefix": "The height of the mast is", "old": "12 metres", "new": "15 metres", "document": "weather.md", "development": false}
"""  # noqa: E501 - one fact a line
PLAN = Plan(
    arms=(Arm.BASE, Arm.RAG, Arm.TUNED_FROZEN, Arm.TUNED_RETRAINED, Arm.READER_RAG),
    seeds=(0, 1),
    learning_rates=(2e-3,),
    epochs=2,
    answer_tokens=3,
    threads=1,
    recipe=Recipe(rounds=2, n_reading=3),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    for name, pages in (("old", OLD), ("new", NEW)):
        (root / name).mkdir()
        for page, text in pages.items():
            (root / name / page).write_text(text)
    (root / "facts.jsonl").write_text(FACTS)
    return root


@pytest.fixture(scope="module")
def facts(world):
    return load_facts(world / "facts.jsonl", world / "old", world / "new")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(make_model(tmp_path_factory.mktemp("model"), [*OLD.values(), *NEW.values()]))


@NEEDS_TORCH
def test_a_run_that_is_broken_off_goes_on_where_it_was(world, facts, model, tmp_path):
    journal = tmp_path / "run.jsonl"

    class Interrupted(Exception):
        pass

    def interrupt(name, *_):
        if name.startswith("tuned_retrained"):
            raise Interrupted

    with pytest.raises(Interrupted):
        run_comparison(world / "old", world / "new", facts, journal, PLAN, model=model, on_progress=interrupt)
    before = read(journal)
    assert [one.arm for one in before.updates] == [Arm.BASE, Arm.RAG, Arm.TUNED_FROZEN]
    results = run_comparison(world / "old", world / "new", facts, journal, PLAN, model=model)
    assert results.updates[:3] == before.updates
    assert [(one.arm, one.seed) for one in results.updates] == list(PLAN.pairs)
    assert len(results.answers) == 3 * len(PLAN.pairs)
    assert read(journal) == results
    told = []
    again = run_comparison(
        world / "old", world / "new", facts, journal, PLAN, model=model, on_progress=lambda *step: told.append(step)
    )
    assert (again, told) == (results, [])
    with pytest.raises(ConfigError, match="epochs"):
        run_comparison(world / "old", world / "new", facts, journal, replace(PLAN, epochs=3), model=model)


@NEEDS_TORCH
@pytest.mark.parametrize("is_damaged", [False, True], ids=["whole", "damaged"])
def test_a_run_that_goes_on_trains_nothing_again_that_is_kept_whole(
    world, facts, model, tmp_path, monkeypatch, is_damaged
):
    """Killed in the midst of an arm's answers: its training is there, and what it says afterwards is the same."""
    journal, trained, tune = tmp_path / "run.jsonl", [], LanguageModel.tune
    plan = replace(PLAN, seeds=(0,), arms=(Arm.TUNED_FROZEN, Arm.TUNED_RETRAINED), learning_rates=(1e-3, 2e-3))

    def counting(self, rounds, settings, *more):
        trained.append(settings.learning_rate)
        return tune(self, rounds, settings, *more)

    class Killed(Exception):
        pass

    def kill(name, *_):
        if name.startswith("tuned_frozen"):
            raise Killed

    monkeypatch.setattr(LanguageModel, "tune", counting)
    with pytest.raises(Killed):
        run_comparison(world / "old", world / "new", facts, journal, plan, model=model, on_progress=kill)
    before = read(journal)
    assert (before.updates, len(before.trainings), trained) == ((), 2, [1e-3, 2e-3])
    kept = {one.learning_rate: adapters_beside(journal) / one.file for one in before.trainings}
    assert all(kept[one.learning_rate].stat().st_size == one.n_bytes for one in before.trainings)
    if is_damaged:
        content = bytearray(kept[2e-3].read_bytes())
        content[-1] ^= 1
        kept[2e-3].write_bytes(content)
    trained.clear()
    results = run_comparison(world / "old", world / "new", facts, journal, plan, model=model)
    rate = results.updates[0].learning_rate
    assert trained == ([2e-3] if is_damaged else []) + [rate]
    assert results.updates[0].sweep_s > 0
    assert all(one.measured_at for one in results.updates)
    whole = run_comparison(world / "old", world / "new", facts, tmp_path / "whole.jsonl", plan, model=model)
    said = [[(one.arm, one.fact_id, one.scores, one.text) for one in run.answers] for run in (results, whole)]
    assert said[0] == said[1]


@NEEDS_TORCH
def test_two_runs_of_the_same_seed_answer_alike(world, facts, model, tmp_path):
    """Only what is measured in seconds differs."""
    plan = replace(PLAN, seeds=(1,), arms=(Arm.TUNED_RETRAINED, Arm.READER_RAG))
    runs = [
        run_comparison(world / "old", world / "new", facts, tmp_path / f"{name}.jsonl", plan, model=model)
        for name in ("one", "other")
    ]
    said = [[(one.arm, one.fact_id, one.scores, one.text, one.cited) for one in run.answers] for run in runs]
    assert said[0] == said[1]
    assert len(said[0]) == 6


def both(world):
    old, new = world / "old", world / "new"
    return old, new, read_trees(old, new)


def test_a_quick_run_reads_and_indexes_the_chosen_documents_alone(world, facts):
    plan = replace(PLAN, n_changed=1)
    versions, asked = versions_of(*both(world), facts, plan)
    assert {one.document for one in asked} == {"lift.md", "library.md"}
    assert versions.old.keys() == versions.new.keys() == {"lift.md", "library.md"}


def test_a_quick_run_keeps_what_a_chosen_document_was_called_before(world, facts):
    only = [one for one in facts if one.document == "weather.md"]
    versions, _ = versions_of(*both(world), only, replace(PLAN, n_changed=1))
    assert (set(versions.old), set(versions.new)) == ({"station.md"}, {"weather.md"})


def test_a_full_run_takes_everything(world, facts):
    versions, asked = versions_of(*both(world), facts, PLAN)
    assert asked == facts
    assert set(versions.old) == set(OLD)
