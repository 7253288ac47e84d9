"""Keeping a network well-conditioned, and checking that it is.

Batch norm multiplies channels that hardly vary by thousands. Accuracy hardly shows it, but
confidence, fp16 and INT8 suffer. So statistics are estimated again on clean crops, and the largest
activation and logit are measured on ordinary and on odd crops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode

from fer_edge.system.progress import track
from fer_edge.torch_model.network import without_tf32

MAX_LOGIT = 30.0
MAX_ACTIVATION = 1000.0
_BATCH = 256
_MIDDLE = 128


@dataclass(frozen=True)
class Conditioning:
    """Largest absolute logit and activation that were seen, and on which kind of crop.

    What is not finite counts as the largest float32.
    """

    largest_logit: float
    largest_logit_on: str
    largest_activation: float
    largest_activation_on: str

    @property
    def holds(self) -> bool:
        """Whether both stay within the bounds that fp16 and INT8 need."""
        return self.largest_logit <= MAX_LOGIT and self.largest_activation <= MAX_ACTIVATION


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """All batch-norm layers of a network."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


@torch.no_grad()
def refresh_batch_norm(network: nn.Module, images: torch.Tensor) -> None:
    """Estimate all batch-norm statistics again, as plain averages over even batches of ``images``.

    ``images`` is uint8 ``(N, C, H, W)``, in random order, so that each batch is like the whole.
    Only batch norms are in training mode; dropout stays off. A network without batch norm stays as
    it is.
    """
    layers = batch_norms(network)
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch then computes a cumulative average
        layer.train()
    for batch in _even_batches(images):
        network(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.eval()


@torch.no_grad()
def measure(network: nn.Module, crops: torch.Tensor) -> Conditioning:
    """Run clean crops, and odd ones made of them, and keep the largest values.

    ``crops`` is uint8 ``(N, C, H, W)``; the odd ones are constant, noise, inverted and saturated.
    """
    network.eval()
    seen: list[tuple[float, float, str]] = []
    for kind, images in _kinds(crops):
        with _peaks() as peaks, without_tf32():
            batches = images.split(_BATCH)
            results = [network(one) for one in track(batches, len(batches), f"{kind} crops")]
        seen.append((max(map(_largest, results)), max(peaks), kind))
    logit, _, logit_on = max(seen, key=itemgetter(0))
    _, activation, activation_on = max(seen, key=itemgetter(1))
    return Conditioning(logit, logit_on, activation, activation_on)


def _kinds(crops: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    yield "clean", crops
    levels = torch.arange(256, dtype=torch.uint8, device=crops.device).view(-1, 1, 1, 1)
    yield "constant", levels.expand(-1, *crops.shape[1:])
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, crops[:_BATCH].shape, generator=generator, dtype=torch.uint8)
    yield "noise", noise.to(crops.device)
    yield "inverted", 255 - crops
    yield "saturated", (crops >= _MIDDLE).to(torch.uint8) * 255


@contextmanager
def _peaks() -> Iterator[list[float]]:
    """Collect the largest absolute input and output of every layer while the block runs.

    A residual sum is not the output of a layer, but the input of the next one. Attention scores are
    neither: they are the product of a batch of matrices. Pixels are bytes and do not count.
    """
    peaks = [0.0]

    def note(value: object) -> None:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            peaks.append(_largest(value))

    def note_inputs(layer: nn.Module, inputs: tuple[object, ...]) -> None:
        if next(layer.children(), None) is None:
            for value in inputs:
                note(value)

    def note_output(layer: nn.Module, _inputs: object, output: object) -> None:
        if next(layer.children(), None) is None:
            note(output)

    with (
        register_module_forward_pre_hook(note_inputs),
        register_module_forward_hook(note_output),
        _Products(note),
        sdpa_kernel(SDPBackend.MATH),  # fused attention would show no scores
    ):
        yield peaks


class _Products(TorchDispatchMode):
    """Hands the product of every batch of matrices to ``note``."""

    def __init__(self, note: Callable[[object], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._note = note

    def __torch_dispatch__(
        self, function: Any, _types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        result = function(*arguments, **(named or {}))
        if function is torch.ops.aten.bmm.default:
            self._note(result)
        return result


def _largest(values: torch.Tensor) -> float:
    least, most = values.float().aminmax()
    return float(torch.maximum(-least, most).nan_to_num(nan=torch.finfo(torch.float32).max))


def _even_batches(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Split so that no batch is so small that its statistics are noise."""
    return images.tensor_split(max(1, round(len(images) / _BATCH)))
