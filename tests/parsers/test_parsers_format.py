"""Which format a document is in, and which documents are no text at all."""

import gzip
import io
import pydoc_data.topics
import random
import zipfile

import pytest

from freshd.errors import ParseError
from freshd.parsers import Parsers

MARKDOWN = "# Title\n\nSome *prose*.\n\n## Part\n\nMore.\n"
RST = "Title\n=====\n\nSee :class:`Foo`.\n\n.. note::\n\n   Mind.\n"
HTML = "<!doctype html>\n<title>T</title><h1>Title</h1><p>Prose.</p>"
PROSE = "It was late.\n\nNobody spoke # or moved :: then.\n\nThe end - at last.\n"


def heads(parsed):
    return [parsed.text[block.start : block.end] for block in parsed.blocks if block.kind == "heading"]


@pytest.mark.parametrize(
    ("media_type", "content", "heading"),
    [
        ("text/markdown", MARKDOWN, "# Title"),
        ("text/markdown; charset=utf-8; variant=GFM", MARKDOWN, "# Title"),
        ("TEXT/X-RST", RST, "Title\n====="),
        ("text/html", HTML, "Title"),
        ("application/xhtml+xml", HTML, "Title"),
    ],
)
def test_a_declared_type_decides(parse, media_type, content, heading):
    assert heads(parse(content, media_type, document_id="odd.txt"))[0] == heading


@pytest.mark.parametrize("media_type", ["application/json", "application/feed+json", "text/csv"])
def test_data_is_plain_text_whatever_it_looks_like(parse, media_type, blocks):
    assert blocks(parse("# Title\n\n## Part\n", media_type)) == [("code", "# Title"), ("code", "## Part")]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.md", MARKDOWN), ("b/c.MARKDOWN", MARKDOWN), ("a.rst", RST), ("a.html", HTML), ("a.HTM", HTML)],
)
@pytest.mark.parametrize("vague", [None, "text/plain", "application/octet-stream"])
def test_the_extension_decides_when_the_declared_type_says_too_little(parse, name, content, vague):
    assert heads(parse(content, vague, document_id=name))


@pytest.mark.parametrize("name", ["page.txt", "README", "notes.text", "https://example.org/?p=1"])
@pytest.mark.parametrize(
    ("content", "heading"),
    [(MARKDOWN, "# Title"), (RST, "Title\n====="), (HTML, "Title")],
)
def test_text_without_a_telling_name_is_looked_at(parse, name, content, heading):
    assert heads(parse(content, document_id=name))[0] == heading


def test_prose_is_prose(parse):
    assert heads(parse(PROSE, document_id="story.txt")) == []


def test_a_commented_requirements_file_has_no_headings(parse):
    assert heads(parse("django>=5\n# needed for docs\nsphinx\n#other\n", document_id="requirements.txt")) == []


def test_a_readme_with_underlined_titles_and_links_is_markdown(parse):
    text = "Tool\n====\n\nA [link](https://example.org) and\n\n```sh\nmake\n```\n\nUse\n---\n\nRun.\n"
    assert parse(text, document_id="README.txt").blocks[2].kind == "code"


def test_a_title_of_one_underlined_line_is_a_heading(parse):
    assert heads(parse("Release notes\n=============\n\nNothing new.\n", document_id="notes.txt"))


@pytest.mark.parametrize("topic", ["assignment", "formatstrings", "specialnames", "try"])
def test_pages_of_the_python_reference_named_txt_are_restructuredtext(parse, topic):
    """Real pages that tell their markup by nothing but itself."""
    parsed = parse(pydoc_data.topics.topics[topic], document_id=f"{topic}.txt")
    assert heads(parsed)
    assert parsed.title


@pytest.mark.parametrize("media_type", ["application/msword", "image/png", "application/gzip", "video/mp4"])
def test_an_unsupported_type_is_refused_with_the_supported_ones(parse, media_type):
    with pytest.raises(ParseError, match="expected one of text/markdown") as refused:
        parse("anything", media_type, document_id="doc.md")
    assert media_type in str(refused.value)
    assert "doc.md" in str(refused.value)
    assert refused.value.hint


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "text")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\n", "PDF"),
        (zipped(), "zip"),
        (gzip.compress(b"text", mtime=0), "gzip"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"{\\rtf1\\ansi text}", "RTF"),
        (b"\x7fELF\2\1\1\0\0\0", "NUL"),
        (b"some words\0and more", "NUL"),
        (b"words \1\2\3\4\5\6 words", "control"),
        ("text".encode("utf-16-le"), "NUL"),
        (b"\xff\xfe" + random.Random(1).randbytes(4000), "utf-16"),
    ],
)
@pytest.mark.parametrize("document_id", ["a.md", "a.txt", "a.html"])
def test_bytes_that_are_no_text_are_refused_and_named(parse, content, name, document_id):
    with pytest.raises(ParseError, match=name) as refused:
        parse(content, document_id=document_id)
    assert refused.value.hint


@pytest.mark.parametrize("content", [b"\x1b[31mred\x1b[0m text\n", b"page\f\nbreak\n", b"", b"\n"])
def test_terminal_colours_form_feeds_and_emptiness_are_text(parse, content):
    assert parse(content, "text/plain").text == content.decode()


def test_one_stray_nul_late_in_a_log_does_not_cost_the_log(parse):
    parsed = parse(b"line of a log\n" * 1000 + b"\0end", document_id="big.log")
    assert parsed.text.endswith("\N{REPLACEMENT CHARACTER}end")


@pytest.mark.parametrize("extension", ["md", "rst", "html", "txt", "py"])
def test_a_document_without_a_title_of_its_own_keeps_that_of_its_source(parse, extension):
    assert parse("words", document_id=f"a.{extension}", title="From the feed").title == "From the feed"


def test_a_title_of_its_own_comes_before_that_of_the_source(parse):
    assert parse("# Own\n", "text/markdown", title="From the feed").title == "Own"


def test_the_identity_names_every_part_and_library():
    """Whatever could give other blocks for the same bytes has to show in the recipe."""
    identity = Parsers().identity
    for part in (
        "media",
        "looking",
        "encoding",
        "markdown",
        "rst",
        "text",
        "html",
        "markdown-it-py",
        "lxml",
        "libxml2",
    ):
        assert f"{part}-" in identity
    assert Parsers().identity == identity
