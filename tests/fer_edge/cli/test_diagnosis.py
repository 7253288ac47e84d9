"""What fer_edge finds out about a machine."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from fer_edge import EngineError, ModelSpec
from fer_edge.artifacts.manifest import Manifest
from fer_edge.backends import AUTO_ORDER, BACKENDS, BackendEntry
from fer_edge.backends.onnxruntime_engine import ort
from fer_edge.cli import diagnosis
from fer_edge.cli.diagnosis import Check, diagnose
from fer_edge.system.dependencies import EXTRAS
from fer_edge.system.files import sha256_of
from fer_edge.system.machine import Machine

MakeDirectory = Callable[..., Path]


def named(checks: tuple[Check, ...], name: str) -> Check:
    (found,) = (check for check in checks if check.name == name)
    return found


# ---- the model


def test_a_model_that_gives_its_golden_answers_works(model_directory: Path) -> None:
    found = diagnose(model_directory)
    assert found.works
    assert found.model.name == str(model_directory)
    assert re.match(r"fp32 on CPUExecutionProvider: golden crops within \S+,", found.model.detail)


def test_a_model_that_gives_other_answers_does_not_work(
    make_model_directory: MakeDirectory,
) -> None:
    found = diagnose(make_model_directory(error=0.01))
    assert not found.works
    assert "golden crops within 0.01, allowed 0.001" in found.model.detail


@pytest.mark.parametrize(("precision", "works"), [("fp32", False), ("int8", True)])
def test_a_quantised_model_may_answer_a_little_otherwise(
    make_artifact: Callable[[Path, ModelSpec], Path],
    make_model_directory: MakeDirectory,
    tiny_spec: ModelSpec,
    precision: str,
    works: bool,
) -> None:
    folder = make_model_directory(precision=precision, error=0.05)
    file = make_artifact(folder / "model.onnx", tiny_spec.with_changes(precision=precision))
    manifest = Manifest.read(folder)
    entry = replace(manifest.artifacts[0], sha256=sha256_of(file))
    replace(manifest, artifacts=(entry,)).write(folder)
    assert diagnose(folder).works is works


def test_one_wrong_answer_among_right_ones_is_enough(
    model_directory: Path, make_model_directory: MakeDirectory
) -> None:
    right = Manifest.read(model_directory)
    wrong = Manifest.read(make_model_directory("wrong", error=0.01))
    replace(right, golden=(*right.golden, *wrong.golden, *right.golden)).write(model_directory)
    assert not diagnose(model_directory).works


def test_a_golden_answer_of_another_shape_is_a_wrong_one(model_directory: Path) -> None:
    manifest = Manifest.read(model_directory)
    (good,) = manifest.golden
    replace(manifest, golden=(replace(good, probabilities=(0.5,) * 3),)).write(model_directory)
    assert not diagnose(model_directory).works


def test_a_model_without_golden_crops_is_not_said_to_work(model_directory: Path) -> None:
    replace(Manifest.read(model_directory), golden=()).write(model_directory)
    found = diagnose(model_directory)
    assert not found.works
    assert "no golden crops" in found.model.detail


def test_an_artifact_alone_is_run_and_has_no_golden_crops(tiny_artifact: Path) -> None:
    found = diagnose(tiny_artifact)
    assert (found.works, found.exit_code) == (True, 0)
    assert "answers; a file alone" in found.model.detail


# ---- backends and packages


def test_what_is_installed_shows_its_version(model_directory: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    found = diagnose(model_directory)
    assert named(found.core, "cv2").detail == f"cv2 {cv2.__version__}"
    expected = Check("onnxruntime", True, f"onnxruntime {ort.__version__}")
    assert named(found.backends, "onnxruntime") == expected


def test_what_auto_takes_is_told_with_the_reason(model_directory: Path) -> None:
    found = diagnose(model_directory)
    assert (found.auto.ok, found.auto_order) == (True, AUTO_ORDER)
    assert found.auto.detail.startswith("onnxruntime: the first of tensorrt, openvino, onnxruntime")


def test_where_auto_has_nothing_to_take_it_is_told(model_directory: Path) -> None:
    found = diagnose(model_directory, precision="int8").auto
    assert (found.ok, "int8" in found.detail) == (False, True)


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        (None, "pip install 'fer-edge[fake]'"),
        ("import fake_engine.core", "is installed and cannot be imported: No module named"),
        ("raise OSError('libengine.so')", "is installed and cannot be imported: libengine.so"),
        ("raise RuntimeError('driver')", "is installed and cannot be imported: driver"),
    ],
    ids=["missing", "incomplete", "without its library", "without its driver"],
)
def test_an_engine_that_cannot_be_used_says_why(
    model_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    code: str | None,
    detail: str,
) -> None:
    (tmp_path / "fake_backend.py").write_text("import fake_engine\n")
    if code is not None:
        (tmp_path / "fake_engine.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    entry = BackendEntry("fake_backend", "Fake", "fake_engine", "fake", ("onnx",))
    monkeypatch.setitem(BACKENDS, "fake", entry)
    found = named(diagnose(model_directory).backends, "fake")
    assert not found.ok
    assert detail in found.detail
    assert "fake_backend" not in sys.modules


@pytest.mark.parametrize(
    ("packages", "ok", "detail"),
    [
        (("numpy", "cv2"), True, "installed"),
        (("numpy", "none_such"), False, "lacks none_such: pip install 'fer-edge[some]'"),
    ],
)
def test_an_extra_names_what_is_lacking(
    monkeypatch: pytest.MonkeyPatch, packages: tuple[str, ...], ok: bool, detail: str
) -> None:
    monkeypatch.setitem(EXTRAS, "some", packages)
    assert diagnosis._check_extra("some") == Check("some", ok, detail)


@pytest.mark.parametrize(
    ("names", "clash"),
    [
        (["onnxruntime", "onnxruntime-gpu"], True),
        (["opencv-contrib-python", "opencv-contrib-python-headless"], True),
        (["onnxruntime-gpu", "opencv-python-headless"], False),
    ],
)
def test_packages_that_overwrite_each_other_are_a_problem(
    monkeypatch: pytest.MonkeyPatch, names: list[str], clash: bool
) -> None:
    installed = [SimpleNamespace(name=name) for name in names]
    monkeypatch.setattr(metadata, "distributions", lambda: installed)
    problems = diagnosis._clashes()
    assert len(problems) == clash
    for problem in problems:
        assert problem.startswith(" and ".join(names))
        assert f"pip uninstall {' '.join(names)}" in problem


# ---- faces and devices


def test_a_machine_without_a_face_detector_says_why(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise EngineError("OpenCV comes without face cascades")

    monkeypatch.setattr("fer_edge.faces.detection.FaceDetector", absent)
    expected = Check("faces", False, "OpenCV comes without face cascades")
    assert diagnose(model_directory).faces == expected


@pytest.mark.parametrize(
    ("said", "ok", "detail"),
    [("NVIDIA T4, 550.1\n", True, "NVIDIA T4, 550.1"), (None, False, "nvidia-smi fails; run it")],
)
def test_boards_gpus_and_nodes_are_devices_beside_the_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str | None, ok: bool, detail: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    for file in ("proc/device-tree/model", "dev/dri/renderD128", "dev/accel/accel0"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("Orin")
    devices = tuple(diagnosis._devices(Machine(tmp_path, lambda _: said)))
    named_in_order = ["cpu", "board", "nvidia", "gpu", "npu", "tensorrt-rtx"]
    assert [device.name for device in devices] == named_in_order
    assert (named(devices, "nvidia").ok, named(devices, "board").detail) == (ok, "Orin")
    assert named(devices, "nvidia").detail.startswith(detail)
    assert named(devices, "npu").detail == "/dev/accel/accel0"


@pytest.mark.parametrize(
    ("gpus", "ok", "detail"),
    [
        (1, True, "NVIDIA's plugin for the backend onnxruntime finds a GPU"),
        (0, False, "NVIDIA's plugin for ONNX Runtime sees 0 GPUs that it can use"),
    ],
)
def test_the_device_of_nvidias_plugin_is_listed(
    monkeypatch: pytest.MonkeyPatch, gpus: int, ok: bool, detail: str
) -> None:
    plugin = ModuleType("onnxruntime_ep_nv_tensorrt_rtx")
    plugin.get_library_path = lambda: "plugin.so"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    one = SimpleNamespace(ep_name="NvTensorRTRTXExecutionProvider")
    monkeypatch.setattr(ort, "register_execution_provider_library", lambda *_: None)
    monkeypatch.setattr(ort, "get_ep_devices", lambda: [one] * gpus)
    found = named(tuple(diagnosis._devices(Machine())), "tensorrt-rtx")
    assert found.ok == ok
    assert found.detail.startswith(detail)
