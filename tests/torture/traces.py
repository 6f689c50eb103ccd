"""What strace wrote of calls that were made to fail: which they were, and whether freshd owes a word about them.

Fail points that are passed are written to a file, so that they stand among the calls and tell what was being done.
"""

import re
from dataclasses import dataclass
from pathlib import Path

INJECTED = "(INJECTED)"
_LINE = re.compile(r"^(?P<pid>\d+) +(?:<\.\.\. \w+ resumed>)?(?P<rest>.*)$")
_CUT_OFF = "<unfinished ...>"
_MARK = re.compile(r'^write\(\d+<[^>]*/hits>, "(?P<name>\w+)')
_PASSING = re.compile(r"\d+(?=<)|(?<=\.atomicwrite)\w+")
"""What differs between two syncs of one thing: the descriptor, and the name of a file that is to take a place."""


@dataclass(frozen=True)
class Failure:
    """A call that was made to fail.

    Attributes:
        call: As strace shows it, with the paths of descriptors.
        during: The fail point that was passed last before it; empty where none was.
        is_again: The like of it went well since that fail point.

    """

    call: str
    during: str
    is_again: bool

    @property
    def owes(self) -> str:
        """What has to be told, in a word; nothing where all that was applied is as durable as before.

        None is owed for the cache of vectors, which costs time only; for what is written once the store is closed,
        when all is on the disk already; for a sync of a folder by SQLite, which keeps it to itself; for the number of
        the process in the lock; for the second flush of the engine in closing, before which freshd asks for one; and
        for an index of a field, which the engine makes anew when it cannot open it.
        """
        if "/ledger.db" in self.call:
            return "ledger" if self.during != "store_after_close" else ""
        if "/vectors.db" in self.call or not re.search(r"/index/|^msync", self.call):
            return ""
        doing = self.during.removeprefix("store_before_")
        if doing == "open" and not self.call.startswith("msync"):
            return "opening"
        if doing == "flush":
            return "flush"
        return "closing" if doing == "close" and not self.is_again else ""


def failures(path: Path) -> list[Failure]:
    """Read a log of `strace --follow-forks --decode-fds=path` whose calls are in the order in which they began."""
    found: list[Failure] = []
    during, well = "", set[str]()
    for call in _calls(path.read_text(errors="replace")):
        if (mark := _MARK.match(call)) is not None:
            during = mark["name"]
            well.clear()
            continue
        like = _PASSING.sub("", call.partition(") = ")[0])
        if INJECTED in call:
            found.append(Failure(call, during, like in well))
        else:
            well.add(like)
    return found


def _calls(log: str) -> list[str]:
    """Give every call whole, also where strace tells its end apart from its beginning."""
    calls: list[str] = []
    begun: dict[str, int] = {}
    for line in filter(None, map(_LINE.match, log.splitlines())):
        pid, rest = line["pid"], line["rest"]
        if pid in begun:
            calls[begun.pop(pid)] += rest
            continue
        if rest.endswith(_CUT_OFF):
            begun[pid] = len(calls)
        calls.append(rest.removesuffix(_CUT_OFF).rstrip())
    return calls
