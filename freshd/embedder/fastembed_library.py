"""The one door to fastembed: imported late, and kept from writing to our stderr."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastembed import TextEmbedding


def text_embedding() -> "type[TextEmbedding]":
    """Import fastembed's text models: 0.6 s and 45 MB at the first call."""
    from loguru import logger

    logger.disable("fastembed")  # what it has to say comes to us as exceptions too
    from fastembed import TextEmbedding

    return TextEmbedding
