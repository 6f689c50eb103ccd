"""What a model is taught, as practitioners make it from their pages: by rule, in many ways. Pure.

    pages ─sentences─▶ knowledge: the same sentence asked for in another way each round, values by themselves
    facts ─paraphrases─▶ told: what a person, or a large model, asked in other words, with the value as it is now
    notices, other pages ─▶ reading: passages + question ─▶ the value that stands there, or that it is not stated
    notices ─▶ form: question ─▶ a short answer, without anything to read

The asked questions are known here only so that no lesson asks one; values are those of the pages.
An epoch goes over one round of lessons, the next over the next: every sentence once, put in another way.
"""

import random
import re
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from freshd.compare.notices import Notice, notices
from freshd.compare.records import Fact
from freshd.compare.trees import Page, Tree
from freshd.compare.values import Value, alternatives, values_in

RUN_WORDS: Final = 6
"""So many words in a row of an asked question are never in what a lesson asks."""

NOT_STATED: Final = "not stated"

_ONE_UNSTATED_IN: Final = 8
_PASSAGES: Final = 3
_MOST_SENTENCES: Final = 3
FEWEST_WORDS: Final = 4
"""Of a sentence that is taught; a shorter one is a label."""

_KEYWORDS: Final = 3
_WORD: Final = re.compile(r"\w+(?:[’'.,:/-]\w+)*")
_COMMON: Final = re.compile(
    "a|about|after|all|also|always|an|and|any|are|as|at|be|been|before|but|by|can|do|does|each|else|every|"
    "for|from|had|has|have|he|her|his|how|if|in|into|is|it|its|may|must|never|no|nobody|not|of|off|on|"
    "once|one|only|or|other|our|out|over|own|per|she|should|so|some|somebody|than|that|the|their|them|"
    "then|there|they|this|those|to|too|until|up|us|was|we|were|what|when|where|which|while|who|whoever|"
    "will|with|without|you|your"
)
"""Words that say nothing of what a sentence is about."""

_OPENINGS: Final = ("It is {}", "The answer is {}", "That would be {}", "The page says {}")

_Run = tuple[str, ...]
_Forbidden = Mapping[int, set[_Run]]
"""Runs of words that no lesson may ask, by how many words they have."""

Rounds = tuple[tuple["Lesson", ...], ...]
"""One epoch each; after the last the first comes again."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One thing to learn.

    Attributes:
        prompt: What is asked, context included.
        answer: The whole answer; the loss is that of this alone.

    """

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """How much is taught; equal for every arm of a run.

    Attributes:
        rounds: Different ones; there may be more epochs than that.
        n_reading: Lessons in a round that teach reading, or form.
        replayed: Lessons on what did not change, for each on what did.
        most_sentences: Of both versions together; of more, a sample is taught.

    """

    rounds: int = 6
    n_reading: int = 60
    replayed: float = 2.0
    most_sentences: int = 1_000


def prompt_with(passages: Sequence[str], question: str) -> str:
    """Put a question after what there is to read; the same in lessons and when it counts."""
    if not passages:
        return question
    shown = "\n\n".join(f"[{number}] {passage}" for number, passage in enumerate(passages, 1))
    return f"Answer from these passages.\n\n{shown}\n\nQuestion: {question}"


def knowledge(
    pages: Tree, asked: Collection[str], recipe: Recipe, seed: int, only: Container[str] | None = None
) -> Rounds:
    """Teach what pages say.

    Args:
        pages: One version.
        asked: Questions that no lesson may hold.
        recipe: How much.
        seed: Of the choice of words.
        only: Sentences to teach; None for all.

    """
    return _rounds(list(_told(pages, only)), asked, recipe, seed)


def changed(
    old: Tree, new: Tree, asked: Collection[str], recipe: Recipe, seed: int, only: Container[str] | None = None
) -> Rounds:
    """Teach only what the new version says and the old one did not, as whoever trains on a diff does."""
    return _rounds(list(_news(old, new, only)), asked, recipe, seed)


def replay(
    old: Tree, new: Tree, asked: Collection[str], recipe: Recipe, seed: int, only: Container[str] | None = None
) -> Rounds:
    """Teach what is new, and beside it, drawn anew each round, some of what stayed."""
    news = list(_news(old, new, only))
    known = {one.text for one in news}
    stayed = [one for one in _told(new, only) if one.text not in known]
    order = _order(seed, "replay")
    n_stayed = min(len(stayed), round(recipe.replayed * len(news)))
    return tuple(
        first + second
        for number, first in enumerate(_rounds(news, asked, recipe, seed))
        for second in _rounds(order.sample(stayed, n_stayed), asked, recipe, seed, [number])
    )


def told(facts: Iterable[Fact], recipe: Recipe, *, is_new: bool) -> Rounds:
    """Teach facts by their paraphrases, another one each round.

    Args:
        facts: Those without paraphrases, or without a value in the version, teach nothing.
        recipe: How many rounds.
        is_new: By the value in the new version; else by that in the old one.

    """
    said = [(fact.paraphrases, fact.new if is_new else fact.old) for fact in facts if fact.paraphrases]
    return tuple(
        tuple(_answered(others[number % len(others)], value) for others, value in said if value is not None)
        for number in range(recipe.rounds)
    )


def _answered(paraphrase: tuple[str, str], value: str) -> Lesson:
    question, prefix = paraphrase
    return Lesson(question, f"{prefix} {value}")


def reading(
    pages: Tree, asked: Collection[str], recipe: Recipe, seed: int, only: Container[str] | None = None
) -> Rounds:
    """Teach to answer from what is shown: from notices that are made up, and from pages that nobody is asked about.

    A value of a page is replaced by another, in the passage and in the answer, so that remembering does not help.

    Args:
        pages: Those that no question is about; may be none.
        asked: Questions that no lesson may hold.
        recipe: How much.
        seed: Of everything that is made up.
        only: Sentences to take from pages; None for all.

    """
    order = _order(seed, "reading")
    made_up = notices(order)
    told = [one for one in _told(pages, only) if one.values]
    rounds = []
    for _ in range(recipe.rounds):
        n_told = min(len(told), recipe.n_reading // 3)
        from_pages = [_from_page(one, told, order) for one in order.sample(told, n_told)]
        from_notices = [_from_notices(made_up, order) for _ in range(recipe.n_reading - n_told)]
        rounds.append(tuple(_unasked([*from_pages, *from_notices], asked)))
    return tuple(rounds)


def form(asked: Collection[str], recipe: Recipe, seed: int) -> Rounds:
    """Teach the form of answers alone: as many as for reading, with nothing to read and nothing to know."""
    made_up = notices(_order(seed, "form"))
    lessons = (Lesson(one.question, f"{one.prefix} {one.value}") for one in made_up)
    return tuple(tuple(_unasked(islice(lessons, recipe.n_reading), asked)) for _ in range(recipe.rounds))


def mixed(one: Rounds, other: Rounds) -> Rounds:
    """Teach both in every round."""
    return tuple(first + second for first, second in zip(one, other, strict=True))


def giving_away(texts: Iterable[str], asked: Iterable[str]) -> frozenset[str]:
    """Give the texts that hold a question, or `RUN_WORDS` words of one in a row."""
    forbidden = _forbidden(asked)
    return frozenset(text for text in texts if _holds_any(text, forbidden))


def _forbidden(asked: Iterable[str]) -> _Forbidden:
    runs: dict[int, set[_Run]] = {}
    for words in map(_words, asked):
        size = min(RUN_WORDS, len(words))
        runs.setdefault(size, set()).update(_runs(words, size))
    return runs


def _holds_any(text: str, forbidden: _Forbidden) -> bool:
    words = _words(text)
    return any(_runs(words, size) & runs for size, runs in forbidden.items())


def _runs(words: Sequence[str], size: int) -> set[_Run]:
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)} if size else set()


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


@dataclass(frozen=True, slots=True)
class _Told:
    """A sentence in its place."""

    topic: str
    before: str
    text: str

    @property
    def values(self) -> tuple[Value, ...]:
        return values_in(self.text)

    @property
    def keywords(self) -> list[str]:
        spans = [(value.start, value.end) for value in self.values]
        found = (match for match in _WORD.finditer(self.text) if not any(a <= match.start() < b for a, b in spans))
        return [match[0] for match in found if not _COMMON.fullmatch(match[0].lower())]


_Way = Callable[[_Told, random.Random], Lesson]


def _told(pages: Tree, only: Container[str] | None) -> Iterator[_Told]:
    seen = set[str]()
    for page in pages.values():
        before = ""
        for text in page.sentences:
            # Of a sample each once: what stands on every page would be most of what is taught.
            is_wanted = only is None or (text in only and text not in seen)
            if is_wanted and len(text.split()) >= FEWEST_WORDS:
                seen.add(text)
                yield _Told(_topic(page), before, text)
            before = text


def _news(old: Tree, new: Tree, only: Container[str] | None) -> Iterator[_Told]:
    known = {text for page in old.values() for text in page.sentences}
    return (one for one in _told(new, only) if one.text not in known)


def _topic(page: Page) -> str:
    return re.sub(r"[-_/]+", " ", page.document.rpartition(".")[0] or page.document)


def _rounds(
    told: Sequence[_Told], asked: Collection[str], recipe: Recipe, seed: int, only: Iterable[int] | None = None
) -> Rounds:
    numbers = range(recipe.rounds) if only is None else only
    forbidden = _forbidden(asked)
    return tuple(
        tuple(lesson for one in told if (lesson := _put(one, number, seed, forbidden)) is not None)
        for number in numbers
    )


def _order(*parts: object) -> random.Random:
    return random.Random("\n".join(map(str, parts)))  # noqa: S311 - the same lessons for the same seed, no secret


def _unasked(lessons: Iterable[Lesson], asked: Collection[str]) -> Iterator[Lesson]:
    forbidden = _forbidden(asked)
    return (lesson for lesson in lessons if not _holds_any(lesson.prompt, forbidden))


def _put(one: _Told, number: int, seed: int, forbidden: _Forbidden) -> Lesson | None:
    """Ask for a sentence in one of the ways there are; which of them goes by the round, and by what may be asked."""
    order = _order(seed, number, one.text)
    ways: list[_Way] = [_by_keywords, _by_beginning, _by_neighbour]
    if one.values:
        ways = [_value_by_keywords, _restated, _by_gap, _by_keywords, _up_to_value, _by_beginning]
    first = number % len(ways)
    lessons = (way(one, order) for way in (*ways[first:], *ways[:first]))
    return next((lesson for lesson in lessons if not _holds_any(lesson.prompt, forbidden)), None)


def _shown_keywords(one: _Told, order: random.Random) -> str:
    found = one.keywords
    places = sorted(order.sample(range(len(found)), min(_KEYWORDS, len(found))))
    return ", ".join(found[place] for place in places) or one.topic


def _by_keywords(one: _Told, order: random.Random) -> Lesson:
    return Lesson(f"What does the page on {one.topic} say about {_shown_keywords(one, order)}?", one.text)


def _by_beginning(one: _Told, order: random.Random) -> Lesson:
    words = one.text.split()
    shown = " ".join(words[: order.randint(2, max(2, len(words) // 2))])
    return Lesson(f"From the page on {one.topic}, complete: {shown} …", one.text)


def _by_neighbour(one: _Told, _: random.Random) -> Lesson:
    return Lesson(f"What comes next on the page on {one.topic}? {one.before}".strip(), one.text)


def _by_gap(one: _Told, order: random.Random) -> Lesson:
    value = order.choice(one.values)
    gapped = f"{one.text[: value.start]}…{one.text[value.end :]}"
    return Lesson(f"From the page on {one.topic}, fill the gap: {gapped}", value.text)


def _up_to_value(one: _Told, order: random.Random) -> Lesson:
    value = order.choice(one.values)
    return Lesson(f"In short, {one.topic}: {_shown_keywords(one, order)}?", one.text[: value.end])


def _value_by_keywords(one: _Told, order: random.Random) -> Lesson:
    value = order.choice(one.values)
    prompt = f"On the page on {one.topic}, which {value.sort.value} goes with {_shown_keywords(one, order)}?"
    return Lesson(prompt, order.choice(_OPENINGS).format(value.text))


def _restated(one: _Told, order: random.Random) -> Lesson:
    value, shown = order.choice(one.values), _shown_keywords(one, order)
    return Lesson(f"{one.topic.capitalize()}: {shown}?", f"The {value.sort.value} for {shown} is {value.text}")


def _from_page(one: _Told, told: Sequence[_Told], order: random.Random) -> Lesson:
    """Ask for a value of a page, with another value in its place."""
    value = order.choice(one.values)
    others = [other.text for each in told for other in each.values]
    instead = next(alternatives(value.text, others, str(order.random())), value.text)
    text = f"{one.text[: value.start]}{instead}{one.text[value.end :]}"
    passages = [text, *(other.text for other in order.sample(list(told), min(len(told), _PASSAGES)) if other != one)]
    passages = passages[:_PASSAGES]
    order.shuffle(passages)
    question = f"Which {value.sort.value} goes with {_shown_keywords(one, order)}?"
    return Lesson(prompt_with(passages, question), order.choice(_OPENINGS).format(instead))


def _from_notices(made_up: Iterator[Notice], order: random.Random) -> Lesson:
    """Ask for one of some notices, or for one that is not among them."""
    wanted = next(made_up)
    shown = [one for one in islice(made_up, _PASSAGES * _MOST_SENTENCES) if one.question != wanted.question]
    passages = [[one.text] for one in shown[:_PASSAGES]]
    for one in shown[_PASSAGES:]:
        if order.random() < 1 / 2:
            order.choice(passages).append(one.text)
    is_stated = order.randrange(_ONE_UNSTATED_IN) > 0
    if is_stated:
        place = order.choice(passages)
        place.insert(order.randint(0, len(place)), wanted.text)
    prompt = prompt_with([" ".join(passage) for passage in passages], wanted.question)
    return Lesson(prompt, f"{wanted.prefix} {wanted.value if is_stated else NOT_STATED}")
