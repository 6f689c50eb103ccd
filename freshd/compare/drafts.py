"""Facts before they are believed: checks them against both versions, and derives what was left out. Pure.

Draft ─faults (each with its line)─▶ nothing wrong ─with_distractors, facts_of─▶ Fact
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from freshd.compare.lessons import RUN_WORDS, giving_away
from freshd.compare.records import Fact, FactKind
from freshd.compare.trees import Page, Tree
from freshd.compare.values import MOST_WORDS, alternatives, count

_N_DISTRACTORS: Final = {FactKind.CHANGED: 2, FactKind.UNCHANGED: 3, FactKind.VANISHED: 3}
"""What makes four options of the values that a fact has itself."""

_ONE_DEVELOPMENT_FACT_IN: Final = 4


@dataclass(frozen=True, slots=True)
class Draft:
    """A fact as somebody wrote it down; see `records.Fact`.

    Attributes:
        line: Of the file it stands in; 1-based.
        distractors: None where they are to be derived.
        is_development: None where it is to be derived; then it is for all.

    """

    line: int
    question: str
    prefix: str
    old: str
    new: str | None
    document: str
    distractors: tuple[str, ...] | None = None
    is_development: bool | None = None
    paraphrases: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> FactKind:
        """What became of it, by its values."""
        if self.new is None:
            return FactKind.VANISHED
        return FactKind.UNCHANGED if self.new == self.old else FactKind.CHANGED

    @property
    def fact_id(self) -> str:
        """Stays while document and question do, whatever is answered."""
        return hashlib.sha256(f"{self.document}\n{self.question}".encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a draft: "key: got …, expected …"."""

    line: int
    message: str


def faults_in(drafts: Sequence[Draft], old: Tree, new: Tree) -> list[Fault]:
    """Find everything that keeps drafts from being facts, in order of lines."""
    found = [Fault(draft.line, message) for draft in drafts for message in _faults(draft, old, new)]
    return sorted([*found, *_doubles(drafts), *_given_away(drafts)], key=lambda fault: fault.line)


def _faults(draft: Draft, old: Tree, new: Tree) -> Iterator[str]:
    last = old if draft.new is None else new
    if draft.document not in last:
        version = "old" if draft.new is None else "new"
        yield f"document: got {draft.document!r}, expected one of the {version} version"
        return
    for key, value, tree in (("old", draft.old, old), ("new", draft.new, new)):
        if value is not None and len(value.split()) > MOST_WORDS:
            yield f"{key}: got {len(value.split())} words, expected at most {MOST_WORDS}"
        if value is not None and not any(count(value, page.text) for page in _pages_of(draft.document, value, tree)):
            yield f"{key}: got {value!r}, expected a value that stands in {draft.document!r} of the {key} version"
    if draft.new != draft.old and draft.document in new and count(draft.old, new[draft.document].text):
        yield f"old: got {draft.old!r}, which still stands in {draft.document!r} of the new version, expected it gone"
    yield from _distractor_faults(draft, old, new)


def _distractor_faults(draft: Draft, old: Tree, new: Tree) -> Iterator[str]:
    if draft.distractors is None:
        return
    n_wanted = _N_DISTRACTORS[draft.kind]
    if len({text.casefold() for text in draft.distractors}) != len(draft.distractors):
        yield "distractors: got one twice, expected different ones"
    if len(draft.distractors) != n_wanted:
        yield f"distractors: got {len(draft.distractors)}, expected {n_wanted} for a fact that is {draft.kind}"
    for text in draft.distractors:
        if not _is_wrong(text, draft, old, new):
            yield f"distractors: got {text!r}, expected a value that stands in neither version of {draft.document!r}"


def _is_wrong(text: str, draft: Draft, old: Tree, new: Tree) -> bool:
    """Whether a value is surely no answer: neither the fact's own nor in its document, whatever that is called."""
    if text.casefold() in (draft.old.casefold(), (draft.new or "").casefold()):
        return False
    pages = [*_pages_of(draft.document, draft.old, old), *_pages_of(draft.document, draft.new, new)]
    return not any(count(text, page.text) for page in pages)


def _pages_of(document: str, value: str | None, tree: Tree) -> list[Page]:
    """Give the document; those in which its value stands, where it has another name in that version."""
    if document in tree:
        return [tree[document]]
    return [page for page in tree.values() if value is not None and count(value, page.text)]


def _doubles(drafts: Iterable[Draft]) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for draft in drafts:
        line = first.setdefault(" ".join(draft.question.casefold().split()), draft.line)
        if line != draft.line:
            yield Fault(draft.line, f"question: got that of line {line} again, expected another one")


def _given_away(drafts: Sequence[Draft]) -> Iterator[Fault]:
    """Find paraphrases that are, or hold, what is asked: then a training would see it."""
    others = [question for draft in drafts for question, _ in draft.paraphrases]
    wrong = giving_away(others, [draft.question for draft in drafts])
    for draft in drafts:
        for question, _ in draft.paraphrases:
            if question in wrong:
                what = f"got {question!r}, which holds a question that is asked, or {RUN_WORDS} words of one in a row"
                yield Fault(draft.line, f"paraphrases: {what}, expected other words")


def with_distractors(drafts: Sequence[Draft], old: Tree, new: Tree) -> tuple[list[Draft], list[Fault]]:
    """Think of distractors for drafts without faults that have none; the same in every run.

    Returns:
        The drafts that have enough of them, in the order given, and a fault for each of the others.

    """
    values = sorted({value for draft in drafts for value in (draft.old, draft.new) if value is not None})
    ready: list[Draft] = []
    faults: list[Fault] = []
    for draft in drafts:
        distractors = draft.distractors or _derived(draft, values, old, new)
        n_wanted = _N_DISTRACTORS[draft.kind]
        if len(distractors) == n_wanted:
            ready.append(replace(draft, distractors=distractors))
        else:
            fault = f"distractors: got none, and none could be derived for {draft.new or draft.old!r}"
            faults.append(Fault(draft.line, f"{fault}, expected {n_wanted} values of the same sort"))
    return ready, faults


def _derived(draft: Draft, values: Iterable[str], old: Tree, new: Tree) -> tuple[str, ...]:
    thought_of = alternatives(draft.new or draft.old, values, draft.fact_id)
    wrong = (text for text in thought_of if _is_wrong(text, draft, old, new))
    return tuple(islice(wrong, _N_DISTRACTORS[draft.kind]))


def facts_of(drafts: Sequence[Draft]) -> tuple[Fact, ...]:
    """Make facts of drafts that lack nothing any more, and set some of each kind apart for development."""
    development = _development(drafts)
    return tuple(
        Fact(
            fact_id=draft.fact_id,
            kind=draft.kind,
            question=draft.question,
            prefix=draft.prefix,
            old=draft.old,
            new=draft.new,
            document=draft.document,
            distractors=draft.distractors or (),
            is_development=draft.fact_id in development,
            paraphrases=draft.paraphrases,
        )
        for draft in drafts
    )


def _development(drafts: Sequence[Draft]) -> set[str]:
    """Choose the facts to stop training by: those marked, or else a quarter of each kind by hash."""
    if any(draft.is_development is not None for draft in drafts):
        return {draft.fact_id for draft in drafts if draft.is_development}
    chosen: set[str] = set()
    for kind in FactKind:
        ids = sorted(draft.fact_id for draft in drafts if draft.kind is kind)
        # One of two is better than none: without any, nothing says when training is done.
        n_chosen = max(len(ids) // _ONE_DEVELOPMENT_FACT_IN, min(1, len(ids) // 2))
        chosen.update(ids[:n_chosen])
    return chosen
