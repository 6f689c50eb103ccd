"""Whatever breaks in a source, freshd never says fresh for longer than that is true: all breakages at once."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest import mock

import pytest

from tests.freshness.claims import assert_nobody_calls_it_fresh
from tests.freshness.living import Living, opened
from tests.freshness.powers import like_anybody
from tests.scripted_server import Reply, ScriptedServer

RSS = {"Content-Type": "application/rss+xml"}
SECOND = timedelta(seconds=1)
UNTIL_CLOSED = {**RSS, "Content-Length": None}


def rss(*words: str, end: str = "</channel></rss>") -> bytes:
    items = "".join(
        f"<item><guid>{word}</guid><title>Entry</title><description>The {word}.</description></item>" for word in words
    )
    return f'<rss version="2.0"><channel><title>News</title>{items}{end}'.encode()


WHOLE = rss("alphaword", "betaword", "gammaword")

FEEDS = {
    "resets": Reply(reset=True),
    "hangs": Reply(delay_s=60),
    "drips": Reply(200, WHOLE, RSS, drip_s=0.5),
    "fails": Reply(500),
    "is-gone": Reply(404),
    "is-gone-for-good": Reply(410),
    "wants-a-login": Reply(200, b"<html><h1>Log in</h1></html>", {"Content-Type": "text/html"}),
    "sends-garbage": Reply(200, bytes(range(256)), RSS),
    "sends-nothing": Reply(200, b"", RSS),
    "is-cut-short": Reply(200, WHOLE, RSS, cut_at=150),
    "is-cut-in-an-item": Reply(200, WHOLE[:150], UNTIL_CLOSED),
    "is-cut-between-items": Reply(200, rss("alphaword", end=""), UNTIL_CLOSED),
    "is-cut-before-it-is-sent": Reply(200, rss("alphaword", end=""), RSS),
    "says-unchanged-unasked": Reply(304),
}
"""What a feed answers from the moment it breaks."""


def unreadable_edit(root: Path) -> None:
    """Edit a file so that the edit cannot be read, not for an instant either: it would be in the index, and fresh."""
    edit = root.with_name(f"{root.name}.new")
    edit.write_text("# New\n\nNew.\n")
    edit.chmod(0)
    edit.replace(root / "all/0.md")


FOLDERS: dict[str, Callable[[Path], object]] = {
    "moved-away": lambda root: root.rename(root.with_name(f"{root.name}-away")),
    "unreadable": lambda root: root.chmod(0),
    "not-searchable": lambda root: root.chmod(0o600),
    "with-an-unreadable-folder": lambda root: (root / "all/sub").chmod(0),
    "with-a-folder-that-cannot-be-searched": lambda root: (root / "all/sub").chmod(0o600),
    "a-file-now": lambda root: (root.rename(root.with_name(f"{root.name}-away")), root.write_text("A file.\n")),
    "emptied": lambda root: (root / "all").rename(root.with_name(f"{root.name}-away")),
    "with-an-unreadable-edit": unreadable_edit,
}
"""What becomes of a folder with some files."""


class Broken:
    """Many sources, each broken in its own way since the same moment."""

    def __init__(self, one: Living, server: ScriptedServer) -> None:
        self.one = one
        for name in FEEDS:
            server.on(f"/{name}", Reply(200, WHOLE, RSS))
        for name in FOLDERS:
            for path in (*(f"{n}.md" for n in range(6)), "sub/deep.md"):
                place = one.root / name / "all" / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(f"# {path}\n\nThe {name} of {path}.\n")
        one.start()
        for name in [*FEEDS, *FOLDERS]:
            one.passes(name)
        for name, reply in FEEDS.items():
            server.on(f"/{name}", replace(reply))
        for name, breaks in FOLDERS.items():
            breaks(one.root / name)
        self.since_s, self.since = time.monotonic(), one.clock.now()


def table(name: str, lines: str) -> str:
    return f'[[sources]]\nname = "{name}"\nfreshness_target = "2s"\nobjective = 0.01\n{lines}'


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    root = tmp_path_factory.mktemp("broken")
    with ScriptedServer() as server:
        sources = [
            table(name, f'type = "feed"\nurl = "{server.url(f"/{name}")}"\nallow_private_hosts = ["{server.host}"]\n')
            for name in FEEDS
        ]
        sources += [table(name, f'type = "files"\npath = "{name}"\n') for name in FOLDERS]
        # What is quarantined bounds the watermark no more, so that here nothing is, however late it is looked at.
        no_quarantine = mock.patch("freshd.pipeline.batch._MAX_ATTEMPTS", 1_000)
        with like_anybody(), no_quarantine, opened(root, "".join(sources)) as one:
            yield Broken(one, server)
        for path in root.rglob("*"):
            path.chmod(0o700)


@pytest.mark.parametrize("name", FEEDS)
def test_a_feed_that_breaks_is_not_called_fresh_for_longer_than_it_was(broken: Broken, name: str):
    said = assert_nobody_calls_it_fresh(broken.one, broken.since_s, broken.since, name)
    assert said.source["documents"] == 3
    assert said.source["held"] == 0


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_breaks_is_not_called_fresh_for_longer_than_it_was(broken: Broken, name: str):
    # That something vanished is dated by the event, which waits half a second for where it may have gone.
    since = broken.since + SECOND if name == "emptied" else broken.since
    said = assert_nobody_calls_it_fresh(broken.one, broken.since_s, since, name)
    assert said.source["documents"] == 7
    assert said.source["held"] == (7 if name == "emptied" else 0)
