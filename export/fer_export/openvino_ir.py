"""OpenVINO IR: the graph of an ONNX artifact as ``.xml`` and ``.bin``.

An IR computes in the types of its graph. The fp16 IR is made from the fp16 ONNX: its constants and
operations are f16, and its float32 nodes are marked ``precise``, so that a plugin that computes in
f16 keeps them. A CPU without f16 arithmetic computes in f32, from a file of half the size.
(``save_model`` would store fp32 weights in f16 and leave the graph f32.)
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import onnx

from fer_calib.onnx_graph import save_apart
from fer_edge.artifacts.spec import METADATA_KEY, ModelSpec
from fer_edge.backends.openvino_runtime import ov
from fer_edge.errors import ArtifactError
from fer_edge.system.files import atomic_path

if TYPE_CHECKING:
    from openvino import Model  # noqa: TID251 - types alone

_FRAMEWORK = "framework"


def from_onnx(model: onnx.ModelProto | Path) -> Model:
    """Convert an ONNX artifact, with its names of inputs and outputs.

    Raises ArtifactError for a file that OpenVINO does not read or an operator that it lacks.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = model if isinstance(model, Path) else save_apart(model, Path(folder))
        try:
            return ov.convert_model(file)
        except Exception as problem:  # OpenVINO's errors have no common class
            reason = " ".join(str(problem).split())[-300:]
            raise ArtifactError(f"OpenVINO cannot convert this ONNX: …{reason}") from problem


def save_ir(model: Model, spec: ModelSpec, path: Path) -> Path:
    """Write ``path``, an ``.xml``, and the ``.bin`` beside it, which is returned.

    Weights keep the type that they have in ``model``; the spec goes to ``rt_info["fer_edge"]``.
    The same model gives the same bytes. ``model`` stays as it is.
    """
    model = model.clone()
    if model.has_rt_info(_FRAMEWORK):  # the ONNX's own metadata, which repeats the spec
        del model.get_rt_info()[_FRAMEWORK]
    model.set_rt_info(spec.to_json(), METADATA_KEY)
    _name_in_order(model)
    weights = path.with_suffix(".bin")
    with TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        xml_file, bin_file = Path(folder, "model.xml"), Path(folder, "model.bin")
        ov.serialize(model, xml_file, bin_file)
        if spec.precision == "fp16":
            _mark_precise(xml_file)
        for source, target in ((bin_file, weights), (xml_file, path)):
            with atomic_path(target) as temporary:
                source.replace(temporary)
    return weights


def _name_in_order(model: Model) -> None:
    """Replace the numbers in names, which OpenVINO takes from a counter of the whole process."""
    for number, node in enumerate(model.get_ordered_ops()):
        if re.fullmatch(r"[A-Za-z0-9]+_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{node.get_type_name()}_{number}")


def _mark_precise(xml: Path) -> None:
    """Mark every f32 layer of an f16 graph as one that no plugin may compute in f16.

    OpenVINO's attribute for that, ``DisableFP16Compression``, can be set from Python only in XML.
    """
    tree = ET.parse(xml)  # noqa: S314 (OpenVINO wrote it just now)
    for layer in tree.iterfind("layers/layer"):
        outputs = layer.findall("output/port")
        if any(port.get("precision") == "FP32" for port in outputs):
            info = layer.find("rt_info")
            if info is None:
                info = ET.Element("rt_info")
                layer.insert(0 if layer.find("data") is None else 1, info)
            ET.SubElement(info, "attribute", name="precise", version="0")
    tree.write(xml, encoding="utf-8", xml_declaration=True)
