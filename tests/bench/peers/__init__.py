"""freshd beside what else keeps an index up to date, on the same documents with the same model.

    make bench-peers                        both tables, in an environment of its own with pinned peers
    python -m tests.bench.peers releases    what each embeds again, and whether nothing of the past is left
    python -m tests.bench.peers live        from a write to the first search that finds it, while each watches

Every step of a peer is a process of its own (`step`), so that nothing but what it stored is left from the one before.
To add a peer, write a class with the members of `contract.Peer` and name it in `PEERS`.
"""

PEERS = {
    "freshd": "tests.bench.peers.freshd_itself:Freshd",
    "LangChain index(), incremental": "tests.bench.peers.langchain_index:Incremental",
    "LangChain index(), full": "tests.bench.peers.langchain_index:Full",
    "LlamaIndex IngestionPipeline": "tests.bench.peers.llamaindex_pipeline:LlamaIndex",
    "CocoIndex": "tests.bench.peers.cocoindex_app:CocoIndex",
}
LIVE = ("freshd", "CocoIndex")
"""Those that watch."""
