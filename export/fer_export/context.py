"""What the targets of one export share, so that each form is made and compared once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx

from fer_calib.calibration import CalibrationSet, draw, load
from fer_calib.control import Controlled, Prepared, control, prepare
from fer_calib.crops import Crops
from fer_calib.limits import Limits
from fer_calib.onnx_graph import save
from fer_calib.sensitivity import save_sensitivity
from fer_edge.artifacts.manifest import ArtifactEntry, Measurement
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.errors import ConfigurationError
from fer_edge.images.preprocess import preprocess_all
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.predictor import Predictor
from fer_edge.system.dependencies import requires
from fer_export.contract_nodes import attach_contract, spec_of, with_static_batch
from fer_export.half import HalfCore, to_half
from fer_export.half_weights import with_half_weights
from fer_export.model_directory import REPORT_FOLDER, artifact_entry
from fer_export.options import ExportOptions
from fer_export.race import Run, Times, median_latencies
from fer_export.source import Source
from fer_export.tensorrt.mixed import to_mixed
from fer_export.verification import (
    GATES,
    affordable_crops,
    golden_crops,
    reference_answers,
    verify,
)

_CALIBRATION_CROPS = 512
_SYNTHETIC_SEED = 2
_LARGE = 64 << 20
_SENSITIVITY_SECONDS = 120
"""If measuring the cost of each layer takes longer, it is done only where INT8 loses too much."""


class ExportContext:
    """The network of one export, and what was made of it so far.

    Files are written into ``folder``, which becomes ``out`` in the end. ``report`` receives a line
    per step; ``notes`` are the lines that manifest and ``report.md`` repeat. ``entries`` are the
    artifacts, by file. They are compared on ``crops``, for which the reference's probabilities are
    ``expected`` ``(N, K)``. ``golden`` are the manifest's golden crops.
    """

    def __init__(
        self,
        source: Source,
        folder: Path,
        out: Path,
        options: ExportOptions,
        report: Callable[[str], None],
    ) -> None:
        self.source, self.folder, self.out = source, folder, out
        self.options, self.report = options, report
        self.name = out.resolve().name
        self.notes: list[str] = []
        self.entries: dict[str, ArtifactEntry] = {}
        self.crops, self.expected, self._seconds_per_crop = reference_answers(
            source.spec, source.answers, options
        )
        self.golden = golden_crops(source.spec.input, source.answers)
        self._measured: dict[tuple[str, str], Measurement] = {}
        self._controlled: dict[str, Controlled] = {}

    @cached_property
    def calibration(self) -> CalibrationSet:
        """The calibration set. Raises ConfigurationError without ``--calib`` and ``--data``."""
        given, data = self.options.calibration, self.options.data
        if given is None and data is None:
            raise ConfigurationError(
                "INT8 is calibrated on pictures: give --calib (a file of fer-calib) or --data"
            )
        if given is not None:
            found = load(given)
        else:
            labels = self.source.spec.labels
            found = draw(data, _CALIBRATION_CROPS, labels=labels, exact=False)  # type: ignore[arg-type]
        found.check(data)
        if found.note is not None:
            self.note(f"the calibration set was {found.note}")
        return found

    def release(self) -> None:
        """Free the forms of the network for the engines, when all artifacts are made."""
        self.source.release()
        self._controlled.clear()
        for name in ("_half", "_prepared"):
            self.__dict__.pop(name, None)

    def note(self, text: str) -> None:
        """Report a line now, and keep it for manifest and ``report.md``."""
        self.report(text)
        self.notes.append(text)

    def float_artifact(self) -> onnx.ModelProto:
        """The fp32 artifact."""
        return self._artifact(self.source.core, self._spec("fp32"))

    def stored_artifact(self) -> onnx.ModelProto:
        """The fp32 artifact, with ``half_weights`` in half the size."""
        model = self.float_artifact()
        return with_half_weights(model) if self.options.half_weights else model

    def half_artifact(self) -> onnx.ModelProto:
        """The fp16 artifact, with nodes in float32 where float16 is not enough."""
        return self._artifact(self._half.model, self._spec("fp16"))

    @cached_property
    def _half(self) -> HalfCore:
        half = to_half(self.source.core, self._spec("fp16"), self._overflow_crops().tensors)
        self.note(f"fp16: {half.summary()}")
        for island in half.islands:
            self.notes.append(f"fp16: {island.node} ({island.op}) in float32: {island.reason}")
        return half

    @cached_property
    def _prepared(self) -> Prepared:
        """What all forms of INT8 share: the ranges, and the cost of each layer."""
        spec = self.source.spec
        self.report("int8: observing ranges")
        affordable = affordable_crops(self._seconds_per_crop, seconds=20)
        calibration = self.calibration.for_model(spec).thin(affordable)
        prepared = prepare(self.source.core, calibration, self.crops)
        expected = prepared.sensitivity_runs * self._seconds_per_crop
        if expected > _SENSITIVITY_SECONDS:
            self.note(
                "int8: the cost of each layer is measured only where the accuracy asks for it, as "
                f"that takes {expected / 60:.0f} minutes here"
            )
        else:
            self.report("int8: measuring the cost of each layer")
            self._save_sensitivity(prepared)
        return prepared

    def quantized_artifact(self, scheme: str) -> onnx.ModelProto:
        """An INT8 artifact. Raises GateError where its accuracy cannot be kept."""
        if scheme not in self._controlled:
            limits = Limits(accuracy_drop=self.options.allowed_drop)
            done = control(self._prepared, scheme, limits=limits, report=self.report)
            self._controlled[scheme] = done
            if done.kept_float:
                self._save_sensitivity(self._prepared)
            kept = ", ".join(done.kept_float) or "nothing"
            self.note(f"int8, the form {scheme}: kept in float: {kept}")
        return self._artifact(self._controlled[scheme].core, self._int8_spec())

    def mixed_artifact(self) -> onnx.ModelProto:
        """The INT8 artifact for TensorRT, with float16 instead of float32 for the rest."""
        self.quantized_artifact("canonical")
        islands = {island.node for island in self._half.islands}
        core = to_mixed(self._controlled["canonical"].core, islands)
        return self._artifact(core, self._int8_spec())

    def _save_sensitivity(self, prepared: Prepared) -> None:
        """Write the table and the picture, with what stayed in float in any form so far."""
        kept = {name: None for done in self._controlled.values() for name in done.kept_float}
        folder = self.folder / REPORT_FOLDER
        folder.mkdir(exist_ok=True)
        save_sensitivity(prepared.sensitivity, folder, kept_float=tuple(kept))

    def add(
        self,
        target: str,
        file: str,
        make: Callable[[], onnx.ModelProto],
        backends: tuple[str, ...] = (),
    ) -> ArtifactEntry:
        """Make an artifact and write it, once: as IR if ``file`` is an ``.xml``, else as ONNX.

        ``backends`` are those that an ONNX is made for; empty means all that open it.
        """
        if file in self.entries:
            return self.entries[file]
        model, path = make(), self.folder / file
        spec = spec_of(model)
        if path.suffix == ".xml":
            with requires("openvino"):
                from fer_export.openvino_ir import from_onnx, save_ir
            weights = save_ir(from_onnx(model), spec, path)
            return self.register(
                file, target, spec.precision, backends=("openvino",), companions=(weights.name,)
            )
        save(model, path)
        return self.register(file, target, spec.precision, backends=backends)

    def register(self, file: str, target: str, precision: str, **more: Any) -> ArtifactEntry:
        """List a file of the folder as an artifact; ``more`` is as for ``artifact_entry``."""
        self.entries[file] = artifact_entry(self.folder, file, target, precision, **more)
        return self.entries[file]

    def remove(self, file: str) -> None:
        """Take back an artifact that is no good."""
        self.entries.pop(file, None)
        for written in (self.folder / file, (self.folder / file).with_suffix(".bin")):
            written.unlink(missing_ok=True)

    def prove(self, file: str, backend: str) -> Measurement:
        """Compare an artifact with the reference, once. Raises GateError."""
        if (file, backend) not in self._measured:
            self.report(f"{file}: comparing on {len(self.crops)} crops, {backend}")
            halved = self.options.half_weights and file.endswith(".onnx")
            gates = {**GATES, "fp32": GATES["fp16"]} if halved else GATES
            path, device = self.folder / file, self._device(backend)
            self._measured[file, backend] = verify(
                path, backend, self.crops, self.expected, gates, device=device
            )
        return self._measured[file, backend]

    def race(self, runs: Mapping[str, Run]) -> Times:
        """Median latency of each run, with one thread on a CPU.

        They take turns. Large artifacts are timed one after the other instead, so that only one is
        in memory.
        """
        sizes = [(self.folder / run.file).stat().st_size for run in runs.values()]
        if len(runs) > 1 and max(sizes) > _LARGE:
            alone = [self.race({name: run}) for name, run in runs.items()]
            medians = {name: ms for one in alone for name, ms in one.p50_ms.items()}
            return Times(medians, any(one.busy for one in alone))
        with ExitStack() as stack:
            opened = {
                name: stack.enter_context(
                    Predictor(
                        self.folder / run.file,
                        backend=run.backend,
                        device=self._device(run.backend),
                        threads=run.threads,
                    )
                )
                for name, run in runs.items()
            }
            return median_latencies(opened, self.crops.tensors[:1])

    def _device(self, backend: str) -> str:
        """A plan runs on the GPU that it was built on."""
        return f"cuda:{self.options.plan.gpu}" if backend == "tensorrt" else "auto"

    def _int8_spec(self) -> ModelSpec:
        found = self.calibration
        return self._spec("int8").with_provenance(
            calibration_sha256=found.sha256, calibration_note=found.note
        )

    def _spec(self, precision: str) -> ModelSpec:
        return self.source.spec.with_changes(precision=precision)

    def _artifact(self, core: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
        model = attach_contract(core, spec)
        batch = self.options.batch
        return model if batch is None else with_static_batch(model, batch)

    def _overflow_crops(self) -> Crops:
        """Crops to look for overflow on: the calibration set's, or drawings if there is none."""
        spec = self.source.spec
        if self.options.calibration is None and self.options.data is None:
            self.note("fp16: without --calib or --data, overflow was looked for on drawings")
            drawn = synthetic_crops(_CALIBRATION_CROPS, seed=_SYNTHETIC_SEED)
            crops = Crops(preprocess_all(drawn, spec.input), spec)
        else:
            crops = self.calibration.for_model(spec)
        return crops.thin(affordable_crops(self._seconds_per_crop, seconds=5, fewest=8))
