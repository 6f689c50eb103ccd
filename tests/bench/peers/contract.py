"""What a peer is asked for, and what it embeds with."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tests.bench.drawn import drawn

Vectors = list[NDArray[np.float32]]


class Peer(Protocol):
    """One index over one folder; built once a process as `Peer(source, state, embedder)`."""

    def sync(self) -> None:
        """Bring the index in line with the folder, durably."""

    def points(self) -> Iterable[tuple[str, str]]:
        """Give every indexed chunk: path relative to the source, text."""

    def close(self) -> None:
        """Let go of everything."""


class Watching(Peer, Protocol):
    """One that can follow its folder."""

    def watch(self, on_upsert: Callable[[Sequence[str]], None]) -> None:
        """Keep the index in line from now on, in threads of its own; returns once all is indexed.

        Args:
            on_upsert: Called with the texts of chunks as soon as they are searchable.

        """


class CountedEmbedder:
    """The one way to a vector: counts texts and characters; a hash, or the bundled model's."""

    def __init__(self, models: Path | None) -> None:
        """Load the model from a folder; None for hashes."""
        self.texts = 0
        self.characters = 0
        self.seconds = 0.0
        self._lock = threading.Lock()
        self._model = None
        if models is not None:
            from freshd.embedder.bundled import open_bundled
            from freshd.embedder.dense import load_model

            self._model = load_model(open_bundled(models))

    @property
    def is_real(self) -> bool:
        return self._model is not None

    def embed(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            self.texts += len(texts)
            self.characters += sum(map(len, texts))
        return list(self._vectors(texts))

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return next(self._vectors([text]))

    def _vectors(self, texts: Sequence[str]) -> Iterator[NDArray[np.float32]]:
        if self._model is not None:
            return iter(self._model.passage_embed(list(texts), batch_size=32))
        return map(drawn, texts)


def relative(path: str, source: Path) -> str:
    return Path(path).resolve().relative_to(source.resolve()).as_posix()
