"""Which entries of a tree are documents: what is always left out, the options, and ignore files.

    Rules (options) ─ root(…) ─▶ Folder ─ child(…) ─▶ Folder ─ … each knows what holds inside it

Asked in this order: always left out · `include` · `exclude` · ignore files, the deepest first.
The first of the last two that says anything decides, so `exclude = ["!drafts/"]` brings back what an ignore file hides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from connectors.files.globs import Globs, parse_lines

IGNORE_FILES = (".gitignore", ".freshdignore")
"""Read in every folder; the later name overrides the earlier one."""

LEFT_OUT_FOLDERS = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        ".bzr",
        ".jj",
        "CVS",
        ".freshd",
        "node_modules",
        "__pycache__",
        ".venv",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".hypothesis",
    }
)
"""Bookkeeping of tools, never documents; neither listed nor watched, whatever the options say."""

_TEMPORARIES = parse_lines(
    [
        "*~",
        ".*.sw[opx]",
        "4913",  # vim probes with it whether it may create files
        ".#*",
        "\\#*#",
        "*.tmp",
        "*.part",
        "*.crdownload",
        ".goutputstream-*",
    ]
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the options say, for the whole tree."""

    include: Globs
    exclude: Globs

    def root(self, ignores: Sequence[Globs]) -> "Folder":
        """Begin at the root.

        Args:
            ignores: The root's own ignore files, the strongest first.

        """
        layers = (*((0, globs) for globs in ignores),)
        return Folder(self, "", is_included=False, layers=layers)

    def may_matter(self, path: str, *, is_folder: bool) -> bool:
        """Tell from the path alone whether a document can be there; True if only ignore files would know."""
        *folders, name = path.split("/")
        folder = self.root(())
        for part in folders:
            if not folder.admits_folder(part):
                return False
            folder = folder.child(part, ())
        return folder.admits_folder(name) if is_folder else folder.admits_file(name)


@dataclass(frozen=True, slots=True)
class Folder:
    """What holds for the entries of one folder; text as `names.text_of` gives it.

    Attributes:
        path: From the root, with a slash at its end; empty for the root.
        is_included: `include` names this folder or one above, and nothing nearer says otherwise.
        layers: Ignore files in force, the strongest first, with the length of their own folder's path.

    """

    rules: Rules
    path: str
    is_included: bool
    layers: tuple[tuple[int, Globs], ...]

    def admits_file(self, name: str) -> bool:
        """Tell whether a regular file of this name is a document."""
        path = self.path + name
        included = self.rules.include.decide(path, name, is_folder=False)
        if not (self.is_included if included is None else included):
            return False
        return not _is_temporary(name) and not self._is_ignored(path, name, is_folder=False)

    def objection(self, name: str, *, is_folder: bool) -> str | None:
        """Say what keeps an entry of this name from being a document, or from holding one; None if nothing does."""
        if self.admits_folder(name) if is_folder else self.admits_file(name):
            return None
        place, what = self.path + name, "folder" if is_folder else "file"
        if self.rules.exclude.decide(place, name, is_folder=is_folder):
            return f"`exclude` of the source hides the {what} {place!r}"
        if self._is_ignored(place, name, is_folder=is_folder):
            layers = ((n, globs.decide(place[n:], name, is_folder=is_folder)) for n, globs in self.layers)
            length = next(n for n, verdict in layers if verdict)
            return f"an ignore file in {place[:length] or './'!r} hides the {what} {place!r}"
        if is_folder or _is_temporary(name):
            return f"{what}s named {name!r} are always left out"
        return f"no glob of `include` of the source matches {place!r}"

    def admits_folder(self, name: str) -> bool:
        """Tell whether a folder of this name may hold documents."""
        return name not in LEFT_OUT_FOLDERS and not self._is_ignored(self.path + name, name, is_folder=True)

    def child(self, name: str, ignores: Sequence[Globs]) -> "Folder":
        """Go down one folder, whose own ignore files are `ignores`, the strongest first."""
        included = self.rules.include.decide(self.path + name, name, is_folder=True)
        path = f"{self.path}{name}/"
        own = tuple((len(path), globs) for globs in ignores)
        return Folder(self.rules, path, self.is_included if included is None else included, own + self.layers)

    def _is_ignored(self, path: str, name: str, *, is_folder: bool) -> bool:
        verdict = self.rules.exclude.decide(path, name, is_folder=is_folder)
        for length, globs in self.layers:
            if verdict is not None:
                break
            verdict = globs.decide(path[length:], name, is_folder=is_folder)
        return bool(verdict)


def _is_temporary(name: str) -> bool:
    return bool(_TEMPORARIES.decide(name, name, is_folder=False))
