"""The comparison: what an update costs by retrieval, by retraining and by both, on the same changed facts.

    two versions + facts ─▶ arms ─▶ journal ─▶ measures, costs, verdict ─▶ report

Nothing here loads a language model's libraries before a run begins.
"""

from freshd.compare.facts import handbook, load_facts, propose
from freshd.compare.plan import FULL, QUICK, Plan
from freshd.compare.records import Results
from freshd.compare.run import run_comparison

__all__ = ["FULL", "QUICK", "Plan", "Results", "handbook", "load_facts", "propose", "run_comparison"]
