"""The forms of INT8, one for each kind of engine, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fer_edge.errors import ConfigurationError

INT8_MAX, X86_MAX = 127, 64


@dataclass(frozen=True)
class Scheme:
    """How numbers become integers, and where.

    Activations have one scale per tensor; weights are symmetric int8 with one scale per output
    channel.

    - ``activations``: ``int8`` is symmetric, with the zero-point 0; ``uint8`` spans a tensor's own
      range; ``mixed`` is uint8 from 0 where nothing is negative, symmetric int8 elsewhere.
    - ``sums``: which operands of a residual addition are quantised. ``skip`` quantises the shortcut
      alone; an engine then adds to the fresh output of a convolution before it rounds.
    - ``outputs``: whether the output of every convolution is quantised, even if no layer reads it.
    - ``weight_limit``: the largest integer of a weight. 127 uses all 8 bits. x86 without VNNI adds
      pairs of products of uint8 and int8 in 16 bits, which can overflow above 64 (OpenVINO's
      documentation: "Saturation (overflow) Issue Workaround"). Newer machines do not show it.
    - ``integer_bias``: biases as int32 in the scale of the products, or in float.
    - ``engine``: the one that it is measured in.
    """

    activations: Literal["int8", "uint8", "mixed"]
    sums: Literal["skip", "all"]
    outputs: bool
    weight_limit: int
    integer_bias: bool
    engine: str


SCHEMES = {
    # TensorRT accepts no other, and every engine runs it
    "canonical": Scheme("int8", "skip", False, INT8_MAX, False, "onnxruntime"),
    # U8S8, which ONNX Runtime fuses into integer kernels on x86
    "onnxruntime": Scheme("uint8", "all", True, X86_MAX, True, "onnxruntime"),
    # the form that OpenVINO's own quantiser makes
    "openvino": Scheme("mixed", "all", False, X86_MAX, False, "openvino"),
}


def find_scheme(name: str) -> Scheme:
    """Look up a scheme. Raises ConfigurationError for an unknown one."""
    if name not in SCHEMES:
        raise ConfigurationError(f"unknown scheme {name!r}; there are {', '.join(SCHEMES)}")
    return SCHEMES[name]
