"""Where the model computes: on the processor, or on a GPU that torch can use."""

from enum import StrEnum
from typing import Any, Final

from freshd.errors import FreshdError

_SOME_GPU: Final = "a build of torch for GPUs and a driver for it, or leave --device out"


class Device(StrEnum):
    """What may be asked for."""

    AUTO = "auto"
    """A GPU where torch can use one, else the processor."""
    CPU = "cpu"
    CUDA = "cuda"
    """NVIDIA's GPUs, and AMD's under torch for ROCm."""


def gpu_for(asked: Device) -> str | None:
    """Name the GPU that the model will be on; None for the processor.

    Raises:
        FreshdError: A GPU is asked for, and torch can use none.

    """
    if asked is Device.CPU:
        return None
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    if asked is Device.CUDA:
        raise FreshdError("--device cuda: torch can use no GPU here, expected one", hint=_SOME_GPU)
    return None


def wait_for(device: Any) -> None:
    """Wait until a device has done all that it was told; the processor has, whenever one may ask."""
    if device.type == Device.CUDA:
        import torch

        torch.cuda.synchronize(device)


def forget_peak(device: Any) -> None:
    """Let `peak_bytes` count from here."""
    if device.type == Device.CUDA:
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: Any) -> int:
    """Give the most memory of a GPU that was held since `forget_peak`; 0 for the processor."""
    if device.type != Device.CUDA:
        return 0
    import torch

    return int(torch.cuda.max_memory_allocated(device))
