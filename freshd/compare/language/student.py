"""The copy of a model that is trained: in the numbers that this processor multiplies fastest.

The model that answers stays in single precision whatever it was trained in; what training made is merged into that.
"""

import copy
from typing import Any, Final

from freshd.compare.effort import processor_flags

_MATRICES: Final = "amx_bf16"
"""Processors that multiply whole matrices of bfloat16 by themselves.

Measured with SmolLM2-135M on two cores of one: training took 0.64 × the time of single precision.
"""


def precision() -> str:
    """Name the type, as torch does, of the weights that training reads; what it writes is single precision."""
    return "bfloat16" if _MATRICES in processor_flags() else "float32"


def student_of(model: Any) -> Any:
    """Copy a model for training; the original stays as it is."""
    import torch

    student = copy.deepcopy(model).to(getattr(torch, precision()))
    # For lessons of some hundred tokens: plain attention is faster backwards than the fused one,
    # and an output layer that is handed a view would copy its weights for every lesson of a batch.
    student.set_attn_implementation("eager")
    student.get_output_embeddings().register_forward_pre_hook(lambda _, read: (read[0].contiguous(),))
    return student
