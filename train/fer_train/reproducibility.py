"""Whether the device may choose the faster way where its results then differ from run to run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fer_edge.errors import ConfigurationError

__all__ = ["repeatable"]

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def repeatable(wanted: bool) -> Iterator[None]:
    """Have the same seed give the same bits on the same device while the block runs, or not.

    A CPU does so anyway, with as many threads. A GPU does where ``wanted``: with the algorithms of
    torch that are deterministic, and without cuDNN's
    trials of which one is faster; else these trials are made.

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
