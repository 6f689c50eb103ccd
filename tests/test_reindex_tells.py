"""`freshd reindex` tells what it could not do, every time anew, and claims nothing that it did not see."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from freshd.compose import Whole, open_whole
from freshd.config import Secrets, load
from freshd.errors import StoreUnavailable
from freshd.model import SourceName
from tests.daemon.instance import eventually
from tests.kit import forked
from tests.scripted_server import Reply, ScriptedServer
from tests.torture.program import state_of

ROOT = Path(__file__).parent.parent
CONFIG = '[[sources]]\nname = "docs"\ntype = "files"\npath = "docs"\nmax_file_bytes = 5000\n'
BINARY = b"\0\1\2" * 500
N_PAGES = 4


class World:
    """A folder with documents and a config, and commands run there by a user whom modes bind, root or not."""

    def __init__(self, root: Path) -> None:
        self.root, self.docs = root, root / "docs"
        self.bound: list[str] = []
        self.configure(CONFIG)
        for n in range(N_PAGES):
            self.write(f"page{n}.md", f"# Page {n}\n\nText of page {n}.\n")

    def configure(self, text: str) -> None:
        (self.root / "freshd.toml").write_text(text)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        if not self.bound:
            return forked.run(*arguments, folder=self.root, environment=environment)
        return subprocess.run(
            [*self.bound, sys.executable, "-m", "freshd", *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @contextmanager
    def mode(self, path: Path, bits: int) -> Iterator[None]:
        """Give a path a mode, and have it bind whatever is run meanwhile."""
        before, self.bound = path.stat().st_mode, bound_by_modes()
        path.chmod(bits)
        try:
            yield
        finally:
            path.chmod(before)
            self.bound = []

    def reindex(self, *options: str) -> tuple[int, dict[str, Any]]:
        """Run it once; give the exit code and what it says of the source."""
        done = self.run("reindex", "--json", *options)
        (source,) = json.loads(done.stdout)["sources"]
        return done.returncode, {**source, "documents": {k: n for k, n in source["documents"].items() if n}}


def bound_by_modes() -> list[str]:
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("running as root, which no mode binds")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# What cannot be read


def test_an_unreadable_folder_is_an_error_for_as_long_as_it_is_unreadable(world: World):
    """Nothing is known of what lies in it, so nothing of it is called unchanged."""
    world.write("sub/one.md", "# One\n\nText of one.\n")
    world.run("reindex")
    with world.mode(world.docs / "sub", 0o000):
        for options in ((), (), ("--dry-run",)):
            code, source = world.reindex(*options)
            assert code == 3
            assert source["documents"].keys() <= {"unchanged", "touched"}
            assert sum(source["documents"].values()) == N_PAGES
            assert [error["error"] for error in source["errors"]] == ["docs/sub: cannot be read"]
            assert "permission" in source["errors"][0]["try"]
        assert "sub: cannot be read" in world.run("status").stdout
    code, source = world.reindex()
    assert (code, source["errors"]) == (0, [])
    assert sum(source["documents"].values()) == N_PAGES + 1
    assert "cannot be read" not in world.run("status").stdout


def test_a_document_that_fails_counts_as_failed_for_as_long_as_it_does(world: World):
    world.write("binary.md", BINARY)
    world.write("large.md", "x" * 6000)
    for n, options in enumerate(((), (), ("--dry-run",), ("--full",))):
        code, source = world.reindex(*options)
        assert (code, source["documents"]["failed"]) == (3, 2)
        assert sum(source["documents"].values()) == N_PAGES + 2, n
        assert sorted(error["error"].partition(":")[0] for error in source["errors"]) == [
            "docs/binary.md",
            "docs/large.md",
        ]


def test_a_document_in_the_index_that_fails_now_is_not_called_unchanged(world: World):
    world.run("reindex")
    world.write("page0.md", BINARY)
    for _ in range(2):
        code, source = world.reindex()
        assert code == 3
        assert source["documents"]["failed"] == 1
        assert sum(source["documents"].values()) == N_PAGES


def test_what_failed_is_tried_again_when_somebody_asks(world: World):
    """Its next try may be an hour away; who raised the limit asks now."""
    world.write("large.md", "# Large\n\n" + "Text. " * 1000)
    assert world.reindex()[0] == 3
    world.configure(CONFIG.replace("5000", "50000"))
    code, source = world.reindex()
    assert (code, source["documents"]["added"], source["errors"]) == (0, 1, [])


def test_an_unreachable_source_is_told_once_and_nothing_is_claimed_of_it(world: World):
    """Though documents of it are pending, each of which fails for the same reason."""
    world.write("binary.md", BINARY)
    world.run("reindex", FRESHD_FAULTS="before_intent:kill")
    with world.mode(world.docs, 0o000):
        done = world.run("reindex")
        (source,) = json.loads(world.run("reindex", "--json").stdout)["sources"]
    assert done.returncode == 1
    assert done.stderr.count("'no search permission'") == done.stderr.count("error: docs: ") == 1
    assert "try:   give freshd's user read and search permission on it" in done.stderr.splitlines()
    assert "could not be looked at" in done.stdout
    assert "nothing changed" not in done.stdout
    assert source["documents"]["unchanged"] == 0


def test_errors_stand_on_one_line_each_and_only_so_many_of_them(world: World):
    name = f"{'long-name-' * 12}.md"
    world.write(name, BINARY)
    for n in range(29):
        world.write(f"binary{n}.md", BINARY)
    done = world.run("reindex")
    told = done.stderr.splitlines()
    assert sum(line.startswith("error: docs/") for line in told) == 20
    assert told[-1] == "… and 10 more: freshd status"
    assert all(line.count(".md") == 1 for line in told[:-1] if line.startswith("error: "))
    assert done.returncode == 3
    for n in range(29):
        (world.docs / f"binary{n}.md").unlink()
    line, hint = world.run("reindex").stderr.splitlines()
    assert line.startswith(f"error: docs/{name}: got binary data")
    assert hint.startswith("try:   ")


def feed(n_items: int) -> bytes:
    items = "".join(f"<item><guid>{n}</guid><description>Text {n}.</description></item>" for n in range(n_items))
    return f'<rss version="2.0"><channel><title>News</title>{items}</channel></rss>'.encode()


def test_a_feed_that_breaks_off_is_an_error_until_a_whole_one_comes(world: World):
    rss = {"Content-Type": "application/rss+xml"}
    with ScriptedServer() as server:
        host = f"127.0.0.1:{server.port}"
        world.configure(
            f'[[sources]]\nname = "news"\ntype = "feed"\nurl = "http://{host}/feed"\nallow_private_hosts = ["{host}"]\n'
        )
        server.on("/feed", Reply(200, feed(5)[:-40], rss))
        for _ in range(2):
            code, source = world.reindex()
            (error,) = source["errors"]
            assert code == 3
            assert "got " in error["error"]
            assert error["error"].endswith("expected them to end with </rss>")
            assert error["try"]
        assert "expected them to end with </rss>" in world.run("status").stdout
        server.on("/feed", Reply(200, feed(5), rss))
        code, source = world.reindex()
        assert (code, source["documents"], source["errors"]) == (0, {"added": 1, "unchanged": 4}, [])
        (said,) = json.loads(world.run("status", "--json").stdout)["sources"]
        assert said["last_error"] is None


# What is counted


def test_reading_everything_again_leaves_every_document_unchanged(world: World):
    world.run("reindex")
    code, source = world.reindex("--full")
    assert (code, source["documents"]) == (0, {"unchanged": N_PAGES})
    assert source["chunks"]["kept"] == N_PAGES


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_run_says_so_and_the_next_goes_on_where_it_ended(
    world: World, number: signal.Signals, code: int
):
    for n in range(N_PAGES, 100):
        world.write(f"page{n}.md", f"# Page {n}\n\nText of page {n}.\n")
    with open(world.root / "said", "wb+") as out, open(world.root / "talk", "wb+") as err:
        armed, streams = {"FRESHD_FAULTS": "before_intent:stop@2"}, {"out": out.fileno(), "err": err.fileno()}
        process = forked.start("reindex", folder=world.root, environment=armed, **streams)
        eventually(lambda: state_of(process.pid) == "T", 60)
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        assert (process.wait(60), forked.text_of(out)) == (code, "")
        assert forked.text_of(err).splitlines()[-1] == "interrupted; run it again to go on"
    code, source = world.reindex()
    fates = Counter(source["documents"])
    assert (code, fates.pop("added"), fates.total()) == (0, 36, 64)
    assert fates.keys() <= {"touched", "unchanged"}  # by how young they are


# What may not be written


def test_nothing_is_written_where_less_disk_is_free_than_is_reserved(world: World):
    world.configure('[disk]\nreserve_bytes = "900TiB"\n' + CONFIG)
    done = world.run("reindex")
    error, hint = done.stderr.splitlines()
    assert done.returncode == 1
    assert "MiB free, expected at least the reserve of" in error
    assert hint.startswith("try:   free some disk space")
    assert {path.name for path in (world.root / ".freshd").iterdir()} == {"lock"}
    assert world.run("reindex", "--dry-run").returncode == 0


def test_a_disk_that_fills_up_in_the_middle_ends_the_run_before_its_next_batch(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    for n in range(N_PAGES, 100):
        world.write(f"page{n}.md", f"# Page {n}\n\nText of page {n}.\n")
    shortages = iter([None, StoreUnavailable("full")])

    def documents(whole: Whole) -> int:
        return whole.sources.state(SourceName("docs")).documents

    with open_whole(load(world.root / "freshd.toml"), Secrets()) as whole:
        monkeypatch.setattr("freshd.compose.whole.disk_shortage", lambda _: next(shortages))
        with pytest.raises(StoreUnavailable, match="full"):
            whole.reindexer().run()
        assert documents(whole) == 64


@pytest.mark.parametrize(("name", "bits"), [("ledger.db", 0o444), ("ledger.db", 0o000), ("", 0o555)])
def test_state_that_may_not_be_written_is_called_a_matter_of_permission(world: World, name: str, bits: int):
    world.run("reindex")
    with world.mode(world.root / ".freshd" / name, bits):
        done = world.run("reindex")
    assert done.returncode == 12
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert "writ" in error
    assert "backup" not in hint
    assert "writable" in hint or "chmod" in hint
    for path in (world.root / ".freshd").glob("ledger.db*"):  # SQLite gives its log the mode of the file
        path.chmod(0o600)
    assert world.run("reindex").returncode == 0
