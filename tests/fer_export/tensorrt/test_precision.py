"""The gate on what an engine computes in, on layers that NVIDIA's own builder made of our graphs.

The listings are our short form of what the builder of TensorRT for RTX 1.7.1 logged, under the
bindings of TensorRT 11.4; ``make nvidia`` builds the graphs again and holds the gate against them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from nvidia_builder.layers import stretch

from fer_edge.errors import EngineError, GateError
from fer_export.tensorrt.precision import Kernel, check_kernels, describe, read_kernels, shares

LISTINGS = sorted(Path(__file__).with_name("listings").glob("*.json"))
NARROWER = {"fp32": "Half", "fp16": "Int8", "int8": "FP4"}
OTHERS = ("Float", "Half", "Int8")
WORDS = {"fp32": "Float", "fp16": "Half", "int8": "Int8"}

Layers = list[dict[str, Any]]
Change = Callable[[dict[str, Any], str], None]


class Listing:
    """The layers of one engine, and the products of the ONNX that it was built from."""

    def __init__(self, path: Path) -> None:
        told = json.loads(path.read_text(encoding="utf-8"))
        self.precision = path.name.split(".")[1].partition("-")[0]
        self.products: dict[str, str] = told["products"]
        self.layers: Layers = [stretch(short) for short in told["layers"]]

        self.kernels = read_kernels(inspection(self.layers))

    def check(self, kernels: Sequence[Kernel]) -> None:
        check_kernels(kernels, self.products, self.precision, "model.plan")

    def computing(self) -> list[int]:
        """Positions of the layers that compute products."""
        described = describe(self.kernels, self.products)
        return [index for index, layer in enumerate(described) if layer.matrix]

    def changed(self, index: int, change: Change, kind: str = "") -> list[Kernel]:
        """The engine with one layer changed."""
        layer = deepcopy(self.layers[index])
        change(layer, kind)
        another = convolution("Half")  # the inspector tells the type of some layer
        kernels = list(self.kernels)
        kernels[index] = read_kernels(inspection([layer, another]))[0]
        return kernels


def inspection(layers: list[Any]) -> str:
    return json.dumps({"Layers": layers, "Bindings": ["crop", "logits"]})


@pytest.fixture(scope="module", params=LISTINGS, ids=lambda path: path.stem)
def listing(request: pytest.FixtureRequest) -> Listing:
    return Listing(request.param)


# ---- engines as they were built


def test_every_network_has_a_listing_in_every_precision() -> None:
    names = {path.stem for path in LISTINGS}
    networks = ("mobilenet", "vit-tiny", "dense")
    assert names >= {f"{name}.{kind}" for name in networks for kind in ("fp32", "fp16", "int8")}


def test_an_engine_in_the_precision_of_its_onnx_passes(listing: Listing) -> None:
    listing.check(listing.kernels)
    found = {node for kernel in listing.kernels if kernel.multiplies for node in kernel.nodes}
    assert listing.products.keys() <= found


def test_fused_attention_counts_as_both_of_its_products() -> None:
    (path,) = [path for path in LISTINGS if path.stem == "vit-tiny.int8"]
    kernels = Listing(path).kernels
    attention = [kernel for kernel in kernels if "mha" in kernel.name]
    assert len(attention) == 12
    assert all(kernel.multiplies and kernel.precision == "fp16" for kernel in attention)


def test_steps_between_the_products_are_none() -> None:
    (path,) = [path for path in LISTINGS if path.stem == "mobilenet.int8"]
    kernels = Listing(path).kernels
    assert sum(kernel.multiplies for kernel in kernels) == 47
    assert {kernel.kind for kernel in kernels if not kernel.multiplies} == {"kgen", "shape_call"}


def test_the_shares_are_of_the_products() -> None:
    assert shares({"a": "int8", "b": "int8", "c": "fp16", "d": "int8"}) == {
        "int8": 0.75,
        "fp16": 0.25,
    }


# ---- any single kernel that is changed


def retype_all(layer: dict[str, Any], kind: str) -> None:
    retype_inputs(layer, kind)
    for constant in layer["Constants"]:
        constant["Datatype"] = kind


def retype_inputs(layer: dict[str, Any], kind: str) -> None:
    for given in layer["Inputs"]:
        given["Datatype"] = kind


def retype_weights(layer: dict[str, Any], kind: str) -> None:
    for constant in layer["Constants"]:
        if sum(size != 1 for size in constant["Dimensions"]) > 1:
            constant["Datatype"] = kind


def lose_metadata(layer: dict[str, Any], _: str) -> None:
    layer["Metadata"] = ""


def lose_types(layer: dict[str, Any], _: str) -> None:
    retype_all(layer, "N/A due to dynamic shapes")


def become_a_step(layer: dict[str, Any], _: str) -> None:
    layer["LayerType"], layer["TacticName"] = "kgen", "__myl_MulAdd"


@pytest.mark.parametrize("change", [retype_all, retype_inputs, retype_weights])
def test_any_single_product_in_another_type_fails_and_is_named(
    listing: Listing, change: Change
) -> None:
    for index in listing.computing():
        kernel = listing.kernels[index]
        wanted = {WORDS[listing.products[n]] for n in kernel.nodes if n in listing.products}
        for kind in OTHERS:
            if {kind} == wanted or (change is retype_weights and not kernel.weights):
                continue
            with pytest.raises(GateError) as caught:
                listing.check(listing.changed(index, change, kind))
            assert any(node in str(caught.value) for node in kernel.nodes)


@pytest.mark.parametrize("change", [lose_metadata, lose_types, become_a_step, None])
def test_any_single_product_that_cannot_be_accounted_for_fails_and_is_named(
    listing: Listing, change: Change | None
) -> None:
    for index in listing.computing():
        kernels = [*listing.kernels[:index], *listing.kernels[index + 1 :]]
        if change:
            kernels = listing.changed(index, change)
        with pytest.raises(GateError, match="no layer of the engine is known to compute") as caught:
            listing.check(kernels)
        assert any(node in str(caught.value) for node in listing.kernels[index].nodes)


def test_all_products_in_another_type_fail_in_one_message(listing: Listing) -> None:
    layers = deepcopy(listing.layers)
    for index in listing.computing():
        retype_all(layers[index], NARROWER[listing.precision])
    with pytest.raises(GateError, match=r"; and \d+ more") as caught:
        listing.check(read_kernels(inspection(layers)))
    assert "\n" not in str(caught.value)
    assert f"should compute in {listing.precision}" in str(caught.value)


def test_an_onnx_with_no_product_in_its_own_precision_fails() -> None:
    (path,) = [path for path in LISTINGS if path.stem == "mobilenet.fp32"]
    listing = Listing(path)
    with pytest.raises(GateError, match="none of its 47 convolutions and matrix products is int8"):
        check_kernels(listing.kernels, listing.products, "int8", "model.plan")


# ---- the inspector's words


def convolution(described: str) -> dict[str, Any]:
    """A layer as releases write it that do not compile the whole network into one."""
    return {
        "Name": "conv + relu",
        "LayerType": "CaskConvolution",
        "Inputs": [{"Name": "x", "Format/Datatype": described}],
        "Weights": {"Type": "Half", "Count": 9408},
        "TacticName": "sm80_xmma_fprop_implicit_gemm",
        "Metadata": "[ONNX Layer: conv]\u001e[ONNX Layer: relu]",
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
    kernel, _ = read_kernels(inspection([convolution(described), convolution("Half")]))
    assert kernel.inputs == (precision,)


def test_layers_that_were_not_generated_are_read_too() -> None:
    (kernel,) = read_kernels(inspection([convolution("Row major linear FP16 format")]))
    assert kernel.nodes == ("conv", "relu")
    check_kernels([kernel], {"conv": "fp16"}, "fp16", "model.plan")
    with pytest.raises(GateError, match=r"conv should be int8, and conv \+ relu"):
        check_kernels([kernel], {"conv": "int8"}, "int8", "model.plan")


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", inspection(["conv1", "conv2"])])
def test_an_inspector_that_tells_no_types_is_an_error(text: str) -> None:
    with pytest.raises(EngineError, match="inspector"):
        read_kernels(text)
