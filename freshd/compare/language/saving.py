"""Adapters as a file: written whole or not at all, and read back only as what they were."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from freshd.compare.language.training import Adapters
from freshd.errors import FreshdError
from freshd.redaction import printable


def save_adapters(path: Path, adapters: Adapters) -> tuple[str, int]:
    """Write the weights of adapters, in the form of safetensors.

    Returns:
        SHA-256 of the file, and its bytes; it is on disk by then.

    Raises:
        FreshdError: It could not be written.

    """
    from safetensors.torch import save

    content = save({name: weight.contiguous() for name, weight in adapters.weights.items()})
    draft = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise FreshdError(
            f"{printable(str(path))}: got {error.strerror}, expected to write {len(content):,} bytes to it",
            hint="make room, then give the same command again: it goes on with the arm it was at",
        ) from error
    return hashlib.sha256(content).hexdigest(), len(content)


def load_adapters(path: Path, sha256: str, rank: int, alpha: int) -> Adapters | None:
    """Read adapters back; None where the file is gone, or not the one that was written."""
    from safetensors.torch import load

    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != sha256:
        return None
    return Adapters(rank, alpha, load(content))
