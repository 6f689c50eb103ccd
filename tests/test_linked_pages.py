"""Pages that entries of a feed link to, made to break what finds their main text: each costs its own entry alone."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from freshd.errors import ParseError
from freshd.ledger.quarantine import Quarantined, SqliteQuarantine
from freshd.model import Document, DocumentId, DocumentRef
from freshd.parsers import LimitedPages
from freshd.ports import MainText
from tests.kit.keeper import NEWS, RSS, Keeper, serving
from tests.scripted_server import Reply, ScriptedServer

ACTS = ["hangs", "explodes"]
HTML = {"Content-Type": "text/html; charset=utf-8"}
HANGING = b"<html><body><p " + b" ".join(b"a%d=x" % n for n in range(100_000)) + b">text"
"""Attributes are looked up one by one: half a minute and more."""

EXPLODING = b"<html><body><p>" + b"word<br>" * 400_000
"""Of 3 MB, a tree of 100 MB, several times over."""


def page(text: str) -> bytes:
    paragraph = f"This paragraph says {text}, and it is long enough to be told from a menu, as those of articles are. "
    footer = "<footer>Imprint, privacy</footer>"
    return f"<html><body><article><h1>T</h1><p>{paragraph * 3}</p></article>{footer}</body></html>".encode()


def document(content: bytes) -> Document:
    return Document(DocumentRef(DocumentId("1"), ""), "http://example.org/", content, "text/html")


@pytest.fixture(scope="module")
def poor() -> Iterator[LimitedPages]:
    with closing(LimitedPages(module="tests.parsers.poor_pages")) as pages:
        yield pages


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with closing(Keeper(tmp_path)) as made:
        yield made


@pytest.fixture
def main_text(poor: LimitedPages, monkeypatch: pytest.MonkeyPatch) -> MainText:
    """Within the limits, with little memory; what hangs is given up after a second."""

    def find(whole: Document) -> Document:
        monkeypatch.setattr(poor._child, "_deadline_s", 1.0 if whole.content == HANGING else 30.0)
        return poor.main_text(whole)

    return find


@pytest.mark.parametrize(
    ("bad", "reason"), [(HANGING, "no end of parsing it within 1 s"), (EXPLODING, "need for more memory")], ids=ACTS
)
def test_a_page_that_hangs_or_explodes_is_refused_at_its_limit_and_the_next_goes_on(
    main_text: MainText, bad: bytes, reason: str
):
    with pytest.raises(ParseError, match=reason) as refused:
        main_text(document(bad))
    assert not refused.value.retryable
    assert b"says next" in main_text(document(page("next"))).content


@pytest.mark.parametrize(
    "text",
    [
        "jokainen työntekijä on oikeutettu kahdenkymmenen päivän palkalliseen lomaan vuodessa",
        "chaque employé a droit à vingt jours de congés payés par an, déjà cité",
    ],
)
def test_a_page_is_read_in_the_charset_that_its_server_says(main_text: MainText, text: str):
    """From the bytes alone it would be guessed to be another one."""
    content = page(text).decode().encode("iso-8859-1")
    assert text.encode() in main_text(replace(document(content), encoding="iso-8859-1")).content


@pytest.mark.parametrize("bad", [HANGING, EXPLODING], ids=ACTS)
def test_a_bad_page_leaves_the_last_good_state_of_its_entry_and_its_neighbours_go_on(
    keeper: Keeper, main_text: MainText, bad: bytes
):
    with serving() as server:
        keeper.connect_feed(server, follow_links=True, main_text=main_text)
        show(server, "first", one=page("oldword"), two=page("neighbour"))
        keeper.look(NEWS)
        assert quarantined(keeper) == []
        show(server, "second", one=bad, two=page("newword"))
        keeper.look(NEWS)
        [entry] = quarantined(keeper)
    assert (entry.document_id, entry.is_applied) == ("one", True)
    assert f"{server.host}/one: " in entry.error
    assert keeper.indexed(NEWS) == ["one", "two"]
    texts = " ".join(point.payload["page_content"] for point in keeper.store.points.values())
    assert "says oldword" in texts
    assert "says newword" in texts
    assert "Imprint" not in texts


def show(server: ScriptedServer, teaser: str, **pages: bytes) -> None:
    """Serve a feed whose entries, edited by another teaser, link to these pages."""
    items = ""
    for name, content in pages.items():
        link = server.on(f"/{name}", Reply(200, content, HTML))
        items += f"<item><guid>{name}</guid><link>{link}</link><description>{teaser}</description></item>"
    body = f'<?xml version="1.0"?><rss version="2.0"><channel><title>N</title>{items}</channel></rss>'
    server.on("/feed", Reply(200, body.encode(), RSS))


def quarantined(keeper: Keeper) -> list[Quarantined]:
    return SqliteQuarantine(keeper.database).of(NEWS, 9)
