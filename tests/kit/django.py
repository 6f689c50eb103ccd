"""The documentation of Django's releases, fetched once and kept for later runs."""

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent.parent
_FETCH_S = 120
_FETCH = """
import sys
from pathlib import Path
from tests.bench.corpus import DjangoDocs
DjangoDocs(Path(sys.argv[1])).tree(sys.argv[2])
"""


def documentation(version: str, folder: Path) -> Path:
    """Give a folder with the pages of one release; skip the test where they cannot be fetched.

    pip's own parts do it, which warn and set up logging as a command may: hence a process of its own.

    Args:
        version: Of Django.
        folder: Where releases are kept between runs.

    """
    whole = folder / f"{version}.whole"
    if not whole.exists():
        fetched = subprocess.run(
            [sys.executable, "-c", _FETCH, folder, version],
            cwd=_ROOT,
            capture_output=True,
            check=False,
            timeout=_FETCH_S,
        )
        if fetched.returncode:
            pytest.skip("the Django source distributions could not be fetched")
        whole.touch()
    return folder / f"django-{version}"
