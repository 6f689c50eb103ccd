"""How a daemon begins, reloads and ends: by signal, by force, and in the way of another."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.halfway import GO_ON
from tests.daemon.instance import FILES, Instance, eventually, instance
from tests.kit import forked
from tests.scripted_server import Reply, ScriptedServer

MANY = 150
"""Documents of a first index: more than two batches."""

OTHER = '[[sources]]\nname = "other"\ntype = "files"\npath = "more"\nfreshness_target = "1m"\n'


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Instance]:
    with instance(tmp_path / "one") as made:
        yield made


def write_many(one: Instance, n_documents: int = MANY) -> None:
    for n in range(n_documents):
        words = " ".join(f"text{n}x{i}" for i in range(12))
        one.write(f"many{n:03}.md", f"# Document {n}\n\nThe many{n}word. {words}\n")


def start_halfway(one: Instance) -> None:
    """Have a first index that stands still in its middle, however slow the machine is, until it may go on."""
    write_many(one)
    one.module = "tests.daemon.halfway"
    one.start()


def is_in_the_middle(one: Instance) -> bool:
    return 0 < one.source()["documents"] < MANY


def go_on(one: Instance) -> None:
    (one.root / GO_ON).touch()


def has_no_process_left(one: Instance, children: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in children)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_daemon_asked_to_end_in_the_middle_of_a_first_index_ends_well_and_goes_on_next_time(
    one: Instance, number: signal.Signals
):
    start_halfway(one)
    eventually(lambda: is_in_the_middle(one))
    children, began_s = one.children(), time.monotonic()
    one.signal(number)
    go_on(one)
    assert one.ended() == 0
    assert time.monotonic() - began_s < 30
    assert children
    eventually(lambda: has_no_process_left(one, children))
    assert one.state.read_daemon() is None
    assert [event["event"] for event in one.events("daemon_stopped")] == ["daemon_stopped"]
    if number == signal.SIGINT:
        return
    one.start()
    kept = one.source()["documents"]
    assert kept > 0
    assert one.settled()["documents"] == MANY
    assert one.embedded() <= MANY - kept


def test_a_second_signal_leaves_at_once(one: Instance):
    """While the first one waits for a store that hangs; what was left undone is done by the next daemon."""
    one.write("a.md", "# A\n\nText.\n")
    one.start()
    one.settled()
    store = one.children()
    for pid in store:
        os.kill(pid, signal.SIGSTOP)
    one.write("b.md", "# B\n\nThe leftword.\n")
    eventually(lambda: one.source()["pending"])
    one.signal(signal.SIGTERM)
    eventually(lambda: one.get("/readyz").status_code == 503)
    assert one.process.poll() is None
    began_s = time.monotonic()
    one.signal(signal.SIGTERM)
    assert one.ended() == 130
    assert time.monotonic() - began_s < 30
    eventually(lambda: has_no_process_left(one, store))
    one.start()
    assert one.settled()["documents"] == 2
    assert one.places("leftword") == {"b.md"}
    assert one.command("verify").returncode == 0


def _state_of(one: Instance) -> str:
    return Path(f"/proc/{one.process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def dump(one: Instance) -> dict[str, object]:
    """Every point and its payload without times, read from the stopped instance's own store."""
    from freshd.compose import open_whole
    from freshd.config import Secrets, load
    from tests.kit.world import without_times

    points: dict[str, object] = {}
    with open_whole(load(one.root / "freshd.toml"), Secrets()) as whole:
        while page := whole.store.scroll(max(points, default=None), 500):
            points |= {point.chunk_id: without_times(point.payload) for point in page}
    return points


def test_a_daemon_killed_in_the_middle_converges_to_the_index_made_from_scratch(one: Instance, tmp_path: Path):
    start_halfway(one)
    eventually(lambda: is_in_the_middle(one))
    go_on(one)
    one.kill()
    one.start()
    eventually(lambda: one.source()["documents"])
    for n in range(10):
        one.write(f"many{n:03}.md", f"# Document {n}\n\nEdited while it was killed.\n")
    (one.docs / "many011.md").unlink()
    (one.docs / "many012.md").rename(one.docs / "renamed012.md")
    one.kill()
    one.start()
    assert one.settled()["documents"] == MANY - 1
    assert one.places("many12word") == {"renamed012.md"}
    assert not one.places("many11word")
    assert one.stop() == 0
    after_kills = dump(one)
    one.state.path.rename(tmp_path / "killed")
    one.state.path.mkdir(0o700)
    shutil.copy(tmp_path / "killed/vectors.db", one.state.vectors_path)  # the same vectors, without the wait for them
    one.start()
    one.settled()
    one.stop()
    assert after_kills == dump(one)


def test_a_daemon_killed_in_the_middle_of_an_edit_finishes_it_next_time(one: Instance):
    """Half a deletion is done: the new points are written, the old ones not yet removed."""
    path = one.write("a.md", "# A\n\nThe oldword.\n\n## B\n\nThe sameword.\n")
    one.start()
    one.settled()
    one.stop()
    path.write_text("# A\n\nThe newword.\n\n## B\n\nThe sameword.\n")
    one.launch(FRESHD_FAULTS="before_delete:kill")
    assert one.ended() == -signal.SIGKILL
    one.start()
    one.settled()
    assert one.places("newword") == one.places("sameword") == {"a.md"}
    assert not one.places("oldword")


def test_text_whose_deletion_hangs_half_way_is_found_no_more(one: Instance):
    """The daemon stops between the switch and the removal of the old points; what it said before stays so."""
    path = one.write("a.md", "# A\n\nThe oldword.\n")
    one.start(FRESHD_FAULTS="before_delete:stop@2")
    one.settled()
    path.write_text("# A\n\nThe newword.\n")
    eventually(lambda: _state_of(one) == "T")
    one.signal(signal.SIGCONT)
    for _ in range(20):
        assert not one.places("oldword")
    assert one.places("newword") == {"a.md"}
    one.settled()
    assert not one.places("oldword")


def test_a_changed_config_takes_effect(one: Instance):
    one.write("a.md", "# A\n\nThe firstword.\n")
    (one.root / "more").mkdir()
    (one.root / "more/b.md").write_text("# B\n\nThe secondword.\n")
    one.start()
    one.settled()
    address = one.record.address
    one.configure(FILES + OTHER)
    one.signal(signal.SIGHUP)
    eventually(lambda: len(one.sources()) == 2)
    one.settled("other")
    assert one.places("secondword") == {"b.md"}
    assert one.places("firstword") == {"a.md"}
    assert one.state.read_daemon().address == address
    one.write("c.md", "# C\n\nThe thirdword.\n")
    eventually(lambda: one.places("thirdword"))
    assert one.metric("freshd_config_last_reload_successful") == 1
    one.configure(FILES)
    one.signal(signal.SIGHUP)
    eventually(lambda: len(one.sources()) == 1)
    assert not one.places("secondword")
    assert one.stop() == 0


BAD_CONFIGS = {
    "no TOML": "nonsense = [",
    "unknown key": f"unknown = 1\n{FILES}",
    "other address": f'[http]\nlisten = "127.0.0.1:1"\n{FILES}',
    "other state": f'state_dir = "elsewhere"\n[http]\nlisten = "127.0.0.1:0"\n{FILES}',
    "no such model": f'[http]\nlisten = "127.0.0.1:0"\n[embedding]\nmodel = "no-such-model"\n{FILES}',
}


def test_a_bad_config_keeps_the_old_one_and_says_so(one: Instance):
    """One after the other, and then none at all; the last one is only found out when it is opened."""
    one.write("a.md", "# A\n\nThe firstword.\n")
    one.start()
    one.settled()
    for n, (name, config) in enumerate(BAD_CONFIGS.items(), start=1):
        (one.root / "freshd.toml").write_text(config)
        one.signal(signal.SIGHUP)
        eventually(lambda n=n: len(one.events("config_refused")) == n)
        assert one.events("config_refused")[-1]["error"], name
        eventually(lambda: one.get("/readyz").is_success)
        assert one.metric("freshd_config_last_reload_successful") == 0, name
        told = one.events("config_refused")[-1]["error"].split()
        assert one.get("/status").json()["config_error"].split() == told, name
        assert "the one before is kept" in one.get("/").text
        one.write(f"edit{n}.md", f"# Edit\n\nThe editword{n}.\n")
        eventually(lambda n=n: one.places(f"editword{n}"))
    (one.root / "freshd.toml").unlink()
    one.signal(signal.SIGHUP)
    eventually(lambda: len(one.events("config_refused")) == len(BAD_CONFIGS) + 1)
    one.configure(FILES)
    assert "config: refused, the one before is kept" in one.command("status").stdout
    one.signal(signal.SIGHUP)
    eventually(lambda: (told := one.get("/status")).is_success and told.json()["config_error"] is None)
    assert one.metric("freshd_config_last_reload_successful") == 1
    one.settled()
    assert one.places("firstword") == {"a.md"}


@pytest.fixture
def silent_server() -> Iterator[ScriptedServer]:
    """A server that takes connections and never answers."""
    with ScriptedServer() as server:
        server.on("/feed", Reply(delay_s=60))
        yield server


def feed(server: ScriptedServer) -> str:
    return (
        f'[[sources]]\nname = "news"\ntype = "feed"\nurl = "{server.url("/feed")}"\n'
        f'allow_private_hosts = ["{server.host}"]\nfreshness_target = "10s"\n'
    )


def test_a_source_that_hangs_does_not_end_the_daemon_when_the_config_is_read_again(
    one: Instance, silent_server: ScriptedServer
):
    one.configure(FILES + feed(silent_server))
    one.write("a.md", "# A\n\nThe firstword.\n")
    one.start()
    eventually(lambda: silent_server.asked("/feed"))
    one.settled()
    pid = one.process.pid
    one.configure(FILES + feed(silent_server).replace("10s", "20s"))
    one.signal(signal.SIGHUP)

    def has_reloaded() -> bool:
        assert one.process.poll() is None, "the daemon ended"
        return [source["freshness_target_seconds"] for source in one.sources()] == [60, 20]

    eventually(has_reloaded)
    assert one.status()["daemon"] == pid
    one.write("b.md", "# B\n\nThe secondword.\n")
    eventually(lambda: one.places("secondword"))
    began_s = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - began_s < 30


def test_a_daemon_can_be_asked_from_its_first_moment(one: Instance):
    """Probes, status and metrics answer while the model still loads; a search says that it is too early.

    In the middle of the first index a search finds what is there already, and says that nobody knows how fresh it is.
    """
    start_halfway(one)
    with one.http() as client:
        assert client.get("/healthz").status_code == 200
        answers = {client.get(path).status_code for path in ("/status", "/metrics", "/readyz", "/search?q=x")}
    assert answers <= {200, 503}
    eventually(lambda: is_in_the_middle(one))
    answer, source = one.get("/search", q="document", k=5), one.source()
    assert 0 < source["documents"] < MANY, "else it was asked too late"
    assert answer.status_code == 200
    found = answer.json()
    assert len(found["hits"]) == 5
    assert {found["watermark"], *(hit["watermark"] for hit in found["hits"]), source["watermark"]} == {None}
    go_on(one)
    one.settled()
    eventually(lambda: one.get("/readyz").status_code == 200)
    found = one.get("/search", q="document", k=5).json()
    assert found["watermark"] == found["hits"][0]["watermark"] == one.source()["watermark"] is not None


def test_what_only_a_daemon_can_do_waits_for_one_that_is_just_being_started(one: Instance):
    """As in a script: `freshd run & freshd wait --all`."""
    one.write("leave.md", "# Leave\n\nEverybody has 28 days.\n")
    waiting = forked.start("wait", "--all", "--timeout", "30s", folder=one.root)
    try:
        one.start()
        assert waiting.wait(30) == 0
        assert one.places("28 days")
    finally:
        waiting.kill()
        waiting.wait()
