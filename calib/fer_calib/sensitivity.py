"""What each layer costs when it alone computes in integers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx

from fer_calib.crops import Crops
from fer_calib.layers import CoreGraph
from fer_calib.observation import Observation
from fer_calib.quantisation import quantize
from fer_calib.running import probabilities_of
from fer_calib.schemes import Scheme, find_scheme
from fer_edge.evaluation.agreement import agreement
from fer_edge.system.progress import track

__all__ = ["LayerCost", "Sensitivity", "sensitivity"]


@dataclass(frozen=True)
class LayerCost:
    """One layer in integers, all others in float, against all in float.

    ``parameters`` counts its weights; ``accuracy_drop`` is None where labels are unknown. Rates are
    fractions of 1, KL is in nats.
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
) -> Sensitivity:
    """Quantise one layer at a time and compare with float32 on ``probe``.

    A few hundred crops tell the layers apart. With labels the change of accuracy is measured too.
    """
    scheme = find_scheme(scheme)
    graph = CoreGraph(core)
    expected = probabilities_of(core, probe, scheme.engine)
    names = [layer.name for layer in graph.layers]
    costs = []
    for layer in track(graph.layers, len(graph.layers), "sensitivity of layers"):
        others = [name for name in names if name != layer.name]
        model = quantize(core, observation, scheme, keep_float=others)
        given = probabilities_of(model, probe, scheme.engine)
        found = agreement(expected, given)
        costs.append(
            LayerCost(
                name=layer.name,
                op=layer.op,
                parameters=math.prod(graph.initializers[layer.weight].dims),
                mean_kl=found.mean_kl,
                agreement=found.top1,
                max_probability_difference=found.max_difference,
                accuracy_drop=probe.accuracy_drop(expected, given),
            )
        )
    return Sensitivity(scheme.name, len(probe), probe.source, tuple(costs))
