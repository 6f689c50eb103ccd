"""Vectors that cost nothing: drawn, the same ones for the same text."""

import hashlib

import numpy as np
from numpy.typing import NDArray

DIMENSION = 384


def drawn(text: str) -> NDArray[np.float32]:
    """Give the unit vector of a text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    vector = np.random.default_rng(seed).standard_normal(DIMENSION, dtype=np.float32)
    return vector / np.linalg.norm(vector)
