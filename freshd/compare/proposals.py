"""Drafts of facts from two versions of documents, by rule: where sentences agree but for one value. Pure.

pages ─same id, else alike─▶ pairs ─┬─▶ sentences ─same but for values, else alike─▶ pairs ─▶ changed, unchanged
                                    └─▶ page without partner ─▶ vanished
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

from freshd.compare.drafts import Draft
from freshd.compare.trees import Page, Tree
from freshd.compare.values import Sort, Value, count, values_in

_ALIKE: Final = 0.6
"""Share of words in common and in order, from which two sentences are one that was reworded."""

_MOST_LEFT_OVER: Final = 60
"""Sentences of a page without a partner that are held against each other: 3,600 pairs take some 0.1 s."""

_FEWEST_WORDS, _MOST_WORDS = 4, 60
"""Of a sentence: a shorter one is a label, a longer one a heap of them."""

_GAP: Final = "…"
_NOUN: Final = {
    Sort.QUOTED: "words belong",
    Sort.DATE: "date belongs",
    Sort.TIME: "time belongs",
    Sort.NUMBER: "number belongs",
    Sort.NAME: "name belongs",
}
_COPULAS: Final = ("is", "are", "was", "were")
_AT: Final = ("at", "on", "in", "from", "by")
_NO_SUBJECTS: Final = frozenset({"it", "this", "that", "there", "they", "he", "she", "we", "who", "which", "what"})


def proposals(old: Tree, new: Tree) -> Iterator[Draft]:
    """Draft facts, page by page; unchecked, without lines and distractors, each value once."""
    seen: set[str] = set()
    for draft in _all(old, new):
        values = {value.casefold() for value in (draft.old, draft.new) if value is not None}
        if not values & seen:
            seen |= values
            yield draft


def _all(old: Tree, new: Tree) -> Iterator[Draft]:
    partners = _partners(old, new)
    pairs = [(old[before], new[after]) for before, after in partners.items()]
    # All changed ones first: they are the rarer, and a value is given to one fact only.
    for before, after in pairs:
        yield from _changed(before, after)
    everywhere = _names_of_several(new)
    for before, after in pairs:
        yield from _unchanged(before, after, everywhere)
    still_there = {value.text for page in new.values() for value in _values(page)}
    for document in sorted(old.keys() - partners.keys()):
        yield from _vanished(old[document], still_there)


def _values(page: Page) -> Iterator[Value]:
    return (value for sentence in page.sentences for value in values_in(sentence))


def _names_of_several(tree: Tree) -> set[str]:
    """Give the names that stand on more than one page: nobody needs the documents to know that of the house."""
    on_pages = Counter(
        text for page in tree.values() for text in {one.text for one in _values(page) if one.sort is Sort.NAME}
    )
    return {text for text, n_pages in on_pages.items() if n_pages > 1}


def _partners(old: Tree, new: Tree) -> dict[str, str]:
    """Say under which id each old page goes on: its own, else that of the new page with most of its sentences."""
    partners = {document: document for document in old if document in new}
    free = [page for document, page in new.items() if document not in old]
    for document in sorted(old.keys() - new.keys()):
        sentences = {_mask(sentence) for sentence in old[document].sentences}
        alike = [(len(sentences & {_mask(sentence) for sentence in page.sentences}), page) for page in free]
        n_common, best = max(alike, key=lambda one: one[0], default=(0, None))
        if best is not None and 2 * n_common >= len(sentences):
            partners[document] = best.document
            free.remove(best)
    return partners


def _mask(sentence: str) -> str:
    """Put a gap in place of each value."""
    text = sentence
    for value in reversed(values_in(sentence)):
        text = text[: value.start] + _GAP + text[value.end :]
    return text


def _changed(before: Page, after: Page) -> Iterator[Draft]:
    for old_sentence, new_sentence in _pairs(before.sentences, after.sentences):
        old, new = _apart(old_sentence, new_sentence), _apart(new_sentence, old_sentence)
        if len(old) == len(new) == 1 and old[0].sort is new[0].sort and _is_unique(old[0].text, before):
            yield from _drafts(new_sentence, new[0], after, old=old[0].text, new=new[0].text)


def _apart(sentence: str, other: str) -> list[Value]:
    """Give the values of a sentence that another one lacks."""
    return [value for value in values_in(sentence) if not count(value.text, other)]


def _unchanged(before: Page, after: Page, everywhere: Container[str]) -> Iterator[Draft]:
    old_sentences = set(before.sentences)
    for sentence in after.sentences:
        if sentence in old_sentences:
            for value in values_in(sentence):
                if value.text not in everywhere and _is_unique(value.text, before):
                    yield from _drafts(sentence, value, after, old=value.text, new=value.text)


def _vanished(page: Page, still_there: Container[str]) -> Iterator[Draft]:
    for sentence in page.sentences:
        for value in values_in(sentence):
            if value.text not in still_there:
                yield from _drafts(sentence, value, page, old=value.text, new=None)


def _is_unique(value: str, page: Page) -> bool:
    return count(value, page.text) == 1


def _pairs(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pair the sentences that differ: the same but for values, wherever they stand, else the most alike."""
    stayed = set(old) & set(new)
    left = {_mask(sentence): sentence for sentence in old if sentence not in stayed}
    unpaired: list[str] = []
    for sentence in new:
        if sentence in stayed:
            continue
        same = left.pop(_mask(sentence), None)
        if same is None:
            unpaired.append(sentence)
        else:
            yield same, sentence
    yield from _most_alike(list(left.values())[:_MOST_LEFT_OVER], unpaired[:_MOST_LEFT_OVER])


def _most_alike(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, str]]:
    words = {sentence: _mask(sentence).split() for sentence in (*old, *new)}
    scored = sorted(((_likeness(words[one], words[other]), one, other) for one in old for other in new), reverse=True)
    taken: set[tuple[str, bool]] = set()
    for likeness, one, other in scored:
        if likeness >= _ALIKE and not {(one, False), (other, True)} & taken:
            taken |= {(one, False), (other, True)}
            yield one, other


def _likeness(one: Sequence[str], other: Sequence[str]) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def _drafts(sentence: str, value: Value, page: Page, *, old: str, new: str | None) -> Iterator[Draft]:
    """Ask for the value of a sentence, if it can be asked for."""
    if _FEWEST_WORDS <= len(sentence.split()) <= _MOST_WORDS and _is_unique(value.text, page):
        prefix = sentence[: value.start].rstrip() or f"The {_NOUN[value.sort].split()[0]} in the gap is"
        yield Draft(0, _question(sentence, value), prefix.rstrip('"“«'), old, new, page.document)


def _question(sentence: str, value: Value) -> str:
    """Ask "What is the subject?" where the sentence begins "The subject is VALUE", else for what fills the gap."""
    words = sentence[: value.start].split()
    is_at = len(words) > 2 and words[-1] in _AT and value.sort in (Sort.DATE, Sort.TIME)
    *subject, copula = words[:-1] if is_at else words or [""]
    is_simple = "," not in sentence[: value.start] and not _NO_SUBJECTS & {word.lower() for word in subject}
    if copula in _COPULAS and len(subject) >= 2 and is_simple:
        asks = "When" if is_at else "Who or what" if value.sort is Sort.NAME else "What"
        return f"{asks} {copula} {_uncapitalised(subject)}?"
    gap = sentence[: value.start] + _GAP + sentence[value.end :]
    return f"Which {_NOUN[value.sort]} in the gap: “{gap}”"


def _uncapitalised(words: Iterable[str]) -> str:
    """Join words of which the first began a sentence; a name keeps its capital."""
    first, *rest = words
    return " ".join([first.lower() if first in ("The", "Our", "Its", "A", "An", "Their") else first, *rest])
