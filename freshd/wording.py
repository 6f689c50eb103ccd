"""Says things as people do, in one way wherever they are said. Pure."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
_MOST_SAID = 200


def duration(seconds: float | None) -> str:
    """Write measured seconds as people say them: `0.21 s`, `48 s`, `3.5 min`, `2.1 d`; a dash for unknown."""
    if seconds is None:
        return "–"
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{_short(seconds / size)} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s" if seconds >= 0.01 else "0 s"


def setting(seconds: float) -> str:
    """Write configured seconds in the largest unit that needs no fraction: `1 min`, `90 s`, `28 d`."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:,.0f} {unit}"
    return duration(seconds)


def unforeseen(error: Exception) -> str:
    """Write an error that nobody foresaw in one line: its type, and the first 200 characters of what it said."""
    said = " ".join(str(error).split())[:_MOST_SAID]
    return f"{type(error).__name__} ({said})" if said else type(error).__name__


def _short(amount: float) -> str:
    return f"{amount:.1f}".removesuffix(".0") if amount < 9.95 else f"{amount:,.0f}"
