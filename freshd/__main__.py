"""Where the program starts: commands in, one `error:` and one `try:` line out when something is wrong."""

import io
import os
import sys
from contextlib import suppress

from freshd import logs
from freshd.cli import UsageError, app, usage_fault
from freshd.errors import FreshdError


def main() -> None:
    """Run a command; end with its exit code."""
    _open_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what a terminal's encoding lacks is no reason to show nothing
    sys.exit(_run())


def _open_standard_streams() -> None:
    """Point those at nowhere that the caller closed: else the next file gets their number, and talk goes into it."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    # What was closed when Python began is None to it: nobody listens, and nobody has to ask whether somebody does.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - as long as the process lives
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - as long as the process lives


def _run() -> int:
    logs.configure("console", "warning")  # until a daemon's config says otherwise; never on stdout, which is data
    try:
        return app(prog_name="freshd", standalone_mode=False) or 0
    except FreshdError as error:
        _tell(str(error), error.hint)
        return error.exit_code
    except UsageError as error:
        _tell(*usage_fault(error))
        return 2


def _tell(what: str, hint: str) -> None:
    with suppress(OSError):  # nobody listens
        for line in what.splitlines():
            sys.stderr.write(f"error: {line}\n")
        if hint:
            sys.stderr.write(f"try:   {hint}\n")


if __name__ == "__main__":
    main()
