"""Writes anew what is made of the recorded run."""

from tests.compare.recorded import keep

keep()
