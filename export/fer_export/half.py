"""Half precision: an ONNX core in float16, except for nodes that need float32.

These are normalisations, which add up squares (``FLOAT_OPS``), nodes whose tensors or sums come
near the largest float16 on calibration crops, and nodes with weights that float16 cannot represent.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from fer_calib.crops import Crops
from fer_calib.onnx_graph import check
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import GateError
from fer_edge.evaluation import metrics
from fer_export.half_graph import FloatGraph, to_half_graph
from fer_export.half_probe import Observation, broken_tensors, observe

DEFAULT_TOLERANCE = 4e-3
"""Largest change of a probability on the calibration crops. The gate of an fp16 artifact allows
5e-3, which leaves a margin for other pictures.
"""

HEADROOM = 4
"""Other pictures may cause values this many times larger than calibration crops do."""

FLOAT_OPS = frozenset(
    {
        *("GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization"),
        *("ReduceL2", "ReduceSumSquare"),
    }
)
"""Operators that stay in float32: they add up squares, which overflow float16 long before their
outputs do. TensorRT asks for layer norms in float32 too."""

_END = float(np.finfo(np.float16).max)
_LIMIT = _END / HEADROOM
_LOST = 2.0**-8
"""A weight stays in float32 where float16 would change it by more than this share; its own
precision is 2^-11."""

_FEW = 4


@dataclass(frozen=True)
class Island:
    """A node that stays in float32, and why."""

    node: str
    op: str
    reason: str


@dataclass(frozen=True, eq=False)
class HalfCore:
    """A core in half precision and how it came about.

    ``model`` maps ``normalized`` to ``logits``, both float32. ``islands`` are in the order of the
    graph. ``max_probability_difference`` compares with float32 on the calibration crops, with every
    tensor rounded to float16. ``largest_activation`` is that of the float32 core.
    """

    model: onnx.ModelProto
    islands: tuple[Island, ...]
    half_nodes: int
    max_probability_difference: float
    largest_activation: float

    def summary(self) -> str:
        """What is in which precision, in one line."""
        ops = Counter(island.op for island in self.islands)
        listed = ", ".join(f"{count} {op}" for op, count in ops.most_common())
        return (
            f"{self.half_nodes} of {self.half_nodes + len(self.islands)} nodes compute in float16"
            + (f"; in float32: {listed}" if listed else "")
            + f"; largest activation {self.largest_activation:.3g}"
        )


def to_half(
    core: onnx.ModelProto,
    spec: ModelSpec,
    crops: npt.NDArray[np.uint8],
    *,
    tolerance: float = DEFAULT_TOLERANCE,
) -> HalfCore:
    """Convert a float32 core, as ``export_core`` makes it; ``core`` stays as it is.

    ``crops`` are calibration crops, uint8 ``(N, H, W, C)``. Unusual pictures are made from them and
    tried too: dark, overexposed, inverted, noise. None may overflow. Raises GateError for NaN or
    Inf on any crop, and if a probability changes by more than ``tolerance``; DataError for crops
    that do not fit, and ArtifactError for a graph that cannot be rewritten.
    """
    usual = Crops(crops, spec)
    tried = Crops(np.concatenate([crops, _unusual(crops)]), spec)
    graph = FloatGraph(core)
    seen = observe(graph, tried)
    if broken := [name for name, peak in seen.peaks.items() if not np.isfinite(peak)]:
        raise GateError(
            f"the float32 network itself computes NaN or Inf on the calibration crops, first in "
            f"{broken[0]}; train it again"
        )
    reasons = _in_float(graph, seen)
    half = to_half_graph(graph, reasons)
    check(half)
    logits, broken = broken_tensors(half, tried)
    if broken:
        raise GateError(
            f"float16 computes NaN or Inf on the calibration crops, first in {broken[0]}, although "
            "float32 stays well within its range: the network is ill-conditioned, train it again"
        )
    expected, given = (
        metrics.softmax(answers[: len(usual)], spec.temperature)
        for answers in (seen.logits, logits)
    )
    difference = float(np.abs(given - expected).max())
    if not difference <= tolerance:
        raise GateError(
            f"float16 changes a probability by {difference:.1e}, allowed are {tolerance:.1e}: this "
            "network loses too much in half precision. Export it in fp32 or int8, or train it "
            "with bounded activations"
        )
    return HalfCore(
        model=half,
        islands=_listed(graph, reasons),
        half_nodes=len(graph.ports.keys() - reasons.keys()),
        max_probability_difference=difference,
        largest_activation=max(seen.peaks.values()),
    )


def _in_float(graph: FloatGraph, seen: Observation) -> dict[str, str]:
    """Why nodes stay in float32: their kind, their weights, or the size of tensors and sums."""
    weights = [name for name in graph.initializers if graph.is_weight(name)]
    unfit = {name: _unfit(graph.array(name)) for name in weights}
    reasons: dict[str, str] = {}
    for name, ports in graph.ports.items():
        node = graph.named[name]
        read = [node.input[position] for position in sorted(ports.inputs)]
        written = [node.output[position] for position in sorted(ports.outputs)]
        found = ["it adds up squares"] if node.op_type in FLOAT_OPS else []
        found += [reason for given in read if (reason := unfit.get(given))]
        for word, names in (("reads", read), ("writes", written)):
            peak = max((seen.peaks.get(name, 0.0) for name in names), default=0.0)
            if peak > _LIMIT:
                found.append(f"it {word} up to {peak:.3g}")
        if seen.sums.get(name, 0.0) > _LIMIT:
            found.append(f"it may add up to {seen.sums[name]:.3g} inside")
        if found:
            reasons[name] = found[0]
    return reasons


def _listed(graph: FloatGraph, reasons: dict[str, str]) -> tuple[Island, ...]:
    """The nodes that read float32 and stay in it, in the order of the graph."""
    return tuple(
        Island(name, node.op_type, reasons.get(name, "ONNX has no float16 form of it"))
        for name, node in graph.named.items()
        if name in reasons or (name not in graph.ports and any(map(graph.is_float, node.input)))
    )


def _unusual(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Pictures that cameras take and calibration sets lack.

    They are black, gray, white, noise, negatives, and crops in pure black and white.
    """
    shape, some = crops.shape[1:], crops[:_FEW]
    plain = [np.full(shape, value, np.uint8) for value in (0, 128, 255)]
    noise = np.random.default_rng(0).integers(0, 256, (4, *shape), np.uint8)
    hard = np.where(some > some.mean(), 255, 0).astype(np.uint8)
    return np.concatenate([np.stack(plain), noise, 255 - some, hard])


def _unfit(values: npt.NDArray[np.float32]) -> str | None:
    """Why float16 cannot represent a weight, or None."""
    peak = float(np.abs(values).max(initial=0))
    if not peak <= _END:
        return f"a weight of it is {peak:.3g}"
    exact = values.astype(np.float64)
    size = math.sqrt(np.square(exact).sum())
    lost = math.sqrt(np.square(exact - values.astype(np.float16)).sum())
    if lost > _LOST * size:
        return f"float16 changes a weight of it by {lost / size:.1%}"
    return None
