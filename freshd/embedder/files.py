"""What a model is made of on disk, and the identity that follows from it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from freshd.errors import ConfigError, EmbedderUnavailable
from freshd.model import Digest

EMBEDDER_VERSION = 1
"""Raise it when this room begins to make other vectors, dense or sparse, of the same text with the same files."""

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "config.json")
"""What decides how text becomes token ids; the first two must exist."""

_MAX_BELIEVABLE_TOKENS = 2**20
"""A tokenizer without a limit of its own writes 10³⁰ into its config."""

_MAKE_READABLE = "make the model's files readable for the user that runs freshd"


class Pooling(StrEnum):
    """How the vectors of a text's tokens become one."""

    MEAN = "mean"
    CLS = "cls"
    LAST_TOKEN = "last_token"  # noqa: S105 (no password)


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model as it lies on disk, complete.

    Attributes:
        name: What messages call it; for a model of fastembed's own the name it goes by there.
        model_file: The ONNX file, relative to `folder`.
        parts: All files that the vectors depend on, relative to `folder`.
        max_tokens: Most tokens the model reads of one text, special tokens included.
        pooling: None when fastembed knows it by the name.
        dimension: None when only the model's output tells.

    """

    name: str
    folder: Path
    model_file: str
    parts: tuple[str, ...]
    max_tokens: int
    pooling: Pooling | None = None
    dimension: int | None = None

    def identity(self) -> Digest:
        """Hash everything that decides about the vectors; the place of the files does not.

        Raises:
            EmbedderUnavailable: One of them cannot be read.

        """
        with or_unavailable(self.name):
            files = {part: sha256_of(self.folder / part) for part in self.parts}
        recipe = {
            "version": EMBEDDER_VERSION,
            "files": files,
            "pooling": self.pooling or self.name,
            "normalised": True,
            "max_tokens": self.max_tokens,
        }
        return Digest(hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest())


@contextmanager
def or_unavailable(model: Path | str) -> Iterator[None]:
    """Say of a model whose files may not be read what mends it."""
    try:
        yield
    except OSError as error:
        raise EmbedderUnavailable(f"embedding.model: {model}: {error}", hint=_MAKE_READABLE) from error


def sha256_of(path: Path) -> Digest:
    """Hash a file without holding it in memory."""
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a JSON object; empty when the file is absent.

    Raises:
        ConfigError: It is there but is no JSON object.

    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        hint = _MAKE_READABLE if isinstance(error, PermissionError) else "copy the model's files again"
        raise ConfigError(f"embedding.model: {path}: {error}", hint=hint) from error
    if not isinstance(content, dict):
        raise ConfigError(f"embedding.model: {path}: got {type(content).__name__}, expected a JSON object")
    return content


def read_max_tokens(folder: Path) -> int:
    """Find the strictest limit that the model's own files declare.

    Raises:
        ConfigError: The tokenizer declares none; without it the model would be fed more than it can read.

    """
    path = folder / "tokenizer_config.json"
    tokenizer = read_json(path)
    limits = _limits(tokenizer.get("model_max_length"), tokenizer.get("max_length"))
    if not limits:
        raise ConfigError(
            f"embedding.model: {path}: got no model_max_length, expected the model's token limit",
            hint='add "model_max_length" to that file',
        )
    sentence = read_json(folder / "sentence_bert_config.json")
    return min(limits + _limits(sentence.get("max_seq_length")))


def _limits(*declared: object) -> list[int]:
    return [n for n in declared if isinstance(n, int) and n is not True and 0 < n <= _MAX_BELIEVABLE_TOKENS]
