"""SmoothQuant: moving the spread of a transformer's channels from activations into weights.

Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language
Models", ICML 2023, equation 4. The scale of a channel goes into the layer norm before the product,
so the float32 answers stay the same and no node is added.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from fer_calib.comparison import compare
from fer_calib.crops import Crops
from fer_calib.graph import Graph, Layer
from fer_calib.observation import Observation, observe
from fer_calib.quantisation import quantize
from fer_calib.ranges import DEFAULT_METHOD
from fer_calib.running import Floats, activations, logits_of

__all__ = ["STRENGTHS", "Smoothing", "SmoothingTrial", "choose_smoothing", "smooth"]

STRENGTHS = (0.3, 0.5, 0.7)
"""Migration strengths that are tried: 0 would leave all spread in the activations, 1 none."""

_TRIAL_CROPS = 128
_TRIAL_SCHEME = "canonical"
_PAYS = 0.9


@dataclass(frozen=True)
class SmoothingTrial:
    """Mean KL against float32 of the canonical INT8 form; a ``strength`` of None is unsmoothed."""

    strength: float | None
    mean_kl: float


@dataclass(frozen=True, eq=False)
class Smoothing:
    """The core to quantise, what was observed on it, and what was tried (nothing for a CNN)."""

    core: onnx.ModelProto
    observation: Observation
    strength: float | None
    trials: tuple[SmoothingTrial, ...]

    def summary(self) -> str:
        """One line on what was tried; empty where there was nothing to smooth."""
        if not self.trials:
            return ""
        tried = ", ".join(f"{t.strength or 'none'}: {t.mean_kl:.2g}" for t in self.trials)
        chosen = "not used" if self.strength is None else f"strength {self.strength}"
        return f"SmoothQuant {chosen} (mean KL of canonical INT8 by strength: {tried})"


def choose_smoothing(
    core: onnx.ModelProto, crops: Crops, method: str = DEFAULT_METHOD
) -> Smoothing:
    """Smooth where it pays: where it takes a tenth off the KL that quantising costs.

    Strengths are compared on 128 of the crops; what is chosen is made from all of them.
    """
    plain = observe(core, crops)
    if not _patterns(Graph(core)):
        return Smoothing(core, plain, None, ())
    few = crops.thin(_TRIAL_CROPS)
    expected = logits_of(core, few)
    outliers = observe(core, few).outliers
    trials = []
    for strength in (None, *STRENGTHS):
        candidate = core if strength is None else smooth(core, few, strength, outliers)
        model = quantize(candidate, few, _TRIAL_SCHEME, method=method)
        found = compare(expected, logits_of(model, few), few).mean_kl
        trials.append(SmoothingTrial(strength, found))
    best = min(trials[1:], key=lambda trial: trial.mean_kl)
    if best.strength is None or best.mean_kl >= _PAYS * trials[0].mean_kl:
        return Smoothing(core, plain, None, tuple(trials))
    smoothed = smooth(core, crops, best.strength, plain.outliers)
    return Smoothing(smoothed, observe(smoothed, crops), best.strength, tuple(trials))


def smooth(
    core: onnx.ModelProto, crops: Crops, strength: float, outliers: Collection[int] = ()
) -> onnx.ModelProto:
    """Return a core with the same answers, whose layer norms feed smoother channels.

    Only a layer norm whose every reader is a matrix product with a weight is touched. ``outliers``
    are the positions of crops not to look at, as an ``Observation`` tells them.
    """
    graph = Graph(core)
    patterns = _patterns(graph)
    peaks = _channel_peaks(core, [norm.output[0] for norm, _ in patterns], crops, outliers)
    smoothed = onnx.ModelProto()
    smoothed.CopyFrom(core)
    nodes = {node.name: node for node in smoothed.graph.node}
    arrays = []

    def replace(node: str, position: int, values: Floats) -> None:
        name = f"{node}.{position}.smoothed"
        arrays.append(numpy_helper.from_array(values.astype(np.float32), name))
        nodes[node].input[position] = name

    for norm, layers in patterns:
        weights = [graph.array(layer.weight) for layer in layers]
        widest = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
        factors = _factors(peaks[norm.output[0]], widest, strength)
        for position in range(1, len(norm.input)):
            replace(norm.name, position, graph.array(norm.input[position]) / factors)
        for layer, weight in zip(layers, weights, strict=True):
            replace(layer.node, 1, weight * factors[:, None])
    used = {name for node in smoothed.graph.node for name in node.input}
    kept = [item for item in smoothed.graph.initializer if item.name in used]
    kept = [*map(onnx.TensorProto.FromString, (item.SerializeToString() for item in kept)), *arrays]
    del smoothed.graph.initializer[:]
    smoothed.graph.initializer.extend(kept)
    return smoothed


def _patterns(graph: Graph) -> list[tuple[onnx.NodeProto, list[Layer]]]:
    """Layer norms over the last axis, each with the matrix products that read it."""
    layers = {layer.node: layer for layer in graph.layers if layer.op == "MatMul"}
    found = []
    for node in graph.core.graph.node:
        if node.op_type != "LayerNormalization" or len(node.output) != 1:
            continue
        readers = graph.readers[node.output[0]]
        constant = all(name in graph.initializers for name in node.input[1:])
        if readers and constant and all(reader.name in layers for reader in readers):
            found.append((node, [layers[reader.name] for reader in readers]))
    return found


def _factors(peaks: Floats, weights: Floats, strength: float) -> Floats:
    usable = (peaks > 0) & (weights > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = peaks**strength / weights ** (1 - strength)
    return np.where(usable, factors, 1).astype(np.float32)


def _channel_peaks(
    core: onnx.ModelProto, names: list[str], crops: Crops, outliers: Collection[int]
) -> dict[str, Floats]:
    """Largest magnitude of each channel (last axis), over all crops but ``outliers``."""
    rows: dict[str, list[Floats]] = {name: [] for name in names}
    for held in activations(core, names, crops):
        for name, values in held.items():
            rows[name].append(np.abs(values).max(axis=tuple(range(1, values.ndim - 1))))
    left = np.setdiff1d(np.arange(len(crops)), np.array(list(outliers), np.int64))
    return {name: np.concatenate(parts)[left].max(axis=0) for name, parts in rows.items()}
