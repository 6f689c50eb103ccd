"""Models that cost nothing, by the name that a config gives them: `alpha-32` makes vectors of 32 numbers."""

import hashlib
import sys

from freshd.model import Digest, Vector
from tests.kit.embedder import HashEmbedder, in_place_of_models


class NamedModel(HashEmbedder):
    """Two names are two vector spaces."""

    def __init__(self, name: str, max_tokens: int = 256) -> None:
        self.name = name
        super().__init__(int(name.rpartition("-")[2]), max_tokens)
        self.identity = Digest(hashlib.sha256(f"named/{name}".encode()).hexdigest())

    def embed_query(self, text: str) -> Vector:
        """Spread the hash of name and text over all directions."""
        return super().embed_query(f"{self.name}\0{text}")


def main() -> None:
    """Be freshd, with such models."""
    in_place_of_models(lambda model, *_: NamedModel(model))
    from freshd.__main__ import main as freshd_main

    freshd_main()


if __name__ == "__main__":
    sys.exit(main())
