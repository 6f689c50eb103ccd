"""An exchange ends when it has to, however a peer takes in what it is told."""

from datetime import timedelta

import httpcore
import pytest

from freshd.deadline import BoundStream, Deadline
from tests.kit.clock import HandClock


class Sipping(httpcore.NetworkStream):
    """Takes a second for whatever it is told at once, and no wait of it is long."""

    def __init__(self, clock: HandClock) -> None:
        self.taken = b""
        self._clock = clock

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._clock.advance(timedelta(seconds=1))
        self.taken += buffer


def test_a_large_request_is_given_up_at_the_deadline_and_not_once_it_is_all_taken():
    clock = HandClock()
    peer, request = Sipping(clock), bytes(range(256)) * 4_096
    with pytest.raises(httpcore.WriteTimeout):
        BoundStream(peer, Deadline(clock.monotonic, 10.5)).write(request, timeout=10)
    assert clock.monotonic() == 11
    assert request.startswith(peer.taken)
    peer.taken = b""
    BoundStream(peer, Deadline(clock.monotonic, 1_000)).write(request, timeout=10)
    assert peer.taken == request
