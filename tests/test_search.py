"""What a search makes of the two answers of a store: one order, and passages that a reader can use."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count, permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.admission import Admission
from freshd.ledger.database import Database
from freshd.ledger.forgetting import SqliteForgetting
from freshd.model import ChunkId, DocumentId, Match, SearchFilter, SourceName
from freshd.payload import Citation
from freshd.ports import StoredPoint
from freshd.search import Search
from freshd.search.fusion import dense_floor, fuse
from freshd.search.passages import MAX_CHARACTERS, REACH, passages
from tests.kit.clock import ShiftedClock
from tests.kit.embedder import HashEmbedder
from tests.kit.world import SOURCE, Index, Settings

# One order out of two answers

_IDS = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(12)]
_ANSWERS = st.lists(st.sampled_from(_IDS), unique=True).flatmap(
    lambda ids: st.lists(st.integers(1, 9), min_size=len(ids), max_size=len(ids)).map(
        lambda scores: [Match(ChunkId(one), score / 10) for one, score in zip(ids, sorted(scores)[::-1], strict=True)]
    )
)


class Applied:
    """A ledger that says of some chunks that they are applied."""

    def __init__(self, chunk_ids: set[ChunkId]) -> None:
        self.chunk_ids = chunk_ids

    def admitted(self, chunk_ids: Sequence[ChunkId]) -> set[ChunkId]:
        return self.chunk_ids & set(chunk_ids)

    def around(self, chunk_ids: Sequence[ChunkId], reach: int) -> dict[ChunkId, tuple[ChunkId, ...]]:
        return {}


class TwoAnswers:
    """A store that gives these two answers, and remembers under which conditions."""

    def __init__(self, dense: list[Match], sparse: list[Match]) -> None:
        self.dense, self.sparse = dense, sparse
        self.asked: list[SearchFilter] = []

    def search_dense(self, _: object, __: int, where: SearchFilter) -> list[Match]:
        self.asked.append(where)
        return self.dense

    def search_sparse(self, _: object, __: int, where: SearchFilter) -> list[Match]:
        self.asked.append(where)
        return self.sparse

    def retrieve(self, chunk_ids: Sequence[ChunkId]) -> list[StoredPoint]:
        return [StoredPoint(one, payload_of(one), None, None) for one in chunk_ids]


def payload_of(chunk_id: ChunkId) -> dict[str, Any]:
    lines = {"start_line": 1, "end_line": 1, "indexed_at": None}
    metadata = {"uri": f"file:///{chunk_id}", "heading_path": [], **lines}
    return {"page_content": chunk_id, "source": "docs", "freshd": {"document_id": chunk_id}, "metadata": metadata}


@given(_ANSWERS, _ANSWERS, st.sets(st.sampled_from([ChunkId(one) for one in _IDS])), st.integers(1, 3))
def test_what_may_not_be_shown_changes_nothing_but_that_it_is_left_out(
    dense: list[Match], sparse: list[Match], shown: set[ChunkId], k: int
):
    """Whether chunks may be shown is not asked of all, and nobody can tell."""
    search = Search(
        embedder=HashEmbedder(),
        store=TwoAnswers(dense, sparse),  # type: ignore[arg-type]
        admission=Admission(Applied(shown)),
        sources=[SourceName("docs")],
        watermark=lambda _: None,
    )
    kept = ([match for match in answer if match.chunk_id in shown] for answer in (dense, sparse))
    expected = fuse(*kept, floor=dense_floor(dense, 200))[:k]
    found = search.search("anything", k).hits
    assert [(hit.citation.text, hit.score) for hit in found] == expected


@pytest.mark.parametrize(
    ("is_alone", "where", "asked"),
    [
        (True, SearchFilter(), SearchFilter()),
        (True, SearchFilter((), "a/"), SearchFilter((), "a/")),
        (True, SearchFilter((SourceName("docs"),)), SearchFilter((SourceName("docs"),))),
        (False, SearchFilter(), SearchFilter((SourceName("docs"), SourceName("news")))),
    ],
)
def test_the_store_is_not_asked_to_try_what_holds_for_all_it_has(
    is_alone: bool, where: SearchFilter, asked: SearchFilter
):
    store = TwoAnswers([], [])
    search = Search(
        embedder=HashEmbedder(),
        store=store,  # type: ignore[arg-type]
        admission=Admission(Applied(set())),
        sources=[SourceName("docs"), SourceName("news")],
        watermark=lambda _: None,
        is_alone=is_alone,
    )
    search.search("anything", where=where)
    assert store.asked == [asked, asked]


def answer(**scores: float) -> list[Match]:
    return [Match(ChunkId(name), score) for name, score in scores.items()]


def fused(dense: list[Match], sparse: list[Match], floor: float = 0.0) -> dict[str, float]:
    return dict(fuse(dense, sparse, floor=floor))


def test_the_best_of_each_answer_counts_one_and_what_it_leaves_out_nothing():
    assert fused(answer(a=0.8, b=0.6, c=0.4), answer(c=12.0, d=3.0), floor=0.4) == pytest.approx(
        {"a": 1.0, "c": 1.0, "b": 0.5, "d": 0.25}
    )


def test_a_rare_identifier_is_found_although_its_passage_is_like_nothing_else():
    """By rank alone it would stand behind all that both answers have somewhere."""
    common = {f"prose{n}": 0.5 - n / 100 for n in range(20)}
    order = list(fused(answer(**common), answer(identifier=30.0, **dict.fromkeys(common, 0.5)), floor=0.3))
    assert order[:2] == ["prose0", "identifier"]


def test_a_paraphrase_is_found_although_it_shares_a_common_word_only():
    order = list(fused(answer(right=0.7, other=0.3), answer(other=1.1, another=1.0, right=0.9), floor=0.2))
    assert order[0] == "right"


def test_where_nothing_tells_matches_apart_they_go_by_their_id():
    for dense in permutations(answer(a=0.5, b=0.5, c=0.5)):
        assert list(fused(list(dense), [], floor=0.5)) == ["a", "b", "c"]
    assert fused([], []) == {}
    assert fused(answer(a=-0.1), []) == {"a": 1.0}


@pytest.mark.parametrize(("limit", "floor"), [(2, 0.4), (1, 0.4), (3, 0.0)])
def test_what_an_answer_leaves_out_is_as_near_as_its_last_one_unless_it_left_out_nothing(limit: int, floor: float):
    assert dense_floor(answer(a=0.8, b=0.4), limit) == floor
    assert dense_floor([], limit) == 0.0


scores = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.01, 1.0), max_size=6)


@given(scores, scores)
def test_no_match_is_lost_or_doubled_and_who_is_better_in_both_is_never_behind(
    dense: dict[str, float], sparse: dict[str, float]
):
    order = list(fused(answer(**dense), answer(**sparse)))
    assert sorted(order) == sorted(dense.keys() | sparse.keys())
    for one in dense.keys() & sparse.keys():
        for other in dense.keys() & sparse.keys():
            if dense[one] > 1.01 * dense[other] and sparse[one] > 1.01 * sparse[other]:
                assert order.index(one) < order.index(other)


# What is shown of a hit


def chunk(text: str, first: int, last: int | None = None, heading: str = "Leave") -> Citation:
    return Citation(
        text=text,
        source=SourceName("handbook"),
        document_id=DocumentId("a.md"),
        uri="file:///a.md",
        title=None,
        heading_path=(heading,),
        start_line=first,
        end_line=last or first,
        modified_at=None,
        indexed_at=None,
    )


def shown(found: str, *document: Citation) -> list[tuple[str, int, int]]:
    """Show hits named by their places in a document, best first, from the chunks of the document: text and lines."""
    ids = [ChunkId(str(n)) for n in range(len(document))]
    runs = {one: tuple(ids[max(0, n - REACH) : n + REACH + 1]) for n, one in enumerate(ids)}
    ranked = [(ChunkId(place), 1.0) for place in found.split()]
    hits = passages(ranked, runs, dict(zip(ids, document, strict=True)))
    return [(hit.text, hit.start_line, hit.end_line) for hit, _ in hits]


def test_a_hit_is_shown_amid_its_section_and_says_the_lines_of_all_of_it():
    document = chunk("One.", 3), chunk("Two,\nand more.", 5, 6), chunk("Three.", 8)
    assert shown("1", *document) == [("One.\n\nTwo,\nand more.\n\nThree.", 3, 8)]


def test_what_a_better_hit_shows_is_not_shown_again():
    document = chunk("One.", 1), chunk("Two.", 3), chunk("Three.", 5), chunk("Four.", 9, heading="Travel")
    assert [text for text, *_ in shown("2 0 3 1", *document)] == ["One.\n\nTwo.\n\nThree.", "Four."]


def test_a_hit_is_not_widened_across_headings():
    document = chunk("Before.", 1, heading="Keys"), chunk("Found.", 5), chunk("After.", 9, heading="Travel")
    assert shown("1", *document) == [("Found.", 5, 5)]


def test_what_is_added_has_to_fit_whole_and_what_follows_goes_first():
    half = "x" * (MAX_CHARACTERS // 2)
    assert shown("1", chunk(half, 1), chunk("Found.", 3), chunk(half, 5)) == [(f"Found.\n\n{half}", 3, 5)]
    assert shown("1", chunk("Before.", 1), chunk("Found.", 3), chunk("x" * MAX_CHARACTERS, 5)) == [
        ("Before.\n\nFound.", 1, 3)
    ]
    large = "x" * 2 * MAX_CHARACTERS
    assert shown("1", chunk("Before.", 1), chunk(large, 3), chunk("After.", 5)) == [(large, 3, 3)]


def test_the_parts_of_a_divided_paragraph_are_put_together_as_they_were():
    sentences = chunk("It begins.", 1), chunk("It goes on.", 1, 2), chunk("    indented()", 3)
    assert shown("1", *sentences) == [("It begins. It goes on.\n    indented()", 1, 3)]


@pytest.mark.parametrize("last", [7, 30], ids=["on one line", "on many lines"])
def test_the_rows_of_a_table_that_was_rendered_anew_stay_rows(last: int):
    """Pieces of such a block all have the lines of the whole, which do not tell what was between them."""
    assert shown("1", chunk("a | b\nc | d", 7, last), chunk("e | f", 7, last), chunk("g | h\ni | k", 7, last)) == [
        ("a | b\nc | d\ne | f\ng | h\ni | k", 7, last)
    ]
    assert shown("1", chunk("It begins.", 7, last), chunk("It goes on.", 7, last)) == [
        ("It begins. It goes on.", 7, last)
    ]


def test_a_neighbour_that_may_not_be_shown_ends_the_passage():
    ids = [ChunkId(name) for name in "abc"]
    cited = {ids[0]: chunk("One.", 1), ids[2]: chunk("Three.", 5)}
    (hit, _), (other, _) = passages([(ids[0], 2.0), (ids[2], 1.0)], dict.fromkeys(ids, tuple(ids)), cited)
    assert (hit.text, other.text) == ("One.", "Three.")


# The whole way


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    docs = tmp_path / "docs"
    docs.mkdir()
    index = Index(Settings(docs, ShiftedClock(), HashEmbedder()), tmp_path / "state")
    yield index
    index.close()


RULES = [f"Rule {n} of the house says word{n}" + " and is explained at some length" * 8 for n in range(8)]


def test_a_passage_of_a_document_reads_as_its_lines_do(index: Index, tmp_path: Path):
    page = tmp_path / "docs" / "rules.md"
    page.write_text("# Rules\n\n" + "\n\n".join(RULES) + "\n\n# Keys\n\nwordless\n")
    index.reindex()
    lines = page.read_text().splitlines()
    for n in range(len(RULES)):
        hits = index.search.search(f"word{n}", 3).hits
        assert any(f"word{n} " in hit.citation.text for hit in hits[:2])  # these vectors mean nothing
        for hit in hits:
            cited = hit.citation
            assert cited.text == "\n".join(lines[cited.start_line - 1 : cited.end_line]).strip()
            assert len(cited.text) <= MAX_CHARACTERS
    spans = [(hit.citation.start_line, hit.citation.end_line) for hit in index.search.search("rule", 100).hits]
    covered = [line for first, last in spans for line in range(first, last + 1)]
    assert len(covered) == len(set(covered)), "no line is shown twice"


def test_a_search_gives_as_many_hits_as_were_asked_for_although_neighbours_become_one(index: Index, tmp_path: Path):
    for n in range(6):
        (tmp_path / "docs" / f"{n}.md").write_text(f"# Rules {n}\n\n" + "\n\n".join(RULES[:3]) + "\n")
    index.reindex()
    assert index.store.count() > 6
    hits = index.search.search("rule of the house", 5).hits
    assert len({hit.citation.document_id for hit in hits}) == len(hits) == 5


@pytest.mark.parametrize("n_hidden", [150, 900, 2_500])
def test_what_may_not_be_shown_does_not_stand_before_what_may(n_hidden: int, index: Index, tmp_path: Path):
    """Such as what is forgotten and waits, on a full disk maybe for days, to be taken out of the store."""
    sections = (f"# Kettle {n}\n\nThe kettle, always the kettle.\n\n" for n in range(n_hidden))
    (tmp_path / "docs" / "hidden.md").write_text("".join(sections))
    (tmp_path / "docs" / "shown.md").write_text("Of all in the kitchen, a kettle whistles." + " Nothing else." * 9)
    index.reindex()
    with closing(Database(tmp_path / "state" / "ledger.db")) as ledger:
        SqliteForgetting(ledger).forget(SOURCE, [DocumentId("hidden.md")])
    assert index.store.count() > n_hidden
    assert [hit.citation.document_id for hit in index.search.search("kettle", 10).hits] == ["shown.md"]


@pytest.mark.parametrize("query", ["Donau\u00addampfer", "\u2066Donau\u200bdampfer\u2069", "\ufeffDonaudampfer"])
def test_what_a_query_hides_hides_no_document(query: str, index: Index, tmp_path: Path):
    """Pages hyphenate by characters that nobody sees, and hand them over to whoever copies from them."""
    for n in range(300):
        (tmp_path / "docs" / f"{n}.md").write_text(f"Number {n}.\n")
    (tmp_path / "docs" / "page.html").write_text("<p>The Donau&shy;dampfer of the lake.</p>\n")
    index.reindex()
    answer = index.search.search(query, 1)
    assert [hit.citation.document_id for hit in answer.hits] == ["page.html"]
    assert answer.query == query


@pytest.mark.parametrize("query", ["\u00ad", " \u200b "])
def test_a_query_of_nothing_that_shows_finds_nothing(query: str, index: Index, tmp_path: Path):
    (tmp_path / "docs" / "a.md").write_text("Some text.\n")
    index.reindex()
    assert index.search.search(query).hits == ()


def test_while_documents_change_faster_than_one_can_look_nothing_is_put_together(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What stood beside a passage a moment ago may be gone, and a text of two revisions never was."""
    (tmp_path / "docs" / "rules.md").write_text("# Rules\n\n" + "\n\n".join(RULES) + "\n")
    index.reindex()
    switches = count()
    monkeypatch.setattr(Admission, "epoch", property(lambda _: next(switches)))
    chunks = {point.payload["page_content"] for point in index.store.scroll(None, 100)}
    assert {hit.citation.text for hit in index.search.search("rule", 100).hits} == chunks
