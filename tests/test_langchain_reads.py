"""A collection that freshd keeps on a server is one that LangChain's own Qdrant class reads."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings
from langchain_qdrant.sparse_embeddings import SparseVector as LangchainSparseVector
from qdrant_client import QdrantClient, models

from freshd.model import Chunk, ChunkId, Digest, DocumentId, Point, SourceName
from freshd.payload import DocumentFields, point_payload
from freshd.stores.server import ServerStore
from freshd.stores.wire import unpack_dense
from tests.kit.clock import ShiftedClock
from tests.kit.embedder import HashEmbedder
from tests.kit.world import SOURCE, Index, Settings

COLLECTION = "knowledge"
LEAVE = "Everybody has 28 days of leave a year."
TRAVEL = "Trains are booked by the office."


class Dense(Embeddings):
    """freshd's model as LangChain wants it."""

    def __init__(self, embedder: HashEmbedder) -> None:
        self._embedder = embedder

    def embed_query(self, text: str) -> list[float]:
        return list(unpack_dense(self._embedder.embed_query(text)))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


class Sparse(SparseEmbeddings):
    """freshd's BM25 as LangChain wants it."""

    def __init__(self, embedder: HashEmbedder) -> None:
        self._embedder = embedder

    def embed_query(self, text: str) -> LangchainSparseVector:
        vector = self._embedder.sparse_query(text)
        return LangchainSparseVector(indices=list(vector.indices), values=list(vector.values))

    def embed_documents(self, texts: list[str]) -> list[LangchainSparseVector]:
        return [self.embed_query(text) for text in texts]


class Knowledge:
    """A folder, freshd over it, and the collection it keeps in qdrant-client's local mode."""

    def __init__(self, root: Path) -> None:
        self.docs = root / "docs"
        self.docs.mkdir()
        self.client = QdrantClient(":memory:")
        self.embedder = HashEmbedder()
        self.store = ServerStore("local", COLLECTION, self.embedder.dimension, client=self.client)
        settings = Settings(self.docs, ShiftedClock(), self.embedder)
        self.index = Index(settings, root / "state", self.store)
        self.write("leave.md", f"---\ntitle: Leave\n---\n\n# Leave\n\n{LEAVE}\n")
        self.write("plain.txt", f"{TRAVEL}\n")

    def write(self, name: str, text: str) -> None:
        (self.docs / name).write_text(text)
        self.index.reindex()

    def close(self) -> None:
        self.index.close()
        self.client.close()

    def retriever(self, mode: RetrievalMode = RetrievalMode.DENSE) -> QdrantVectorStore:
        return QdrantVectorStore(
            self.client,
            COLLECTION,
            embedding=Dense(self.embedder),
            sparse_embedding=Sparse(self.embedder),
            sparse_vector_name="bm25",
            retrieval_mode=mode,
        )

    def of_another_source(self, text: str) -> None:
        """Put a passage beside those of the folder, as a second source would."""
        name = SourceName("news")
        document = DocumentFields(name, DocumentId("1"), "https://news.example/1", None, Digest("ab" * 32), None)
        chunk_id = ChunkId(str(uuid.uuid5(uuid.NAMESPACE_URL, text)))
        chunk = Chunk(chunk_id, 0, 0, len(text), 1, 1, (), text, text, Digest("cd" * 32))
        payload = point_payload(document, chunk, datetime(2026, 3, 1, tzinfo=UTC))
        self.store.upsert(
            [Point(chunk_id, self.embedder.embed_query(text), self.embedder.sparse_passage(text), payload)]
        )


@pytest.fixture
def knowledge(tmp_path: Path) -> Iterator[Knowledge]:
    knowledge = Knowledge(tmp_path)
    yield knowledge
    knowledge.close()


def test_a_passage_comes_with_its_text_and_where_it_stands(knowledge: Knowledge):
    query = next(passage for passage in knowledge.embedder.passages if LEAVE in passage)
    found, score = knowledge.retriever().similarity_search_with_score(query, k=2)[0]
    assert found.page_content == LEAVE
    assert score == pytest.approx(1.0, abs=1e-5)
    assert found.metadata["uri"] == (knowledge.docs / "leave.md").as_uri()
    assert (found.metadata["start_line"], found.metadata["end_line"]) == (7, 7)
    assert (found.metadata["title"], found.metadata["heading_path"]) == ("Leave", ["Leave"])
    assert found.metadata["source"] == SOURCE
    assert "freshd" not in found.metadata, "bookkeeping is not shown to a language model"


def test_words_find_a_passage_by_bm25(knowledge: Knowledge):
    found = knowledge.retriever(RetrievalMode.SPARSE).similarity_search("who books trains?", k=1)
    assert [document.page_content for document in found] == [TRAVEL]
    assert "title" not in found[0].metadata, "what nobody knows is left out"


def test_both_together_find_it_as_well(knowledge: Knowledge):
    found = knowledge.retriever(RetrievalMode.HYBRID).similarity_search("who books trains?", k=2)
    assert TRAVEL in {document.page_content for document in found}


def test_a_filter_by_source_leaves_the_others_out(knowledge: Knowledge):
    knowledge.of_another_source("Trains are late again.")
    sources = {}
    for name in (SOURCE, "news", "nobody"):
        condition = models.FieldCondition(key="metadata.source", match=models.MatchValue(value=name))
        found = knowledge.retriever().similarity_search("trains", k=10, filter=models.Filter(must=[condition]))
        sources[name] = sorted(document.page_content for document in found)
    assert sources == {SOURCE: sorted([LEAVE, TRAVEL]), "news": ["Trains are late again."], "nobody": []}


def test_an_edit_is_what_the_retriever_answers_next(knowledge: Knowledge):
    knowledge.write("leave.md", f"# Leave\n\nNew on top.\n\n{LEAVE.replace('28', '31')}\n")
    texts = [document.page_content for document in knowledge.retriever().similarity_search("days of leave", k=10)]
    assert any("31 days" in text for text in texts)
    assert not any("28 days" in text for text in texts)


def test_a_retriever_follows_a_citation_to_the_very_lines(knowledge: Knowledge):
    knowledge.write("leave.md", f"# Leave\n\nNew on top.\n\n## Days\n\n{LEAVE}\n")
    for document in knowledge.retriever().as_retriever(search_kwargs={"k": 10}).invoke("leave"):
        path = Path(document.metadata["uri"].removeprefix("file://"))
        lines = path.read_text().splitlines()
        cited = lines[document.metadata["start_line"] - 1 : document.metadata["end_line"]]
        assert "\n".join(cited) == document.page_content
