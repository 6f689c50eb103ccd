"""Cuts what is sent into what fits one call, whoever takes it. Pure."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")


def portions(items: Iterable[_T], size_of: Callable[[_T], int], at_most: int, max_bytes: int) -> Iterator[list[_T]]:
    """Cut items into runs that fit one call each, in number and in bytes; a single large item travels alone."""
    run: list[_T] = []
    run_bytes = 0
    for item in items:
        item_bytes = size_of(item)
        if run and (len(run) == at_most or run_bytes + item_bytes > max_bytes):
            yield run
            run, run_bytes = [], 0
        run.append(item)
        run_bytes += item_bytes
    if run:
        yield run
