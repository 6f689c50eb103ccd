"""Keeps trainings: weights in a folder beside the journal, everything else in the journal, their hash included.

Schooling ─put─▶ old-seed0-0.002.safetensors, then a Training in the journal ─find, hash equal─▶ Schooling
"""

from pathlib import Path

from freshd.compare.journal import Journal
from freshd.compare.language import Tuning, load_adapters, save_adapters
from freshd.compare.records import School, Training
from freshd.compare.schooling import Schooling


def adapters_beside(journal: Path) -> Path:
    """Name the folder of a journal's trainings."""
    return journal.with_suffix(".adapters")


class FileShelf:
    """Trainings of one run, in its own files; whoever removes these has them trained again, and nothing else."""

    def __init__(self, journal: Journal, folder: Path) -> None:
        """Use a folder, which is made when there is something to keep."""
        self._journal = journal
        self._folder = folder

    def has(self, school: School, seed: int, learning_rate: float) -> bool:
        """Tell whether a training was kept, without looking at what is left of it."""
        return self._kept(school, seed, learning_rate) is not None

    def find(self, school: School, seed: int, learning_rate: float, taught: str) -> Schooling | None:
        """Give a training back; None if it is not there whole, or something else was taught then."""
        kept = self._kept(school, seed, learning_rate)
        if kept is None or kept.lessons != taught:
            return None
        adapters = load_adapters(self._folder / kept.file, kept.sha256, kept.rank, kept.alpha)
        if adapters is None:
            return None
        tuning = Tuning(adapters, len(kept.curve), kept.wall_s, kept.cpu_s, kept.tokens, kept.curve)
        return Schooling(school, seed, learning_rate, taught, kept.n_lessons, tuning, kept.peak_bytes, kept.known)

    def put(self, schooling: Schooling) -> None:
        """Keep a training; it is on disk when this returns.

        Raises:
            FreshdError: It could not be written.

        """
        one, tuning = schooling, schooling.tuning
        name = f"{one.school}-seed{one.seed}-{one.learning_rate:g}.safetensors"
        sha256, n_bytes = save_adapters(self._folder / name, tuning.adapters)
        self._journal.keep(
            Training(
                school=one.school,
                seed=one.seed,
                learning_rate=one.learning_rate,
                lessons=one.lessons,
                n_lessons=one.n_lessons,
                wall_s=tuning.wall_s,
                cpu_s=tuning.cpu_s,
                peak_bytes=one.peak_bytes,
                tokens=tuning.tokens,
                curve=tuning.curve,
                known=one.known,
                rank=tuning.adapters.rank,
                alpha=tuning.adapters.alpha,
                file=name,
                sha256=sha256,
                n_bytes=n_bytes,
            )
        )

    def _kept(self, school: School, seed: int, learning_rate: float) -> Training | None:
        """Find the newest: one whose file was lost is trained again."""
        wanted = (school, seed, learning_rate)
        kept = reversed(self._journal.results.trainings)
        return next((one for one in kept if (one.school, one.seed, one.learning_rate) == wanted), None)
