"""A folder with documents, a feed and freshd over both: churned, broken, brought back, and held against the truth."""

import random
import re
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freshd.stores.wire import cosine, pack_dense
from freshd.verify.proof import SAME_DIRECTION
from tests.kit.histories import memory
from tests.scripted_server import Reply, Request, ScriptedServer
from tests.torture import oracle
from tests.torture.points import read_durable, read_points
from tests.torture.program import Ended, Program
from tests.torture.tree import SECTIONS, Tree

SOURCE, FEED = "handbook", "news"
_ENTRIES = 12
_LONGEST_INDEX_S = 1_800.0
_CONFIG = """
state_dir = "{state}"
[disk]
reserve_bytes = "1"
[http]
listen = "127.0.0.1:0"
[[sources]]
name = "{source}"
type = "files"
path = "docs"
freshness_target = "2s"
[[sources]]
name = "{feed}"
type = "feed"
url = "{url}"
allow_private_hosts = ["{host}"]
freshness_target = "2s"
"""

_SERIOUS = re.compile(r"\[(warning|error|critical) *\]|^error:")
_HARMLESS = re.compile(r"ledger_reconciled .* in_doubt=(?P<in_doubt>\d+)\b|store_doubted .*documents=0\b")
"""What a recovery may say: that it looked at everything and found that nothing was lost.

In doubt may be no more than what was being written when it was cut off.
"""


class Diverged(AssertionError):
    """What stands is not what should; says how to see it again."""


class Feed:
    """A feed on loopback whose entries come and change, and go only when they are told to.

    Attributes:
        entries: What it shows: words by guid, the oldest first.
        ever: All words that each guid ever had.
        status: What it answers with.
        moved: With what status it sends everybody to another address, where it is as well; None for not.

    """

    def __init__(self, server: ScriptedServer, seed: str) -> None:
        self._random = random.Random(seed)
        self.entries: dict[str, str] = {}
        self.ever: defaultdict[str, set[str]] = defaultdict(set)
        self.status = 200
        self.moved: int | None = None
        self._elsewhere = server.on("/moved", self._answer)
        self.url = server.on("/feed", self._at_first)
        self.host = server.host
        self.churn(3)

    def churn(self, times: int) -> None:
        for _ in range(times):
            key = f"entry-{self._random.randrange(_ENTRIES)}"
            words = " ".join(f"news{self._random.randrange(9_999)}" for _ in range(self._random.randrange(5, 40)))
            self._show({**self.entries, key: words})

    def roll_off(self) -> str:
        """Show the oldest entry no more; give its guid."""
        oldest, *left = self.entries
        self._show({key: self.entries[key] for key in left})
        return oldest

    def churn_guids(self, n: int) -> None:
        """Give every entry another guid, the n-th; all else of it stays."""
        self._show({f"{_base(key)}~{n}": words for key, words in self.entries.items()})

    def _show(self, entries: dict[str, str]) -> None:
        for key, words in entries.items():
            self.ever[key].add(words)
        self.entries = entries

    def _at_first(self, request: Request) -> Reply:
        if self.moved is None or self.status != 200:
            return self._answer(request)
        return Reply(self.moved, b"", {"Location": self._elsewhere})

    def _answer(self, request: Request) -> Reply:
        if self.status != 200:
            return Reply(self.status)
        entries = self.entries
        items = "".join(
            f"<item><guid isPermaLink='false'>{key}</guid><title>On {_base(key)}</title>"
            f"<description>{words}</description></item>"
            for key, words in entries.items()
        )
        body = f'<rss version="2.0"><channel><title>News</title>{items}</channel></rss>'.encode()
        tag = f'"{hash(body)}"'
        if request.headers.get("if-none-match") == tag:
            return Reply(304, b"", {"ETag": tag})
        return Reply(200, body, {"Content-Type": "application/rss+xml", "ETag": tag})


def _base(key: str) -> str:
    return key.partition("~")[0]


@dataclass
class Tally:
    """What was done and what came of it.

    Attributes:
        reached: What was killed at, and how often.
        there: How many hits of that there are in a run, where it was killed at one after another until there was none.
        told: What failed that freshd has to tell of, and told of.
        recoveries_s: From the start of freshd to everything applied, after each kill.

    """

    kills: int = 0
    errors: int = 0
    runs: int = 0
    looks: int = 0
    comparisons: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    there: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    recoveries_s: list[float] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.kills += other.kills
        self.errors += other.errors
        self.runs += other.runs
        self.looks += other.looks
        self.comparisons += other.comparisons
        self.recoveries_s += other.recoveries_s


class Place:
    """One work directory; a context manager, since freshd, a server and files have to go in the end."""

    def __init__(
        self,
        seed: int,
        *,
        documents: int = 24,
        forks: bool = False,
        scratch_every: int = 1,
        where: str | None = None,
        state: Path | None = None,
        has_model: bool = False,
    ) -> None:
        """Make the documents; freshd has not seen them yet.

        Args:
            seed: Of everything that is done.
            documents: About so many at any time.
            forks: Save freshd's imports; recovery times leave them out then.
            scratch_every: One comparison in so many is with an index made anew as well, the others with the oracle.
            where: Folder for the work directory; in memory for None, where there is room.
            state: The state directory, where it shall lie elsewhere.
            has_model: Embed with the bundled model, not with hashes.

        """
        self.seed = seed
        self.random = random.Random(f"{seed}/place")
        self.root = Path(tempfile.mkdtemp(prefix="freshd-torture-", dir=where or memory()))
        self.docs = self.root / "docs"
        self.state = state or self.root / "state"
        self.server = ScriptedServer()
        self.server.__enter__()
        self.feed = Feed(self.server, f"{seed}/feed")
        self.tree = Tree(self.docs, f"{seed}/tree", documents)
        self.configure("freshd.toml", self.state)
        self.program = Program(self.root, forks=forks, has_model=has_model)
        self._has_model = has_model
        self.tally = Tally()
        self._scratch_every = scratch_every

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()
        shutil.rmtree(self.root, ignore_errors=True)

    def configure(self, name: str, state: Path) -> None:
        text = _CONFIG.format(state=state, source=SOURCE, feed=FEED, url=self.feed.url, host=self.feed.host)
        (self.root / name).write_text(text)

    def churn(self, times: int = 6) -> None:
        self.tree.churn(times)
        self.feed.churn(self.random.randrange(2))

    def run(self, *arguments: str, **how: Any) -> Ended:
        """Run a command that may be killed, and may fail, but may not fall over."""
        ended = self.program.run(*arguments, **how)
        self.tally.runs += 1
        self.tally.kills += ended.is_killed
        if "Traceback" in ended.err:
            raise Diverged(f"seed {self.seed}: freshd {' '.join(arguments)} fell over:\n{ended.err}")
        return ended

    def look(self, says: str) -> None:
        """Look at what is durable now, before anything is redone: nothing applied is lost, nothing is unknown."""
        self.tally.looks += 1
        self._judge(says, read_durable(self.state).complaints())

    def settle(self, says: str, *options: str, in_doubt: int = 0) -> None:
        """Bring everything back by nothing but starting freshd, which may doubt so many documents at most."""
        ended = self.run("reindex", "--json", *options)
        if ended.code:
            raise Diverged(
                f"seed {self.seed}, {says}: recovery ended with {ended.code}, expected 0\n{ended.err}\n{ended.out}"
            )
        if any(_SERIOUS.search(line) and not _is_harmless(line, in_doubt) for line in ended.err.splitlines()):
            raise Diverged(f"seed {self.seed}, {says}: recovery said:\n{ended.err}")
        self.tally.recoveries_s.append(ended.took_s)

    def compare(self, says: str, state: Path | None = None) -> None:
        """Hold the index against the oracle, against the ledger, and against one made anew."""
        self.tally.comparisons += 1
        durable = read_durable(state or self.state)
        found = durable.complaints()
        found += [f"unknown: {chunk_id}" for chunk_id in durable.unknown]
        found += oracle.complaints(
            self.docs, SOURCE, self.feed.entries, FEED, durable.points, has_model=self._has_model
        )
        self._judge(says, found)
        if self.tally.comparisons % self._scratch_every == 0:
            self._judge(says, differences(durable.points, self._scratch()))

    def _scratch(self) -> dict[str, dict[str, Any]]:
        state = self.root / "scratch"
        self.configure("scratch.toml", state)
        ended = self.program.run("reindex", "--config", "scratch.toml", within_s=_LONGEST_INDEX_S)
        assert ended.code == 0, ended.err
        points = read_points(state)
        shutil.rmtree(state)
        return points

    def _judge(self, says: str, found: Sequence[str]) -> None:
        if found:
            shown = "\n  ".join(found[:10])
            raise Diverged(f"seed {self.seed}, {says}: {len(found)} divergences\n  {shown}")


def _is_harmless(line: str, in_doubt: int) -> bool:
    found = _HARMLESS.search(line)
    return found is not None and int(found["in_doubt"] or 0) <= in_doubt


def documents_for(chunks: int) -> int:
    """How many documents have about so many chunks."""
    return max(1, chunks // SECTIONS)


def differences(ours: dict[str, dict[str, Any]], fresh: dict[str, dict[str, Any]]) -> list[str]:
    """Compare with an index made anew: ids, payloads without times, vectors by their direction, BM25 weights.

    A model gives a text a slightly other vector beside other texts.
    """
    found = [f"missing beside a new index: {one}" for one in fresh.keys() - ours.keys()]
    found += [f"too many beside a new index: {one}" for one in ours.keys() - fresh.keys()]
    for one in ours.keys() & fresh.keys():
        mine, theirs = (_without_times(point) for point in (ours[one], fresh[one]))
        if cosine(pack_dense(mine["dense"]), pack_dense(theirs["dense"])) >= SAME_DIRECTION:
            mine["dense"] = theirs["dense"]
        found += [f"{one}: {what} differs from a new index" for what in mine if mine[what] != theirs[what]]
    return found


def _without_times(value: Any) -> Any:
    """Leave out when something was indexed, and when the file was written: a touch changes nothing else."""
    if isinstance(value, dict):
        return {key: _without_times(v) for key, v in value.items() if not str(key).endswith(("_at", "last_modified"))}
    return value
