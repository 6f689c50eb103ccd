"""Writes anew what is made of every recorded run, or takes one in: `[JOURNAL NAME]`."""

import sys
from pathlib import Path

from tests.compare.recorded import journals, keep, take_in

for journal in [take_in(Path(sys.argv[1]), sys.argv[2])] if len(sys.argv) > 1 else journals():
    keep(journal)
