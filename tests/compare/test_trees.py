"""Two versions that are too large to hold: a sample of their documents, the same of both."""

import tracemalloc

import pytest

from freshd.compare.run import _bounds
from freshd.compare.sampling import Sample
from freshd.compare.trees import read_tree, read_trees

TEXT = "The fee is 12 crowns a month, and nobody pays it twice. " * 20
N = 60


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("large")
    for version, numbers in (("old", range(N)), ("new", range(5, N + 5))):
        (root / version).mkdir()
        for n in numbers:
            (root / version / f"{n}.md").write_text(f"# Page {n}\n\n{TEXT}")
    return root / "old", root / "new"


def size(tree):
    return sum(len(page.text) for page in tree.values())


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_a_version_that_is_too_large_is_held_in_part_and_both_in_the_same_part(folders, share):
    whole = read_trees(*folders)
    assert (len(whole.old), len(whole.new), whole.n_all, whole.is_sample) == (N, N, N, False)
    most = int(share * size(whole.old))
    part = read_trees(*folders, most=most)
    assert part.is_sample
    assert part.n_all == N
    assert max(size(part.old), size(part.new)) <= most
    assert len(part.old) > share * N / 2
    both = whole.old.keys() & whole.new.keys()
    assert part.old.keys() & both == part.new.keys() & both
    assert part.old.items() <= whole.old.items()
    assert part == read_trees(*folders, most=most)


def test_a_smaller_part_is_a_part_of_a_larger_one(folders):
    small, large = (read_trees(*folders, most=most) for most in (10_000, 30_000))
    assert small.old.keys() < large.old.keys()


def test_what_is_asked_about_is_held_in_any_case(folders):
    none = read_trees(*folders, most=0)
    assert none.old == none.new == {}
    part = read_trees(*folders, {"7.md", "absent.md"}, most=0)
    assert part.old.keys() == part.new.keys() == {"7.md"}


def test_memory_grows_with_what_is_held_and_not_with_what_is_there(folders):
    def peak(most):
        tracemalloc.start()
        read_trees(*folders, most=most)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(None)  # whatever is loaded at the first time
    assert peak(size(read_tree(folders[0])) // 20) < peak(None) / 2


def test_what_did_not_take_part_is_said(folders):
    assert _bounds(read_trees(*folders), None) == {}
    part = read_trees(*folders, most=10_000)
    sample = Sample(frozenset({"a", "b"}), 1_234)
    assert _bounds(part, sample) == {"documents": f"{len(part.new)} of 60", "taught_sentences": "2 of 1,234"}
