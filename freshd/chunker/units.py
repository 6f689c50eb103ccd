"""Units and runs of them; how they are weighed, and divided until none is too large."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from freshd.chunker.splitters import SPLITTERS
from freshd.model import Block, BlockKind

CHARACTERS_PER_TOKEN = 16
"""A text weighs at least one token for so many characters; ordinary text has four or five.

A tokenizer that reads a word of 10 MB as one unknown token must not make a chunk of 10 MB;
and what is certainly too large need not be tokenised to know it.
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """What a cut never goes through: a block, or a piece of one that is too large. Its edges are not blank.

    Attributes:
        line: Its first in the source.
        last_line: Its last.
        is_verbatim: Its newlines are those of the source, so that its pieces have lines of their own;
            in a text that was rendered anew all of them have the lines of the whole.
        level: Which of its kind's splitters comes next, should it be too large.
        badness: How bad a cut before it is: 0 between blocks, else one more than the level that split it off.
        weight: In tokens, special ones left out; 0 until it is known.

    """

    start: int
    end: int
    line: int
    last_line: int
    kind: BlockKind
    is_verbatim: bool
    level: int = 0
    badness: int = 0
    weight: int = 0

    @property
    def is_atom(self) -> bool:
        """Whether there is nothing left to divide."""
        return self.end - self.start == 1


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive units of one section: at first all of them, at last one chunk.

    Attributes:
        prefix: What stands before the text in `embedded_text`.
        capacity: Weight of text to aim for, at most what fits beside the prefix.

    """

    heading_path: tuple[str, ...]
    prefix: str
    capacity: int
    units: tuple[Unit, ...]

    @property
    def span(self) -> tuple[int, int]:
        """Offsets of the run's text, end exclusive."""
        return self.units[0].start, self.units[-1].end

    def embedded_text(self, text: str) -> str:
        """Heading path and text, as the model would see them."""
        start, end = self.span
        return self.prefix + text[start:end]

    def narrowed(self) -> "Run":
        """The same run aiming for half its size: the next round cuts it, or divides its only unit."""
        return replace(self, capacity=min(self.capacity, sum(unit.weight for unit in self.units)) // 2)


class Scale:
    """Weighs texts, with one call to the tokenizer for each question however many texts it is about."""

    def __init__(self, count_tokens: Callable[[Sequence[str]], list[int]]) -> None:
        """Ask what the tokenizer adds to every text."""
        self._count_tokens = count_tokens
        self.special_tokens = count_tokens([""])[0]

    def weigh(self, texts: Sequence[str], limit: int) -> list[int]:
        """Weight of each text, at least 1; a text whose length alone is over the limit is not tokenised."""
        weights = [max(1, len(text) // CHARACTERS_PER_TOKEN) for text in texts]
        unknown = [i for i, weight in enumerate(weights) if weight <= limit]
        if unknown:
            for i, tokens in zip(unknown, self._count_tokens([texts[i] for i in unknown]), strict=True):
                weights[i] = max(weights[i], tokens - self.special_tokens)
        return weights


def block_unit(text: str, block: Block) -> Unit:
    """A block that is not blank as a unit, not weighed yet."""
    start, end = _trimmed(text, block.start, block.end)
    line, last_line = block.start_line, block.end_line
    is_verbatim = text.count("\n", block.start, block.end) == last_line - line
    if is_verbatim:
        line += text.count("\n", block.start, start)
        last_line = line + text.count("\n", start, end)
    return Unit(start, end, line, last_line, block.kind, is_verbatim)


def refined(text: str, runs: Sequence[Run], scale: Scale) -> list[Run]:
    """The same runs with every unit weighed, and those above the capacity replaced by their pieces."""
    runs = list(runs)
    while True:
        unknown = [(unit, run.capacity) for run in runs for unit in run.units if not unit.weight]
        limit = max((capacity for _, capacity in unknown), default=0)
        weights = iter(scale.weigh([text[unit.start : unit.end] for unit, _ in unknown], limit))
        runs = [_with_weights(run, weights) for run in runs]
        if all(_is_settled(unit, run) for run in runs for unit in run.units):
            return runs
        runs = [_with_pieces(text, run) for run in runs]


def _is_settled(unit: Unit, run: Run) -> bool:
    return unit.weight <= run.capacity or unit.is_atom


def _with_weights(run: Run, weights: Iterator[int]) -> Run:
    return replace(run, units=tuple(u if u.weight else replace(u, weight=next(weights)) for u in run.units))


def _with_pieces(text: str, run: Run) -> Run:
    units: list[Unit] = []
    for unit in run.units:
        units.extend([unit] if _is_settled(unit, run) else _pieces(text, unit))
    return replace(run, units=tuple(units))


def _pieces(text: str, unit: Unit) -> Iterator[Unit]:
    """What the first splitter that finds a place makes of a unit of two or more characters."""
    body = text[unit.start : unit.end]
    splitters = SPLITTERS[unit.kind]
    starts, level = next(
        (starts, level)
        for level in range(unit.level, len(splitters))
        if (starts := [at for at in splitters[level](body) if at < len(body)])
    )
    badness, line, last_line, counted = unit.badness, unit.line, unit.last_line, unit.start
    for begin, past in pairwise([0, *starts, len(body)]):
        start, end = _trimmed(text, unit.start + begin, unit.start + past)
        if start < end:
            if unit.is_verbatim:
                line += text.count("\n", counted, start)
                last_line = line + text.count("\n", start, end)
                counted = start
            yield Unit(start, end, line, last_line, unit.kind, unit.is_verbatim, level + 1, badness)
            badness = level + 1


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the blank lines before it and the blanks after it; empty if all of it is blank."""
    body = text[start:end].rstrip()
    blanks = len(body) - len(body.lstrip())
    return start + body.rfind("\n", 0, blanks) + 1, start + len(body)
