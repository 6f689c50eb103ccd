"""How long random histories are, and where they lie."""

import os
import shutil

from hypothesis import HealthCheck, settings


def profile(examples: int, steps: int) -> settings:
    """So many histories of so many steps, however long each takes."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


def memory() -> str | None:
    """A file system in memory where there is one with room: nothing depends on a real disk but the time."""
    place = "/dev/shm"
    has_room = os.access(place, os.W_OK) and shutil.disk_usage(place).free > 2**30
    return place if has_room else None
