"""Building the network of a file without trusting its spec: shapes first, then the tensors.

A spec of a few bytes can ask for a network of any size. torch's ``meta`` tensors have a shape and
no storage, so building with them costs one call per tensor, whatever its size. The number of calls
is limited by the number of tensors in the file. Needs the ``torch`` extra.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ConfigurationError
from fer_edge.torch_model import network

_FREE_CALLS, _CALLS_PER_TENSOR = 1000, 32
"""Calls of torch allowed to build a network; timm's make at most 14 per stored tensor."""

_FREE_NUMBERS, _NUMBERS_PER_NUMBER = 1 << 24, 16
"""Numbers that building may write, for a network that computes more than its weights."""

_FEW_PIXELS = 64 * 64

_DRAWING = frozenset(
    (
        *("zero_", "fill_", "normal_", "uniform_", "kaiming_uniform_", "kaiming_normal_"),
        *("erfinv_", "mul_", "add_", "clamp_"),
    )
)
"""These only set numbers, and a ``meta`` tensor has none; skipping them halves the time."""


class Outline:
    """The network of ``spec`` without storage, if ``weights`` can be enough to fill it.

    Building may take a thousand calls of torch and 32 more for each tensor of ``weights``. Raises
    ConfigurationError beyond that, and whenever ``network.build`` does.
    """

    def __init__(self, spec: ModelSpec, weights: dict[str, torch.Tensor]) -> None:
        self._spec, self._weights = spec, weights
        self._calls = _Calls(_FREE_CALLS + _CALLS_PER_TENSOR * len(weights))
        # an error may interrupt torch before it switches gradients on again; this restores them
        gradients = torch.set_grad_enabled(torch.is_grad_enabled())
        with gradients, torch.device("meta"), self._calls:
            self._network = network.construct(spec)

    @property
    def wanted(self) -> dict[str, torch.Tensor]:
        """What ``weights`` should hold: tensors without storage."""
        return self._network.state_dict()

    def filled(self) -> nn.Module:
        """Return the network with copies of the weights, which must have the names of ``wanted``.

        An architecture that computes more than its weights, such as a table of positions, is built
        a second time with storage. Raises ConfigurationError if that would write more than 16
        million numbers plus 16 for each stored one, and if the network fails on a picture of the
        spec's size.
        """
        # the cost of attention grows with the pixels and the settings, not with the weights
        small = not self._spec.network.arguments and self._pixels <= _FEW_PIXELS
        if not small:
            with torch.device("meta"):
                network.check_forward(self._network, self._spec)
        beside = any(tensor.is_meta for tensor in _not_stored(self._network))
        filled = self._built() if beside else self._assigned()
        if small:  # a real picture then takes a tenth of the time of one without storage
            network.check_forward(filled, self._spec)
        return filled

    @property
    def _pixels(self) -> int:
        return self._spec.input.height * self._spec.input.width

    def _assigned(self) -> nn.Module:
        copies = {
            name: torch.empty(wanted.shape, dtype=wanted.dtype).copy_(self._weights[name])
            for name, wanted in self.wanted.items()
        }
        self._network.load_state_dict(copies, assign=True)
        return self._network

    def _built(self) -> nn.Module:
        stored = sum(tensor.numel() for tensor in self._weights.values())
        if self._calls.numbers > _FREE_NUMBERS + _NUMBERS_PER_NUMBER * stored:
            raise ConfigurationError(
                f"{self._spec.network.architecture} computes {self._calls.numbers:,} numbers with "
                f"these settings, for {stored:,} weights; choose settings that fit the weights"
            )
        built = network.construct(self._spec)
        built.load_state_dict(self._weights)
        return built


class _Calls(TorchFunctionMode):
    """Count the calls of torch in this thread, and the numbers they return."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left, self.most, self.numbers = most, most, 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        _types: Any,
        arguments: Any = (),
        named: dict[str, Any] | None = None,
    ) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ConfigurationError(
                f"the network is far larger than what is stored: it takes more than {self.most:,} "
                "calls to build; was its spec taken from another file?"
            )
        named = named or {}
        if function is torch.linspace:  # timm reads its values, the rates of stochastic depth
            named = {"device": "cpu", **named}
        drawn = self._drawn(function, arguments, named)
        result = function(*arguments, **named) if drawn is None else drawn
        if isinstance(result, torch.Tensor):
            self.numbers += result.numel()
        return result

    def _drawn(
        self, function: Callable[..., Any], arguments: Any, named: dict[str, Any]
    ) -> torch.Tensor | None:
        if getattr(function, "__name__", "") not in _DRAWING:
            return None
        tensor = arguments[0] if arguments else named.get("tensor")
        return tensor if isinstance(tensor, torch.Tensor) and tensor.is_meta else None


def _not_stored(built: nn.Module) -> Iterator[torch.Tensor]:
    stored = built.state_dict().keys()
    yield from (tensor for name, tensor in built.named_buffers() if name not in stored)
    for module in built.modules():
        yield from (value for value in vars(module).values() if isinstance(value, torch.Tensor))
