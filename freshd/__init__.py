"""freshd keeps a retrieval index as fresh as its sources, and proves it."""

__version__ = "0.1.0"
