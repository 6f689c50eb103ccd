"""Models that fastembed knows by name; it fetches them itself, into freshd's own folder."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from freshd.embedder.fastembed_library import text_embedding
from freshd.embedder.files import TOKENIZER_FILES, ModelFiles, read_max_tokens
from freshd.errors import ConfigError, EmbedderUnavailable

ATTEMPTS = 1
"""fastembed would try three times and sleep 39 s in between; whoever calls this room has a backoff already."""


def open_hub(name: str, models_dir: Path) -> Callable[[], ModelFiles]:
    """Look the name up; the files are found, or fetched, when they are first needed.

    Raises:
        ConfigError: fastembed knows no such model; the message names those that are spelt alike.

    """
    known = {model["model"].lower(): model for model in text_embedding().list_supported_models()}
    model = known.get(name.lower())
    if model is None:
        raise _unknown(name, [model["model"] for model in known.values()])
    return lambda: _resolve(model, models_dir)


def _unknown(name: str, known: list[str]) -> ConfigError:
    by_tail = {model.rpartition("/")[2].lower(): model for model in known}
    alike = difflib.get_close_matches(name.lower().rpartition("/")[2], by_tail, n=3, cutoff=0.5)
    near = f"; near: {', '.join(by_tail[tail] for tail in alike)}" if alike else ""
    return ConfigError(
        f"embedding.model: got {name!r}, expected 'bundled', a folder with an ONNX model, "
        f"or a name that fastembed knows{near}",
        hint=f'set model = "{by_tail[alike[0]]}"' if alike else 'set model = "bundled"',
    )


def _resolve(model: dict[str, Any], models_dir: Path) -> ModelFiles:
    folder = _fetch(model, models_dir)
    wanted = (model["model_file"], *model["additional_files"], *TOKENIZER_FILES)
    return ModelFiles(
        name=model["model"],
        folder=folder,
        model_file=model["model_file"],
        parts=tuple(sorted(part for part in wanted if (folder / part).is_file())),
        max_tokens=read_max_tokens(folder),
        dimension=model["dim"],
    )


def _fetch(model: dict[str, Any], models_dir: Path) -> Path:
    """Give the folder of the model's files; no hub is asked for files that are here already."""
    from fastembed.common.model_description import DenseModelDescription, ModelSource

    description = DenseModelDescription(**{**model, "sources": ModelSource(**model["sources"])})
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        return text_embedding().download_model(description, str(models_dir), retries=ATTEMPTS)
    except Exception as error:
        raise EmbedderUnavailable(
            f"model {model['model']}: not in {models_dir} and not to be had from its hub: {error}",
            hint='give this machine a way to the hub once, or set model = "bundled" or a folder',
        ) from error
