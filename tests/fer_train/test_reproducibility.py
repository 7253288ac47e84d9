"""Deterministic algorithms, for as long as they are asked for."""

from __future__ import annotations

import contextlib

import pytest
import torch

from fer_edge.errors import ConfigurationError
from fer_train.reproducibility import repeatable


def overwrite_twice() -> None:
    with repeatable(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        values = torch.tensor([1.0, 2.0])
        torch.zeros(3).put_(torch.tensor([0, 0]), values, accumulate=False)


def test_an_operation_that_is_not_deterministic_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with pytest.raises(ConfigurationError, match=r"put_.*Leave out --deterministic"):
        overwrite_twice()
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_was_set_before_comes_back_after_an_error() -> None:
    before = torch.backends.cudnn.benchmark
    with contextlib.suppress(KeyError), repeatable(False):
        assert torch.backends.cudnn.benchmark
        raise KeyError
    assert torch.backends.cudnn.benchmark == before
    assert not torch.are_deterministic_algorithms_enabled()
