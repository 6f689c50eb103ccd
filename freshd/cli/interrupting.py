"""How a command ends that is interrupted: with a word, in order, and with the code that says so."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import typer

from freshd.cli.options import talk


@contextmanager
def interruptible(then: str) -> Iterator[None]:
    """End with a word and with 130 on Ctrl-C, 143 on SIGTERM; everything open is closed in order before that."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except KeyboardInterrupt as interruption:
        number = interruption.args[0] if interruption.args else signal.SIGINT
        talk.print(f"interrupted; {then}")
        raise typer.Exit(128 + number) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(number)
