"""May these deletions pass? Pure.

A look that would delete much of a source is more often a broken look than a true deletion:
an unmounted disk, a mistyped glob, an emptied folder.
"""

from dataclasses import dataclass
from enum import Enum, auto


class Verdict(Enum):
    """What to do with the deletions one look found."""

    PASS = auto()
    WAIT = auto()
    """Look again once the added documents were read: some deletions may turn out to be moves."""
    HOLD = auto()
    """A person has to approve."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Holds back more than max(`documents`, `share`) of a source, or all of it from `everything_from` documents up.

    Attributes:
        documents: Deletions that always pass, unless they are everything.
        share: Of the source's documents, in [0, 1].
        everything_from: Smallest source whose complete disappearance is held.

    """

    documents: int = 20
    share: float = 0.2
    everything_from: int = 5

    def judge(self, deletions: int, of: int, *, unread: int = 0, suspicion: str | None = None) -> Verdict:
        """Judge the deletions of one look, moves not counted.

        Args:
            deletions: How many documents the look would delete.
            of: How many documents the index holds of the source.
            unread: Documents found new but not read yet, which may be moved ones.
            suspicion: Why the look itself is doubtful; then nothing passes without a person.

        """
        if deletions == 0:
            return Verdict.PASS
        is_everything = deletions >= of >= self.everything_from
        is_much = deletions > max(self.documents, self.share * of)
        if not (is_everything or is_much or suspicion):
            return Verdict.PASS
        return Verdict.WAIT if unread and not suspicion else Verdict.HOLD
