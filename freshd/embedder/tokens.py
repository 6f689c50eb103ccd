"""Counting tokens as the model would read them, without loading the model."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from freshd.embedder.files import ModelFiles, read_json
from freshd.errors import EmbedderUnavailable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEXTS_AT_ONCE = 256
"""An encoding takes some 100 bytes a token: 256 texts of 256 tokens stay under 10 MB."""


class TokenCounter:
    """The model's own tokenizer, with truncation and padding off."""

    def __init__(self, files: ModelFiles) -> None:
        """Load the tokenizer.

        Raises:
            EmbedderUnavailable: Its files cannot be read.

        """
        try:
            self._tokenizer = _load(files)
        except Exception as error:  # the library raises bare Exception for a file that it cannot read
            raise EmbedderUnavailable(
                f"tokenizer of {files.folder}: {error}", hint="copy the model's files again"
            ) from error

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, special ones included; nothing is cut."""
        remaining = iter(texts)
        counts: list[int] = []
        while batch := list(islice(remaining, TEXTS_AT_ONCE)):
            counts.extend(len(encoding) for encoding in self._tokenizer.encode_batch_fast(batch))
        return counts

    def cut(self, text: str, max_tokens: int) -> str:
        """Give the longest start of a text that has at most so many tokens, special ones included."""
        room = max_tokens - self._tokenizer.num_special_tokens_to_add(is_pair=False)
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return text if len(offsets) <= room else text[: offsets[room - 1][1]]


def _load(files: ModelFiles) -> "Tokenizer":
    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer.from_file(str(files.folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # fastembed adds these as well; without them a text that holds one would be counted as more tokens
    tokenizer.add_special_tokens(
        [t if isinstance(t, str) else AddedToken(**t) for t in _special_tokens(files) if isinstance(t, str | dict)]
    )
    return tokenizer


def _special_tokens(files: ModelFiles) -> Iterator[object]:
    for value in read_json(files.folder / "special_tokens_map.json").values():
        yield from value if isinstance(value, list) else [value]
