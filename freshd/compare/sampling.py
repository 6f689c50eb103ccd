"""Chooses what of large documents is taught: a bounded sample, the same in every run and for both versions. Pure.

    sentences of both versions ─┬─ those that an asked fact stands in ─▶ all of them  ─┐
                                └─ the others ─by hash─▶ as many as there is room for ─┴─▶ taught

A sentence that both versions hold is taught from both or from neither, so that what is new stays what is new.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest

from freshd.compare.lessons import FEWEST_WORDS
from freshd.compare.records import Fact
from freshd.compare.trees import Tree
from freshd.compare.values import count


@dataclass(frozen=True, slots=True)
class Sample:
    """Sentences that are taught, and how many there are in all, each counted once."""

    sentences: frozenset[str]
    n_all: int


def taught(old: Tree, new: Tree, facts: Iterable[Fact], most: int) -> Sample | None:
    """Choose the sentences that trainings are made from.

    Args:
        old: Documents before the change.
        new: After it.
        facts: Whoever is asked about them is taught them, however many there are.
        most: Sentences.

    Returns:
        None where all of them are few enough.

    """
    everything = {
        text
        for tree in (old, new)
        for page in tree.values()
        for text in page.sentences
        if len(text.split()) >= FEWEST_WORDS
    }
    if len(everything) <= most:
        return None
    asked = everything.intersection(_holding(old, new, facts))
    others = nsmallest(max(0, most - len(asked)), everything - asked, key=_place)
    return Sample(frozenset(asked).union(others), len(everything))


def _holding(old: Tree, new: Tree, facts: Iterable[Fact]) -> Iterator[str]:
    for fact in facts:
        for tree, value in ((old, fact.old), (new, fact.new)):
            if value is not None and fact.document in tree:
                yield from (text for text in tree[fact.document].sentences if count(value, text))


def _place(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
