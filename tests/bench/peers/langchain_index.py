"""LangChain's `index()` with its SQL record manager, the splitter of most tutorials, Qdrant's local mode."""

from collections.abc import Iterable
from pathlib import Path

from langchain_classic.indexes import SQLRecordManager
from langchain_community.document_loaders import DirectoryLoader, TextLoader
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import index
from langchain_qdrant import QdrantVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter
from qdrant_client import QdrantClient
from qdrant_client.models import Distance, VectorParams

from tests.bench.drawn import DIMENSION
from tests.bench.peers.contract import CountedEmbedder, relative
from tests.bench.peers.local_qdrant import scrolled
from tests.bench.splitter import OVERLAP, SIZE

_COLLECTION = "docs"


class _Counted(Embeddings):
    def __init__(self, embedder: CountedEmbedder) -> None:
        self._embedder = embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [vector.tolist() for vector in self._embedder.embed(texts)]

    def embed_query(self, text: str) -> list[float]:
        return self._embedder.embed_query(text).tolist()


class Full:
    """Everything that the loader did not show is deleted."""

    cleanup = "full"

    def __init__(self, source: Path, state: Path, embedder: CountedEmbedder) -> None:
        self._source = source
        state.mkdir(parents=True, exist_ok=True)
        self._client = QdrantClient(path=str(state / "qdrant"), force_disable_check_same_thread=True)
        if not self._client.collection_exists(_COLLECTION):
            size = VectorParams(size=DIMENSION, distance=Distance.COSINE)
            self._client.create_collection(_COLLECTION, vectors_config=size)
        self._store = QdrantVectorStore(
            self._client, _COLLECTION, embedding=_Counted(embedder), validate_collection_config=False
        )
        self._records = SQLRecordManager(f"qdrant/{_COLLECTION}", db_url=f"sqlite:///{state}/records.db")
        self._records.create_schema()
        self._splitter = RecursiveCharacterTextSplitter(chunk_size=SIZE, chunk_overlap=OVERLAP)

    def sync(self) -> None:
        loader = DirectoryLoader(
            str(self._source), glob="**/*.txt", loader_cls=TextLoader, loader_kwargs={"encoding": "utf-8"}
        )
        pieces = self._splitter.split_documents(loader.load())
        index(pieces, self._records, self._store, cleanup=self.cleanup, source_id_key="source")

    def points(self) -> Iterable[tuple[str, str]]:
        for payload in scrolled(self._client, _COLLECTION):
            yield relative(payload["metadata"]["source"], self._source), payload["page_content"]

    def close(self) -> None:
        self._client.close()


class Incremental(Full):
    """Only what was shown again in other words is deleted."""

    cleanup = "incremental"
