"""Reading the engine inspector, and the gate on what layers compute in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tensorrt_double.engine import convolution, tensor

from fer_edge.errors import EngineError, GateError
from fer_export.tensorrt.precision import check_layers, computed_in, read_layers, shares


def told(*layers: Any) -> str:
    return json.dumps({"Layers": list(layers), "Bindings": ["crop", "logits"]})


def pointwise(described: str) -> dict[str, Any]:
    return {
        "Name": "__myl_Add",
        "LayerType": "kgen",
        "Inputs": [tensor(described)],
        "Outputs": [tensor(described)],
        "TacticName": "__myl_Add_0x1",
    }


# as activations.py of NVIDIA's trt-engine-explorer lists them
DESCRIBED = {
    "Row major linear FP32": "fp32",
    "Channel major FP32 format where channel % 4 == 0": "fp32",
    "Float": "fp32",
    "Row major linear FP16 format": "fp16",
    "Two wide channel vectorized row major FP16 format": "fp16",
    "Channel major FP16 format where channel % 8 == 0 with 3 spatial dimensions": "fp16",
    "Half": "fp16",
    "Row major linear BFloat16 format": "bf16",
    "BFloat16": "bf16",
    "Thirty-two wide channel vectorized row major Int8 format.": "int8",
    "Channel major INT8 format where column stride % 32 == 0": "int8",
    "Int8": "int8",
    "Row major linear FP8 format": "fp8",
    "Row major linear UInt8 format": "unknown",
    "UInt8": "unknown",
    "Int32": "unknown",
    "Bool": "unknown",
    "N/A due to dynamic shapes": "unknown",
}


@pytest.mark.parametrize(("described", "precision"), DESCRIBED.items())
def test_every_wording_of_the_inspector_is_understood(described: str, precision: str) -> None:
    layer, _ = read_layers(told(convolution(described), convolution("Half")))
    assert layer.precision == precision


def test_a_layer_computes_in_the_narrowest_of_its_inputs() -> None:
    layer = convolution("Int8")
    layer["Inputs"] = [tensor("Half"), tensor("Int8")]
    layer["Outputs"] = [tensor("Half")]
    assert read_layers(told(layer))[0].precision == "int8"


def test_a_layer_that_makes_int8_from_floats_does_not_compute_in_int8() -> None:
    layer = pointwise("Float")
    layer["Outputs"] = [tensor("Int8")]
    assert read_layers(told(layer))[0].precision == "fp32"


@pytest.mark.parametrize("kind", ["Reformat", "NoOp", "Constant", "Shuffle"])
def test_layers_that_only_move_data_do_not_count(kind: str) -> None:
    moving = {**pointwise("Float"), "LayerType": kind}
    layers = read_layers(told(moving, convolution("Half")))
    assert [layer.kind for layer in layers] == ["CaskConvolution"]


def test_convolutions_and_products_are_told_from_the_rest() -> None:
    product = {**pointwise("Half"), "LayerType": "gemm"}
    by_tactic = {**pointwise("Half"), "TacticName": "sm80_xmma_gemm_f16f16"}
    by_name_only = {**pointwise("Half"), "Name": "conv_DequantizeLinear"}
    layers = read_layers(told(convolution("Half"), product, by_tactic, by_name_only))
    assert [layer.matrix for layer in layers] == [True, True, True, False]


def test_shares_are_of_all_layers_that_compute() -> None:
    layers = read_layers(told(*[convolution("Half")] * 3, pointwise("Float")))
    assert shares(layers) == {"fp16": 0.75, "fp32": 0.25}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        told("conv1", "conv2"),
        told(convolution("N/A due to dynamic shapes")),
    ],
)
def test_an_inspector_that_tells_no_types_is_an_error(text: str) -> None:
    with pytest.raises(EngineError, match="inspector"):
        read_layers(text)


HALF, FULL, BYTE = convolution("Half"), convolution("Float"), convolution("Int8")


@pytest.mark.parametrize(
    ("precision", "layers"),
    [
        ("fp32", [FULL, FULL]),
        ("fp32", [FULL, pointwise("UInt8")]),
        ("fp16", [HALF, HALF]),
        ("fp16", [HALF, FULL]),
        ("fp16", [HALF, *[pointwise("Float")] * 9]),
        ("int8", [BYTE, FULL, FULL, FULL]),
        ("int8", [BYTE, HALF]),
        ("fp16", [pointwise("Half"), pointwise("Half"), pointwise("Float")]),
    ],
)
def test_layers_in_the_precision_asked_for_pass(precision: str, layers: list[Any]) -> None:
    read = read_layers(told(*layers))
    check_layers(read, precision, "model.plan")
    assert computed_in(read) == precision


@pytest.mark.parametrize(
    ("precision", "layers"),
    [
        ("fp32", [FULL, HALF]),
        ("fp32", [FULL, BYTE]),
        ("fp32", [FULL, convolution("BFloat16")]),
        ("fp16", [FULL, FULL]),
        ("fp16", [FULL, FULL, HALF]),
        ("fp16", [FULL, *[pointwise("Half")] * 9]),
        ("fp16", [HALF, BYTE]),
        ("int8", [FULL, FULL]),
        ("int8", [HALF, pointwise("Int8")]),
    ],
)
def test_layers_in_another_precision_fail_the_gate(precision: str, layers: list[Any]) -> None:
    with pytest.raises(GateError, match=rf"model\.plan should compute in {precision}") as caught:
        check_layers(read_layers(told(*layers)), precision, "model.plan")
    assert "%" in str(caught.value)
