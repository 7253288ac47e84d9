"""What each layer costs when it alone computes in integers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx

from fer_calib.comparison import compare
from fer_calib.crops import Crops
from fer_calib.graph import Graph
from fer_calib.observation import Observation
from fer_calib.quantisation import quantize
from fer_calib.ranges import DEFAULT_METHOD
from fer_calib.running import find_runner
from fer_calib.schemes import Scheme, find_scheme
from fer_edge.system.progress import track

__all__ = ["LayerCost", "Sensitivity", "sensitivity"]


@dataclass(frozen=True)
class LayerCost:
    """One layer in integers, all others in float, against all in float.

    ``parameters`` counts its weights; the rest is as in ``Comparison``.
    """

    name: str
    op: str
    parameters: int
    mean_kl: float
    agreement: float
    max_probability_difference: float
    accuracy_drop: float | None


@dataclass(frozen=True)
class Sensitivity:
    """The costs of all layers, in the order of the network, and what they were measured with."""

    scheme: str
    method: str
    crops: int
    source: str
    layers: tuple[LayerCost, ...]

    def ranked(self) -> tuple[LayerCost, ...]:
        """The most sensitive first. KL decides: accuracy is too coarse to tell layers apart."""
        return tuple(sorted(self.layers, key=lambda cost: -cost.mean_kl))


def sensitivity(
    core: onnx.ModelProto,
    observation: Observation,
    probe: Crops,
    scheme: str | Scheme = "canonical",
    *,
    method: str = DEFAULT_METHOD,
) -> Sensitivity:
    """Quantise one layer at a time and compare with float32 on ``probe``.

    A few hundred crops tell the layers apart; with labels the change of accuracy is told, too.
    """
    scheme = find_scheme(scheme)
    run = find_runner(scheme.engine)
    graph = Graph(core)
    expected = run(core, probe)
    names = [layer.name for layer in graph.layers]
    costs = []
    for layer in track(graph.layers, len(graph.layers), "sensitivity of layers"):
        others = [name for name in names if name != layer.name]
        model = quantize(core, observation, scheme, method=method, keep_float=others)
        found = compare(expected, run(model, probe), probe)
        costs.append(
            LayerCost(
                name=layer.name,
                op=layer.op,
                parameters=math.prod(graph.initializers[layer.weight].dims),
                mean_kl=found.mean_kl,
                agreement=found.agreement,
                max_probability_difference=found.max_probability_difference,
                accuracy_drop=found.accuracy_drop,
            )
        )
    return Sensitivity(scheme.name, method, len(probe), probe.source, tuple(costs))
