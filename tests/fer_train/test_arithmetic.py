"""What a training computes in when the recipe leaves it open."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from fer_edge.errors import ConfigurationError
from fer_train.arithmetic import bf16_pays, bf16_warning, mixed_precision, repeatable

DENSE = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Linear(8, 2))
DEPTHWISE = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))
CPU = torch.device("cpu")


@pytest.mark.parametrize("has", [True, False])
def test_dense_networks_use_what_the_processor_has_and_depthwise_ones_do_not(
    has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    assert bf16_pays(DENSE, CPU) is has
    assert not bf16_pays(DEPTHWISE, CPU)


@pytest.mark.parametrize("arithmetic", ["auto", "fp32", "bf16"])
@pytest.mark.parametrize("has", [True, False])
def test_bfloat16_in_software_is_warned_of(
    has: bool, arithmetic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    warned = bf16_warning(arithmetic, CPU) is not None
    assert warned is (arithmetic == "bf16" and not has)


@pytest.mark.parametrize(("wanted", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_block_computes_in_what_was_chosen(wanted: bool, dtype: torch.dtype) -> None:
    with mixed_precision(wanted, CPU):
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == dtype


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
