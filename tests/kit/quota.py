"""A quota that is used up: the system refuses more disk, as no file system here can be made to."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def used_up_quota() -> Iterator[None]:
    """Refuse more disk, as a quota does."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "posix_fallocate", refuse)
        yield
