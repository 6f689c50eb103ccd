"""LlamaIndex' ingestion pipeline: docstore with upserts and deletes, its splitter's defaults, Qdrant's local mode."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llama_index.core import SimpleDirectoryReader
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient

from tests.bench.peers.contract import CountedEmbedder, relative
from tests.bench.peers.local_qdrant import scrolled

_COLLECTION = "docs"


class _Counted(BaseEmbedding):
    _embedder: Any = PrivateAttr()

    def __init__(self, embedder: CountedEmbedder) -> None:
        super().__init__(model_name="counted")
        self._embedder = embedder

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._embedder.embed([text])[0].tolist()

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [vector.tolist() for vector in self._embedder.embed(texts)]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embedder.embed_query(query).tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


class LlamaIndex:
    """As its documentation shows it."""

    def __init__(self, source: Path, state: Path, embedder: CountedEmbedder) -> None:
        self._source, self._kept = source, state / "pipeline"
        state.mkdir(parents=True, exist_ok=True)
        self._client = QdrantClient(path=str(state / "qdrant"), force_disable_check_same_thread=True)
        self._pipeline = IngestionPipeline(
            transformations=[SentenceSplitter(), _Counted(embedder)],
            docstore=SimpleDocumentStore(),
            vector_store=QdrantVectorStore(collection_name=_COLLECTION, client=self._client),
            docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
        )
        if self._kept.exists():
            self._pipeline.load(str(self._kept))

    def sync(self) -> None:
        reader = SimpleDirectoryReader(
            input_dir=str(self._source), recursive=True, filename_as_id=True, required_exts=[".txt"]
        )
        self._pipeline.run(documents=reader.load_data())
        self._pipeline.persist(str(self._kept))

    def points(self) -> Iterable[tuple[str, str]]:
        for payload in scrolled(self._client, _COLLECTION):
            text = json.loads(payload["_node_content"]).get("text") or payload.get("text", "")
            yield relative(payload["file_path"], self._source), text

    def close(self) -> None:
        self._client.close()
