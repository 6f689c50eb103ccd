"""One way to parse in these tests; whatever is parsed is held against the contract of blocks at once."""

from collections.abc import Callable

import pytest

from freshd.model import BlockKind, Document, DocumentId, DocumentRef, ParsedDocument
from freshd.parsers import Parsers

Parse = Callable[..., ParsedDocument]


def hold_against_contract(parsed: ParsedDocument) -> None:
    """Blocks in order, not overlapping, not blank, trimmed; a body stands below the heading before it."""
    parsed.text.encode()  # valid Unicode: no lone surrogates
    assert "\0" not in parsed.text
    assert "\r" not in parsed.text
    end = 0
    heading_path: tuple[str, ...] | None = None
    for block in parsed.blocks:
        text = parsed.text[block.start : block.end]
        assert end <= block.start < block.end <= len(parsed.text)
        assert text.strip()
        assert text == text.rstrip()
        assert 1 <= block.start_line <= block.end_line
        if block.kind is BlockKind.HEADING:
            heading_path = block.heading_path
        elif heading_path is not None:
            assert block.heading_path[: len(heading_path)] == heading_path
            assert len(block.heading_path) - len(heading_path) in (0, 1)  # 0 below an empty heading
        else:
            assert block.heading_path == ()
        end = block.end


@pytest.fixture(scope="session")
def parse() -> Parse:
    """Parse text or bytes through the front door."""
    parsers = Parsers()

    def parse(
        content: str | bytes,
        media_type: str | None = None,
        *,
        document_id: str = "page",
        encoding: str | None = None,
        title: str | None = None,
    ) -> ParsedDocument:
        data = content.encode() if isinstance(content, str) else content
        ref = DocumentRef(DocumentId(document_id), "fingerprint")
        parsed = parsers.parse(Document(ref, "file:///page", data, media_type, encoding, title))
        hold_against_contract(parsed)
        return parsed

    return parse


@pytest.fixture(scope="session")
def blocks() -> Callable[[ParsedDocument], list[tuple[str, str]]]:
    """Give kind and text of every block."""
    return lambda parsed: [(str(block.kind), parsed.text[block.start : block.end]) for block in parsed.blocks]


@pytest.fixture(scope="session")
def paths() -> Callable[[ParsedDocument], dict[str, tuple[str, ...]]]:
    """Give the heading path of every block by the block's text."""
    return lambda parsed: {parsed.text[block.start : block.end]: block.heading_path for block in parsed.blocks}


@pytest.fixture(scope="session")
def left_out() -> Callable[[ParsedDocument], str]:
    """Give everything visible that lies in no block."""

    def left_out(parsed: ParsedDocument) -> str:
        outside, end = [], 0
        for block in parsed.blocks:
            outside.append(parsed.text[end : block.start])
            end = block.end
        return " ".join(" ".join([*outside, parsed.text[end:]]).split())

    return left_out


@pytest.fixture(scope="session")
def has_source_lines() -> Callable[[ParsedDocument], bool]:
    """Tell whether every block's lines are those its span lies on, as where the text is the source."""
    return lambda parsed: all(
        block.start_line == parsed.text.count("\n", 0, block.start) + 1
        and block.end_line == parsed.text.count("\n", 0, block.end) + 1
        for block in parsed.blocks
    )
