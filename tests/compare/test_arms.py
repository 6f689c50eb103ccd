"""The arms: what is trained when, what is asked of whom, what an update counts.

The index is the real one. The model is one that knows what it was taught and reads what it is shown, and no more.
"""

import math
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

import pytest

from freshd.compare.arms import Arms
from freshd.compare.indexing import Versions, index_both
from freshd.compare.language import Adapters, Said, Timing, Tuning
from freshd.compare.lessons import Recipe
from freshd.compare.plan import FULL, QUICK, WAYS, Plan, asked_of, documents_for, timed_of
from freshd.compare.records import Answer, Arm, Fact, FactKind, School, Update
from freshd.compare.trees import read_tree
from freshd.compare.values import count

OLD = {
    "lift.md": "# Cable lift\n\nThe first cabin leaves at 6:50.\nNobody rides alone.\n",
    "library.md": "# Library\n\nBooks may be kept for 25 days.\nThe keys are with Wilma Tessen.\n",
    "bees.md": "# Bees\n\nThere are 34 hives.\n",
}
NEW = {
    "lift.md": "# Cable lift\n\nThe first cabin leaves at 7:25.\nNobody rides alone.\n",
    "library.md": "# Library\n\nBooks may be kept for 40 days.\nThe keys are with Wilma Tessen.\n",
}


def fact(fact_id, question, prefix, old, new, document, *, is_development=False):
    kind = FactKind.VANISHED if new is None else FactKind.UNCHANGED if new == old else FactKind.CHANGED
    distractors = (
        ("99 parsecs", "98 parsecs") if kind is FactKind.CHANGED else ("99 parsecs", "98 parsecs", "97 parsecs")
    )
    return Fact(fact_id, kind, question, prefix, old, new, document, distractors, is_development)


FACTS = (
    fact("lift", "When is the earliest ride?", "The earliest ride is at", "6:50", "7:25", "lift.md"),
    fact("loan", "How long is a loan?", "A loan lasts", "25 days", "40 days", "library.md", is_development=True),
    fact("keys", "Who can unlock the library?", "It is unlocked by", "Wilma Tessen", "Wilma Tessen", "library.md"),
    fact("bees", "How many bee hives are there?", "The number of hives is", "34 hives", None, "bees.md"),
)
PLAN = Plan(seeds=(0, 1), learning_rates=(1e-3, 2e-3), epochs=3, recipe=Recipe(rounds=3, n_reading=4))
RATE_OF_NO_USE = 1e-3


class Pupil:
    """Stands in for `LanguageModel`: newest lessons count most; a passage counts more, but for who learned to recite.

    Attributes:
        trained: Settings of every training, and where it began.
        judged_by: Questions asked during each training.

    """

    def __init__(self):
        self.known = ()
        self.trained = []
        self.judged_by = []
        self.is_training = False

    def answers(self, asked, max_tokens=0):
        if self.is_training:
            self.judged_by[-1].update(one.prompt for one in asked)
        return [Said("something", 0.5, self._scores(one), len(one.prompt.split()), 1) for one in asked]

    def timed(self, one, max_tokens):
        return Timing(0.001, 0.002, 0.003)

    def _scores(self, one):
        return tuple(self._belief(one.prompt, option) for option in one.options)

    def _belief(self, prompt, option):
        shown = prompt.partition("\n\nQuestion: ")[0] if "passages" in prompt else ""
        when = max((at for at, text in enumerate(self.known, 1) if count(option, text)), default=0)
        return -10.0 + 100.0 * (count(option, shown) > 0) + when

    def tune(self, rounds, settings, on_epoch, start=None):
        self.trained.append((settings, start))
        self.judged_by.append(set())
        self.is_training = True
        before, known, curve = self.known, [*(start.weights["known"] if start else ())], []
        goes_on = True
        while goes_on and len(curve) < settings.epochs:
            if settings.learning_rate != RATE_OF_NO_USE:
                known.append("\n".join(lesson.answer for lesson in rounds[len(curve) % len(rounds)]))
            self.known = tuple(known)
            score, goes_on = on_epoch(len(curve) + 1)
            curve.append((float(len(curve) + 1), score))
        self.known, self.is_training = before, False
        adapters = Adapters(1, 1, {"known": tuple(known)})
        return Tuning(adapters, len(curve), float(len(curve)), 2.0 * len(curve), 100 * len(curve), tuple(curve))

    @contextmanager
    def wearing(self, adapters):
        before, self.known = self.known, adapters.weights["known"] if adapters else ()
        yield
        self.known = before


def write(folder, pages):
    folder.mkdir()
    for name, text in pages.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    root = tmp_path_factory.mktemp("versions")
    old, new = write(root / "old", OLD), write(root / "new", NEW)
    return Versions(old, new, read_tree(old), read_tree(new))


@pytest.fixture(scope="module")
def indexed(versions):
    return index_both(versions, FACTS, PLAN, lambda *_: None)


@pytest.fixture(scope="module")
def ran(versions, indexed):
    """One full run: the pupil, the records, and what was told on the way."""
    pupil, told = Pupil(), []
    records = list(Arms(pupil, versions, FACTS, indexed, PLAN, lambda *step: told.append(step)).run())
    return pupil, records, told


def updates(records, arm):
    return [one for one in records if isinstance(one, Update) and one.arm is arm]


def likeliest(records, arm, fact_id, seed=0):
    """Give the place of the option that the model found likeliest: 0 is the right one, 1 the old one."""
    (one,) = [
        one for one in records if isinstance(one, Answer) and (one.arm, one.fact_id, one.seed) == (arm, fact_id, seed)
    ]
    return max(range(4), key=lambda place: one.scores[place])


def test_both_indexes_are_asked_everything_and_only_the_updated_one_knows_what_changed(indexed):
    assert indexed.stale.keys() == indexed.fresh.keys() == {one.fact_id for one in FACTS}
    assert any(passage.holds("6:50") for passage in indexed.stale["lift"].passages)
    assert any(passage.holds("7:25") for passage in indexed.fresh["lift"].passages)
    assert not any(passage.holds("6:50") for passage in indexed.fresh["lift"].passages)
    assert not any(passage.holds("34 hives") for passage in indexed.fresh["bees"].passages)
    assert (indexed.first.embedded, indexed.update.embedded) == (3, 2)


@pytest.mark.parametrize(
    ("arm", "place"),
    [
        (Arm.RAG, 0),
        (Arm.RAG_STALE, 1),
        (Arm.TUNED_FROZEN, 1),
        (Arm.TUNED_INCREMENTAL, 0),
        (Arm.TUNED_REPLAY, 0),
        (Arm.TUNED_RETRAINED, 0),
        (Arm.READER_RAG, 0),
        (Arm.FORMAT_RAG, 0),
        (Arm.TUNED_RAG, 0),
        (Arm.MIXED_RAG, 0),
    ],
)
def test_an_arm_knows_what_it_was_shown_or_taught_and_no_more(ran, arm, place):
    assert likeliest(ran[1], arm, "lift") == place


def test_every_arm_is_asked_every_fact_but_those_for_development(ran):
    asked = Counter((one.arm, one.seed) for one in ran[1] if isinstance(one, Answer))
    assert asked == dict.fromkeys(PLAN.pairs, len(FACTS) - 1)
    assert "loan" not in {one.fact_id for one in ran[1] if isinstance(one, Answer)}


def test_so_many_questions_as_were_wanted_are_timed_and_the_same_for_every_arm(versions, indexed):
    plan = replace(PLAN, n_timed=1, seeds=(0,))
    records = list(Arms(Pupil(), versions, FACTS, indexed, plan, lambda *_: None).run())
    answers = [one for one in records if isinstance(one, Answer)]
    timed = Counter(one.fact_id for one in answers if one.cpu_s is not None)
    assert timed == {"lift": len(WAYS)}
    assert all((one.prefill_s is None) == (one.generation_s is None) == (one.cpu_s is None) for one in answers)


def test_what_is_timed_stands_all_over_the_list():
    facts = [replace(FACTS[0], fact_id=str(n)) for n in range(10)]
    assert [one.fact_id for one in timed_of(facts, 4)] == ["0", "2", "5", "7"]
    assert timed_of(facts, 10) == timed_of(facts, 99) == tuple(facts)


def test_records_of_one_arm_and_seed_come_together_and_end_with_its_update(ran):
    boundaries = [(one.arm, one.seed) for one in ran[1] if isinstance(one, Update)]
    assert boundaries == list(PLAN.pairs)
    pairs = [(one.arm, one.seed) for one in ran[1]]
    assert [pair for pair, before in zip(pairs, [None, *pairs], strict=False) if pair != before] == boundaries


def test_arms_that_learn_nothing_run_once_and_the_others_with_every_seed():
    runs = Counter(arm for arm, _ in PLAN.pairs)
    assert {arm: n for arm, n in runs.items() if n == 1} == dict.fromkeys((Arm.BASE, Arm.RAG, Arm.RAG_STALE), 1)
    assert set(runs) == set(Arm)
    assert set(runs.values()) == {1, len(PLAN.seeds)}


def test_what_arms_share_is_trained_once_for_a_seed_and_the_increments_go_on_from_it(ran):
    """Four arms begin from the old version; learning it once more would be time for nothing."""
    trained = ran[0].trained
    assert len(trained) == len(School) * len(PLAN.seeds) + len(PLAN.learning_rates) - 1
    begun = [start for _, start in trained if start is not None]
    assert len(begun) == 2 * len(PLAN.seeds)
    assert begun[0] is begun[1]
    assert begun[2] is begun[3]


def test_the_learning_rate_that_learns_best_is_that_of_everything_after(ran):
    rates = [settings.learning_rate for settings, _ in ran[0].trained]
    assert rates[: len(PLAN.learning_rates)] == list(PLAN.learning_rates)
    assert set(rates[len(PLAN.learning_rates) :]) == {2e-3}
    assert {one.learning_rate for one in ran[1] if isinstance(one, Update)} == {None, 2e-3}


def test_an_index_is_updated_by_freshd_and_a_model_by_training(ran, indexed):
    _, records, _ = ran
    (rag,) = updates(records, Arm.RAG)
    assert (rag.wall_s, rag.cpu_s, rag.trained_tokens) == (indexed.update.wall_s, indexed.update.cpu_s, 0)
    assert rag.before_s == indexed.first.cpu_s
    assert rag.curve == ((0.0, 0.0), (indexed.update.wall_s, 1.0))
    assert rag.settings["found"] == 1.0
    assert rag.peak_bytes > 1 << 20
    retrained = updates(records, Arm.TUNED_RETRAINED)[0]
    assert retrained.trained_tokens == 100 * retrained.epochs
    assert (retrained.wall_s, retrained.cpu_s) == (retrained.epochs, 2 * retrained.epochs)
    assert retrained.curve[-1] == (retrained.wall_s, 1.0)
    reader = updates(records, Arm.READER_RAG)[0]
    assert (reader.wall_s, reader.trained_tokens, reader.epochs) == (indexed.update.wall_s, 0, 0)
    assert reader.before_s > indexed.first.cpu_s


@pytest.mark.parametrize("arm", [Arm.BASE, Arm.RAG_STALE, Arm.TUNED_FROZEN])
def test_what_is_not_updated_took_nothing(ran, arm):
    assert {(one.wall_s, one.cpu_s) for one in updates(ran[1], arm)} == {(0.0, 0.0)}


def test_only_answers_from_passages_cite_and_only_the_right_value_grounds_them(ran):
    answers = [one for one in ran[1] if isinstance(one, Answer) and one.seed == 0]
    by_memory = [one for one in answers if not WAYS[one.arm].reads]
    assert {(one.cited, one.is_grounded, one.retrieval_s) for one in by_memory} == {(None, None, 0.0)}
    grounded = {one.fact_id: one.is_grounded for one in answers if one.arm is Arm.RAG}
    assert grounded == {"lift": True, "keys": True, "bees": False}
    assert {one.cited for one in answers if one.arm is Arm.RAG and one.fact_id == "lift"} == {"lift.md"}
    assert {one.is_grounded for one in answers if one.arm is Arm.RAG_STALE and one.fact_id == "lift"} == {False}


def test_a_run_that_was_broken_off_does_only_what_is_left_with_the_rate_it_had(ran, versions, indexed):
    _, records, _ = ran
    known = [one for one in records if isinstance(one, Update)][:-1]
    pupil = Pupil()
    rest = list(Arms(pupil, versions, FACTS, indexed, PLAN, lambda *_: None).run(known))
    last = PLAN.pairs[-1]
    assert {(one.arm, one.seed) for one in rest} == {last}
    assert [settings.learning_rate for settings, _ in pupil.trained] == [2e-3]


class Memory:
    """A shelf that is not on disk."""

    def __init__(self):
        self.kept = {}

    def has(self, school, seed, learning_rate):
        return (school, seed, learning_rate) in self.kept

    def find(self, school, seed, learning_rate, taught):
        kept = self.kept.get((school, seed, learning_rate))
        return kept if kept and kept.lessons == taught else None

    def put(self, schooling):
        self.kept[schooling.school, schooling.seed, schooling.learning_rate] = schooling


def measured(records):
    """Leave out what differs from one run to the next: seconds of this process."""
    return [
        replace(one, cpu_s=0.0) if isinstance(one, Answer) else replace(one, peak_bytes=0, before_s=0.0)
        for one in records
    ]


def test_a_run_that_was_broken_off_trains_nothing_again_that_is_on_the_shelf(ran, versions, indexed):
    _, records, _ = ran
    shelf, first, second, told = Memory(), Pupil(), Pupil(), []
    list(Arms(first, versions, FACTS, indexed, PLAN, lambda *_: None, shelf).run())
    known = [one for one in updates(records, Arm.TUNED_FROZEN) if one.seed == 0]
    again = list(Arms(second, versions, FACTS, indexed, PLAN, lambda *step: told.append(step), shelf).run(known))
    assert len(first.trained) == len(shelf.kept) > 0
    assert second.trained == []
    left = [one for one in records if (one.arm, one.seed) != (Arm.TUNED_FROZEN, 0)]
    assert measured(again) == measured(left)
    assert {total for _, _, total in told} == {(len(PLAN.pairs) - 1) * (len(FACTS) - 1)}, "only questions are left"


def test_a_sweep_that_was_broken_off_goes_on_at_the_rate_it_was_at(versions, indexed):
    shelf, plan = Memory(), replace(PLAN, arms=(Arm.TUNED_FROZEN,), seeds=(0,))
    list(Arms(Pupil(), versions, FACTS, indexed, plan, lambda *_: None, shelf).run())
    del shelf.kept[School.OLD, 0, 2e-3]
    pupil = Pupil()
    (update,) = updates(Arms(pupil, versions, FACTS, indexed, plan, lambda *_: None, shelf).run(), Arm.TUNED_FROZEN)
    assert [settings.learning_rate for settings, _ in pupil.trained] == [2e-3]
    assert update.sweep_s > 0


def test_what_was_taught_otherwise_is_trained_again(versions, indexed):
    shelf, plan = Memory(), replace(PLAN, arms=(Arm.TUNED_FROZEN,), seeds=(0,), learning_rates=(2e-3,))
    list(Arms(Pupil(), versions, FACTS, indexed, plan, lambda *_: None, shelf).run())
    other = replace(plan, recipe=replace(plan.recipe, rounds=4))
    pupil = Pupil()
    list(Arms(pupil, versions, FACTS, indexed, other, lambda *_: None, shelf).run())
    assert len(pupil.trained) == 1


def test_the_search_for_a_learning_rate_counts_once_before_any_change_for_everything_that_trains(ran):
    """The pupil takes 2 CPU seconds an epoch; the rate of no use is given up when nothing is gained any more."""
    pupil, records, _ = ran
    assert pupil.trained[0][0].learning_rate == RATE_OF_NO_USE
    trained = [one for one in records if isinstance(one, Update) and WAYS[one.arm].wears]
    (sweep_s,) = {one.sweep_s for one in trained}
    assert sweep_s == 2.0 * PLAN.epochs
    frozen = updates(records, Arm.TUNED_FROZEN)[0]
    assert frozen.before_s == sweep_s + 2.0 * frozen.settings["before_epochs"]
    assert {one.sweep_s for one in records if isinstance(one, Update) and not WAYS[one.arm].wears} == {None}


def test_with_one_learning_rate_there_is_no_search(versions, indexed):
    plan = replace(PLAN, arms=(Arm.TUNED_FROZEN,), seeds=(0,), learning_rates=(2e-3,))
    (update,) = updates(Arms(Pupil(), versions, FACTS, indexed, plan, lambda *_: None).run(), Arm.TUNED_FROZEN)
    assert update.sweep_s == 0.0


def test_a_run_that_goes_on_keeps_what_its_search_took(ran, versions, indexed):
    known = [replace(one, sweep_s=77.0) for one in ran[1] if isinstance(one, Update) and WAYS[one.arm].wears][:-1]
    plan = replace(PLAN, arms=tuple(arm for arm in Arm if WAYS[arm].wears))
    (rest,) = (
        one
        for one in Arms(Pupil(), versions, FACTS, indexed, plan, lambda *_: None).run(known)
        if isinstance(one, Update)
    )
    assert rest.sweep_s == 77.0


def test_memory_of_the_index_counts_its_store_and_that_of_a_training_the_process_it_runs_in(ran, indexed):
    assert indexed.n_processes == 2
    assert {one.n_processes for one in updates(ran[1], Arm.RAG)} == {2}
    assert {one.n_processes for one in updates(ran[1], Arm.TUNED_RETRAINED)} == {1}


def test_tokens_of_answers_are_those_that_the_model_counted(ran):
    assert {one.answer_tokens for one in ran[1] if isinstance(one, Answer)} == {1}


def test_progress_never_goes_back_and_ends_at_its_end(ran):
    done = [step for _, step, _ in ran[2]]
    assert done == sorted(done)
    assert len({total for _, _, total in ran[2]}) == 1
    assert done[-1] == ran[2][-1][2]
    assert done[-2] < done[-1]


def test_a_training_ends_when_nothing_is_gained_any_more(versions, indexed):
    pupil = Pupil()
    plan = replace(PLAN, arms=(Arm.TUNED_FROZEN,), seeds=(0,), learning_rates=(RATE_OF_NO_USE,), epochs=50, patience=2)
    (update,) = updates(Arms(pupil, versions, FACTS, indexed, plan, lambda *_: None).run(), Arm.TUNED_FROZEN)
    assert update.settings["before_epochs"] == 3


def test_a_training_is_judged_by_what_stayed_too_but_not_one_on_what_changed_alone(versions, indexed):
    """An increment that stops as soon as it forgets would hide that it does."""
    ride = fact("ride", "Who rides alone?", "Alone rides", "nobody", "nobody", "lift.md", is_development=True)
    pupil, plan = (
        Pupil(),
        replace(PLAN, arms=(Arm.TUNED_INCREMENTAL, Arm.TUNED_RETRAINED), seeds=(0,), learning_rates=(2e-3,)),
    )
    list(Arms(pupil, versions, (*FACTS, ride), indexed, plan, lambda *_: None).run())
    changed, both = {"How long is a loan?"}, {"How long is a loan?", "Who rides alone?"}
    assert pupil.judged_by == [both, changed, both]


def test_facts_without_any_for_development_are_learned_for_as_long_as_is_allowed(versions, indexed):
    facts = [one for one in FACTS if not one.is_development]
    plan = replace(PLAN, arms=(Arm.TUNED_FROZEN,), seeds=(0,), patience=99)
    records = list(Arms(Pupil(), versions, facts, indexed, plan, lambda *_: None).run())
    assert updates(records, Arm.TUNED_FROZEN)[0].settings["before_epochs"] == plan.epochs
    assert all(math.isfinite(score) for one in records if isinstance(one, Answer) for score in one.scores)


def test_a_quick_run_takes_the_documents_with_the_most_changed_facts():
    changed = [
        fact(f"{name}{n}", f"{name}{n}?", "It is", "1", "2", f"{name}.md") for name, n in (("a", 1), ("b", 1), ("b", 2))
    ]
    dev = fact("c1", "c1?", "It is", "1", "2", "c.md", is_development=True)
    assert documents_for(changed, 1) == {"a.md", "b.md"}
    assert documents_for([*changed, dev], 2) == {"a.md", "b.md", "c.md"}
    assert documents_for([*changed, replace(dev, document="b.md")], 2) == {"b.md"}
    assert [one.fact_id for one in asked_of([*changed, dev], {"b.md"})] == ["b1", "b2"]


def test_a_quick_run_is_a_part_of_the_full_one():
    assert QUICK.is_quick
    assert not FULL.is_quick
    assert set(QUICK.arms) < set(FULL.arms) == set(Arm)
    assert len(FULL.seeds) == 3
    assert {Arm.RAG, Arm.TUNED_FROZEN, Arm.TUNED_RETRAINED, Arm.READER_RAG} <= set(QUICK.arms)


def test_every_way_of_training_is_used_by_an_arm():
    assert set(chain.from_iterable((way.before, way.update) for way in WAYS.values())) == {None, *School}
