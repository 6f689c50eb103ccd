"""A running daemon as its users see it: edits are found in seconds, and commands ask it."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from freshd import shapes
from freshd.scheduler.hints import QUIET_S
from tests.daemon.instance import FILES, Instance, eventually, freshd, instance

N_PAGES = 30


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with instance(tmp_path_factory.mktemp("serves")) as one:
        for n in range(N_PAGES):
            one.write(f"page{n:02}.md", f"# Page {n}\n\nPage number{n}word of the handbook.\n")
        one.start()
        one.settled()
        yield one


def keys_of(shape: Any) -> set[str]:
    return set(get_type_hints(shape))


# Edits


def test_an_edit_is_found_within_seconds_with_its_citation(daemon: Instance):
    path = daemon.write("leave.md", "# Leave\n\nEverybody has 28 days.\n\n## Parents\n\nParents have sixteen weeks.\n")
    eventually(lambda: daemon.places("sixteen weeks"))
    soon = timedelta(seconds=20)
    eventually(lambda: datetime.fromisoformat(daemon.source()["next_scan_at"]) > datetime.now(UTC) + soon)
    scanned_at = daemon.source()["last_complete_scan_at"]
    path.write_text(path.read_text().replace("sixteen", "eighteen"))
    (hit,) = eventually(lambda: [hit for hit in daemon.hits("eighteen weeks") if "eighteen weeks" in hit["text"]])
    assert daemon.source()["last_complete_scan_at"] == scanned_at, "not before everything was looked at"
    assert hit["source"] == "handbook"
    assert hit["document_id"] == "leave.md"
    assert hit["uri"] == path.as_uri()
    assert hit["heading_path"] == ["Leave", "Parents"]
    assert (hit["start_line"], hit["end_line"]) == (7, 7)
    assert not daemon.places("sixteen weeks")


def test_a_new_document_is_found_and_a_deleted_one_is_not(daemon: Instance):
    daemon.write("deep/er/new.md", "# New\n\nA brandnew page.\n")
    eventually(lambda: daemon.places("brandnew") == {"deep/er/new.md"})
    shutil.rmtree(daemon.docs / "deep")
    eventually(lambda: not daemon.places("brandnew"))


def test_a_renamed_document_is_found_only_under_its_new_name_and_embedded_no_more(daemon: Instance):
    before = daemon.embedded()
    (daemon.docs / "page01.md").rename(daemon.docs / "moved01.md")
    eventually(lambda: daemon.places("number1word") == {"moved01.md"})
    assert daemon.embedded() == before
    # Told once it is durable, a moment after it is found.
    eventually(lambda: daemon.events("document_indexed")[-1]["document_id"] == "moved01.md")
    assert daemon.events("document_indexed")[-1]["change"] == "moved"


def test_a_renamed_folder_takes_its_documents_along(daemon: Instance):
    for n in range(25):
        daemon.write(f"old/{n:02}.md", f"# Old {n}\n\nFolder text folder{n}word.\n")
    eventually(lambda: daemon.places("folder24word"))
    daemon.settled()
    before = daemon.embedded()
    (daemon.docs / "old").rename(daemon.docs / "young")
    eventually(lambda: all(daemon.places(f"folder{n}word") == {f"young/{n:02}.md"} for n in (0, 12, 24)))
    daemon.settled()
    assert daemon.embedded() == before
    assert daemon.source()["held"] == 0


def test_a_copy_is_found_beside_its_original_and_outlives_it(daemon: Instance):
    before = daemon.embedded()
    shutil.copy(daemon.docs / "page02.md", daemon.docs / "copy02.md")
    eventually(lambda: daemon.places("number2word") == {"page02.md", "copy02.md"})
    assert daemon.embedded() == before
    (daemon.docs / "page02.md").unlink()
    eventually(lambda: daemon.places("number2word") == {"copy02.md"})


def look_at_everything(daemon: Instance) -> None:
    """Nothing of what was done before is to come after it."""
    with daemon.http() as client:
        job = client.post("/reindex?wait=50", json={}).raise_for_status().json()
    assert job["state"] == "done", job
    daemon.settled()


def changes_after(daemon: Instance, seq: int) -> list[tuple[str, str]]:
    look_at_everything(daemon)
    answer = daemon.get("/changes", after=seq, limit=1000).raise_for_status().json()
    assert answer["is_gapless"]
    return [(change["kind"], change["document_id"]) for change in answer["changes"]]


@pytest.mark.parametrize("draft", [".page03.md.swp", "page03.md~"])
def test_an_editor_that_saves_through_another_file_makes_one_edit(daemon: Instance, draft: str):
    """A draft that is there for long before it takes the page's place is no document either."""
    look_at_everything(daemon)
    before = daemon.get("/changes").json()["last_seq"]
    path = daemon.docs / draft
    path.write_text(f"# Page 3\n\nSaved number3word through a draft like {draft}.\n")
    assert changes_after(daemon, before) == []
    path.rename(daemon.docs / "page03.md")
    eventually(lambda: daemon.places(f"like {draft}") == {"page03.md"})
    assert daemon.places("number3word") == {"page03.md"}
    assert changes_after(daemon, before) == [("modified", "page03.md")]


def test_a_file_that_is_written_slowly_ends_with_its_final_content(daemon: Instance):
    """While somebody writes it is left alone: half a sentence is no answer."""
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\n"
            "at, longest = time.monotonic(), 0.0\n"
            "with open(sys.argv[1], 'w') as file:\n"
            "    for n in range(20):\n"
            "        file.write(f'# Part {n}\\n\\nSlowly written part{n}word.\\n\\n'); file.flush(); time.sleep(0.1)\n"
            "        at, longest = time.monotonic(), max(longest, time.monotonic() - at)\n"
            "print(longest)\n",
            str(daemon.docs / "slow.md"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    seen_early, longest_pause_s = False, 0.0
    while writer.poll() is None:
        asked_s = time.monotonic()
        seen_early |= bool(daemon.places("Slowly written"))
        longest_pause_s = max(longest_pause_s, time.monotonic() - asked_s)
        time.sleep(0.1)
    longest_pause_s = max(longest_pause_s, float(writer.communicate()[0]))
    assert not seen_early or longest_pause_s > QUIET_S / 2, "whatever stands still pauses"
    eventually(lambda: daemon.places("part19word") == {"slow.md"})
    eventually(lambda: daemon.places("part0word") == {"slow.md"})


def test_a_name_that_is_no_text_is_shown_in_text_and_found(daemon: Instance):
    name = os.fsencode(daemon.docs) + b"/caf\xff\xfe %\n.md"
    with open(name, "wb") as file:
        file.write(b"# Odd\n\nThe oddlynamed page.\n")
    found = eventually(lambda: daemon.places("oddlynamed"))
    (document_id,) = found
    assert document_id.isprintable()
    assert "%FF%FE" in document_id.upper()
    os.unlink(name)
    eventually(lambda: not daemon.places("oddlynamed"))


def test_a_file_that_is_no_text_is_quarantined_with_a_reason_and_its_neighbours_go_on(daemon: Instance):
    (daemon.docs / "noise.md").write_bytes(os.urandom(4_000))
    daemon.write("beside.md", "# Beside\n\nBeside the noiseword.\n")
    eventually(lambda: daemon.places("noiseword"))
    eventually(lambda: daemon.source()["quarantined"] == 1)
    failed = eventually(lambda: daemon.events("document_failed"))
    assert failed[-1]["document_id"] == "noise.md"
    assert failed[-1]["error"]
    (daemon.docs / "noise.md").unlink()
    eventually(lambda: daemon.source()["quarantined"] == 0)


def test_a_file_that_is_too_large_is_refused_with_a_reason_and_its_neighbours_go_on(daemon: Instance):
    with open(daemon.docs / "huge.md", "wb") as file:
        file.truncate(300 * 1024 * 1024)
    daemon.write("small.md", "# Small\n\nBeside the hugeword.\n")
    eventually(lambda: daemon.places("hugeword"))
    failed = eventually(lambda: [e for e in daemon.events("document_failed") if e["document_id"] == "huge.md"])
    assert "bytes" in failed[0]["error"] or "MiB" in failed[0]["error"]
    rss_kib = int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]) * 4
    assert rss_kib < 1_500_000
    (daemon.docs / "huge.md").unlink()
    eventually(lambda: daemon.source()["quarantined"] == 0)


@contextmanager
def asked_without_pause(daemon: Instance, query: str) -> Iterator[list[list[tuple[str, str]]]]:
    """Search again and again in a thread; give, as it grows, document and text of what held the query each time."""
    answers: list[list[tuple[str, str]]] = []
    is_over = threading.Event()

    def ask() -> None:
        with daemon.http() as client:
            while not is_over.is_set():
                hits = client.get("/search", params={"q": query, "k": 5}).json()["hits"]
                answers.append([(hit["document_id"], hit["text"]) for hit in hits if query in hit["text"]])

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield answers
    finally:
        is_over.set()
        asker.join()


def test_an_answer_never_holds_the_old_text_after_the_new_and_never_misses_both(daemon: Instance):
    """Asked without pause while one document is edited; half a deletion lies in each edit."""
    path = daemon.write("cycle.md", "# Cycle\n\nThe cycleword is version 0.\n")
    eventually(lambda: daemon.places("version 0") == {"cycle.md"})
    with asked_without_pause(daemon, "The cycleword is version") as answers:
        for version in range(1, 15):
            text = f"The cycleword is version {version}."
            path.write_text(f"# Cycle\n\n{text}\n")
            eventually(lambda text=text: answers[-1:] == [[("cycle.md", text)]])
    assert all(len(answer) == 1 for answer in answers), "torn or missing"
    versions = [int(text.rsplit(" ", 1)[1].rstrip(".")) for ((_, text),) in answers]
    assert versions == sorted(versions)


def test_a_renamed_document_is_never_missing_under_both_its_names(daemon: Instance):
    """Nor found under both, even where the two halves of a rename reach us one by one."""
    names = ("here.md", "there.md")
    daemon.write(names[0], "# Wanderer\n\nThe wanderword.\n")
    eventually(lambda: daemon.places("wanderword"))
    with asked_without_pause(daemon, "The wanderword") as answers:
        for n in range(8):
            (daemon.docs / names[n % 2]).rename(daemon.docs / names[(n + 1) % 2])
            eventually(lambda n=n: [name for name, _ in (answers[-1:] or [[]])[0]] == [names[(n + 1) % 2]])
    assert {len(answer) for answer in answers} == {1}, f"{list(map(len, answers))}\n{daemon.log_text()[-4_000:]}"


def test_text_that_is_applied_as_deleted_never_comes_back(daemon: Instance):
    for n in range(5):
        daemon.write(f"gone{n}.md", f"# Gone\n\nThe goneword of {n}.\n")
    eventually(lambda: len(daemon.places("goneword")) == 5)
    documents = daemon.settled()["documents"]
    for n in range(5):
        (daemon.docs / f"gone{n}.md").unlink()
        eventually(lambda wanted=documents - n - 1: daemon.source()["documents"] == wanted)
        assert daemon.places("goneword") == {f"gone{m}.md" for m in range(n + 1, 5)}


# Commands


def test_search_through_the_daemon_prints_the_contract(daemon: Instance):
    done = daemon.command("search", "number7word", "-k", "3", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert set(answer) == keys_of(shapes.SearchAnswer)
    assert len(answer["hits"]) == 3
    assert {frozenset(hit) for hit in answer["hits"]} == {frozenset(keys_of(shapes.SearchHit))}
    assert answer["hits"][0]["document_id"] == "page07.md"
    assert datetime.fromisoformat(answer["watermark"]).utcoffset() is not None


def test_status_through_the_daemon_prints_the_contract(daemon: Instance):
    done = daemon.command("status", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert set(report) == keys_of(shapes.StatusReport)
    assert report["daemon"] == daemon.process.pid
    assert report["store"] == {"kind": "embedded", "collection": "knowledge", "error": None}
    (source,) = report["sources"]
    assert set(source) == keys_of(shapes.SourceStatus)
    assert set(source["lag_seconds"]) == keys_of(shapes.Percentiles)
    assert source["watch"] == "watching"
    assert source["freshness_target_seconds"] == 60
    assert source["scan_interval_seconds"] == 30


def test_reindex_twice_embeds_nothing_and_says_so(daemon: Instance):
    daemon.settled()
    daemon.command("reindex")
    done = daemon.command("reindex", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert set(report) == keys_of(shapes.ReindexReport)
    (source,) = report["sources"]
    assert set(source) == keys_of(shapes.SourceReindexed)
    assert set(source["documents"]) == keys_of(shapes.DocumentCounts)
    assert source["chunks"] == dict.fromkeys(keys_of(shapes.ChunkCounts), 0)
    assert source["documents"]["unchanged"] == daemon.source()["documents"]
    assert "nothing changed: 0 chunks embedded" in daemon.command("reindex").stdout


def test_reindex_full_reads_everything_again_and_embeds_nothing(daemon: Instance):
    daemon.settled()
    before = daemon.embedded()
    (source,) = json.loads(daemon.command("reindex", "--full", "--json").stdout)["sources"]
    assert source["chunks"]["embedded"] == 0
    assert source["documents"]["unchanged"] == daemon.source()["documents"]
    assert daemon.embedded() == before


def test_reindex_counts_every_document_however_late_the_writer_tells_what_became_of_it(tmp_path: Path):
    with instance(tmp_path) as one:
        one.module = "tests.daemon.late"
        for n in range(40):
            one.write(f"page{n:02}.md", f"# Page {n}\n\nPage number{n}word of the handbook.\n")
        one.start()
        one.settled()
        (source,) = json.loads(one.command("reindex", "--full", "--json").stdout)["sources"]
        assert (source["documents"]["unchanged"], source["chunks"]["kept"]) == (40, one.source()["chunks"])


def test_wait_returns_once_an_edit_is_searchable(daemon: Instance):
    daemon.write("page05.md", "# Page 5\n\nWaited for number5word here.\n")
    done = daemon.command("wait", "handbook/page05.md", "--json", "--timeout", "30s")
    assert daemon.hits("Waited for")[0]["document_id"] == "page05.md"
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report) == keys_of(shapes.WaitReport)
    (document,) = report["documents"]
    assert set(document) == keys_of(shapes.DocumentWaited)
    assert (report["is_done"], document["state"]) == (True, "searchable")


def test_wait_for_a_deletion_returns_once_it_is_found_no_more(daemon: Instance):
    daemon.write("leaving.md", "# Leaving\n\nThe leavingword.\n")
    eventually(lambda: daemon.places("leavingword"))
    (daemon.docs / "leaving.md").unlink()
    (document,) = json.loads(daemon.command("wait", "handbook/leaving.md", "--json").stdout)["documents"]
    assert document["state"] == "absent"
    assert not daemon.places("leavingword")


def test_wait_for_everything_covers_every_edit_made_before_it(daemon: Instance):
    for n in range(10):
        daemon.write(f"all{n}.md", f"# All\n\nEvery allword {n}.\n")
    done = daemon.command("wait", "--all", "--timeout", "30s", "--json")
    assert json.loads(done.stdout) == {"is_done": True, "documents": []}
    assert len(daemon.places("allword")) == 10


def test_wait_for_an_unreadable_document_fails_with_its_reason(daemon: Instance):
    (daemon.docs / "bad.md").write_bytes(b"\0\1\2" * 500)
    done = daemon.command("wait", "handbook/bad.md", "--timeout", "20s")
    assert done.returncode == 1
    assert "bad.md: failed" in done.stdout
    assert done.stderr.startswith("error: ")
    (daemon.docs / "bad.md").unlink()
    eventually(lambda: daemon.source()["quarantined"] == 0)


def test_the_changes_of_a_canary_do_not_count_once_it_is_taken_out_of_the_config_either(tmp_path: Path):
    """Three every five minutes would hide all others for as long as the objective looks back."""
    with instance(tmp_path, f'{FILES}canary_path = "canary.md"\n') as one:
        one.write("page.md", "# Page\n\nOf somebody.\n")
        one.start()
        eventually(lambda: (one.source()["canary"] or {}).get("gone_seconds"))
        assert one.stop() == 0
        one.configure(FILES)
        one.start()
        settled, newest = one.settled(), one.get("/").text
    assert (settled["changes"]["total"], settled["lag_seconds"]["p50"]) == (0, None)
    assert "page.md" in newest
    assert "canary.md" not in newest


def test_wait_for_everything_that_runs_out_says_so_beside_what_cannot_be_read(tmp_path: Path):
    """It was not the unreadable document that it waited for in vain."""
    with instance(tmp_path, FILES + '[[sources]]\nname = "gone"\ntype = "files"\npath = "gone"\n') as one:
        (one.docs / "bad.md").write_bytes(b"\0\1\2" * 500)
        one.start()
        one.settled()
        done = one.command("wait", "--all", "--timeout", "2s")
    assert done.returncode == 1
    assert "bad.md: failed" in done.stderr
    assert "not searchable within 2s" in done.stderr
    assert "freshd status" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["search", "x", "-k", "0"], "k: got 0, expected 1 … 100"),
        (["search", "x", "-k", "101", "--json"], "k: got 101, expected 1 … 100"),
        (["search", "x", "--source", "nobody"], "nobody"),
        (["search", ""], "expected something to look for"),
        (["search", " \t"], "expected something to look for"),
        (["search", b"no text \xff", "--json"], "expected UTF-8 text"),
        (["search", "x", "--path", b"\xff/"], "expected UTF-8 text"),
        (["search", "x", "--source", b"\xff"], "expected UTF-8 text"),
        (["reindex", "nobody"], "nobody"),
        (["reindex", b"\xff"], "expected UTF-8 text"),
        (["deletions", "list", b"\xff"], "expected UTF-8 text"),
        (["deletions", "approve", "nobody"], "nobody"),
        (["wait", "nobody/a.md"], "nobody"),
        (["wait", b"handbook/\xff.md"], "expected UTF-8 text"),
        (["wait", "handbook"], "SOURCE/ID"),
        (["wait", "/a.md"], "SOURCE/ID"),
        (["wait"], "--all"),
        (["wait", "--all", "--timeout", "soon"], "soon"),
    ],
)
def test_what_makes_no_sense_is_refused_in_the_same_words_with_and_without_a_daemon(
    daemon: Instance, tmp_path: Path, arguments: list[str | bytes], says: str
):
    """Before anything is opened: a slip on the command line leaves no state directory behind."""
    alone = Instance(tmp_path)
    done = alone.command(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert says in done.stderr.splitlines()[0]
    assert not alone.state.ledger_path.parent.exists()
    asked = daemon.command(*arguments)
    assert (asked.returncode, asked.stdout, asked.stderr) == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("command", ["search", "reindex", "status", "wait"])
def test_other_directories_find_the_daemon_by_the_config(daemon: Instance, tmp_path: Path, command: str):
    more = {"search": ["number8word"], "wait": ["--all"]}.get(command, [])
    done = freshd(tmp_path, command, *more, "--config", str(daemon.root / "freshd.toml"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("query", ["%00", "a%00b", "", "+", "%FF"])
def test_a_query_that_is_no_text_is_refused_without_a_fault(daemon: Instance, query: str):
    with daemon.http() as client:
        answer = client.get(f"/search?q={query}")
    assert answer.status_code in ((200, 422) if query == "%FF" else (422,))


def test_only_who_may_read_the_state_directory_may_make_the_daemon_work(daemon: Instance):
    with daemon.http() as client:
        assert client.post("/reindex", json={}, headers={"authorization": "Bearer guess"}).status_code == 401
    assert (daemon.root / ".freshd").stat().st_mode & 0o777 == 0o700
    assert (daemon.root / ".freshd/daemon.json").stat().st_mode & 0o777 == 0o600


# A second one


def test_a_second_daemon_leaves_at_once_and_the_first_is_undisturbed(daemon: Instance):
    began_s = time.monotonic()
    done = daemon.command("run")
    elapsed_s = time.monotonic() - began_s
    assert done.returncode == 11
    assert str(daemon.process.pid) in done.stderr
    assert elapsed_s < 30
    assert daemon.status()["daemon"] == daemon.process.pid
    daemon.write("after.md", "# After\n\nThe afterword.\n")
    eventually(lambda: daemon.places("afterword"))


# Metrics

METRICS = {
    "freshd_source_watermark_timestamp_seconds",
    "freshd_source_last_success_timestamp_seconds",
    "freshd_source_up",
    "freshd_source_freshness_target_seconds",
    "freshd_change_lag_seconds_bucket",
    "freshd_deletion_lag_seconds_bucket",
    "freshd_changes_within_target_total",
    "freshd_changes_total",
    "freshd_chunks_total",
    "freshd_documents",
    "freshd_pending_documents",
    "freshd_deletions_held",
    "freshd_quarantined_documents",
    "freshd_watcher_degraded",
    "freshd_clock_distrusted_total",
    "freshd_config_last_reload_successful",
    "freshd_scheduler_heartbeat_timestamp_seconds",
    "freshd_store_up",
    "freshd_state_free_bytes",
    "freshd_build_info",
}
"""Of `freshd/DESIGN.md`, section 6; `freshd_source_oldest_pending_timestamp_seconds` is absent while nothing waits."""


def test_every_metric_is_there_and_none_names_a_document(daemon: Instance):
    daemon.settled()
    samples = daemon.metrics()
    assert {name for name, _ in samples} >= METRICS
    labels = {label for _, pairs in samples for label in pairs}
    assert {name for name, _ in labels} <= {
        "source",
        "kind",
        "fate",
        "le",
        "version",
        "result",
        "step",
        "approach",
        "state",
    }
    assert {value for name, value in labels if name == "source"} == {"handbook"}
    assert not any(".md" in value for _, value in labels)


def test_metrics_say_what_is_so(daemon: Instance):
    documents = daemon.settled()["documents"]
    assert daemon.metric("freshd_documents", source="handbook") == documents
    assert daemon.metric("freshd_source_up", source="handbook") == 1
    assert daemon.metric("freshd_store_up") == 1
    assert daemon.metric("freshd_config_last_reload_successful") == 1
    changes = daemon.metric("freshd_changes_total", source="handbook", kind="modified")
    lags = daemon.metric("freshd_change_lag_seconds_count", source="handbook")
    daemon.write("page09.md", "# Page 9\n\nCounted number9word once.\n")
    eventually(lambda: daemon.hits("Counted number9word once")[0]["document_id"] == "page09.md")
    eventually(lambda: daemon.metric("freshd_changes_total", source="handbook", kind="modified") == changes + 1)
    assert daemon.metric("freshd_change_lag_seconds_count", source="handbook") == lags + 1
    assert abs(daemon.metric("freshd_scheduler_heartbeat_timestamp_seconds") - time.time()) < 30


def test_promtool_finds_nothing_to_say_about_the_metrics(daemon: Instance):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    text = daemon.get("/metrics").content
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_probes_answer_while_all_is_well(daemon: Instance):
    assert daemon.get("/healthz").status_code == 200
    assert daemon.get("/readyz").status_code == 200


def test_nothing_in_all_of_this_was_a_fault_of_freshd(daemon: Instance):
    """Last in this file: the daemon lived through all of the above."""
    assert "Traceback" not in daemon.log_text()
    assert not daemon.events("thread_died")
    assert not daemon.events("job_failed")
    assert not daemon.events("library_logged")
