"""What fer_edge finds out about a machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fer_edge import EngineError, ModelSpec
from fer_edge.artifacts.manifest import Manifest
from fer_edge.backends import AUTO_ORDER, BACKENDS, BackendEntry
from fer_edge.backends.onnxruntime_engine import ort
from fer_edge.cli.diagnosis import Check, diagnose
from fer_edge.system.dependencies import EXTRAS
from fer_edge.system.files import sha256_of

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


def test_a_damaged_model_does_not_work(model_directory: Path) -> None:
    (model_directory / "model.onnx").write_bytes(b"damaged")
    found = diagnose(model_directory)
    assert not found.works
    assert "is damaged" in found.model.detail


def test_auto_is_asked_for_what_was_wished(model_directory: Path) -> None:
    assert diagnose(model_directory).auto.ok
    found = diagnose(model_directory, precision="int8").auto
    assert (found.ok, "int8" in found.detail) == (False, True)


@pytest.mark.usefixtures("no_default_model")
def test_a_missing_model_does_not_stop_the_rest() -> None:
    found = diagnose()
    assert not found.works
    assert found.model.name == "default"
    assert len(found.backends) == len(BACKENDS)


# ---- backends and packages


def test_an_installed_backend_shows_its_version(model_directory: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    found = named(diagnose(model_directory).backends, "onnxruntime")
    assert found == Check("onnxruntime", True, f"onnxruntime {onnxruntime.__version__}")


def test_the_order_of_auto_is_told(model_directory: Path) -> None:
    assert diagnose(model_directory).auto_order == AUTO_ORDER


def test_what_auto_takes_is_told_with_the_reason(model_directory: Path) -> None:
    auto = diagnose(model_directory).auto
    assert auto.ok
    assert auto.detail.startswith("onnxruntime: the first of tensorrt, openvino, onnxruntime")


def test_where_auto_has_nothing_to_take_it_is_told(tmp_path: Path) -> None:
    auto = diagnose(tmp_path / "none").auto
    assert (auto.ok, auto.name) == (False, "auto")
    assert "there is no model at" in auto.detail


def test_the_packages_of_the_core_show_their_versions(model_directory: Path) -> None:
    import cv2

    assert named(diagnose(model_directory).core, "cv2").detail == f"cv2 {cv2.__version__}"


BROKEN = """
from fer_edge.backends import BACKENDS, choose_backend
from fer_edge.cli.diagnosis import diagnose
for name in ("openvino", "tensorrt", "torch"):
    del BACKENDS[name]
choose_backend.AUTO_ORDER = ("onnxruntime",)
found = diagnose({model!r})
assert not found.works
assert found.exit_code == 3, found
checks = [*found.core, *found.backends, found.faces]
print(*sorted(check.name for check in checks if "cannot be imported: libx.so" in check.detail))
"""


@pytest.mark.parametrize(
    ("broken", "shown"), [("cv2", "cv2 faces"), ("onnxruntime", "faces onnxruntime")]
)
def test_a_package_that_does_not_load_is_a_finding_and_stops_nothing(
    model_directory: Path, tmp_path: Path, root: Path, broken: str, shown: str
) -> None:
    (tmp_path / "path" / broken).mkdir(parents=True)
    (tmp_path / "path" / broken / "__init__.py").write_text("raise ImportError('libx.so: none')")
    program = BROKEN.format(model=str(model_directory))
    path = os.pathsep.join((str(tmp_path / "path"), str(root)))
    run = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.split() == shown.split()


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


def test_an_extra_that_is_complete_is_installed(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXTRAS, "whole", ("numpy", "cv2"))
    assert named(diagnose(model_directory).extras, "whole") == Check("whole", True, "installed")


def test_an_extra_that_is_incomplete_names_what_is_lacking(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXTRAS, "part", ("numpy", "no_such_package"))
    found = named(diagnose(model_directory).extras, "part")
    assert found == Check("part", False, "lacks no_such_package: pip install 'fer-edge[part]'")


@pytest.fixture
def distributions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is installed."""
    names: list[str] = []
    known = metadata.distribution

    def distribution(name: str) -> Any:
        if name not in names:
            raise metadata.PackageNotFoundError(name)
        return known("numpy")

    monkeypatch.setattr(metadata, "distribution", distribution)
    return names


@pytest.mark.parametrize(
    "names",
    [
        ["onnxruntime", "onnxruntime-gpu"],
        ["opencv-python", "opencv-python-headless"],
        ["opencv-contrib-python", "opencv-contrib-python-headless"],
    ],
)
def test_packages_that_overwrite_each_other_are_a_problem(
    model_directory: Path, distributions: list[str], names: list[str]
) -> None:
    distributions += names
    (problem,) = diagnose(model_directory).problems
    assert problem.startswith(" and ".join(names))
    assert f"pip uninstall {' '.join(names)}" in problem


def test_one_package_of_each_kind_is_no_problem(
    model_directory: Path, distributions: list[str]
) -> None:
    distributions += ["onnxruntime-gpu", "opencv-python-headless"]
    assert diagnose(model_directory).problems == ()


# ---- faces and devices


def test_a_machine_without_a_face_detector_says_why(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise EngineError("OpenCV comes without face cascades")

    monkeypatch.setattr("fer_edge.faces.detection.FaceDetector", absent)
    expected = Check("faces", False, "OpenCV comes without face cascades")
    assert diagnose(model_directory).faces == expected


def test_there_is_always_a_cpu(model_directory: Path) -> None:
    assert named(diagnose(model_directory).devices, "cpu").ok


@pytest.fixture
def nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """A machine on which nvidia-smi does what it is told."""

    def answer(run: Callable[..., Any]) -> None:
        monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
        monkeypatch.setattr(subprocess, "run", run)

    return answer


def test_an_nvidia_gpu_is_named(
    model_directory: Path, nvidia_smi: Callable[[Callable[..., Any]], None]
) -> None:
    nvidia_smi(lambda command, **_: subprocess.CompletedProcess(command, 0, "NVIDIA T4, 550.1\n"))
    found = named(diagnose(model_directory).devices, "nvidia")
    assert found == Check("nvidia", True, "NVIDIA T4, 550.1")


@pytest.mark.parametrize(
    "problem",
    [
        subprocess.CalledProcessError(9, "nvidia-smi"),
        subprocess.TimeoutExpired("nvidia-smi", 10),
        OSError("exec format error"),
    ],
)
def test_a_driver_that_does_not_answer_is_shown(
    model_directory: Path,
    nvidia_smi: Callable[[Callable[..., Any]], None],
    problem: Exception,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise problem

    nvidia_smi(fail)
    found = named(diagnose(model_directory).devices, "nvidia")
    assert not found.ok
    assert found.detail.startswith("nvidia-smi fails: ")


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Install NVIDIA's plugin for ONNX Runtime, which then sees some GPUs."""

    def install(gpus: int) -> None:
        module = ModuleType("onnxruntime_ep_nv_tensorrt_rtx")
        module.get_library_path = lambda: "plugin.so"  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        one = SimpleNamespace(ep_name="NvTensorRTRTXExecutionProvider")
        monkeypatch.setattr(ort, "register_execution_provider_library", lambda *_: None)
        monkeypatch.setattr(ort, "get_ep_devices", lambda: [one] * gpus)

    return install


def test_the_device_of_nvidias_plugin_is_listed(
    model_directory: Path, plugin: Callable[[int], None]
) -> None:
    plugin(1)
    found = named(diagnose(model_directory).devices, "tensorrt-rtx")
    assert found.ok
    assert "backend onnxruntime" in found.detail


def test_a_plugin_that_sees_no_gpu_is_no_device(
    model_directory: Path, plugin: Callable[[int], None]
) -> None:
    plugin(0)
    found = named(diagnose(model_directory).devices, "tensorrt-rtx")
    assert not found.ok
    assert "sees 0 GPUs that it can use" in found.detail


def test_without_nvidias_plugin_its_package_is_named(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", None)
    found = named(diagnose(model_directory).devices, "tensorrt-rtx")
    assert not found.ok
    assert "pip install onnxruntime-ep-nv-tensorrt-rtx-cu13" in found.detail
    assert "\n" not in found.detail
