"""Damaged documents of every format through the real child: blocks that hold or a ParseError, and nothing else."""

import io
import random
import zipfile
from collections.abc import Iterator

import pytest

from freshd.errors import ParseError
from freshd.model import Document, DocumentId, DocumentRef
from freshd.parsers import LimitedParsers
from tests.parsers.conftest import hold_against_contract
from tests.parsers.samples import archive, samples

TEXTS = {
    "page.html": b"<!doctype html><title>T</title><style>.a{display:none}</style><h1>A</h1><p class=a>x<p>y<table><tr>"
    b"<td>1<td>2</table><ul><li>a<li>b</ul><pre>code</pre><!-- c --><p style='color:red;font-size:0'>z",
    "page.md": b"---\ntitle: T\n---\n# A\n\n- a\n- b\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\nx\n```\n\n[l](u)\n",
    "page.rst": b"Title\n=====\n\n.. note::\n\n   Mind :ref:`x`.\n\nSub\n---\n\n::\n\n  code\n\n* a\n* b\n",
    "page.txt": "Prose, “quoted”.\n\nMore of it – all of it.\n".encode(),
    "data.json": b'{"a": [1, 2, {"b": "c"}]}',
}
TOKENS = (b"\0", b"\xff", b"<", b">", b"&", b"/", b"(", b"[", b"]]>", b"<!", b"PK\x03\x04", b"endobj", b"<<", b"9" * 20)


@pytest.fixture(scope="module")
def limited() -> Iterator[LimitedParsers]:
    parsers = LimitedParsers()
    yield parsers
    parsers.close()


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Flip, cut, double, move or insert, a few times."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        at, past = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        past = min(past, at + chance.choice((1, 4, 40, 400)))
        change = chance.randrange(6)
        if change == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif change == 1:
            del data[at:past]
        elif change == 2:
            data[at:at] = data[at:past] * chance.randint(1, 50)
        elif change == 3:
            data[at:at] = chance.choice(TOKENS)
        elif change == 4:
            data[at:past] = chance.randbytes(past - at)
        else:
            data[at:past] = b""
            data[:0] = content[at:past]
        if not data:
            data = bytearray(b"x")
    return bytes(data)


def mutated_within(content: bytes, chance: random.Random) -> bytes:
    """Damage some parts of an archive and pack it again, so that the readers of the parts see the damage."""
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        parts: dict[str, str | bytes] = {name: packed.read(name) for name in packed.namelist()}
    for name in chance.sample(sorted(parts), min(len(parts), chance.randint(1, 2))):
        source = parts[name]
        parts[name] = mutated(source if isinstance(source, bytes) else source.encode(), chance)
    return archive(parts)


def fuzz(limited: LimitedParsers, seeds: range) -> None:
    sources = {**samples(), **TEXTS}
    for seed in seeds:
        chance = random.Random(seed)
        name = chance.choice(sorted(sources))
        content = sources[name]
        is_archive = content.startswith(b"PK") and chance.random() < 0.8
        damaged = mutated_within(content, chance) if is_archive else mutated(content, chance)
        try:
            parsed = limited.parse(Document(DocumentRef(DocumentId(name), ""), "", damaged))
        except ParseError as error:
            refused = error
        except BaseException as error:
            error.add_note(f"seed {seed}, {name}")
            raise
        else:
            hold_against_contract(parsed)
            continue
        assert name in str(refused), f"seed {seed}"
        assert refused.hint, f"seed {seed}: {refused}"


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_a_damaged_document_gives_blocks_or_a_reason(limited: LimitedParsers, first: int):
    fuzz(limited, range(first, first + 50))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(1_000, 6_000, 500))
def test_thousands_of_damaged_documents_give_blocks_or_a_reason(limited: LimitedParsers, first: int):
    fuzz(limited, range(first, first + 500))
