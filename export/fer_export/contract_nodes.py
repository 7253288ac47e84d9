"""The contract of every artifact around a core: uint8 crops in, logits and probabilities out.

Pre-processing and softmax are plain nodes that every engine has. They are attached last, after
quantisation and half precision, which must not change them.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fer_calib.layers import CORE_INPUT, CORE_OUTPUT
from fer_calib.onnx_graph import OnnxGraph, check, header
from fer_edge.artifacts.spec import METADATA_KEY, ModelSpec
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_export.tensorrt.options import PRODUCTS_KEY

OPSET = 18
"""Understood by TensorRT 10.3's parser and by every engine that is supported."""

_IR_VERSION = 10
_PREFIX = "fer_edge"

_PRODUCT_OPS = ("Conv", "Gemm", "MatMul")
_FLOATS = {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16"}


def attach_contract(core: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    """Wrap a core and embed the spec; ``core`` stays as it is.

    The result maps ``crop``, uint8 ``(batch, H, W, C)``, to ``logits`` and ``probabilities``,
    float32 ``(batch, K)``. ``Cast`` is the only consumer of ``crop``.
    """
    height, width, channels = spec.input.shape
    batch = core.graph.input[0].type.tensor_type.shape.dim[0]
    size = batch.dim_param or batch.dim_value
    classes = len(spec.labels)
    # weights are added afterwards, because helper.make_model copies the graph
    graph = helper.make_graph(
        nodes=[*_preprocessing(), *core.graph.node, *_postprocessing()],
        name=spec.network.architecture,
        inputs=[
            helper.make_tensor_value_info(
                "crop", TensorProto.UINT8, [size, height, width, channels]
            )
        ],
        outputs=[
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, classes])
            for name in (CORE_OUTPUT, "probabilities")
        ],
    )
    domains = {entry.domain: entry.version for entry in core.opset_import}
    model = helper.make_model(
        graph,
        producer_name="fer_edge",
        ir_version=_IR_VERSION,
        opset_imports=[
            helper.make_opsetid(domain, version)
            for domain, version in ({**domains, "": domains.get("", OPSET)}).items()
            if any(node.domain == domain for node in graph.node)
        ],
        functions=list(core.functions),
    )
    model.graph.initializer.extend([*_constants(spec), *core.graph.initializer])
    _name_products(model.graph)
    helper.set_model_props(
        model, {METADATA_KEY: spec.to_json(), PRODUCTS_KEY: product_types(model)}
    )
    check(model)
    return model


def with_static_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Copy a core or an artifact, with a fixed batch of ``batch`` crops.

    Some engines are faster with a known shape. Raises ConfigurationError for a batch below 1 and
    for a model with another static batch, and ArtifactError for a graph that cannot have it.
    """
    if batch < 1:
        raise ConfigurationError(f"a static batch holds at least one crop, not {batch}")
    changed = deepcopy(model)
    for value in (*changed.graph.input, *changed.graph.output):
        dimension = value.type.tensor_type.shape.dim[0]
        if dimension.HasField("dim_value") and dimension.dim_value != batch:
            raise ConfigurationError(
                f"{value.name} is static at a batch of {dimension.dim_value} and cannot become "
                f"{batch}; start from a model with a dynamic batch"
            )
        dimension.dim_value = batch
    del changed.graph.value_info[:]
    try:
        check(changed)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        raise ArtifactError(
            f"this network cannot have a static batch of {batch}: {problem}"
        ) from problem
    return changed


def spec_of(model: onnx.ModelProto, where: str = "this ONNX") -> ModelSpec:
    """Read the spec that an artifact carries. Raises ArtifactError, which names ``where``."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if METADATA_KEY not in metadata:
        raise ArtifactError(f"{where} carries no model spec; export it with fer-export")
    return ModelSpec.from_json(metadata[METADATA_KEY], f"the spec in {where}")


def detach_contract(model: onnx.ModelProto, where: str) -> tuple[onnx.ModelProto, ModelSpec]:
    """Undo ``attach_contract``: the core of an artifact, and its spec; ``model`` stays as it is.

    Raises ArtifactError, which names ``where``, for a graph without these nodes.
    """
    spec = spec_of(model, where)
    own = {node.name for node in (*_preprocessing(), *_postprocessing())}
    graph = model.graph
    if not own <= {node.name for node in graph.node} or len(graph.input) != 1:
        raise ArtifactError(
            f"{where} does not have the input and output nodes that fer-export attaches; "
            "start from an artifact that it wrote, or from the checkpoint"
        )
    if not _is_text(model):
        raise ArtifactError(f"{where} is damaged: some of its names are not text; copy it again")
    core = header(model)
    core.graph.node.extend(node for node in graph.node if node.name not in own)
    height, width, channels = spec.input.shape
    batch = graph.input[0].type.tensor_type.shape.dim[0]
    size = batch.dim_param or batch.dim_value
    del core.metadata_props[:], core.graph.input[:], core.graph.output[:]
    core.graph.initializer.extend(
        tensor for tensor in graph.initializer if not tensor.name.startswith(f"{_PREFIX}.")
    )
    for ports, name, shape in (
        (core.graph.input, CORE_INPUT, [size, channels, height, width]),
        (core.graph.output, CORE_OUTPUT, [size, len(spec.labels)]),
    ):
        ports.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    try:
        check(core)
    except Exception as problem:  # the checker and shape inference have errors of their own
        raise ArtifactError(f"{where} holds a graph that ONNX refuses: {problem}") from problem
    return core, spec


def _name_products(graph: onnx.GraphProto) -> None:
    """Give each product of ``graph`` a unique name, by which it is found in an engine."""
    taken = {node.name for node in graph.node if node.op_type not in _PRODUCT_OPS}
    for number, node in enumerate(graph.node):
        if node.op_type in _PRODUCT_OPS:
            if not node.name or node.name in taken:
                node.name = f"{node.op_type}_{number}"
            taken.add(node.name)


def product_types(model: onnx.ModelProto) -> str:
    """JSON that maps the name of each Conv, Gemm and MatMul node to ``int8``, ``fp16`` or ``fp32``.

    Products of quantised operands compute in int8, others in their own float type. The list goes
    into the metadata of every artifact, so that a device can check its engine without the package
    onnx. Raises ArtifactError for a product whose type cannot be inferred.
    """
    graph = OnnxGraph(model)
    found = {}
    for node in graph.nodes:
        if node.op_type not in _PRODUCT_OPS:
            continue
        makers = [graph.makers.get(name) for name in node.input[:2]]
        if all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers):
            found[node.name] = "int8"
        elif (kind := graph.types.get(node.input[0], "")) in _FLOATS:
            found[node.name] = _FLOATS[kind]
        else:
            raise ArtifactError(
                f"the type that {node.op_type} {node.name} computes in cannot be inferred"
            )
    return json.dumps(found)


def _is_text(message: Any) -> bool:
    """Whether all strings in a protobuf message are UTF-8; protobuf returns bytes for others."""
    for field, value in message.ListFields():
        values = (
            [value] if isinstance(value, (str, bytes)) or hasattr(value, "ListFields") else value
        )
        if field.type == field.TYPE_STRING and not all(isinstance(one, str) for one in values):
            return False
        if field.type == field.TYPE_MESSAGE and not all(_is_text(one) for one in values):
            return False
    return True


def _preprocessing() -> list[onnx.NodeProto]:
    cast, planes, centred = (f"{_PREFIX}.{name}" for name in ("cast", "planes", "centred"))
    return [
        helper.make_node("Cast", ["crop"], [cast], cast, to=TensorProto.FLOAT),
        helper.make_node("Transpose", [cast], [planes], planes, perm=[0, 3, 1, 2]),
        helper.make_node("Sub", [planes, f"{_PREFIX}.mean"], [centred], centred),
        helper.make_node("Mul", [centred, f"{_PREFIX}.scale"], [CORE_INPUT], f"{_PREFIX}.scaled"),
    ]


def _postprocessing() -> list[onnx.NodeProto]:
    scaled = f"{_PREFIX}.calibrated"
    return [
        helper.make_node("Div", [CORE_OUTPUT, f"{_PREFIX}.temperature"], [scaled], scaled),
        helper.make_node("Softmax", [scaled], ["probabilities"], f"{_PREFIX}.softmax", axis=1),
    ]


def _constants(spec: ModelSpec) -> list[onnx.TensorProto]:
    mean = np.array(spec.input.mean, np.float32).reshape(1, -1, 1, 1) * 255
    std = np.array(spec.input.std, np.float32).reshape(1, -1, 1, 1) * 255
    values = {"mean": mean, "scale": 1 / std, "temperature": spec.temperature}
    return [
        numpy_helper.from_array(np.asarray(value, np.float32), f"{_PREFIX}.{name}")
        for name, value in values.items()
    ]
