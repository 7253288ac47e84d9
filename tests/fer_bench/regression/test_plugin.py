"""The plugin as a team runs it: pytest in a process of its own."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from fer_bench.regression import hooks, items, plugin
from fer_edge.artifacts.manifest import Manifest

PLUGIN = "fer_bench.regression.plugin"
BACKEND = ("--fer-backend", "onnxruntime")


ROOT = Path(__file__).parents[3]
SOURCES = os.pathsep.join(
    str(ROOT / folder) for folder in ("", "train", "calib", "export", "benchmarks")
)


def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run pytest in ``folder``, this repository's own plugin settings left out."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            PLUGIN,
            "-p",
            "no:cacheprovider",
            *map(str, arguments),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.environ["PYTHONPATH"] + os.pathsep + SOURCES},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of somebody else, with a test of its own."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_theirs.py").write_text("def test_theirs():\n    pass\n")
    return folder


def test_a_baseline_is_recorded_and_then_held(team: Path, workbench: Any, sound: Path) -> None:
    options = (f"--fer-model={sound}", f"--fer-data={workbench.data}", *BACKEND)
    written = run(team, *options, "--fer-update-baseline")
    assert written.returncode == 0, written.stdout
    baseline = team / "fer_baselines" / "sound.json"
    assert f"wrote the baseline {baseline}" in written.stdout
    cells = json.loads(baseline.read_text())["cells"]
    assert list(cells) == ["model.int8.onnx[onnxruntime]", "model.onnx[onnxruntime]"]
    again = run(team, *options, "-v")
    assert again.returncode == 0, again.stdout
    assert "fer::model.int8.onnx[onnxruntime]::accuracy PASSED" in again.stdout
    assert "test_theirs.py::test_theirs PASSED" in again.stdout
    assert "fer::data PASSED" in again.stdout
    assert "20 passed" in again.stdout


def test_a_failure_shows_a_table_and_draws_what_changed(
    team: Path, workbench: Any, tmp_path: Path
) -> None:
    def swap(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name == "bias":
                values = onnx.numpy_helper.to_array(tensor) + np.eye(7, dtype="f4")[3] * 2
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, "bias"))

    broken = workbench.directory("broken", edit=swap)
    options = (f"--fer-model={broken}", f"--fer-data={workbench.data}", *BACKEND)
    done = run(
        team,
        *options,
        f"--fer-baseline={workbench.baseline}",
        f"--fer-out={tmp_path / 'out'}",
        "-k",
        "accuracy",
    )
    assert done.returncode == 1
    assert "FAILED fer::model.onnx[onnxruntime]::accuracy" in done.stdout
    assert "accuracy on 280 pictures" in done.stdout
    assert "Traceback" not in done.stdout
    assert "plugin.py" not in done.stdout
    assert "test/sad/PublicTest_" in done.stdout
    (sheet,) = (tmp_path / "out").iterdir()
    assert sheet.name == "fer_model.onnx_onnxruntime_accuracy.png"
    assert f"drawn in {sheet}" in done.stdout
    drawn = cv2.imread(str(sheet))
    assert drawn is not None
    assert drawn.shape[1] == 1200


def test_a_fault_is_not_recorded_as_a_baseline(team: Path, workbench: Any) -> None:
    broken = workbench.directory("unrecordable", int8=workbench.int8)
    entries = Manifest.read(broken)
    (broken / "model.onnx").write_bytes((broken / "model.onnx").read_bytes() + b"\0")
    done = run(team, f"--fer-model={broken}", *BACKEND, "--fer-update-baseline", "-rfs")
    assert done.returncode == 1
    assert "fer::model.onnx[onnxruntime]::intact" in done.stdout
    assert "a check failed, so the baseline stays as it was" in done.stdout
    assert not (team / "fer_baselines" / "unrecordable.json").exists()
    assert len(entries.artifacts) == 2


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        (
            "record or baseline",
            "not seen to hold: intact of model.onnx[onnxruntime], golden of model.onnx",
        ),
        ("record or intact or golden or baseline", "not seen to hold: parity of model.int8.onnx"),
        ("baseline", "nothing was recorded"),
    ],
)
def test_what_was_not_checked_is_not_recorded(
    chosen: str, why: str, sound: Path, tmp_path: Path
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = run(tmp_path, f"--fer-model={sound}", *BACKEND, "--fer-update-baseline", "-k", chosen)
    assert done.returncode == 1
    assert f"GateError: the baseline stays as it was; {why}" in done.stdout
    assert "run --fer-update-baseline without -k, -m and --deselect" in done.stdout
    assert not (tmp_path / "fer_baselines").exists()


def test_a_recording_whose_writing_was_left_out_fails(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = (f"--fer-model={sound}", *BACKEND, "--fer-update-baseline", "-k", "intact or record")
    done = run(tmp_path, *options)
    assert done.returncode == 1
    assert "4 passed" in done.stdout
    assert "no baseline was written: " in done.stdout
    assert not (tmp_path / "fer_baselines").exists()
    listed = run(tmp_path, *options, "--collect-only")
    assert listed.returncode == 0
    assert "no baseline was written" not in listed.stdout


def test_a_baseline_that_cannot_be_written_is_told(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "fer_baselines").write_text("a file, where a folder should be")
    done = run(tmp_path, f"--fer-model={sound}", *BACKEND, "--fer-update-baseline")
    assert done.returncode == 1
    missing = tmp_path / "fer_baselines" / "sound.json"
    assert f"ConfigurationError: cannot write the baseline {missing}: " in done.stdout
    assert "give another --fer-baseline" in done.stdout
    assert "Traceback" not in done.stdout


def test_other_pictures_fail_unless_they_are_meant(
    workbench: Any, sound: Path, make_fer2013: Any, tmp_path: Path
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    others = make_fer2013(tmp_path / "others.zip", 1, 50)
    options = (f"--fer-model={sound}", f"--fer-data={others}", *BACKEND, "-k", "data")
    options = (*options, f"--fer-baseline={workbench.baseline}")
    done = run(tmp_path, *options)
    assert done.returncode == 1
    assert "FAILED fer::data" in done.stdout
    assert "these are 350 pictures of public-test" in done.stdout
    assert run(tmp_path, *options, "--fer-other-data").returncode == 0


RECORDING_FAILS = """
def pytest_collection_finish(session):
    from fer_bench.regression import suite

    def fails(subject):
        raise MemoryError("no room to measure in")

    suite.record = fails
"""


def test_a_recording_that_fails_leaves_the_baseline_as_it_was(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(RECORDING_FAILS)
    done = run(tmp_path, f"--fer-model={sound}", *BACKEND, "--fer-update-baseline", "-rfs")
    assert done.returncode == 1
    assert "no room to measure in" in done.stdout
    assert "so the baseline stays as it was" in done.stdout
    assert not (tmp_path / "fer_baselines").exists()


def test_what_is_not_tested_here_stands_in_the_summary(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    baseline = Path(__file__).with_name("default.json")
    chosen = ("--fer-model=default", f"--fer-baseline={baseline}", *BACKEND, "-k", "size")
    done = run(tmp_path, *chosen)
    assert done.returncode == 0, done.stdout
    assert "in the baseline and not tested here: " in done.stdout
    assert "model.int8.openvino.xml[openvino]" in done.stdout


def test_accuracies_that_are_not_tested_stand_in_the_summary(
    workbench: Any, sound: Path, tmp_path: Path
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    told = "the baseline has accuracies; without --fer-data they are not tested"
    options = (f"--fer-model={sound}", *BACKEND, f"--fer-baseline={workbench.baseline}")
    assert told in run(tmp_path, *options, "-k", "size").stdout
    assert told not in run(tmp_path, *options, f"--fer-data={workbench.data}", "-k", "size").stdout


def test_an_engine_that_is_not_here_stands_in_the_summary(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text("import sys\n\nsys.modules['openvino'] = None\n")
    baseline = Path(__file__).with_name("default.json")
    done = run(tmp_path, "--fer-model=default", f"--fer-baseline={baseline}", "-k", "size")
    assert done.returncode == 0, done.stdout
    assert "openvino is not tested: " in done.stdout
    assert "model.int8.openvino.xml[openvino]" in done.stdout


@pytest.mark.parametrize("chosen", [(), ("-k", "accuracy")], ids=["all", "some"])
def test_without_a_baseline_nothing_passes(
    chosen: tuple[str, ...], sound: Path, tmp_path: Path
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = run(tmp_path, f"--fer-model={sound}", *BACKEND, *chosen)
    assert done.returncode == 4
    missing = tmp_path / "fer_baselines" / "sound.json"
    assert f"there is no baseline at {missing}; record one with --fer-update-b" in done.stderr
    assert "passed" not in done.stdout


def test_a_run_from_another_folder_finds_the_baseline_of_the_tests(
    workbench: Any, sound: Path, tmp_path: Path
) -> None:
    """It lies where pytest's own settings do, whatever the current folder is."""
    team, elsewhere = tmp_path / "team", tmp_path / "elsewhere"
    for folder in (team, elsewhere):
        folder.mkdir()
    (team / "pytest.ini").write_text("[pytest]\n")
    (team / "fer_baselines").mkdir()
    shutil.copy(workbench.baseline, team / "fer_baselines" / "sound.json")
    done = run(elsewhere, team, f"--fer-model={sound}", *BACKEND, "-k", "recorded")
    assert done.returncode == 0, done.stderr
    assert "2 passed" in done.stdout


@pytest.mark.parametrize("joined", [True, False], ids=["=", "space"])
def test_without_settings_the_baseline_lies_in_the_current_folder(
    workbench: Any, sound: Path, tmp_path: Path, joined: bool
) -> None:
    (tmp_path / "fer_baselines").mkdir()
    shutil.copy(workbench.baseline, tmp_path / "fer_baselines" / "sound.json")
    model = [f"--fer-model={sound}"] if joined else ["--fer-model", sound]
    done = run(tmp_path, *model, *BACKEND, "-k", "recorded")
    assert done.returncode == 0, done.stderr
    assert "2 passed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fer-data", "x.zip"), "--fer-data needs --fer-model"),
        (("--fer-update-baseline",), "--fer-update-baseline needs --fer-model"),
        (("--fer-other-data",), "--fer-other-data needs --fer-model"),
        (
            ("--fer-model", "SOUND", "--fer-other-data"),
            "other pictures are meant and none are given; add --fer-data",
        ),
        (("--fer-model", "nowhere"), "there is no model at nowhere"),
        (
            ("--fer-model", "SOUND", "--fer-data", "nowhere.zip"),
            "there is no FER2013 at nowhere.zip",
        ),
        (("--fer-model", "SOUND", "--fer-split", "half"), "unknown split 'half'; there are train"),
        (("--fer-model", "SOUND", "--fer-backend", "tflite"), "unknown backend tflite; there are"),
        (("--fer-model", "SOUND", "--fer-baseline", "no.json"), "there is no baseline at no.json"),
    ],
)
def test_what_cannot_be_met_is_told_before_any_test_runs(
    arguments: tuple[str, ...], message: str, sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(sound) if word == "SOUND" else word for word in arguments]
    assert pytest.main(["-p", PLUGIN, "-p", "no:cacheprovider", *words]) == 4
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_the_plugin_costs_nothing_where_it_is_not_asked_for(team: Path) -> None:
    (team / "test_imports.py").write_text(
        "import sys\n\ndef test_nothing_heavy():\n"
        "    heavy = {'numpy', 'cv2', 'onnxruntime', 'fer_edge'}\n"
        "    assert not heavy & sys.modules.keys()\n"
    )
    done = run(team, "test_imports.py", "-p", "no:hypothesispytest")
    (team / "test_imports.py").unlink()
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("module", [plugin, hooks, items], ids=lambda module: module.__name__)
def test_an_old_pytest_can_load_it(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has no stash, and no hooks but those of pluggy before 1.2."""

    def hookimpl(*, hookwrapper: bool = False, tryfirst: bool = False) -> Any:
        return lambda function: function

    monkeypatch.setattr(pytest, "hookimpl", hookimpl)
    for lacking in ("Stash", "StashKey"):
        monkeypatch.delattr(pytest, lacking)
    assert module.__file__ is not None
    runpy.run_path(module.__file__)
