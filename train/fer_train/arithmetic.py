"""How torch computes: in bfloat16 or float32, and with repeatable bits or faster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from fer_edge.errors import ConfigurationError


def bf16_pays(network: nn.Module, device: torch.device) -> bool:
    """Tell whether bfloat16 makes this network faster on this device.

    It does on GPUs that have it. On a processor it needs AVX512-BF16 or AMX, and a network without
    grouped convolutions: oneDNN computes depthwise ones more slowly in bfloat16.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not _has_bf16():
        return False
    layers = (layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    return all(layer.groups == 1 for layer in layers)


def bf16_warning(arithmetic: str, device: torch.device) -> str | None:
    """What to tell if a recipe asks for bfloat16 on a processor without instructions for it."""
    if arithmetic != "bf16" or device.type != "cpu" or _has_bf16():
        return None
    return (
        'this processor has no instructions for bfloat16, so arithmetic = "bf16" is several times '
        'slower here than float32; "auto" takes what is faster'
    )


def _has_bf16() -> bool:
    return torch.cpu._is_avx512_bf16_supported()


@contextmanager
def mixed_precision(wanted: bool, device: torch.device) -> Iterator[None]:
    """Have torch compute in bfloat16 where that is safe, while the block runs and if ``wanted``."""
    if not wanted:
        yield
        return
    # on a CPU the gradient of fused attention takes four times as long in bf16, for 36 tokens
    unfused = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, torch.bfloat16), unfused:
        yield


_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def repeatable(wanted: bool) -> Iterator[None]:
    """Make the same seed give the same bits on the same device while the block runs, if ``wanted``.

    A CPU always does, with the same number of threads. A GPU then uses torch's deterministic
    algorithms, and cuDNN does not try which one is fastest.

    Raises ConfigurationError for an operation that has no deterministic algorithm.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if wanted:  # cuBLAS reads it when it is first used
        os.environ.setdefault(_WORKSPACE, ":4096:8")
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = not wanted
    try:
        yield
    except RuntimeError as problem:
        if wanted and "deterministic" in str(problem):
            raise ConfigurationError(
                "this network cannot be trained deterministically on this device: "
                f"{str(problem).partition('.')[0]}. Leave out --deterministic"
            ) from problem
        raise
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
