"""A file system of its own in an image file, and its state as it would be found after the power failed."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IMAGE_BYTES = 256 * 2**20


def cannot_mount(folder: Path) -> str | None:
    """Say why no image can be mounted here; None where it can."""
    if os.geteuid():
        return "not running as root"
    if not shutil.which("mkfs.ext4"):
        return "mkfs.ext4 is not installed"
    try:
        with Disk(folder):
            return None
    except subprocess.CalledProcessError:
        return "no loop device can be mounted"


class Disk:
    """ext4 in an image file, mounted while the block lasts."""

    def __init__(self, folder: Path) -> None:
        """Keep the image and the places where it is mounted in a folder."""
        self._image, self.root, self._folder = folder / "image", folder / "disk", folder

    def __enter__(self) -> "Disk":
        with self._image.open("wb") as file:
            file.truncate(_IMAGE_BYTES)
        _run("mkfs.ext4", "-q", "-F", self._image)
        _mount(self._image, self.root)
        return self

    def __exit__(self, *_: object) -> None:
        _unmount(self.root)
        self._image.unlink()

    @contextmanager
    def after_power_failed(self) -> Iterator[Path]:
        """Mount a copy of what has reached the image by now; whatever was only in memory is not in it."""
        image, root = self._folder / "image.cut", self._folder / "cut"
        while True:
            before = self._writes()
            _run("cp", "--sparse=always", self._image, image)
            if self._writes() == before:  # else the kernel wrote meanwhile, and this is no moment's state
                break
        try:
            _mount(image, root)
            try:
                yield root
            finally:
                _unmount(root)
        finally:
            image.unlink()

    def _writes(self) -> tuple[int, int]:
        """How many writes the device has completed, and how many are under way."""
        number = self.root.stat().st_dev
        counts = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat").read_text().split()
        return int(counts[4]), int(counts[8])


def _mount(image: Path, root: Path) -> None:
    root.mkdir(exist_ok=True)
    _run("mount", "-o", "loop", image, root)


def _unmount(root: Path) -> None:
    _run("umount", root)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)
