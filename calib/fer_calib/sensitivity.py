"""What each layer costs if it alone computes in integers, as a table and a picture."""

from __future__ import annotations

import csv
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import onnx

from fer_calib.crops import Crops
from fer_calib.layers import CoreGraph
from fer_calib.observation import Observation
from fer_calib.quantisation import quantize
from fer_calib.running import probabilities_of
from fer_edge.evaluation.agreement import agreement
from fer_edge.system.dependencies import requires
from fer_edge.system.files import atomic_path, write_json
from fer_edge.system.progress import track

SCHEMA = "fer-calib-sensitivity/2"

_SCHEME = "canonical"
_DPI = 120
_FLOOR = 1e-9
_INTEGER, _FLOAT = "tab:blue", "tab:orange"


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
        """The most sensitive first, by KL: accuracy is too coarse to rank layers."""
        return tuple(sorted(self.layers, key=lambda cost: -cost.mean_kl))


def sensitivity(core: onnx.ModelProto, observation: Observation, probe: Crops) -> Sensitivity:
    """Quantise one layer at a time, in the canonical form, and compare with float32 on ``probe``.

    A few hundred crops are enough. With labels the change of accuracy is measured too.
    """
    graph = CoreGraph(core)
    expected = probabilities_of(core, probe)
    names = [layer.name for layer in graph.layers]
    costs = []
    for layer in track(graph.layers, len(graph.layers), "sensitivity of layers"):
        others = [name for name in names if name != layer.name]
        model = quantize(core, observation, _SCHEME, keep_float=others)
        given = probabilities_of(model, probe)
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
    return Sensitivity(_SCHEME, len(probe), probe.source, tuple(costs))


def save_sensitivity(
    found: Sensitivity, folder: Path, stem: str = "sensitivity", kept_float: tuple[str, ...] = ()
) -> tuple[Path, ...]:
    """Write the table as ``.json`` and ``.csv`` and the picture as ``.png``; returns the paths.

    ``kept_float`` marks layers that stayed in float in the end.
    """
    as_json, as_csv, as_png = (folder / f"{stem}.{kind}" for kind in ("json", "csv", "png"))
    write_json(as_json, {"schema": SCHEMA, **asdict(found), "kept_float": list(kept_float)})
    with atomic_path(as_csv) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(LayerCost)])
        writer.writeheader()
        writer.writerows(asdict(cost) for cost in found.layers)
    _draw(found, as_png, kept_float)  # the last step: nothing else needs matplotlib
    return as_json, as_csv, as_png


def _draw(found: Sensitivity, target: Path, kept_float: tuple[str, ...]) -> None:
    """Draw a bar per layer, the network's first on top: KL, and the drop of accuracy if known."""
    with requires("calib"):
        from matplotlib.figure import Figure

    known = all(cost.accuracy_drop is not None for cost in found.layers)
    height = 1.6 + 0.17 * len(found.layers)
    figure = Figure(figsize=(10 if known else 6.5, height), layout="constrained")
    panels = figure.subplots(1, 2 if known else 1, sharey=True, squeeze=False)[0]
    places = range(len(found.layers))
    colors = [_FLOAT if cost.name in kept_float else _INTEGER for cost in found.layers]
    panels[0].barh(places, [max(cost.mean_kl, _FLOOR) for cost in found.layers], color=colors)
    panels[0].set(xscale="log", xlabel="mean KL against float32, nats")
    panels[0].set_yticks(places, [cost.name for cost in found.layers], fontsize=7)
    panels[0].set_ylim(len(found.layers) - 0.4, -0.6)
    if known:
        drops = [100 * (cost.accuracy_drop or 0.0) for cost in found.layers]
        panels[1].barh(places, drops, color=colors)
        panels[1].axvline(0, color="k", linewidth=0.8)
        panels[1].set(xlabel="accuracy lost, points")
    for axes in panels:
        axes.grid(axis="x", alpha=0.3)
    title = f"One layer in INT8 at a time ({found.scheme}); {found.crops} crops, {found.source}"
    figure.suptitle(f"{title}\norange: kept in float" if kept_float else title, fontsize=9)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)
