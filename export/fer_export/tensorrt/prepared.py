"""The ONNX that a plan is built from, read on a device, with ONNX Runtime for its metadata."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from fer_edge.artifacts.model import Model
from fer_edge.artifacts.record import parse_json
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends.base import BackendOptions
from fer_edge.backends.onnxruntime import OnnxRuntimeBackend
from fer_edge.backends.onnxruntime_engine import quiet_session
from fer_edge.errors import ArtifactError, ConfigurationError
from fer_export.tensorrt.options import PRODUCTS_KEY, TRT_TARGETS, PlanOptions, plan_flags

_MAX_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class PreparedOnnx:
    """An ONNX of ours: its bytes, its spec, and its convolutions and matrix products.

    ``products`` maps the name of each Conv, Gemm and MatMul node to the type that it computes in.
    """

    data: bytes
    spec: ModelSpec
    products: dict[str, str]


def read_onnx_spec(path: Path) -> ModelSpec:
    """Read the spec that an ONNX of ours carries, with ONNX Runtime instead of the package onnx.

    Raises ArtifactError where there is none, or where the graph does not fit it.
    """
    return _read(path)[1]


def check_precision(path: Path, target: str) -> PreparedOnnx:
    """Read an ONNX in the precision of ``target``.

    Raises ConfigurationError for another precision, which building cannot change, and for an
    unknown target.
    """
    if target not in TRT_TARGETS:
        raise ConfigurationError(f"unknown target {target}; there are {', '.join(TRT_TARGETS)}")
    data, spec = _read(path)
    wanted, precision = TRT_TARGETS[target], spec.precision
    if precision != wanted:
        raise ConfigurationError(
            f"{path} is {precision}, and {target} is built from {wanted}: TensorRT computes "
            "in the precision that the ONNX has. Prepare one on a workstation with: "
            f"fer-export --weights CHECKPOINT --prepare-only --target {target} --out DIR"
        )
    return PreparedOnnx(data, spec, _products(data, path))


def finish_command(onnx: Path, target: str, out: Path, options: PlanOptions) -> str:
    """The command that builds a prepared ONNX's plan on the device, with these options."""
    words = ["fer-export", "--from-onnx", str(onnx), "--target", target, "--out", str(out)]
    return shlex.join([*words, *plan_flags(options)])


def _read(path: Path) -> tuple[bytes, ModelSpec]:
    artifact = Model.open(path).artifact("onnxruntime")
    backend = OnnxRuntimeBackend(artifact, BackendOptions(device="cpu"))
    backend.close()
    return artifact.data, backend.spec


def _products(data: bytes, path: Path) -> dict[str, str]:
    metadata = quiet_session(data, 1).get_modelmeta().custom_metadata_map
    text = metadata.get(PRODUCTS_KEY) or _listed(data, path)
    where = f"the list of products in {path}"
    found = parse_json(text, where, _MAX_BYTES)
    kinds = {"fp32", "fp16", "bf16", "int8"}
    if not isinstance(found, dict) or not found or not kinds.issuperset(map(str, found.values())):
        raise ArtifactError(
            f"{where} should map names of nodes to {', '.join(sorted(kinds))}, not "
            f"{json.dumps(found)[:80]}; export it again"
        )
    return {str(name): str(kind) for name, kind in found.items()}


def _listed(data: bytes, path: Path) -> str:
    """Make the list for an ONNX of an earlier release, which lacks it, with the package onnx."""
    try:
        import onnx

        from fer_export.contract_nodes import product_types
    except ModuleNotFoundError as problem:
        raise ArtifactError(
            f"{path} does not list its convolutions and matrix products, by which the precision of "
            "an engine is checked; export it again with this release of fer-export, or install the "
            "package onnx here: pip install onnx"
        ) from problem
    return product_types(onnx.load_from_string(data))
