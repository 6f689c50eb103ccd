"""Pages of drawn words, as common as in a language (Zipf), and one paragraph of one of them written anew."""

import random
import time
from itertools import accumulate

from freshd.compose import Whole
from freshd.guard import Guard
from freshd.scheduler import Scanner
from tests.bench.instance import Instance

CHUNKS_A_DOCUMENT = 20
_WORDS_A_CHUNK = 60
_VOCABULARY = 20_000
_SEED = 3


class Pages:
    """Documents of 20 chunks that are drawn, and drawn anew in part.

    Attributes:
        names: Their ids.

    """

    def __init__(self, instance: Instance, n: int) -> None:
        """Write so many."""
        self._docs = instance.docs
        self._chance = random.Random(_SEED)
        self._words = [f"w{self._chance.randrange(36**5):x}" for _ in range(_VOCABULARY)]
        self._weights = list(accumulate(1 / (rank + 1) for rank in range(_VOCABULARY)))
        self.names = [f"{number // 500:04}/{number:06}.md" for number in range(n)]
        for number, name in enumerate(self.names):
            path = self._docs / name
            path.parent.mkdir(exist_ok=True)
            parts = (f"## Part {part}\n\n{self._paragraph()}\n" for part in range(CHUNKS_A_DOCUMENT))
            path.write_text("\n".join([f"# Page {number}\n", *parts]))

    def edit(self, name: str) -> None:
        """Write one paragraph of a page anew."""
        path = self._docs / name
        head, mark, rest = path.read_text().partition("## Part 7\n")
        _, *after = rest.partition("\n## Part 8\n")
        path.write_text("".join([head, mark, f"\n{self._paragraph()}\n", *after]))

    def query(self) -> str:
        """Draw three words."""
        return " ".join(self._drawn(3))

    def _paragraph(self) -> str:
        return f"{' '.join(self._drawn(_WORDS_A_CHUNK))}."

    def _drawn(self, n: int) -> list[str]:
        return self._chance.choices(self._words, cum_weights=self._weights, k=n)


def updated(whole: Whole, pages: Pages, name: str) -> tuple[float, float]:
    """Change one paragraph of one document and apply it as the daemon does; give seconds until searchable, durable."""
    pages.edit(name)
    (target,) = whole.targets
    scanner = Scanner(
        target=target, ledger=whole.ledger, sources=whole.sources, guard=Guard(1_000, 1.0), clock=whole.clock
    )
    began_at, began_s = whole.clock.now(), time.perf_counter()
    scanner.look({name: began_at})
    (outcome,) = whole.search.run(whole.ledger.take(whole.clock.now(), 64))
    durable_s = time.perf_counter() - began_s
    if outcome.fates.embedded != 1 or outcome.searchable_at is None:
        raise RuntimeError(f"expected one chunk embedded, got {outcome}")
    return (outcome.searchable_at - began_at).total_seconds(), durable_s
