"""The copy of a model that is trained: in the numbers that this machine multiplies fastest.

The model that answers stays in single precision whatever it was trained in; what training made is merged into that.
"""

import copy
from typing import Any, Final

from freshd.compare.effort import processor_flags
from freshd.compare.language.device import Device

_MATRICES: Final = "amx_bf16"
"""Processors that multiply whole matrices of bfloat16 by themselves.

Measured with SmolLM2-135M on two cores of one: training took 0.64 × the time of single precision.
"""


def precision(*, on_gpu: bool = False) -> str:
    """Name the type, as torch does, of the weights that training reads; what it writes is single precision."""
    return "bfloat16" if on_gpu or _MATRICES in processor_flags() else "float32"


def student_of(model: Any) -> Any:
    """Copy a model for training; the original stays as it is."""
    import torch

    student = copy.deepcopy(model).to(getattr(torch, precision(on_gpu=model.device.type == Device.CUDA)))
    # For lessons of some hundred tokens: plain attention is faster backwards than the fused one,
    # and an output layer that is handed a view would copy its weights for every lesson of a batch.
    student.set_attn_implementation("eager")
    student.get_output_embeddings().register_forward_pre_hook(lambda _, read: (read[0].contiguous(),))
    return student
