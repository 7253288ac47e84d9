"""The network that a file asks for: first its names and shapes alone, then with the file's tensors.

A spec of a few bytes can ask for a network of any size. torch's ``meta`` tensors have a shape and
no storage, so building on them costs one call per tensor, whatever its size; how many calls there
may be follows from how many tensors the file holds. Needs the ``torch`` extra.
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

__all__ = ["Outline"]

_FREE_CALLS, _CALLS_PER_TENSOR = 1000, 32
"""Of torch, to build a network with; timm's own make at most 14 for each tensor that is stored."""

_FREE_NUMBERS, _NUMBERS_PER_NUMBER = 1 << 24, 16
"""Written while a network is built that cannot come from stored tensors alone."""

_FEW_PIXELS = 64 * 64

_DRAWING = frozenset(
    (
        *("zero_", "fill_", "normal_", "uniform_", "kaiming_uniform_", "kaiming_normal_"),
        *("erfinv_", "mul_", "add_", "clamp_"),
    )
)
"""Change numbers and no shape: they take half of the time, and a ``meta`` tensor has no numbers."""


class Outline:
    """The network of ``spec``, as long as ``weights`` may be enough to fill it.

    Its bounds follow from ``weights``: 32 calls of torch for each tensor, and a thousand. Raises
    ConfigurationError beyond that, and for all that ``network.build`` raises it for.
    """

    def __init__(self, spec: ModelSpec, weights: dict[str, torch.Tensor]) -> None:
        self._spec, self._weights = spec, weights
        self._calls = _Calls(_FREE_CALLS + _CALLS_PER_TENSOR * len(weights))
        # a refusal may come where torch switches gradients on again; this does it after all
        gradients = torch.set_grad_enabled(torch.is_grad_enabled())
        with gradients, torch.device("meta"), self._calls:
            self._network = network.construct(spec)

    @property
    def wanted(self) -> dict[str, torch.Tensor]:
        """What ``weights`` should hold: tensors without storage."""
        return self._network.state_dict()

    def filled(self) -> nn.Module:
        """Put the weights in, copied and in the types of the network; they must be ``wanted``'s.

        What an architecture computes beside its weights, such as a table of positions, needs a
        second network, built for real. Raises ConfigurationError where that would write more than
        16 numbers for each of the weights', and 16 million, and for a network that fails on a
        picture of the spec's size.
        """
        # what attention takes grows with the pixels and with settings, and not with the weights
        small = not self._spec.network.arguments and self._pixels <= _FEW_PIXELS
        if not small:
            with torch.device("meta"):
                network.check_forward(self._network, self._spec)
        beside = any(tensor.is_meta for tensor in _not_stored(self._network))
        filled = self._built() if beside else self._assigned()
        if small:  # then a true picture is a tenth of the time of one without storage
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
    """Count what is called of torch in this thread, and the numbers that come of it."""

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
        if function is torch.linspace:  # timm asks for its values: the rates of stochastic depth
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
