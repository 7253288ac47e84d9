"""Real faults in the packaged MobileNet, held against the baseline of its releases.

Each is as small as an exporter or a quantiser would make it. Hashes are those of the faulty file,
and so are the golden crops where the fp32 artifact is faulty, unless a test says otherwise: as
written by an exporter that has the fault itself.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_bench.regression.suite import Suite
from fer_edge.artifacts.manifest import GoldenCrop, Manifest
from fer_edge.artifacts.model import model_path
from fer_edge.images.preprocess import preprocess_all
from fer_edge.images.synthetic import synthetic_crops
from fer_edge.predictor import Predictor

onnx = pytest.importorskip("onnx", reason="no onnx to put faults in with")

from changed_onnx import change, zero  # noqa: E402

from fer_calib.crops import Crops  # noqa: E402
from fer_calib.quantisation import quantize  # noqa: E402
from fer_export.contract_nodes import attach_contract, detach_contract  # noqa: E402
from fer_export.half_weights import with_float_weights, with_half_weights  # noqa: E402

BASELINE = Path(__file__).with_name("mobilenet.json")
FP32, INT8, INT8_ORT = "model.onnx", "model.int8.onnx", "model.int8.onnxruntime.onnx"

Array = npt.NDArray[np.generic]
Fault = Callable[["onnx.ModelProto"], None]


def _arrays(model: onnx.ModelProto) -> dict[str, Array]:
    return {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}


def swap_two_labels(model: onnx.ModelProto) -> None:
    order = [0, 1, 2, 4, 3, 5, 6]
    change(model, "classifier.weight", lambda rows: rows[order])
    change(model, "classifier.bias", lambda values: values[order])


def normalise_with_the_mean_of_imagenet(model: onnx.ModelProto) -> None:
    change(model, "fer_edge.mean", lambda mean: np.full_like(mean, 0.449 * 255))


def zero_a_channel_in_the_middle(model: onnx.ModelProto) -> None:
    """One of 512, and one that hardly matters."""
    change(model, "blocks.3.1.dw_mid.conv.weight", zero(264))


FAULTS_OF_FP32 = [
    swap_two_labels,
    normalise_with_the_mean_of_imagenet,
    zero_a_channel_in_the_middle,
]


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Write the packaged directory with one artifact replaced."""

    def write(file: str, model: onnx.ModelProto, *, stale_golden: bool = False) -> Path:
        source, folder = model_path("mobilenet"), tmp_path / "model"
        shutil.copytree(source, folder)
        data = model.SerializeToString()
        (folder / file).write_bytes(data)
        manifest = Manifest.read(source)
        digest = hashlib.sha256(data).hexdigest()
        entries = tuple(
            replace(e, sha256=digest, size_bytes=len(data)) if e.file == file else e
            for e in manifest.artifacts
        )
        golden = manifest.golden
        if file == FP32 and not stale_golden:
            golden = _golden_of(folder / file, manifest)
        replace(manifest, artifacts=entries, golden=golden).write(folder)
        return folder

    return write


def _golden_of(artifact: Path, manifest: Manifest) -> tuple[GoldenCrop, ...]:
    pairs = [crop.arrays() for crop in manifest.golden]
    with Predictor(artifact, backend="onnxruntime") as fer:
        answers = fer.predict_batch([raw for raw, _ in pairs])
    return tuple(
        GoldenCrop.of(raw, tensor, answer.probabilities)
        for (raw, tensor), answer in zip(pairs, answers, strict=True)
    )


def broken(file: str, fault: Fault) -> onnx.ModelProto:
    """A packaged artifact with a fault."""
    model = with_float_weights(onnx.load(model_path("mobilenet") / file))
    fault(model)
    return with_half_weights(model) if file == FP32 else model


def failures(model: Path | str, file: str, data: Path | None = None) -> set[str]:
    """Names of the checks of one artifact that fail; its time is not what is tested here."""
    with closing(Suite(model, BASELINE, backends=["onnxruntime"], data=data)) as suite:
        (subject,) = [subject for subject in suite.subjects if subject.cell.file == file]
        checks = [name for name in suite.checks(subject) if name != "latency"]
        return {name for name in checks if not suite.check(subject, name).holds}


@pytest.mark.parametrize("file", [FP32, INT8, INT8_ORT])
def test_without_a_fault_nothing_fails(file: str) -> None:
    assert failures("mobilenet", file) == set()


@pytest.mark.parametrize("fault", FAULTS_OF_FP32, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_fp32_artifact_fails_by_name(fault: Fault, put: Callable[..., Path]) -> None:
    assert failures(put(FP32, broken(FP32, fault)), FP32) == {"answers"}


def test_golden_crops_of_the_sound_model_tell_too(put: Callable[..., Path]) -> None:
    """Even of the fault that changes the answers least."""
    model = put(FP32, broken(FP32, zero_a_channel_in_the_middle), stale_golden=True)
    assert failures(model, FP32) == {"golden", "answers"}


def test_what_turns_faces_wrong_fails_on_fer2013(
    put: Callable[..., Path], fer2013_archive: Path
) -> None:
    failed = failures(put(FP32, broken(FP32, swap_two_labels)), FP32, fer2013_archive)
    assert failed == {"answers", "accuracy", "recall", "calibration"}


def quantise_per_tensor(model: onnx.ModelProto) -> None:
    """Give each layer of an INT8 artifact one scale: all else stays, the ranges included."""
    arrays = _arrays(model)
    for name in [name for name in arrays if name.endswith(".weight_int8")]:
        scales, integers = arrays[f"{name}.scale"], arrays[name]
        along = scales.reshape(-1, *[1] * (integers.ndim - 1))
        weight, limit = integers * along, np.abs(integers).max()
        one = np.float32(np.abs(weight).max() / limit)
        change(model, name, lambda _, w=weight, s=one: np.rint(w / s))
        change(model, f"{name}.scale", lambda v, s=one: np.full_like(v, s))
        bias = f"{name.removesuffix('.weight_int8')}.bias_int32"
        if bias in arrays:
            change(model, bias, lambda v, f=scales / one: np.rint(v * f))
            change(model, f"{bias}.scale", lambda v, f=one / scales: v * f)


@pytest.mark.parametrize("file", [INT8, INT8_ORT])
def test_a_quantiser_without_per_channel_weights_fails(file: str, put: Callable[..., Path]) -> None:
    assert failures(put(file, broken(file, quantise_per_tensor)), file) == {"parity"}


@pytest.mark.parametrize(("file", "scheme"), [(INT8, "canonical"), (INT8_ORT, "onnxruntime")])
def test_a_calibration_of_darker_pictures_fails(
    file: str, scheme: str, put: Callable[..., Path]
) -> None:
    stored = onnx.load(model_path("mobilenet") / FP32)
    core, spec = detach_contract(with_float_weights(stored), FP32)
    crops = [(crop * 0.3).astype(np.uint8) for crop in synthetic_crops(32)]
    stale = quantize(core, Crops(preprocess_all(crops, spec.input), spec), scheme)
    model = put(file, attach_contract(stale, spec.with_changes(precision="int8")))
    assert "parity" in failures(model, file)


def test_a_zeroed_channel_of_an_int8_artifact_fails(put: Callable[..., Path]) -> None:
    def fault(model: onnx.ModelProto) -> None:
        change(model, "blocks.0.1.conv.weight_int8", zero(4))

    assert "parity" in failures(put(INT8, broken(INT8, fault)), INT8)
