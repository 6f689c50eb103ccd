"""Every file of a shard damaged in every way: refused, found by `verify --deep`, or harmless; never silently wrong.

    a small shard ─▶ copy ─▶ one file: bits flipped, cut short, zeroed, deleted ─▶ open ─▶ verify --deep ─▶ mend
                                                                                    │        │
                                                                       refused ◀────┘        └──▶ found, or harmless

What is left of harmless ones, and of all others once they are mended, is compared with an index made from scratch:
points, payloads, vectors, and what searches with filters find, with which scores. Where the engine has forgotten
points, and its log or freshd put them back, BM25 scores are right again when the shard is opened the next time.
"""

import math
import os
import random
import re
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from freshd.errors import StoreError
from freshd.guard import Guard
from freshd.model import Relabel, SearchFilter, SourceName
from freshd.scheduler import at_once
from freshd.verify import NotVerified, Repair, Surroundings, Verified, Verifier
from tests.kit.clock import ShiftedClock
from tests.kit.embedder import HashEmbedder
from tests.kit.world import CLOSE, SOURCE, Index, Settings, WatchedStore, copy_sparse, scores

N_DOCUMENTS = 8
OPEN_DEADLINE_S = 10.0
_BLOCK = 4_096
WAYS = ("flip", "cut", "zero", "delete")
BM25 = "BM25 scores"
"""The engine still counts the passages that it has forgotten, beside those that were put back, until it loads anew."""

LATER = f", {BM25} at the next opening"

NEAR = 1e-4
"""Vectors nearer than this are equal: the store packs their numbers, and what its packing loses is no damage."""


@dataclass(frozen=True)
class Damage:
    """What is done to one file.

    Attributes:
        file: Below the index, with the random parts of its path left as they are.

    """

    file: Path
    way: str
    seed: int

    def do(self, index: Path) -> None:
        """Damage the file where it holds something: most of the engine's files are nearly all hole."""
        path = index / self.file
        if self.way == "delete":
            path.unlink()
            return
        rng = random.Random(f"{_name(self.file)}/{self.way}/{self.seed}")
        with path.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            blocks = [at for at in range(0, size, _BLOCK) if any(os.pread(file.fileno(), _BLOCK, at))]
            if self.way == "zero":
                file.truncate(0)
                file.truncate(size)
            elif self.way == "cut":
                file.truncate((min(blocks[-1] + _BLOCK, size) if blocks else size) // 2)
            else:
                for block in rng.choices(blocks, k=3 if blocks else 0):
                    content = os.pread(file.fileno(), _BLOCK, block)
                    at = rng.choice([n for n, byte in enumerate(content) if byte] or [0])
                    os.pwrite(file.fileno(), bytes([content[at] ^ 1 << rng.randrange(8)]), block + at)


def _name(file: Path) -> str:
    """Name a file without the segment's random id."""
    return "/".join("*" if part.count("-") == 4 else part for part in file.parts)


def _kind(file: Path) -> str:
    """Name what a file is, without the field that an index is of, and without its number in a row."""
    return re.sub(r"/\w+-\w+-(?=map/|null/)", "/*-", re.sub(r"-\d+$", "-*", _name(file)))


def outgrow_log(index: Index) -> None:
    """Write, and take back, more than a segment of the write-ahead log holds."""
    ids = (min(index.contents()),)
    for _ in range(12):
        index.store.relabel([Relabel(ids, {"filler": "x" * (3 << 20)})])
    index.store.relabel([Relabel(ids, {"filler": None})])
    index.store.flush()


class Lab:
    """An index to be damaged, and what it must be."""

    def __init__(self, base: Path, *, is_young: bool = False) -> None:
        """Index some documents.

        Args:
            base: Where.
            is_young: Leave all of it in the write-ahead log, from which the engine heals a good deal by itself;
                else as much was written since that the log has been let go of.

        """
        self.base, self.docs, self.clock, self.embedder = base, base / "docs", ShiftedClock(), HashEmbedder()
        self.docs.mkdir()
        for n in range(N_DOCUMENTS):
            texts = (f"# Part\n\nText of number {n}, and many words.\n", f"# Other\n\nMore of {n} after {n + 1}.\n")
            (self.docs / f"{n:02}.md").write_text(f"---\ntitle: About {n}\n---\n\n" + "\n".join(texts))
        self.queries = [f"Part\nText of number {n}, and many words." for n in range(N_DOCUMENTS)]
        index = self.opened(base / "whole")
        index.reindex()
        if not is_young:
            outgrow_log(index)
        self.points, self.found = index.contents(), self.searched(index)
        index.close()
        files = (path for path in (base / "whole/index").rglob("*") if path.is_file() and path.name != "lock")
        self.files = sorted((path.relative_to(base / "whole/index") for path in files), key=lambda f: (_name(f), f))

    def opened(self, state: Path) -> Index:
        store = WatchedStore(state / "index", self.embedder.dimension, open_deadline_s=OPEN_DEADLINE_S)
        try:
            return Index(Settings(self.docs, self.clock, self.embedder), state, store)
        except BaseException:
            store.close()
            raise

    def damages(self, seed: int) -> list[Damage]:
        return [Damage(file, way, seed) for file in self.files for way in WAYS]

    def searched(self, index: Index) -> list[Any]:
        """What is found of every document, by vector and by words, in its source and under its name."""
        answers: list[Any] = []
        for n, query in enumerate(self.queries):
            for where in (SearchFilter((SOURCE,)), SearchFilter((SOURCE,), f"{n:02}.md")):
                dense = index.store.search_dense(self.embedder.embed_query(query), 99, where)
                sparse = index.store.search_sparse(self.embedder.sparse_query(query), 99, where)
                answers.append((scores(dense), scores(sparse)))
        return answers

    def difference(self, index: Index) -> str:
        """Say in what an index is not the undamaged one; empty where it is."""
        points, expected = index.contents(), self.points
        if points.keys() != expected.keys():
            return f"{len(expected.keys() - points.keys())} points less, {len(points.keys() - expected.keys())} more"
        for chunk_id, (payload, dense, sparse) in points.items():
            if payload != expected[chunk_id][0]:
                return "payload"
            if math.dist(dense, expected[chunk_id][1]) > NEAR:
                return "vector"
            if sparse != pytest.approx(expected[chunk_id][2], abs=CLOSE):
                return "terms"
        found = self.searched(index)
        for (dense, sparse), (their_dense, their_sparse) in zip(found, self.found, strict=True):
            if dense != pytest.approx(their_dense, abs=NEAR) or sparse.keys() != their_sparse.keys():
                return "answers"
        weights = [sparse for _, sparse in found]
        return "" if weights == [pytest.approx(theirs, abs=CLOSE) for _, theirs in self.found] else BM25

    def verifier(self, index: Index, *, mends: bool = False) -> Verifier:
        return Verifier(
            proofs=index.proofs,
            store=index.store,
            making=index.making,
            clock=self.clock,
            is_deep=True,
            is_to_mend=mends,
        )

    def repair(self, index: Index) -> Verified:
        def look_at(_: Sequence[SourceName]) -> None:
            index.reindex()

        return Repair(
            verifier=self.verifier(index, mends=True),
            ledger=index.ledger,
            proofs=index.proofs,
            store=index.store,
            guard=Guard(),
            clock=self.clock,
            surroundings=Surroundings((SOURCE,), at_once, look_at),
        ).run()

    # One damage

    def outcome(self, damage: Damage) -> tuple[str, str]:
        """Damage a copy, see what comes of it, and mend it; give the outcome, and how it was mended."""
        state = self.base / "damaged"
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(self.base / "whole", state, copy_function=copy_sparse)
        damage.do(state / "index")
        try:
            index = self.opened(state)
        except StoreError as error:
            return "refused" if error.hint else f"silent: {error} (no hint)", self.made_anew(state)
        try:
            return self.judged(index, state)
        finally:
            self.let_go(index)

    def judged(self, index: Index, state: Path) -> tuple[str, str]:
        try:
            found = self.verifier(index).run()
        except NotVerified:
            self.let_go(index)
            return "found: cannot be read", self.made_anew(state)
        if not sum(found.divergent.values()) and not found.foreign:
            difference = self.lasting_difference(index, state)
            return (f"silent: {difference}" if difference not in ("", LATER) else f"harmless{difference}"), ""
        try:
            mended = self.repair(index)
            if not sum(mended.left.values()) and (difference := self.lasting_difference(index, state)) in ("", LATER):
                return "found", f"repaired{difference}"
        except StoreError:
            pass
        self.let_go(index)
        return "found", self.made_anew(state)

    def lasting_difference(self, index: Index, state: Path) -> str:
        """Say in what an index is not the undamaged one; where it is in scores alone, whether the next opening ends it.

        Where it has to be opened for that, it is closed before.
        """
        difference = self.difference(index)
        if difference != BM25:
            return difference
        self.let_go(index)
        anew = self.opened(state)
        try:
            return self.difference(anew) or LATER
        finally:
            self.let_go(anew)

    def made_anew(self, state: Path) -> str:
        """Do as the hint says: move the index away and have it put back."""
        shutil.rmtree(state / "index")
        index = self.opened(state)
        try:
            self.embedder.passages.clear()
            self.repair(index)
            assert not self.difference(index)
            assert not self.embedder.passages
        finally:
            self.let_go(index)
        return "made anew"

    def let_go(self, index: Index) -> None:
        try:
            index.close()
        except StoreError:
            index.abandon()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


def test_no_damage_of_a_single_file_is_silent(lab: Lab, subtests: pytest.Subtests):
    """A slice: each kind of file is damaged in one way, about 40 in all; the rest is for the slow run."""
    of_kind: defaultdict[str, list[Damage]] = defaultdict(list)
    for damage in lab.damages(seed=1):
        of_kind[_kind(damage.file)].append(damage)
    chance = random.Random(7)
    for damage in map(chance.choice, of_kind.values()):
        with subtests.test(f"{damage.way} {_name(damage.file)}"):
            outcome, _ = lab.outcome(damage)
            assert not outcome.startswith("silent")


def test_an_opening_that_never_ends_is_given_up_and_says_what_to_do(lab: Lab):
    """As a damaged shard can hang the engine: here it waits for a writer that never comes."""
    state = lab.base / "hanging"
    shutil.copytree(lab.base / "whole", state, copy_function=copy_sparse)
    config = state / "index/shard/edge_config.json"
    config.unlink()
    os.mkfifo(config)
    store = WatchedStore(state / "index", lab.embedder.dimension, open_deadline_s=2.0)
    began_s = time.monotonic()
    with pytest.raises(StoreError, match=r"did not answer 'open' within 2 s") as given_up:
        Index(Settings(lab.docs, lab.clock, lab.embedder), state, store)
    assert time.monotonic() - began_s < 60
    assert "freshd reindex" in given_up.value.hint
    assert store.child_pid is None
    store.close()


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(("age", "seed"), [("grown", 1), ("grown", 2), ("young", 1)])
def test_no_damage_of_any_file_in_any_way_is_silent(
    tmp_path: Path, age: str, seed: int, request: pytest.FixtureRequest
):
    lab = Lab(tmp_path, is_young=age == "young")
    table = {damage: lab.outcome(damage) for damage in lab.damages(seed)}
    lines = [f"{age} shard, seed {seed}: {len(table)} damages of {len(lab.files)} files"]
    for way in WAYS:
        counts = Counter(" → ".join(filter(None, came)) for damage, came in table.items() if damage.way == way)
        lines += [f"  {way:<7}{n:>4}  {came}" for came, n in sorted(counts.items())]
    silent = [f"{damage.way} {_name(damage.file)}: {came}" for damage, (came, _) in table.items() if "silent" in came]
    for line in ("", *lines, *silent):
        request.config.get_terminal_writer().line(line)
    assert not silent
