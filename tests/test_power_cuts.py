"""The power fails at any moment, twenty times: a slice of `python -m tests.torture --cuts 200`.

Needs root and a loop device, for a file system whose image can be copied as it stands.
"""

import tempfile
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from tests.kit.histories import memory
from tests.torture.cuts import power_cuts
from tests.torture.disk import cannot_mount

CUTS = 20


@pytest.mark.timeout(600)
def test_what_was_acknowledged_is_there_after_the_power_failed():
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        if (reason := cannot_mount(Path(folder))) is not None:
            pytest.skip(reason)
    with closing(power_cuts(20_260)) as each:
        kept = list(islice(each, CUTS))
    assert len(kept) == CUTS
    assert sum(kept) >= CUTS, "hardly anything was acknowledged, so hardly anything was proved"
