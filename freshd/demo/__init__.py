"""The demonstration: the main job on real documents, with the real model, the real index and a real daemon.

    corpus ─▶ folder ──┐
    feed server ───────┼─▶ `freshd run` ─▶ GET /search, /status, /metrics
    steps ─▶ writes ───┘                        │
      └────────────────── seen? ◀───────────────┘

It knows of the daemon only what any program could: its files, its address, its answers.
"""

from freshd.demo.show import run_demo

__all__ = ["run_demo"]
