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


def agreed(question: str) -> bool:
    """Ask a person at the terminal, before anything is changed; Ctrl-C and Ctrl-D end the command with 130."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as abort:
        talk.print("\ninterrupted; nothing was changed")
        cause = abort.__context__  # Ctrl-D, Ctrl-C, or what `interruptible` makes of SIGTERM
        number = cause.args[0] if isinstance(cause, KeyboardInterrupt) and cause.args else signal.SIGINT
        raise typer.Exit(128 + number) from None


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(number)
