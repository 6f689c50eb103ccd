"""Anything in any order: people, servers, clocks, crashes and operators, over the whole of freshd in one process.

Real files, a real feed on loopback, SQLite, Qdrant Edge and the real composition; only the model's vectors are hashes
and only the clock is ours. After every step: nothing applied is lost, nothing unknown stands in the store, nothing
left it that its source still shows, versions rise, and no answer mixes two revisions. Where it comes to rest, the index
is what one made anew is, and nothing was embedded in vain.
"""

import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis import target
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import freshd.compose
import freshd.compose.generation
from freshd import faults
from freshd.config import Secrets, load
from freshd.errors import FreshdError
from freshd.guard import Guard
from freshd.ledger.proofs import Proofs
from freshd.model import DocumentId, Hint, SourceName
from freshd.scheduler import Drain, Scanner, Tally
from freshd.scheduler.hints import Hints
from tests.kit.embedder import HashEmbedder
from tests.kit.failpoints import STEPS
from tests.kit.histories import memory, profile
from tests.scripted_server import ScriptedServer
from tests.torture import oracle
from tests.torture.place import FEED, SOURCE, Feed, differences
from tests.torture.points import Durable, copy_tree, read_points
from tests.torture.program import children

GUARD = Guard(documents=2, share=0.2)
BROAD, NARROW = "", 'exclude = ["sub/**"]'
CONFIG = """
state_dir = "{state}"
[disk]
reserve_bytes = "1"
[embedding]
model = "{model}"
[guard]
documents = {guard.documents}
share = {guard.share}
[[sources]]
name = "{source}"
type = "files"
path = "docs"
{scope}
[[sources]]
name = "{feed}"
type = "feed"
url = "{url}"
allow_private_hosts = ["{host}"]
"""

BLOCKS = (
    "## Leave\n\nEverybody has twenty eight days of leave a year.",
    "## Travel\n\nTrains are booked by the office, flights need the consent of the team lead.",
    "A lost key is reported to the porter within one hour. " * 4,
    "Doors are locked at night.",
    "## Empty",
)
"""Few, so that documents share text, repeat it, and come back to it."""

NAMES = ("a.md", "b.md", "c.md", "bb.md", "sub/a.md", "sub/b.md")
LINKS = ("link.md", "a.md", "sub/link.md", "linked")
INSIDE = "inside.md"
"""What lies in a folder that took a document's place and name."""

DIMENSIONS = {"one": 32, "another": 48}
"""Models, and of how many numbers their vectors are."""

MOST_TOKENS = (96, 48)
"""In a chunk: two ways to cut."""

HISTORIES, AT_ONCE, STEPS_OF_LONG = 5_000, 25, 60
QUERIES = ("days of leave", "lost key")
PAGE = 1_000

blocks = st.lists(st.sampled_from(BLOCKS), max_size=6)
places = st.integers(0, 30)
of_change = ("mid_fill", "before_switch", "after_switch", "before_discard")
steps = st.sampled_from(("after_detect", "mid_read", *STEPS, "after_applied", *of_change))


class JumpingClock:
    """The machine's clock, moved forward or set back by hand; monotonic time only ever moves forward."""

    def __init__(self) -> None:
        self._passed, self._set = timedelta(0), timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._passed + self._set

    def monotonic(self) -> float:
        return time.monotonic() + self._passed.total_seconds()

    def advance(self, by: timedelta) -> None:
        self._passed += by

    def set(self, by: timedelta) -> None:
        self._set += by


class Freshd(RuleBasedStateMachine):
    """A folder, a feed, and one freshd over both for as long as it is not broken off."""

    def __init__(self) -> None:
        super().__init__()
        self._around = ExitStack()
        self._base = Path(tempfile.mkdtemp(prefix="freshd-", dir=memory()))
        self._around.callback(shutil.rmtree, self._base, ignore_errors=True)
        self._docs, self._away = self._base / "docs", self._base / "unmounted"
        self._docs.mkdir()
        (self._base / "outside").mkdir()
        (self._base / "outside" / "a.md").write_text("Nobody said that this may be read.\n")
        self._server = self._around.enter_context(ScriptedServer())
        self._feed = Feed(self._server, "a feed")
        self._clock = JumpingClock()
        self._models = {name: HashEmbedder(dimension, MOST_TOKENS[0]) for name, dimension in DIMENSIONS.items()}
        self._patch = self._around.enter_context(composed_of(self._clock, self._models))
        self._scope, self._model, self._states, self._churns = BROAD, "one", 0, 0
        self._rolled: dict[str, str | None] = {}
        self._cut(MOST_TOKENS[0])
        self._open = ExitStack()
        self._is_broken = self._is_approved = False
        self._is_edited = True
        self._most_pending = 0
        self._held: dict[tuple[str, str], str] = {}
        self._versions: dict[tuple[str, str], int] = {}
        self._restart(self._new_state())

    def teardown(self) -> None:
        """Whatever was left undone comes to rest, unless something failed already."""
        try:
            if sys.exc_info()[1] is None:
                self.settle()
                target(float(self._most_pending), label="pending after a run")
        finally:
            faults.arm("")
            with suppress(FreshdError):
                self._open.close()
            self._around.close()

    @initialize(first=st.dictionaries(st.sampled_from(NAMES), blocks, max_size=4))
    def begin(self, first: dict[str, list[str]]) -> None:
        for name, texts in first.items():
            self._write(name, texts)

    # What people do

    @rule(name=st.sampled_from(NAMES), texts=blocks)
    def write(self, name: str, texts: list[str]) -> None:
        self._write(name, texts)

    @precondition(lambda self: self._names())
    @rule(which=places, text=st.sampled_from(BLOCKS))
    def append(self, which: int, text: str) -> None:
        with (self._root / self._pick(which)).open("a") as file:
            file.write(f"\n\n{text}\n")
        self._is_edited = True

    @precondition(lambda self: self._names())
    @rule(which=places, lines=st.integers(0, 6))
    def truncate(self, which: int, lines: int) -> None:
        path = self._root / self._pick(which)
        path.write_text("\n".join(path.read_text().split("\n")[:lines]))
        self._is_edited = True

    @precondition(lambda self: self._names())
    @rule(which=places)
    def touch(self, which: int) -> None:
        os.utime(self._root / self._pick(which))

    @precondition(lambda self: self._names())
    @rule(which=places, name=st.sampled_from((*NAMES, "new.md", "sub/new.md")))
    def rename(self, which: int, name: str) -> None:
        between = self._base / "on-the-way"
        (self._root / self._pick(which)).rename(between)
        between.rename(self._room(name))

    @precondition(lambda self: self._names())
    @rule(which=places)
    def swap_file_and_folder(self, which: int) -> None:
        """A document becomes a folder of its name that holds it; where it is in such a one, it becomes that again."""
        path, between = self._root / self._pick(which), self._base / "on-the-way"
        path.rename(between)
        if path.name == INSIDE:
            between.rename(self._room(str(path.parent.relative_to(self._root))))
        else:
            path.mkdir()
            between.rename(path / INSIDE)

    @rule(name=st.sampled_from(LINKS), goal=st.sampled_from(("a.md", "sub", "../outside/a.md", "../outside", "gone")))
    def link(self, name: str, goal: str) -> None:
        """To a document, a folder, and nothing; inside and outside. Links are not followed, whatever they stand for."""
        path = self._room(name)
        path.unlink(missing_ok=True)
        path.symlink_to(os.path.relpath(self._root / goal, path.parent))

    @precondition(lambda self: len(self._names()) > 1)
    @rule(which=places, other=places)
    def swap(self, which: int, other: int) -> None:
        one, two = self._root / self._pick(which), self._root / self._pick(other)
        if one != two:
            between = self._base / "on-the-way"
            one.rename(between)
            two.rename(one)
            between.rename(two)

    @precondition(lambda self: self._names())
    @rule(which=st.lists(places, min_size=1, max_size=5))
    def delete(self, which: list[int]) -> None:
        for one in which:
            if self._names():
                (self._root / self._pick(one)).unlink()

    @rule(is_empty_place_left=st.booleans())
    def unmount(self, is_empty_place_left: bool) -> None:
        if self._docs.exists() and not self._away.exists():
            self._docs.rename(self._away)
            if is_empty_place_left:
                self._docs.mkdir()

    @precondition(lambda self: self._away.exists())
    @rule()
    def mount(self) -> None:
        with suppress(FileNotFoundError):
            self._docs.rmdir()
        self._away.rename(self._docs)

    @rule(times=st.integers(1, 3))
    def publish(self, times: int) -> None:
        self._feed.churn(times)
        for key in self._feed.entries:  # perhaps one that had rolled off
            self._rolled.pop(key, None)
        self._is_edited = True

    @precondition(lambda self: len(self._feed.entries) > 1)
    @rule()
    def roll_off(self) -> None:
        """The oldest entry leaves the window; whatever the index holds of it stays."""
        self._no_more_shown([self._feed.roll_off()])

    @rule()
    def churn_guids(self) -> None:
        """Every entry has another guid: what there was has rolled off, and what is new is nothing new to embed."""
        self._churns += 1
        before = list(self._feed.entries)
        self._feed.churn_guids(self._churns)
        self._no_more_shown(before)

    @rule(status=st.sampled_from((None, 301, 302, 307, 308)))
    def redirect(self, status: int | None) -> None:
        self._feed.moved = status

    @rule(status=st.sampled_from((200, 404, 410, 429, 500)))
    def answer_with(self, status: int) -> None:
        self._feed.status = status

    # What time and machines do

    @rule(by=st.sampled_from((timedelta(seconds=3), timedelta(hours=2), timedelta(days=2))))
    def time_passes(self, by: timedelta) -> None:
        self._clock.advance(by)

    @rule(by=st.sampled_from((timedelta(hours=-2), timedelta(hours=2), timedelta(days=-400))))
    def somebody_sets_the_clock(self, by: timedelta) -> None:
        self._clock.set(by)

    @rule(step=steps, action=st.sampled_from(("raise", "enospc")), nth=st.integers(1, 3), times=st.integers(1, 2))
    def crash(self, step: str, action: str, nth: int, times: int) -> None:
        """Break a run off, go on with a copy of what was on the disk by then; perhaps break that off as well."""
        for _ in range(times):
            faults.arm(f"{step}:{action}@{nth}")
            try:
                self._reindex()
            except OSError:
                self._is_broken = True
            finally:
                faults.arm("")
            self._abandon()

    @rule(nth=st.integers(1, 3))
    def a_file_cannot_be_read(self, nth: int) -> None:
        """As after a chmod, which forbids root nothing: the error comes from where the read is."""
        faults.arm(f"mid_read:raise@{nth}")
        try:
            self._reindex()
        finally:
            faults.arm("")

    @rule()
    def restart(self) -> None:
        self._open.close()
        self._restart(self._state)

    # What freshd and its operator do

    @rule()
    def cycle(self) -> None:
        self._reindex()

    @precondition(lambda self: not self._away.exists() and self._is_listed())
    @rule(where=st.lists(st.sampled_from((*NAMES, "sub", "new.md")), min_size=1, max_size=3), is_second=st.booleans())
    def hint(self, where: list[str], is_second: bool) -> None:
        """Something may have changed there; what is found is applied."""
        self._look({place: self._clock.now() for place in where}, is_second=is_second)

    @precondition(lambda self: not self._away.exists() and self._is_listed())
    @rule(
        names=st.lists(st.sampled_from(NAMES), min_size=2, unique=True),
        text=st.sampled_from(BLOCKS[:-1]),
        is_overflow=st.booleans(),
    )
    def event_burst(self, names: list[str], text: str, *, is_overflow: bool) -> None:
        """Many documents are written at once; after an overflow, only of the first it is heard, and of the loss."""
        for name in names:
            self._write(name, [text, f"And {name} says so."])
        hints, now = Hints(), self._clock.now()
        for scope in [names[0], None] if is_overflow else names:
            hints.add(Hint(scope, is_settled=True, seen_at=now), self._clock.monotonic())
        self._clock.advance(timedelta(seconds=3))
        due = hints.take(self._clock.monotonic())
        if due.everywhere:
            self._reindex()
        else:
            self._look(due.places)
        applied = {name: self._held_digest(name) for name in names if name in self._shown()}
        assert applied == {name: _digest(self._root / name) for name in applied}

    @rule()
    def approve(self) -> None:
        self._is_approved = True
        self._whole.ledger.approve(SourceName(SOURCE))

    @rule()
    def read_everything_again(self) -> None:
        self._reindex(full=True)

    @rule()
    def change_the_globs(self) -> None:
        self._scope = BROAD if self._scope else NARROW
        self.restart()

    @rule(model=st.sampled_from(tuple(DIMENSIONS)), tokens=st.sampled_from(MOST_TOKENS))
    def change_the_recipe(self, model: str, tokens: int) -> None:
        """Another model, another way to cut, both or neither; an index of its own is filled, or one gone back to."""
        self._model = model
        self._cut(tokens)
        self._is_edited = True
        self.restart()

    @precondition(lambda self: self._whole.generations.is_under_way)
    @rule(pieces=st.integers(1, 4))
    def fill(self, pieces: int) -> None:
        """As a daemon does between two edits."""
        for _ in range(pieces):
            self._whole.generations.advance(lambda: None)

    @rule()
    def verify(self) -> None:
        divergent = self._whole.verify().divergent
        assert not any(divergent.values()), divergent

    # What must hold

    @invariant()
    def nothing_is_lost_and_nothing_unknown_stands(self) -> None:
        """I2 and I3."""
        found = self._durable().complaints()
        assert not found, found

    @invariant()
    def nothing_goes_that_its_source_still_shows(self) -> None:
        """I4; and no more at once than the guard lets pass, unless somebody approved."""
        held = {(source, document): digest for source, document, digest in self._durable().certain.values()}
        gone = self._held.keys() - held.keys()
        is_mounted = not self._away.exists()
        assert all(source == SOURCE for source, _ in gone), gone
        assert is_mounted or self._is_approved or not gone, gone
        lost_to_sight = self._is_approved and not is_mounted  # a person let an unmounted source go
        standing = [name for _, name in gone if name in self._shown() and self._has_text(name)]
        assert lost_to_sight or not standing, standing
        shown = self._shown()  # what is there without a word is no deletion
        lost = {key for key in gone if self._held[key] not in held.values() and key[1] not in shown}
        allowed = max(GUARD.documents, int(GUARD.share * sum(source == SOURCE for source, _ in self._held)))
        assert self._is_approved or len(lost) <= allowed, lost
        self._held = held
        if not self._whole.ledger.left(SourceName(SOURCE)):  # what was approved went, or came back
            self._is_approved = False

    @invariant()
    def versions_rise(self) -> None:
        """I5, as far as the ledger tells."""
        for (source, document), before in list(self._versions.items()):
            now = self._whole.ledger.revision(SourceName(source), document).version
            assert now >= before or not now, (source, document, before, now)
        keys = self._held.keys()
        self._versions = {key: self._whole.ledger.revision(SourceName(key[0]), key[1]).version for key in keys}

    @invariant()
    def no_answer_is_torn(self) -> None:
        """I6: what is found of a document is of the one revision that the ledger holds, and reads as that does."""
        durable = self._durable()
        payloads = [point["payload"] for chunk_id, point in durable.points.items() if chunk_id in durable.certain]
        texts: defaultdict[tuple[str, str], str] = defaultdict(str)
        for payload in sorted(payloads, key=lambda payload: payload["freshd"]["ordinal"]):
            texts[payload["source"], payload["freshd"]["document_id"]] += "".join(payload["page_content"].split())
        for query in QUERIES:
            for hit in self._whole.search.search(query, 20).hits:
                found = hit.citation
                assert "".join(found.text.split()) in texts[found.source, found.document_id], found

    def settle(self) -> None:
        """Faults end, people stop, held deletions are approved: I1, I8."""
        if self._away.exists():
            self.mount()
        self._feed.status, self._feed.moved, self._scope = 200, None, BROAD
        self._clock.advance(timedelta(days=3))
        self.restart()
        embedded = self._passages()
        for _ in range(4):
            self._is_approved = True
            self._whole.ledger.approve(SourceName(SOURCE))
            self._reindex()
            self._clock.advance(timedelta(days=1))
        assert self._whole.ledger.left(SourceName(SOURCE)) == []
        cut_off = {one.document_id for one in self._whole.ledger.left(SourceName(FEED))}
        assert cut_off <= {key for key, words in self._rolled.items() if words is None}, cut_off
        assert not self._whole.generations.is_under_way
        assert self._passages() == embedded or self._is_edited, "embedded in vain"
        passages = self._passages()
        for name, texts in passages.items():
            assert self._is_broken or len(texts) == len(set(texts)), f"{name} embedded a text twice"
        self._reindex()
        assert self._passages() == passages, "nothing changed, yet something was embedded"
        self._is_edited = False
        live = self._whole.generations.current.record.name
        self._open.close()
        self._judge(read_points(self._state, live), cut_off)
        for name, texts in passages.items():
            self._models[name].passages[:] = texts
        self._restart(self._state)

    def _judge(self, points: dict[str, dict[str, Any]], cut_off: set[str]) -> None:
        """Hold points against the oracle and an index made anew, which never sees what rolled off.

        What rolled off whole stays as it was; of what was cut off in the midst of something no more can be said.
        """
        held: defaultdict[str, set[str]] = defaultdict(set)
        for point in points.values():
            if point["payload"]["source"] == FEED:
                held[point["payload"]["freshd"]["document_id"]] |= set(point["payload"]["page_content"].split())
        entries = dict(self._feed.entries)
        for key, words in self._rolled.items():
            if found := [one for one in self._feed.ever[key] if set(one.split()) <= held[key]]:
                entries[key] = found[0]
            assert words is None or entries.get(key) == words, (key, words)
        told = {chunk_id: point for chunk_id, point in points.items() if _key(point) not in cut_off}
        assert oracle.complaints(self._docs, SOURCE, entries, FEED, told) == []
        shown = {chunk_id: point for chunk_id, point in points.items() if _key(point) not in self._rolled}
        assert differences(shown, self._anew()) == []

    # What it takes

    @property
    def _root(self) -> Path:
        """Where the files are: people go on with them where freshd does not see it."""
        return self._away if self._away.exists() else self._docs

    def _names(self) -> list[str]:
        found = (path for path in self._root.rglob("*.md") if path.is_file() and not path.is_symlink())
        return sorted(str(path.relative_to(self._root)) for path in found)

    def _shown(self) -> list[str]:
        return [name for name in self._names() if not (self._scope and name.startswith("sub/"))]

    def _is_listed(self) -> bool:
        """Before a root was ever listed, nothing tells it from another one put in its place."""
        return self._whole.sources.state(SourceName(SOURCE)).last_complete_scan_at is not None

    def _has_text(self, name: str) -> bool:
        """A document without a word is held without a chunk."""
        return any(word.strip("#") for word in (self._root / name).read_text().split())

    def _pick(self, which: int) -> str:
        names = self._names()
        return names[which % len(names)]

    def _write(self, name: str, texts: list[str]) -> None:
        self._room(name).write_text("\n\n".join(texts) + "\n")
        self._is_edited = True

    def _room(self, name: str) -> Path:
        """Where a document may be written: links, and what is a folder there or a document above it, make room."""
        path = self._root / name
        for one in [*(self._root / above for above in reversed(Path(name).parents)), path][1:]:
            if one.is_symlink() or (one.is_file() and one != path):
                one.unlink()
        if path.is_dir():
            shutil.rmtree(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _cut(self, tokens: int) -> None:
        self._patch.setattr(freshd.compose.generation, "_MAX_TOKENS", tokens)

    def _passages(self) -> dict[str, list[str]]:
        """What each model was asked to embed so far."""
        return {name: list(model.passages) for name, model in self._models.items()}

    def _no_more_shown(self, keys: list[str]) -> None:
        """Note what must stay of entries: all, where they are whole in the index and nothing of them is pending."""
        held: defaultdict[str, set[str]] = defaultdict(set)
        certain = self._durable().certain
        for point in self._whole.store.scroll(None, PAGE):
            if point.chunk_id in certain:
                held[_key({"payload": point.payload})] |= set(point.payload["page_content"].split())
        for key in keys:
            is_settled = self._whole.ledger.pending_of(SourceName(FEED), DocumentId(key)) is None
            whole = [words for words in self._feed.ever[key] if set(words.split()) <= held[key]]
            self._rolled[key] = whole[0] if is_settled and whole else None

    def _held_digest(self, name: str) -> str | None:
        return next((digest for source, document, digest in self._durable().certain.values() if document == name), None)

    def _look(self, places: dict[str, datetime], *, is_second: bool = False) -> None:
        """Look where something may have changed, and apply what was found."""
        whole, goal = self._whole, next(one for one in self._whole.targets if one.name == SOURCE)
        scanner = Scanner(target=goal, ledger=whole.ledger, sources=whole.sources, guard=GUARD, clock=self._clock)
        with suppress(FreshdError):
            scanner.look(places, is_second=is_second)
        drain = Drain(
            ledger=whole.ledger,
            sources=whole.sources,
            pipeline=whole.search,
            clock=self._clock,
            on_progress=lambda *_: None,
        )
        drain(goal.name, whole.ledger.last_seq(), Tally(goal.name))

    def _reindex(self, *, full: bool = False) -> None:
        self._whole.reindexer(full=full).run()
        pending = sum(self._whole.sources.state(SourceName(name)).pending for name in (SOURCE, FEED))
        self._most_pending = max(self._most_pending, pending)

    def _durable(self) -> Durable:
        ledger, store, proofs = self._whole.ledger, self._whole.store, Proofs(self._whole.database)
        points = {one.chunk_id: {"payload": one.payload} for one in store.scroll(None, PAGE)}
        certain = {
            chunk_id: (claim.source, claim.document_id, claim.digest) for chunk_id, claim in proofs.claims(None, PAGE)
        }
        unknown = proofs.unknown_among(sorted({*points, *certain}))
        documents = {(source, document) for source, document, _ in certain.values()}
        return Durable(points, certain, unknown, {key for key in documents if ledger.pending_of(*key) is not None})

    def _abandon(self) -> None:
        """Go on as after a kill: with a copy, since a process cannot lose what it has open."""
        for pid in children(os.getpid()):
            if b"edge_child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
        state = self._new_state()
        copy_tree(self._state, state)
        with suppress(FreshdError):
            self._open.close()
        shutil.rmtree(self._state)
        self._restart(state)

    def _new_state(self) -> Path:
        self._states += 1
        return self._base / f"state-{self._states}"

    def _restart(self, state: Path) -> None:
        self._state, self._open = state, ExitStack()
        self._whole = self._open.enter_context(freshd.compose.open_whole(load(self._configured(state)), Secrets()))

    def _configured(self, state: Path) -> Path:
        path = self._base / "freshd.toml"
        text = CONFIG.format(
            state=state,
            guard=GUARD,
            source=SOURCE,
            scope=self._scope,
            model=self._model,
            feed=FEED,
            url=self._feed.url,
            host=self._feed.host,
        )
        path.write_text(text)
        return path

    def _anew(self) -> dict[str, dict[str, object]]:
        state = self._base / "scratch"
        with freshd.compose.open_whole(load(self._configured(state)), Secrets()) as whole:
            whole.reindexer().run()
        points = read_points(state)
        shutil.rmtree(state)
        return points


@contextmanager
def composed_of(clock: JumpingClock, models: dict[str, HashEmbedder]) -> Iterator[pytest.MonkeyPatch]:
    """Have freshd composed with this clock and these models, and with nothing else of ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("freshd.compose.SystemClock", lambda: clock)
        patch.setattr("freshd.compose.open_embedder", lambda model, *_: models[model])
        yield patch


def _key(point: dict[str, Any]) -> str | None:
    """Which entry of the feed a point is of; None for none."""
    payload = point["payload"]
    return payload["freshd"]["document_id"] if payload["source"] == FEED else None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.timeout(600)  # finding the shortest history that fails takes minutes
def test_whatever_happens_in_whatever_order_nothing_is_lost_and_it_comes_to_rest():
    run_state_machine_as_test(Freshd, settings=profile(20, 20))


@pytest.mark.slow
@pytest.mark.timeout(24 * 3600)
def test_the_same_holds_for_thousands_of_long_histories(request: pytest.FixtureRequest):
    """All of them take most of a day: `FRESHD_MINUTES=10` ends with those under way by then."""
    end_s = time.monotonic() + 60 * float(os.environ.get("FRESHD_MINUTES", "inf"))
    done = 0
    while done < HISTORIES and time.monotonic() < end_s:
        run_state_machine_as_test(Freshd, settings=profile(AT_ONCE, STEPS_OF_LONG))
        done += AT_ONCE
    request.config.get_terminal_writer().line(f"\n{done:,} histories of up to {STEPS_OF_LONG} steps")
