"""Looks at a model's files and leaves no trace: nothing is put together, fetched or loaded."""

import os
from dataclasses import dataclass
from pathlib import Path

from freshd.embedder.bundled import inspect_bundled
from freshd.embedder.files import or_unavailable
from freshd.embedder.folder import open_folder
from freshd.model import Digest


@dataclass(frozen=True, slots=True)
class ModelSeen:
    """What lies there of a model.

    Attributes:
        told: In words.
        identity: That of its embedder; None where the files are not all there yet.

    """

    told: str
    identity: Digest | None = None


def inspect_model(model: str, models_dir: Path, base: Path) -> ModelSeen:
    """Look at the files of the model that the config names.

    Raises:
        ConfigError: A folder lacks a file.
        EmbedderUnavailable: Files differ from the pinned ones, or cannot be read.

    """
    if model == "bundled":
        files = inspect_bundled(models_dir)
        if files is None:
            return ModelSeen("bundled, as pinned; put together at the next start")
        return ModelSeen("bundled, as pinned", files.identity())
    folder = base / os.path.expanduser(model)
    with or_unavailable(folder):
        if folder.is_dir() or model.startswith((".", "/", "~")):
            return ModelSeen(f"folder {folder}", open_folder(folder).identity())
    fetched = any(models_dir.glob("models--*")) or any(models_dir.glob("fast-*"))
    return ModelSeen(f"{model}, {'fetched' if fetched else 'fetched from its hub at the next start'}")
