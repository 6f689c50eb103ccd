"""The yardsticks of the benchmarks: a wrong one would flatter or wrong freshd without anybody noticing."""

import random
from pathlib import Path

import pytest

from tests.bench.corpus import put, put_small_files
from tests.bench.counting import CountingEmbedder
from tests.bench.retrieval import baselines, questions, scores
from tests.bench.scoring import MEASURES, document_rank, lead, measures, passage_rank
from tests.bench.splitter import OVERLAP, SIZE, split, written
from tests.bench.timing import Spread, percentile, ratios, take_turns, until
from tests.bench.volume import BUDGETS, Reader, compare
from tests.kit.embedder import HashEmbedder


def prose(seed: int, n_words: int) -> str:
    """Words of all lengths in paragraphs of all lengths, one of them longer than any chunk."""
    chance = random.Random(seed)
    words = ["w" * chance.randrange(1, 12) + str(n) for n in range(n_words)]
    return "".join(word + chance.choice([" ", " ", " ", "\n", "\n\n"]) for word in words) + "x" * 2 * SIZE


@pytest.mark.parametrize("seed", range(5))
def test_the_splitter_fills_chunks_up_and_repeats_their_ends(seed: int):
    text = prose(seed, 2000)
    chunks = split(text)
    assert max(map(len, chunks)) <= SIZE
    assert set(text.split()[:-1]) <= {word for chunk in chunks for word in chunk.split()}
    repeated = sum(map(len, chunks)) - len(text)
    assert 0.5 * OVERLAP < repeated / len(chunks) <= OVERLAP


def test_a_short_text_is_one_chunk_and_a_blank_one_is_none():
    assert split("one\n\ntwo\n") == ["one\n\ntwo"]
    assert split(" \n\n ") == []


def test_a_text_of_equal_lines_is_cut_where_the_next_line_would_not_fit():
    lines = [f"{n:099d}" for n in range(15)]
    first, second = split("\n".join(lines))
    assert first.splitlines() == lines[:10]
    assert second.splitlines() == lines[8:]


@pytest.mark.parametrize(
    ("old", "new", "characters"),
    [
        ("one\n\ntwo", "one\n\ntwo", 0),
        ("one\n\ntwo", "two\n\none", 0),
        ("one\n\ntwo", "one\n\nthree\n\ntwo", 5),
        ("one\n\ntwo", "one", 0),
        ("one", "one\n\none", 3),
        ("one", "one\n\ntwo\n\ntwo", 6),
        ("", "one\n \ntwo", 6),
    ],
)
def test_only_paragraphs_that_were_not_there_count_as_written(old: str, new: str, characters: int):
    assert written(old, new) == characters


def test_contenders_take_turns_and_every_other_round_goes_backwards():
    order: list[str] = []

    def contender(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    times = take_turns({"a": lambda: contender("a", 2.0), "b": lambda: contender("b", 1.0)}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert ratios(times["a"], times["b"]) == Spread(median=2.0, low=2.0, high=2.0, n=3)


def test_a_percentile_is_a_value_that_was_seen():
    values = [float(n) for n in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99)] == [50.0, 95.0, 99.0]
    assert percentile([7.0], 0.99) == 7.0


def test_waiting_ends_with_what_was_not_seen():
    with pytest.raises(TimeoutError, match="until the sun rises"):
        until(lambda: False, "the sun rises", patience_s=0, every_s=0)


def test_putting_a_tree_over_another_leaves_equal_files_alone(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    for root, names in ((source, ("same", "other", "deep/new")), (target, ("same", "other", "old"))):
        for name in names:
            path = root / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name if name == "same" else f"{name} of {root.name}")
    before = (target / "same.txt").stat()
    put(source, target)
    assert {path.relative_to(target).as_posix(): path.read_text() for path in target.rglob("*.txt")} == {
        "same.txt": "same",
        "other.txt": "other of source",
        "deep/new.txt": "deep/new of source",
    }
    assert (target / "same.txt").stat().st_mtime_ns == before.st_mtime_ns


def test_no_two_small_files_are_equal(tmp_path: Path):
    (tmp_path / "page.txt").write_text("\n\n".join(f"{n} " + "word " * 50 for n in range(9)))
    put_small_files(tmp_path, tmp_path / "small", 20)
    assert len({path.read_bytes() for path in (tmp_path / "small").rglob("*.txt")}) == 20


def test_what_is_embedded_is_counted_and_cannot_be_taken_for_the_real_model():
    real = HashEmbedder()
    counting = CountingEmbedder(real)
    vectors = dict(counting.embed_passages(["one", "three", "one"]))
    assert (counting.texts, counting.characters) == (3, 11)
    assert vectors[0] == vectors[2] != vectors[1]
    assert {len(vector) for vector in vectors.values()} == {4 * real.dimension}
    assert counting.identity != real.identity


def hit(path: str, start_line: int, end_line: int) -> dict[str, object]:
    return {"path": path, "start_line": start_line, "end_line": end_line}


@pytest.mark.parametrize(
    ("hits", "budget", "is_found"),
    [
        ([hit("a.txt", 3, 6)], 40, True),
        ([hit("a.txt", 3, 6)], 39, False),
        ([hit("a.txt", 6, 9)], 100, False),
        ([hit("a.txt", 5, 9)], 100, True),
        ([hit("b.txt", 3, 6)], 100, False),
        ([hit("b.txt", 1, 5), hit("a.txt", 3, 6)], 90, True),
        ([hit("b.txt", 1, 5), hit("a.txt", 3, 6)], 89, False),
        ([hit("a.txt", 1, 2)], 100, False),
        ([], 100, False),
    ],
)
def test_an_answer_is_found_if_half_of_it_lies_in_a_hit_that_the_budget_pays_for(
    tmp_path: Path, hits: list[dict[str, object]], budget: int, is_found: bool
):
    """Every line has ten characters, its end included; the answer has four lines."""
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("123456789\n" * 10)
    assert Reader(tmp_path).finds({"id": "q", **hit("a.txt", 3, 6)}, hits, budget) is is_found


def test_runs_are_compared_question_by_question(tmp_path: Path):
    (tmp_path / "a.txt").write_text("123456789\n" * 10)
    questions = [{"id": str(n), **hit("a.txt", 1, 2)} for n in range(4)]
    right, wrong = [hit("a.txt", 1, 2)], [hit("a.txt", 8, 9)]
    runs = {
        "own": {"0": right, "1": right, "2": wrong},
        "other": {"0": right, "1": wrong, "2": wrong, "3": right},
    }
    own, other = compare(tmp_path, questions, runs).rows[:2]
    assert own == (f"{BUDGETS[0]:,} characters", "own", 0.5, None)
    assert other[:3] == (f"{BUDGETS[0]:,} characters", "other", 0.5)
    lead = other[3]
    assert isinstance(lead, Spread)
    assert lead.low < lead.median == 0 < lead.high


QUESTION = {"id": "q", **hit("a.txt", 3, 6)}


def test_a_document_is_found_where_its_first_hit_stands_among_documents():
    hits = [hit("b.txt", 1, 2), hit("b.txt", 3, 4), hit("a.txt", 90, 95), hit("a.txt", 3, 6)]
    assert document_rank(QUESTION, hits) == 2
    assert document_rank(QUESTION, hits[:2]) is document_rank(QUESTION, []) is None


@pytest.mark.parametrize(
    ("lines", "min_cover", "is_found"),
    [
        ((6, 9), 0.0, True),
        ((7, 9), 0.0, False),
        ((1, 2), 0.0, False),
        ((5, 9), 0.5, True),
        ((6, 9), 0.5, False),
        ((1, 9), 1.0, True),
        ((4, 9), 1.0, False),
    ],
)
def test_a_passage_is_found_if_it_shares_enough_lines_with_the_answer(
    lines: tuple[int, int], min_cover: float, is_found: bool
):
    hits = [hit("b.txt", 3, 6), hit("a.txt", *lines)]
    assert passage_rank(QUESTION, hits, min_cover) == (2 if is_found else None)


@pytest.mark.parametrize(
    ("rank", "worth"),
    [
        (1, (1, 1, 1, 1, 1, 1)),
        (3, (0, 1, 1, 1, 1 / 3, 0.5)),
        (10, (0, 0, 0, 1, 0.1, 0.289)),
        (11, (0, 0, 0, 0, 0, 0)),
        (None, (0, 0, 0, 0, 0, 0)),
    ],
)
def test_a_rank_is_worth_less_the_later_it_comes_and_nothing_after_the_tenth(
    rank: int | None, worth: tuple[float, ...]
):
    assert measures(rank) == pytest.approx(worth, abs=0.0005)


def test_a_lead_is_one_where_it_is_the_same_for_every_question():
    assert lead([1.0, 1.0, 0.5], [0.5, 0.5, 0.0]) == Spread(0.5, 0.5, 0.5, 3)


def test_the_baselines_score_as_their_page_says():
    """Once they were scored by another program."""
    by_run = {row[:2]: dict(zip(MEASURES, row[2:], strict=False)) for row in scores(questions(), baselines()).rows}
    dense, hybrid = ("recursive-1000-200-dense", "recursive-1000-200-hybrid")
    said = {
        ("document", dense): (0.908, 0.786),
        ("document", hybrid): (0.900, 0.813),
        ("passage", dense): (0.675, 0.574),
        ("passage", hybrid): (0.708, 0.598),
    }
    assert {key: (round(by_run[key]["R@5"], 3), round(by_run[key]["nDCG@10"], 3)) for key in said} == said
    assert round(by_run["half a passage", hybrid]["R@5"], 3) == 0.633
