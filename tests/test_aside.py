"""A slow document is taken apart aside: whoever asks for it waits a moment, goes on, and comes back for the answer."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial

import pytest

from freshd.chunker import ChunkLimits
from freshd.errors import DocumentBusy, ParseError
from freshd.model import Digest, Document, DocumentId, DocumentRef, SourceName
from freshd.parsers import LimitedParsers
from freshd.pipeline import Recipe
from freshd.pipeline.aside import Aside
from tests.kit.embedder import HashEmbedder

LONG_S = 20.0


class Slow:
    """Work that ends when its gate is opened, for some names; for the others at once."""

    def __init__(self, *slow: str) -> None:
        self.gates = {name: threading.Event() for name in slow}
        self.done: list[str] = []

    def work(self, name: str, answer: str) -> str:
        self.done.append(name)
        if name in self.gates:
            assert self.gates[name].wait(LONG_S)
        if answer == "bad":
            raise ParseError("bad")
        return answer


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow("slow", "slower")
    yield made
    for gate in made.gates.values():
        gate.set()


@pytest.fixture
def aside(slow: Slow) -> Iterator[Aside]:
    made = Aside(patience_s=0.05)
    yield made
    for gate in slow.gates.values():
        gate.set()
    made.close()


def ask(aside: Aside, slow: Slow, name: str, answer: str = "text") -> str:
    return aside.ask((name, answer), partial(slow.work, name, answer), name)


def answered(aside: Aside, slow: Slow, name: str, answer: str = "text") -> str:
    """Come back until the answer is there."""
    ends_s = time.monotonic() + LONG_S
    while time.monotonic() < ends_s:
        try:
            return ask(aside, slow, name, answer)
        except DocumentBusy:
            continue
    raise AssertionError("no answer")


def test_quick_work_is_answered_at_once(slow: Slow):
    with closing(Aside(patience_s=LONG_S)) as aside:
        assert ask(aside, slow, "quick") == "text"
        with pytest.raises(ParseError, match="bad"):
            ask(aside, slow, "quick", "bad")
    assert slow.done == ["quick", "quick"]


def test_who_asks_for_a_slow_document_comes_back_for_the_one_answer(aside: Aside, slow: Slow):
    for _ in range(3):
        with pytest.raises(DocumentBusy):
            ask(aside, slow, "slow")
    slow.gates["slow"].set()
    assert answered(aside, slow, "slow") == "text"
    assert slow.done == ["slow"]


def test_others_wait_for_their_turn(aside: Aside, slow: Slow):
    with pytest.raises(DocumentBusy) as own:
        ask(aside, slow, "slow")
    with pytest.raises(DocumentBusy) as following:
        ask(aside, slow, "next")
    with pytest.raises(DocumentBusy) as other:
        ask(aside, slow, "quick")
    assert [busy.value.is_at_it for busy in (own, following, other)] == [True, True, False]
    slow.gates["slow"].set()
    assert answered(aside, slow, "quick") == "text"


def test_who_asked_while_another_was_parsed_is_next_whoever_asks_first_once_it_is_done(aside: Aside, slow: Slow):
    """A first index asks for one document after the other, an edit comes back now and then."""
    for name in ("slow", "edited"):
        with pytest.raises(DocumentBusy):
            ask(aside, slow, name)
    slow.gates["slow"].set()
    assert [answered(aside, slow, name) for name in ("slow", "quick", "edited")] == ["text"] * 3
    assert slow.done == ["slow", "edited", "quick"]


def test_an_answer_is_kept_while_others_are_worked_on(aside: Aside, slow: Slow):
    with pytest.raises(DocumentBusy):
        ask(aside, slow, "slow")
    slow.gates["slow"].set()
    assert [answered(aside, slow, f"quick {n}") for n in range(6)] == ["text"] * 6
    with pytest.raises(DocumentBusy):
        ask(aside, slow, "slower")
    assert ask(aside, slow, "slow") == "text"
    assert slow.done.count("slow") == 1


def test_a_document_that_changed_meanwhile_is_taken_apart_as_it_is_now(aside: Aside, slow: Slow):
    with pytest.raises(DocumentBusy):
        ask(aside, slow, "slow", "before")
    slow.gates["slow"].set()
    assert answered(aside, slow, "slow", "after") == "after"


def test_answers_nobody_comes_back_for_do_not_pile_up(aside: Aside, slow: Slow):
    for n in range(20):
        gate = slow.gates[f"slow {n}"] = threading.Event()
        while f"slow {n}" not in slow.done:
            with pytest.raises(DocumentBusy):
                ask(aside, slow, f"slow {n}")
        gate.set()
    answered(aside, slow, "quick")
    with pytest.raises(DocumentBusy):
        ask(aside, slow, "slower")
    assert ask(aside, slow, "slow 19") == "text"
    with pytest.raises(DocumentBusy):
        ask(aside, slow, "slow 0")


# With the child that really does it


def document(name: str, content: str) -> Document:
    return Document(DocumentRef(DocumentId(name), ""), "", content.encode())


def take_apart(recipe: Recipe, one: Document) -> str:
    (fields, _) = recipe.take_apart(one, SourceName("docs"), one.ref.document_id, Digest("00" * 32))
    return fields.document_id


def recipe_over(parsers: LimitedParsers) -> Recipe:
    return Recipe(parsers, ChunkLimits(48, 256), HashEmbedder(), Digest("ab" * 32), aside=Aside(patience_s=0.05))


def test_a_hanging_document_is_told_at_its_deadline_and_text_goes_on_meanwhile():
    with closing(LimitedParsers(module="tests.parsers.misbehaving", deadline_s=2.0)) as parsers:
        recipe, text = recipe_over(parsers), document("b.md", "# Text\n\nPlain words.\n")
        ends_s = time.monotonic() + LONG_S
        told = None
        while told is None:
            assert time.monotonic() < ends_s
            assert take_apart(recipe, text) == "b.md"
            try:
                take_apart(recipe, document("a.html", "<html>sleep"))
            except DocumentBusy:
                continue
            except ParseError as error:
                told = error
        assert "no end of parsing it within 2 s" in str(told)


def test_the_end_does_not_wait_for_a_document_that_hangs():
    parsers = LimitedParsers(module="tests.parsers.misbehaving")
    recipe = recipe_over(parsers)
    with pytest.raises(DocumentBusy):
        take_apart(recipe, document("a.html", "<html>sleep"))
    began_s = time.monotonic()
    parsers.close()
    assert recipe.aside is not None
    recipe.aside.close()
    assert time.monotonic() - began_s < LONG_S
    assert parsers.child_pid is None
    parsers.close()


def test_what_is_large_goes_aside_whatever_its_format_and_without_an_aside_is_waited_for():
    with closing(LimitedParsers()) as parsers:
        recipe = recipe_over(parsers)
        large = document("large.md", "# Large\n\n" + "Some words of a long text.\n\n" * 20_000)
        with pytest.raises(DocumentBusy):
            take_apart(recipe, large)
        assert take_apart(replace(recipe, aside=None), document("small.html", "<p>Words.")) == "small.html"


def test_what_is_no_document_is_told_as_ever():
    with closing(LimitedParsers()) as parsers, pytest.raises(ParseError, match="binary"):
        take_apart(recipe_over(parsers), document("a.md", "\0\1\2" * 300))
