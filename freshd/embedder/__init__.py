"""The embedder: dense vectors from an ONNX model through fastembed, sparse ones from Qdrant's BM25.

    model name ─▶ files, checked ─▶ identity
                        ├─▶ tokenizer ─▶ token counts
    texts ──────────────┴─▶ batches of like length ─▶ ONNX session ─▶ unit vectors
    text  ────────────────▶ BM25 ─▶ term weights

Importing this room loads none of its libraries: numpy, fastembed and onnxruntime come with the first vector,
the tokenizer with the first count.
"""

import os
from pathlib import Path

from freshd.embedder.adapter import FastembedEmbedder
from freshd.embedder.bundled import bytes_missing, open_bundled
from freshd.embedder.files import or_unavailable
from freshd.embedder.folder import open_folder
from freshd.embedder.hub import open_hub

__all__ = ["FastembedEmbedder", "lasting_name", "missing_bytes", "open_embedder"]

BUNDLED = "bundled"


def open_embedder(model: str, models_dir: Path, base: Path) -> FastembedEmbedder:
    """Open the model that the config names; nothing is loaded into memory yet.

    Args:
        model: `bundled`, a folder with an ONNX model, or a name that fastembed knows; a folder goes first.
        models_dir: Where model files are kept; created when absent.
        base: Folder of the config file; a relative folder starts there.

    Raises:
        ConfigError: The folder lacks a file, or fastembed knows no such name.
        EmbedderUnavailable: The bundled files are absent or differ from the pinned ones, or the folder cannot be read.

    """
    if model == BUNDLED:
        return FastembedEmbedder(open_bundled(models_dir))
    with or_unavailable(model):
        folder = _folder(model, base)
        if folder is not None:
            return FastembedEmbedder(open_folder(folder))
    return FastembedEmbedder(open_hub(model, models_dir))


def missing_bytes(model: str, models_dir: Path) -> int:
    """Tell how much disk `open_embedder` takes, which only the bundled model does, and once."""
    return bytes_missing(models_dir) if model == BUNDLED else 0


def lasting_name(model: str, base: Path) -> str:
    """Give a name that means the same model when the config has moved: a folder with its whole path."""
    folder = None if model == BUNDLED else _folder(model, base)
    return model if folder is None else str(folder.resolve())


def _folder(model: str, base: Path) -> Path | None:
    folder = base / os.path.expanduser(model)
    return folder if folder.is_dir() or model.startswith((".", "/", "~")) else None
