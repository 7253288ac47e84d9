"""Real faults, injected one by one, and the checks that name them.

Each faulty directory is consistent: its hashes and golden crops are those of the faulty artifact,
as an exporter would write that has the fault itself.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from changed_onnx import change, copy_of, zero

from fer_bench.regression.baseline import Baseline
from fer_bench.regression.latency_ratio import PairedLatency
from fer_bench.regression.suite import CHECKS, Suite
from fer_edge import ArtifactError
from fer_edge.predictor import Predictor

REFERENCE = "fer::model.onnx[onnxruntime]"
INT8 = "fer::model.int8.onnx[onnxruntime]"
FP16 = "fer::model.fp16.onnx[onnxruntime]"


def swap_two_labels(model: onnx.ModelProto) -> None:
    order = [0, 1, 2, 4, 3, 5, 6]
    change(model, "matrix", lambda values: values[:, order])
    change(model, "bias", lambda values: values[order])


def take_bgr_for_rgb(model: onnx.ModelProto) -> None:
    change(model, "kernel", lambda values: values[:, ::-1])


def normalise_with_a_wrong_mean(model: onnx.ModelProto) -> None:
    change(model, "fer_edge.mean", lambda values: values - 60)


def zero_a_channel(model: onnx.ModelProto) -> None:
    change(model, "kernel", zero(10))


FAULTS_OF_THE_REFERENCE = {
    swap_two_labels: {"answers", "accuracy", "recall"},
    take_bgr_for_rgb: {"answers"},  # FER2013 is gray, so its pictures cannot tell
    normalise_with_a_wrong_mean: {"answers", "accuracy"},
    zero_a_channel: {"answers"},
}


@pytest.mark.parametrize("fault", FAULTS_OF_THE_REFERENCE, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_fp32_artifact_fails_by_name(fault: Any, workbench: Any) -> None:
    broken = workbench.directory(fault.__name__, edit=fault, int8=workbench.int8)
    expected = {f"{REFERENCE}::{check}" for check in FAULTS_OF_THE_REFERENCE[fault]}
    failed = workbench.failures(broken)
    assert expected <= failed
    assert f"{INT8}::parity" in failed, "the sound INT8 artifact is not that reference's"
    assert f"{REFERENCE}::answers" in workbench.failures(broken, data=None), "without pictures"


def _round_to_six_bits(kernel: np.ndarray) -> np.ndarray:
    step = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / 31
    return (np.rint(kernel / step) * step).astype(np.float32)


def test_a_lesser_quantiser_fails_although_it_stays_within_the_absolute_bounds(
    workbench: Any, make_int8: Any
) -> None:
    rounded = copy_of(workbench.core)
    change(rounded, "kernel", _round_to_six_bits)
    lesser = make_int8(rounded)
    results = {r.name: r for r in workbench.judge(workbench.directory("lesser", int8=lesser))}
    parity = results[f"{INT8}::parity"]
    assert [row.what for row in parity.outcome.rows if not row.holds] == [
        "probes: growth of mean KL"
    ]


def test_fp16_that_overflows_fails(workbench: Any, halved: Any) -> None:
    broken = workbench.directory("overflow", int8=workbench.int8, fp16=halved)
    failed = workbench.failures(broken)
    assert f"{FP16}::intact" in failed
    assert f"{FP16}::parity" in failed


def test_a_runtime_that_swaps_the_colours_fails(
    workbench: Any, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fer_bench.regression.subject.Predictor",
        lambda *args, **settings: Predictor(*args, color="rgb", **settings),
    )
    assert {f"{REFERENCE}::golden", f"{REFERENCE}::answers"} <= workbench.failures(sound)


def test_a_runtime_that_resizes_otherwise_fails(
    workbench: Any, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resize = cv2.resize

    def nearest(*arguments: Any, **settings: Any) -> Any:
        return resize(*arguments, **{**settings, "interpolation": cv2.INTER_NEAREST})

    monkeypatch.setattr("fer_edge.images.preprocess.cv2.resize", nearest)
    failed = workbench.failures(sound)
    assert {f"{REFERENCE}::golden", f"{REFERENCE}::answers"} <= failed


def changed(path: Path) -> None:
    model = onnx.load(path)
    model.doc_string = "somebody was here"
    onnx.save(model, path)


def deleted(path: Path) -> None:
    path.unlink()


def a_pipe_that_nobody_writes_into(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "become", [changed, deleted, a_pipe_that_nobody_writes_into], ids=lambda become: become.__name__
)
def test_a_file_that_the_runtime_refuses_is_not_opened(become: Any, workbench: Any) -> None:
    """Whatever would have to open it fails in the runtime's own words."""
    broken = workbench.directory(become.__name__, int8=workbench.int8)
    become(broken / "model.int8.onnx")
    with pytest.raises(ArtifactError) as refused:
        Predictor(broken, backend="onnxruntime", precision="int8")
    failed = {result.name: result for result in workbench.judge(broken) if result.failed}
    assert failed.keys() == {f"{INT8}::{check}" for check in CHECKS if check != "recorded"}
    assert {result.reason for result in failed.values()} == {f"ArtifactError: {refused.value}"}


def test_a_single_artifact_that_is_cut_short_fails_each_check(
    workbench: Any, sound: Path, tmp_path: Path
) -> None:
    """It has no manifest, so its precision and hash come from the damaged file."""
    cut, baseline = tmp_path / "model.onnx", tmp_path / "model.json"
    replace(Baseline.read(workbench.baseline), model="model").write(baseline)
    before = baseline.read_bytes()
    cut.write_bytes((sound / "model.onnx").read_bytes()[:-1000])
    results = Suite(cut, baseline, backends=["onnxruntime"]).results()
    told = {r.name: r.reason for r in results if r.failed and r.name.startswith(REFERENCE)}
    assert f"{REFERENCE}::intact" in told
    (recorded,) = Suite(cut, baseline, backends=["onnxruntime"], update=True).results()
    for reason in (*told.values(), recorded.reason):
        assert reason.startswith("ArtifactError: ")
    assert baseline.read_bytes() == before


def test_an_artifact_that_vanished_fails(workbench: Any) -> None:
    assert workbench.failures(workbench.directory("fewer")) == {f"{INT8}::present"}


def test_an_artifact_that_nobody_recorded_fails(workbench: Any, core: Any) -> None:
    more = workbench.directory("more", int8=workbench.int8, fp16=core)
    assert workbench.failures(more) == {f"{FP16}::recorded"}


def test_an_artifact_that_grew_fails(workbench: Any) -> None:
    def pad(model: onnx.ModelProto) -> None:
        model.doc_string = "x" * 2000

    broken = workbench.directory("grown", edit=pad, int8=workbench.int8)
    assert workbench.failures(broken) == {f"{REFERENCE}::size"}


def test_an_artifact_that_became_slow_fails(
    workbench: Any, sound: Path, timed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(timed, "now", PairedLatency(1.7, (1.6, 1.8)))
    assert workbench.failures(sound) == {f"{INT8}::latency"}


@pytest.mark.parametrize(
    ("measured", "judged"),
    [
        (PairedLatency(1.7, (1.4, 2.1)), True),  # it may be within the bound of 1.5
        (PairedLatency(9.0, (8.0, 10.0), ("other processes took 60% of the cores' time",)), False),
    ],
    ids=["uncertain", "busy machine"],
)
def test_noise_is_no_slowness(
    measured: PairedLatency, judged: bool, workbench: Any, sound: Path, timed: Any
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(timed, "now", measured)
        latency = {r.name: r for r in workbench.judge(sound)}[f"{INT8}::latency"]
    assert (latency.failed, latency.outcome is not None) == (False, judged)
    assert judged or latency.reason == (
        "this machine is not quiet: other processes took 60% of the cores' time"
    )


def test_confidence_that_means_something_else_fails(workbench: Any) -> None:
    """The top-1 stays, so accuracy cannot tell."""

    def sharpen(model: onnx.ModelProto) -> None:
        change(model, "fer_edge.temperature", lambda value: value * np.float32(6))

    failed = workbench.failures(workbench.directory("sharp", edit=sharpen))
    assert f"{REFERENCE}::calibration" in failed
    assert f"{REFERENCE}::accuracy" not in failed


def test_a_loss_in_one_class_alone_fails_there(workbench: Any) -> None:
    """A class of 40 pictures turns into another: the others keep theirs."""

    def lower(model: onnx.ModelProto) -> None:
        def shift(values: np.ndarray) -> np.ndarray:
            values[2] -= 4
            return values

        change(model, "bias", shift)

    results = {r.name: r for r in workbench.judge(workbench.directory("shy", edit=lower))}
    rows = results[f"{REFERENCE}::recall"].outcome.rows
    assert [row.what for row in rows if not row.holds] == ["recall of fear, 40 pictures"]


def test_noise_on_other_pictures_does_not_fail(workbench: Any) -> None:
    """A tenth of a logit turns a few pictures over, in both directions."""

    def shake(model: onnx.ModelProto) -> None:
        rng = np.random.default_rng(3)
        change(model, "bias", lambda v: (v + rng.normal(0, 0.05, v.shape)).astype("f4"))

    results = workbench.judge(workbench.directory("shaken", edit=shake))
    failed = {result.name for result in results if result.failed}
    changed = next(r for r in results if r.name == f"{REFERENCE}::accuracy").outcome.changed
    assert not failed & {f"{REFERENCE}::accuracy", f"{REFERENCE}::recall"}
    assert changed, "the fault is meant to turn some pictures over"


def _part_of(whole: Path, part: Path, endings: str) -> Path:
    """The pictures whose number ends with one of these digits."""
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(part, "w") as target:
        for name in source.namelist():
            if name.removesuffix(".png")[-1] in endings:
                target.writestr(name, source.read(name))
    return part


def test_pictures_that_are_cut_short_fail(workbench: Any, sound: Path, tmp_path: Path) -> None:
    """The run's own check says so, and what needs the recorded ones does not pass without it."""
    fewer = _part_of(workbench.data, tmp_path / "fewer.zip", "0")
    results = {r.name: r for r in workbench.judge(sound, data=fewer)}
    failed = {name for name, result in results.items() if result.failed}
    checks = ("accuracy", "recall", "calibration")
    needing = {f"{one}::{check}" for one in (REFERENCE, INT8) for check in checks}
    assert failed == {"fer::data", *needing}
    told = results["fer::data"].reason
    assert "the baseline is of 280 pictures of public-test" in told
    assert "these are 28 pictures" in told
    assert "--fer-other-data" in told


def test_other_pictures_that_are_meant_are_held_against_an_interval(
    workbench: Any, sound: Path, tmp_path: Path
) -> None:
    """The ECE is left out: of fewer pictures it is the bins' noise."""
    most = _part_of(workbench.data, tmp_path / "most.zip", "012345678")
    results = {r.name: r for r in workbench.judge(sound, data=most, other_data=True)}
    assert [name for name, result in results.items() if result.failed] == []
    skipped = results[f"{REFERENCE}::calibration"]
    assert (skipped.failed, skipped.outcome) == (False, None)
    assert skipped.reason.startswith("the ECE was recorded on other pictures")


def test_too_few_other_pictures_fail_although_they_are_meant(
    workbench: Any, sound: Path, tmp_path: Path
) -> None:
    fewer = _part_of(workbench.data, tmp_path / "fewer.zip", "0")
    results = {r.name: r for r in workbench.judge(sound, data=fewer, other_data=True)}
    rows = results[f"{REFERENCE}::accuracy"].outcome.rows
    assert [row.what for row in rows if not row.holds] == ["half of the 95 % interval"]


def test_an_untouched_model_passes(workbench: Any, sound: Path) -> None:
    results = workbench.judge(sound)
    assert [(r.name, r.reason) for r in results if r.failed] == []
    assert len(results) == 19
