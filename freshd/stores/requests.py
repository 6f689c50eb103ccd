"""How much goes into one request to a server: less, once one was refused for its size.

A server takes 32 MB by default; what stands before it may take far less, nginx 1 MiB.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from freshd.errors import StoreUnavailable
from freshd.portions import portions

MOST_ITEMS = 256
_MOST_BYTES = 8 << 20
"""A quarter of what a server takes, since sizes are estimated."""

_T = TypeVar("_T")


class TooLarge(StoreUnavailable):
    """A request was refused for its size; it did nothing."""


class Portions:
    """Cuts what is written into requests, and remembers what was too much for one."""

    def __init__(self) -> None:
        """Begin with what a server takes by itself."""
        self._most_bytes = _MOST_BYTES

    def send(self, items: Sequence[_T], size_of: Callable[[_T], int], write: Callable[[list[_T]], None]) -> None:
        """Write items in order, some at a time.

        Args:
            items: Each is sent once, and again only after a request that was too large.
            size_of: Bytes that one takes in a request, about.
            write: Sends one request.

        Raises:
            TooLarge: A single one is.

        """
        rest = list(items)
        while rest:
            portion = next(portions(rest, size_of, MOST_ITEMS, self._most_bytes))
            try:
                write(portion)
            except TooLarge:
                if len(portion) == 1:
                    raise
                self._most_bytes = sum(map(size_of, portion)) // 2
            else:
                rest = rest[len(portion) :]
