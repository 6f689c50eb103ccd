"""Power cuts: what freshd said to be applied is on the disk, whenever the power fails.

freshd works on a file system in an image. It is stopped at any moment, the image is copied as it is,
and the copy is mounted: it lacks whatever was only in memory. What freshd had acknowledged until then
was noted elsewhere, and has to be there before anything is redone. Then freshd is started over the copy.
"""

import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tests.torture.daemon import Daemon
from tests.torture.disk import Disk
from tests.torture.place import SOURCE, Diverged, Place
from tests.torture.points import Durable, memory, read_durable

_WRITTEN = 6
"""Documents that are edited one acknowledgement after another."""

_EDITS = 2
"""Acknowledged between two cuts, at least."""

_LONGEST_PAUSE_S = 0.4
_LONGEST_S = 60.0
_RESTART_EVERY = 3
"""Cuts. What a killed process left in memory alone is lost in a later cut, unless it is put on the disk meanwhile."""

_POLL_S = 0.01


def power_cuts(seed: int, documents: int = 12) -> Iterator[int]:
    """Cut the power again and again; after each cut that lost nothing, give how many acknowledged edits that was."""
    with (
        tempfile.TemporaryDirectory(prefix="freshd-power-", dir=memory()) as folder,
        Disk(Path(folder)) as disk,
        Place(seed, documents=documents, forks=True, scratch_every=10, state=disk.root / "state") as place,
    ):
        daemon = Daemon(place)
        with Writer(place, daemon) as writer:
            try:
                daemon.start()
                writer.start()
                for n in count(1):
                    if n % _RESTART_EVERY:
                        writer.wait_for(_EDITS)
                    else:  # the cut comes while it starts, and perhaps recovers
                        with writer.paused():
                            daemon.kill("both")
                            daemon.start()
                    daemon.pause(place.random.uniform(0, _LONGEST_PAUSE_S))
                    says = f"power cut {n}"
                    with writer.paused(), stopped(daemon):
                        n_kept = _cut(place, disk, writer, says)
                    yield n_kept
            finally:
                daemon.close()


def _cut(place: Place, disk: Disk, writer: "Writer", says: str) -> int:
    acknowledged = writer.acknowledged()  # before the copy: what is said later need not be in it
    with disk.after_power_failed() as root:
        state = root / "state"
        durable = read_durable(state)
        found = durable.complaints() + list(_unkept(acknowledged, durable))
        if found:
            raise Diverged(f"seed {place.seed}, {says}: {len(found)} divergences\n  " + "\n  ".join(found[:10]))
        place.configure("cut.toml", state)
        # Between the two halves of a seal everything is looked at, and what was just being written is doubted.
        place.settle(says, "--config", "cut.toml", in_doubt=len(durable.pending) + len(durable.unknown))
        place.compare(says, state)
    return len(acknowledged)


def _unkept(acknowledged: dict[str, str], durable: Durable) -> Iterator[str]:
    for name, word in acknowledged.items():
        texts = [
            point["payload"]["page_content"]
            for point in durable.points.values()
            if point["payload"]["freshd"]["document_id"] == name
        ]
        if not any(word in text.split() for text in texts):
            yield f"{SOURCE}/{name}: {word} was acknowledged, and is not there: {texts}"


class Writer(threading.Thread):
    """Edits documents and notes, outside the image, each edit that freshd says it has applied."""

    def __init__(self, place: Place, daemon: Daemon) -> None:
        super().__init__(daemon=True)
        self._place, self._daemon = place, daemon
        self._turn, self._is_over = threading.Lock(), threading.Event()
        self._notes = place.root / "acknowledged"
        self._descriptor = os.open(self._notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._edited: dict[str, str] = {}
        self._applied: set[str] = set()
        self._last = 0
        self._edits = 0
        self.notes = 0
        self.error: BaseException | None = None
        (place.docs / "written").mkdir(exist_ok=True)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        if self.is_alive():
            self.join()
        os.close(self._descriptor)

    def run(self) -> None:
        while not self._is_over.wait(_POLL_S):
            try:
                with self._turn:
                    self._edit()
                    self._note()
            except BaseException as error:  # noqa: BLE001 - shown by the thread that waits for it
                self.error = error
                return

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Have nothing written meanwhile."""
        with self._turn:
            if self.error is not None:
                raise self.error
            yield

    def wait_for(self, edits: int) -> None:
        """Wait until so many more were acknowledged."""
        wanted, end_s = self.notes + edits, time.monotonic() + _LONGEST_S
        while self.notes < wanted:
            if self.error is not None or time.monotonic() > end_s:
                raise Diverged(
                    f"seed {self._place.seed}: edits are not applied any more: {self._edited}"
                ) from self.error
            time.sleep(_POLL_S)

    def acknowledged(self) -> dict[str, str]:
        """Give the newest word of each document that is applied and was not edited since."""
        newest = dict(line.split() for line in self._notes.read_text().splitlines())
        return {name: word for name, word in newest.items() if name not in self._edited}

    def _edit(self) -> None:
        """Write the documents whose last edit was acknowledged, and do what people do to the others."""
        for n in range(_WRITTEN):
            name = f"written/{n}.md"
            if name not in self._edited and self._place.random.random() < 1 / 4:
                self._edits += 1
                self._edited[name] = f"edit{self._edits}"
                # Whole at once: there is one content for each edit, and so one change.
                text = f"## Written\n\nThe text of {self._edited[name]} .\n\n## Kept\n\nThis stays as it was in {n}.\n"
                beside = self._place.root / "beside"
                beside.write_text(text)
                beside.replace(self._place.docs / name)
        if self._place.random.random() < 1 / 10:
            self._place.churn(2)

    def _note(self) -> None:
        answer = self._daemon.ask("/changes", after=self._last, limit=100)
        if answer is None or not answer.is_success:
            return
        for change in answer.json()["changes"]:
            self._last = change["seq"]
            if change["source"] == SOURCE and change["document_id"] in self._edited:
                self._applied.add(change["document_id"])
        for name in sorted(self._applied):
            if self._is_found(self._edited[name]):
                self._applied.remove(name)
                self.notes += 1
                os.write(self._descriptor, f"{name} {self._edited.pop(name)}\n".encode())

    def _is_found(self, word: str) -> bool:
        """Make sure that the change was this edit's."""
        answer = self._daemon.ask("/search", q=word, k=20)
        hits = answer.json()["hits"] if answer is not None and answer.is_success else []
        return any(re.search(rf"\b{word}\b", hit["text"]) for hit in hits)


@contextmanager
def stopped(daemon: Daemon) -> Iterator[None]:
    """Stop every process of the daemon meanwhile."""
    pids = daemon.pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
