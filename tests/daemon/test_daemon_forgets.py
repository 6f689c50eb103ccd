"""Forgetting and pruning as an operator does it: by command and by request, with a daemon and without one."""

import json
import os
import pty
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from freshd.shapes import ForgetReport, PruneReport
from tests.daemon.instance import FILES, Instance, eventually, instance
from tests.kit import forked

WIKI = '[[sources]]\nname = "wiki"\ntype = "files"\npath = "wiki"\nfreshness_target = "1m"\n'
SECRET = "people/quartermaine.md"
TEXT = "# Zebulon\n\nZebulon lives at Lavenderrow seven.\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with instance(tmp_path_factory.mktemp("forgets"), FILES + WIKI) as one:
        for n in range(3):
            one.write(f"page{n}.md", f"# Page {n}\n\nPage number{n}word.\n")
            (one.root / "wiki").mkdir(exist_ok=True)
            (one.root / f"wiki/entry{n}.md").write_text(f"# Entry {n}\n\nEntry number{n}wiki.\n")
        one.write(SECRET, TEXT)
        one.start()
        one.settled()
        one.settled("wiki")
        yield one


def raw(one: Instance, text: str) -> list[str]:
    """Name the files of ledger, cache and index that hold a text right now."""
    found = []
    for folder, _, names in os.walk(one.state.path):
        for path in (Path(folder, name) for name in names):
            with suppress(FileNotFoundError):  # deleted meanwhile
                found += [str(path.relative_to(one.state.path))] * (text.encode() in path.read_bytes())
    return found


def test_a_document_is_forgotten_while_everything_runs_and_is_back_once_that_is_undone(daemon: Instance):
    assert daemon.places("Lavenderrow") == {SECRET}
    for text in ("quartermaine", "Lavenderrow"):
        assert any(path.startswith("index/") for path in raw(daemon, text)), "else this test could not fail"
    done = daemon.command("forget", "--yes", "--json", f"handbook/{SECRET}")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report.keys() == ForgetReport.__annotations__.keys()
    assert raw(daemon, "quartermaine") == raw(daemon, "Lavenderrow") == []
    assert (report["documents"], report["points"], report["vectors"], report["unknown"]) == (1, 1, 1, [])

    daemon.write(SECRET, TEXT + "\nEdited, and still there.\n")
    daemon.write("page0.md", "# Page 0\n\nPage editedafterwards.\n")
    eventually(lambda: daemon.places("editedafterwards"))
    assert not daemon.places("Lavenderrow")
    assert not any("quartermaine" in json.dumps(answer) for answer in (daemon.status(), changes(daemon)))
    held = daemon.get("/deletions", source="handbook").json()
    assert held["documents"] == []
    waited = daemon.command("wait", f"handbook/{SECRET}")
    assert (waited.returncode, "forgotten" in waited.stdout) == (1, True)
    assert raw(daemon, "quartermaine") == []
    eventually(lambda: "documents_forgotten" in daemon.log_text())
    assert "quartermaine" not in daemon.log_text().rpartition("documents_forgotten")[2]

    undone = daemon.command("forget", "--undo", f"handbook/{SECRET}", f"handbook/{SECRET}x")
    assert undone.returncode == 0
    assert undone.stdout == f"handbook/{SECRET}: may come in again with the next scan\n"
    assert f"handbook/{SECRET}x: was not forgotten" in undone.stderr
    eventually(lambda: daemon.places("Lavenderrow") == {SECRET})


def changes(one: Instance) -> object:
    return one.get("/changes", after=0, limit=1000).json()


def test_a_request_that_makes_no_sense_is_refused(daemon: Instance):
    with daemon.http() as client:
        assert client.post("/forget", json={"documents": []}).status_code == 422
        assert client.post("/forget", json={"documents": ["handbook/"]}).status_code == 422
        assert client.post("/forget", json={"documents": ["a"]}, headers={"authorization": ""}).status_code == 401
        assert client.post("/prune", json={"source": "x"}, headers={"authorization": ""}).status_code == 401
        job = client.post("/forget?wait=50", json={"documents": ["nowhere"]}).json()
    assert (job["state"], job["exit_code"]) == ("failed", 2)
    assert "expected one of: handbook, wiki" in job["error"]


def test_without_a_terminal_nobody_is_asked_and_nothing_forgotten(daemon: Instance):
    done = daemon.command("forget", "handbook/page1.md")
    assert (done.returncode, done.stdout) == (2, "")
    assert "try:   freshd forget --yes handbook/page1.md" in done.stderr
    assert daemon.places("number1word")


@pytest.mark.parametrize("answer", ["n", "y"])
def test_at_a_terminal_a_person_is_asked(daemon: Instance, answer: str):
    daemon.write(f"asked-{answer}.md", f"# Asked\n\nAsked at terminal{answer}.\n")
    eventually(lambda: daemon.places(f"terminal{answer}"))
    code, said = at_terminal(daemon.root, answer, "forget", f"handbook/asked-{answer}.md")
    assert f"handbook/asked-{answer}.md" in said
    assert code == (0 if answer == "y" else 1)
    assert bool(daemon.places(f"terminal{answer}")) == (answer == "n")


def at_terminal(root: Path, answer: str, *arguments: str) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    process = forked.start(*arguments, folder=root, into=theirs, out=theirs, err=theirs)
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    said = b""
    try:
        while piece := os.read(ours, 4096):
            said += piece
    except OSError:  # the other end is closed
        pass
    code = process.wait(30)
    os.close(ours)
    return code, said.decode()


def test_a_source_that_leaves_the_config_is_out_of_search_and_told_until_it_is_pruned(daemon: Instance):
    assert daemon.hits("number1wiki", source="wiki")
    assert daemon.command("prune", "wiki").returncode == 2
    daemon.configure(FILES)
    daemon.signal(signal.SIGHUP)
    eventually(lambda: [source["name"] for source in daemon.sources()] == ["handbook"])
    daemon.settled()
    assert {hit["source"] for hit in daemon.hits("number1wiki")} == {"handbook"}
    (removed,) = daemon.status()["removed"]
    assert (removed["name"], removed["documents"], removed["chunks"]) == ("wiki", 3, 3)
    assert removed["removed_at"] < removed["pruned_at"]
    assert "wiki left the config: out of search, 3 documents kept" in daemon.command("status").stdout
    assert "left the config" in daemon.get("/").text

    done = daemon.command("prune", "wiki", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).keys() == PruneReport.__annotations__.keys()
    assert json.loads(done.stdout) == {"source": "wiki", "documents": 3, "points": 3}
    assert daemon.status()["removed"] == []

    daemon.configure(FILES + WIKI)
    daemon.signal(signal.SIGHUP)
    eventually(lambda: len(daemon.sources()) == 2)
    daemon.settled("wiki")
    assert daemon.hits("number1wiki", source="wiki")
    assert daemon.source("wiki")["documents"] == 3


def test_the_same_commands_work_without_a_daemon(daemon: Instance):
    assert daemon.stop() == 0
    done = daemon.command("forget", "--yes", "handbook/page2.md", "handbook/never.md", "handbook/never/")
    assert (done.returncode, done.stdout) == (0, "1 document forgotten: 1 point, 1 cached vector\n")
    assert "handbook/never.md: nothing was known of it; it stays out from now on" in done.stderr
    assert "handbook/never/: nothing was known below it; what comes to lie there does not stay out" in done.stderr
    assert raw(daemon, "page2.md") == []
    daemon.configure(FILES)
    pruned = daemon.command("prune", "wiki")
    assert (pruned.returncode, pruned.stdout) == (0, "wiki: 3 documents, 3 points removed\n")
    assert daemon.command("reindex").returncode == 0
    found = json.loads(daemon.command("search", "number2word", "--json").stdout)["hits"]
    assert {hit["document_id"] for hit in found} & {"page2.md", "entry2.md"} == set()
    assert daemon.command("verify").returncode == 0


def test_what_a_killed_process_left_in_the_files_is_gone_after_the_next_start(daemon: Instance):
    assert daemon.stop() == 0
    daemon.write("doomed.md", "# Doomed\n\nZebulon moved to Nightingale Steps.\n")
    assert daemon.command("reindex").returncode == 0
    killed = {"FRESHD_FAULTS": "before_expunge:kill@4"}
    done = forked.run("forget", "--yes", "handbook/doomed.md", folder=daemon.root, environment=killed)
    assert done.returncode == -signal.SIGKILL
    assert raw(daemon, "Nightingale")
    daemon.start()
    eventually(lambda: daemon.events("forgotten_expunged"))
    assert raw(daemon, "Nightingale") == raw(daemon, "doomed.md") == []


def test_any_number_of_documents_is_forgotten_by_one_command(daemon: Instance):
    """The daemon takes a thousand in one order, and 64 KiB."""
    daemon.write("last.md", "# Last\n\nThe lastofmany.\n")
    eventually(lambda: daemon.places("lastofmany"))
    names = [f"handbook/nobody-{'x' * 40}-{n}.md" for n in range(1_100)]
    done = daemon.command("forget", "--yes", "--json", *names, "handbook/last.md")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["documents"], report["unknown"]) == (1, names)
    assert not daemon.places("lastofmany")
    undone = daemon.command("forget", "--undo", "--json", *names, "handbook/last.md")
    assert json.loads(undone.stdout)["readmitted"] == [*names, "handbook/last.md"]


def test_a_command_that_names_very_many_and_one_that_is_refused_says_how_many_are_forgotten(daemon: Instance):
    """They go in several orders; of a single one nothing would have been done."""
    daemon.write("first.md", "# First\n\nThe firstofmany.\n")
    daemon.write("folder/inside.md", "# Inside\n\nThe insider.\n")
    eventually(lambda: daemon.places("firstofmany") and daemon.places("insider"))
    names = [f"handbook/nobody-{n}.md" for n in range(1_100)]
    done = daemon.command("forget", "--yes", "handbook/first.md", *names, "handbook/folder")
    assert (done.returncode, daemon.places("firstofmany")) == (2, set())
    assert "1 of them lie below it; the first 1,000 that were named are done\n" in done.stderr
    assert daemon.places("insider")


def test_of_very_many_documents_all_are_out_of_search_although_forgetting_the_first_of_them_failed(daemon: Instance):
    """As where the store is down: what was named later would be found until somebody named it again."""
    assert daemon.stop() == 0
    daemon.write("last.md", "# Last\n\nThe verylast.\n")
    daemon.start(FRESHD_FAULTS="after_forget_intent:raise")
    eventually(lambda: daemon.places("verylast"))
    names = [f"handbook/nothing-{n}.md" for n in range(1_100)]
    done = daemon.command("forget", "--yes", *names, "handbook/last.md")
    assert (done.returncode, daemon.places("verylast")) == (1, set())
    assert "injected by a fail point" in done.stderr
