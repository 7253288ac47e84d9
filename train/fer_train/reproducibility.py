"""Whether results are the same from run to run, or a GPU may use faster algorithms."""

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
