"""Leads from one generation to the next, one bounded piece at a time, by the thread that writes.

    wanted is live         nothing to do; what stands beside is kept for a while, then discarded
    wanted stands beside   filled, until it holds what the live one holds ─▶ switch: the former one stands beside
    wanted is neither      what stands beside is discarded, the wanted one begun

Every step is noted before it begins and can be done again, so that killed anywhere it goes on where it was.
A question asked of one generation is answered by it alone, whatever is switched meanwhile.
"""

from freshd.generations.means import Filling, Means, PublicStore
from freshd.generations.succession import Generations
from freshd.generations.upkeep import Upkeep

__all__ = ["Filling", "Generations", "Means", "PublicStore", "Upkeep"]
