"""The contract `Embedder`, put together from the model's files, its tokenizer, its session and BM25."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence

from freshd.embedder.batches import plan_batches
from freshd.embedder.bm25 import Bm25Terms
from freshd.embedder.dense import DenseModel, TextModel, load_model
from freshd.embedder.files import ModelFiles
from freshd.embedder.once import Once
from freshd.embedder.tokens import TokenCounter
from freshd.model import Digest, SparseVector, Vector

_FLOAT32_BYTES = 4


class FastembedEmbedder:
    """Embeds with an ONNX model through fastembed; implements `ports.Embedder`.

    The same text gives the same bytes whatever it is embedded beside:
    the bundled model's weights are int8, its arithmetic is float32.
    """

    def __init__(
        self, files: ModelFiles | Callable[[], ModelFiles], load: Callable[[ModelFiles], TextModel] = load_model
    ) -> None:
        """Name the model; each part of it is loaded when it is first needed.

        Args:
            files: Where the model lies, or how to find out later.
            load: Loads it; tests hand in models that fail.

        """
        self._files = Once(files if callable(files) else lambda: files)
        self._identity = Once(lambda: self._files().identity())
        self._tokens = Once(lambda: TokenCounter(self._files()))
        self._model = Once(lambda: DenseModel(self._files().name, load(self._files())))
        self._dimension = Once(lambda: self._files().dimension or self._measure_dimension())
        self._bm25 = Once(Bm25Terms)

    @property
    def identity(self) -> Digest:
        """Hash of the model's files and of how their output becomes a vector; numerics of the machine left out."""
        return self._identity()

    @property
    def dimension(self) -> int:
        """Length of every dense vector; loads the model if its files do not tell."""
        return self._dimension()

    @property
    def max_tokens(self) -> int:
        """Most tokens the model reads of one text, special tokens included."""
        return self._files().max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as the model would read it, special tokens included, never cut."""
        return self._tokens().count(texts)

    def embed_passages(self, texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        """Embed texts, yielding (index into `texts`, unit vector), shortest first, one small batch at a time.

        Raises:
            ValueError: At once, before anything is embedded: a text has more than `max_tokens`.
            EmbedderUnavailable: While iterating: the model could not be loaded or failed; retryable.

        """
        counts = self.count_tokens(texts)
        for index, count in enumerate(counts):
            if count > self.max_tokens:
                raise ValueError(f"texts[{index}]: got {count} tokens, expected at most {self.max_tokens}")
        return self._embed(texts, counts)

    def _embed(self, texts: Sequence[str], counts: Sequence[int]) -> Iterator[tuple[int, Vector]]:
        for batch in plan_batches(counts):
            vectors = self._model().embed_passages([texts[index] for index in batch])
            yield from zip(batch, vectors, strict=True)

    def embed_query(self, text: str) -> Vector:
        """Embed one query, its letters in one piece; the longest start that fits the model is what counts."""
        text = unicodedata.normalize("NFC", _printable(text))
        return self._model().embed_query(self._tokens().cut(text, self.max_tokens))

    def sparse_passage(self, text: str) -> SparseVector:
        """Give BM25 term weights of one passage; empty when it has no terms."""
        return self._bm25().passage(text)

    def sparse_query(self, text: str) -> SparseVector:
        """Give BM25 query terms."""
        return self._bm25().query(_printable(text))

    def _measure_dimension(self) -> int:
        return len(self._model().embed_query("dimension")) // _FLOAT32_BYTES


def _printable(query: str) -> str:
    """Replace what is no character: a command line hands bytes outside UTF-8 through as lone surrogates."""
    return query.encode("utf-8", "replace").decode()
