"""CocoIndex as its own example for Qdrant is built: a memoised file, a splitter, a memoised and batched embedding.

Its Qdrant target takes a client; that of the local mode, with a lock around writes, needs no server.
"""

import asyncio
import os
import pathlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("COCOINDEX_DISABLE_USAGE_TRACKING", "1")

import cocoindex as coco
import numpy as np
from cocoindex.connectors import localfs, qdrant
from cocoindex.ops.text import RecursiveSplitter
from cocoindex.resources import schema
from cocoindex.resources.chunk import Chunk
from cocoindex.resources.file import FileLike
from cocoindex.resources.id import IdGenerator
from qdrant_client import QdrantClient

from tests.bench.drawn import DIMENSION
from tests.bench.peers.contract import CountedEmbedder, relative
from tests.bench.peers.local_qdrant import scrolled
from tests.bench.splitter import OVERLAP, SIZE

_COLLECTION = "docs"
_READY_S = 600.0
_current: dict[str, Any] = {}
"""The embedder and the client of this process: its functions are decorated, so they are found by name."""


class _Client(QdrantClient):
    _lock = threading.RLock()
    on_upsert: Callable[[Sequence[str]], None] | None = None

    def upsert(self, *arguments: Any, **named: Any) -> Any:
        with self._lock:
            answer = super().upsert(*arguments, **named)
        if self.on_upsert is not None:
            self.on_upsert([point.payload["text"] for point in named["points"]])
        return answer

    def delete(self, *arguments: Any, **named: Any) -> Any:
        with self._lock:
            return super().delete(*arguments, **named)


class _Embedder(schema.VectorSchemaProvider):
    @coco.fn.as_async(batching=True, runner=coco.GPU, max_batch_size=64)
    def _embed(self, texts: list[str]) -> list[Any]:
        return [np.asarray(vector, dtype=np.float32) for vector in _current["embedder"].embed(texts)]

    @coco.fn(memo=True, version=1, logic_tracking="self")
    async def embed(self, text: str) -> Any:
        return await self._embed(text)

    async def __coco_vector_schema__(self) -> Any:
        return schema.VectorSchema(dtype=np.dtype(np.float32), size=DIMENSION)

    def __coco_memo_key__(self) -> object:
        return "counted"


_DATABASE = coco.ContextKey[QdrantClient]("qdrant_db")
_EMBEDDER = coco.ContextKey[_Embedder]("embedder")
_splitter = RecursiveSplitter()


@coco.lifespan
async def _lifespan(builder: coco.EnvironmentBuilder) -> AsyncIterator[None]:
    builder.provide(_DATABASE, _current["client"])
    builder.provide(_EMBEDDER, _Embedder())
    yield


@coco.fn
async def _chunk(chunk: Chunk, name: pathlib.PurePath, ids: IdGenerator, target: qdrant.CollectionTarget) -> None:
    vector = await coco.use_context(_EMBEDDER).embed(chunk.text)
    target.declare_point(
        qdrant.PointStruct(
            id=await ids.next_id(chunk.text),
            vector=vector.tolist(),
            payload={"filename": str(name), "text": chunk.text},
        )
    )


@coco.fn(memo=True)
async def _file(file: FileLike, target: qdrant.CollectionTarget) -> None:
    chunks = _splitter.split(await file.read_text(), chunk_size=SIZE, chunk_overlap=OVERLAP, language="markdown")
    await coco.map(_chunk, chunks, file.file_path.path, IdGenerator(), target)


@coco.fn
async def _main(source: pathlib.Path, live: bool) -> None:
    target = await qdrant.mount_collection_target(
        _DATABASE,
        collection_name=_COLLECTION,
        schema=await qdrant.CollectionSchema.create(vectors=qdrant.QdrantVectorDef(schema=_EMBEDDER)),
    )
    await coco.mount_each(_file, localfs.walk_dir(source, recursive=True, live=live).items(), target)


class CocoIndex:
    """Incremental by memoisation; watches in its live mode."""

    def __init__(self, source: Path, state: Path, embedder: CountedEmbedder) -> None:
        self._source = source.resolve()
        state.mkdir(parents=True, exist_ok=True)
        os.environ["COCOINDEX_DB"] = str(state / "coco.db")
        self._client = _Client(path=str(state / "qdrant"), force_disable_check_same_thread=True)
        _current.update(embedder=embedder, client=self._client)
        coco.start_blocking()

    def sync(self) -> None:
        coco.App(coco.AppConfig(name="peer"), _main, source=self._source, live=False).update_blocking()

    def points(self) -> Iterable[tuple[str, str]]:
        for payload in scrolled(self._client, _COLLECTION):
            yield relative(payload["filename"], self._source), payload["text"]

    def watch(self, on_upsert: Callable[[Sequence[str]], None]) -> None:
        self._client.on_upsert = on_upsert
        app = coco.App(coco.AppConfig(name="live"), _main, source=self._source, live=True)
        is_ready, failure = threading.Event(), list[BaseException]()

        async def follow() -> None:
            try:
                async for seen in app.update(live=True).watch():
                    if seen.status.name == "READY":
                        is_ready.set()
            except BaseException as error:  # noqa: BLE001 - told by whoever waits
                failure.append(error)
                is_ready.set()

        threading.Thread(target=lambda: asyncio.new_event_loop().run_until_complete(follow()), daemon=True).start()
        if not is_ready.wait(_READY_S) or failure:
            raise RuntimeError(f"it does not watch: {failure}")

    def close(self) -> None:
        coco.stop_blocking()
        self._client.close()
