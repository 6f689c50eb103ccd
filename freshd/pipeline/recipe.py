"""How documents become points, as one thing with one identity."""

from dataclasses import dataclass

from freshd.chunker import ChunkLimits
from freshd.model import Digest
from freshd.ports import Embedder, Parser


@dataclass(frozen=True, slots=True)
class Recipe:
    """How documents become points.

    Attributes:
        identity: Changes with the parser, the chunker, its limits or the embedder.

    """

    parser: Parser
    limits: ChunkLimits
    embedder: Embedder
    identity: Digest
