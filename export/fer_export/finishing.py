"""The last step on the device: a plan from an ONNX that was prepared on a workstation.

It needs TensorRT and cuda-python, but neither torch nor onnx. The plan's answers are compared with
those that ONNX Runtime gives for the same ONNX.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from fer_edge.artifacts.manifest import MANIFEST, Manifest, MeasuredLatency
from fer_edge.predictor import Predictor
from fer_edge.system.files import new_folder
from fer_export.model_directory import artifact_entry, check_replaceable
from fer_export.options import ExportOptions
from fer_export.race import median_latencies
from fer_export.report import write_report
from fer_export.tensorrt.building import build_plan, naming_nvidias_tools, plan_entry
from fer_export.tensorrt.prepared import check_precision
from fer_export.verification import (
    answers_of,
    golden_crops,
    reference_answers,
    verify,
)


def finish_plan(
    prepared: Path,
    out: Path,
    target: str,
    *,
    options: ExportOptions = ExportOptions(),
    force: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Build ``target`` from ``prepared``, compare the two, and put both into ``out``.

    Of ``options``, those of the plan and the pictures to compare on are used. The golden crops and
    the notes are those of the model directory that ``prepared`` is in, if it is in one. Raises
    ConfigurationError if ``prepared`` is not of the target's precision, MissingDependencyError and
    EngineError without TensorRT, a GPU or a driver, and GateError for a plan whose layers or
    answers are not as asked for. After an error ``out`` is as it was.
    """
    check_replaceable(out, force)
    spec = check_precision(prepared, target).spec
    listed = (prepared.parent / MANIFEST).is_file()
    source = Manifest.read(prepared.parent) if listed else None
    with new_folder(out) as folder:
        onnx = folder / prepared.name
        shutil.copyfile(prepared, onnx)
        plan = onnx.with_suffix(".plan")
        built = build_plan(onnx, plan, target, options=options.plan, report=report)
        device = f"cuda:{options.plan.gpu}"
        with Predictor(onnx, backend="onnxruntime") as predictor:
            answers = partial(answers_of, predictor, label=onnx.name)
            compared, expected, _ = reference_answers(spec, answers, options)
            golden = (source.golden if source else ()) or golden_crops(spec.input, answers)
        report(f"{plan.name}: comparing on {len(compared)} crops")
        with naming_nvidias_tools(prepared, built):
            measured = verify(plan, "tensorrt", compared, expected, device=device)
        with Predictor(plan, backend="tensorrt", device=device) as predictor:
            p50 = median_latencies({plan.name: predictor}, compared.tensors[:1]).p50_ms[plan.name]
            latency = MeasuredLatency(p50, None, predictor.info.provider)
        form = f"onnx-{spec.precision}" if spec.precision != "fp32" else "onnx"
        entries = (
            artifact_entry(folder, onnx.name, form, spec.precision),
            replace(plan_entry(plan, target), measured=(replace(measured, latency=latency),)),
        )
        notes = source.notes if source else ()
        manifest = Manifest(out.resolve().name, spec.precision, entries, golden, notes).sealed()
        write_report(folder, manifest, compared, reference=onnx.name)
        manifest.write(folder)
    return manifest
