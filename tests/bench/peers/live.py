"""From a write to the instant it can be found, while each peer watches: the same edits, the real model.

Each tells by itself when: freshd's daemon the instant of the switch in search, as its `/changes` has it,
of the other it is the one at which its write to the store has returned.
When `/changes` has it, it is durable as well: ledger and store have synced it to the disk.
freshd is measured a second time from outside, by asking its search every 3 ms, which embeds a query each time.
"""

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from freshd.client import demand
from freshd.state import StateDirectory
from tests.bench.corpus import DjangoDocs, files, put
from tests.bench.daemon import running
from tests.bench.instance import Instance
from tests.bench.peers.contract import CountedEmbedder, Watching
from tests.bench.report import Cell, Table
from tests.bench.timing import percentile, until

PART = "howto"
EDITS = 300
_PATIENCE_S = 60.0
_PAUSE_S = 0.3
_SEED = 7
_GAP = re.compile(r"\n\n(?=\S)")


def run(docs: DjangoDocs, scratch: Path, names: Sequence[str]) -> Table:
    """Have each peer follow the same edits."""
    times: dict[str, list[float]] = {}
    for name in names:
        for measured in (_told, _asked) if name == "freshd" else (partial(_apart, name),):
            folder = scratch / str(len(times))
            put(docs.tree("5.2") / PART, folder / "docs")
            times |= measured(folder)
    with_base = times.get("freshd", [])
    return Table(
        f"live: {EDITS} edits among the Django 5.2 docs ({PART}), bundled model, from the write to being found",
        ("peer", "n", "p50 ms", "p95 ms", "p99 ms", "p50 × freshd", "p95 × freshd"),
        tuple(_row(name, seen, with_base) for name, seen in times.items()),
        ("From the file's change; each tells by itself when it could be found.",),
    )


def _row(name: str, seen: Sequence[float], base: Sequence[float]) -> tuple[Cell, ...]:
    at = [percentile(seen, share) for share in (0.5, 0.95, 0.99)]
    shares = [at[n] / percentile(base, share) if base else None for n, share in enumerate((0.5, 0.95))]
    return name, len(seen), *(seconds * 1000 for seconds in at), *shares


def edits(docs: Path, wait: Callable[[str, str], object]) -> Iterator[float]:
    """Insert one sentence after another, wait for its word and document, and give the seconds that took."""
    chance, paths = random.Random(_SEED), list(files(docs).items())
    for n in range(EDITS):
        (name, path), word = chance.choice(paths), f"marker{n:03d}q{chance.randrange(16**6):06x}"
        text = path.read_text()
        at = chance.choice([gap.end() for gap in _GAP.finditer(text)] or [len(text)])
        path.write_text(f"{text[:at]}The rule that {word} stands for was agreed on by the team.\n\n{text[at:]}")
        began_s = time.perf_counter()
        wait(word, name)
        yield time.perf_counter() - began_s
        time.sleep(_PAUSE_S)


def _told(folder: Path) -> dict[str, list[float]]:
    instance, lags = Instance(folder), list[float]()
    with running(instance):
        daemon = demand(StateDirectory(instance.state_dir), "measured")
        told = daemon.follow(str(daemon.changes(-1, 1, None, None)["last_seq"]), None, None)

        def wait(_: str, name: str) -> None:
            change = next(one.change for one in told if one.change)
            if change["document_id"] != name or change["lag_seconds"] is None:
                raise RuntimeError(f"expected the edit of {name}, got {change}")
            lags.append(change["lag_seconds"])

        durable = list(edits(instance.docs, wait))
    return {"freshd": lags, "freshd, until it is durable": durable}


def _asked(folder: Path) -> dict[str, list[float]]:
    instance = Instance(folder)
    with running(instance) as daemon:

        def wait(word: str, _: str) -> None:
            until(partial(daemon.finds, word), f"{word} is found", patience_s=_PATIENCE_S)

        return {"freshd, asked every 3 ms": list(edits(instance.docs, wait))}


def _apart(name: str, folder: Path) -> dict[str, list[float]]:
    command = [sys.executable, "-m", __name__, name, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    times: list[float] = json.loads(done.stdout.splitlines()[-1])
    return {name: times}


def _main(name: str, folder: Path) -> None:
    import os
    import threading

    from tests.bench.peers.step import opened

    told, found = threading.Condition(), set[str]()

    def on_upsert(texts: Sequence[str]) -> None:
        with told:
            found.update(re.findall(r"marker\d+q[0-9a-f]+", " ".join(texts)))
            told.notify_all()

    def wait(word: str, _: str) -> None:
        with told:
            if not told.wait_for(lambda: word in found, _PATIENCE_S):
                raise TimeoutError(f"waited {_PATIENCE_S:.0f} s until {word} is found")

    peer = cast(Watching, opened(name, folder / "docs", folder / "state", CountedEmbedder(folder / "models")))
    peer.watch(on_upsert)
    print(f"\n{json.dumps(list(edits(folder / 'docs', wait)))}", flush=True)  # noqa: T201
    os._exit(0)  # a live update of some has no end


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
