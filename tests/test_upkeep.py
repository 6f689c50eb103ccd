"""A whole freshd whose documents are edited for long: its index takes no more room, whoever has the store compacted."""

import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from freshd.backup import back_up, original_of
from freshd.clock import SystemClock
from freshd.compose import generation
from freshd.config import load
from freshd.errors import StoreUnavailable
from freshd.generations import Upkeep
from freshd.scheduler import Observer
from freshd.stores.edge import EdgeStore
from tests.kit.clock import HandClock
from tests.kit.home import Home, files
from tests.kit.world import without_times
from tests.scheduler.parts import eventually
from tests.test_compaction import slots

LEAST = 20
DOCUMENTS = 6


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    easily_worn = partial(EdgeStore, least_removed=LEAST)
    with mock.patch.object(generation, "EdgeStore", easily_worn):
        home = Home(tmp_path / "home", "[disk]\nreserve_bytes = 0\n" + files("docs", "docs"))
        for n in range(DOCUMENTS):
            home.write(f"docs/{n}.md")
        yield home
        home.close()


@pytest.fixture
def rng() -> random.Random:
    return random.Random(7)


def edit(home: Home, rng: random.Random) -> None:
    """Have every document say something else."""
    for n in range(DOCUMENTS):
        home.write(f"docs/{n}.md", f"# {n}\n\n" + " ".join(f"word{rng.randrange(999)}" for _ in range(20)) + "\n")


def directory(home: Home) -> Path:
    (one,) = (home.state / "index").glob("*/")
    return one


def points(home: Home) -> dict[str, Any]:
    found = home.whole.store.scroll(None, 1_000, with_vectors=True)
    return {one.chunk_id: (without_times(one.payload), one.dense, one.sparse) for one in found}


def scratch(home: Home, tmp_path: Path) -> dict[str, Any]:
    """Give what an index of the same documents holds that was just made."""
    other = Home(tmp_path / "scratch", files("docs", str(home.root / "docs")))
    other.reindex()
    try:
        return points(other)
    finally:
        other.close()


def worn(home: Home, rng: random.Random) -> None:
    """Edit until a compaction is due, which a look at a single source leaves to others."""
    home.reindex()
    for _ in range(LEAST // DOCUMENTS + 1):
        edit(home, rng)
        home.whole.reindexer(is_whole_run=False).run()
    assert slots(directory(home)) >= DOCUMENTS + LEAST


def test_runs_that_follow_one_another_leave_no_more_than_some_of_them_removed(
    home: Home, tmp_path: Path, rng: random.Random
):
    """Each is a process of its own, and removes too little to be worth it."""
    home.reindex()
    for _ in range(3 * LEAST // DOCUMENTS):
        edit(home, rng)
        home.restart().reindexer().run()
        assert slots(directory(home)) < DOCUMENTS + LEAST + DOCUMENTS
    assert points(home) == scratch(home, tmp_path)
    assert not home.whole.verify().by_source


def test_a_daemon_compacts_while_nothing_is_due(home: Home, tmp_path: Path, rng: random.Random):
    worn(home, rng)
    whole = home.whole
    scheduler = whole.scheduler(Observer(), lambda: None)
    scheduler.start()
    try:
        eventually(lambda: slots(directory(home)) == DOCUMENTS, 60)
        home.write("docs/0.md", "# Last\n\nThe lastword.\n")
        scheduler.scan_now(list(scheduler.lanes))
        eventually(lambda: "lastword" in whole.search.search("lastword").hits[0].citation.text, 30)
    finally:
        scheduler.stop()
    assert points(home) == scratch(home, tmp_path)
    assert not whole.verify().by_source


@pytest.mark.parametrize("pieces", [1, 3, 6, 9, 30])
def test_a_backup_made_in_the_middle_holds_everything(home: Home, tmp_path: Path, rng: random.Random, pieces: int):
    """Nothing is compacted while it is made: both are work of the thread that writes."""
    worn(home, rng)
    before = points(home)
    store = home.whole.store
    for _ in range(pieces):
        assert store.compact()
    copy = tmp_path / "copy"
    whole_state = original_of(load(home.root / "freshd.toml"))
    back_up(whole_state, copy, clock=SystemClock(), hold=lambda work: work(), flush=store.flush)
    home.close()
    shutil.rmtree(home.state)
    subprocess.run(["cp", "-a", "--sparse=always", str(copy), str(home.state)], check=True)
    assert points(home) == before
    assert not home.whole.verify().by_source


class Worn:
    """Stands for a live generation: a store that has some pieces to do, and may fail."""

    def __init__(self, pieces: int) -> None:
        self.pieces, self.fails, self.asked = pieces, False, 0
        self.record = mock.Mock(name="record")
        self.current = self.store = self

    def advance(self, between: Callable[[], None]) -> bool:
        return False

    def compact(self) -> bool:
        self.asked += 1
        if self.fails:
            raise StoreUnavailable("the store has fallen")
        self.pieces -= 1
        return self.pieces > 0


def test_a_compaction_that_fails_is_left_alone_for_a_while_and_disturbs_nothing():
    clock = HandClock()
    live = Worn(pieces=3)
    live.fails = True
    upkeep: Upkeep[Any] = Upkeep(live, clock)  # type: ignore[arg-type]
    assert not upkeep.advance(lambda: None)
    assert not upkeep.advance(lambda: None)
    assert live.asked == 1
    clock.advance(timedelta(seconds=601))
    live.fails = False
    assert upkeep.advance(lambda: None)
    assert live.asked == 2


def test_a_generation_that_is_being_filled_comes_first():
    live = Worn(pieces=3)
    upkeep: Upkeep[Any] = Upkeep(live, HandClock())  # type: ignore[arg-type]
    with mock.patch.object(live, "advance", return_value=True):
        assert upkeep.advance(lambda: None)
    assert not live.asked
