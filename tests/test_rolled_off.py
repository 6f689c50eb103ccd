"""What a feed does not show any more stays for as long as `keep_for` says, whatever happens meanwhile, and then goes.

A real feed over HTTP, the real ledger, scanner and pipeline; points stay in memory.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.kit.keeper import NEWS, RSS, Keeper, rss, serving
from tests.scripted_server import Reply, ScriptedServer

KEPT = timedelta(days=30)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path)
    yield keeper
    keeper.close()


def nothing_else_happens(keeper: Keeper, server: ScriptedServer) -> None:
    pass


def it_is_to_be_read_again(keeper: Keeper, server: ScriptedServer) -> None:
    """By `reindex --full`, or because another generation took it over as it was."""
    server.on("/feed", Reply(200, rss("two"), RSS))
    keeper.look(NEWS)
    keeper.ledger.invalidate(None, keeper.clock.now(), [NEWS])


def it_changed_just_before(keeper: Keeper, server: ScriptedServer) -> None:
    server.on("/feed", Reply(200, rss("one", "two").replace(b"text of one", b"another text"), RSS))
    keeper.scan(keeper.scanners[NEWS])


@pytest.mark.parametrize("when", [nothing_else_happens, it_is_to_be_read_again, it_changed_just_before])
def test_an_entry_that_rolled_off_goes_once_it_was_kept_for_long_enough(
    keeper: Keeper, when: Callable[[Keeper, ScriptedServer], None]
):
    with serving() as server:
        server.on("/feed", Reply(200, rss("one", "two"), RSS))
        keeper.connect_feed(server, keep_for=KEPT)
        keeper.look(NEWS)
        when(keeper, server)
        server.on("/feed", Reply(200, rss("two"), RSS))
        seen = []
        for wait in (timedelta(hours=1), KEPT - timedelta(hours=2), timedelta(hours=4)):
            keeper.clock.advance(wait)
            keeper.look(NEWS)
            seen.append(keeper.indexed(NEWS))
    assert seen == [["one", "two"], ["one", "two"], ["two"]]
