"""Small cores to quantise: a convolutional one, a transformer's, and one that blows up."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fer_calib.crops import Crops
from fer_calib.running import activations
from fer_edge.artifacts.spec import ModelSpec


class Builder:
    """Writes the nodes and weights of a core, one after the other."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: list[onnx.TensorProto] = []

    def node(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], f"node_{output}", **attributes))
        return output

    def array(self, name: str, values: np.ndarray) -> str:
        self.arrays.append(numpy_helper.from_array(values, name))
        return name

    def floats(self, name: str, *shape: int, std: float) -> str:
        return self.array(name, self.rng.normal(0, std, shape).astype(np.float32))

    def conv(self, name: str, given: str, shape: tuple[int, ...], **attributes: object) -> str:
        std = (2 / np.prod(shape[1:])) ** 0.5
        weight = self.floats(f"{name}.weight", *shape, std=std)
        bias = self.floats(f"{name}.bias", shape[0], std=0.1)
        return self.node("Conv", [given, weight, bias], name, **attributes)

    def linear(self, name: str, given: str, width: int, out: int) -> str:
        """As timm's linear layers are exported: a product, and its bias added."""
        weight = self.floats(f"{name}.matrix", width, out, std=width**-0.5)
        bias = self.floats(f"{name}.bias", out, std=0.1)
        product = self.node("MatMul", [given, weight], f"{name}.product")
        return self.node("Add", [product, bias], name)

    def head(self, given: str, width: int) -> None:
        weight = self.floats("head.weight", 7, width, std=2 * width**-0.5)
        bias = self.floats("head.bias", 7, std=0.1)
        self.node("Gemm", [given, weight, bias], "logits", transB=1)

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "core",
            [helper.make_tensor_value_info("normalized", TensorProto.FLOAT, ["batch", 1, 48, 48])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 7])],
            self.arrays,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return model


def fit_head(core: onnx.ModelProto, crops: Crops, features: str) -> onnx.ModelProto:
    """Let the linear head tell the classes of ``crops`` apart, by ridge regression."""
    held = np.concatenate([batch[features] for batch in activations(core, [features], crops)])
    mean, std = held.mean(axis=0), held.std(axis=0) + 1e-6
    inputs = (held - mean) / std
    wanted = 8 * (np.eye(7)[crops.labels] - 1 / 7)
    weight = np.linalg.solve(inputs.T @ inputs + 5 * np.eye(len(std)), inputs.T @ wanted).T / std
    fitted = {"head.weight": weight, "head.bias": -weight @ mean}
    replace_arrays(core, {name: np.float32(values) for name, values in fitted.items()})
    return core


def replace_arrays(core: onnx.ModelProto, values: dict[str, np.ndarray]) -> None:
    for item in core.graph.initializer:
        if item.name in values:
            item.CopyFrom(numpy_helper.from_array(values[item.name], item.name))


def array(core: onnx.ModelProto, name: str) -> np.ndarray:
    item = next(item for item in core.graph.initializer if item.name == name)
    return numpy_helper.to_array(item).copy()


def convolutional(builder: Builder) -> onnx.ModelProto:
    """Stem, depthwise, pointwise with a residual sum, head."""
    b = builder
    low, high = b.array("low", np.float32(0)), b.array("high", np.float32(6))
    stem = b.node("Relu", [b.conv("stem", "normalized", (16, 1, 9, 9), strides=[4, 4])], "stem.act")
    deep = b.conv("depthwise", stem, (16, 1, 3, 3), pads=[1, 1, 1, 1], group=16)
    deep = b.node("Clip", [deep, low, high], "depthwise.act")
    total = b.node("Add", [b.conv("pointwise", deep, (16, 16, 1, 1)), stem], "sum")
    last = b.node("Relu", [b.conv("last", total, (24, 16, 1, 1))], "last.act")
    axes = b.array("axes", np.array([2, 3], np.int64))
    pooled = b.node("ReduceMean", [last, axes], "pooled", keepdims=0)
    b.head(pooled, 24)
    return b.model()


@pytest.fixture(scope="session")
def drawings() -> np.ndarray:
    """512 gray crops of gratings, uint8 ``(512, 48, 48)``; number i shows direction i modulo 7."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:48, :48]
    images = []
    for number in range(512):
        angle = number % 7 * np.pi / 7
        along = (rows * np.sin(angle) + columns * np.cos(angle)) / rng.uniform(7, 10)
        wave = np.sin(2 * np.pi * (along + rng.uniform())) * rng.uniform(40, 100)
        images.append(rng.uniform(100, 150) + wave + rng.normal(0, 6, wave.shape))
    return np.clip(images, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def crops(drawings: np.ndarray, tiny_spec: ModelSpec) -> Crops:
    """131 of them: a number that no batch divides."""
    return Crops(drawings[:131, :, :, None], tiny_spec, np.arange(131) % 7, "gratings")


@pytest.fixture(scope="session")
def cnn(crops: Crops) -> onnx.ModelProto:
    """Five layers: a stem, a depthwise and two pointwise convolutions, and a linear head."""
    return fit_head(convolutional(Builder()), crops, "pooled")


@pytest.fixture(scope="session")
def hard_cnn(cnn: onnx.ModelProto) -> onnx.ModelProto:
    """The same answers, but one channel in front of the last convolution is 4,000 times as wide as
    the others, and that convolution hardly looks at it: one scale cannot represent the rest.
    """
    model = deepcopy(cnn)
    wide, last = np.ones((1, 16, 1, 1), np.float32), array(cnn, "last.weight")
    wide[0, 3] = 4000
    last[:, 3] /= 4000
    replace_arrays(model, {"last.weight": last})
    model.graph.initializer.append(numpy_helper.from_array(wide, "wide"))
    position = next(i for i, n in enumerate(model.graph.node) if n.name == "node_last")
    model.graph.node[position].input[0] = "widened"
    model.graph.node.insert(
        position, helper.make_node("Mul", ["sum", "wide"], ["widened"], "node_widened")
    )
    return model


@pytest.fixture(scope="session")
def explosive_cnn(cnn: onnx.ModelProto, crops: Crops) -> onnx.ModelProto:
    """As good, but with a channel that only stripes of single pixels wake, and which answers them
    with thousands.
    """
    model = deepcopy(cnn)
    weight, bias = array(cnn, "stem.weight"), array(cnn, "stem.bias")
    weight[3, 0] = np.tile((-1.0) ** np.arange(9), (9, 1)) * 1e4 / 81
    bias[3] = -1.6e4
    replace_arrays(model, {"stem.weight": weight, "stem.bias": bias})
    return fit_head(model, crops, "pooled")


def block(builder: Builder) -> onnx.ModelProto:
    """Patches, layer norm, linear, GELU, linear, residual sum, head; no attention."""
    b = builder
    patches = b.conv("patch_embed", "normalized", (32, 1, 12, 12), strides=[12, 12])
    flat = b.node("Reshape", [patches, b.array("flat", np.array([0, 32, 16], np.int64))], "flat3")
    tokens = b.node("Transpose", [flat], "tokens", perm=[0, 2, 1])
    scale, bias = (
        b.array("norm.weight", np.ones(32, np.float32)),
        b.floats("norm.bias", 32, std=0.1),
    )
    normed = b.node("LayerNormalization", [tokens, scale, bias], "norm", axis=-1)
    hidden = b.linear("fc1", normed, 32, 64)
    erf = b.node("Erf", [b.node("Mul", [hidden, b.array("r", np.float32(0.5**0.5))], "e")], "erf")
    one = b.node("Add", [erf, b.array("one", np.float32(1))], "one_more")
    gelu = b.node("Mul", [hidden, one], "gelu")
    total = b.node("Add", [tokens, b.linear("fc2", gelu, 64, 32)], "total")
    pooled = b.node("ReduceMean", [total, b.array("ax", np.array([1], np.int64))], "p", keepdims=0)
    b.head(pooled, 32)
    return b.model()


@pytest.fixture(scope="session")
def transformer(crops: Crops) -> onnx.ModelProto:
    """Four layers: patches, two linear ones between layer norm and residual sum, a head."""
    return fit_head(block(Builder()), crops, "p")
