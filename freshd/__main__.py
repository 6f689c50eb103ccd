"""Where the program starts: commands in, one `error:` and one `try:` line out when something is wrong."""

import sys

from freshd.cli import app
from freshd.errors import FreshdError


def main() -> None:
    """Run a command; end with its exit code."""
    try:
        app()
    except FreshdError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"error: {line}\n")
        if error.hint:
            sys.stderr.write(f"try:   {error.hint}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
