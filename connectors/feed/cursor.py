"""What one poll of a feed hands to the next, as opaque text. Pure."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from urllib.parse import urlsplit

from freshd.model import Fetched

POLLS_PER_UNCONDITIONAL = 10
"""Validators are a hint: some servers answer 304 for ever; so every tenth poll asks for everything."""

SAME_ANSWERS_TO_MOVE = 3
"""One permanent redirect may be a captive portal or a mistake."""

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Cursor:
    """State of polling one feed.

    Attributes:
        feed: Hash of the configured URL: another feed starts afresh, and no secret in the URL is kept.
        sha256: Of the last body.
        polls: Conditional ones since the last unconditional one.
        moved_to: Where permanent redirects led, if it is fit to be kept.
        moved_answers: How often in a row they led there.
        ttl_s: The feed's own wish between two polls; 0 if it has none.

    """

    feed: str
    etag: str | None = None
    last_modified: str | None = None
    sha256: str | None = None
    polls: int = 0
    moved_to: str | None = None
    moved_answers: int = 0
    ttl_s: float = 0.0

    @classmethod
    def load(cls, text: str | None, url: str) -> "Cursor":
        """Read a cursor; one of another feed or of another version counts as none."""
        fresh = cls(feed=_hash(url))
        try:
            fields = json.loads(text or "{}")
            if fields.pop("version") != _VERSION:
                return fresh
            cursor = cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError):
            return fresh
        return cursor if cursor.feed == fresh.feed else fresh

    def dump(self) -> str:
        """Write it for the ledger."""
        return json.dumps({"version": _VERSION, **asdict(self)}, separators=(",", ":"))

    @property
    def has_moved(self) -> bool:
        """The feed has said often enough that it lives elsewhere."""
        return self.moved_to is not None and self.moved_answers >= SAME_ANSWERS_TO_MOVE

    @property
    def is_conditional(self) -> bool:
        """Whether the next poll may be answered with 304."""
        return self.polls < POLLS_PER_UNCONDITIONAL - 1

    def after(self, fetched: Fetched) -> "Cursor":
        """Carry on after an answer whose body was the same, or not yet looked at."""
        kept = self if fetched.status == 304 else Cursor(self.feed)
        moved_to, moved_answers = self._movement(fetched)
        return replace(
            self,
            etag=fetched.etag or kept.etag,
            last_modified=fetched.last_modified or kept.last_modified,
            polls=self.polls + 1 if self.is_conditional else 0,
            moved_to=moved_to,
            moved_answers=moved_answers,
        )

    def holding(self, sha256: str, ttl_s: float) -> "Cursor":
        """Note the body that was parsed to its end."""
        return replace(self, sha256=sha256, ttl_s=ttl_s)

    def without_validators(self) -> "Cursor":
        """Make the next poll fetch everything: what came now was not whole."""
        return replace(self, etag=None, last_modified=None, sha256=None)

    def without_move(self) -> "Cursor":
        """Go back to the configured URL: where the feed was said to live, it does not answer."""
        return replace(self, moved_to=None, moved_answers=0)

    def _movement(self, fetched: Fetched) -> tuple[str | None, int]:
        if self.has_moved:
            return self.moved_to, self.moved_answers
        target = fetched.permanent_url
        # The cursor lies in the ledger, where no secret may be, and a query may hold one.
        if target is None or urlsplit(target).query:
            return None, 0
        return target, self.moved_answers + 1 if target == self.moved_to else 1


def _hash(url: str) -> str:
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
