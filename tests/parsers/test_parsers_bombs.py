"""Small documents that would come to much: told from their directory where there is one, else stopped at a limit."""

import io
import resource
import zipfile
import zlib
from collections.abc import Iterator

import pytest

from freshd.errors import ParseError
from freshd.model import Document, DocumentId, DocumentRef, ParsedDocument
from freshd.parsers import LimitedParsers, archive, limits
from tests.parsers import samples
from tests.parsers.samples import docx, paragraph, saved, word_parts, workbook

MIB = 1 << 20
GROWTH_MIB = 64
"""What a bomb may cost the process that writes the index; each of them would come to far more."""


@pytest.fixture(scope="module")
def limited() -> Iterator[LimitedParsers]:
    parsers = LimitedParsers()
    yield parsers
    parsers.close()


@pytest.fixture(scope="module")
def poor() -> Iterator[LimitedParsers]:
    parsers = LimitedParsers(module="tests.parsers.poor")
    yield parsers
    parsers.close()


def parsed_by(parsers: LimitedParsers, content: bytes, name: str) -> ParsedDocument:
    return parsers.parse(Document(DocumentRef(DocumentId(name), ""), "", content))


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def zeros(n_mib: int) -> bytes:
    """What so many MiB of zeros compress to, without compressing all of them."""
    packer = zlib.compressobj(9)
    first = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (n_mib - 1) + packer.flush()


def drawing(stream: bytes, filters: str) -> bytes:
    """A PDF of one page, drawn by a stream."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d /Filter %s >>\nstream\n%s\nendstream" % (len(stream), filters.encode(), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + b"xref\n0 6\n0000000000 65535 f \n%strailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (
        table,
        len(out),
    )


def laughs(kind: str = "") -> str:
    """Ten times ten times … a word, as a document type that declares entities."""
    steps = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    return f'{kind}<!DOCTYPE lolz [<!ENTITY a0 "lol">{steps}]>'


def word_with_entities(declared: str, encoding: str = "utf-8") -> bytes:
    parts = word_parts(paragraph("&a9;"))
    source = declared + str(parts["word/document.xml"])
    return samples.archive({**parts, "word/document.xml": source.encode(encoding)})


def office_with_entities(folder: str, name: str, body: str) -> bytes:
    return samples.archive({"[Content_Types].xml": samples.TYPES, f"{folder}/{name}": laughs() + body})


def cells_on_a_diagonal() -> bytes:
    made = workbook([])
    for number in range(1, 2_500):
        made["Plan"].cell(number, number, "x")
    return saved(made)


def an_archive_that_lies() -> bytes:
    """Its directory says 100 bytes, its member has 20 MiB."""
    content = samples.archive({**word_parts(), "word/document.xml": b" " * (20 * MIB)})
    return content.replace((20 * MIB).to_bytes(4, "little"), (100).to_bytes(4, "little"))


def with_password() -> bytes:
    content = bytearray(docx(paragraph("secret")))
    at = content.rindex(b"PK\x01\x02")
    content[at + 8] |= 1
    return bytes(content)


def packed_unusually() -> bytes:
    buffer = io.BytesIO(docx(paragraph("words")))
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_LZMA) as packed:
        packed.writestr("word/extra.xml", "<a/>")
    return buffer.getvalue()


TOLD_AT_ONCE = {
    "expands too much": (lambda: docx(paragraph("a" * (40 * MIB))), "expands to 40 MiB, expected at most 10 MiB"),
    "expands to more than is allowed at all": (
        lambda: samples.archive({**word_parts(), "word/a.bin": b"x" * (201 * MIB)}),
        "expands to 201 MiB",
    ),
    "too many members": (
        lambda: samples.archive({**word_parts(), **{f"word/media/{n}": "" for n in range(limits.MAX_MEMBERS)}}),
        "an archive of 10,005 members, expected at most 10,000",
    ),
    "lies about sizes": (an_archive_that_lies, "got a damaged archive"),
    "password": (with_password, "got an encrypted archive"),
    "packed unusually": (packed_unusually, "packed in an unusual way"),
    "entities in Word": (lambda: word_with_entities(laughs()), "declares entities"),
    "entities in UTF-16": (lambda: word_with_entities(laughs(), "utf-16"), "declares entities"),
    "entities in an encoding that hides them": (
        lambda: word_with_entities(laughs('<?xml version="1.0" encoding="UTF-7"?>')),
        "got XML in utf-7, expected UTF-8",
    ),
    "entities in Excel": (lambda: office_with_entities("xl", "workbook.xml", "<a>&a9;</a>"), "declares entities"),
    "entities in PowerPoint": (
        lambda: office_with_entities("ppt", "presentation.xml", "<a>&a9;</a>"),
        "declares entities",
    ),
    "a file of this machine": (
        lambda: word_with_entities('<!DOCTYPE a [<!ENTITY a9 SYSTEM "file:///etc/passwd">]>'),
        "declares entities",
    ),
    "cells on a diagonal": (cells_on_a_diagonal, "characters of text, expected at most 10,485,760"),
    "too many lines": (lambda: b"x\n\n" * 300_000, "got 600,000 lines, expected at most 500,000"),
    "too much text": (lambda: b"word " * (3 * MIB), "characters of text, expected at most 10,485,760"),
    "one endless line": (lambda: b"a" * (11 * MIB), "characters of text, expected at most 10,485,760"),
    "a page nested too deep": (lambda: b"<!doctype html>" + b"<div>" * 300_000, "nested over 2000 deep"),
}


@pytest.mark.parametrize(("make", "reason"), TOLD_AT_ONCE.values(), ids=TOLD_AT_ONCE)
def test_a_bomb_that_shows_is_refused_before_it_costs_anything(limited: LimitedParsers, make, reason: str):
    content, before = make(), peak_mib()
    with pytest.raises(ParseError, match=reason) as refused:
        parsed_by(limited, content, "bomb.txt")
    assert refused.value.hint
    assert not refused.value.retryable
    assert peak_mib() - before < GROWTH_MIB


STOPPED = {
    "a drawing of blanks": lambda: drawing(zeros(1_500), "/FlateDecode"),
    "a drawing packed twice": lambda: drawing(zlib.compress(zeros(3_000)), "[/FlateDecode /FlateDecode]"),
}


@pytest.mark.parametrize("make", STOPPED.values(), ids=STOPPED)
def test_a_bomb_that_does_not_show_is_stopped_at_a_limit(poor: LimitedParsers, make):
    content, before = make(), peak_mib()
    assert len(content) < 3 * MIB
    with pytest.raises(ParseError, match=r"more memory|within 30 s|died with SIG") as refused:
        parsed_by(poor, content, "bomb.pdf")
    assert refused.value.hint
    assert peak_mib() - before < GROWTH_MIB
    assert parsed_by(poor, docx(paragraph("next")), "next.docx").text == "next"


def test_archives_within_a_document_are_not_opened(limited: LimitedParsers):
    inner = samples.archive({"zeros.bin": bytes(8 * MIB)})
    content = samples.archive({**word_parts(paragraph("outer")), "word/embeddings/a.zip": inner})
    assert parsed_by(limited, content, "a.docx").text == "outer"


def test_a_cell_far_away_is_no_bomb(poor: LimitedParsers):
    made = workbook([["near"]])
    made["Plan"]["XFD1048576"] = "far"
    assert parsed_by(poor, saved(made), "a.xlsx").text.endswith("| near |  |\n| --- | --- |\n|  | far |")


@pytest.mark.parametrize("name", ["../../escaped", "/etc/escaped", "word/../../escaped"])
def test_members_are_never_written_anywhere(limited: LimitedParsers, name: str):
    content = samples.archive({**word_parts(paragraph("seen")), name: "text"})
    assert parsed_by(limited, content, "a.docx").text == "seen"


def test_a_document_of_many_small_parts_is_no_bomb(limited: LimitedParsers):
    content = samples.archive({**word_parts(paragraph("seen")), **{f"word/media/{n}.png": "x" for n in range(2_000)}})
    assert parsed_by(limited, content, "a.docx").text == "seen"


def test_what_is_left_out_of_an_archive_leaves_all_other_parts_as_they_were():
    content = samples.archive({**word_parts(paragraph("old")), "word/media/a.png": b"\x89PNG"})
    again = archive.Archive(archive.Archive(content).replaced({"word/document.xml": b"<new/>"}))
    assert again.read("word/document.xml") == b"<new/>"
    assert again.read("word/media/a.png") == b"\x89PNG"
    assert list(again.names()) == list(archive.Archive(content).names())
