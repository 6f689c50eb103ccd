"""Asks a connector, which may be anybody's code, about one document."""

from collections.abc import Iterator
from contextlib import contextmanager

from freshd.errors import DocumentUnreadable, FreshdError
from freshd.model import DocumentId
from freshd.wording import unforeseen


@contextmanager
def connector_faults_told(document_id: DocumentId) -> Iterator[None]:
    """Have a fault of a connector cost the document, not the thread that writes.

    Raises:
        DocumentUnreadable: It raised what no connector should, or memory does not suffice.

    """
    try:
        yield
    except FreshdError:
        raise
    except MemoryError as error:
        raise lacks_memory(document_id) from error
    except Exception as error:
        raise DocumentUnreadable(
            f"{document_id}: got {unforeseen(error)} from its connector, expected a document",
            hint="tell whoever made the connector, or leave the document out",
        ) from error


def lacks_memory(document_id: DocumentId) -> DocumentUnreadable:
    """Say that memory does not suffice for a document; it may another time."""
    message = f"{document_id}: got a need for more memory than there is, expected a smaller document"
    return DocumentUnreadable(message, hint="give the process more memory, or split the document")
