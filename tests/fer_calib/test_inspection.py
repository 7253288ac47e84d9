"""Counting the layers that really are INT8."""

from __future__ import annotations

import onnx
import pytest

from fer_calib.crops import Crops
from fer_calib.inspection import INSPECTORS, Int8Share, int8_share
from fer_calib.quantisation import quantize
from fer_edge.errors import ConfigurationError
from fer_export.contract import attach_contract


@pytest.mark.parametrize("engine", INSPECTORS)
def test_a_float_network_has_no_int8_layer(
    engine: str, cnn: onnx.ModelProto, transformer: onnx.ModelProto
) -> None:
    pytest.importorskip("openvino" if engine == "openvino" else "onnxruntime")
    assert (int8_share(cnn, engine).layers, int8_share(cnn, engine).int8) == (5, 0)
    assert (int8_share(transformer, engine).layers, int8_share(transformer, engine).int8) == (4, 0)


@pytest.mark.parametrize("engine", INSPECTORS)
def test_layers_kept_in_float_are_counted_and_named(
    engine: str, cnn: onnx.ModelProto, crops: Crops
) -> None:
    pytest.importorskip("openvino" if engine == "openvino" else "onnxruntime")
    model = quantize(cnn, crops, "onnxruntime", keep_float=["last", "head"])
    found = int8_share(model, engine)
    assert (found.layers, found.int8, found.share) == (5, 3, 0.6)
    assert len(found.float_layers) == 2
    if engine == "graph":
        assert found.float_layers == ("last", "head")


@pytest.mark.parametrize("engine", INSPECTORS)
def test_an_artifact_counts_as_its_core(engine: str, cnn: onnx.ModelProto, crops: Crops) -> None:
    pytest.importorskip("openvino" if engine == "openvino" else "onnxruntime")
    artifact = attach_contract(quantize(cnn, crops, "onnxruntime"), crops.spec)
    assert int8_share(artifact, engine).share == 1


def test_the_canonical_form_is_slow_in_onnx_runtime_because_it_computes_in_float(
    cnn: onnx.ModelProto, crops: Crops
) -> None:
    model = quantize(cnn, crops, "canonical")
    assert int8_share(model).share == 1
    assert int8_share(model, "onnxruntime").share < 0.7


def test_an_unknown_engine_is_told_with_those_that_there_are(cnn: onnx.ModelProto) -> None:
    with pytest.raises(ConfigurationError, match="'tensorrt'; there are graph, onnxruntime, open"):
        int8_share(cnn, "tensorrt")


def test_a_share_of_no_layers_is_none() -> None:
    assert Int8Share(0, 0, ()).share == 0
