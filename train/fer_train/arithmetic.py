"""Whether a network computes in bfloat16 while it trains or teaches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

__all__ = ["bf16_pays", "mixed_precision"]


def bf16_pays(network: nn.Module, device: torch.device) -> bool:
    """Tell whether bfloat16 makes this network faster on this device.

    It does on GPUs that have it. Of processors it takes one with AVX512-BF16 or AMX, and a network
    without grouped convolutions: oneDNN computes depthwise ones more slowly in bfloat16.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not torch.cpu._is_avx512_bf16_supported():
        return False
    layers = (layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    return all(layer.groups == 1 for layer in layers)


@contextmanager
def mixed_precision(wanted: bool, device: torch.device) -> Iterator[None]:
    """Compute in bfloat16 where it is safe while the block runs, or not."""
    if not wanted:
        yield
        return
    # on a CPU the gradient of fused attention takes four times as long in bf16, for 36 tokens
    unfused = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, torch.bfloat16), unfused:
        yield
