"""freshd as a program of its own whose model costs nothing: `python -m tests.torture.entry COMMAND…`.

Everything but the vectors is what `freshd COMMAND…` runs.
"""

import importlib
from collections import deque

from tests.kit.embedder import HashEmbedder, in_place_of_models

DIMENSION = 384


def main() -> None:
    in_place_of_models(_open_embedder)
    importlib.import_module("freshd.__main__").main()


def _open_embedder(*_: object) -> HashEmbedder:
    embedder = HashEmbedder(DIMENSION)
    embedder.passages = deque(maxlen=0)  # it would remember all it was ever asked, for hours
    return embedder


if __name__ == "__main__":
    main()
