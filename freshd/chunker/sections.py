"""Which blocks may share a chunk, and what of their headings the model sees."""

from collections.abc import Iterable, Iterator
from itertools import zip_longest

from freshd.chunker.units import CHARACTERS_PER_TOKEN, Run, Scale, block_unit
from freshd.model import Block, BlockKind, ParsedDocument

_SEPARATOR = " > "
_HEADING_SHARE = 3
"""The heading path may take one part in so many of the limit; the rest belongs to the text."""

_Path = tuple[str, ...]


def whole_sections(parsed: ParsedDocument, max_tokens: int, scale: Scale) -> list[Run]:
    """Every section as one run, in document order, its blocks as units that are not weighed yet."""
    sections = list(_sections(parsed))
    prefixes = _prefixes({blocks[0].heading_path for blocks in sections}, max_tokens // _HEADING_SHARE, scale)
    room = max_tokens - scale.special_tokens
    runs = []
    for blocks in sections:
        path = blocks[0].heading_path
        prefix, weight = prefixes[path]
        runs.append(Run(path, prefix, room - weight, tuple(block_unit(parsed.text, block) for block in blocks)))
    return runs


def embedded_texts(heading_path: _Path, text: str, max_tokens: int) -> Iterator[str]:
    """Give everything that the model may have been shown for a chunk, the most likely first.

    Which of it depends on what the tokenizer says; a digest tells as well.

    Args:
        heading_path: As the chunk has it.
        text: As the chunk has it.
        max_tokens: Of the limits it was cut with.

    """
    yield from (form + text for form in _forms(heading_path, max_tokens // _HEADING_SHARE))
    yield text


def _sections(parsed: ParsedDocument) -> Iterator[list[Block]]:
    """Group consecutive blocks of one section; a heading stands alone, and only if nothing is under it."""
    blocks = [block for block in parsed.blocks if parsed.text[block.start : block.end].strip()]
    section: list[Block] = []
    for block, following in zip_longest(blocks, blocks[1:]):
        is_heading = block.kind is BlockKind.HEADING
        if section and (is_heading or block.heading_path != section[0].heading_path):
            yield section
            section = []
        if not is_heading:
            section.append(block)
        elif following is None or not _is_under(block, following):
            yield [block]
    if section:
        yield section


def _is_under(heading: Block, block: Block) -> bool:
    depth = len(heading.heading_path)
    return len(block.heading_path) > depth and block.heading_path[:depth] == heading.heading_path


def _prefixes(paths: Iterable[_Path], limit: int, scale: Scale) -> dict[_Path, tuple[str, int]]:
    """What the model sees of each heading path, and its weight: the best form within the limit, else nothing."""
    forms = [(path, form) for path in paths for form in _forms(path, limit)]
    prefixes: dict[_Path, tuple[str, int]] = {}
    for (path, form), weight in zip(forms, scale.weigh([form for _, form in forms], limit), strict=True):
        if weight <= limit:
            prefixes.setdefault(path, (form, weight))
    return {path: prefixes.get(path, ("", 0)) for path in paths}


def _forms(path: _Path, limit: int) -> Iterator[str]:
    """Ways to write a heading path, best first: whole, without the outermost, the innermost cut short."""
    for outermost in range(len(path)):
        yield _SEPARATOR.join(path[outermost:]) + "\n"
    # A heading of fewer characters than the limit has tokens has one that takes several tokens: leave it out.
    if path and len(path[-1]) > limit:
        longest = path[-1][: limit * CHARACTERS_PER_TOKEN]
        for sixteenths in range(15, 0, -1):
            yield longest[: len(longest) * sixteenths // 16] + "\n"
