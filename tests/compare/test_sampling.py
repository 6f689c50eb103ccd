"""What of large documents is taught: a bounded sample that is fair to whoever is asked."""

from hypothesis import given
from hypothesis import strategies as st

from freshd.compare import lessons
from freshd.compare.facts import handbook
from freshd.compare.lessons import Recipe
from freshd.compare.records import Fact, FactKind
from freshd.compare.sampling import taught
from freshd.compare.trees import Page, read_tree

SENTENCES = [f"Room {n} is on floor {n % 7} of it." for n in range(300)]
FACT = Fact(
    *("a", FactKind.CHANGED, "How many?", "There are", "41 crowns", "52 crowns", "money.md", ("1 crown", "2 crowns"))
)
places = st.sets(st.integers(0, 299))


def tree(numbers, *more):
    pages = {"rooms.md": Page("rooms.md", "", tuple(SENTENCES[n] for n in sorted(numbers)))}
    return {**pages, "money.md": Page("money.md", "", more)}


BEFORE = "The fee is 41 crowns a month."
AFTER = "The fee is 52 crowns a month."


@given(places, places, st.integers(0, 400))
def test_a_sample_is_bounded_and_holds_whatever_is_asked(old, new, most):
    before, after = tree(old, BEFORE, "Ok."), tree(new, AFTER)
    sample = taught(before, after, [FACT], most)
    n_all = len(old | new) + 2
    if n_all <= most:
        assert sample is None
        return
    assert sample.n_all == n_all
    assert len(sample.sentences) == max(2, most)
    assert {BEFORE, AFTER} <= sample.sentences
    assert sample == taught(before, after, [FACT], most)


@given(places, places, st.integers(2, 100))
def test_what_is_new_in_the_sample_is_new_in_the_documents(old, new, most):
    """Chosen for each version by itself, a sentence that stayed would look new wherever the old sample lacks it."""
    before, after = tree(old, BEFORE), tree(new, AFTER)
    sample = taught(before, after, [FACT], most)
    if sample is None:
        return
    recipe, (one, *_) = Recipe(rounds=1), lessons.changed(before, after, [], Recipe(rounds=1), 0, sample.sentences)
    really_new = {SENTENCES[n] for n in new - old} | {AFTER}
    assert len(one) == len(really_new & sample.sentences)
    (again, *_) = lessons.replay(before, after, [], recipe, 0, sample.sentences)
    assert len(one) <= len(again) <= most


def test_a_larger_sample_holds_the_smaller_one():
    old, new = tree(range(200)), tree(range(100, 300))
    small, large = (taught(old, new, [], most).sentences for most in (20, 80))
    assert small < large


def test_all_of_the_handbook_is_taught():
    book = handbook()
    assert taught(read_tree(book.old_tree), read_tree(book.new_tree), book.facts, Recipe().most_sentences) is None


def test_lessons_ask_for_nothing_outside_the_sample_but_may_name_what_stands_before():
    pages = tree(range(50))
    only = frozenset(SENTENCES[10:20])
    rounds = lessons.knowledge(pages, [], Recipe(rounds=3), 0, only)
    assert {len(one) for one in rounds} == {10}
    comes_next = [lesson for one in rounds for lesson in one if "What comes next" in lesson.prompt]
    assert all(SENTENCES[SENTENCES.index(lesson.answer) - 1] in lesson.prompt for lesson in comes_next)
    assert lessons.reading(pages, [], Recipe(rounds=1, n_reading=6), 0, frozenset())


def test_what_stands_on_every_page_is_taught_once_where_there_is_a_sample():
    pages = {f"{n}.md": Page(f"{n}.md", "", (SENTENCES[0], SENTENCES[n])) for n in range(1, 40)}
    (one,) = lessons.knowledge(pages, [], Recipe(rounds=1), 0, frozenset(SENTENCES[:10]))
    assert len(one) == 10
    assert len(lessons.knowledge(pages, [], Recipe(rounds=1), 0)[0]) == 78
