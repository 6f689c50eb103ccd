"""Says in one line that a model does not fit into memory."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from freshd.errors import FreshdError

_SHORT: Final = re.compile("out of memory|can.t allocate memory|not enough memory", re.IGNORECASE)
_MEND: Final = "free some memory, or name a smaller model: --model DIR"


@contextmanager
def memory_told(doing: str) -> Iterator[None]:
    """Raise `FreshdError` where the block runs out of memory.

    Args:
        doing: What it does, as an infinitive.

    """
    try:
        yield
    except MemoryError as error:
        raise FreshdError(f"compare: out of memory, while about to {doing}", hint=_MEND) from error
    except RuntimeError as error:  # torch has a class of its own for it only on a GPU
        if not _SHORT.search(str(error)):
            raise
        raise FreshdError(f"compare: out of memory, while about to {doing}", hint=_MEND) from error
