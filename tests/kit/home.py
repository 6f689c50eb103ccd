"""A folder with a config, and freshd over it as its commands open it; all real but for the model's vectors."""

import sys
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from freshd.compose import Whole, open_whole
from freshd.config import Secrets, load
from freshd.guard import Guard
from freshd.ports import StoredPoint
from freshd.scheduler import Scanner, Tally
from tests.kit.embedder import HashEmbedder


def files(name: str, path: str, **options: object) -> str:
    """Write the part of a config about one files source."""
    lines = [f'name = "{name}"', 'type = "files"', f'path = "{path}"', "watch = false"]
    lines += [f"{key} = {value!r}" for key, value in options.items()]
    return "\n".join(["[[sources]]", *lines, ""])


def feed(name: str, url: str, host: str, **options: object) -> str:
    """Write the part of a config about one feed on loopback."""
    lines = [f'name = "{name}"', 'type = "feed"', f'url = "{url}"', f'allow_private_hosts = ["{host}"]']
    lines += [f"{key} = {value!r}" for key, value in options.items()]
    return "\n".join(["[[sources]]", *lines, ""])


class Home:
    """freshd over one state directory, open as a process has it; `restart` is the next process."""

    def __init__(self, root: Path, config: str) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.embedder = HashEmbedder()
        self._open = ExitStack()
        self._whole: Whole | None = None
        self.configure(config)

    @property
    def state(self) -> Path:
        return self.root / ".freshd"

    @property
    def whole(self) -> Whole:
        if self._whole is None:
            for module in [module for name, module in sys.modules.items() if name.startswith("freshd.")]:
                if hasattr(module, "open_embedder"):
                    self._open.enter_context(mock.patch.object(module, "open_embedder", return_value=self.embedder))
            config = load(self.root / "freshd.toml")
            self._whole = self._open.enter_context(open_whole(config, Secrets()))
        return self._whole

    def configure(self, config: str) -> None:
        """Give it another config, with which it is open the next time."""
        self.close()
        (self.root / "freshd.toml").write_text(config)

    def restart(self) -> Whole:
        self.close()
        return self.whole

    def close(self) -> None:
        self._whole = None
        self._open.close()

    def write(self, name: str, text: str | None = None) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n\nText of {name}.\n" if text is None else text)
        return path

    def reindex(self, *names: str, full: bool = False) -> dict[str, Tally]:
        return {tally.source: tally for tally in self.whole.reindexer(names, full=full).run()}

    def embedded_by(self, *names: str, full: bool = False) -> int:
        """Reindex, and count the texts that the model was given for it."""
        before = len(self.embedder.passages)
        self.reindex(*names, full=full)
        return len(self.embedder.passages) - before

    def scanner(self, name: str) -> Scanner:
        """Look at a source as the daemon does."""
        whole = self.whole
        (target,) = [target for target in whole.targets if target.name == name]
        guard = Guard(whole.config.guard.documents, whole.config.guard.share)
        return Scanner(target=target, ledger=whole.ledger, sources=whole.sources, guard=guard, clock=whole.clock)

    def documents(self) -> set[str]:
        """What search can show, as SOURCE/ID."""
        return shown(self.whole)

    def points(self) -> set[str]:
        """Every document that the store holds points of, as SOURCE/ID."""
        return stored(self.whole)

    def divergent(self) -> int:
        return sum(self.whole.verify().divergent.values())


def stored(whole: Whole) -> set[str]:
    """Name the documents that the store holds points of."""
    return {point.payload["doc_id"] for point in _points(whole)}


def shown(whole: Whole) -> set[str]:
    """Name the documents of configured sources that search admits points of."""
    names = {target.name for target in whole.targets}
    points = [point for point in _points(whole) if point.payload["source"] in names]
    admitted = whole.ledger.admitted([point.chunk_id for point in points])
    return {point.payload["doc_id"] for point in points if point.chunk_id in admitted}


def _points(whole: Whole) -> list[StoredPoint]:
    points: list[StoredPoint] = []
    while page := whole.store.scroll(points[-1].chunk_id if points else None, 500):
        points += page
    return points
