"""What a soak says of memory: growth is told from noise."""

import math
import random

from tests.torture.soak import Memory, slope_of


def _walk(mib_per_hour: float, noise_mib: float) -> list[tuple[float, float]]:
    """Samples of half an hour, each close to the one before, as memory is."""
    drawn = random.Random(7)
    off, samples = 0.0, []
    for i in range(900):
        off = 0.95 * off + drawn.gauss(0, noise_mib)
        samples.append((i / 1_800, 70 + mib_per_hour * i / 1_800 + off))
    return samples


def test_what_only_goes_up_and_down_is_not_told_from_none():
    slope, give_or_take = slope_of(_walk(0, 0.3))
    assert abs(slope) < give_or_take < 3


def test_growth_is_told_with_its_interval():
    slope, give_or_take = slope_of(_walk(15.5, 0.3))
    assert abs(slope - 15.5) < give_or_take < slope


def test_a_soak_fails_by_growth_that_is_certain():
    assert Memory(70, 85, 15.5, 3).grows
    assert not Memory(70, 72, 2.0, 1.5).grows


def test_too_few_samples_tell_nothing():
    slope, give_or_take = slope_of(_walk(5, 0)[:11])
    assert math.isnan(slope)
    assert give_or_take == math.inf
