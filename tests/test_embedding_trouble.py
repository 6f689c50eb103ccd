"""A text that the model cannot take costs its own document; a model that is away costs nobody anything."""

import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from unittest import mock

import pytest

from freshd.errors import EmbedderUnavailable
from freshd.model import OutcomeKind, Vector
from tests.scheduler.parts import SOURCE, Bench, eventually

POISON = "poisonword"
NAMES = [f"doc-{n:02}.md" for n in range(20)]


def runs_out_of_memory() -> Vector:
    raise MemoryError


def is_refused_by_the_runtime() -> Vector:
    raise EmbedderUnavailable("model: got a shape that it does not like")


def is_too_long() -> Vector:
    raise ValueError("texts[0]: got 900 tokens, expected at most 256")


def has_no_direction() -> Vector:
    return Vector(struct.pack("<32f", *[0.0] * 32))


def is_not_a_number() -> Vector:
    return Vector(struct.pack("<32f", float("nan"), *[1.0] * 31))


def is_infinite() -> Vector:
    return Vector(struct.pack("<32f", float("inf"), *[1.0] * 31))


TROUBLES = [
    runs_out_of_memory,
    is_refused_by_the_runtime,
    is_too_long,
    has_no_direction,
    is_not_a_number,
    is_infinite,
]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def poison(bench: Bench, trouble: Callable[[], Vector], words: Sequence[str] = (POISON,)) -> None:
    """Have the model fail on every text that holds a word."""
    embed = bench.embedder._embed

    def embed_or_fail(texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        for index, vector in embed(texts):
            yield index, trouble() if any(word in texts[index] for word in words) else vector

    bench.embedder._embed = embed_or_fail  # type: ignore[method-assign]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
def test_a_text_the_model_cannot_take_costs_its_document_and_no_other(
    bench: Bench, trouble: Callable[[], Vector]
) -> None:
    for name in NAMES:
        bench.source.write(name, f"About {name}.\n" + (POISON if name == NAMES[7] else ""))
    poison(bench, trouble)
    bench.scan()
    bench.apply()
    assert bench.store.documents() == set(NAMES) - {NAMES[7]}
    failed = [outcome for outcome, _ in bench.outcomes if outcome.kind is OutcomeKind.FAILED]
    assert [outcome.change.document_id for outcome in failed] == [NAMES[7]]
    assert NAMES[7] in (failed[0].error or "")
    for _ in range(2):
        bench.clock.advance(timedelta(seconds=40))
        bench.apply()
    state = bench.sources.state(SOURCE)
    assert (state.documents, state.pending, state.quarantined) == (len(NAMES) - 1, 0, 1)


@pytest.mark.parametrize("trouble", TROUBLES[:3], ids=lambda trouble: trouble.__name__)
def test_the_last_good_revision_stays_and_the_next_edit_heals(bench: Bench, trouble: Callable[[], Vector]) -> None:
    bench.source.write("a.md", "The firstword.\n")
    bench.scan()
    bench.apply()
    poison(bench, trouble)
    bench.source.write("a.md", f"The secondword, {POISON}.\n")
    bench.scan()
    bench.apply()
    texts = [point.payload["page_content"] for point in bench.store.points.values()]
    assert texts == ["The firstword."]
    bench.source.write("a.md", "The thirdword.\n")
    bench.scan()
    bench.apply()
    assert [point.payload["page_content"] for point in bench.store.points.values()] == ["The thirdword."]
    assert bench.sources.state(SOURCE).quarantined == 0


def test_a_batch_too_large_for_the_memory_is_embedded_in_smaller_ones(bench: Bench) -> None:
    embed = bench.embedder._embed

    def only_few(texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        if len(texts) > 3:
            raise MemoryError
        return embed(texts)

    bench.embedder._embed = only_few  # type: ignore[method-assign]
    for name in NAMES:
        bench.source.write(name, f"About {name}.\n")
    bench.scan()
    bench.apply()
    assert bench.store.documents() == set(NAMES)
    assert all(outcome.kind is OutcomeKind.INDEXED for outcome, _ in bench.outcomes)


def test_what_was_embedded_before_the_trouble_is_not_embedded_again(bench: Bench) -> None:
    for name in NAMES[:8]:
        bench.source.write(name, f"About {name}.\n" + (POISON if name == NAMES[0] else ""))
    poison(bench, runs_out_of_memory)
    bench.scan()
    bench.apply()
    embedded = [text for text in bench.embedder.passages if text.startswith("About") and POISON not in text]
    assert len(embedded) == len(set(embedded)) == 7


def test_a_model_that_is_away_fails_no_document(bench: Bench) -> None:
    def away(texts: Sequence[str]) -> Iterator[tuple[int, Vector]]:
        raise EmbedderUnavailable("model: away")

    embed, bench.embedder._embed = bench.embedder._embed, away  # type: ignore[method-assign]
    bench.source.write("a.md", "The firstword.\n")
    bench.scan()
    with pytest.raises(EmbedderUnavailable, match="away"):
        bench.apply()
    assert bench.pending() == {"a.md": "added"}
    bench.embedder._embed = embed  # type: ignore[method-assign]
    bench.apply()
    assert bench.store.documents() == {"a.md"}


def test_the_indexer_survives_a_text_that_exhausts_the_memory(bench: Bench) -> None:
    poison(bench, runs_out_of_memory)
    bench.source.write("bad.md", POISON)
    bench.source.write("good.md", "Fine.\n")
    bench.scan()
    with bench.running():
        eventually(lambda: bench.store.documents() == {"good.md"})
        bench.source.write("later.md", "Later.\n")
        bench.scan()
        eventually(lambda: bench.store.documents() == {"good.md", "later.md"})


def test_a_cache_that_cannot_be_used_costs_vectors_and_no_document(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = mock.Mock()
    monkeypatch.setattr("freshd.pipeline.embedding.get_logger", lambda: log)
    bench.cache.close()
    bench.source.write("a.md")
    bench.scan()
    with bench.running():
        eventually(lambda: bench.pending() == {})
    assert bench.store.documents() == {"a.md"}
    assert {call.args[0] for call in log.warning.call_args_list} == {"cache_failed"}
    assert "vectors are computed again" in log.warning.call_args.kwargs["hint"]
