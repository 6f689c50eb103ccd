"""Every format through the one door, `Parsers.parse`: right blocks, exact spans, no crash on any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.errors import ParseError
from freshd.model import BlockKind, Document, DocumentId, DocumentRef, ParsedDocument
from freshd.parsers import Parsers


def parse(content: bytes, name: str = "page.md", media_type: str | None = None) -> ParsedDocument:
    ref = DocumentRef(DocumentId(name), "fingerprint")
    return Parsers().parse(Document(ref, f"file:///{name}", content, media_type))


def bodies(parsed: ParsedDocument) -> list[tuple[tuple[str, ...], str]]:
    return [
        (block.heading_path, parsed.text[block.start : block.end])
        for block in parsed.blocks
        if block.kind is not BlockKind.HEADING
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.md", "# Top\n\nIntro.\n\n## Sub\n\nBody.\n"),
        ("page.rst", "Top\n===\n\nIntro.\n\nSub\n---\n\nBody.\n"),
        ("page.txt", "Top\n===\n\nIntro with :class:`Foo`.\n\n.. note::\n\n    Mind.\n"),
        ("page.html", "<h1>Top</h1><p>Intro.</p><h2>Sub</h2><p>Body.</p>"),
    ],
)
def test_a_paragraph_stands_under_its_headings(name: str, text: str):
    found = bodies(parse(text.encode(), name))
    assert found[0][0] == ("Top",)
    assert found[0][1].startswith("Intro")


@pytest.mark.parametrize(
    "hidden",
    [
        "<p hidden>secret</p>",
        "<p style='display:none'>secret</p>",
        "<p style='font-size:0'>secret</p>",
        "<p aria-hidden='true'>secret</p>",
        "<template>secret</template>",
        "<script>secret</script>",
        "<!-- secret -->",
    ],
)
def test_text_that_a_reader_does_not_see_is_left_out(hidden: str):
    parsed = parse(f"<p>before</p>{hidden}<p>after</p>".encode(), "page.html")
    assert "secret" not in parsed.text
    assert [text for _, text in bodies(parsed)] == ["before", "after"]


def test_binary_data_is_refused_whatever_its_name():
    with pytest.raises(ParseError, match="binary"):
        parse(b"\0\1\2" * 100, "notes.txt")


@given(st.binary(max_size=400), st.sampled_from(["a.md", "a.rst", "a.txt", "a.html", "a.py", "a"]))
def test_any_bytes_give_exact_ordered_blocks_or_a_parse_error(content: bytes, name: str):
    try:
        parsed = parse(content, name)
    except ParseError:
        return
    end = 0
    for block in parsed.blocks:
        assert end <= block.start < block.end <= len(parsed.text)
        assert parsed.text[block.start : block.end].strip()
        assert 1 <= block.start_line <= block.end_line
        end = block.end
