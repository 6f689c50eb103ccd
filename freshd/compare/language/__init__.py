"""The language model: loads it, asks it, tunes it. The only room that knows torch and its family.

    GGUF, folder or hub name ─▶ LanguageModel ─┬─ answers, timed ◀── wearing(adapters)
                        lessons ─▶ tune ───────┴─▶ Adapters ─────────────┘

One base model serves every arm: what training changes are small matrices beside it (LoRA), put on and taken off again.
Heavy libraries are imported when they are needed, so that nothing else of freshd waits for them.
"""

from freshd.compare.language.device import Device, gpu_for
from freshd.compare.language.loading import BUNDLED, Found, find_model, load_model
from freshd.compare.language.model import Asked, LanguageModel, Said, Timing
from freshd.compare.language.saving import load_adapters, save_adapters
from freshd.compare.language.student import precision
from freshd.compare.language.training import Adapters, Tuning, TuningSettings

__all__ = [
    "BUNDLED",
    "Adapters",
    "Asked",
    "Device",
    "Found",
    "LanguageModel",
    "Said",
    "Timing",
    "Tuning",
    "TuningSettings",
    "find_model",
    "gpu_for",
    "load_adapters",
    "load_model",
    "precision",
    "save_adapters",
]
