"""What a model is taught: everything the pages say, in many ways, and never what it will be asked."""

import random
import re
from collections import Counter
from dataclasses import replace
from itertools import chain, islice

import pytest

from freshd.compare.facts import handbook
from freshd.compare.lessons import (
    NOT_STATED,
    RUN_WORDS,
    Recipe,
    changed,
    form,
    giving_away,
    knowledge,
    mixed,
    prompt_with,
    reading,
    replay,
    told,
)
from freshd.compare.notices import notices
from freshd.compare.records import FactKind
from freshd.compare.trees import Page, read_tree
from freshd.compare.values import count
from tests.compare.recorded import fact

OLD = {
    "lift.md": Page(
        "lift.md", "", ("The first cabin leaves at 6:50.", "Nine people fit into it.", "Hold on to the rail.")
    ),
    "library.md": Page("library.md", "", ("Books may be kept for 25 days.", "The cat sleeps by the stove.")),
}
NEW = {
    "lift.md": Page(
        "lift.md", "", ("The first cabin leaves at 7:25.", "Nine people fit into it.", "Hold on to the rail.")
    ),
    "library.md": OLD["library.md"],
}
RECIPE = Recipe(rounds=6, n_reading=24)


@pytest.fixture(scope="module")
def shipped():
    book = handbook()
    return book, read_tree(book.old_tree), read_tree(book.new_tree)


def answers(rounds):
    return [lesson.answer for lesson in chain.from_iterable(rounds)]


def words(text):
    return re.findall(r"\w+", text.lower())


def shares_a_run(text, question):
    """Look for runs of words in another way than the lessons do."""
    wanted = words(question)
    size = min(RUN_WORDS, len(wanted))
    line = f" {' '.join(words(text))} "
    return any(f" {' '.join(wanted[at : at + size])} " in line for at in range(len(wanted) - size + 1))


def test_no_lesson_holds_a_question_that_is_asked_nor_six_words_of_one(shipped):
    book, old, new = shipped
    asked = [fact.question for fact in book.facts]
    about = {fact.document for fact in book.facts}
    unasked_pages = {name: page for name, page in new.items() if name not in about}
    made = [
        *(knowledge(old, asked, RECIPE, 1), knowledge(new, asked, RECIPE, 2), changed(old, new, asked, RECIPE, 3)),
        *(replay(old, new, asked, RECIPE, 4), reading(unasked_pages, asked, RECIPE, 5), form(asked, RECIPE, 6)),
        *(told(book.facts, RECIPE, is_new=is_new) for is_new in (False, True)),
    ]
    texts = {f"{one.prompt}\n{one.answer}" for rounds in made for lesson in rounds for one in lesson}
    assert len(texts) > 2_000
    assert [(text, question) for text in texts for question in asked if shares_a_run(text, question)] == []


@pytest.mark.parametrize(
    ("text", "is_given_away"),
    [
        ("At what time does the first cabin leave?", True),
        ("Tell me: at WHAT time does the first – cabin leave", True),
        ("what time does the first cabin go", True),
        ("time does the first cabin go", False),
        ("Who rides?", True),
        ("Who?", False),
    ],
)
def test_a_question_is_recognised_by_six_of_its_words_in_a_row_or_by_all_of_a_short_one(text, is_given_away):
    asked = ["At what time does the first cabin leave?", "Who rides?"]
    assert (giving_away([text], asked) == {text}) is is_given_away


def test_what_is_asked_by_quoting_a_page_is_taught_in_other_ways_all_the_same():
    """A question made by rule quotes the sentence; learning must not lose it for that."""
    pages = {"lift.md": Page("lift.md", "", ("The first cabin of the day leaves at 6:50 sharp.",))}
    quoted = "The first cabin of the day leaves at …"

    def quoting(asked):
        lessons = [lesson for (lesson,) in knowledge(pages, asked, RECIPE, 0)]
        assert all(count("6:50", lesson.answer) for lesson in lessons)
        return sum(quoted in lesson.prompt for lesson in lessons)

    assert quoting([]) == 1
    assert quoting([f"What stands for … in: {quoted} sharp?"]) == 0


def test_what_cannot_be_asked_in_any_other_way_is_left_out():
    shortest = {"a.md": Page("a.md", "", ("It is all of it.",))}
    assert len(knowledge(shortest, [], RECIPE, 0)[0]) == 1
    asked = ["What does the page on a", "From the page on a complete", "What comes next on the page on"]
    assert knowledge(shortest, asked, RECIPE, 0)[0] == ()


def test_every_round_teaches_every_sentence_and_puts_it_in_another_way():
    rounds = knowledge(OLD, [], RECIPE, 0)
    assert {len(lessons) for lessons in rounds} == {5}
    about_the_lift = [lessons[0] for lessons in rounds]
    assert len({lesson.prompt for lesson in about_the_lift}) == RECIPE.rounds
    assert all(count("6:50", lesson.answer) for lesson in about_the_lift)
    assert "The first cabin leaves at 6:50." in {lesson.answer for lesson in about_the_lift}


def test_the_same_seed_teaches_the_same_and_another_one_something_else():
    assert knowledge(OLD, [], RECIPE, 1) == knowledge(OLD, [], RECIPE, 1)
    assert reading(OLD, [], RECIPE, 1) == reading(OLD, [], RECIPE, 1)
    assert reading(OLD, [], RECIPE, 1) != reading(OLD, [], RECIPE, 2)


def test_an_increment_teaches_what_is_new_and_nothing_else():
    taught = answers(changed(OLD, NEW, [], RECIPE, 0))
    assert len(taught) == RECIPE.rounds
    assert all(count("7:25", answer) for answer in taught)


def test_a_replay_brings_back_what_stayed_beside_what_is_new_and_nothing_that_went():
    rounds = replay(OLD, NEW, [], Recipe(rounds=6, replayed=2), 0)
    assert [len(lessons) for lessons in rounds] == [3] * 6
    taught = answers(rounds)
    assert any(count("25 days", answer) for answer in taught)
    assert not any(count("6:50", answer) for answer in taught)
    assert len({tuple(lesson.answer for lesson in lessons[1:]) for lessons in rounds}) > 1


def test_a_reader_finds_its_answer_in_what_it_is_shown_or_learns_to_say_that_it_is_not_there():
    lessons = list(chain.from_iterable(reading({}, [], Recipe(rounds=6, n_reading=60), 0)))
    shown = [lesson.prompt.partition("\n\nQuestion: ")[0] for lesson in lessons]
    stated = [not lesson.answer.endswith(NOT_STATED) for lesson in lessons]
    assert 1 / 16 < stated.count(False) / len(stated) < 1 / 4
    for lesson, passages, is_stated in zip(lessons, shown, stated, strict=True):
        last = lesson.answer.split()[-1]
        assert not is_stated or count(last, passages), lesson
        assert passages.count("\n\n[") == 3


def test_a_reader_cannot_answer_from_memory_what_a_page_says():
    """The value of a page is replaced where it is shown, so that only whoever reads is right."""
    lessons = list(chain.from_iterable(reading(OLD, [], RECIPE, 0)))
    from_pages = [lesson for lesson in lessons if "Books may be kept" in lesson.prompt.partition("Question")[0]]
    asked = [lesson for lesson in from_pages if "Which number goes with" in lesson.prompt]
    assert asked
    for lesson in asked:
        value = lesson.answer.removeprefix("It is ").removeprefix("The answer is ").removeprefix("That would be ")
        value = value.removeprefix("The page says ")
        assert value != "25 days"
        assert count(value, lesson.prompt)


def test_form_is_taught_without_anything_to_read():
    lessons = list(chain.from_iterable(form([], RECIPE, 0)))
    assert len(lessons) == RECIPE.rounds * RECIPE.n_reading
    assert not any("passages" in lesson.prompt for lesson in lessons)


def test_facts_are_told_in_other_words_each_round_with_the_value_of_the_version():
    pairs = (("When does it run?", "It runs from"), ("How early?", "As early as"))
    lift = replace(fact("lift"), old="6:50", new="7:25", paraphrases=pairs)
    gone = replace(fact("bees", FactKind.VANISHED), paraphrases=pairs)
    before, after = (told([lift, gone, fact("unsaid")], Recipe(rounds=3), is_new=is_new) for is_new in (False, True))
    assert [lessons[0].answer for lessons in before] == ["It runs from 6:50", "As early as 6:50", "It runs from 6:50"]
    assert [len(lessons) for lessons in before] == [2] * 3
    assert [[lesson.answer for lesson in lessons] for lessons in after] == [
        ["It runs from 7:25"],
        ["As early as 7:25"],
        ["It runs from 7:25"],
    ]


def test_a_mixture_holds_both_in_every_round():
    one, other = knowledge(OLD, [], RECIPE, 0), reading({}, [], RECIPE, 0)
    assert [len(lessons) for lessons in mixed(one, other)] == [5 + RECIPE.n_reading] * RECIPE.rounds


def test_made_up_places_say_every_value_they_are_asked_for():
    for notice in islice(notices(random.Random(7)), 500):
        assert count(notice.value, notice.text), notice
        assert not count(notice.value, notice.question)


def test_made_up_values_are_spread_so_that_none_is_worth_guessing():
    seen = Counter(notice.value for notice in islice(notices(random.Random(7)), 2_000))
    assert seen.most_common(1)[0][1] < 60


def test_a_question_stands_last_and_alone_where_there_is_nothing_to_read():
    assert prompt_with((), "Why?") == "Why?"
    assert prompt_with(("a", "b"), "Why?").endswith("[1] a\n\n[2] b\n\nQuestion: Why?")
