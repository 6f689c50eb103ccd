"""The ONNX session behind fastembed: texts in, packed unit vectors out."""

import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from freshd.embedder.fastembed_library import text_embedding
from freshd.embedder.files import ModelFiles
from freshd.errors import EmbedderUnavailable
from freshd.memory import give_back_memory
from freshd.model import Vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_THREADS = 4
"""Two threads gave 1.3 to 1.8 × the speed of one. Beyond two cores nothing was measured: a guess, kept modest."""

_registering = threading.Lock()


class TextModel(Protocol):
    """What this room uses of a fastembed model; passages and queries may be embedded differently."""

    def passage_embed(self, texts: Iterable[str], **kwargs: Any) -> "Iterable[NDArray[Any]]":
        """Embed passages in order, `batch_size` at a time."""
        ...

    def query_embed(self, query: str | Iterable[str], **kwargs: Any) -> "Iterable[NDArray[Any]]":
        """Embed queries in order."""
        ...


def load_model(files: ModelFiles) -> TextModel:
    """Load the model into an ONNX session; 0.3 s and 100 MB for the bundled one, and as much again meanwhile.

    Raises:
        EmbedderUnavailable: It is no model that ONNX Runtime can run.

    """
    library = text_embedding()
    name = files.name if files.pooling is None else _register(files)
    try:
        model = library(name, threads=count_threads(), specific_model_path=str(files.folder))
    except Exception as error:  # onnxruntime and fastembed have a type for every cause, without a common root
        raise EmbedderUnavailable(f"model {files.name}: {_line(error)}", hint="copy the model's files again") from error
    give_back_memory()  # of the bundled one 62 MiB, which would be kept for good
    return model


def count_threads() -> int:
    """Count the cores this process may use, as far as more of them help."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, MAX_THREADS)


def _register(files: ModelFiles) -> str:
    """Make the model known to fastembed, under a name that no other content can have."""
    from fastembed.common.model_description import ModelSource, PoolingType

    library = text_embedding()
    name = f"freshd/{files.identity()[:32]}"
    with _registering:
        if all(model["model"] != name for model in library.list_supported_models()):
            library.add_custom_model(
                name,
                pooling=PoolingType[files.pooling.name if files.pooling else "MEAN"],
                normalization=True,
                sources=ModelSource(hf=name),  # demanded, never asked: the files are given by path
                dim=files.dimension or 0,  # fastembed only shows it
                model_file=files.model_file,
            )
    return name


class DenseModel:
    """A loaded model. Safe to call from several threads."""

    def __init__(self, name: str, model: TextModel) -> None:
        """Wrap a loaded model; the name is for messages."""
        self._name = name
        self._model = model

    def embed_passages(self, texts: list[str]) -> list[Vector]:
        """Embed one batch in order; when memory does not suffice, half of it at a time.

        Raises:
            EmbedderUnavailable: The model failed, gave no usable vector, or memory does not suffice for one text.

        """
        try:
            return self._pack(self._model.passage_embed(texts, batch_size=len(texts)))
        except EmbedderUnavailable:
            raise
        except Exception as error:
            if not _is_out_of_memory(error) or len(texts) == 1:
                raise self._failed(error) from error
        middle = len(texts) // 2
        return self.embed_passages(texts[:middle]) + self.embed_passages(texts[middle:])

    def embed_query(self, text: str) -> Vector:
        """Embed one query.

        Raises:
            EmbedderUnavailable: The model failed or gave no usable vector.

        """
        try:
            return self._pack(self._model.query_embed(text))[0]
        except EmbedderUnavailable:
            raise
        except Exception as error:
            raise self._failed(error) from error

    def _pack(self, rows: "Iterable[NDArray[Any]]") -> list[Vector]:
        import numpy as np

        matrix = np.array(list(rows), dtype=np.float64)
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and lengths.all()):
            raise EmbedderUnavailable(f"model {self._name}: got a vector without direction, expected finite numbers")
        return [Vector(row.tobytes()) for row in (matrix / lengths).astype("<f4")]

    def _failed(self, error: Exception) -> EmbedderUnavailable:
        hint = "give the process more memory" if _is_out_of_memory(error) else ""
        return EmbedderUnavailable(f"model {self._name}: {_line(error)}", hint=hint)


def _is_out_of_memory(error: Exception) -> bool:
    """Tell a lack of memory, which ONNX Runtime reports as a failure like any other."""
    return isinstance(error, MemoryError) or "alloc" in str(error).lower()


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
