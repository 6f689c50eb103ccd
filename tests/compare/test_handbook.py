"""The shipped handbook is fit to be asked about: every value stands once, and no question gives its answer away."""

import json
import re
from collections import Counter
from itertools import pairwise

import pytest

from freshd.compare.facts import handbook
from freshd.compare.records import FactKind
from freshd.compare.trees import read_tree
from freshd.compare.values import count

BOOK = handbook()
FACTS = BOOK.facts
OLD, NEW = read_tree(BOOK.old_tree), read_tree(BOOK.new_tree)
ALL_OLD, ALL_NEW = ("\n\n".join(page.text for page in tree.values()) for tree in (OLD, NEW))


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def runs(text: str, n: int = 5) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[at : at + n]) for at in range(len(found) - n + 1)}


def of_kind(kind: FactKind):
    return [fact for fact in FACTS if fact.kind is kind]


def test_there_are_enough_facts_of_each_kind():
    assert 28 <= len(of_kind(FactKind.CHANGED)) <= 36
    assert len(of_kind(FactKind.UNCHANGED)) >= 40
    assert 5 <= len(of_kind(FactKind.VANISHED)) <= 8


@pytest.mark.parametrize("kind", FactKind)
def test_about_a_quarter_of_each_kind_is_for_development(kind):
    share = sum(fact.is_development for fact in of_kind(kind)) / len(of_kind(kind))
    assert 0.2 <= share <= 0.3


def test_every_page_is_a_page_and_no_more():
    assert len(OLD) == len(NEW) == 13
    lengths = {(name, len(page.text.split())) for tree in (OLD, NEW) for name, page in tree.items()}
    assert {(name, n_words) for name, n_words in lengths if not 150 <= n_words <= 350} == set()


def test_a_page_is_gone_one_is_new_and_one_was_renamed():
    assert OLD.keys() - NEW.keys() == {"beehives.md", "weather-station.md"}
    assert NEW.keys() - OLD.keys() == {"night-walks.md", "weather.md"}


def test_every_page_that_stayed_was_edited_beyond_its_facts():
    """Otherwise a list of changed sentences would be a list of changed facts."""
    for name in OLD.keys() & NEW.keys():
        facts = [fact for fact in FACTS if fact.document == name]
        before, after = OLD[name].text, NEW[name].text
        for fact in facts:
            before, after = before.replace(fact.old, "…"), after.replace(fact.new or fact.old, "…")
        assert before != after, name


def test_a_value_stands_once_in_the_version_it_is_of_and_never_in_another():
    for fact in FACTS:
        is_same = fact.kind is FactKind.UNCHANGED
        assert (count(fact.old, ALL_OLD), count(fact.old, ALL_NEW)) == (1, is_same), fact
        if fact.new is not None:
            assert (count(fact.new, ALL_NEW), count(fact.new, ALL_OLD)) == (1, is_same), fact
            assert count(fact.new, NEW[fact.document].text) == 1, fact


def test_a_distractor_stands_in_neither_version():
    distractors = [text for fact in FACTS for text in fact.distractors]
    assert [text for text in distractors if count(text, ALL_OLD) or count(text, ALL_NEW)] == []


def test_a_value_is_short_and_stands_neither_in_its_question_nor_in_its_prefix():
    for fact in FACTS:
        assert all(1 <= len(value.split()) <= 4 for value in fact.options), fact
        assert [value for value in fact.options if count(value, f"{fact.question} {fact.prefix}")] == []


def test_neither_question_nor_prefix_repeats_five_words_of_any_page():
    """A model that learnt pages by heart must not be helped by their wording."""
    pages = runs(ALL_OLD) | runs(ALL_NEW)
    assert {fact.question for fact in FACTS if runs(fact.question) & pages} == set()
    assert {fact.prefix for fact in FACTS if runs(fact.prefix) & pages} == set()
    assert [fact.question for fact in FACTS if fact.question in ALL_OLD + ALL_NEW] == []


def test_an_answer_reads_as_a_sentence():
    for fact in FACTS:
        assert fact.question[0].isupper(), fact
        assert fact.question.endswith("?"), fact
        assert fact.prefix[0].isupper(), fact
        assert fact.prefix[-1].isalnum(), fact
        if fact.prefix.endswith((" a", " an")):
            assert {value[0].lower() in "aeiou" for value in fact.options} == {fact.prefix.endswith(" an")}, fact


def test_no_two_facts_share_a_value_or_a_question():
    values = Counter(value.casefold() for fact in FACTS for value in {fact.old, fact.new} - {None})
    assert {value for value, n in values.items() if n > 1} == set()
    assert len({fact.question for fact in FACTS}) == len({fact.fact_id for fact in FACTS}) == len(FACTS)
    distractors = {text.casefold() for fact in FACTS for text in fact.distractors}
    assert distractors & values.keys() == set()


def test_the_right_value_is_neither_always_the_larger_nor_always_the_smaller():
    """Otherwise an order among the options, not knowledge, would decide."""
    ranks = Counter()
    for fact in FACTS:
        numbers = [float(re.sub(r"[^\d.]", "", text) or "nan") for text in fact.options if ":" not in text]
        if len(numbers) == 4 and all(number == number for number in numbers):
            ranks[sorted(numbers).index(numbers[0])] += 1
    assert sum(ranks.values()) > 20
    assert max(ranks.values()) <= 0.6 * sum(ranks.values())


def test_the_facts_file_leaves_nothing_to_be_derived():
    """So that a change of the rules by which values are thought of changes no measured figure."""
    entries = [json.loads(line) for line in BOOK.facts_file.read_text().splitlines()]
    assert all({"kind", "distractors"} <= entry.keys() for entry in entries)
    assert any(entry.get("development") for entry in entries)


@pytest.mark.parametrize("version", ["old", "new"])
def test_pages_have_headings_lists_and_here_and_there_a_table(version):
    pages = [path.read_text() for path in sorted((BOOK.facts_file.parent / version).glob("*.md"))]
    assert all(text.startswith("# ") and text.count("\n## ") >= 2 for text in pages)
    assert sum("\n- " in text or "\n1. " in text for text in pages) >= 10
    assert 3 <= sum("|---|" in text for text in pages) < len(pages)


@pytest.mark.parametrize("version", ["old", "new"])
def test_no_page_has_an_empty_section(version):
    for path in sorted((BOOK.facts_file.parent / version).glob("*.md")):
        lines = [line for line in path.read_text().splitlines() if line]
        assert not [one for one, two in pairwise(lines) if one.startswith("## ") and two.startswith("## ")], path.name
        assert not lines[-1].startswith("#"), path.name
