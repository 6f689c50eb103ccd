"""The central promise over a real corpus: Django's documentation, some 600 pages, from release to release.

With hashes for vectors over the whole tree, and with the bundled model over a part of it.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from freshd.compose import generation
from freshd.embedder import open_embedder
from freshd.ports import Embedder
from tests.bench.amplification import embedded_again
from tests.bench.corpus import put
from tests.kit.clock import ShiftedClock
from tests.kit.django import documentation
from tests.kit.embedder import HashEmbedder
from tests.kit.world import Index, Settings, assert_same_index

pytestmark = [pytest.mark.corpus, pytest.mark.timeout(300)]

QUERIES = (
    "how do I defer a model field",
    "QuerySet.select_related",
    "CSRF_TRUSTED_ORIGINS",
    "GeneratedField",
    "what is new in this release",
    "write a custom template tag",
)
N_HITS = 20

SUBTREE = "topics/auth/passwords.txt", "topics/templates.txt"
"""Few pages: each is embedded twice by a real model."""


@pytest.fixture(scope="module")
def releases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the folder of a release; fetched archives stay in pytest's cache."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("django") if cache else tmp_path_factory.mktemp("django")
    return lambda version: documentation(version, folder)


class Manual:
    """A checkout of the documentation and an index that follows it."""

    def __init__(self, root: Path, embedder: Embedder) -> None:
        self.docs = root / "docs"
        self.docs.mkdir()
        self._root = root
        self._settings = Settings(self.docs, ShiftedClock(), embedder)
        self.index = Index(self._settings, root / "kept-up")

    def assert_same_as_from_scratch(self) -> None:
        scratch = Index(self._settings, self._root / "scratch")
        try:
            scratch.reindex()
            assert_same_index(self.index, scratch, QUERIES, N_HITS)
        finally:
            scratch.close()
            shutil.rmtree(scratch.state)


@pytest.fixture
def manual(tmp_path: Path) -> Iterator[Manual]:
    manual = Manual(tmp_path, HashEmbedder())
    yield manual
    manual.index.close()


def test_an_index_that_follows_releases_equals_one_made_from_scratch_and_goes_back_for_nothing(
    manual: Manual, releases: Callable[[str], Path]
):
    put(releases("5.1"), manual.docs)
    first = manual.index.reindex()
    assert first.documents["added"] > 500
    put(releases("5.1.4"), manual.docs)
    patched = manual.index.reindex()
    put(releases("5.2"), manual.docs)
    next_release = manual.index.reindex()
    assert 0 < patched.fates.embedded < next_release.fates.embedded < first.fates.embedded / 4
    manual.assert_same_as_from_scratch()
    put(releases("5.1"), manual.docs)
    back = manual.index.reindex()
    assert back.fates.embedded == 0, "every text was embedded before"
    assert back.fates.reused > 0
    assert manual.index.sources.state("docs").documents == first.documents["added"]


def test_an_update_embeds_little_more_than_what_its_authors_wrote(releases: Callable[[str], Path]):
    """Counted with the tokens of the bundled model: what is given to it for each character of a paragraph written."""
    patch, release = embedded_again(SimpleNamespace(tree=releases), generation._MIN_TOKENS)
    assert (round(patch.text, 2), round(release.text, 2)) == (1.09, 1.23)
    assert (round(patch.shown, 2), round(release.shown, 2)) == (1.40, 1.59), "headings included"


@pytest.fixture
def part(releases: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Gives a part of a release."""

    def cut(version: str) -> Path:
        target = tmp_path / f"part-{version}"
        for name in SUBTREE:
            source, place = releases(version) / name, target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place)
            else:
                shutil.copy(source, place)
        return target

    return cut


def test_the_same_holds_with_the_bundled_model(part: Callable[[str], Path], tmp_path: Path):
    """Vectors of the kept-up index come from two runs and a cache, those of the other from one run."""
    manual = Manual(tmp_path, open_embedder("bundled", tmp_path / "models", tmp_path))
    try:
        put(part("5.1"), manual.docs)
        first = manual.index.reindex()
        put(part("5.2"), manual.docs)
        second = manual.index.reindex()
        assert 0 < second.fates.embedded < first.fates.embedded / 4
        manual.assert_same_as_from_scratch()
        put(tmp_path / "part-5.1", manual.docs)
        assert manual.index.reindex().fates.embedded == 0
    finally:
        manual.index.close()
