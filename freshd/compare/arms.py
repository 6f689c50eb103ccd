"""Runs the arms: each is brought up to date and asked, in an order in which they share work.

    index OLD ─ passages ─▶ put NEW, update ─ passages ─▶ load the model ─▶ for each seed, for each arm:
        what it needs (trained once, shared) ─▶ its update, measured ─▶ Update ─▶ every question ─▶ Answer …

Questions are asked of the index before the model is loaded, so that the memory of an update is that of freshd alone.
Training time is that of training: asking development questions in between, to know when to stop, is left out.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from freshd.compare import lessons
from freshd.compare.effort import Stopwatch, forget_peak, peak_bytes
from freshd.compare.language import Adapters, LanguageModel, Tuning, TuningSettings
from freshd.compare.plan import Plan
from freshd.compare.records import Answer, Arm, Fact, FactKind, Update
from freshd.compare.retrieval import Refresh, Retrieved, open_scratch
from freshd.compare.trees import Tree, read_tree
