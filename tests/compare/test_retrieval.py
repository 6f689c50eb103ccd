"""freshd in the comparison: real files, the real index, the bundled embedder."""

import pytest

from freshd.compare.retrieval import Passage, open_scratch
from freshd.errors import ConfigError

OLD = {
    "lift.md": "# Cable lift\n\nThe first cabin leaves at 6:50 in the morning.\n",
    "library.md": "# Library\n\nBooks may be kept for 25 days.\n",
    "kitchen.md": "# Kitchen\n\nThe cook is Yara Domenig.\n",
}
NEW = {
    **OLD,
    "lift.md": "# Cable lift\n\nThe first cabin leaves at 7:25 in the morning.\n",
    "bees.md": "# Bees\n\nThey fly.\n",
}
del NEW["kitchen.md"]


def write(folder, pages):
    for name, text in pages.items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    root = tmp_path_factory.mktemp("trees")
    return write(root / "old", OLD), write(root / "new", NEW)


def test_an_update_embeds_what_changed_and_is_found_at_once(trees, tmp_path):
    old, new = trees
    with open_scratch(tmp_path / "index") as index:
        index.put(old)
        first = index.update()
        before = index.retrieve("When does the first cabin leave?", 2)
        index.put(new)
        update = index.update()
        after = index.retrieve("When does the first cabin leave?", 2)
    assert (first.documents, first.embedded) == (3, 3)
    assert (update.documents, update.embedded) == (3, 2)
    assert before.passages[0].holds("6:50")
    assert after.passages[0].holds("7:25")
    assert not any(passage.holds("6:50") for passage in after.passages)
    assert after.passages[0].document == "lift.md"
    assert after.texts[0].startswith("Cable lift\n")
    assert min(update.wall_s, update.cpu_s, after.wall_s, after.cpu_s) > 0


def test_an_index_that_is_up_to_date_has_nothing_to_do(trees, tmp_path):
    with open_scratch(tmp_path / "index") as index:
        index.put(trees[0])
        index.update()
        index.put(trees[0])
        update = index.update()
    assert (update.documents, update.embedded) == (0, 0)


def test_only_the_named_documents_take_part(trees, tmp_path):
    with open_scratch(tmp_path / "index") as index:
        index.put(trees[0], {"library.md", "not-there.md"})
        assert index.update().documents == 1
        assert {one.document for one in index.retrieve("the first cabin", 3).passages} == {"library.md"}


def test_versions_that_share_no_document_are_compared_all_the_same(tmp_path):
    old = write(tmp_path / "old", {f"{n}.md": f"# Page {n}\n\nIt says {n}.\n" for n in range(6)})
    new = write(tmp_path / "new", {f"other-{n}.md": f"# Other\n\nNothing like it, number {n}.\n" for n in range(6)})
    with open_scratch(tmp_path / "index") as index:
        index.put(old)
        index.update()
        index.put(new)
        assert index.update().documents == 12
        assert all(one.document.startswith("other") for one in index.retrieve("what does page 3 say", 10).passages)


def test_a_version_without_documents_is_refused(tmp_path):
    old = write(tmp_path / "old", {f"{n}.md": f"# Page {n}\n\nIt says {n}.\n" for n in range(6)})
    (tmp_path / "new").mkdir()
    with open_scratch(tmp_path / "index") as index:
        index.put(old)
        index.update()
        index.put(tmp_path / "new")
        with pytest.raises(ConfigError, match="6 documents that are all gone"):
            index.update()


def test_a_passage_holds_a_value_as_a_whole():
    assert Passage("a.md", "It costs 14 crowns.").holds("14 crowns")
    assert not Passage("a.md", "It costs 114 crowns.").holds("14 crowns")
    assert not Passage("a.md", "It costs 14 crowns.").holds(None)
