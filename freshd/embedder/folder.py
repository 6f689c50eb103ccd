"""A folder with an ONNX model, as sentence-transformers lays it out."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from freshd.embedder.files import TOKENIZER_FILES, ModelFiles, Pooling, read_json, read_max_tokens
from freshd.errors import ConfigError

MODEL_FILES = ("model.onnx", "onnx/model.onnx")
POOLING_FILE = "1_Pooling/config.json"

_POOLING_FLAGS = {
    "pooling_mode_mean_tokens": Pooling.MEAN,
    "pooling_mode_cls_token": Pooling.CLS,
    "pooling_mode_lasttoken": Pooling.LAST_TOKEN,
}


def open_folder(folder: Path) -> ModelFiles:
    """Look whether all is there that a text model needs; the model itself is not loaded.

    Raises:
        ConfigError: A file is missing or does not say what it should, named with its path.

    """
    model_file = _first_file(folder, MODEL_FILES)
    for name in TOKENIZER_FILES[:2]:
        _first_file(folder, (name,))
    return ModelFiles(
        name=str(folder),
        folder=folder,
        model_file=model_file,
        parts=tuple(sorted(_parts(folder, model_file))),
        max_tokens=read_max_tokens(folder),
        pooling=_read_pooling(folder / POOLING_FILE),
    )


def _first_file(folder: Path, candidates: tuple[str, ...]) -> str:
    for name in candidates:
        path = folder / name
        if path.is_file() and path.stat().st_size:
            return name
    raise ConfigError(
        f"embedding.model: {folder}: got no {' or '.join(candidates)}, or an empty one",
        hint="point embedding.model at a folder with an ONNX model and its tokenizer, or use a model name",
    )


def _parts(folder: Path, model_file: str) -> Iterator[str]:
    yield model_file
    yield from (name for name in (*TOKENIZER_FILES, POOLING_FILE) if (folder / name).is_file())
    yield from (str(path.relative_to(folder)) for path in _external_data(folder / model_file))


def _external_data(model: Path) -> Iterator[Path]:
    """Find the siblings that the model file names: large models keep their weights beside the graph."""
    siblings = [path for path in model.parent.iterdir() if path.is_file() and path != model]
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for path in siblings:
            if path.name not in TOKENIZER_FILES and content.find(os.fsencode(path.name)) >= 0:
                yield path


def _read_pooling(path: Path) -> Pooling:
    """Read how token vectors become one; guessing it would give vectors that look right and are not."""
    config = read_json(path)
    chosen = [pooling for flag, pooling in _POOLING_FLAGS.items() if config.get(flag) is True]
    others = [flag for flag, on in config.items() if flag.startswith("pooling_mode_") and on is True]
    if len(chosen) == 1 and len(others) == 1:
        return chosen[0]
    raise ConfigError(
        f"embedding.model: {path}: got {', '.join(others) or 'no pooling mode'}, "
        f"expected exactly one of {', '.join(_POOLING_FLAGS)}",
        hint='write {"pooling_mode_mean_tokens": true} there if the model averages its tokens',
    )
