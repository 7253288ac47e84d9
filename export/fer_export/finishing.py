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

from fer_edge.artifacts.manifest import MANIFEST, GoldenCrop, Manifest, MeasuredLatency
from fer_edge.evaluation.fer2013 import Data
from fer_edge.predictor import Predictor
from fer_edge.system.files import new_folder
from fer_export.model_directory import artifact_entry, check_replaceable
from fer_export.race import median_latencies
from fer_export.report import write_report
from fer_export.tensorrt.building import build_plan, naming_nvidias_tools, plan_entry
from fer_export.tensorrt.options import PlanOptions
from fer_export.tensorrt.prepared import check_precision
from fer_export.verification import (
    affordable_crops,
    answers_of,
    check_count,
    evaluation_crops,
    golden_crops,
    seconds_per_crop,
    verify,
)


def finish_plan(
    prepared: Path,
    out: Path,
    target: str,
    *,
    options: PlanOptions = PlanOptions(),
    data: Data | None = None,
    crops: int | None = None,
    force: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Build ``target`` from ``prepared``, compare the two, and put both into ``out``.

    They are compared on ``crops`` pictures of ``data``, or of seeded drawings if it is None. By
    default, there are as many as ONNX Runtime runs on in 30 seconds, at least 32. Raises
    ConfigurationError if ``prepared`` is not of the target's precision, MissingDependencyError and
    EngineError without TensorRT, a GPU or a driver, and GateError for a plan whose layers or
    answers are not as asked for. After an error ``out`` is as it was.
    """
    check_count(crops)
    spec = check_precision(prepared, target).spec
    check_replaceable(out, force)
    with new_folder(out) as folder:
        onnx = folder / prepared.name
        shutil.copyfile(prepared, onnx)
        plan = onnx.with_suffix(".plan")
        built = build_plan(onnx, plan, target, options=options, report=report)
        device = f"cuda:{options.gpu}"
        with Predictor(onnx, backend="onnxruntime") as predictor:
            answers = partial(answers_of, predictor, label=onnx.name)
            compared = evaluation_crops(spec, data)
            fitting = affordable_crops(seconds_per_crop(answers, compared.tensors))
            compared = compared.thin(crops or fitting)
            expected = answers(compared.tensors)
            golden = _golden_crops(prepared, predictor)
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
        manifest = Manifest(out.resolve().name, spec.precision, entries, golden).sealed()
        write_report(folder, manifest, compared, reference=onnx.name)
        manifest.write(folder)
    return manifest


def _golden_crops(prepared: Path, predictor: Predictor) -> tuple[GoldenCrop, ...]:
    """The golden crops of the model directory that ``prepared`` is in.

    Their answers are those of the fp32 network. If there are none, ``predictor`` answers.
    """
    if (prepared.parent / MANIFEST).is_file():
        golden = Manifest.read(prepared.parent).golden
        if golden:
            return golden
    return golden_crops(
        predictor.info.spec.input, lambda tensors: predictor.predict_tensor(tensors)[1]
    )
