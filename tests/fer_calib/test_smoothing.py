"""SmoothQuant: the same answers in float, better ones in INT8, and only where it pays."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from fer_calib.comparison import compare
from fer_calib.crops import Crops
from fer_calib.quantisation import quantize
from fer_calib.running import activations, logits_of
from fer_calib.smoothing import STRENGTHS, Smoothing, choose_smoothing, smooth


def spread(core: onnx.ModelProto, crops: Crops) -> float:
    """How much wider the widest channel behind the layer norm is than the median one."""
    held = [np.abs(batch["norm"]).max(axis=(0, 1)) for batch in activations(core, ["norm"], crops)]
    peaks = np.max(held, axis=0)
    return float(peaks.max() / np.median(peaks))


@pytest.fixture(scope="module")
def chosen(outlier_transformer: onnx.ModelProto, crops: Crops) -> Smoothing:
    return choose_smoothing(outlier_transformer, crops)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_float_answers_stay_the_same(
    strength: float, outlier_transformer: onnx.ModelProto, crops: Crops
) -> None:
    smoothed = smooth(outlier_transformer, crops, strength)
    np.testing.assert_allclose(
        logits_of(smoothed, crops), logits_of(outlier_transformer, crops), rtol=1e-3, atol=1e-3
    )


def test_no_node_is_added(outlier_transformer: onnx.ModelProto, crops: Crops) -> None:
    smoothed = smooth(outlier_transformer, crops, 0.5)
    assert [n.op_type for n in smoothed.graph.node] == [
        n.op_type for n in outlier_transformer.graph.node
    ]
    assert len(smoothed.graph.initializer) == len(outlier_transformer.graph.initializer)


def test_channels_come_closer_to_each_other(
    outlier_transformer: onnx.ModelProto, crops: Crops
) -> None:
    assert spread(outlier_transformer, crops) > 20
    assert spread(smooth(outlier_transformer, crops, 0.5), crops) < 8


def test_it_is_used_where_it_pays(
    chosen: Smoothing, outlier_transformer: onnx.ModelProto, crops: Crops
) -> None:
    assert chosen.strength in STRENGTHS
    expected = logits_of(outlier_transformer, crops)
    plain = quantize(outlier_transformer, crops, "canonical")
    smoothed = quantize(chosen.core, chosen.observation, "canonical")
    costs = [compare(expected, logits_of(m, crops), crops).mean_kl for m in (plain, smoothed)]
    assert costs[1] < 0.1 * costs[0]


def test_all_that_was_tried_is_told(chosen: Smoothing) -> None:
    assert [trial.strength for trial in chosen.trials] == [None, *STRENGTHS]
    best = min(chosen.trials, key=lambda trial: trial.mean_kl)
    assert best.strength == chosen.strength
    assert chosen.summary().startswith(f"SmoothQuant strength {chosen.strength} (mean KL")


def test_it_is_left_out_where_it_does_not_pay(
    outlier_transformer: onnx.ModelProto, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_calib.smoothing.smooth", lambda core, *_: core)
    found = choose_smoothing(outlier_transformer, crops)
    assert found.strength is None
    assert found.core is outlier_transformer
    assert found.summary().startswith("SmoothQuant not used")


def test_a_network_without_layer_norms_is_not_touched(cnn: onnx.ModelProto, crops: Crops) -> None:
    found = choose_smoothing(cnn, crops)
    assert (found.core is cnn, found.strength, found.trials) == (True, None, ())
    assert found.summary() == ""


def test_a_layer_norm_with_another_reader_is_left_alone(
    outlier_transformer: onnx.ModelProto, crops: Crops
) -> None:
    shared = onnx.ModelProto()
    shared.CopyFrom(outlier_transformer)
    total = next(node for node in shared.graph.node if node.name == "node_total")
    total.input[0] = "norm"
    assert smooth(shared, crops, 0.5) == shared


def test_names_of_layers_survive(outlier_transformer: onnx.ModelProto, crops: Crops) -> None:
    from fer_calib.graph import Graph

    smoothed = Graph(smooth(outlier_transformer, crops, 0.5))
    assert [layer.name for layer in smoothed.layers] == [
        layer.name for layer in Graph(outlier_transformer).layers
    ]
