"""Half precision: an ONNX core in float16, with float32 islands where float16 is not enough.

Which nodes stay in float32 is measured on calibration crops, never listed: tensors and sums that
come near the end of float16, weights that it does not hold, operators that lose too much when each
of their steps is rounded, and last, where probabilities still move too far, the nodes that move
them most.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ConfigurationError, GateError
from fer_edge.evaluation import metrics
from fer_edge.system.progress import track
from fer_export.half_graph import FloatGraph, emulate, prepare, to_half_graph
from fer_export.half_probe import broken_tensors, logits_of, normalized, observe, values_of
from fer_export.half_steps import HAS_STEPS, half_error

__all__ = ["DEFAULT_TOLERANCE", "HEADROOM", "HalfCore", "Island", "to_half"]

DEFAULT_TOLERANCE = 4e-3
"""Largest change of a probability on the calibration crops. The gate of an fp16 artifact allows
5e-3; what is left is for pictures that the calibration set lacks.
"""

HEADROOM = 4
"""Pictures to come may exceed those of the calibration set by this factor before anything
overflows."""

_END = float(np.finfo(np.float16).max)
_LIMIT = _END / HEADROOM
_LOST = 2.0**-8
"""Relative error above which an operator or a weight is not left to float16, whose own is 2^-11."""

_FEW = 16
_STRETCH = 16
_GROWTH = 1.25
_NEGLIGIBLE = 0.1
_MIN_SHARE = 0.5
_ROUNDS_NOTHING = frozenset(
    {
        *("Abs", "Clip", "Max", "MaxPool", "Min", "Neg", "Relu"),
        *("Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "Split"),
        *("Squeeze", "Transpose", "Unsqueeze"),
    }
)
"""Operators that choose, move or negate; what they give is as exact as what they take."""


@dataclass(frozen=True)
class Island:
    """A node that stays in float32, and why."""

    node: str
    op: str
    reason: str


@dataclass(frozen=True, eq=False)
class HalfCore:
    """A core in half precision and how it came about.

    ``model`` maps ``normalized`` to ``logits``, both float32. ``islands`` stand in the order of the
    graph. ``max_probability_difference`` is against float32, on the calibration crops, with every
    tensor rounded as float16 rounds it. ``largest_activation`` is that of the float32 core.
    """

    model: onnx.ModelProto
    islands: tuple[Island, ...]
    half_nodes: int
    max_probability_difference: float
    largest_activation: float

    @property
    def float_nodes(self) -> int:
        """Nodes that stay in float32."""
        return len(self.islands)

    def summary(self) -> str:
        """What is in which precision, in one line."""
        total = self.half_nodes + self.float_nodes
        ops = Counter(island.op for island in self.islands)
        listed = ", ".join(f"{count} {op}" for op, count in ops.most_common())
        return (
            f"{self.half_nodes} of {total} nodes compute in float16"
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

    ``crops`` is what calibration sees, ``(N, H, W, C)``. Beside them, pictures that a calibration
    set lacks are made of them (dark, burnt out, inverted, noise): these too must not overflow.
    ``tolerance`` bounds the change of a probability. Raises GateError for NaN or Inf on any of the
    crops, and where less than half of the weights could be float16; ConfigurationError for crops
    that do not fit, and ArtifactError for a graph that cannot be rewritten.
    """
    if crops.dtype != np.uint8 or crops.shape[1:] != spec.input.shape or not len(crops):
        raise ConfigurationError(
            f"expected calibration crops, uint8 (N, {', '.join(map(str, spec.input.shape))}), not "
            f"{crops.dtype} {crops.shape}"
        )
    conversion = _Conversion(prepare(core), spec, crops)
    conversion.keep_what_overflows()
    conversion.keep_what_is_inexact()
    conversion.keep_what_moves_probabilities(tolerance)
    return conversion.finish(tolerance)


class _Conversion:
    def __init__(self, graph: FloatGraph, spec: ModelSpec, crops: npt.NDArray[np.uint8]) -> None:
        self.graph, self.temperature = graph, spec.temperature
        self.crops = normalized(crops, spec.input)
        unusual = normalized(_unusual(crops), spec.input)
        self.inputs = np.concatenate([self.crops, unusual])
        self.seen = observe(graph, self.inputs)
        self.islands: dict[str, str] = {}
        broken = [name for name, peak in self.seen.peaks.items() if not np.isfinite(peak)]
        if broken:
            raise GateError(
                f"the float32 network itself gives NaN or Inf on the calibration crops, first in "
                f"{broken[0]}; train it again"
            )
        self.expected = self._probabilities(self.seen.logits)

    def keep_what_overflows(self) -> None:
        """Keep nodes whose tensors, sums or weights come near the end of float16."""
        unfit = {name: _unfit(values) for name, values in self.graph.weights.items()}
        for node in self.graph.model.graph.node:
            if node.name not in self.graph.ports:
                continue
            ports = self.graph.ports[node.name]
            read = [node.input[position] for position in sorted(ports.inputs)]
            written = [node.output[position] for position in sorted(ports.outputs)]
            reasons = [unfit[name] for name in read if unfit.get(name)]
            for word, names in (("reads", read), ("gives", written)):
                peak = max((self.seen.peaks.get(name, 0.0) for name in names), default=0.0)
                if peak > _LIMIT:
                    reasons.append(f"it {word} up to {peak:.3g}")
            if self.seen.sums.get(node.name, 0.0) > _LIMIT:
                reasons.append(f"it may add up to {self.seen.sums[node.name]:.3g} inside")
            if reasons:
                self.islands[node.name] = str(reasons[0])
        self._bridge()

    def keep_what_is_inexact(self) -> None:
        """Keep nodes that lose too much when each step inside them is rounded."""
        nodes = [
            node
            for node in self.graph.model.graph.node
            if node.op_type in HAS_STEPS
            and node.name in self.graph.ports
            and node.name not in self.islands
        ]
        names = {name for node in nodes for name in node.input if name}
        values = values_of(self.graph, sorted(names), self.crops[:_FEW])
        for node in nodes:
            error = half_error(node, [values.get(name) for name in node.input])
            if error > _LOST:
                self.islands[node.name] = f"step by step in float16 it is off by {error:.1%}"
        self._bridge()

    def keep_what_moves_probabilities(self, tolerance: float) -> None:
        """Keep more nodes, those that move probabilities most, until ``tolerance`` holds.

        Stretches of the graph are tried alone in float16 first, then the nodes of the costliest.
        """
        differences = self._differences(self.islands, self.crops, self.expected)
        if differences.max() <= tolerance:
            return
        worst = np.argsort(differences)[-_FEW:]
        tried_at = 1
        for number, (name, cost) in enumerate(self._by_cost(worst), start=1):
            self.islands[name] = f"alone in float16 it moves a probability by {cost:.1e}"
            if number < tried_at:
                continue
            tried_at = math.ceil(number * _GROWTH)
            self._bridge()
            some = self._differences(self.islands, self.crops[worst], self.expected[worst])
            if self._half_share() < _MIN_SHARE:
                break
            if some.max() <= tolerance:
                differences = self._differences(self.islands, self.crops, self.expected)
                if differences.max() <= tolerance:
                    return
                worst = np.argsort(differences)[-_FEW:]
        self._bridge()

    def _by_cost(self, crops: npt.NDArray[np.intp]) -> Iterator[tuple[str, float]]:
        """Nodes in float16 that compute something, and what each alone costs on some crops."""
        names = [
            name
            for name, node in self.graph.nodes.items()
            if name in self.graph.ports.keys() - self.islands.keys()
            and self.graph.ports[name].outputs
            and node.op_type not in _ROUNDS_NOTHING
        ]
        stretches = [names[start : start + _STRETCH] for start in range(0, len(names), _STRETCH)]
        for stretch in sorted(stretches, key=lambda names: -self._cost(names, crops)):
            costs = {
                name: self._cost([name], crops)
                for name in track(stretch, len(stretch), "searching what float16 costs")
            }
            ranked = sorted(costs.items(), key=lambda item: -item[1])
            yield from (item for item in ranked if item[1] > _NEGLIGIBLE * ranked[0][1])

    def finish(self, tolerance: float) -> HalfCore:
        """Build the core, check that it is one, and that it stays finite on all crops."""
        if (share := self._half_share()) < _MIN_SHARE:
            raise GateError(
                f"only {share:.0%} of the weights could be float16 with probabilities moving by at "
                f"most {tolerance:.1e}: this network does not fit half precision. Export it in "
                "fp32 or int8, or train it with bounded activations"
            )
        half = to_half_graph(self.graph, self.islands)
        onnx.checker.check_model(half, full_check=True)
        logits, broken = broken_tensors(emulate(half), self.inputs)
        if broken:
            raise GateError(
                f"float16 gives NaN or Inf on the calibration crops, first in {broken[0]}, though "
                "float32 stays far from the end of float16: the network is ill-conditioned, train "
                "it again"
            )
        usual = self._probabilities(logits[: len(self.crops)])
        difference = float(np.abs(usual - self.expected[: len(self.crops)]).max())
        if not difference <= tolerance:
            raise GateError(
                f"float16 changes a probability by {difference:.1e}, allowed are {tolerance:.1e}"
            )
        return HalfCore(
            model=half,
            islands=self._listed(),
            half_nodes=len(self.graph.ports.keys() - self.islands.keys()),
            max_probability_difference=difference,
            largest_activation=max(self.seen.peaks.values()),
        )

    def _bridge(self) -> None:
        """Keep what leads from island to island and computes nothing: a cast on the way would round
        what both ends keep exact.
        """
        nodes = list(self.graph.model.graph.node)
        after, before = set[str](), set[str]()
        for node in nodes:
            follows = node.op_type in _ROUNDS_NOTHING and after.intersection(node.input)
            if node.name in self.islands or follows:
                after.update(node.output)
        for node in reversed(nodes):
            leads = node.op_type in _ROUNDS_NOTHING and before.intersection(node.output)
            if node.name in self.islands or leads:
                before.update(node.input)
        for node in nodes:
            between = after.intersection(node.input) and before.intersection(node.output)
            if between and node.op_type in _ROUNDS_NOTHING and node.name in self.graph.ports:
                self.islands.setdefault(node.name, "it stands between two of these")

    def _half_share(self) -> float:
        """Share of the weights that nodes in float16 read."""
        read = {
            node.input[position]
            for name, node in self.graph.nodes.items()
            if name in self.graph.ports.keys() - self.islands.keys()
            for position in self.graph.ports[name].inputs
        }
        sizes = {name: values.size for name, values in self.graph.weights.items()}
        return sum(sizes[name] for name in read & sizes.keys()) / max(sum(sizes.values()), 1)

    def _cost(self, names: Collection[str], crops: npt.NDArray[np.intp]) -> float:
        """Largest change of a probability on some crops, with these nodes alone in float16."""
        others = self.graph.ports.keys() - set(names)
        return float(self._differences(others, self.crops[crops], self.expected[crops]).max())

    def _differences(
        self,
        islands: Collection[str],
        inputs: npt.NDArray[np.float32],
        expected: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """Largest change of a probability, per crop; Inf where it is no number."""
        logits = logits_of(emulate(to_half_graph(self.graph, islands)).model, inputs)
        found = np.abs(self._probabilities(logits) - expected[: len(inputs)]).max(axis=1)
        return np.where(np.isfinite(found), found, np.inf)

    def _probabilities(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            return metrics.softmax(logits, self.temperature)

    def _listed(self) -> tuple[Island, ...]:
        islands = []
        for name, node in self.graph.nodes.items():
            if name in self.islands:
                islands.append(Island(name, node.op_type, self.islands[name]))
            elif name not in self.graph.ports and any(
                self.graph.types.get(given) == TensorProto.FLOAT for given in node.input
            ):
                islands.append(Island(name, node.op_type, "ONNX has no float16 form of it"))
        return tuple(islands)


def _unusual(crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Pictures that cameras give and calibration sets lack: a black one, a gray, a white, noise,
    negatives, and nothing but black and white.
    """
    shape, some = crops.shape[1:], crops[:_FEW]
    plain = [np.full(shape, value, np.uint8) for value in (0, 128, 255)]
    noise = np.random.default_rng(0).integers(0, 256, (4, *shape), np.uint8)
    hard = np.where(some > some.mean(), 255, 0).astype(np.uint8)
    return np.concatenate([np.stack(plain), noise, 255 - some, hard])


def _unfit(values: npt.NDArray[np.float32]) -> str | None:
    """Why float16 does not hold a weight, or None."""
    peak = float(np.abs(values).max(initial=0))
    if not peak <= _END:
        return f"a weight of it is {peak:.3g}"
    exact = values.astype(np.float64)
    size = math.sqrt(np.square(exact).sum())
    lost = math.sqrt(np.square(exact - values.astype(np.float16)).sum())
    if lost > _LOST * size:
        return f"float16 changes a weight of it by {lost / size:.1%}"
    return None
